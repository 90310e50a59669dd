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

/// What stands in the place of a delivery's number where there was none.
const FOUND: i64 = 0;

/// What told first that somebody asks for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// A delivery.
    Delivered(DeliveryId),
    /// It was found at the forge. If a server is killed before it has acted upon that, that is lost: what is found again
    /// and again must not count twice.
    Found,
}

impl Database {
    /// Returns whether somebody was heard to ask for something.
    pub(crate) async fn knows_wish(
        &self,
        project: ProjectId,
        wish: &str,
    ) -> Result<bool, DatabaseError> {
        let row = sqlx::query("SELECT 1 FROM wishes WHERE project = $1 AND wish = $2")
            .bind(project.0)
            .bind(wish.to_owned())
            .fetch_optional(self.readers())
            .await?;
        Ok(row.is_some())
    }

    /// Takes note that somebody asks for something, as a delivery says, or as was found at the forge; returns what told
    /// so before, if anything else did.
    ///
    /// The same delivery may say so again: it was not settled when a server was killed, or the operator replays it.
    pub(crate) async fn note_wish(
        &self,
        project: ProjectId,
        wish: String,
        delivery: Option<DeliveryId>,
    ) -> Result<Option<Before>, DatabaseError> {
        self.write(move |connection| {
            Box::pin(async move {
                let done = sqlx::query(
                    "INSERT INTO wishes (project, wish, delivery, asked_at) VALUES ($1, $2, $3, $4)
                     ON CONFLICT (project, wish) DO NOTHING",
                )
                .bind(project.0)
                .bind(wish.clone())
                .bind(delivery.map_or(FOUND, |delivery| delivery.0))
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
                Ok(match row.try_get(0)? {
                    FOUND => Some(Before::Found),
                    first if delivery == Some(DeliveryId(first)) => None,
                    first => Some(Before::Delivered(DeliveryId(first))),
                })
            })
        })
        .await
    }
}
