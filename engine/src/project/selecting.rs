//! Which commit of which jobset is built.

use levain_actions::forge::pull_request_refs;
use levain_actions::git::{CommitId, Merged, Swap};

use super::branches::fetched;
use super::workplace::Workplace;
use super::{Base, Project, ProjectError, Selection};
use crate::jobset::{Head, Jobset, JobsetKind, Provenance};
use crate::shadowing::merge_ref;

/// The ref that keeps a commit which no other ref leads to.
const CHECKED_OUT: &str = "refs/levain-fetched/checked-out";

/// How often it is tried to have a ref lead to a commit that others have lead elsewhere.
const ATTEMPTS: u32 = 5;

/// A jobset whose commits have been found, but not yet where they come from.
struct Found {
    kind: JobsetKind,
    commit: CommitId,
    built: CommitId,
    reference: String,
    tip: CommitId,
    /// What the commit is merged with in `built`, if it is.
    base: Option<Base>,
}

impl Found {
    fn new(kind: JobsetKind, commit: CommitId, reference: String, tip: CommitId) -> Self {
        Self { kind, commit, built: commit, reference, tip, base: None }
    }
}

impl Project {
    /// Finds the commit to build.
    ///
    /// Returns the project as well: what was fetched for a pull request may lie in a temporary
    /// repository, where nothing may be written to the project's own.
    pub fn select(self, selection: &Selection) -> Result<(Self, Head), ProjectError> {
        let (project, found) = self.find(selection)?;
        project.head(found)
    }

    fn find(self, selection: &Selection) -> Result<(Self, Found), ProjectError> {
        if let Some(number) = selection.pull_request {
            let (project, found) = self.pull_request(number, selection.revision.as_deref())?;
            return match &selection.base {
                Some(base) => project.merged(number, found, base),
                None => Ok((project, found)),
            };
        }
        if let Some(name) = &selection.tag {
            return self.tag(name, selection.revision.as_deref());
        }
        let revision = selection.revision.as_deref().map(|text| self.repository.commit(text));
        let revision = revision.transpose()?;
        let name = match (&selection.branch, revision) {
            (Some(name), _) => name.clone(),
            (None, Some(commit)) => self.branch_with(commit)?,
            (None, None) => match self.repository.head_branch()? {
                Some(name) => name,
                None => return self.detached(selection),
            },
        };
        self.branch(name, revision)
    }

    /// Finds a branch as it is here, else as the remote lists it.
    fn branch(
        self,
        name: String,
        revision: Option<CommitId>,
    ) -> Result<(Self, Found), ProjectError> {
        let reference = format!("refs/heads/{name}");
        if reference.starts_with(&self.layout.prefix) {
            return Err(ProjectError::ShadowBranch { name });
        }
        let (project, reference, tip) = match self.repository.reference(&reference)? {
            Some(tip) => (self, reference, tip),
            None => {
                let (project, listed) = self.listed(&name)?;
                match listed {
                    Some(tip) => (project, fetched(&name), tip),
                    // The error that names the branches there are.
                    None => {
                        let tip = project.repository.branch(&name)?;
                        (project, reference, tip)
                    }
                }
            }
        };
        let commit = revision.unwrap_or(tip);
        if !project.repository.is_ancestor(commit, tip)? {
            return Err(ProjectError::NotInJobset {
                commit: commit.to_string(),
                of: format!("branch `{name}`"),
            });
        }
        let is_default = project.branches.default.as_deref() == Some(name.as_str());
        let kind = JobsetKind::Branch { name, is_default };
        Ok((project, Found::new(kind, commit, reference, tip)))
    }

    /// Returns the branch that a commit given alone belongs to: the default
    /// branch if that contains it, else the first that does.
    fn branch_with(&self, commit: CommitId) -> Result<String, ProjectError> {
        let mut branches = self.repository.branches_containing(commit)?;
        branches.retain(|name| !format!("refs/heads/{name}").starts_with(&self.layout.prefix));
        let default = self.branches.default.clone().filter(|name| branches.contains(name));
        let found = match default.or_else(|| branches.into_iter().next()) {
            Some(name) => Some(name),
            None => self.branches.containing(&self.repository, commit)?.into_iter().next(),
        };
        found.ok_or_else(|| ProjectError::NotInJobset {
            commit: commit.to_string(),
            of: "any branch".into(),
        })
    }

    /// Fetches a branch that the remote lists, unless its head is here already.
    fn listed(self, name: &str) -> Result<(Self, Option<CommitId>), ProjectError> {
        let (Some(remote), Some(head)) = (self.remote.clone(), self.branches.head(name)) else {
            return Ok((self, None));
        };
        if self.repository.reference(&fetched(name))? == Some(head) {
            return Ok((self, Some(head)));
        }
        self.obtain(|project, place| project.fetch(place, &remote, name))
    }

