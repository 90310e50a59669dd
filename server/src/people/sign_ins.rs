//! The forges by whose accounts people sign in, and who is on the way there.

use std::path::PathBuf;
use std::time::Duration;

use levain_actions::forge::{ForgeKind, SignIn, Token, TokenError};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::clock::Timestamp;
use crate::database::{Database, DatabaseError};
use crate::secret::Hash;

/// How long somebody may take at the forge.
pub const WAIT: Duration = Duration::from_secs(10 * 60);
/// How many may be on the way at a time; beyond it the oldest have to begin anew.
const MOST: i64 = 20_000;

/// A forge by whose accounts people sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInForge {
    /// Its number in the database.
    pub id: i64,
    /// Its kind.
    pub kind: ForgeKind,
    /// The address of its web pages.
    pub url: String,
    /// What it calls this server.
    pub client_id: String,
    /// The file with the secret that it gave to this server.
    pub secret_file: PathBuf,
}

impl SignInForge {
    /// Returns what speaks with it.
    pub fn sign_in(
        &self,
        ca_file: Option<PathBuf>,
    ) -> Result<SignIn, levain_actions::forge::ForgeError> {
        SignIn::new(self.kind, &self.url, &self.client_id, ca_file)
    }

    /// Reads the secret.
    pub fn secret(&self) -> Result<Token, TokenError> {
        Token::from_file(&self.secret_file)
    }
}

/// A forge that is to be added.
#[derive(Clone, Debug)]
pub struct NewSignInForge {
    /// Its kind.
    pub kind: ForgeKind,
    /// The address of its web pages, without a slash at the end.
    pub url: String,
    /// What it calls this server.
    pub client_id: String,
    /// The file with the secret that it gave to this server.
    pub secret_file: PathBuf,
}

/// A forge was not added.
#[derive(Debug, thiserror::Error)]
pub enum SignInForgeError {
    /// There is one.
    #[error("people sign in by `{url}` already\nhint: `levain sign-in remove {url}` first")]
    Known {
        /// Its address.
        url: String,
    },
    /// The path of the secret's file is no text.
    #[error("the path of the secret's file is not UTF-8")]
    SecretFile,
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Somebody who is on the way.
#[derive(Clone)]
pub struct Started {
    /// By which forge.
    pub forge: i64,
    /// What proves to the forge that it is us who come back.
    pub verifier: String,
    /// Where they wanted to go.
    pub next: String,
}

const COLUMNS: &str = "id, kind, url, client_id, secret_file";

fn forge(row: &AnyRow) -> Result<SignInForge, DatabaseError> {
    let kind: String = row.try_get(1)?;
    Ok(SignInForge {
        id: row.try_get(0)?,
        kind: kind.parse().map_err(|_unknown| DatabaseError::Content {
            table: "sign_in_forges",
            what: "kind",
            found: kind,
        })?,
        url: row.try_get(2)?,
        client_id: row.try_get(3)?,
        secret_file: row.try_get::<String, _>(4)?.into(),
    })
}

impl Database {
    /// Adds a forge by whose accounts people sign in.
    pub async fn add_sign_in_forge(&self, new: NewSignInForge) -> Result<(), SignInForgeError> {
        let secret_file = new.secret_file.to_str().ok_or(SignInForgeError::SecretFile)?.to_owned();
        let url = new.url.clone();
        let added = self
            .write(move |connection| {
                Box::pin(async move {
                    let done = sqlx::query(
                        "INSERT INTO sign_in_forges (kind, url, client_id, secret_file, created_at)
                         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (url) DO NOTHING",
                    )
                    .bind(new.kind.name())
                    .bind(new.url)
                    .bind(new.client_id)
                    .bind(secret_file)
                    .bind(Timestamp::now().millis())
                    .execute(&mut *connection)
                    .await?;
                    Ok(done.rows_affected() == 1)
                })
            })
            .await?;
        if added { Ok(()) } else { Err(SignInForgeError::Known { url }) }
    }

    /// Removes such a forge, and signs out all who came by it; returns whether there was one.
    pub async fn remove_sign_in_forge(&self, url: String) -> Result<bool, DatabaseError> {
        self.write(move |connection| {
            Box::pin(async move {
                let done = sqlx::query("DELETE FROM sign_in_forges WHERE url = $1")
                    .bind(url)
                    .execute(&mut *connection)
                    .await?;
                Ok(done.rows_affected() == 1)
            })
        })
        .await
    }

    /// Returns the forges by whose accounts people sign in.
    pub async fn sign_in_forges(&self) -> Result<Vec<SignInForge>, DatabaseError> {
        let text =
            sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM sign_in_forges ORDER BY url"));
        let rows = sqlx::query(text).fetch_all(self.readers()).await?;
        rows.iter().map(forge).collect()
    }

    /// Notes that somebody is on the way to a forge: what they will bring back, and what their browser keeps.
    pub async fn start_sign_in(
        &self,
        state: Hash,
        browser: Hash,
        started: Started,
        now: Timestamp,
    ) -> Result<(), DatabaseError> {
        self.write(move |connection| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO sign_ins (state, browser, forge, verifier, next, expires_at)
                     VALUES ($1, $2, $3, $4, $5, $6)",
                )
                .bind(state.into_text())
                .bind(browser.into_text())
                .bind(started.forge)
                .bind(started.verifier)
                .bind(started.next)
                .bind(now.after(WAIT).millis())
                .execute(&mut *connection)
                .await?;
                sqlx::query(
                    "DELETE FROM sign_ins WHERE expires_at <= $1 OR id <= (
                         SELECT MAX(id) FROM sign_ins
                     ) - $2",
                )
                .bind(now.millis())
                .bind(MOST)
                .execute(&mut *connection)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Returns who comes back, once: not with another browser than they left with, and not too late.
    pub async fn finish_sign_in(
        &self,
        state: Hash,
        browser: Hash,
        now: Timestamp,
    ) -> Result<Option<(SignInForge, Started)>, DatabaseError> {
        let taken = self
            .write(move |connection| {
                Box::pin(async move {
                    // Whatever is wrong with it, it is used.
                    let row = sqlx::query(
                        "DELETE FROM sign_ins WHERE state = $1
                         RETURNING forge, verifier, next, browser, expires_at",
                    )
                    .bind(state.into_text())
                    .fetch_optional(&mut *connection)
                    .await?;
                    let Some(row) = row else { return Ok(None) };
                    let is_same = row.try_get::<String, _>(3)? == browser.into_text();
                    let is_in_time = now.millis() < row.try_get::<i64, _>(4)?;
                    let started = Started {
                        forge: row.try_get(0)?,
                        verifier: row.try_get(1)?,
                        next: row.try_get(2)?,
                    };
                    Ok((is_same && is_in_time).then_some(started))
                })
            })
            .await?;
        let Some(started) = taken else { return Ok(None) };
        let forges = self.sign_in_forges().await?;
        let forge = forges.into_iter().find(|forge| forge.id == started.forge);
        Ok(forge.map(|forge| (forge, started)))
    }
}
