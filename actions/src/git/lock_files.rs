//! Lock files that killed programs left behind.
//!
//! Git removes them when it ends by itself, and not when it is killed: then everybody who needs them waits in vain. The
//! [`RunLock`] is proof that no other levain is at work, so what does not change for a while is nobody's.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{GitError, Repository, RunLock};

/// A lock file that stays the same for so long was left by a killed process.
const STALE: Duration = Duration::from_secs(1);
/// What is locked again and again is in use.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
pub(super) const PAUSE: Duration = Duration::from_millis(20);

/// Refs that nobody but levain fetches into.
const FETCHED: [&str; 2] = ["refs/levain-fetched", "refs/levain-remote"];
/// What a fetch locks besides refs. Somebody else's repository may be locked by somebody else.
const OF_MIRRORS: [&str; 5] =
    ["HEAD.lock", "config.lock", "packed-refs.lock", "refs/heads", "shallow.lock"];

impl Repository {
    /// Removes the lock files that would keep a fetch from what levain alone fetches into: everything in a mirror,
    /// levain's own refs elsewhere.
    pub fn remove_stale_locks(&self, _lock: &RunLock) -> Result<(), GitError> {
        let mut places = FETCHED.to_vec();
        if self.is_mirror() {
            places.extend(OF_MIRRORS);
        }
        let mut found = Vec::new();
        for place in places {
            collect(&self.git_dir().join(place), &mut found);
        }
        let began = Instant::now();
        loop {
            found.retain(|lock| identity(&lock.path).is_some());
            // Whoever still needs a lock says itself that it cannot have it.
            if found.is_empty() || began.elapsed() > PATIENCE {
                return Ok(());
            }
            for lock in &mut found {
                lock.remove_if_stale()?;
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// Collects the lock files at and below a path. What cannot be read is in nobody's way yet.
fn collect(path: &Path, found: &mut Vec<LockFile>) {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return };
    if metadata.is_dir() {
        let Ok(entries) = std::fs::read_dir(path) else { return };
        for entry in entries.flatten() {
            collect(&entry.path(), found);
        }
    } else if path.extension().is_some_and(|extension| extension == "lock") {
        found.push(LockFile::new(path.to_owned()));
    }
}

/// A lock file that may be in the way, and since when it has been the same file.
pub(super) struct LockFile {
    pub(super) path: PathBuf,
    seen: Option<(Identity, Instant)>,
}

#[derive(PartialEq, Eq)]
struct Identity {
    inode: u64,
    modified: (i64, i64),
}

impl LockFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, seen: None }
    }

    /// Removes it if it has been the same for [`STALE`].
    pub(super) fn remove_if_stale(&mut self) -> Result<(), GitError> {
        let Some(identity) = identity(&self.path) else {
            self.seen = None;
            return Ok(());
        };
        match &self.seen {
            Some((known, since)) if *known == identity => {
                if since.elapsed() >= STALE {
                    tracing::warn!(path = %self.path.display(), "removed a lock file left by a killed process");
                    self.seen = None;
                    return match std::fs::remove_file(&self.path) {
                        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                            Err(GitError::File {
                                doing: "remove the stale lock file",
                                path: self.path.clone(),
                                source,
                            })
                        }
                        Ok(()) | Err(_) => Ok(()),
                    };
                }
            }
            Some(_) | None => self.seen = Some((identity, Instant::now())),
        }
        Ok(())
    }
}

fn identity(path: &Path) -> Option<Identity> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    Some(Identity { inode: metadata.ino(), modified: (metadata.mtime(), metadata.mtime_nsec()) })
}
