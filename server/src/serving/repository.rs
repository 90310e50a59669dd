//! Finds out which repository a project's address leads to, and whether everybody may see it: its forge says so.

use levain_actions::forge::webhook::Sender;
use levain_actions::forge::{DescribedRepository, renamed};

use super::Shared;
use crate::database::DatabaseError;
use crate::forges::ForgesError;
use crate::identity::{Found, OtherRepository};
use crate::logins::LoginError;
use crate::projects::Project;

/// What a look goes on with.
pub(super) enum Address {
    /// It leads to the project's repository, as far as anybody can tell.
    Right,
    /// The repository is elsewhere, and its new address is noted.
    Changed,
}

/// Why a look does not go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum AddressError {
    #[error(transparent)]
    Other(#[from] OtherRepository),
    #[error("cannot find out whether this is still the project's repository: {0}")]
    Unknown(#[source] ForgesError),
    #[error("the repository is called `{path}` now, which is no name at this forge")]
    Unnamed { path: String },
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Asks the forge, and notes what it says. What it refuses to say is private; while it does not answer, nothing changes.
///
/// A look asks after it has listed the heads: who takes the name over while they are listed is found out.
pub(super) async fn look(shared: &Shared, project: &Project) -> Result<Address, AddressError> {
    let database = &shared.database;
    let found = match shared.settings.forges.repository(project).await {
        Ok(found) => found,
        Err(ForgesError::Login(LoginError::Other(OtherRepository { other, .. }))) => {
            return Err(is_other(shared, project, other).await?.into());
        }
        Err(error) => {
            if error.may_pass() {
                tracing::warn!(project = project.name, %error, "nobody knows who may see a project");
            } else {
                tracing::debug!(project = project.name, %error, "a project is private");
                note_public(shared, project, false).await?;
            }
            // Where its number is known, that must be right. Where nobody can ask, only deliveries tell.
            let is_asked = project.has_login() && project.repository.is_some();
            return match (OtherRepository::of(project), is_asked) {
                (Some(other), _) => Err(other.into()),
                (None, true) => Err(AddressError::Unknown(error)),
                (None, false) => Ok(Address::Right),
            };
        }
    };
    let DescribedRepository { number, path, is_public } = match found {
        Found::Known(described) => {
            // Somebody else may have noted another one meanwhile.
            if database.note_repository(project.id, described.number).await? {
                note_public(shared, project, described.is_public).await?;
            }
            return Ok(Address::Right);
        }
        Found::Other(other) => return Err(is_other(shared, project, other).await?.into()),
        Found::Renamed(described) => described,
    };
    let Sender::Forge(kind) = project.sender else { return Ok(Address::Right) };
    let Some(url) = renamed(kind, &project.url, &path) else {
        return Err(AddressError::Unnamed { path });
    };
    tracing::info!(project = project.name, path, "a repository was renamed");
    database.note_renamed(project.id, number, url).await?;
    note_public(shared, project, is_public).await?;
    Ok(Address::Changed)
}

/// Notes that another repository has the name of a project's, and stops what is done for the project.
pub(super) async fn is_other(
    shared: &Shared,
    project: &Project,
    other: u64,
) -> Result<OtherRepository, DatabaseError> {
    shared.database.note_other_repository(project.id, other).await?;
    shared.changed.send_replace(());
    let known = project.repository.unwrap_or_default();
    Ok(OtherRepository { project: project.name.clone(), known, other })
}

async fn note_public(
    shared: &Shared,
    project: &Project,
    is_public: bool,
) -> Result<(), DatabaseError> {
    if is_public != project.is_public {
        shared.database.note_public(project.id, is_public).await?;
    }
    Ok(())
}
