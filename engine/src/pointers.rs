//! The pointers of a project: reading them from shadow branches, and moving them.
//!
//! Every change of a shadow branch goes through [`ShadowBranch`], which only
//! exists with the proof that no other levain writes to this repository; other
//! repositories are met at the remote, by compare-and-swap.

use std::collections::BTreeMap;

use levain_actions::git::{CommitId, GitError, Repository, RunLock, Swap};
use levain_actions::shadow::{self, Shadow, ShadowCommit, ShadowError, ShadowFiles};
use levain_evaluator::pointer::{Entry, EntryError, Pointer};
use levain_store::StoreDir;

/// The entries of one pointer file, by job.
pub(crate) type Entries = BTreeMap<String, Result<Entry, EntryError>>;

/// A shadow branch as found in the repository.
#[derive(Debug)]
pub struct Recorded {
    /// Its ref.
    pub reference: String,
    /// The jobset it mirrors, as its ref names it.
    pub jobset: String,
    /// What the ref points at.
    pub head: CommitId,
    /// The newest shadow commit; `None` if the ref points at something else.
    pub shadow: Option<Shadow>,
    /// Its pointer file, or why that is rejected as a whole.
    pub entries: Result<Entries, String>,
}

/// How shadow branches of a project are named and read.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Names of the two files.
    pub files: ShadowFiles,
    /// What all shadow refs start with.
    pub prefix: String,
    /// The store that pointers name paths of.
    pub store_dir: StoreDir,
}

impl Layout {
    /// Reads the pointer file of one shadow commit.
    pub fn entries(&self, shadow: &Shadow) -> Result<Entries, String> {
        let Some(text) = &shadow.pointer else {
            return Err(format!("`{}` is missing", self.files.pointer()));
        };
        match Pointer::parse(&self.store_dir, text) {
            Ok(Pointer::Null) => Ok(Entries::new()),
            Ok(Pointer::Entries(entries)) => Ok(entries),
            Ok(Pointer::Path(path)) => {
                Err(format!("`{}` names `{path}` without a key or NAR hash", self.files.pointer()))
            }
            Err(error) => Err(format!("`{}`: {error}", self.files.pointer())),
        }
    }

    /// Reads the shadow branch at `reference`, if there is one.
    pub fn read(
        &self,
        repository: &Repository,
        reference: &str,
        jobset: &str,
    ) -> Result<Option<Recorded>, GitError> {
        let Some(head) = repository.reference(reference)? else { return Ok(None) };
        let (shadow, entries) = match shadow::read(repository, head, &self.files) {
            Ok(shadow) => {
                let entries = self.entries(&shadow);
                (Some(shadow), entries)
            }
            Err(error) => (None, Err(error.to_string())),
        };
        Ok(Some(Recorded {
            reference: reference.to_owned(),
            jobset: jobset.to_owned(),
            head,
            shadow,
            entries,
        }))
    }

    /// Reads all shadow branches below `prefix`.
    pub fn read_all(
        &self,
        repository: &Repository,
        prefix: &str,
    ) -> Result<Vec<Recorded>, GitError> {
        let mut found = Vec::new();
        for (reference, _) in repository.references(prefix)? {
            let jobset = reference.strip_prefix(prefix).unwrap_or(&reference).to_owned();
            found.extend(self.read(repository, &reference, &jobset)?);
        }
        Ok(found)
    }
}

/// Returns whether `new` may take the place of `old`.
///
/// The newer source commit wins by ancestry, not by the clock: a build that was
/// started earlier may well finish later. Where neither descends from the other
/// (the branch was force-pushed), the one that `tip` still contains wins.
pub(crate) fn supersedes(
    repository: &Repository,
    tip: CommitId,
    old: &Entry,
    new: &Entry,
) -> Result<bool, GitError> {
    if old.commit == new.commit {
        return Ok(new.time >= old.time);
    }
    let (Some(old_commit), Some(new_commit)) =
        (known(repository, &old.commit), known(repository, &new.commit))
    else {
        // A commit that this repository does not have cannot be newer than one it has.
        return Ok(known(repository, &new.commit).is_some());
    };
    if repository.is_ancestor(old_commit, new_commit)? {
        return Ok(true);
    }
    if repository.is_ancestor(new_commit, old_commit)? {
        return Ok(false);
    }
    let kept = |commit| repository.is_ancestor(commit, tip);
    Ok(match (kept(old_commit)?, kept(new_commit)?) {
        (false, true) => true,
        (true, false) => false,
        (true, true) | (false, false) => new.time > old.time,
    })
}

