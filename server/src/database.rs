//! Where everything is kept that must not be lost: an SQLite file, or PostgreSQL.
//!
//! Both are asked in the same words. What differs, types and settings, is in the migrations and in this file. All writes
//! of a process go through one task, which commits those that arrive together at once: see [`Database::write`].

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::MigrateError;
use sqlx::{AnyConnection, AnyPool, ConnectOptions, Connection, Executor};
use tokio::sync::Notify;

pub(crate) mod migrations;
mod outage;
mod writer;

use crate::counters::Counters;
use crate::points::{Point, Points};
use crate::statuses::Outbox;
use writer::Writer;

/// How many statements that only read may be at work.
const READERS: u32 = 8;
/// How long another process may hold SQLite's lock.
const BUSY: Duration = Duration::from_secs(10);
/// Something the database did not do.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The text is no address of a database.
    #[error("`{url}` is no database\nhint: `sqlite:/path/to/file`, or `postgres://user@host/name`")]
    Url {
        /// The text, without a password.
        url: String,
    },
    /// It cannot be reached or made.
    #[error("cannot open the database {url}: {source}")]
    Open {
        /// Its address, without a password.
        url: String,
        /// What happened.
        #[source]
        source: sqlx::Error,
    },
    /// Its tables cannot be brought to this version of levain.
    #[error("cannot bring the database {url} up to date: {source}")]
    Migrate {
        /// Its address, without a password.
        url: String,
        /// What happened.
        #[source]
        source: MigrateError,
    },
    /// A newer levain has worked with it.
    #[error(
        "the database {url} is of a newer levain: its tables have version {found}, and levain {} knows up to {known}\nhint: install the levain that it is of, or bring a copy back that this one made, with `levain restore`",
        env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// Its address, without a password.
        url: String,
        /// The version of its tables.
        found: i64,
        /// The newest that is known.
        known: i64,
    },
    /// A statement failed.
    #[error("the database refused: {0}")]
    Statement(#[from] sqlx::Error),
    /// What several writes were to be committed by failed.
    #[error("the database did not commit: {message}")]
    Commit {
        /// What happened.
        message: String,
    },
    /// It could not be reached, or could not write, when several writes were to be committed.
    #[error("the database cannot be reached: {message}")]
    Away {
        /// What happened.
        message: String,
    },
    /// The server is ending.
    #[error("the database is closed")]
    Closed,
    /// Something in a table is not what levain writes there.
    #[error("the table `{table}` has `{found}` for a {what}")]
    Content {
        /// The table.
        table: &'static str,
        /// What it should be.
        what: &'static str,
        /// What it is.
        found: String,
    },
}

impl DatabaseError {
    /// Returns whether it makes sense to try once more later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Open { source, .. } | Self::Statement(source) => outage::is_outage(source),
            Self::Away { .. } | Self::Closed => true,
            Self::Url { .. }
            | Self::Migrate { .. }
            | Self::Newer { .. }
            | Self::Commit { .. }
            | Self::Content { .. } => false,
        }
    }
}

/// Describes why tables are not of this version of levain.
fn not_migrated(url: &DatabaseUrl, source: MigrateError) -> DatabaseError {
    let (url, known) = (url.shown(), migrations::VERSION);
    if let MigrateError::VersionMissing(found) = source
        && found > known
    {
        return DatabaseError::Newer { url, found, known };
    }
    DatabaseError::Migrate { url, source }
}

/// The kinds of databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sqlite,
    Postgres,
}

/// The address of a database.
#[derive(Clone)]
pub struct DatabaseUrl {
    kind: Kind,
    url: String,
}

impl DatabaseUrl {
    /// Returns the address of a file.
    pub fn file(path: &std::path::Path) -> Result<Self, DatabaseError> {
        let path = path
            .to_str()
            .ok_or_else(|| DatabaseError::Url { url: path.to_string_lossy().into_owned() })?;
        // The address is a URL, in which these would end the path.
        let path = path.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        format!("sqlite:{path}").parse()
    }

    /// Returns the address without a password.
    pub fn shown(&self) -> String {
        levain_actions::git::masked(&self.url)
    }

    /// Returns the address of the same database for another directory.
    pub fn absolute(&self) -> Result<Self, DatabaseError> {
        let Some(path) = self.path() else { return Ok(self.clone()) };
        let absolute = std::path::absolute(path).map_err(|error| DatabaseError::Open {
            url: self.shown(),
            source: sqlx::Error::Io(error),
        })?;
        Self::file(&absolute)
    }

