//! Asks a project's forge, before anything is done there, whether the project's name still leads to its repository.
//!
//! A look asks as well, but what is begun goes on after it. Start at [`Logins::require_own`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use levain_actions::forge::webhook::Sender;
use tokio::time::Instant;

use super::{LoginError, Logins};
use crate::database::DatabaseError;
use crate::forges::{Forges, ForgesError};
use crate::identity::{Found, OtherRepository};
use crate::projects::{Project, ProjectId};

/// How long an answer is believed: a run tells many statuses at once.
const BELIEVED: Duration = Duration::from_secs(3);

/// The repositories that were found under the names of projects. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownOwn(Arc<Mutex<HashMap<ProjectId, Own>>>);

#[derive(Debug)]
struct Own {
    until: Instant,
    repository: u64,
    url: String,
}

/// Why nothing is done at a project's forge.
#[derive(Debug, thiserror::Error)]
pub enum NotOwn {
    /// Another repository has the name.
    #[error(transparent)]
    Other(#[from] OtherRepository),
    /// It is elsewhere, which the next look notes.
    #[error("the repository was renamed to `{path}`")]
    Renamed {
        /// Its new name.
        path: String,
    },
    /// The forge does not say.
    #[error("cannot find out whether this is still the project's repository: {0}")]
    Unknown(#[source] ForgesError),
    /// Nor does the database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl NotOwn {
    /// Returns whether it makes sense to ask once more later.
    pub fn may_pass(&self) -> bool {
        match self {
            // The next look notes where it is.
            Self::Renamed { .. } => true,
            Self::Unknown(error) => error.may_pass(),
            Self::Database(error) => error.may_pass(),
            Self::Other(_) => false,
        }
    }
}

impl Logins {
    /// Fails unless a project's name leads to its repository now. Where another one has it, that is noted: nothing is done
    /// for the project any more until the operator says so.
    pub async fn require_own(&self, project: &Project) -> Result<(), NotOwn> {
        let Some(database) = &self.database else { return Ok(()) };
        // What is known may be newer than what a run began with.
        let Some(project) = database.project(project.id).await? else { return Ok(()) };
        if let Some(other) = OtherRepository::of(&project) {
            return Err(other.into());
        }
        // Where there is nothing to compare with, or nobody to ask, only deliveries tell.
        let (Some(known), Sender::Forge(_), true) =
            (project.repository, project.sender, project.has_login())
        else {
            return Ok(());
        };
        if self.own.has(&project, known) {
            return Ok(());
        }
        let forges = Forges { logins: self.clone() };
        match forges.repository(&project).await {
            Ok(Found::Known(_)) => {
                self.own.note(&project, known);
                Ok(())
            }
            Ok(Found::Renamed(described)) => Err(NotOwn::Renamed { path: described.path }),
            Ok(Found::Other(other)) => {
                database.note_other_repository(project.id, other).await?;
                Err(OtherRepository { project: project.name, known, other }.into())
            }
            Err(ForgesError::Login(LoginError::Other(other))) => Err(other.into()),
            Err(error) => Err(NotOwn::Unknown(error)),
        }
    }
}

impl KnownOwn {
    fn has(&self, project: &Project, repository: u64) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&project.id).is_some_and(|own| {
            Instant::now() < own.until && own.repository == repository && own.url == project.url
        })
    }

    fn note(&self, project: &Project, repository: u64) {
        let now = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, own| now < own.until);
        all.insert(project.id, Own { until: now + BELIEVED, repository, url: project.url.clone() });
    }
}