/// Returns the commit, if it is known and present.
pub(crate) fn known(repository: &Repository, commit: &str) -> Option<CommitId> {
    let id = commit.parse::<CommitId>().ok()?;
    repository.commit_time(id).ok().map(|_| id)
}

/// Puts the entries of `theirs` into `ours` where they are newer or alone.
pub(crate) fn merge(
    repository: &Repository,
    tip: CommitId,
    ours: &mut Entries,
    theirs: &Entries,
) -> Result<(), GitError> {
    for (job, entry) in theirs {
        let Ok(entry) = entry else { continue };
        let takes = match ours.get(job) {
            Some(Ok(own)) => own.path != entry.path && supersedes(repository, tip, own, entry)?,
            Some(Err(_)) | None => true,
        };
        if takes {
            ours.insert(job.clone(), Ok(entry.clone()));
        }
    }
    Ok(())
}

/// Returns the text of a pointer file.
pub(crate) fn print(dir: &StoreDir, entries: &Entries) -> String {
    if entries.is_empty() {
        return Pointer::Null.print(dir);
    }
    Pointer::Entries(entries.clone()).print(dir)
}

/// Why a shadow branch could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum PointerMoveError {
    /// Git refused.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The shadow commit could not be made.
    #[error(transparent)]
    Shadow(#[from] ShadowError),
    /// Others kept changing the ref.
    #[error(
        "cannot move `{reference}`: it changed {attempts} times meanwhile\nhint: run levain again"
    )]
    LostRaces {
        /// The ref.
        reference: String,
        /// How often it was tried.
        attempts: u32,
    },
}

/// The right to change one jobset's shadow branch.
#[derive(Debug)]
pub(crate) struct ShadowBranch<'a> {
    /// Where it lives.
    pub repository: &'a Repository,
    /// Proof that no other levain writes here.
    pub lock: &'a RunLock,
    /// How it is read.
    pub layout: &'a Layout,
    /// Its ref.
    pub reference: &'a str,
    /// Message of its commits.
    pub message: &'a str,
    /// The newest commit of the jobset.
    pub tip: CommitId,
}

/// A change of one entry.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Point the job at this entry, unless the present one is newer.
    Set(Entry),
    /// Forget the job's entry.
    Remove,
}

const ATTEMPTS: u32 = 8;

