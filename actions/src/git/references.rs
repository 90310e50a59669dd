//! Reading refs, and moving one by compare-and-swap.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use git2::{ErrorCode, Signature};

use super::{CommitId, GitError, Repository, RunLock};

/// A lock file that stays the same for so long was left by a killed process.
const STALE: Duration = Duration::from_secs(1);
/// Other programs that lock a ref again and again get no more than this.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// The result of [`Repository::swap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Swap {
    /// The ref has its new value.
    Moved,
    /// The ref did not have the expected value and was left alone.
    Lost {
        /// The value it has.
        actual: Option<CommitId>,
    },
}

impl Repository {
    /// Returns the commit that a ref points at, or nothing when there is no such ref.
    pub fn reference(&self, name: &str) -> Result<Option<CommitId>, GitError> {
        if !git2::Reference::is_valid_name(name) {
            return Ok(None);
        }
        match self.inner.find_reference(name) {
            Ok(reference) => match reference.peel_to_commit() {
                Ok(commit) => Ok(Some(CommitId::new(commit.id()))),
                // A symbolic ref to a branch that has no commit yet.
                Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
                Err(source) => Err(GitError::Git { doing: "read a ref", source }),
            },
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(source) => Err(GitError::Git { doing: "read a ref", source }),
        }
    }

    /// Returns all refs to commits whose names begin with `prefix`, sorted by name.
    ///
    /// Refs to anything but commits, and refs whose names are not UTF-8, are left out: levain makes none of them.
    pub fn references(&self, prefix: &str) -> Result<Vec<(String, CommitId)>, GitError> {
        let doing = "list the refs";
        let mut found = Vec::new();
        for reference in self.inner.references().map_err(GitError::doing(doing))? {
            let reference = reference.map_err(GitError::doing(doing))?;
            let Ok(name) = reference.name() else {
                continue;
            };
            if name.starts_with(prefix)
                && let Ok(commit) = reference.peel_to_commit()
            {
                found.push((name.to_owned(), CommitId::new(commit.id())));
            }
        }
        found.sort();
        Ok(found)
    }

    /// Moves a ref from `expected` to `new` if it still has the expected value, in one step that no other git program can split.
    ///
    /// Nothing stands for "no such ref", on either side. The [`RunLock`] is proof that no other levain is at work here:
    /// therefore a lock file of the ref that does not change for a second was left by one that was killed, and is removed.
    pub fn swap(
        &self,
        _lock: &RunLock,
        name: &str,
        expected: Option<CommitId>,
        new: Option<CommitId>,
        log: &str,
    ) -> Result<Swap, GitError> {
        if !name.starts_with("refs/") || !git2::Reference::is_valid_name(name) {
            return Err(GitError::InvalidReference { name: name.to_owned() });
        }
        if let Some(new) = new {
            self.find(new)?;
        }
        let began = Instant::now();
        let mut locks = [
            LockFile::new(self.git_dir().join(format!("{name}.lock"))),
            LockFile::new(self.git_dir().join("packed-refs.lock")),
        ];
        loop {
            self.without_conflict(name, new)?;
            let source = match self.try_swap(name, expected, new, log) {
                Ok(swap) => return Ok(swap),
                Err(source) => source,
            };
            if source.code() != ErrorCode::Locked {
                // A ref may have been made in the way since we looked.
                self.without_conflict(name, new)?;
                return Err(GitError::Git { doing: "move a ref", source });
            }
            if began.elapsed() > PATIENCE {
                let [own, _] = locks;
                return Err(GitError::ReferenceLocked { name: name.to_owned(), path: own.path });
            }
            for lock in &mut locks {
                lock.remove_if_stale()?;
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn try_swap(
        &self,
        name: &str,
        expected: Option<CommitId>,
        new: Option<CommitId>,
        log: &str,
    ) -> Result<Swap, git2::Error> {
        let mut transaction = self.inner.transaction()?;
        transaction.lock_ref(name)?;
        // The value is read only now that nobody else can move the ref.
        let actual = match self.inner.find_reference(name) {
            Ok(reference) => match reference.peel_to_commit() {
                Ok(commit) => Some(CommitId::new(commit.id())),
                Err(error) if error.code() == ErrorCode::NotFound => None,
                Err(error) => return Err(error),
            },
            Err(error) if error.code() == ErrorCode::NotFound => None,
            Err(error) => return Err(error),
        };
        if actual != expected {
            return Ok(Swap::Lost { actual });
        }
        match new {
            Some(new) => {
                let signature = Signature::now("levain", "levain@localhost")?;
                transaction.set_target(name, new.oid(), Some(&signature), log)?;
            }
            None if actual.is_none() => return Ok(Swap::Moved),
            None => transaction.remove(name)?,
        }
        transaction.commit()?;
        Ok(Swap::Moved)
    }

    /// Refuses a new ref that would be the directory of another, or lie below one.
    ///
    /// libgit2 notices this among loose refs only, and then with a message about files.
    fn without_conflict(&self, name: &str, new: Option<CommitId>) -> Result<(), GitError> {
        if new.is_none() {
            return Ok(());
        }
        let doing = "list the refs";
        let mut references = self.inner.references().map_err(GitError::doing(doing))?;
        for existing in references.names() {
            let Ok(existing) = existing else {
                continue;
            };
            if lies_below(name, existing) || lies_below(existing, name) {
                return Err(GitError::ReferenceConflict {
                    name: name.to_owned(),
                    existing: existing.to_owned(),
                });
            }
        }
        Ok(())
    }
}

fn lies_below(name: &str, directory: &str) -> bool {
    name.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// A lock file that may be in the way, and since when it has been the same file.
struct LockFile {
    path: PathBuf,
    seen: Option<(Identity, Instant)>,
}

#[derive(PartialEq, Eq)]
struct Identity {
    inode: u64,
    modified: (i64, i64),
}

impl LockFile {
    fn new(path: PathBuf) -> Self {
        Self { path, seen: None }
    }

    fn remove_if_stale(&mut self) -> Result<(), GitError> {
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
