//! What repositories are called: one row for each, however its address is spelt, as signatures have it.
//!
//! Mirrors stay apart by their addresses. What they remember is the same.

use levain_engine::records::{Jobsets, Mark};
use sqlx::{AnyConnection, Row};

use super::{RepositoryId, rows};
use crate::database::{Database, DatabaseError};

/// Returns what the repository at `url` is called.
pub(crate) fn name_of(url: &str) -> String {
    // No path of a project depends on where the server was started.
    levain_engine::project::place_of(url, std::path::Path::new("/"))
}

/// Has all repositories a name; those of one name become one.
///
/// Earlier versions knew addresses alone, and may still serve the same database.
async fn name_all(connection: &mut AnyConnection) -> Result<(), DatabaseError> {
    // Holds the rows: another server that does the same waits here, and finds none left.
    sqlx::query("UPDATE repositories SET name = NULL WHERE name IS NULL")
        .execute(&mut *connection)
        .await?;
    let nameless = sqlx::query("SELECT id, url FROM repositories WHERE name IS NULL ORDER BY id")
        .fetch_all(&mut *connection)
        .await?;
    for row in nameless {
        let (id, url): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
        let name = name_of(&url);
        match named(connection, &name).await? {
            Some(known) => join(connection, RepositoryId(id), known).await?,
            None => {
                sqlx::query("UPDATE repositories SET name = $1 WHERE id = $2")
                    .bind(name)
                    .bind(id)
                    .execute(&mut *connection)
                    .await?;
            }
        }
    }
    Ok(())
}

/// Returns the repository of that name, those that are not committed yet among them.
pub(super) async fn named(
    connection: &mut AnyConnection,
    name: &str,
) -> Result<Option<RepositoryId>, DatabaseError> {
    let row = sqlx::query("SELECT id FROM repositories WHERE name = $1")
        .bind(name.to_owned())
        .fetch_optional(connection)
        .await?;
    Ok(row.map(|row| row.try_get(0).map(RepositoryId)).transpose()?)
}

/// Moves all that is remembered of one repository to another.
///
/// Newer successes stay, and later times until which caches are dropped. What is dropped of either is dropped of both.
async fn join(
    connection: &mut AnyConnection,
    from: RepositoryId,
    to: RepositoryId,
) -> Result<(), DatabaseError> {
    for text in [
        "INSERT INTO successes (repository, base, maker, job, built, outputs, commit_id, made_at, tier, cache, entry)
         SELECT $1, base, maker, job, built, outputs, commit_id, made_at, tier, cache, entry
         FROM successes WHERE repository = $2
         ON CONFLICT (repository, base, maker) DO UPDATE SET
             job = excluded.job, built = excluded.built, outputs = excluded.outputs,
             commit_id = excluded.commit_id, made_at = excluded.made_at, tier = excluded.tier,
             cache = excluded.cache, entry = excluded.entry
         WHERE excluded.made_at > successes.made_at",
        "INSERT INTO dropped_caches (repository, name, kind, jobset, job, dropped_until, commit_id)
         SELECT $1, name, kind, jobset, job, dropped_until, commit_id
         FROM dropped_caches WHERE repository = $2
         ON CONFLICT (repository, name) DO UPDATE SET dropped_until = excluded.dropped_until
         WHERE excluded.dropped_until > dropped_caches.dropped_until",
        "INSERT INTO cache_keys (repository, key, document)
         SELECT $1, key, document FROM cache_keys WHERE repository = $2
         ON CONFLICT (repository, key) DO NOTHING",
        "UPDATE taken_over SET repository = $1 WHERE repository = $2",
    ] {
        sqlx::query(text).bind(to.0).bind(from.0).execute(&mut *connection).await?;
    }
    // With its rows.
    for text in [
        "DELETE FROM successes WHERE repository = $1",
        "DELETE FROM dropped_caches WHERE repository = $1",
        "DELETE FROM cache_keys WHERE repository = $1",
        "DELETE FROM repositories WHERE id = $1",
    ] {
        sqlx::query(text).bind(from.0).execute(&mut *connection).await?;
    }
    for mark in rows::marks_so_far(connection, to).await? {
        if let Mark::Until { jobset, job, time } = &mark {
            let jobset = match jobset {
                Jobsets::All => None,
                Jobsets::One(jobset) => Some(jobset),
            };
            rows::forget(connection, to, jobset, job.as_ref(), *time).await?;
        }
    }
    Ok(())
}

impl Database {
    /// Has all repositories a name, if any has none.
    pub(crate) async fn name_repositories(&self) -> Result<(), DatabaseError> {
        let nameless = sqlx::query("SELECT 1 FROM repositories WHERE name IS NULL LIMIT 1")
            .fetch_optional(self.readers())
            .await?;
        match nameless {
            None => Ok(()),
            Some(_) => self.write(|connection| Box::pin(name_all(connection))).await,
        }
    }

    /// Returns the number of the repository at `url`; gives it one if it has none.
    pub(super) async fn repository(&self, url: &str) -> Result<RepositoryId, DatabaseError> {
        if let Some(known) = self.known_repository(url).await? {
            return Ok(known);
        }
        let (url, name) = (url.to_owned(), name_of(url));
        self.write(move |connection| {
            Box::pin(async move {
                // An earlier version may have put the address there.
                name_all(connection).await?;
                // Another server may have done so: its row stays, and is returned.
                let row = sqlx::query(
                    "INSERT INTO repositories (url, name) VALUES ($1, $2)
                     ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id",
                )
                .bind(url)
                .bind(name)
                .fetch_one(connection)
                .await?;
                Ok(RepositoryId(row.try_get(0)?))
            })
        })
        .await
    }

    /// Returns the number of the repository at `url`, if it has one.
    pub(super) async fn known_repository(
        &self,
        url: &str,
    ) -> Result<Option<RepositoryId>, DatabaseError> {
        let row = sqlx::query("SELECT id FROM repositories WHERE name = $1")
            .bind(name_of(url))
            .fetch_optional(self.readers())
            .await?;
        Ok(row.map(|row| row.try_get(0).map(RepositoryId)).transpose()?)
    }
}
