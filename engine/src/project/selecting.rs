//! Which commit of which jobset is built.

use levain_actions::forge::pull_request_refs;
use levain_actions::git::{CommitId, Swap};

use super::branches::fetched;
use super::workplace::Workplace;
use super::{Project, ProjectError, Selection};
use crate::jobset::{Head, Jobset, JobsetKind, Provenance};

/// The ref that keeps a commit which no other ref leads to.
const CHECKED_OUT: &str = "refs/levain-fetched/checked-out";

/// A jobset whose commits have been found, but not yet where they come from.
struct Found {
    kind: JobsetKind,
    commit: CommitId,
    reference: String,
    tip: CommitId,
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
            return self.pull_request(number, selection.revision.as_deref());
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
        Ok((project, Found { kind, commit, reference, tip }))
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
            return Ok((self, Found { kind, commit, reference, tip: commit }));
        }
        let project = if self.writer.is_some() {
            self
        } else {
            self.obtain(|_, place| Ok((place.stepped_aside()?, None)))?.0
        };
        let reference = CHECKED_OUT.to_owned();
        let before = project.repository.target(&reference)?;
        let log = "levain: checked out";
        let lock;
        let lock = match &project.writer {
            Some(writer) => writer.run_lock(),
            None => {
                let path = project.repository.git_dir().join("levain.lock");
                lock = levain_actions::git::RunLock::acquire(&path)?;
                &lock
            }
        };
        let swap = project.repository.swap(lock, &reference, before, Some(commit), log)?;
        if let Swap::Lost { .. } = swap {
            tracing::debug!(reference, "changed meanwhile");
        }
        Ok((project, Found { kind, commit, reference, tip: commit }))
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
        Ok((project, Found { kind: JobsetKind::PullRequest { number }, commit, reference, tip }))
    }

    /// Finds out where the commits come from, all up to the newest of the jobset.
    fn head(self, found: Found) -> Result<(Self, Head), ProjectError> {
        let Found { kind, commit, reference, tip } = found;
        let name = match &kind {
            JobsetKind::Branch { name, .. } => Some(name.clone()),
            JobsetKind::PullRequest { .. } => None,
        };
        let remote = self.remote.clone();
        let writes = self.writes();
        let place = Workplace { repository: self.repository, aside: self.aside, writes };
        let (branches, place, provenance) =
            self.branches.provenance(place, remote.as_ref(), name.as_deref(), tip)?;
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
        Ok((project, Head { jobset, commit, reference, tip }))
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
