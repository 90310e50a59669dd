//! Copies of the database of a server, and bringing one back.
//!
//! For SQLite: the copy is whole whatever a server writes meanwhile, and bringing one back never leaves less than a
//! whole database in its place. PostgreSQL has programs of its own for that.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sqlx::{AnyConnection, Connection, Executor, Row};

use crate::database::migrations::VERSION;
use crate::database::{DatabaseError, DatabaseUrl};

/// A copy was not made or brought back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The database is no file.
    #[error(
        "`{url}` is not copied by levain\nhint: use `pg_dump` and `pg_restore`, which do it while servers run"
    )]
    NoFile {
        /// Its address, without a password.
        url: String,
    },
    /// There is something where the copy is to be.
    #[error("`{}` exists\nhint: name a file that does not", .0.display())]
    Exists(PathBuf),
    /// There is a database where the copy is to be brought back.
    #[error("there is a database at `{}`\nhint: `levain restore --replace` puts it aside", .0.display())]
    InPlace(PathBuf),
    /// The file is no copy.
    #[error("`{}` is no copy of a levain database: {why}", .path.display())]
    NoCopy {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The file is a copy that this levain cannot work with.
    #[error(
        "`{}` is of a newer levain: its tables have version {found}, and levain {} knows up to {known}\nhint: install the levain that made it",
        .path.display(),
        env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its tables.
        found: i64,
        /// The newest that is known.
        known: i64,
    },
    /// A file cannot be read or written.
    #[error("cannot write `{}`: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A statement failed.
    #[error("the database refused: {0}")]
    Statement(#[from] sqlx::Error),
}

/// What becomes of a database that is in the place of the one that is brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and nothing is brought back.
    Kept,
    /// It is put aside, under a name of its own.
    PutAside,
}

/// Copies a database to a file that there is not yet. Servers may go on meanwhile.
pub async fn save(url: &DatabaseUrl, copy: &Path) -> Result<(), BackupError> {
    let database = path_of(url)?;
    let mut connection = connect(&database).await?;
    // SQLite writes to an empty file as to none. So nobody else can ever read it.
    let file = new_file(copy)?;
    let copied = copy_into(&mut connection, copy).await;
    connection.close().await?;
    let checked = match copied {
        Ok(()) => check(copy).await,
        Err(error) => Err(error.into()),
    };
    if checked.is_err() {
        std::fs::remove_file(copy).map_err(|source| at(copy, source))?;
        return checked;
    }
    file.sync_all().map_err(|source| at(copy, source))?;
    sync_directory(copy)
}

/// Puts a copy in the place of a database that no server works with; returns where that which was there is now.
///
/// The next server brings its tables up to date.
pub async fn restore(
    url: &DatabaseUrl,
    copy: &Path,
    existing: Existing,
) -> Result<Option<PathBuf>, BackupError> {
    let database = path_of(url)?;
    check(copy).await?;
    if database.exists() && existing == Existing::Kept {
        return Err(BackupError::InPlace(database));
    }
    let incoming = beside(&database, ".incoming");
    // One that was left by a restore that was killed.
    remove(&incoming)?;
    let file = new_file(&incoming)?;
    std::fs::copy(copy, &incoming).map_err(|source| at(&incoming, source))?;
    file.sync_all().map_err(|source| at(&incoming, source))?;
    let aside = put_aside(&database).await?;
    std::fs::rename(&incoming, &database).map_err(|source| at(&database, source))?;
    sync_directory(&database)?;
    Ok(aside)
}

/// Copies all of a database at one moment.
async fn copy_into(connection: &mut AnyConnection, copy: &Path) -> Result<(), sqlx::Error> {
    let name = copy.to_string_lossy().into_owned();
    sqlx::query("VACUUM INTO $1").bind(name).execute(connection).await?;
    Ok(())
}

/// Gives a database that is there another name; returns that.
async fn put_aside(database: &Path) -> Result<Option<PathBuf>, BackupError> {
    if !database.exists() {
        // What belongs to a database that is gone would be taken for the new one's.
        for ending in ["-wal", "-shm"] {
            remove(&beside(database, ending))?;
        }
        return Ok(None);
    }
    // What is in its log belongs into the file: whoever closes it last writes that.
    let mut connection = connect(database).await?;
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").await?;
    connection.close().await?;
    let aside = (1..).map(|number| beside(database, &format!(".before-restore-{number}")));
    let aside = aside.into_iter().find(|path| !path.exists());
    let aside = aside.unwrap_or_else(|| beside(database, ".before-restore"));
    for ending in ["-wal", "-shm"] {
        remove(&beside(database, ending))?;
    }
    std::fs::rename(database, &aside).map_err(|source| at(&aside, source))?;
    Ok(Some(aside))
}

fn path_of(url: &DatabaseUrl) -> Result<PathBuf, BackupError> {
    url.path().ok_or_else(|| BackupError::NoFile { url: url.shown() })
}

/// Opens a database as it is, without bringing its tables up to date.
async fn connect(path: &Path) -> Result<AnyConnection, BackupError> {
    sqlx::any::install_default_drivers();
    Ok(AnyConnection::connect(&DatabaseUrl::file(path)?.existing()).await?)
}

/// Fails unless a file is a whole database of levain's.
async fn check(path: &Path) -> Result<(), BackupError> {
    let no_copy = |why: String| BackupError::NoCopy { path: path.to_owned(), why };
    if let Err(error) = File::open(path) {
        return Err(no_copy(error.to_string()));
    }
    let checked = async {
        sqlx::any::install_default_drivers();
        // It may be where nothing can be written.
        let url = DatabaseUrl::file(path)?.unchanging();
        let mut connection = AnyConnection::connect(&url).await?;
        let row = connection.fetch_one("PRAGMA integrity_check(1)").await?;
        let found: String = row.try_get(0)?;
        let row = connection.fetch_one("SELECT MAX(version) FROM _sqlx_migrations").await?;
        let version: i64 = row.try_get(0)?;
        connection.fetch_one("SELECT COUNT(*) FROM deliveries").await?;
        connection.close().await?;
        Ok::<_, BackupError>((found, version))
    };
    match checked.await {
        Ok((found, version)) if found == "ok" && version > VERSION => {
            Err(BackupError::Newer { path: path.to_owned(), found: version, known: VERSION })
        }
        Ok((found, _)) if found == "ok" => Ok(()),
        Ok((found, _)) => Err(no_copy(found)),
        Err(error) => Err(no_copy(error.to_string())),
    }
}

fn new_file(path: &Path) -> Result<File, BackupError> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    opened.map_err(|source| {
        if source.kind() == io::ErrorKind::AlreadyExists {
            return BackupError::Exists(path.to_owned());
        }
        at(path, source)
    })
}

fn at(path: &Path, source: io::Error) -> BackupError {
    BackupError::File { path: path.to_owned(), source }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Removes a file, if there is one.
fn remove(path: &Path) -> Result<(), BackupError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path, error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Makes a new name outlast a loss of power.
fn sync_directory(path: &Path) -> Result<(), BackupError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|source| at(directory, source))
}