    fn options(&self) -> Result<AnyConnectOptions, DatabaseError> {
        let url = match self.kind {
            Kind::Sqlite => format!("{}?mode=rwc", self.url),
            Kind::Postgres => self.url.clone(),
        };
        let options = AnyConnectOptions::from_str(&url)
            .map_err(|source| DatabaseError::Open { url: self.shown(), source })?;
        // A statement may hold what must not be in a log.
        Ok(options.disable_statement_logging())
    }

    /// Returns the address for SQLite of a file that must be there.
    pub(crate) fn existing(&self) -> String {
        format!("{}?mode=rw", self.url)
    }

    /// Returns the address for SQLite of a file that must be there, and that nobody changes.
    pub(crate) fn unchanging(&self) -> String {
        format!("{}?mode=ro&immutable=true", self.url)
    }

    /// Returns the file, if the database is one.
    pub fn path(&self) -> Option<PathBuf> {
        let path = self.url.strip_prefix("sqlite:").filter(|_| self.kind == Kind::Sqlite)?;
        Some(path.replace("%3f", "?").replace("%23", "#").replace("%25", "%").into())
    }
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseError;

    fn from_str(text: &str) -> Result<Self, DatabaseError> {
        let kind = match text.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() && !path.contains(['?', '#']) => {
                Kind::Sqlite
            }
            Some(("postgres" | "postgresql", _)) => Kind::Postgres,
            Some(_) | None => {
                return Err(DatabaseError::Url { url: levain_actions::git::masked(text) });
            }
        };
        Ok(Self { kind, url: text.to_owned() })
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown())
    }
}

/// What is done to the database at once, or not at all.
pub(crate) type Work<'c, T> = Pin<Box<dyn Future<Output = Result<T, DatabaseError>> + Send + 'c>>;

/// A database that is open. Clones share it.
#[derive(Clone)]
pub struct Database {
    readers: AnyPool,
    writer: Writer,
    points: Points,
    /// Says that there is something to be told; nothing if nothing is ever told.
    telling: Option<Arc<Notify>>,
    counters: Counters,
    address: Arc<str>,
    /// The file that was opened, if it is one.
    file: Option<Arc<OpenFile>>,
}

/// A file as it was when it was opened.
struct OpenFile {
    path: PathBuf,
    device: u64,
    number: u64,
}

impl OpenFile {
    fn new(path: PathBuf) -> std::io::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let found = std::fs::metadata(&path)?;
        Ok(Self { path, device: found.dev(), number: found.ino() })
    }

    /// Returns whether the same file is still there.
    fn is_there(&self) -> bool {
        let now = Self::new(self.path.clone());
        now.is_ok_and(|now| (now.device, now.number) == (self.device, self.number))
    }
}

impl Database {
    /// Opens a database, which is made if it is a file and missing, and brings its tables up to date.
    pub async fn open(url: &DatabaseUrl) -> Result<Self, DatabaseError> {
        Self::open_with(url, Points::default()).await
    }

    /// Opens a database, and tells which points are reached from then on.
    pub async fn open_with(url: &DatabaseUrl, points: Points) -> Result<Self, DatabaseError> {
        sqlx::any::install_default_drivers();
        let opening = |source| DatabaseError::Open { url: url.shown(), source };
        if let Some(path) = url.path() {
            keep_private(&path).map_err(|error| opening(sqlx::Error::Io(error)))?;
        }
        let connector = Connector { url: url.clone() };
        let mut writer = connector.connect().await?;
        points.pass(Point::DatabaseConnected);
        let migrated = migrations::all(url.kind).run(&mut writer).await;
        migrated.map_err(|source| not_migrated(url, source))?;
        points.pass(Point::DatabaseMigrated);
        let kind = url.kind;
        let readers = AnyPoolOptions::new()
            .max_connections(READERS)
            // A file does not go away between two statements; a server may.
            .test_before_acquire(url.kind == Kind::Postgres)
            .after_connect(move |connection, _| Box::pin(prepare(connection, kind)))
            .connect_with(url.options()?)
            .await
            .map_err(opening)?;
        points.pass(Point::DatabaseOpened);
        let counters = Counters::default();
        let writer = Writer::start(connector, writer, points.clone(), counters.clone());
        let address = url.absolute()?.shown().into();
        let telling = Some(Arc::default());
        let file = url.path().map(|path| OpenFile::new(path).map(Arc::new)).transpose();
        let file = file.map_err(|error| opening(sqlx::Error::Io(error)))?;
        let database = Self { readers, writer, points, telling, counters, address, file };
        database.name_repositories().await?;
        Ok(database)
    }

