//! Who is on the way to a forge to make an App there.
//!
//! What they bring back was given to them, is used once, and counts for them alone: nobody can make the operator keep an
//! App that somebody else made.

use std::time::Duration;

use levain_actions::forge::ForgeKind;
use sqlx::Row;

use crate::clock::Timestamp;
use crate::database::{Database, DatabaseError};
use crate::people::PersonId;
use crate::secret::Hash;

/// How long somebody may take at the forge: its code counts for an hour.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);

/// Somebody who is on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departed {
    /// The kind of forge.
    pub kind: ForgeKind,
    /// The address of its web pages.
    pub url: String,
    /// The last part of the address that it was told to deliver to.
    pub hook: String,
}

impl Database {
    /// Notes that somebody is on the way.
    pub async fn depart_for_app(
        &self,
        state: Hash,
        person: PersonId,
        departed: Departed,
        now: Timestamp,
    ) -> Result<(), DatabaseError> {
        self.write(move |connection| {
            Box::pin(async move {
                sqlx::query("DELETE FROM app_departures WHERE expires_at <= $1")
                    .bind(now.millis())
                    .execute(&mut *connection)
                    .await?;
                sqlx::query(
                    "INSERT INTO app_departures (state, person, forge, url, hook, expires_at)
                     VALUES ($1, $2, $3, $4, $5, $6)",
                )
                .bind(state.into_text())
                .bind(person.0)
                .bind(departed.kind.name())
                .bind(departed.url)
                .bind(departed.hook)
                .bind(now.after(LONGEST_WAIT).millis())
                .execute(&mut *connection)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Returns where somebody comes back from, once, if it is they who left, and not too late.
    pub async fn arrive_with_app(
        &self,
        state: Hash,
        person: PersonId,
        now: Timestamp,
    ) -> Result<Option<Departed>, DatabaseError> {
        self.write(move |connection| {
            Box::pin(async move {
                // Whatever is wrong with it, it is used.
                let row = sqlx::query(
                    "DELETE FROM app_departures WHERE state = $1
                     RETURNING person, forge, url, hook, expires_at",
                )
                .bind(state.into_text())
                .fetch_optional(&mut *connection)
                .await?;
                let Some(row) = row else { return Ok(None) };
                let is_theirs = row.try_get::<i64, _>(0)? == person.0;
                let is_in_time = now.millis() < row.try_get::<i64, _>(4)?;
                let kind: String = row.try_get(1)?;
                let departed = Departed {
                    kind: kind.parse().map_err(|_unknown| DatabaseError::Content {
                        table: "app_departures",
                        what: "kind of forge",
                        found: kind,
                    })?,
                    url: row.try_get(2)?,
                    hook: row.try_get(3)?,
                };
                Ok((is_theirs && is_in_time).then_some(departed))
            })
        })
        .await
    }
}
