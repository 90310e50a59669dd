//! Takes what a mirror's files remember over into the database, once.
//!
//! A mirror notes where its records are ([`Home`]), so that whoever opens it finds them, the command line too. Its
//! files are read part by part, each part in one transaction with a note that it was taken over. They are removed when
//! all are, so a kill at any moment loses nothing and doubles nothing.

use levain_engine::records::{
    Jobsets, Mark, NewSuccess, RecordedCache, RecordsError, Successes, dropped_until,
};
use levain_engine::state::{Kind, State, StateWriter};
use levain_evaluator::key::KeyDocument;
use levain_store::DerivationPath;
use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;
use tokio::runtime::Handle;

use super::rows::{self, NewRow};
use super::{RepositoryId, name_of, wait};
use crate::database::{Database, DatabaseError};
use crate::secret::Secret;

/// How many files are taken over at once: deliveries wait that long to be written.
const PART: usize = 100;

/// Name under which a mirror notes where its records are.
const NAME: &str = "records";

/// Where the records of a mirror are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Home {
    /// The database, without a password.
    pub database: String,
    /// What the repository is called there.
    pub url: String,
    /// What the parts that are taken over are called.
    id: String,
    /// Whether all of them are.
    is_complete: bool,
}

impl Home {
    /// Returns where a mirror says that its records are; nothing if they are in its files.
    pub fn of(state: &State) -> Option<Self> {
        state.load(Kind::Project, NAME)
    }

    /// Returns whether they are in this database.
    pub(crate) fn is_in(&self, database: &Database) -> bool {
        self.database == database.address()
    }

    fn is_at(&self, database: &Database, url: &str) -> bool {
        self.is_in(database) && name_of(&self.url) == name_of(url)
    }

    /// Returns whether all that the mirror's files said is there.
    pub(super) fn is_complete_at(&self, database: &Database, url: &str) -> bool {
        self.is_complete && self.is_at(database, url)
    }
}

/// What the files say.
struct Files {
    marks: Vec<Mark>,
    keys: Vec<KeyDocument>,
    successes: Vec<(DerivationPath, Successes)>,
}

impl Files {
    fn read(state: &State) -> Self {
        let mut successes: Vec<(DerivationPath, Successes)> = state
            .load_all::<Successes>(Kind::Successes)
            .into_iter()
            .filter(|(_, successes)| successes.is_current())
            .filter_map(|(name, successes)| Some((name.parse().ok()?, successes)))
            .collect();
        // The same parts each time.
        successes.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut keys: Vec<(String, KeyDocument)> = state.load_all(Kind::Keys);
        keys.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self {
            marks: state.load_all(Kind::Dropped).into_iter().map(|(_, mark)| mark).collect(),
            keys: keys.into_iter().map(|(_, document)| document).collect(),
            successes,
        }
    }
}

/// Takes over what the files of the mirror say that `writer` may write, unless that was done.
pub(super) fn take_over(
    database: &Database,
    runtime: &Handle,
    repository: RepositoryId,
    url: &str,
    writer: &StateWriter,
) -> Result<(), RecordsError> {
    let state = writer.state();
    let home = match Home::of(state).filter(|home| home.is_at(database, url)) {
        Some(home) if home.is_complete => return Ok(()),
        Some(home) => home,
        None => {
            let id = Secret::new().map_err(|error| RecordsError::Elsewhere(Box::new(error)))?;
            let (database, url) = (database.address().to_owned(), url.to_owned());
            let home = Home { database, url, id: id.expose().to_owned(), is_complete: false };
            writer.store(Kind::Project, NAME, &home)?;
            home
        }
    };
    let Files { marks, keys, successes } = Files::read(state);
    let part = |name: String, content: Part| {
        let part = format!("{}-{name}", home.id);
        wait(runtime, || {
            let (part, content) = (part.clone(), content.clone());
            database.write(move |connection| {
                Box::pin(async move {
                    if is_new(connection, repository, part).await? {
                        content.write(connection, repository).await?;
                    }
                    Ok(())
                })
            })
        })
    };
    // First: what they say is heeded by what follows.
    part("marks".to_owned(), Part::Marks(marks))?;
    for (number, keys) in keys.chunks(PART).enumerate() {
        part(format!("keys-{number}"), Part::Keys(keys.to_vec()))?;
    }
    for (number, successes) in successes.chunks(PART).enumerate() {
        part(format!("successes-{number}"), Part::Successes(successes.to_vec()))?;
    }
    for kind in [Kind::Dropped, Kind::Keys, Kind::Successes] {
        writer.forget_all(kind)?;
    }
    writer.store(Kind::Project, NAME, &Home { is_complete: true, ..home })?;
    Ok(())
}

/// What is taken over at once.
#[derive(Clone)]
enum Part {
    Marks(Vec<Mark>),
    Keys(Vec<KeyDocument>),
    Successes(Vec<(DerivationPath, Successes)>),
}

/// Notes that a part is taken over; returns whether it was not before.
async fn is_new(
    connection: &mut AnyConnection,
    repository: RepositoryId,
    part: String,
) -> Result<bool, DatabaseError> {
    let done = sqlx::query(
        "INSERT INTO taken_over (part, repository) VALUES ($1, $2) ON CONFLICT (part) DO NOTHING",
    )
    .bind(part)
    .bind(repository.0)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

impl Part {
    async fn write(
        self,
        connection: &mut AnyConnection,
        repository: RepositoryId,
    ) -> Result<(), DatabaseError> {
        match self {
            Self::Marks(marks) => {
                for mark in marks {
                    rows::put_mark(connection, repository, &mark).await?;
                    // What another machine's files said before is dropped as well.
                    if let Mark::Until { jobset, job, time } = &mark {
                        let jobset = match jobset {
                            Jobsets::All => None,
                            Jobsets::One(jobset) => Some(jobset),
                        };
                        rows::forget(connection, repository, jobset, job.as_ref(), *time).await?;
                    }
                }
            }
            Self::Keys(keys) => {
                for document in keys {
                    rows::put_key(connection, repository, rows::key_row(&document)?).await?;
                }
            }
            Self::Successes(all) => {
                let marks = rows::marks_so_far(connection, repository).await?;
                for (base, successes) in all {
                    add(connection, repository, &marks, &base, successes).await?;
                }
            }
        }
        Ok(())
    }
}

/// Adds what files say of a base derivation, but for what was dropped meanwhile.
async fn add(
    connection: &mut AnyConnection,
    repository: RepositoryId,
    marks: &[Mark],
    base: &DerivationPath,
    successes: Successes,
) -> Result<(), DatabaseError> {
    for (jobset, success) in &successes.incremental {
        if success.time > dropped_until(marks, Some(jobset), &success.job) {
            let row = NewRow::new(&NewSuccess { base, maker: Some(jobset), success, key: None })?;
            rows::add_success(connection, repository, row).await?;
        }
    }
    if let Some(success) = &successes.clean {
        let row = NewRow::new(&NewSuccess { base, maker: None, success, key: None })?;
        let is_spoilt = matches!(success.cache, RecordedCache::Entry(_))
            && success.time <= dropped_until(marks, None, &success.job);
        let row = if is_spoilt { row.without_cache() } else { row };
        rows::add_success(connection, repository, row).await?;
    }
    Ok(())
}
