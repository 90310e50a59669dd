//! What people ask for at their forge by a comment or a button: it counts once.
//!
//! A delivery is signed, and the key by which it is told from others is not: whoever has an old one could deliver it again
//! under another key. A look that is made once more does no harm; an approval that has ended, and a commit that is built
//! again and again, do.

use sqlx::Row;

use crate::clock::Timestamp;
use crate::database::{Database, DatabaseError};
use crate::deliveries::DeliveryId;
use crate::projects::ProjectId;

impl Database {
    /// Takes note that somebody asks for something; returns the delivery that said so before, if another one did.
    ///
    /// The same delivery may say so again: it was not settled when a server was killed, or the operator replays it.
    pub(crate) async fn note_wish(
        &self,
        project: ProjectId,
        wish: String,
        delivery: DeliveryId,
    ) -> Result<Option<DeliveryId>, DatabaseError> {
        self.write(move |connection| {
            Box::pin(async move {
                let done = sqlx::query(
                    "INSERT INTO wishes (project, wish, delivery, asked_at) VALUES ($1, $2, $3, $4)
                     ON CONFLICT (project, wish) DO NOTHING",
                )
                .bind(project.0)
                .bind(wish.clone())
                .bind(delivery.0)
                .bind(Timestamp::now().millis())
                .execute(&mut *connection)
                .await?;
                if done.rows_affected() == 1 {
                    return Ok(None);
                }
                let row =
                    sqlx::query("SELECT delivery FROM wishes WHERE project = $1 AND wish = $2")
                        .bind(project.0)
                        .bind(wish)
                        .fetch_one(&mut *connection)
                        .await?;
                let first = DeliveryId(row.try_get(0)?);
                Ok((first != delivery).then_some(first))
            })
        })
        .await
    }
}