    /// Finds what the commit of a work tree on no branch belongs to.
    ///
    /// What the environment says only chooses a name. Whose commits these are is found out
    /// afterwards, as for any other.
    fn detached(self, selection: &Selection) -> Result<(Self, Found), ProjectError> {
        if self.repository.is_mirror() {
            return Err(ProjectError::NoDefaultBranch { label: self.label.clone() });
        }
        let commit = self.repository.head()?;
        let said = &selection.checked_out;
        if let Some(number) = said.pull_request {
            return self.checked_out(JobsetKind::PullRequest { number }, commit);
        }
        let mut listed = self.branches.containing(&self.repository, commit)?;
        if listed.is_empty()
            && let Some(name) = &said.branch
            && !self.branches.head(name).is_none_or(|head| self.repository.has(head))
        {
            // The branch has moved on since it was checked out.
            let name = name.clone();
            let (project, _) = self.listed(&name)?;
            let is_part = match project.repository.reference(&fetched(&name))? {
                Some(head) => project.repository.is_part_of(commit, &[head])?,
                None => false,
            };
            return if is_part {
                project.branch(name, Some(commit))
            } else {
                project.unlisted(selection, commit)
            };
        }
        if let Some(name) = said.branch.as_ref().filter(|name| listed.contains(name)) {
            listed = vec![name.clone()];
        }
        match listed.into_iter().next() {
            Some(name) => {
                let is_default = self.branches.default.as_ref() == Some(&name);
                self.checked_out(JobsetKind::Branch { name, is_default }, commit)
            }
            None => self.unlisted(selection, commit),
        }
    }

    /// Finds a jobset for a commit that no listed branch is known to contain.
    fn unlisted(
        self,
        selection: &Selection,
        commit: CommitId,
    ) -> Result<(Self, Found), ProjectError> {
        for (name, id) in self.repository.references("refs/")? {
            if id == commit
                && let Some(number) = levain_actions::forge::pull_request_of(&name)
            {
                return self.checked_out(JobsetKind::PullRequest { number }, commit);
            }
        }
        if (self.branches.silence().is_some() || self.branches.doubted().is_some())
            && let Some(name) = selection.checked_out.branch.clone()
        {
            let is_default = self.branches.default.as_ref() == Some(&name);
            return self.checked_out(JobsetKind::Branch { name, is_default }, commit);
        }
        let why = match (&self.remote, self.branches.silence()) {
            (None, _) => "nothing tells which jobset that is",
            (Some(_), None) if self.branches.doubted().is_some() => {
                "nobody who is to be believed tells which branch contains that commit"
            }
            (Some(_), None) => "no branch that the remote lists contains that commit",
            (Some(_), Some(_)) => "the remote cannot be asked which branch contains that commit",
        };
        let path = self.repository.location().to_owned();
        Err(ProjectError::Detached { path, commit: commit.short(), why })
    }

    /// Takes the commit that is checked out, under a ref that leads to it.
    fn checked_out(
        self,
        kind: JobsetKind,
        commit: CommitId,
    ) -> Result<(Self, Found), ProjectError> {
        let references = self.repository.references("refs/")?;
        let is_lasting = |name: &str| !name.starts_with(&self.layout.prefix);
        let found = references.into_iter().find(|(name, id)| *id == commit && is_lasting(name));
        if let Some((reference, _)) = found {
            return Ok((self, Found::new(kind, commit, reference, commit)));
        }
        let project = self.where_refs_may_move()?;
        project.keep(CHECKED_OUT, commit, "levain: checked out")?;
        Ok((project, Found::new(kind, commit, CHECKED_OUT.to_owned(), commit)))
    }

    /// Goes on in a temporary repository if nothing may be written to the project's own.
    fn where_refs_may_move(self) -> Result<Self, ProjectError> {
        if self.writer.is_some() {
            return Ok(self);
        }
        Ok(self.obtain(|_, place| Ok((place.stepped_aside()?, None)))?.0)
    }

    /// Has a ref lead to a commit, whatever it led to before.
    fn keep(&self, reference: &str, commit: CommitId, log: &str) -> Result<(), ProjectError> {
        let lock;
        let lock = match &self.writer {
            Some(writer) => writer.run_lock(),
            None => {
                let path = self.repository.git_dir().join("levain.lock");
                lock = levain_actions::git::RunLock::acquire(&path)?;
                &lock
            }
        };
        for _ in 0..ATTEMPTS {
            let before = self.repository.target(reference)?;
            match self.repository.swap(lock, reference, before, Some(commit), log)? {
                Swap::Moved => return Ok(()),
                Swap::Lost { .. } => tracing::debug!(reference, "changed meanwhile"),
            }
        }
        Ok(())
    }

    fn pull_request(
        self,
        number: u64,
        revision: Option<&str>,
    ) -> Result<(Self, Found), ProjectError> {
        let Some(remote) = self.remote.clone() else {
            return Err(ProjectError::NoRemote { number });
        };
        let reference = format!("refs/levain-fetched/pull/{number}");
        let tried = pull_request_refs(self.forge_kind(), number);
        let (project, found) = self.obtain(|_, place| place.obtain(&remote, &tried, &reference))?;
        let Some(tip) = found else {
            return Err(ProjectError::NoPullRequest { number, tried });
        };
        let commit = match revision {
            Some(revision) => project.repository.commit(revision)?,
            None => tip,
        };
        if !project.repository.is_ancestor(commit, tip)? {
            return Err(ProjectError::NotInJobset {
                commit: commit.to_string(),
                of: format!("pull request {number}"),
            });
        }
        Ok((project, Found::new(JobsetKind::PullRequest { number }, commit, reference, tip)))
    }

