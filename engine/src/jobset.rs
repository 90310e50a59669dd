//! What is built: a branch or a pull request at one commit, and how far it is trusted.

use levain_actions::git::CommitId;
use levain_evaluator::pointer::Tier;

/// A branch or pull request of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jobset {
    /// Which one it is.
    pub kind: JobsetKind,
}

/// Which branch or pull request a jobset is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobsetKind {
    /// A branch of the project's own repository.
    Branch {
        /// Its name, without `refs/heads/`.
        name: String,
        /// Whether it is the default branch.
        is_default: bool,
    },
    /// A pull request, or merge request.
    PullRequest {
        /// Its number on the forge.
        number: u64,
        /// Whether its commits come from another repository. Unless its head is
        /// also the head of one of the project's branches, this is assumed.
        from_fork: bool,
    },
}

impl Jobset {
    /// Returns the name, in which branches and pull requests cannot be confused.
    pub fn name(&self) -> String {
        match &self.kind {
            JobsetKind::Branch { name, .. } => format!("heads/{name}"),
            JobsetKind::PullRequest { number, .. } => format!("pull/{number}"),
        }
    }

    /// Returns how far its results are trusted.
    pub fn tier(&self) -> Tier {
        match &self.kind {
            JobsetKind::Branch { is_default: true, .. } => Tier::DefaultBranch,
            JobsetKind::Branch { .. } => Tier::Branch,
            JobsetKind::PullRequest { from_fork: false, .. } => Tier::PullRequest,
            JobsetKind::PullRequest { from_fork: true, .. } => Tier::Fork,
        }
    }

    /// Returns the branch name that some forges want beside the commit.
    pub fn branch(&self) -> Option<&str> {
        match &self.kind {
            JobsetKind::Branch { name, .. } => Some(name),
            JobsetKind::PullRequest { .. } => None,
        }
    }

    /// Returns whether its shadow branch may leave this machine.
    pub fn may_be_pushed(&self) -> bool {
        !matches!(self.kind, JobsetKind::PullRequest { from_fork: true, .. })
    }

    /// Returns whether a build of this jobset may use what a jobset called
    /// `maker` of tier `tier` made: its own, and branches of its own tier or a
    /// higher one, but never another pull request's.
    ///
    /// What it made itself while it was trusted less (a branch that has become the
    /// default branch, a fork's commits that are now on a branch) does not count.
    pub fn trusts(&self, maker: &str, tier: Tier) -> bool {
        let of_others = match tier {
            Tier::DefaultBranch | Tier::Branch => true,
            Tier::PullRequest | Tier::Fork => false,
        };
        tier <= self.tier() && (of_others || maker == self.name())
    }
}

/// A jobset and the commit of it that is to be built.
#[derive(Clone, Debug)]
pub struct Head {
    /// The jobset.
    pub jobset: Jobset,
    /// The author's commit.
    pub commit: CommitId,
    /// The ref under which the commit can be found in the repository.
    pub reference: String,
    /// The newest commit of the jobset; `commit` itself unless an older one was asked for.
    pub tip: CommitId,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branch(name: &str, is_default: bool) -> Jobset {
        Jobset { kind: JobsetKind::Branch { name: name.into(), is_default } }
    }

    fn pull_request(number: u64, from_fork: bool) -> Jobset {
        Jobset { kind: JobsetKind::PullRequest { number, from_fork } }
    }

    #[test]
    fn trust_goes_down_only() {
        let (main, topic) = (branch("main", true), branch("topic", false));
        let (pull, fork) = (pull_request(1, false), pull_request(2, true));
        let trusts = |user: &Jobset, maker: &Jobset| user.trusts(&maker.name(), maker.tier());
        for (user, may_use) in [
            (&main, [true, false, false, false]),
            (&topic, [true, true, false, false]),
            (&pull, [true, true, true, false]),
            (&fork, [true, true, false, true]),
        ] {
            let found = [&main, &topic, &pull, &fork].map(|maker| trusts(user, maker));
            assert_eq!(found, may_use, "{}", user.name());
        }
        assert!(trusts(&topic, &branch("other", false)));
        assert!(!branch("topic", true).trusts(&topic.name(), topic.tier()));
        assert!(!pull_request(2, false).trusts(&fork.name(), fork.tier()));
        assert!(pull_request(1, true).trusts(&pull.name(), pull.tier()));
        assert!(!trusts(&pull, &pull_request(3, false)));
    }

    #[test]
    fn a_branch_cannot_pose_as_a_pull_request() {
        assert_ne!(branch("pull/1", false).name(), pull_request(1, false).name());
    }
}
