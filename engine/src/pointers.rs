//! The pointers of a project: merging and moving them. What shadow branches record is read in
//! `reading.rs`.
//!
//! Every change of a shadow branch goes through [`ShadowBranch`], which only
//! exists with the proof that no other levain writes to this repository; other
//! repositories are met at the remote, by compare-and-swap.

use std::collections::BTreeMap;

use levain_actions::git::{CommitId, GitError, Repository, RunLock, Swap};
use levain_actions::shadow::{self, ShadowCommit, ShadowError};
use levain_evaluator::JobName;
use levain_evaluator::pointer::{Entry, EntryError, Pointer};
use levain_store::StoreDir;

use crate::choose::Reason;
use crate::jobset::Shadowed;

mod reading;

pub(crate) use reading::Entries;
pub(crate) use reading::{FoundBranch, Layout, ShadowName, Unusable};

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

/// Puts the entries of `theirs` into `ours` where they are newer or alone. One that nobody who is
/// trusted signed is kept where there is no other, and never takes the place of one.
pub(crate) fn merge(
    repository: &Repository,
    tip: CommitId,
    ours: &mut Entries,
    theirs: &Entries,
) -> Result<(), GitError> {
    for (job, entry) in theirs {
        let entry = match entry {
            Ok(entry) => entry,
            Err(untrusted @ Unusable::Untrusted { .. }) => {
                ours.entry(job.clone()).or_insert_with(|| Err(untrusted.clone()));
                continue;
            }
            Err(Unusable::Malformed(_)) => continue,
        };
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

/// What the pointer file of the second evaluation says: for stale jobs the
/// chosen entries; all others stay recorded, marked as not used. So nothing can
/// be used that was not chosen, whatever the flake asks for.
///
/// `jobs` are the jobs with what each starts from, or the word for why from nothing.
pub(crate) fn pointer_for<'a>(
    own: &Entries,
    jobs: impl IntoIterator<Item = (&'a JobName, Result<&'a Entry, &'static str>)>,
) -> Entries {
    let unasked = || Some(Reason::Disabled.name().to_owned());
    let mut entries: Entries = own
        .iter()
        .map(|(job, entry)| {
            let entry = entry.clone().map(|entry| Entry { unused: unasked(), ..entry });
            (job.clone(), entry)
        })
        .collect();
    for (job, starts_from) in jobs {
        match starts_from {
            Ok(chosen) => {
                let entry = Entry { unused: None, ..chosen.clone() };
                entries.insert(job.clone(), Ok(entry));
            }
            Err(word) => {
                if let Some(Ok(entry)) = entries.get_mut(job) {
                    entry.unused = Some(word.to_owned());
                }
            }
        }
    }
    entries
}

/// Returns the text of a pointer file.
///
/// Entries that are not trusted stay, for those who trust them, but no evaluation uses them.
pub(crate) fn print(dir: &StoreDir, entries: &Entries) -> String {
    let printed: BTreeMap<JobName, Result<Entry, EntryError>> = entries
        .iter()
        .filter_map(|(job, entry)| {
            let entry = match entry {
                Ok(entry) => entry.clone(),
                Err(Unusable::Untrusted { entry, .. }) => {
                    Entry { unused: Some(Reason::Untrusted.name().to_owned()), ..*entry.clone() }
                }
                Err(Unusable::Malformed(_)) => return None,
            };
            Some((job.clone(), Ok(entry)))
        })
        .collect();
    if printed.is_empty() {
        return Pointer::Null.print(dir);
    }
    Pointer::Entries(printed).print(dir)
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
    Set(Box<Entry>),
    /// Forget the job's entry.
    Remove,
}

const ATTEMPTS: u32 = 8;

impl ShadowBranch<'_> {
    /// Makes the newest shadow commit one of `of` with exactly `entries`; does nothing
    /// if it does so already. Returns the shadow commit.
    pub(crate) fn write(
        &self,
        of: Shadowed,
        entries: &Entries,
    ) -> Result<CommitId, PointerMoveError> {
        let text = print(&self.layout.store_dir, entries);
        for _ in 0..ATTEMPTS {
            let found = self.layout.read(self.repository, self.reference)?;
            let expected = found.as_ref().map(|found| found.head);
            let previous = found.and_then(|found| found.shadow);
            if let Some(shadow) = &previous
                && shadow.original == of.original
                && shadow.pointer.as_deref() == Some(text.as_bytes())
                && self.make(shadow.previous, of, &text)? == shadow.id
            {
                // Made anew it is the same commit, so its tree is what it says to be the tree of.
                return Ok(shadow.id);
            }
            let previous = previous.map(|shadow| shadow.id);
            if let Some(id) = self.commit(expected, previous, of, &text)? {
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
        of: Shadowed,
        changes: &BTreeMap<JobName, Change>,
    ) -> Result<(Option<CommitId>, Vec<JobName>), PointerMoveError> {
        for _ in 0..ATTEMPTS {
            let found = self.layout.read(self.repository, self.reference)?;
            let expected = found.as_ref().map(|found| found.head);
            let (previous, mut entries) = match found {
                Some(FoundBranch { shadow: Some(shadow), entries, .. }) => {
                    (Some(shadow), entries.unwrap_or_default())
                }
                Some(_) | None => (None, Entries::new()),
            };
            let changed = self.change(&mut entries, changes)?;
            if changed.is_empty() {
                return Ok((expected, changed));
            }
            // Another levain may have shadowed a newer commit since: its tree stays.
            let of = match &previous {
                Some(shadow)
                    if shadow.original != of.original
                        && self.is_before(of.original, shadow.original) =>
                {
                    shadow.into()
                }
                Some(_) | None => of,
            };
            let text = print(&self.layout.store_dir, &entries);
            let previous = previous.map(|shadow| shadow.id);
            if let Some(id) = self.commit(expected, previous, of, &text)? {
                return Ok((Some(id), changed));
            }
        }
        Err(self.lost())
    }

    fn change(
        &self,
        entries: &mut Entries,
        changes: &BTreeMap<JobName, Change>,
    ) -> Result<Vec<JobName>, GitError> {
        let mut changed = Vec::new();
        for (job, change) in changes {
            let moves = match (change, entries.get(job)) {
                (Change::Remove, present) => present.is_some(),
                (Change::Set(_), None | Some(Err(_))) => true,
                (Change::Set(new), Some(Ok(old))) => {
                    *old != **new && supersedes(self.repository, self.tip, old, new)?
                }
            };
            if !moves {
                continue;
            }
            match change {
                Change::Set(entry) => entries.insert(job.clone(), Ok(*entry.clone())),
                Change::Remove => entries.remove(job),
            };
            changed.push(job.clone());
        }
        Ok(changed)
    }

    /// Says whether one commit is an ancestor of another. A shadow commit may name anything, and what cannot
    /// be read is before nothing.
    fn is_before(&self, ancestor: CommitId, descendant: CommitId) -> bool {
        self.repository.is_ancestor(ancestor, descendant).unwrap_or_else(|error| {
            tracing::warn!(%error, reference = self.reference, "cannot compare two commits");
            false
        })
    }

    /// Takes over what the remote recorded meanwhile: its head becomes the
    /// previous shadow commit, and newer entries win.
    ///
    /// What is no shadow commit of a commit known here is left to be replaced.
    pub(crate) fn take_over(&self, remote: &FoundBranch) -> Result<(), PointerMoveError> {
        let Some(theirs) = &remote.shadow else { return Ok(()) };
        if self.repository.commit_time(theirs.original).is_err() {
            tracing::warn!(original = %theirs.original, "a shadow commit of an unknown commit is not taken over");
            return Ok(());
        }
        for _ in 0..ATTEMPTS {
            let Some(own) = self.layout.read(self.repository, self.reference)? else {
                match self.swap(None, remote.head)? {
                    true => return Ok(()),
                    false => continue,
                }
            };
            if own.head == remote.head
                || own.shadow.is_some() && self.is_before(remote.head, own.head)
            {
                return Ok(());
            }
            if own.shadow.is_none() || self.is_before(own.head, remote.head) {
                match self.swap(Some(own.head), remote.head)? {
                    true => return Ok(()),
                    false => continue,
                }
            }
            let mut entries = remote.entries.clone().unwrap_or_default();
            if let Ok(ours) = &own.entries {
                merge(self.repository, self.tip, &mut entries, ours)?;
            }
            let of = match &own.shadow {
                Some(shadow) if self.is_before(theirs.original, shadow.original) => shadow.into(),
                Some(_) | None => theirs.into(),
            };
            let text = print(&self.layout.store_dir, &entries);
            if self.commit(Some(own.head), Some(theirs.id), of, &text)?.is_some() {
                return Ok(());
            }
        }
        Err(self.lost())
    }

    fn commit(
        &self,
        expected: Option<CommitId>,
        previous: Option<CommitId>,
        of: Shadowed,
        text: &str,
    ) -> Result<Option<CommitId>, PointerMoveError> {
        let id = self.make(previous, of, text)?;
        Ok(self.swap(expected, id)?.then_some(id))
    }

    /// Writes a shadow commit; no ref moves.
    fn make(
        &self,
        previous: Option<CommitId>,
        of: Shadowed,
        text: &str,
    ) -> Result<CommitId, ShadowError> {
        let Shadowed { original, built } = of;
        let pointer = text.as_bytes();
        let commit = ShadowCommit { previous, original, built, pointer, message: self.message };
        shadow::write(self.repository, &commit, &self.layout.files)
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

#[cfg(test)]
mod tests;
