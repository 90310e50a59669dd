//! Reading refs, and moving one by compare-and-swap.
//!
//! Moves take git's own lock of the ref through libgit2. Deletions go through the `git` program: libgit2 1.9 rewrites
//! `packed-refs` from what it read before it took the lock, which can lose a ref that another program packed meanwhile,
//! and after a failure it takes the ref for deleted.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use git2::{ErrorCode, Signature};

use super::{CommitId, GitError, Repository, RunLock, program};

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

/// How one try ended.
enum Attempt {
    Done(Swap),
    /// Somebody has, or had, the lock.
    Locked,
}

impl Repository {
    /// Returns the commit that a ref points at, or nothing when there is no such ref.
    pub fn reference(&self, name: &str) -> Result<Option<CommitId>, GitError> {
        if !git2::Reference::is_valid_name(name) {
            return Ok(None);
        }
        self.value(name).map_err(GitError::doing("read a ref"))
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
            let attempt = match new {
                Some(new) => self.try_move(name, expected, new, log)?,
                None => self.try_delete(name, expected)?,
            };
            if let Attempt::Done(swap) = attempt {
                return Ok(swap);
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

    fn try_move(
        &self,
        name: &str,
        expected: Option<CommitId>,
        new: CommitId,
        log: &str,
    ) -> Result<Attempt, GitError> {
        let moved = || -> Result<Swap, git2::Error> {
            let mut transaction = self.inner.transaction()?;
            transaction.lock_ref(name)?;
            // The value is read only now that nobody else can move the ref.
            let actual = self.value(name)?;
            if actual != expected {
                return Ok(Swap::Lost { actual });
            }
            let signature = Signature::now("levain", "levain@localhost")?;
            transaction.set_target(name, new.oid(), Some(&signature), log)?;
            transaction.commit()?;
            Ok(Swap::Moved)
        };
        match moved() {
            Ok(swap) => Ok(Attempt::Done(swap)),
            Err(error) if error.code() == ErrorCode::Locked => Ok(Attempt::Locked),
            Err(source) => {
                // A ref may have been made in the way since we looked.
                self.without_conflict(name, Some(new))?;
                Err(GitError::Git { doing: "move a ref", source })
            }
        }
    }

    fn try_delete(&self, name: &str, expected: Option<CommitId>) -> Result<Attempt, GitError> {
        let reading = || GitError::doing("read a ref");
        let Some(expected) = expected else {
            let actual = self.value(name).map_err(reading())?;
            return Ok(Attempt::Done(match actual {
                None => Swap::Moved,
                Some(_) => Swap::Lost { actual },
            }));
        };
        let failed = |message| GitError::Program { doing: "delete a ref", message };
        let output = program::git(self.inner.path(), "update-ref", Vec::new())
            .args(["--no-deref", "-d", name, &expected.to_string()])
            .output()
            .map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(Attempt::Done(Swap::Moved));
        }
        let actual = self.value(name).map_err(reading())?;
        if actual != Some(expected) {
            return Ok(Attempt::Done(Swap::Lost { actual }));
        }
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if message.contains("File exists") {
            return Ok(Attempt::Locked);
        }
        Err(failed(message))
    }

    fn value(&self, name: &str) -> Result<Option<CommitId>, git2::Error> {
        let found =
            self.inner.find_reference(name).and_then(|reference| reference.peel_to_commit());
        match found {
            Ok(commit) => Ok(Some(CommitId::new(commit.id()))),
            // No such ref, or a symbolic one to a branch that has no commit yet.
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(error),
        }
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
