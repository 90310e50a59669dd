//! What is known about the server itself, for the commands that look at its database.

use sqlx::Row;

use crate::clock::Timestamp;
use crate::database::{Database, DatabaseError};

/// Where forges reach the server.
const PUBLIC_URL: &str = "public-url";
/// Where users of its machine reach the server.
const LOCAL_URL: &str = "local-url";
/// What is written to find out whether something can be.
const TRIED: &str = "tried";
/// How long that is: more than most deliveries.
const TRIED_BYTES: usize = 64 << 10;

impl Database {
    /// Notes where forges reach the server.
    pub async fn note_public_url(&self, url: String) -> Result<(), DatabaseError> {
        self.note_setting(PUBLIC_URL, url).await
    }

    /// Returns where forges reach the server, if one was started.
    pub async fn public_url(&self) -> Result<Option<String>, DatabaseError> {
        self.setting(PUBLIC_URL).await
    }

    /// Notes where users of its machine reach the server that was started last.
    pub async fn note_local_url(&self, url: String) -> Result<(), DatabaseError> {
        self.note_setting(LOCAL_URL, url).await
    }

    /// Returns where users of its machine reach the server that was started last.
    pub async fn local_url(&self) -> Result<Option<String>, DatabaseError> {
        self.setting(LOCAL_URL).await
    }

    async fn note_setting(&self, name: &'static str, value: String) -> Result<(), DatabaseError> {
        self.write(move |connection| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO settings (name, value) VALUES ($1, $2)
                     ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                )
                .bind(name)
                .bind(value)
                .execute(&mut *connection)
                .await?;
                Ok(())
            })
        })
        .await
    }

    async fn setting(&self, name: &'static str) -> Result<Option<String>, DatabaseError> {
        let row = sqlx::query("SELECT value FROM settings WHERE name = $1")
            .bind(name)
            .fetch_optional(self.readers())
            .await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    /// Fails unless as much can be written as a delivery has: what changes nothing succeeds on a full disk as well.
    pub async fn try_write(&self) -> Result<(), DatabaseError> {
        let tried = format!("{}{}", Timestamp::now().millis(), " ".repeat(TRIED_BYTES));
        self.note_setting(TRIED, tried).await
    }

    /// Fails unless the database answers.
    pub async fn ping(&self) -> Result<(), DatabaseError> {
        sqlx::query("SELECT 1").fetch_one(self.readers()).await?;
        Ok(())
    }
}
