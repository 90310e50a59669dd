//! The lock that keeps two levains apart: one at a time on one repository.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Proof that no other levain works on the same state directory.
///
/// The kernel frees the lock when the process ends, however it ends: there are no stale locks. The file itself stays.
#[derive(Debug)]
pub struct RunLock {
    file: File,
}

/// Why the lock cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another levain is at work.
    #[error(
        "another levain is at work on this repository{}\nhint: wait for it to end; the lock is `{}`",
        holder(*pid, *since),
        path.display()
    )]
    Held {
        /// Its process, unless it has only just begun.
        pid: Option<u32>,
        /// When it began, in seconds since 1970.
        since: Option<i64>,
        /// The lock file.
        path: PathBuf,
    },

    /// The lock file cannot be made or locked.
    #[error("cannot lock `{}`", path.display())]
    File {
        /// The lock file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl RunLock {
    /// Takes the lock at `path`, a file that is made if there is none (with its directory), without waiting.
    pub fn acquire(path: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::File { path: path.to_owned(), source };
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(failed)?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Who holds it is told as far as it is known; that it is held is certain.
                if file.read_to_string(&mut text).is_err() {
                    text.clear();
                }
                let mut words = text.split_whitespace();
                return Err(LockError::Held {
                    pid: words.next().and_then(|word| word.parse().ok()),
                    since: words.next().and_then(|word| word.parse().ok()),
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let now =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{} {now}", std::process::id()))
            .map_err(failed)?;
        Ok(Self { file })
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // So that the next holder is never taken for this one. And unlocking is more than closing: a process that is just
        // being started by another thread has the file open until it becomes another program.
        if let Err(error) = self.file.set_len(0) {
            tracing::debug!(%error, "cannot empty the lock file");
        }
        if let Err(error) = self.file.unlock() {
            tracing::debug!(%error, "cannot unlock the lock file");
        }
    }
}

fn holder(pid: Option<u32>, since: Option<i64>) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX));
    match (pid, since) {
        (Some(pid), Some(since)) => {
            format!(" (process {pid}, for {} s)", now.saturating_sub(since).max(0))
        }
        (Some(pid), None) => format!(" (process {pid})"),
        (None, _) => String::new(),
    }
}