impl ShadowBranch<'_> {
    /// Makes the branch mirror `original` with exactly `entries`; does nothing
    /// if it does so already. Returns the shadow commit.
    pub(crate) fn mirror(
        &self,
        original: CommitId,
        entries: &Entries,
    ) -> Result<CommitId, PointerMoveError> {
        let text = print(&self.layout.store_dir, entries);
        for _ in 0..ATTEMPTS {
            let found = self.layout.read(self.repository, self.reference, "")?;
            let expected = found.as_ref().map(|found| found.head);
            let previous = found.and_then(|found| found.shadow);
            if let Some(shadow) = &previous
                && shadow.original == original
                && shadow.pointer.as_deref() == Some(text.as_bytes())
            {
                return Ok(shadow.id);
            }
            let previous = previous.map(|shadow| shadow.id);
            if let Some(id) = self.commit(expected, previous, original, &text)? {
                return Ok(id);
            }
        }
        Err(self.lost())
    }

    /// Applies `changes` to the entries that are recorded at this moment.
    ///
    /// Returns the resulting head and the jobs whose entry did change.
    pub(crate) fn apply(
        &self,
        original: CommitId,
        changes: &BTreeMap<String, Change>,
    ) -> Result<(Option<CommitId>, Vec<String>), PointerMoveError> {
        for _ in 0..ATTEMPTS {
            let found = self.layout.read(self.repository, self.reference, "")?;
            let expected = found.as_ref().map(|found| found.head);
            let (previous, mut entries) = match found {
                Some(Recorded { shadow: Some(shadow), entries, .. }) => {
                    (Some(shadow), entries.unwrap_or_default())
                }
                Some(_) | None => (None, Entries::new()),
            };
            let changed = self.change(&mut entries, changes)?;
            if changed.is_empty() {
                return Ok((expected, changed));
            }
            // Another levain may have mirrored a newer commit since: its tree stays.
            let original = match &previous {
                Some(shadow) if self.repository.is_ancestor(original, shadow.original)? => {
                    shadow.original
                }
                Some(_) | None => original,
            };
            let text = print(&self.layout.store_dir, &entries);
            let previous = previous.map(|shadow| shadow.id);
            if let Some(id) = self.commit(expected, previous, original, &text)? {
                return Ok((Some(id), changed));
            }
        }
        Err(self.lost())
    }

    fn change(
        &self,
        entries: &mut Entries,
        changes: &BTreeMap<String, Change>,
    ) -> Result<Vec<String>, GitError> {
        let mut changed = Vec::new();
        for (job, change) in changes {
            let moves = match (change, entries.get(job)) {
                (Change::Remove, present) => present.is_some(),
                (Change::Set(_), None | Some(Err(_))) => true,
                (Change::Set(new), Some(Ok(old))) => {
                    old != new && supersedes(self.repository, self.tip, old, new)?
                }
            };
            if !moves {
                continue;
            }
            match change {
                Change::Set(entry) => entries.insert(job.clone(), Ok(entry.clone())),
                Change::Remove => entries.remove(job),
            };
            changed.push(job.clone());
        }
        Ok(changed)
    }

    /// Takes over what the remote recorded meanwhile: its head becomes the
    /// previous shadow commit, and newer entries win.
    pub(crate) fn take_over(&self, remote: &Recorded) -> Result<(), PointerMoveError> {
        let Some(theirs) = &remote.shadow else { return Ok(()) };
        for _ in 0..ATTEMPTS {
            let Some(own) = self.layout.read(self.repository, self.reference, "")? else {
                match self.swap(None, remote.head)? {
                    true => return Ok(()),
                    false => continue,
                }
            };
            if own.head == remote.head || self.repository.is_ancestor(remote.head, own.head)? {
                return Ok(());
            }
            if self.repository.is_ancestor(own.head, remote.head)? {
                match self.swap(Some(own.head), remote.head)? {
                    true => return Ok(()),
                    false => continue,
                }
            }
            let mut entries = remote.entries.clone().unwrap_or_default();
            if let Ok(ours) = &own.entries {
                merge(self.repository, self.tip, &mut entries, ours)?;
            }
            let original = match &own.shadow {
                Some(shadow)
                    if self.repository.is_ancestor(theirs.original, shadow.original)? =>
                {
                    shadow.original
                }
                Some(_) | None => theirs.original,
            };
            let text = print(&self.layout.store_dir, &entries);
            if self.commit(Some(own.head), Some(theirs.id), original, &text)?.is_some() {
                return Ok(());
            }
        }
        Err(self.lost())
    }

    fn commit(
        &self,
        expected: Option<CommitId>,
        previous: Option<CommitId>,
        original: CommitId,
        text: &str,
    ) -> Result<Option<CommitId>, PointerMoveError> {
        let commit =
            ShadowCommit { previous, original, pointer: text.as_bytes(), message: self.message };
        let id = shadow::write(self.repository, &commit, &self.layout.files)?;
        Ok(self.swap(expected, id)?.then_some(id))
    }

    fn swap(&self, expected: Option<CommitId>, new: CommitId) -> Result<bool, GitError> {
        let swap =
            self.repository.swap(self.lock, self.reference, expected, Some(new), "levain")?;
        Ok(match swap {
            Swap::Moved => true,
            Swap::Lost { .. } => false,
        })
    }

    fn lost(&self) -> PointerMoveError {
        PointerMoveError::LostRaces { reference: self.reference.to_owned(), attempts: ATTEMPTS }
    }
}
