//! The rows of successes, dropped caches and keys.

use std::collections::{BTreeMap, BTreeSet};

use levain_engine::records::{
    Jobsets, Mark, NewSuccess, RecordedCache, StoredEntry, Success, Successes,
};
use levain_evaluator::key::{Key, KeyDocument};
use levain_evaluator::{JobName, JobsetName};
use levain_store::DerivationPath;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Row};

use super::RepositoryId;
use super::naming::{name_of, named};
use crate::clock::Timestamp;
use crate::database::{Database, DatabaseError};

/// How many names one statement asks for. SQLite takes 32,766, PostgreSQL 65,535.
const ASKED: usize = 10_000;

/// A success as a row.
#[derive(Clone)]
pub(super) struct NewRow {
    base: String,
    maker: String,
    job: String,
    built: String,
    outputs: String,
    commit: String,
    made_at: i64,
    tier: &'static str,
    cache: &'static str,
    entry: Option<String>,
}

impl NewRow {
    pub(super) fn new(new: &NewSuccess<'_>) -> Result<Self, DatabaseError> {
        let Success { built, outputs, commit, time, tier, job, cache } = new.success;
        let (cache, entry) = match cache {
            RecordedCache::None => ("none", None),
            RecordedCache::Entry(entry) => ("entry", Some(entry.as_str().to_owned())),
            RecordedCache::Unusable => ("unusable", None),
        };
        let maker = new.maker.map_or("", JobsetName::as_str);
        Ok(Self {
            base: new.base.to_string(),
            maker: maker.to_owned(),
            job: job.as_str().to_owned(),
            built: built.clone(),
            outputs: json(outputs, "outputs of a success")?,
            commit: commit.to_string(),
            made_at: seconds(*time),
            tier: tier.name(),
            cache,
            entry,
        })
    }

    /// Has nothing start from its cache.
    pub(super) fn without_cache(self) -> Self {
        Self { cache: "unusable", entry: None, ..self }
    }
}

fn json<T: serde::Serialize>(value: &T, what: &'static str) -> Result<String, DatabaseError> {
    serde_json::to_string(value).map_err(|error| DatabaseError::Content {
        table: "successes",
        what,
        found: error.to_string(),
    })
}

