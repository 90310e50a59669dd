//! One run's shadow branch: its name, where it is written, and its tracking ref.
//!
//! The tracking ref is what the remote's shadow branch was at the last fetch.
//!
//! With the right to write it is the project's own ref. Read-only, the same
//! commit is made in a temporary repository, so that evaluation sees exactly
//! what it would see, and nothing stays behind.

use std::collections::BTreeMap;

use levain_actions::git::{
    CommitId, GitError, Overlay, Prune, PushOutcome, PushUpdate, RemoteError, Repository, RunLock,
    Swap, is_ref_name,
};
use levain_actions::shadow::{self, ShadowCommit, ShadowError, ShadowFiles};
use levain_actions::template::{self, TemplateError};
use levain_evaluator::{JobName, JobsetName, LockedFlakeRef};
use serde::Serialize;

use crate::declaration::ShadowSettings;
use crate::jobset::{Head, JobsetKind, Shadowed};
use crate::pointers::{
    Change, Entries, FoundBranch, Layout, PointerMoveError, ShadowBranch, merge, print,
};
use crate::project::{Project, Remote};

mod releasing;

pub(crate) use releasing::merge_ref;

/// The shadow branch could not be made, read or pushed.
#[derive(Debug, thiserror::Error)]
pub enum ShadowingError {
    /// A template of the declaration.
    #[error("the declaration is wrong: {0}")]
    Template(#[from] TemplateError),
    /// Git.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The commit.
    #[error(transparent)]
    Shadow(#[from] ShadowError),
    /// The ref.
    #[error(transparent)]
    Move(#[from] PointerMoveError),
    /// The temporary repository's lock.
    #[error(transparent)]
    Lock(#[from] levain_actions::git::LockError),
    /// The remote.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The remote refused the push.
    #[error(
        "`{remote}` refused the push of `{reference}`: {message}\nhint: allow pushes below `{prefix}` there, or set `levainProject.shadow.push = false`"
    )]
    Refused {
        /// The remote.
        remote: String,
        /// The ref.
        reference: String,
        /// The remote's reason.
        message: String,
        /// What all shadow refs start with.
        prefix: String,
    },
    /// Others kept pushing.
    #[error(
        "cannot push `{reference}`: it changed {attempts} times meanwhile\nhint: run levain again"
    )]
    LostRaces {
        /// The ref.
        reference: String,
        /// How often it was tried.
        attempts: u32,
    },
}

/// The variables of `shadow.ref` and `shadow.message`.
#[derive(Serialize)]
struct Variables<'a> {
    jobset: &'a JobsetName,
    branch: Option<&'a str>,
    pull_request: Option<u64>,
    commit: String,
    short_commit: String,
}

/// The shadow branch of the jobset that a run is about.
pub(crate) struct Shadowing<'a> {
    project: &'a Project,
    head: &'a Head,
    /// Its ref.
    pub reference: String,
    message: String,
}

/// A shadow commit and where it can be evaluated.
pub(crate) struct WrittenShadow {
    /// The commit.
    pub id: CommitId,
    /// How to evaluate it.
    pub flake: LockedFlakeRef,
    /// The temporary repository that holds it, in read-only mode.
    _overlay: Option<Overlay>,
}

const ATTEMPTS: u32 = 5;

/// Reflog message of a removed shadow branch.
const GONE: &str = "levain: the branch is gone";

/// Returns whether the templates of `settings` give what a shadow branch needs, for a branch at `commit`.
pub(crate) fn are_usable(settings: &ShadowSettings, commit: CommitId) -> bool {
    let variables = Variables {
        jobset: &JobsetName::branch("main"),
        branch: Some("main"),
        pull_request: None,
        commit: commit.to_string(),
        short_commit: commit.short(),
    };
    let reference = template::render_once("shadow.ref", &settings.reference, &variables);
    let message = template::render_once("shadow.message", &settings.message, &variables);
    message.is_ok() && reference.is_ok_and(|reference| is_ref_name(&reference))
}

