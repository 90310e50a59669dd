//! Which repository a project is: the one to which its forge gave a number, whatever has its name by now.
//!
//! A name can be taken over by somebody else once a repository is deleted or renamed. So the number is kept with the
//! project when it is first seen, and what has the name later is compared with it. Nothing is done for a project whose name
//! leads to another repository, until the operator says that this is right. [`found`] decides; the rest is kept here.

use levain_actions::forge::DescribedRepository;
use sqlx::{AnyConnection, Row};

use crate::database::{Database, DatabaseError};
use crate::projects::{Project, ProjectId};
use crate::runs::state::{RunEvent, RunState};

/// Holds in a statement about `runs AS waiting`: what has the name of its project's repository is that repository.
pub(crate) const IS_THE_PROJECTS: &str = "NOT EXISTS (
    SELECT 1 FROM projects
    WHERE projects.id = waiting.project AND projects.other_repository IS NOT NULL
)";

/// What is found under a project's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The project's repository, or what becomes that because nothing was known.
    Known(DescribedRepository),
    /// The project's repository is elsewhere at the same forge.
    Renamed(DescribedRepository),
    /// Another repository has its name.
    Other(u64),
}

/// Decides what is found under a project's address.
///
/// `known` is the number of the project's repository, `named` what has its name, and `numbered` what has its number.
/// Nothing if neither is there to see.
pub fn found(
    known: Option<u64>,
    named: Option<DescribedRepository>,
    numbered: Option<DescribedRepository>,
) -> Option<Found> {
    let is_known = |one: &DescribedRepository| known.is_none_or(|known| known == one.number);
    match (named, numbered) {
        (Some(named), _) if is_known(&named) => Some(Found::Known(named)),
        (_, Some(numbered)) if is_known(&numbered) => Some(Found::Renamed(numbered)),
        (Some(named), _) => Some(Found::Other(named.number)),
        (None, _) => None,
    }
}

/// Another repository has the name of a project's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "another repository has the name of this project's: number {other} instead of {known}. Nothing is built\nhint: if it is to be the project's from now on, with all its rights, secrets and caches: `levain project confirm {project} {other}`, or the button on the project's page"
)]
pub struct OtherRepository {
    /// The project.
    pub project: String,
    /// The number of the project's repository.
    pub known: u64,
    /// That of the other one.
    pub other: u64,
}

impl OtherRepository {
    /// Returns what is wrong with a project's repository, if another one has its name.
    pub fn of(project: &Project) -> Option<Self> {
        let (known, other) = project.repository.zip(project.other_repository)?;
        Some(Self { project: project.name.clone(), known, other })
    }
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Database {
    /// Notes the number of a project's repository, which has its name: again, or for the first time.
    ///
    /// Returns whether that is the number that was known.
    pub async fn note_repository(
        &self,
        project: ProjectId,
        repository: u64,
    ) -> Result<bool, DatabaseError> {
        self.write(move |connection| {
            Box::pin(async move {
                let done = sqlx::query(
                    "UPDATE projects SET repository = $2, other_repository = NULL
                     WHERE id = $1 AND (repository IS NULL OR repository = $2)",
                )
                .bind(project.0)
                .bind(number(repository))
                .execute(&mut *connection)
                .await?;
                Ok(done.rows_affected() == 1)
            })
        })
        .await
    }

    /// Notes where a project's repository is since it was renamed.
    pub async fn note_renamed(
        &self,
        project: ProjectId,
        repository: u64,
        url: String,
    ) -> Result<(), DatabaseError> {
        self.write(move |connection| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE projects SET url = $3, other_repository = NULL,
                         heads_noted = heads_noted + 1
                     WHERE id = $1 AND repository = $2",
                )
                .bind(project.0)
                .bind(number(repository))
                .bind(url)
                .execute(&mut *connection)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Notes that another repository has the name of a project's: nobody but the operator sees the project, and what is
    /// carried out for it waits again.
    pub async fn note_other_repository(
        &self,
        project: ProjectId,
        other: u64,
    ) -> Result<(), DatabaseError> {
        self.write(move |connection| {
            Box::pin(async move {
                let done = sqlx::query(
                    "UPDATE projects SET other_repository = $2, is_public = 0
                     WHERE id = $1 AND repository IS NOT NULL AND repository <> $2",
                )
                .bind(project.0)
                .bind(number(other))
                .execute(&mut *connection)
                .await?;
                match done.rows_affected() {
                    0 => Ok(()),
                    _ => put_back(connection, project).await,
                }
            })
        })
        .await
    }

    /// Makes the repository that has the name of a project's the project's, because the operator says so; returns whether it
    /// is the one they speak of.
    pub async fn confirm_repository(
        &self,
        project: ProjectId,
        repository: u64,
    ) -> Result<bool, DatabaseError> {
        self.write(move |connection| {
            Box::pin(async move {
                let done = sqlx::query(
                    "UPDATE projects SET repository = other_repository, other_repository = NULL,
                         installation = NULL, look_failed = NULL
                     WHERE id = $1 AND other_repository = $2",
                )
                .bind(project.0)
                .bind(number(repository))
                .execute(&mut *connection)
                .await?;
                Ok(done.rows_affected() == 1)
            })
        })
        .await
    }
}

/// Has the runs of a project wait that are carried out. Who holds one lets go of it when they hear of that.
async fn put_back(connection: &mut AnyConnection, project: ProjectId) -> Result<(), DatabaseError> {
    let rows = sqlx::query(
        "UPDATE runs SET state = $2, attempts = attempts - 1, started_at = NULL
         WHERE project = $1 AND state = 'running' RETURNING id",
    )
    .bind(project.0)
    .bind(RunState::Running.after(RunEvent::GivenBack).name())
    .fetch_all(&mut *connection)
    .await?;
    for row in rows {
        let run: i64 = row.try_get(0)?;
        tracing::warn!(run, "stopped: another repository has the name of its project's");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(number: u64, path: &str) -> DescribedRepository {
        DescribedRepository { number, path: path.to_owned(), is_public: true }
    }

    #[test]
    fn a_repository_is_its_number_and_not_its_name() {
        let (own, other) = (described(7, "o/r"), described(9, "o/r"));
        let moved = described(7, "o/new");
        for (known, named, numbered, expected) in [
            // Seen for the first time, and as it was.
            (None, Some(&own), None, Some(Found::Known(own.clone()))),
            (Some(7), Some(&own), None, Some(Found::Known(own.clone()))),
            // Deleted, and the name taken over.
            (Some(7), Some(&other), None, Some(Found::Other(9))),
            // Renamed, whether or not somebody took the name over.
            (Some(7), None, Some(&moved), Some(Found::Renamed(moved.clone()))),
            (Some(7), Some(&other), Some(&moved), Some(Found::Renamed(moved.clone()))),
            // An answer about another number tells nothing.
            (Some(7), Some(&other), Some(&other), Some(Found::Other(9))),
            (Some(7), None, Some(&other), None),
            (Some(7), None, None, None),
            (None, None, None, None),
        ] {
            let result = found(known, named.cloned(), numbered.cloned());
            assert_eq!(result, expected, "{known:?} {named:?} {numbered:?}");
        }
    }
}