    /// Returns the same database, for a server that tells forges nothing: what happens leaves no statuses.
    #[must_use]
    pub fn without_statuses(self) -> Self {
        Self { telling: None, ..self }
    }

    /// Returns whether what happens is to be told to forges.
    pub(crate) fn outbox(&self) -> Outbox {
        match self.telling {
            Some(_) => Outbox::Open,
            None => Outbox::Closed,
        }
    }

    /// Returns what is notified when there may be something to be told.
    pub(crate) fn telling_wakes(&self) -> Arc<Notify> {
        self.telling.clone().unwrap_or_default()
    }

    /// Does the same as [`Database::write`], for work that leaves something to be told.
    pub(crate) async fn write_and_tell<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&'c mut AnyConnection) -> Work<'c, T> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let result = self.write(work).await;
        if let Some(telling) = &self.telling {
            telling.notify_one();
        }
        result
    }

    /// Carries out `work` and returns when it is committed: nothing can undo it any more.
    ///
    /// It happens as a whole or not at all. Work that arrives while other work is written is committed together with
    /// the next; if one fails, the others are not affected.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&'c mut AnyConnection) -> Work<'c, T> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        self.writer.write(work).await
    }

    /// Returns its address, without a password: the same wherever on this machine it is opened from.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Returns whether what is written can be found again: a file may have been replaced or removed since it was opened.
    pub(crate) fn is_in_place(&self) -> bool {
        self.file.as_ref().is_none_or(|file| file.is_there())
    }

    /// Returns what was done since it was opened, in numbers.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns what is told which points are reached.
    pub(crate) fn points(&self) -> &Points {
        &self.points
    }

    /// Returns what answers questions.
    pub(crate) fn readers(&self) -> &AnyPool {
        &self.readers
    }

    /// Ends: what was accepted is committed before.
    pub async fn close(self) {
        self.writer.close().await;
        self.readers.close().await;
    }
}

/// Makes connections that write.
struct Connector {
    url: DatabaseUrl,
}

impl Connector {
    async fn connect(&self) -> Result<AnyConnection, DatabaseError> {
        let opening = |source| DatabaseError::Open { url: self.url.shown(), source };
        let mut connection =
            AnyConnection::connect_with(&self.url.options()?).await.map_err(opening)?;
        prepare(&mut connection, self.url.kind).await.map_err(opening)?;
        Ok(connection)
    }

    /// Returns the statement that begins a transaction.
    fn begin(&self) -> &'static str {
        match self.url.kind {
            // Not to find out at the first write that another process writes.
            Kind::Sqlite => "BEGIN IMMEDIATE",
            Kind::Postgres => "BEGIN",
        }
    }
}

/// Settings that belong to a connection.
async fn prepare(connection: &mut AnyConnection, kind: Kind) -> Result<(), sqlx::Error> {
    if kind == Kind::Postgres {
        return Ok(());
    }
    for setting in [
        format!("busy_timeout = {}", BUSY.as_millis()),
        "journal_mode = WAL".to_owned(),
        "synchronous = FULL".to_owned(),
        "foreign_keys = ON".to_owned(),
    ] {
        connection.execute(sqlx::AssertSqlSafe(format!("PRAGMA {setting}"))).await?;
    }
    Ok(())
}

/// Makes the file so that nobody else can read it: it holds secrets.
fn keep_private(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    // SQLite gives the files beside it the same mode.
    let options = &mut std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).open(path).map(drop)
}

#[cfg(test)]
mod tests {
    use sqlx::Row;

    use super::*;

    #[tokio::test]
    async fn writes_survive_a_loss_of_power() {
        let directory = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::file(&directory.path().join("x")).unwrap();
        let database = Database::open(&url).await.unwrap();
        let written = database
            .write(|connection| {
                Box::pin(async move {
                    let row = connection.fetch_one("PRAGMA synchronous").await?;
                    Ok(row.try_get::<i64, _>(0)?)
                })
            })
            .await;
        assert_eq!(written.unwrap(), 2, "FULL");
        for (setting, expected) in
            [("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 10_000)]
        {
            let text = sqlx::AssertSqlSafe(format!("PRAGMA {setting}"));
            let row = database.readers().fetch_one(text).await.unwrap();
            assert_eq!(row.try_get::<i64, _>(0).unwrap(), expected, "{setting}");
        }
        let row = database.readers().fetch_one("PRAGMA journal_mode").await.unwrap();
        assert_eq!(row.try_get::<String, _>(0).unwrap(), "wal");
    }
}
