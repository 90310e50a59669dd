//! What runs remember, kept in the database: successes, dropped caches and keys, for all servers that share it.
//!
//! Evaluations stay in the mirror's files: they are big, each machine can make them again, and what they name is in the
//! store of the machine that made them. So do the links, logs and owed audits of [`levain_engine::state`].
//! `docs/decisions/0034-servers-share-what-runs-remember.md` says why.
//!
//! The engine blocks and knows no database. Its threads wait here for the database's tasks, so nothing of this may be
//! called on a thread of the runtime.

mod dropping;
mod naming;
mod patience;
mod rows;
mod taking_over;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use levain_engine::records::{
    Mark, NewSuccess, OpenRecords, Records, RecordsError, Remembered, Successes,
};
use levain_engine::state::{State, StateWriter};
use levain_evaluator::key::{Key, KeyDocument};
use levain_evaluator::{JobName, JobsetName};
use levain_store::DerivationPath;
use tokio::runtime::Handle;

use crate::database::{Database, DatabaseError, DatabaseUrl};
use crate::points::Point;
pub(crate) use naming::name_of;
use patience::{patient, waits};
use rows::NewRow;
pub(crate) use rows::begin_anew;
pub use taking_over::Home;

/// The number of a repository, of which something is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RepositoryId(i64);

/// Where the records of the repository at `url` are: in `database`, with evaluations in the mirror's own files.
///
/// What the files say is taken over by whoever first may write. Until then they are read as they are.
pub fn in_database(database: Database, runtime: Handle, url: String) -> Arc<OpenRecords> {
    Arc::new(move |state, writer| open(&database, &runtime, &url, state, writer))
}

/// What has records opened where they are: in the database that a mirror names ([`Home`]), or else in its files.
/// `reach` knows how that database is reached.
pub fn wherever_they_are(
    runtime: Handle,
    reach: impl Fn(&Home) -> Result<DatabaseUrl, RecordsError> + Send + Sync + 'static,
) -> Arc<OpenRecords> {
    Arc::new(move |state, writer| {
        let Some(home) = Home::of(state) else { return Ok(Arc::new(state.clone())) };
        let url = reach(&home)?;
        let database = runtime.block_on(Database::open(&url)).map_err(elsewhere)?;
        open(&database, &runtime, &home.url, state, writer)
    })
}

fn open(
    database: &Database,
    runtime: &Handle,
    url: &str,
    state: &State,
    writer: Option<&StateWriter>,
) -> Result<Arc<dyn Records>, RecordsError> {
    let is_complete = || Home::of(state).is_some_and(|home| home.is_complete_at(database, url));
    let repository = match writer {
        Some(writer) => {
            let repository = wait(runtime, || database.repository(url))?;
            taking_over::take_over(database, runtime, repository, url, writer)?;
            Some(repository)
        }
        None if is_complete() => wait(runtime, || database.known_repository(url))?,
        // Nobody who may write has opened it yet.
        None => None,
    };
    Ok(match repository {
        Some(repository) => {
            let (database, runtime) = (database.clone(), runtime.clone());
            Arc::new(DatabaseRecords { database, runtime, repository, files: state.clone() })
        }
        None => Arc::new(state.clone()),
    })
}

fn elsewhere(error: DatabaseError) -> RecordsError {
    match error.may_pass() {
        true => RecordsError::Away(Box::new(error)),
        false => RecordsError::Elsewhere(Box::new(error)),
    }
}

/// Waits for the database, for as long as it makes sense while it is away.
fn wait<T, F: Future<Output = Result<T, DatabaseError>>>(
    runtime: &Handle,
    work: impl Fn() -> F,
) -> Result<T, RecordsError> {
    runtime.block_on(patient(waits(), work)).map_err(elsewhere)
}

/// The records of one repository.
struct DatabaseRecords {
    database: Database,
    runtime: Handle,
    repository: RepositoryId,
    /// Those of the mirror, for what stays there.
    files: State,
}

impl DatabaseRecords {
    fn wait<T, F: Future<Output = Result<T, DatabaseError>>>(
        &self,
        work: impl Fn() -> F,
    ) -> Result<T, RecordsError> {
        wait(&self.runtime, work)
    }
}

impl Records for DatabaseRecords {
    fn successes(
        &self,
        bases: &BTreeSet<DerivationPath>,
    ) -> Result<BTreeMap<DerivationPath, Successes>, RecordsError> {
        self.wait(|| rows::successes(&self.database, self.repository, bases))
    }

    fn add_success(&self, _: &StateWriter, new: &NewSuccess<'_>) -> Result<(), RecordsError> {
        let (repository, points) = (self.repository, self.database.points().clone());
        let row = NewRow::new(new).map_err(elsewhere)?;
        let key = new.key.map(rows::key_row).transpose().map_err(elsewhere)?;
        self.wait(|| {
            let (row, key, points) = (row.clone(), key.clone(), points.clone());
            self.database.write(move |connection| {
                Box::pin(async move {
                    rows::put_success(connection, repository, row).await?;
                    if let Some(key) = key {
                        rows::put_key(connection, repository, key).await?;
                    }
                    points.pass(Point::SuccessRecorded);
                    Ok(())
                })
            })
        })?;
        self.database.points().pass(Point::SuccessKept);
        Ok(())
    }

    fn forget_incremental(
        &self,
        _: &StateWriter,
        jobset: Option<&JobsetName>,
        job: Option<&JobName>,
    ) -> Result<usize, RecordsError> {
        let (repository, jobset, job) = (self.repository, jobset.cloned(), job.cloned());
        self.wait(|| {
            let (jobset, job) = (jobset.clone(), job.clone());
            self.database.write(move |connection| {
                Box::pin(async move {
                    let (jobset, job) = (jobset.as_ref(), job.as_ref());
                    rows::forget(connection, repository, jobset, job, u64::MAX).await
                })
            })
        })
    }

    fn marks(&self) -> Result<Vec<Mark>, RecordsError> {
        self.wait(|| rows::marks(self.database.readers(), self.repository))
    }

    fn mark(&self, _: &StateWriter, mark: &Mark) -> Result<(), RecordsError> {
        let (repository, mark) = (self.repository, mark.clone());
        self.wait(|| {
            let mark = mark.clone();
            self.database.write(move |connection| {
                Box::pin(async move { rows::put_mark(connection, repository, &mark).await })
            })
        })
    }

    fn allow(&self, _: &StateWriter, job: &JobName) -> Result<bool, RecordsError> {
        let (repository, job) = (self.repository, job.clone());
        self.wait(|| {
            let job = job.clone();
            self.database.write(move |connection| {
                Box::pin(async move { rows::allow(connection, repository, &job).await })
            })
        })
    }

    fn keys(&self, keys: &BTreeSet<Key>) -> Result<BTreeMap<Key, KeyDocument>, RecordsError> {
        self.wait(|| rows::keys(&self.database, self.repository, keys))
    }

    fn evaluation(&self, id: &str) -> Result<Option<Remembered>, RecordsError> {
        self.files.evaluation(id)
    }

    fn remember_evaluation(
        &self,
        writer: &StateWriter,
        id: &str,
        remembered: &Remembered,
    ) -> Result<(), RecordsError> {
        self.files.remember_evaluation(writer, id, remembered)
    }
}
