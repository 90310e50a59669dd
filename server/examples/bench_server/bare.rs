//! What the disk does without a server: the limit that figures stand beside.

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::{AnyConnection, Connection as _, Executor};
use tokio::sync::mpsc;

use crate::client::Times;
use crate::{Failure, per_second};

/// The most that one commit takes, as in the server.
const BATCH: usize = 256;

async fn open(file: &Path) -> Result<AnyConnection, Failure> {
    let url = format!("sqlite:{}?mode=rwc", file.display());
    let mut connection = AnyConnection::connect(&url).await?;
    connection.execute("PRAGMA journal_mode = WAL").await?;
    connection.execute("PRAGMA synchronous = FULL").await?;
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB) STRICT").await?;
    Ok(connection)
}

async fn insert(connection: &mut AnyConnection, body: &[u8]) -> Result<(), sqlx::Error> {
    let insert = sqlx::query("INSERT INTO t (body) VALUES ($1)").bind(body.to_vec());
    insert.execute(connection).await.map(drop)
}

/// Commits rows one after the other; returns how many a second.
pub(crate) async fn one_by_one(
    directory: &Path,
    count: usize,
    size: usize,
) -> Result<f64, Failure> {
    let mut connection = open(&directory.join("bare")).await?;
    let body = vec![b'x'; size];
    let began = Instant::now();
    for _ in 0..count {
        insert(&mut connection, &body).await?;
    }
    Ok(per_second(count, began.elapsed()))
}

/// Commits so many rows a second, all that are due at once; a time counts from when a row was due.
pub(crate) async fn grouped(
    directory: &Path,
    count: usize,
    rate: u32,
    size: usize,
) -> Result<Times, Failure> {
    let mut connection = open(&directory.join("grouped")).await?;
    let body = vec![b'x'; size];
    let (sender, mut due) = mpsc::unbounded_channel();
    let began = tokio::time::Instant::now() + Duration::from_millis(50);
    let sending = tokio::spawn(async move {
        for index in 0..count {
            let at = Duration::from_secs_f64(index as f64 / f64::from(rate));
            tokio::time::sleep_until(began + at).await;
            if sender.send(at).is_err() {
                break;
            }
        }
    });
    let mut times = Vec::with_capacity(count);
    while let Some(first) = due.recv().await {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(next) = due.try_recv()
        {
            batch.push(next);
        }
        connection.execute("BEGIN IMMEDIATE").await?;
        for _ in &batch {
            insert(&mut connection, &body).await?;
        }
        connection.execute("COMMIT").await?;
        times.extend(batch.into_iter().map(|at| began.elapsed().saturating_sub(at)));
    }
    sending.await?;
    Ok(Times::new(times))
}