impl<'a> Shadowing<'a> {
    /// Names the shadow branch of `head`'s jobset.
    pub(crate) fn new(project: &'a Project, head: &'a Head) -> Result<Self, ShadowingError> {
        let jobset = head.jobset.name();
        let variables = Variables {
            jobset: &jobset,
            branch: match &head.jobset.kind {
                JobsetKind::Branch { name, .. } => Some(name),
                JobsetKind::PullRequest { .. } | JobsetKind::Tag { .. } => None,
            },
            pull_request: match head.jobset.kind {
                JobsetKind::PullRequest { number } => Some(number),
                JobsetKind::Branch { .. } | JobsetKind::Tag { .. } => None,
            },
            commit: head.commit.to_string(),
            short_commit: head.commit.short(),
        };
        let settings = &project.declaration.shadow;
        let reference = template::render_once("shadow.ref", &settings.reference, &variables)?;
        let message = template::render_once("shadow.message", &settings.message, &variables)?;
        Ok(Self { project, head, reference, message })
    }

    fn layout(&self) -> &'a Layout {
        &self.project.layout
    }

    fn repository(&self) -> &'a Repository {
        &self.project.repository
    }

    fn branch(&'a self, lock: &'a RunLock) -> ShadowBranch<'a> {
        ShadowBranch {
            repository: self.repository(),
            lock,
            layout: self.layout(),
            reference: &self.reference,
            message: &self.message,
            tip: self.head.tip,
        }
    }

    /// Where the remote's shadow refs are kept here after a fetch.
    fn tracking_prefix(&self, remote: &Remote) -> String {
        let rest = self.layout().prefix.trim_start_matches("refs/");
        format!("refs/levain-remote/{}/{rest}", remote.name)
    }

    fn tracking(&self, remote: &Remote) -> String {
        let rest = self.reference.trim_start_matches("refs/");
        format!("refs/levain-remote/{}/{rest}", remote.name)
    }

    /// Returns whether shadow branches are exchanged with the remote at all.
    fn exchanges(&self) -> bool {
        self.project.pushes
    }

    /// Returns the remote, if this shadow branch is pushed there.
    ///
    /// A project that lists the keys it trusts has no use for entries signed with another.
    fn pushed_to(&self) -> Option<&'a Remote> {
        self.exchanged().filter(|_| self.layout().keys.is_of_use())
    }

    /// Returns why the shadow branch stays here although it may be exchanged.
    pub(crate) fn why_not_pushed(&self) -> Option<String> {
        let (Some(remote), None) = (self.exchanged(), self.pushed_to()) else { return None };
        Some(format!(
            "`{}` is not pushed to `{}`: the key of this levain is not in `levainProject.incremental.trustedKeys`; see `levain cache key`",
            self.reference, remote.name
        ))
    }

    /// Returns the remote, if this shadow branch may be exchanged with it.
    pub(crate) fn exchanged(&self) -> Option<&'a Remote> {
        let allowed = self.exchanges() && self.head.jobset.may_be_pushed();
        self.project.remote.as_ref().filter(|_| allowed)
    }

    /// Fetches what others recorded, if this project exchanges shadow branches.
    pub(crate) fn fetch(&self) -> Result<bool, ShadowingError> {
        if !self.exchanges() {
            return Ok(false);
        }
        let Some(remote) = &self.project.remote else { return Ok(false) };
        let refspec = format!("+{}*:{}*", self.layout().prefix, self.tracking_prefix(remote));
        self.repository().fetch(&remote.name, &[refspec], Prune::Yes)?;
        Ok(true)
    }

    /// Returns all shadow branches that are known here, the remote's included.
    pub(crate) fn known(&self) -> Result<Vec<FoundBranch>, GitError> {
        let mut known = self.layout().read_all(self.repository(), &self.layout().prefix)?;
        if let Some(remote) = &self.project.remote {
            known.extend(self.layout().read_all(self.repository(), &self.tracking_prefix(remote))?);
        }
        Ok(known)
    }

    /// Returns the entries of this jobset, the newer ones of its tracking ref
    /// included, or why its pointer file is rejected; and its head.
    pub(crate) fn own(
        &self,
    ) -> Result<(Option<FoundBranch>, Result<Entries, String>), ShadowingError> {
        let local = self.layout().read(self.repository(), &self.reference)?;
        let tracked = match self.exchanged() {
            Some(remote) => self.layout().read(self.repository(), &self.tracking(remote))?,
            None => None,
        };
        let local_entries = match (&local, &tracked) {
            (Some(local), _) => local.entries.clone(),
            // Whatever is there, it is replaced by the next push.
            (None, Some(FoundBranch { entries: Err(why), .. })) => Err(why.clone()),
            (None, _) => Ok(Entries::new()),
        };
        let entries = match (local_entries, &tracked) {
            (ours, Some(FoundBranch { entries: Ok(theirs), .. })) => {
                // A good file at the remote stands in for a broken one here.
                let mut merged = ours.unwrap_or_default();
                merge(self.repository(), self.head.tip, &mut merged, theirs)?;
                Ok(merged)
            }
            (ours, Some(_) | None) => ours,
        };
        Ok((local.or(tracked), entries))
    }

    /// Writes the shadow commit of the head with `entries`.
    pub(crate) fn write(
        &self,
        lock: Option<&RunLock>,
        previous: Option<&FoundBranch>,
        entries: &Entries,
    ) -> Result<WrittenShadow, ShadowingError> {
        let Some(lock) = lock else { return self.write_aside(previous, entries) };
        self.clear_the_way(lock)?;
        let branch = self.branch(lock);
        if let Some(remote) = self.exchanged()
            && let Some(tracked) = self.layout().read(self.repository(), &self.tracking(remote))?
        {
            branch.take_over(&tracked)?;
        }
        let id = branch.write(self.head.shadowed(), entries)?;
        let flake = Project::flake(self.repository(), &self.reference, id);
        Ok(WrittenShadow { id, flake, _overlay: None })
    }

    /// Removes shadow branches whose names leave no room for this one's (`a`
    /// and `a/b`), if the branches that they belong to are gone.
    fn clear_the_way(&self, lock: &RunLock) -> Result<(), ShadowingError> {
        for (name, id) in self.obstacles(&self.layout().prefix, &self.reference)? {
            let swap = self.repository().swap(lock, &name, Some(id), None, GONE)?;
            tracing::info!(?swap, name, "the branch of this shadow branch is gone");
        }
        Ok(())
    }

    /// Returns refs below `prefix` that cannot exist beside `wanted` and belong to a deleted branch.
    fn obstacles(
        &self,
        prefix: &str,
        wanted: &str,
    ) -> Result<Vec<(String, CommitId)>, ShadowingError> {
        let mut found = Vec::new();
        for (name, id) in self.repository().targets(prefix)? {
            let is_obstacle =
                |a: &str, b: &str| a.strip_prefix(b).is_some_and(|r| r.starts_with('/'));
            if !is_obstacle(&name, wanted) && !is_obstacle(wanted, &name) {
                continue;
            }
            let of_branch =
                name.strip_prefix(prefix).and_then(|jobset| jobset.strip_prefix("heads/"));
            if let Some(branch) = of_branch
                && self.repository().target(&format!("refs/heads/{branch}"))?.is_none()
            {
                found.push((name, id));
            }
        }
        Ok(found)
    }

    fn write_aside(
        &self,
        previous: Option<&FoundBranch>,
        entries: &Entries,
    ) -> Result<WrittenShadow, ShadowingError> {
        let previous = previous.and_then(|recorded| recorded.shadow.as_ref());
        let text = print(&self.layout().store_dir, entries);
        let pointer = text.as_bytes();
        // What is there already is not evaluated but made again: the same commit, if its tree is
        // what it says to be the tree of.
        let previous = match previous {
            Some(shadow)
                if shadow.original == self.head.commit
                    && shadow.built == self.head.built
                    && shadow.pointer.as_deref() == Some(pointer) =>
            {
                shadow.previous
            }
            Some(shadow) => Some(shadow.id),
            None => None,
        };
        let Shadowed { original, built } = self.head.shadowed();
        let message = &self.message;
        let commit = ShadowCommit { previous, original, built, pointer, message };
        let (overlay, id) =
            aside(self.repository(), &commit, &self.layout().files, &self.reference)?;
        let flake = Project::flake(&overlay.repository, &self.reference, id);
        Ok(WrittenShadow { id, flake, _overlay: Some(overlay) })
    }

    /// Changes entries at this moment's head; returns the head and the jobs that changed.
    pub(crate) fn apply(
        &self,
        lock: &RunLock,
        of: Shadowed,
        changes: &BTreeMap<JobName, Change>,
    ) -> Result<(Option<CommitId>, Vec<JobName>), ShadowingError> {
        Ok(self.branch(lock).apply(of, changes)?)
    }

    /// Pushes the shadow branch, if it may be and the remote does not have it.
    ///
    /// A lost race is not lost work: what the other recorded is taken over, and
    /// the push repeated. Returns whether the remote has it now.
    pub(crate) fn push(&self, lock: &RunLock) -> Result<bool, ShadowingError> {
        let Some(remote) = self.pushed_to() else { return Ok(false) };
        let tracking = self.tracking(remote);
        self.clear_the_way_there(remote, lock, &tracking)?;
        for _ in 0..ATTEMPTS {
            // Nobody else needs what is no shadow commit here.
            let own = self.layout().read(self.repository(), &self.reference)?;
            let Some(own) = own.filter(|own| own.shadow.is_some()).map(|own| own.head) else {
                return Ok(false);
            };
            let expected = self.repository().target(&tracking)?;
            if expected == Some(own) {
                return Ok(true);
            }
            let update = PushUpdate { name: self.reference.clone(), new: Some(own), expected };
            let outcomes = self.repository().push(&remote.name, &[update])?;
            match outcomes.into_iter().next().map(|(_, outcome)| outcome) {
                Some(PushOutcome::Moved | PushOutcome::UpToDate) => {
                    // A lost race only means that the next push asks the remote again.
                    let noted = self.repository().swap(
                        lock,
                        &tracking,
                        expected,
                        Some(own),
                        "levain: push",
                    )?;
                    tracing::debug!(?noted, tracking, "pushed");
                    return Ok(true);
                }
                Some(PushOutcome::Refused { message }) => {
                    return Err(ShadowingError::Refused {
                        remote: remote.name.clone(),
                        reference: self.reference.clone(),
                        message,
                        prefix: self.layout().prefix.clone(),
                    });
                }
                Some(PushOutcome::Stale) | None => {
                    let refspec = format!("+{}:{tracking}", self.reference);
                    self.repository().fetch(&remote.name, &[refspec], Prune::Yes)?;
                    if let Some(tracked) = self.layout().read(self.repository(), &tracking)? {
                        self.branch(lock).take_over(&tracked)?;
                    }
                }
            }
        }
        Err(ShadowingError::LostRaces { reference: self.reference.clone(), attempts: ATTEMPTS })
    }
}

