//! Who is signed in: a cookie's hash, whose it is, and until when.

use std::time::Duration;

use levain_actions::forge::Account;
use sqlx::{AnyConnection, Row};

use super::{COLUMNS, Person, PersonId, SignInForge, TABLES, person};
use crate::clock::Timestamp;
use crate::database::{Database, DatabaseError};
use crate::secret::Hash;

/// How long somebody stays signed in.
pub const SESSION: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// How long a link counts by which the operator signs in.
const LINK: Duration = Duration::from_secs(24 * 60 * 60);

impl Database {
    /// Signs somebody in who came back from a forge. Whoever uses that cookie's secret is them until the session ends.
    pub async fn sign_in(
        &self,
        forge: &SignInForge,
        account: Account,
        cookie: Hash,
        now: Timestamp,
    ) -> Result<(), DatabaseError> {
        let forge = forge.id;
        self.write(move |connection| {
            Box::pin(async move {
                let number = i64::try_from(account.id).map_err(|_too_large| {
                    let found = account.id.to_string();
                    DatabaseError::Content { table: "people", what: "account", found }
                })?;
                // The number stays; the name is what they are called now.
                let row = sqlx::query(
                    "INSERT INTO people (forge, account, login, created_at)
                     VALUES ($1, $2, $3, $4)
                     ON CONFLICT (forge, account) DO UPDATE SET login = excluded.login
                     RETURNING id",
                )
                .bind(forge)
                .bind(number)
                .bind(account.login)
                .bind(now.millis())
                .fetch_one(&mut *connection)
                .await?;
                begin(connection, PersonId(row.try_get(0)?), cookie, now).await
            })
        })
        .await
    }

    /// Returns who is signed in with a cookie.
    pub async fn signed_in(
        &self,
        cookie: Hash,
        now: Timestamp,
    ) -> Result<Option<Person>, DatabaseError> {
        let text = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM {TABLES} JOIN sessions ON sessions.person = people.id
             WHERE sessions.cookie = $1 AND sessions.expires_at > $2"
        ));
        let row = sqlx::query(text)
            .bind(cookie.into_text())
            .bind(now.millis())
            .fetch_optional(self.readers())
            .await?;
        row.as_ref().map(person).transpose()
    }

    /// Ends a session.
    pub async fn sign_out(&self, cookie: Hash) -> Result<(), DatabaseError> {
        self.write(move |connection| {
            Box::pin(async move {
                sqlx::query("DELETE FROM sessions WHERE cookie = $1")
                    .bind(cookie.into_text())
                    .execute(&mut *connection)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// Notes the link by which the operator signs in, in place of any older one; returns whether one is needed: not
    /// while the operator is signed in.
    pub async fn note_operator_link(
        &self,
        link: Hash,
        now: Timestamp,
    ) -> Result<bool, DatabaseError> {
        self.write(move |connection| {
            Box::pin(async move {
                let signed_in = sqlx::query(
                    "SELECT 1 FROM sessions JOIN people ON people.id = sessions.person
                     WHERE people.forge IS NULL AND sessions.expires_at > $1 LIMIT 1",
                )
                .bind(now.millis())
                .fetch_optional(&mut *connection)
                .await?;
                if signed_in.is_some() {
                    return Ok(false);
                }
                replace_link(connection, link, now).await?;
                Ok(true)
            })
        })
        .await
    }

    /// Notes a link by which the operator signs in, in place of any older one, though they may be signed in: a browser
    /// may have lost its cookie.
    pub async fn replace_operator_link(
        &self,
        link: Hash,
        now: Timestamp,
    ) -> Result<(), DatabaseError> {
        self.write(move |connection| {
            Box::pin(async move { replace_link(connection, link, now).await })
        })
        .await
    }

    /// Ends all sessions of the operator; returns how many there were.
    pub async fn end_operator_sessions(&self) -> Result<u64, DatabaseError> {
        self.write(move |connection| {
            Box::pin(async move {
                let done = sqlx::query(
                    "DELETE FROM sessions
                     WHERE person IN (SELECT id FROM people WHERE forge IS NULL)",
                )
                .execute(&mut *connection)
                .await?;
                Ok(done.rows_affected())
            })
        })
        .await
    }

    /// Signs the operator in by a link, which nobody can use again; returns whether it counts.
    pub async fn use_operator_link(
        &self,
        link: Hash,
        cookie: Hash,
        now: Timestamp,
    ) -> Result<bool, DatabaseError> {
        self.write(move |connection| {
            Box::pin(async move {
                let done =
                    sqlx::query("DELETE FROM operator_links WHERE link = $1 AND expires_at > $2")
                        .bind(link.into_text())
                        .bind(now.millis())
                        .execute(&mut *connection)
                        .await?;
                if done.rows_affected() == 0 {
                    return Ok(false);
                }
                let row = sqlx::query("SELECT id FROM people WHERE forge IS NULL")
                    .fetch_optional(&mut *connection)
                    .await?;
                let row = match row {
                    Some(row) => row,
                    None => {
                        sqlx::query(
                            "INSERT INTO people (login, created_at) VALUES ('operator', $1)
                             RETURNING id",
                        )
                        .bind(now.millis())
                        .fetch_one(&mut *connection)
                        .await?
                    }
                };
                begin(connection, PersonId(row.try_get(0)?), cookie, now).await?;
                Ok(true)
            })
        })
        .await
    }

    /// Forgets sessions, links, sign-ins and tokens that ended; returns how many there were.
    pub async fn forget_ended(&self, now: Timestamp) -> Result<u64, DatabaseError> {
        self.write(move |connection| {
            Box::pin(async move {
                let mut count = 0;
                for table in ["sessions", "operator_links", "sign_ins"] {
                    let text = format!("DELETE FROM {table} WHERE expires_at <= $1");
                    let done = sqlx::query(sqlx::AssertSqlSafe(text))
                        .bind(now.millis())
                        .execute(&mut *connection)
                        .await?;
                    count += done.rows_affected();
                }
                Ok(count)
            })
        })
        .await
    }
}

async fn replace_link(
    connection: &mut AnyConnection,
    link: Hash,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    sqlx::query("DELETE FROM operator_links").execute(&mut *connection).await?;
    sqlx::query("INSERT INTO operator_links (link, expires_at) VALUES ($1, $2)")
        .bind(link.into_text())
        .bind(now.after(LINK).millis())
        .execute(&mut *connection)
        .await?;
    Ok(())
}

async fn begin(
    connection: &mut AnyConnection,
    person: PersonId,
    cookie: Hash,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO sessions (cookie, person, created_at, expires_at) VALUES ($1, $2, $3, $4)",
    )
    .bind(cookie.into_text())
    .bind(person.0)
    .bind(now.millis())
    .bind(now.after(SESSION).millis())
    .execute(&mut *connection)
    .await?;
    Ok(())
}
