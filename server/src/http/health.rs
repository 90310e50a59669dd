//! `GET /healthz`: whether the server is alive. `GET /readyz`: whether it takes deliveries.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::App;
use super::table::{Needs, Table};

/// How long the database may take.
const LIMIT: Duration = Duration::from_secs(5);
/// How long it is good for that something can be written. Anybody may ask, and each time something is.
const GOOD_FOR: Duration = Duration::from_secs(1);

pub(super) fn routes(table: Table) -> Table {
    table.get("/healthz", Needs::Nothing, health).get("/readyz", Needs::Nothing, ready)
}

async fn health(State(app): State<App>) -> (StatusCode, &'static str) {
    match tokio::time::timeout(LIMIT, app.database.ping()).await {
        Ok(Ok(())) => (StatusCode::OK, "ok\n"),
        Ok(Err(error)) => {
            tracing::error!(%error, "the database does not answer");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n")
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer in time\n"),
    }
}

/// What is answered.
type Found = (StatusCode, &'static str);

/// What was found last, and when. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Readiness(Arc<Mutex<Option<(Instant, Found)>>>);

async fn ready(State(app): State<App>) -> (StatusCode, &'static str) {
    // Whoever comes while it is found out waits for that.
    let mut last = app.readiness.0.lock().await;
    match *last {
        Some((when, found)) if when.elapsed() < GOOD_FOR => found,
        Some(_) | None => {
            let found = try_write(&app).await;
            *last = Some((Instant::now(), found));
            found
        }
    }
}

async fn try_write(app: &App) -> (StatusCode, &'static str) {
    match tokio::time::timeout(LIMIT, app.database.try_write()).await {
        Ok(Ok(())) if !app.database.is_in_place() => {
            tracing::error!("the file of the database was replaced or removed: restart the server");
            (StatusCode::SERVICE_UNAVAILABLE, "the database's file was replaced or removed\n")
        }
        Ok(Ok(())) => (StatusCode::OK, "ready\n"),
        Ok(Err(error)) => {
            tracing::error!(%error, "nothing can be written to the database");
            (StatusCode::SERVICE_UNAVAILABLE, "nothing can be written to the database\n")
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database is not written in time\n"),
    }
}
