//! Finds out whether everybody may see a project: its forge says so, and else it is private.

use super::Shared;
use crate::database::DatabaseError;
use crate::projects::Project;

/// Asks the forge, and notes what it says. What it refuses to say is private; while it does not answer, nothing changes.
pub(super) async fn look(shared: &Shared, project: &Project) -> Result<(), DatabaseError> {
    let is_public = match shared.settings.forges.is_public(project).await {
        Ok(is_public) => is_public,
        Err(error) if error.may_pass() => {
            tracing::warn!(project = project.name, %error, "nobody knows who may see a project");
            return Ok(());
        }
        Err(error) => {
            tracing::debug!(project = project.name, %error, "a project is private");
            false
        }
    };
    if is_public != project.is_public {
        shared.database.note_public(project.id, is_public).await?;
    }
    Ok(())
}
