//! Removing a project with all that is kept of it.

use super::ProjectId;
use crate::database::{Database, DatabaseError};

impl Database {
    /// Removes a project, its runs, deliveries and secrets; returns whether there was one.
    ///
    /// Whoever carries out one of its runs is told at the next renewal that it is not wanted, and its end is not noted.
    pub async fn remove_project(&self, id: ProjectId) -> Result<bool, DatabaseError> {
        self.write(move |connection| {
            Box::pin(async move {
                let done = sqlx::query("DELETE FROM projects WHERE id = $1")
                    .bind(id.0)
                    .execute(&mut *connection)
                    .await?;
                Ok(done.rows_affected() == 1)
            })
        })
        .await
    }
}
