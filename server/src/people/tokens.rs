//! Tokens by which programs are known: what they may do, with which project, and until when.

use std::time::Duration;

use sqlx::Row;
use sqlx::any::AnyRow;

use crate::clock::Timestamp;
use crate::database::{Database, DatabaseError};
use crate::projects::{ProjectError, ProjectId};
use crate::rights::Right;
use crate::secret::{Hash, Secret};

/// How exactly it is noted when a token was used last: each note is a write.
const USED_WITHIN: Duration = Duration::from_secs(60 * 60);

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    /// Its number.
    pub id: i64,
    /// What it is called.
    pub name: String,
    /// What may be done with it.
    pub scope: Right,
    /// With which project; nothing if with all.
    pub project: Option<ProjectId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it counts.
    pub expires_at: Timestamp,
    /// When it was used last, to the hour.
    pub used_at: Option<Timestamp>,
}

/// A token that is to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// What it is called.
    pub name: String,
    /// What may be done with it.
    pub scope: Right,
    /// With which project; nothing if with all.
    pub project: Option<ProjectId>,
    /// Until when it counts.
    pub expires_at: Timestamp,
}

/// A token was not made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The name is taken.
    #[error("there is a token `{name}` already\nhint: `levain token list`")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The machine gives no random numbers.
    #[error(transparent)]
    Random(#[from] ProjectError),
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

const COLUMNS: &str = "id, name, scope, project, created_at, expires_at, used_at";

fn token(row: &AnyRow) -> Result<ApiToken, DatabaseError> {
    let scope: String = row.try_get(2)?;
    let known = Right::ALL.into_iter().find(|known| known.name() == scope);
    Ok(ApiToken {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        scope: known.ok_or(DatabaseError::Content {
            table: "api_tokens",
            what: "scope",
            found: scope,
        })?,
        project: row.try_get::<Option<i64>, _>(3)?.map(ProjectId),
        created_at: Timestamp::from_millis(row.try_get(4)?),
        expires_at: Timestamp::from_millis(row.try_get(5)?),
        used_at: row.try_get::<Option<i64>, _>(6)?.map(Timestamp::from_millis),
    })
}

impl Database {
    /// Makes a token; returns its secret, which is kept nowhere.
    pub async fn add_token(&self, new: NewToken) -> Result<Secret, TokenError> {
        let secret = Secret::new()?;
        let (hash, name) = (secret.hash(), new.name.clone());
        let added = self
            .write(move |connection| {
                Box::pin(async move {
                    let done = sqlx::query(
                        "INSERT INTO api_tokens
                             (name, secret, scope, project, created_at, expires_at)
                         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO NOTHING",
                    )
                    .bind(new.name)
                    .bind(hash.into_text())
                    .bind(new.scope.name())
                    .bind(new.project.map(|project| project.0))
                    .bind(Timestamp::now().millis())
                    .bind(new.expires_at.millis())
                    .execute(&mut *connection)
                    .await?;
                    Ok(done.rows_affected() == 1)
                })
            })
            .await?;
        if added { Ok(secret) } else { Err(TokenError::NameTaken { name }) }
    }

    /// Returns all tokens, those that ended included, by name.
    pub async fn tokens(&self) -> Result<Vec<ApiToken>, DatabaseError> {
        let text = sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM api_tokens ORDER BY name"));
        let rows = sqlx::query(text).fetch_all(self.readers()).await?;
        rows.iter().map(token).collect()
    }

    /// Removes a token; returns whether there was one.
    pub async fn remove_token(&self, name: String) -> Result<bool, DatabaseError> {
        self.write(move |connection| {
            Box::pin(async move {
                let done = sqlx::query("DELETE FROM api_tokens WHERE name = $1")
                    .bind(name)
                    .execute(&mut *connection)
                    .await?;
                Ok(done.rows_affected() == 1)
            })
        })
        .await
    }

    /// Returns the token that somebody brings, if it counts, and notes that it is used.
    pub async fn token(
        &self,
        secret: Hash,
        now: Timestamp,
    ) -> Result<Option<ApiToken>, DatabaseError> {
        let text = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM api_tokens WHERE secret = $1 AND expires_at > $2"
        ));
        let row = sqlx::query(text)
            .bind(secret.into_text())
            .bind(now.millis())
            .fetch_optional(self.readers())
            .await?;
        let Some(found) = row.as_ref().map(token).transpose()? else { return Ok(None) };
        if found.used_at.is_none_or(|used| used.after(USED_WITHIN) <= now) {
            let id = found.id;
            self.write(move |connection| {
                Box::pin(async move {
                    sqlx::query("UPDATE api_tokens SET used_at = $2 WHERE id = $1")
                        .bind(id)
                        .bind(now.millis())
                        .execute(&mut *connection)
                        .await?;
                    Ok(())
                })
            })
            .await?;
        }
        Ok(Some(found))
    }
}