fn seconds(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

/// Puts a success in the place of an older one of the same maker.
pub(super) async fn put_success(
    connection: &mut AnyConnection,
    repository: RepositoryId,
    row: NewRow,
) -> Result<(), DatabaseError> {
    insert(connection, repository, row, REPLACES).await
}

/// Adds a success that was recorded elsewhere, if there is no better one.
pub(super) async fn add_success(
    connection: &mut AnyConnection,
    repository: RepositoryId,
    row: NewRow,
) -> Result<(), DatabaseError> {
    insert(connection, repository, row, REPLACES_OLDER).await
}

const REPLACES: &str = "";
const REPLACES_OLDER: &str = " WHERE excluded.made_at > successes.made_at";

async fn insert(
    connection: &mut AnyConnection,
    repository: RepositoryId,
    row: NewRow,
    condition: &'static str,
) -> Result<(), DatabaseError> {
    let text = AssertSqlSafe(format!(
        "INSERT INTO successes (repository, base, maker, job, built, outputs, commit_id, made_at, tier, cache, entry)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         ON CONFLICT (repository, base, maker) DO UPDATE SET
             job = excluded.job, built = excluded.built, outputs = excluded.outputs,
             commit_id = excluded.commit_id, made_at = excluded.made_at, tier = excluded.tier,
             cache = excluded.cache, entry = excluded.entry{condition}"
    ));
    sqlx::query(text)
        .bind(repository.0)
        .bind(row.base)
        .bind(row.maker)
        .bind(row.job)
        .bind(row.built)
        .bind(row.outputs)
        .bind(row.commit)
        .bind(row.made_at)
        .bind(row.tier)
        .bind(row.cache)
        .bind(row.entry)
        .execute(connection)
        .await?;
    Ok(())
}

/// Returns the successes of base derivations, of those that have any.
pub(super) async fn successes(
    database: &Database,
    repository: RepositoryId,
    bases: &BTreeSet<DerivationPath>,
) -> Result<BTreeMap<DerivationPath, Successes>, DatabaseError> {
    let bases: Vec<&DerivationPath> = bases.iter().collect();
    let mut found: BTreeMap<DerivationPath, Successes> = BTreeMap::new();
    for bases in bases.chunks(ASKED) {
        let text = AssertSqlSafe(format!(
            "SELECT base, maker, job, built, outputs, commit_id, made_at, tier, cache, entry FROM successes
             WHERE repository = $1 AND base IN ({})",
            places(bases.len())
        ));
        let mut query = sqlx::query(text).persistent(false).bind(repository.0);
        for base in bases {
            query = query.bind(base.to_string());
        }
        for row in query.fetch_all(database.readers()).await? {
            let base: DerivationPath = parsed(&row, 0, "base derivation")?;
            let maker: String = row.try_get(1)?;
            let success = success(&row)?;
            let known = found.entry(base).or_default();
            match maker.is_empty() {
                true => known.clean = Some(success),
                false => {
                    known.incremental.insert(parsed(&row, 1, "jobset")?, success);
                }
            }
        }
    }
    Ok(found)
}

/// Returns `$2, $3, …`.
fn places(count: usize) -> String {
    let places: Vec<String> = (2..count + 2).map(|place| format!("${place}")).collect();
    places.join(", ")
}

fn success(row: &AnyRow) -> Result<Success, DatabaseError> {
    let cache: String = row.try_get(8)?;
    let entry: Option<String> = row.try_get(9)?;
    let cache = match (cache.as_str(), entry) {
        ("none", None) => RecordedCache::None,
        ("entry", Some(entry)) => RecordedCache::Entry(StoredEntry::from(entry)),
        ("unusable", None) => RecordedCache::Unusable,
        (_, _) => return Err(content("cache", cache)),
    };
    let outputs: String = row.try_get(4)?;
    let time: i64 = row.try_get(6)?;
    Ok(Success {
        built: row.try_get(3)?,
        outputs: serde_json::from_str(&outputs)
            .map_err(|error| content("map of outputs", format!("{outputs}: {error}")))?,
        commit: parsed(row, 5, "commit")?,
        time: u64::try_from(time).map_err(|error| content("time", format!("{time}: {error}")))?,
        tier: parsed(row, 7, "tier")?,
        job: JobName::from(row.try_get::<String, _>(2)?.as_str()),
        cache,
    })
}

fn content(what: &'static str, found: String) -> DatabaseError {
    DatabaseError::Content { table: "successes", what, found }
}

fn parsed<T: std::str::FromStr>(
    row: &AnyRow,
    column: usize,
    what: &'static str,
) -> Result<T, DatabaseError> {
    let text: String = row.try_get(column)?;
    // What is wrong with it shows in the text.
    text.parse().map_err(|_error| content(what, text))
}

/// Forgets incremental successes until a time, and has nothing start from the caches of clean ones; of one jobset or
/// job, or of all. Returns how many it forgot.
pub(super) async fn forget(
    connection: &mut AnyConnection,
    repository: RepositoryId,
    jobset: Option<&JobsetName>,
    job: Option<&JobName>,
    until: u64,
) -> Result<usize, DatabaseError> {
    let of_job = if job.is_some() { " AND job = $3" } else { "" };
    let of_jobset = match (jobset, job) {
        (None, _) => "",
        (Some(_), None) => " AND maker = $3",
        (Some(_), Some(_)) => " AND maker = $4",
    };
    let forget = AssertSqlSafe(format!(
        "DELETE FROM successes
         WHERE repository = $1 AND maker <> '' AND made_at <= $2{of_job}{of_jobset}"
    ));
    let mut query = sqlx::query(forget).bind(repository.0).bind(seconds(until));
    if let Some(job) = job {
        query = query.bind(job.as_str().to_owned());
    }
    if let Some(jobset) = jobset {
        query = query.bind(jobset.as_str().to_owned());
    }
    let forgotten = query.execute(&mut *connection).await?.rows_affected();
    let spoil = AssertSqlSafe(format!(
        "UPDATE successes SET cache = 'unusable', entry = NULL
         WHERE repository = $1 AND maker = '' AND cache = 'entry' AND made_at <= $2{of_job}"
    ));
    let mut query = sqlx::query(spoil).bind(repository.0).bind(seconds(until));
    if let Some(job) = job {
        query = query.bind(job.as_str().to_owned());
    }
    query.execute(connection).await?;
    Ok(usize::try_from(forgotten).unwrap_or(usize::MAX))
}

/// Returns when the newest success of a job was made.
pub(super) async fn newest(
    connection: &mut AnyConnection,
    repository: RepositoryId,
    job: &JobName,
) -> Result<Option<u64>, DatabaseError> {
    let row = sqlx::query("SELECT MAX(made_at) FROM successes WHERE repository = $1 AND job = $2")
        .bind(repository.0)
        .bind(job.as_str().to_owned())
        .fetch_one(connection)
        .await?;
    let newest: Option<i64> = row.try_get(0)?;
    Ok(newest.map(|time| u64::try_from(time).unwrap_or_default()))
}

/// Has nothing that was recorded of an address until now count any more, but that derivations were built as they are.
///
/// Whoever adds a project says what is to be built at an address, and not that it was always theirs.
pub(crate) async fn begin_anew(
    connection: &mut AnyConnection,
    url: &str,
) -> Result<(), DatabaseError> {
    let Some(repository) = named(connection, &name_of(url)).await? else { return Ok(()) };
    let now = u64::try_from(Timestamp::now().millis() / 1000).unwrap_or_default();
    forget(connection, repository, None, None, now).await?;
    put_mark(connection, repository, &Mark::Until { jobset: Jobsets::All, job: None, time: now })
        .await
}

/// Notes a mark; of two times for the same caches the later one counts.
pub(super) async fn put_mark(
    connection: &mut AnyConnection,
    repository: RepositoryId,
    mark: &Mark,
) -> Result<(), DatabaseError> {
    let name = mark.name();
    let (kind, jobset, job, until, commit) = match mark {
        Mark::Until { jobset, job, time } => {
            ("until", jobset, job.as_ref(), Some(seconds(*time)), None)
        }
        Mark::Off { jobset, job, commit } => {
            ("off", jobset, Some(job), None, Some(commit.to_string()))
        }
    };
    sqlx::query(
        "INSERT INTO dropped_caches (repository, name, kind, jobset, job, dropped_until, commit_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (repository, name) DO UPDATE SET
             dropped_until = excluded.dropped_until, commit_id = excluded.commit_id
         WHERE excluded.kind = 'off' OR excluded.dropped_until > dropped_caches.dropped_until",
    )
    .bind(repository.0)
    .bind(name)
    .bind(kind)
    .bind(String::from(jobset.clone()))
    .bind(job.map(|job| job.as_str().to_owned()))
    .bind(until)
    .bind(commit)
    .execute(connection)
    .await?;
    Ok(())
}

const MARKS: &str =
    "SELECT kind, jobset, job, dropped_until, commit_id FROM dropped_caches WHERE repository = $1";

/// Returns all marks.
pub(super) async fn marks(
    readers: &AnyPool,
    repository: RepositoryId,
) -> Result<Vec<Mark>, DatabaseError> {
    let rows = sqlx::query(MARKS).bind(repository.0).fetch_all(readers).await?;
    rows.iter().map(mark).collect()
}

/// Returns all marks, and those that are not committed yet.
pub(super) async fn marks_so_far(
    connection: &mut AnyConnection,
    repository: RepositoryId,
) -> Result<Vec<Mark>, DatabaseError> {
    let rows = sqlx::query(MARKS).bind(repository.0).fetch_all(connection).await?;
    rows.iter().map(mark).collect()
}

fn mark(row: &AnyRow) -> Result<Mark, DatabaseError> {
    let wrong = |what, found| DatabaseError::Content { table: "dropped_caches", what, found };
    let kind: String = row.try_get(0)?;
    let text: String = row.try_get(1)?;
    let jobset = Jobsets::try_from(text.clone()).map_err(|_error| wrong("jobset", text))?;
    let job = row.try_get::<Option<String>, _>(2)?.map(|job| JobName::from(job.as_str()));
    let until: Option<i64> = row.try_get(3)?;
    let commit: Option<String> = row.try_get(4)?;
    match (kind.as_str(), until, commit, job) {
        ("until", Some(until), None, job) => {
            let time = u64::try_from(until);
            let time = time.map_err(|_error| wrong("time", until.to_string()))?;
            Ok(Mark::Until { jobset, job, time })
        }
        ("off", None, Some(commit), Some(job)) => {
            let parsed = commit.parse();
            let commit = parsed.map_err(|_error| wrong("commit", commit))?;
            Ok(Mark::Off { jobset, job, commit })
        }
        (_, _, _, _) => Err(wrong("kind", kind)),
    }
}

/// Removes what keeps a job from using caches; returns whether anything did.
pub(super) async fn allow(
    connection: &mut AnyConnection,
    repository: RepositoryId,
    job: &JobName,
) -> Result<bool, DatabaseError> {
    let done = sqlx::query(
        "DELETE FROM dropped_caches WHERE repository = $1 AND kind = 'off' AND job = $2",
    )
    .bind(repository.0)
    .bind(job.as_str().to_owned())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Returns a key and what went into it, as they are kept.
pub(super) fn key_row(document: &KeyDocument) -> Result<(String, String), DatabaseError> {
    Ok((document.key().as_str().to_owned(), json(document, "document of a key")?))
}

/// Keeps what went into a key. It never changes: the key is a hash of it.
pub(super) async fn put_key(
    connection: &mut AnyConnection,
    repository: RepositoryId,
    (key, document): (String, String),
) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO cache_keys (repository, key, document) VALUES ($1, $2, $3)
         ON CONFLICT (repository, key) DO NOTHING",
    )
    .bind(repository.0)
    .bind(key)
    .bind(document)
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns what went into keys, of those that are known.
pub(super) async fn keys(
    database: &Database,
    repository: RepositoryId,
    keys: &BTreeSet<Key>,
) -> Result<BTreeMap<Key, KeyDocument>, DatabaseError> {
    let keys: Vec<&Key> = keys.iter().collect();
    let mut found = BTreeMap::new();
    for keys in keys.chunks(ASKED) {
        let text = AssertSqlSafe(format!(
            "SELECT key, document FROM cache_keys WHERE repository = $1 AND key IN ({})",
            places(keys.len())
        ));
        let mut query = sqlx::query(text).persistent(false).bind(repository.0);
        for key in keys {
            query = query.bind(key.as_str().to_owned());
        }
        for row in query.fetch_all(database.readers()).await? {
            let (key, document): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            let wrong = |what, found| DatabaseError::Content { table: "cache_keys", what, found };
            let document = serde_json::from_str(&document)
                .map_err(|error| wrong("document", error.to_string()))?;
            let parsed: Result<Key, _> = key.parse();
            found.insert(parsed.map_err(|_error| wrong("key", key))?, document);
        }
    }
    Ok(found)
}
