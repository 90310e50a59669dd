//! Where the server keeps what it knows, and who else is at it.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use levain_actions::git::{LockError, RunLock};
use levain_server::Database;
use levain_server::database::{DatabaseError, DatabaseUrl};
use tokio::runtime::Handle;

use crate::args::DatabaseArgs;
use crate::exit::Failure;
use crate::setup;

/// Where forges reach a server that nobody has started yet.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:8740";

/// The database of a server.
pub(crate) struct ServerPlace {
    url: DatabaseUrl,
}

/// Opens the database for a command, and closes it whatever comes of that.
pub(crate) fn with_database<T>(
    args: &DatabaseArgs,
    runtime: &Handle,
    work: impl AsyncFnOnce(&Database) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let place = ServerPlace::find(args)?;
    runtime.block_on(async {
        let database = place.open().await?;
        let result = work(&database).await;
        database.close().await;
        result
    })
}

impl ServerPlace {
    /// Finds it: as is asked for, else a file in the state directory.
    pub(crate) fn find(args: &DatabaseArgs) -> Result<Self, Failure> {
        if let Some(url) = &args.database {
            let url = url.parse().map_err(|error| Failure::error(&error))?;
            return Ok(Self { url });
        }
        let directory = setup::directory("XDG_STATE_HOME", ".local/state")?.join("levain/server");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(
            |error| Failure::user(format!("cannot create `{}`: {error}", directory.display())),
        )?;
        let url = DatabaseUrl::file(&directory.join("levain.sqlite"));
        Ok(Self { url: url.map_err(|error| Failure::error(&error))? })
    }

    /// Returns whether it is a file that this user may not write to, or not look for.
    fn is_refused(&self) -> bool {
        let access = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK;
        let refusal = self.url.path().map(|path| rustix::fs::access(&path, access));
        refusal == Some(Err(rustix::io::Errno::ACCESS))
    }

    /// Returns its address.
    pub(crate) fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// Keeps other servers from a database that is a file, until what is returned is dropped; nothing for others.
    pub(crate) fn lock(&self) -> Result<Option<RunLock>, Failure> {
        let Some(database) = self.url.path() else { return Ok(None) };
        let mut path = database.clone().into_os_string();
        path.push(".lock");
        match RunLock::acquire(Path::new(&path)) {
            Ok(lock) => Ok(Some(lock)),
            Err(LockError::Held { pid, .. }) => {
                let process = pid.map_or_else(String::new, |pid| format!(", process {pid},"));
                Err(Failure::user(format!(
                    "another `levain serve`{process} works with `{}`\nhint: end that one, or give each its own `--database`",
                    database.display()
                )))
            }
            Err(error @ LockError::File { .. }) => Err(Failure::error(&error)),
        }
    }

    /// Opens it.
    pub(crate) async fn open(&self) -> Result<Database, Failure> {
        Database::open(&self.url).await.map_err(|error| match error {
            DatabaseError::Open { .. } if self.is_refused() => Failure::not_allowed(format!(
                "{error}\nhint: run this as the server's user: sudo -Hu USER levain …"
            )),
            DatabaseError::Open { .. } => Failure::unreached(&error),
            DatabaseError::Url { .. }
            | DatabaseError::Migrate { .. }
            | DatabaseError::Newer { .. }
            | DatabaseError::Statement(_)
            | DatabaseError::Commit { .. }
            | DatabaseError::Away { .. }
            | DatabaseError::Closed
            | DatabaseError::Content { .. } => Failure::error(&error),
        })
    }
}
