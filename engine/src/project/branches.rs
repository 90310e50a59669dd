//! Which branches the project has, and which of their commits are the project's own.
//!
//! A repository decides that, never what lies in refs here: the remote that the project lives at, else the repository
//! itself. `docs/decisions/0020-what-is-the-projects-own.md` says why.

use levain_actions::forge::is_merge_queue;
use levain_actions::git::{CommitId, GitError, Listing, RemoteError, Repository};

use super::authority::{self, Authority, Doubted, default_of};
use super::declaring::first_line;
use super::workplace::Workplace;
use super::{ProjectError, Remote};
use crate::jobset::Provenance;

/// Branches that are fetched at most, only to find out where commits come from.
const FETCHED: usize = 16;

/// The branches of a project, as far as somebody could tell.
#[derive(Clone, Debug)]
pub struct Branches {
    /// What was said.
    listing: Listing,
    /// By whom.
    authority: Authority,
    /// The default branch, if one is known.
    pub default: Option<String>,
}

/// Whether the remote is to be asked for its branches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// Yes.
    Remote,
    /// No: names are needed, but not whose commits they lead to.
    Nobody,
}

impl Branches {
    /// Asks who decides.
    pub(super) fn ask(
        repository: &Repository,
        remote: Option<&Remote>,
        asking: Asking,
    ) -> Result<Self, ProjectError> {
        let said = repository.said_default();
        let (listing, authority) = match (remote, asking) {
            (None, _) => authority::alone(repository, said.as_deref())?,
            (Some(_), Asking::Nobody) => (Listing::default(), Authority::NotAsked),
            (Some(remote), Asking::Remote) => {
                authority::of_remote(repository, remote, said.as_deref())?
            }
        };
        if let Authority::Silent(RemoteError::Stopped) = authority {
            return Err(RemoteError::Stopped.into());
        }
        let name = remote.map(|remote| remote.name.as_str());
        let tracked = name.and_then(|name| repository.tracked_default(name));
        let default = default_of(&listing, said, tracked, || repository.default_branch(name))?;
        Ok(Self { listing, authority, default })
    }

    /// Leaves out the branches below a prefix: those that levain makes itself.
    pub(super) fn without(mut self, prefix: &str) -> Self {
        self.listing.branches.retain(|name, _| !format!("refs/heads/{name}").starts_with(prefix));
        self
    }

    /// Returns the head of a branch, if the project has it.
    pub(super) fn head(&self, name: &str) -> Option<CommitId> {
        self.listing.branches.get(name).copied()
    }

    /// Returns why nobody could say which branches there are.
    pub(super) fn silence(&self) -> Option<&RemoteError> {
        match &self.authority {
            Authority::Silent(error) => Some(error),
            Authority::Remote | Authority::Itself | Authority::Doubted(_) | Authority::NotAsked => {
                None
            }
        }
    }

    /// Returns why nobody who could be asked is believed.
    pub(super) fn doubted(&self) -> Option<&Doubted> {
        match &self.authority {
            Authority::Doubted(doubted) => Some(doubted),
            Authority::Remote | Authority::Itself | Authority::Silent(_) | Authority::NotAsked => {
                None
            }
        }
    }

    /// Says why the commits of a branch count as a fork's.
    pub(super) fn why_a_forks(&self, remote: Option<&Remote>, branch: &str) -> String {
        let kept = "its caches stay here and serve no other branch";
        let remote = remote.map_or("", |remote| remote.name.as_str());
        match (&self.authority, remote) {
            (Authority::Silent(error), _) => format!(
                "`{remote}` cannot be asked for its branches, so `{branch}` counts as a fork's: {kept} ({})",
                first_line(error)
            ),
            (Authority::Doubted(doubted), _) => format!(
                "`{branch}` counts as a fork's: it has commits that were not committed in this repository, and {}; {kept} ({})",
                doubted.reason(),
                doubted.remedy(self.default.as_deref().or(Some(branch)))
            ),
            (Authority::Remote | Authority::Itself | Authority::NotAsked, _) => format!(
                "`{branch}` counts as a fork's: it has commits that no listed branch contains and that were not committed in this repository; {kept}{}",
                if remote.is_empty() {
                    String::new()
                } else {
                    format!(" until it is pushed to `{remote}`")
                }
            ),
        }
    }

    /// Returns whether anybody was asked.
    pub(super) fn is_asked(&self) -> bool {
        !matches!(self.authority, Authority::NotAsked)
    }

    /// Returns the branches that contain a commit, the default branch first, then those with that very head.
    pub(super) fn containing(
        &self,
        repository: &Repository,
        commit: CommitId,
    ) -> Result<Vec<String>, GitError> {
        let mut found = Vec::new();
        for (name, head) in &self.listing.branches {
            if repository.is_part_of(commit, &[*head])? {
                let is_default = self.default.as_ref() == Some(name);
                found.push((!is_default, *head != commit, name.clone()));
            }
        }
        found.sort();
        Ok(found.into_iter().map(|(_, _, name)| name).collect())
    }

    /// Tells where a commit comes from; `name` is the branch that it is on here.
    ///
    /// Heads that the remote lists and this repository lacks are fetched first if they may decide it.
    pub(super) fn provenance(
        mut self,
        mut place: Workplace,
        remote: Option<&Remote>,
        name: Option<&str>,
        commit: CommitId,
    ) -> Result<(Self, Workplace, Provenance), ProjectError> {
        let mut found = self.known_provenance(&place, name, commit)?;
        if let (Some(remote), Authority::Remote) = (remote, &self.authority)
            && found != Provenance::DefaultBranch
        {
            let missing = self.missing(&place.repository, remote, name)?;
            for branch in &missing {
                let (there, head) = self.fetch(place, remote, branch)?;
                place = there;
                if let Some(head) = head {
                    self.listing.branches.insert(branch.clone(), head);
                }
            }
            if !missing.is_empty() {
                found = self.known_provenance(&place, name, commit)?;
            }
        }
        Ok((self, place, found))
    }