    /// Finds a tag of the remote.
    fn tag(self, name: &str, revision: Option<&str>) -> Result<(Self, Found), ProjectError> {
        let none = || ProjectError::NoTag { name: name.to_owned() };
        let Some(remote) = self.remote.clone() else { return Err(none()) };
        let source = format!("refs/tags/{name}");
        let reference = format!("refs/levain-fetched/tags/{name}");
        let tried = [source];
        let (project, found) = self.obtain(|_, place| place.obtain(&remote, &tried, &reference))?;
        let tip = found.ok_or_else(none)?;
        let commit = match revision {
            Some(revision) => project.repository.commit(revision)?,
            None => tip,
        };
        // It may have moved since.
        if commit != tip {
            return Err(ProjectError::NotInJobset {
                commit: commit.to_string(),
                of: format!("tag `{name}`"),
            });
        }
        // A tag with a message is an object of its own, which is no commit.
        let project = project.where_refs_may_move()?;
        project.keep(&reference, commit, "levain: what the tag stands for")?;
        Ok((project, Found::new(JobsetKind::Tag { name: name.to_owned() }, commit, reference, tip)))
    }

    /// Merges the commit of a pull request with its base.
    ///
    /// Both commits were named by whoever asks for the run. Where one contains the other, that is what is built; so what
    /// needs no merge has the derivations that everybody else gets of it.
    fn merged(self, number: u64, found: Found, base: &Base) -> Result<(Self, Found), ProjectError> {
        let project = self.where_refs_may_move()?;
        if !project.repository.has(base.commit) {
            return Err(ProjectError::NoBase { base: base.clone() });
        }
        let built = match project.repository.merge(base.commit, found.commit)? {
            Merged::Commit(built) => built,
            Merged::Conflict(conflict) => {
                return Err(ProjectError::Conflict { branch: base.branch.clone(), conflict });
            }
        };
        let found = Found { base: Some(base.clone()), built, ..found };
        if built == found.commit {
            return Ok((project, found));
        }
        let reference = merge_ref(number);
        project.keep(&reference, built, "levain: merged with its base")?;
        Ok((project, Found { reference, ..found }))
    }

    /// Finds out where the commits come from, all up to the newest of the jobset.
    fn head(self, found: Found) -> Result<(Self, Head), ProjectError> {
        let Found { kind, commit, built, reference, tip, base } = found;
        let name = match &kind {
            JobsetKind::Branch { name, .. } => Some(name.clone()),
            JobsetKind::PullRequest { .. } | JobsetKind::Tag { .. } => None,
        };
        let remote = self.remote.clone();
        let writes = self.writes();
        let place = Workplace { repository: self.repository, aside: self.aside, writes };
        let (branches, place, provenance) =
            self.branches.provenance(place, remote.as_ref(), name.as_deref(), tip)?;
        // A merge is trusted as far as both its parts are.
        let (branches, place, provenance) = match &base {
            Some(base) if provenance != Provenance::Unknown => {
                let vouching = branches.vouching_base(&base.branch).map(str::to_owned);
                let (branches, place, of_base) = branches.provenance(
                    place,
                    remote.as_ref(),
                    vouching.as_deref(),
                    base.commit,
                )?;
                let is_known = of_base != Provenance::Unknown;
                (branches, place, if is_known { provenance } else { Provenance::Unknown })
            }
            Some(_) | None => (branches, place, provenance),
        };
        let place = place.complete(commit)?;
        let mut notices = self.notices;
        if let (Provenance::Unknown, Some(name)) = (provenance, &name)
            && branches.is_asked()
        {
            notices.push(branches.why_a_forks(remote.as_ref(), name));
        }
        let Workplace { repository, aside, writes: _ } = place;
        let project = Self { repository, aside, branches, notices, ..self };
        let jobset = Jobset { kind, provenance };
        Ok((project, Head { jobset, commit, built, reference, base, tip }))
    }

    fn writes(&self) -> bool {
        self.writer.is_some() || self.repository.is_mirror()
    }

    /// Gets something into the repository, which may be a temporary one afterwards.
    fn obtain(
        self,
        how: impl FnOnce(
            &super::Branches,
            Workplace,
        ) -> Result<(Workplace, Option<CommitId>), ProjectError>,
    ) -> Result<(Self, Option<CommitId>), ProjectError> {
        let writes = self.writes();
        let place = Workplace { repository: self.repository, aside: self.aside, writes };
        let (place, found) = how(&self.branches, place)?;
        let Workplace { repository, aside, writes: _ } = place;
        Ok((Self { repository, aside, ..self }, found))
    }
}
