//! Reading refs, and moving one by compare-and-swap.
//!
//! Moves take git's own lock of the ref through libgit2. Deletions go through the `git` program: libgit2 1.9 rewrites
//! `packed-refs` from what it read before it took the lock, which can lose a ref that another program packed meanwhile,
//! and after a failure it takes the ref for deleted.

use std::time::Instant;

use git2::{ErrorCode, Signature};

use super::lock_files::{LockFile, PATIENCE, PAUSE};
use super::{CommitId, GitError, Repository, RunLock, program};

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

    /// Returns the object that a ref points at, whatever that is, or nothing when there is no such ref.
    ///
    /// Others can put anything below a prefix: what is there is compared and replaced by this name.
    pub fn target(&self, name: &str) -> Result<Option<CommitId>, GitError> {
        if !git2::Reference::is_valid_name(name) {
            return Ok(None);
        }
        self.object(name).map_err(GitError::doing("read a ref"))
    }

    /// Returns all refs whose names begin with `prefix`, with the objects that they point at, sorted by name.
    ///
    /// Refs whose names are not UTF-8, and symbolic ones that lead nowhere, are left out: levain makes none of them.
    pub fn targets(&self, prefix: &str) -> Result<Vec<(String, CommitId)>, GitError> {
        self.listed(prefix, |reference| reference.resolve().ok()?.target())
    }

    /// Returns all refs to commits whose names begin with `prefix`, sorted by name.
    ///
    /// Refs to anything but commits, and refs whose names are not UTF-8, are left out: levain makes none of them.
    pub fn references(&self, prefix: &str) -> Result<Vec<(String, CommitId)>, GitError> {
        self.listed(prefix, |reference| Some(reference.peel_to_commit().ok()?.id()))
    }

    fn listed(
        &self,
        prefix: &str,
        object: impl Fn(&git2::Reference<'_>) -> Option<git2::Oid>,
    ) -> Result<Vec<(String, CommitId)>, GitError> {
        let doing = "list the refs";
        let mut found = Vec::new();
        for reference in self.inner.references().map_err(GitError::doing(doing))? {
            let reference = reference.map_err(GitError::doing(doing))?;
            let Ok(name) = reference.name() else {
                continue;
            };
            if name.starts_with(prefix)
                && let Some(id) = object(&reference)
            {
                found.push((name.to_owned(), CommitId::new(id)));
            }
        }
        found.sort();
        Ok(found)
    }

    /// Moves a ref from `expected` to `new` if it still has the expected value, in one step that no other git program can split.
    ///
    /// The expected value is what [`Repository::target`] returns. Nothing stands for "no such ref", on either side. The [`RunLock`] is proof that no other levain is at work here:
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
            let actual = self.object(name)?;
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
            let actual = self.object(name).map_err(reading())?;
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
        let actual = self.object(name).map_err(reading())?;
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

    fn object(&self, name: &str) -> Result<Option<CommitId>, git2::Error> {
        let found = self.inner.find_reference(name).and_then(|reference| reference.resolve());
        match found {
            Ok(reference) => Ok(reference.target().map(CommitId::new)),
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