    /// Fetches a branch of the remote, by its name.
    pub(super) fn fetch(
        &self,
        place: Workplace,
        remote: &Remote,
        name: &str,
    ) -> Result<(Workplace, Option<CommitId>), ProjectError> {
        place.obtain(remote, &[format!("refs/heads/{name}")], &fetched(name))
    }

    /// Returns listed branches whose heads are not here and may contain what is looked for.
    fn missing(
        &self,
        repository: &Repository,
        remote: &Remote,
        name: Option<&str>,
    ) -> Result<Vec<String>, GitError> {
        let mut missing = Vec::new();
        for (branch, head) in &self.listing.branches {
            let named = name == Some(branch) || self.default.as_ref() == Some(branch);
            // A tracking branch is a hint where to look; what counts is what the remote says.
            let tracked =
                || repository.reference(&format!("refs/remotes/{}/{branch}", remote.name));
            if !repository.has(*head) && (named || tracked()?.is_some()) {
                missing.push((!named, branch.clone()));
            }
        }
        missing.sort();
        Ok(missing.into_iter().take(FETCHED).map(|(_, branch)| branch).collect())
    }

    /// Returns the heads of the branches that make a commit the project's own.
    ///
    /// Those of a merge queue do so for their own jobset alone: what is tried there may be a fork's, and stays a fork's
    /// elsewhere.
    fn vouching(&self, name: Option<&str>) -> Vec<CommitId> {
        let listed = self.listing.branches.iter();
        let vouches = |branch: &str| {
            !is_merge_queue(branch)
                || self.default.as_deref() == Some(branch)
                || name == Some(branch)
        };
        listed.filter(|(branch, _)| vouches(branch)).map(|(_, head)| *head).collect()
    }

    /// Returns the branch that vouches for a commit of it which something else is merged with: itself, unless it belongs to
    /// a merge queue. What is tried there may be a fork's, and merging it into a pull request does not make it the
    /// project's own.
    pub(super) fn vouching_base<'n>(&self, name: &'n str) -> Option<&'n str> {
        let is_default = self.default.as_deref() == Some(name);
        (is_default || !is_merge_queue(name)).then_some(name)
    }

    fn known_provenance(
        &self,
        place: &Workplace,
        name: Option<&str>,
        commit: CommitId,
    ) -> Result<Provenance, GitError> {
        let repository = &place.repository;
        let default = self.default.as_deref().and_then(|name| self.head(name));
        if let Some(head) = default
            && repository.is_part_of(commit, &[head])?
        {
            return Ok(Provenance::DefaultBranch);
        }
        let heads = self.vouching(name);
        if repository.is_part_of(commit, &heads)? {
            Ok(Provenance::Branch)
        } else if repository.is_made_here(commit, &heads, place.original())? {
            Ok(Provenance::MadeHere)
        } else {
            Ok(Provenance::Unknown)
        }
    }
}

/// Returns the ref that a branch of the remote is fetched into.
pub(super) fn fetched(name: &str) -> String {
    format!("refs/levain-fetched/heads/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fixture;

    #[test]
    fn a_merge_queue_vouches_for_its_own_jobset_alone() {
        let fixture = Fixture::new();
        let main = fixture.commit(&[], "main");
        let fork = fixture.commit(&[main], "of a fork");
        let tried = fixture.commit(&[main, fork], "tried");
        let heads = [("main", main), ("staging", tried), ("gitea-mq/1", tried)];
        let branches = |default: &str| Branches {
            listing: Listing {
                branches: heads.map(|(name, commit)| (name.to_owned(), commit)).into(),
                ..Listing::default()
            },
            authority: Authority::Remote,
            default: Some(default.to_owned()),
        };
        let repository = fixture.repository;
        let place = Workplace { repository, aside: None, writes: true };
        let of = |default: &str, name: Option<&str>, commit| {
            branches(default).known_provenance(&place, name, commit).unwrap()
        };
        for name in ["staging", "gitea-mq/1"] {
            assert_eq!(of("main", Some(name), tried), Provenance::Branch, "{name}");
        }
        // The pull request of the fork stays a fork's while it is tried, and so does a branch that contains the try.
        for name in [None, Some("main"), Some("topic")] {
            assert_eq!(of("main", name, fork), Provenance::Unknown, "{name:?}");
            assert_eq!(of("main", name, tried), Provenance::Unknown, "{name:?}");
        }
        // Nor does it become the project's own as the base of a pull request; what of it is on a branch is.
        let as_base = |default: &str, name: &str, commit| {
            of(default, branches(default).vouching_base(name), commit)
        };
        for name in ["staging", "gitea-mq/1"] {
            assert_eq!(as_base("main", name, tried), Provenance::Unknown, "{name}");
            assert_eq!(as_base("main", name, main), Provenance::DefaultBranch, "{name}");
        }
        assert_eq!(as_base("staging", "staging", tried), Provenance::DefaultBranch);
        assert_eq!(branches("main").vouching_base("topic"), Some("topic"));
        assert_eq!(of("main", None, main), Provenance::DefaultBranch);
        assert_eq!(of("staging", None, fork), Provenance::DefaultBranch);
        assert_eq!(of("staging", None, main), Provenance::DefaultBranch);
    }
}
