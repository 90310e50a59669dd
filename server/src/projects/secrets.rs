//! Exchanging what a forge signs deliveries with: for a while the old secret and the new one are good.

use sqlx::Row;

use super::{ProjectError, ProjectId, random};
use crate::clock::Timestamp;
use crate::database::{Database, DatabaseError};

/// The most secrets that one project has at a time: each is tried for every delivery.
pub const MOST_SECRETS: usize = 5;

impl Database {
    /// Gives a project one more secret, and returns it; those that it has stay good.
    pub async fn add_webhook_secret(&self, id: ProjectId) -> Result<String, ProjectError> {
        let secret = random::<32>()?;
        let new = secret.clone();
        let is_added = self
            .write(move |connection| {
                Box::pin(async move {
                    let row =
                        sqlx::query("SELECT COUNT(*) FROM webhook_secrets WHERE project = $1")
                            .bind(id.0)
                            .fetch_one(&mut *connection)
                            .await?;
                    if row.try_get::<i64, _>(0)? >= MOST_SECRETS as i64 {
                        return Ok(false);
                    }
                    sqlx::query(
                        "INSERT INTO webhook_secrets (project, secret, created_at)
                         VALUES ($1, $2, $3)",
                    )
                    .bind(id.0)
                    .bind(new)
                    .bind(Timestamp::now().millis())
                    .execute(&mut *connection)
                    .await?;
                    Ok(true)
                })
            })
            .await?;
        if is_added { Ok(secret) } else { Err(ProjectError::TooManySecrets) }
    }

    /// Drops all secrets of a project but the newest; returns how many there were.
    pub async fn drop_old_webhook_secrets(&self, id: ProjectId) -> Result<u64, DatabaseError> {
        self.write(move |connection| {
            Box::pin(async move {
                let done = sqlx::query(
                    "DELETE FROM webhook_secrets WHERE project = $1
                     AND id < (SELECT MAX(id) FROM webhook_secrets WHERE project = $1)",
                )
                .bind(id.0)
                .execute(&mut *connection)
                .await?;
                Ok(done.rows_affected())
            })
        })
        .await
    }
}
