//! The one task that writes, so that what arrives together costs one commit.

use std::sync::Arc;

use sqlx::{AnyConnection, Connection, Executor};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{Connector, DatabaseError, Work};
use crate::counters::{Counted, Counters};
use crate::points::{Point, Points};

/// The most that one commit takes.
const BATCH: usize = 256;
/// The most that waits to be written; whoever comes then waits to be let in.
const WAITING: usize = 1024;

/// Something that waits to be written.
trait Job: Send {
    /// Does it, in a transaction that is not committed yet. Whoever asked is told a failure at once.
    fn carry_out<'c>(
        self: Box<Self>,
        connection: &'c mut AnyConnection,
    ) -> Work<'c, Box<dyn Answer>>;
    /// Tells whoever asked why it was not even begun.
    fn refuse(self: Box<Self>, why: &Failure);
}

/// Something that was done, and counts as soon as it is committed.
trait Answer: Send {
    /// Tells whoever asked; with the reason if it was not committed.
    fn tell(self: Box<Self>, failure: Option<&Failure>);
}

/// Why nothing was committed.
#[derive(Clone, Debug)]
struct Failure {
    message: String,
    /// Whether the same may succeed later.
    may_pass: bool,
}

impl Failure {
    fn of(error: &DatabaseError) -> Self {
        let message = match error {
            DatabaseError::Statement(source) => source.to_string(),
            DatabaseError::Open { .. }
            | DatabaseError::Url { .. }
            | DatabaseError::Migrate { .. }
            | DatabaseError::Newer { .. }
            | DatabaseError::Commit { .. }
            | DatabaseError::Away { .. }
            | DatabaseError::Closed
            | DatabaseError::Content { .. } => error.to_string(),
        };
        Self { message, may_pass: error.may_pass() }
    }

    fn error(&self) -> DatabaseError {
        let message = self.message.clone();
        match self.may_pass {
            true => DatabaseError::Away { message },
            false => DatabaseError::Commit { message },
        }
    }
}

type Asked<T> = oneshot::Sender<Result<T, DatabaseError>>;

struct Pending<F, T> {
    work: F,
    asked: Asked<T>,
}

struct Done<T> {
    value: T,
    asked: Asked<T>,
}

fn tell<T>(asked: Asked<T>, result: Result<T, DatabaseError>) {
    if asked.send(result).is_err() {
        tracing::debug!("nobody waits for this write any more");
    }
}

impl<F, T> Job for Pending<F, T>
where
    F: for<'c> FnOnce(&'c mut AnyConnection) -> Work<'c, T> + Send + 'static,
    T: Send + 'static,
{
    fn carry_out<'c>(
        self: Box<Self>,
        connection: &'c mut AnyConnection,
    ) -> Work<'c, Box<dyn Answer>> {
        Box::pin(async move {
            let Self { work, asked } = *self;
            match work(connection).await {
                Ok(value) => Ok(Box::new(Done { value, asked }) as Box<dyn Answer>),
                Err(error) => {
                    tell(asked, Err(error));
                    Err(DatabaseError::Commit { message: "refused".to_owned() })
                }
            }
        })
    }

    fn refuse(self: Box<Self>, why: &Failure) {
        tell(self.asked, Err(why.error()));
    }
}

impl<T: Send + 'static> Answer for Done<T> {
    fn tell(self: Box<Self>, failure: Option<&Failure>) {
        let result = match failure {
            None => Ok(self.value),
            Some(why) => Err(why.error()),
        };
        tell(self.asked, result);
    }
}

/// Hands work to the task. Clones share it.
#[derive(Clone)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Box<dyn Job>>,
    task: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Writer {
    /// Starts the task.
    pub(super) fn start(
        connector: Connector,
        connection: AnyConnection,
        points: Points,
        counters: Counters,
    ) -> Self {
        let (jobs, receiver) = mpsc::channel(WAITING);
        let task = tokio::spawn(serve(connector, connection, receiver, points, counters));
        Self { jobs, task: Arc::new(Mutex::new(Some(task))) }
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&'c mut AnyConnection) -> Work<'c, T> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let (asked, receive) = oneshot::channel();
        let sent = self.jobs.send(Box::new(Pending { work, asked })).await;
        match (sent, receive.await) {
            (Ok(()), Ok(result)) => result,
            (Err(_), _) | (_, Err(_)) => Err(DatabaseError::Closed),
        }
    }

    /// Ends when all work that other clones handed in is done.
    pub(super) async fn close(self) {
        let Self { jobs, task } = self;
        drop(jobs);
        let task = task.lock().await.take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the task that writes to the database");
        }
    }
}

async fn serve(
    connector: Connector,
    connection: AnyConnection,
    mut jobs: mpsc::Receiver<Box<dyn Job>>,
    points: Points,
    counters: Counters,
) {
    let mut open = Some(connection);
    while let Some(first) = jobs.recv().await {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(next) = jobs.try_recv()
        {
            batch.push(next);
        }
        points.pass(Point::BatchTaken);
        let mut connection = match open.take() {
            Some(connection) => connection,
            None => match connector.connect().await {
                Ok(connection) => connection,
                Err(error) => {
                    let why = Failure::of(&error);
                    batch.into_iter().for_each(|job| job.refuse(&why));
                    continue;
                }
            },
        };
        let mut answers = Vec::new();
        let result = commit(&connector, &mut connection, batch, &mut answers, &points).await;
        let failure = result.as_ref().err().map(Failure::of);
        if failure.is_none() {
            counters.count(Counted::Commit);
            counters.add(Counted::Write, answers.len().try_into().unwrap_or(u64::MAX));
        }
        for answer in answers {
            answer.tell(failure.as_ref());
        }
        points.pass(Point::BatchTold);
        match result {
            Ok(()) => open = Some(connection),
            Err(error) => {
                // Whatever state it is in, its end undoes what was not committed.
                tracing::error!(%error, "a write to the database failed");
                drop(connection);
            }
        }
    }
    if let Some(connection) = open
        && let Err(error) = connection.close().await
    {
        tracing::warn!(%error, "closing the database");
    }
}

/// Carries out a batch; what was done is in `answers`, and committed if this succeeds.
async fn commit(
    connector: &Connector,
    connection: &mut AnyConnection,
    batch: Vec<Box<dyn Job>>,
    answers: &mut Vec<Box<dyn Answer>>,
    points: &Points,
) -> Result<(), DatabaseError> {
    let mut batch = batch.into_iter();
    let result: Result<(), DatabaseError> = async {
        connection.execute(connector.begin()).await?;
        points.pass(Point::BatchBegun);
        for job in batch.by_ref() {
            connection.execute("SAVEPOINT job").await?;
            match job.carry_out(connection).await {
                Ok(answer) => answers.push(answer),
                Err(_) => {
                    connection.execute("ROLLBACK TO job").await?;
                }
            }
            connection.execute("RELEASE job").await?;
            points.pass(Point::BatchGrown);
        }
        points.pass(Point::BatchDone);
        connection.execute("COMMIT").await?;
        points.pass(Point::BatchCommitted);
        Ok(())
    }
    .await;
    if let Err(error) = &result {
        let why = Failure::of(error);
        batch.for_each(|job| job.refuse(&why));
    }
    result
}