impl Shadowing<'_> {
    /// Does the same as [`Shadowing::clear_the_way`] at the remote.
    fn clear_the_way_there(
        &self,
        remote: &Remote,
        lock: &RunLock,
        tracking: &str,
    ) -> Result<(), ShadowingError> {
        let prefix = self.tracking_prefix(remote);
        for (name, id) in self.obstacles(&prefix, tracking)? {
            let there = name.replacen(&prefix, &self.layout().prefix, 1);
            let update = PushUpdate { name: there, new: None, expected: Some(id) };
            let outcome = self.repository().push(&remote.name, &[update])?;
            let swap = self.repository().swap(lock, &name, Some(id), None, GONE)?;
            tracing::info!(?outcome, ?swap, name, "the branch of this shadow branch is gone");
        }
        Ok(())
    }
}

/// Makes a shadow commit in a temporary repository.
pub(crate) fn aside(
    repository: &Repository,
    commit: &ShadowCommit<'_>,
    files: &ShadowFiles,
    reference: &str,
) -> Result<(Overlay, CommitId), ShadowingError> {
    let overlay = repository.overlay()?;
    let id = shadow::write(&overlay.repository, commit, files)?;
    let lock = RunLock::acquire(&overlay.repository.git_dir().join("levain.lock"))?;
    match overlay.repository.swap(&lock, reference, None, Some(id), "levain")? {
        Swap::Moved => Ok((overlay, id)),
        Swap::Lost { .. } => {
            Err(PointerMoveError::LostRaces { reference: reference.to_owned(), attempts: 1 }.into())
        }
    }
}
