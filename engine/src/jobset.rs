//! What is built: a branch or a pull request at one commit, and how far it is trusted.

use levain_actions::forge::is_merge_queue;
use levain_actions::git::CommitId;
use levain_actions::shadow::Shadow;
use levain_evaluator::JobsetName;
use levain_evaluator::pointer::Tier;

use crate::project::Base;

/// A branch, pull request or tag of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jobset {
    /// Which one it is.
    pub kind: JobsetKind,
    /// Where its commits come from.
    pub provenance: Provenance,
}

/// Where the commits of a jobset come from, as far as that is known for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// From the default branch, as the project lists it.
    DefaultBranch,
    /// From a branch that the project lists.
    Branch,
    /// From such branches, and from `git commit` in this repository.
    MadeHere,
    /// That is not known: anybody may have written them.
    Unknown,
}

/// Which branch, pull request or tag a jobset is.
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
    },
    /// A tag of the project's own repository.
    Tag {
        /// Its name, without `refs/tags/`.
        name: String,
    },
}

impl Jobset {
    /// Returns the name.
    pub fn name(&self) -> JobsetName {
        match &self.kind {
            JobsetKind::Branch { name, .. } => JobsetName::branch(name),
            JobsetKind::PullRequest { number } => JobsetName::pull_request(*number),
            JobsetKind::Tag { name } => JobsetName::tag(name),
        }
    }

    /// Returns how far its results are trusted.
    ///
    /// Its name says what it is at most: commits decide. What nobody vouches for is a fork's.
    pub fn tier(&self) -> Tier {
        match (&self.kind, self.provenance) {
            (_, Provenance::Unknown) => Tier::Fork,
            (JobsetKind::PullRequest { .. }, Provenance::MadeHere) => Tier::Fork,
            (JobsetKind::PullRequest { .. }, Provenance::DefaultBranch | Provenance::Branch) => {
                Tier::PullRequest
            }
            // Somebody may move it to any commit, and nobody else starts from what it made.
            (JobsetKind::Tag { .. }, _) => Tier::PullRequest,
            (JobsetKind::Branch { is_default: true, .. }, Provenance::DefaultBranch) => {
                Tier::DefaultBranch
            }
            // What is merged there for a try may come from anybody's pull request.
            (JobsetKind::Branch { .. }, _) if self.is_merge_queue() => Tier::PullRequest,
            (JobsetKind::Branch { .. }, _) => Tier::Branch,
        }
    }

    /// Returns whether it is a branch of a merge queue.
    pub fn is_merge_queue(&self) -> bool {
        match &self.kind {
            JobsetKind::Branch { name, is_default } => !is_default && is_merge_queue(name),
            JobsetKind::PullRequest { .. } | JobsetKind::Tag { .. } => false,
        }
    }

    /// Returns the name of the branch or tag that some forges want beside the commit.
    pub fn branch(&self) -> Option<&str> {
        match &self.kind {
            JobsetKind::Branch { name, .. } => Some(name),
            JobsetKind::PullRequest { .. } => None,
            JobsetKind::Tag { name } => Some(name),
        }
    }

    /// Returns whether its shadow branch may leave this machine.
    pub fn may_be_pushed(&self) -> bool {
        self.tier() != Tier::Fork
    }

    /// Returns whether a build of this jobset may use what a jobset called
    /// `maker` of tier `tier` made: its own, and branches of its own tier or a
    /// higher one, but never another pull request's.
    ///
    /// What it made itself while it was trusted less (a branch that has become the
    /// default branch, a fork's commits that are now on a branch) does not count.
    pub fn trusts(&self, maker: &JobsetName, tier: Tier) -> bool {
        let of_others = match tier {
            Tier::DefaultBranch | Tier::Branch => true,
            Tier::PullRequest | Tier::Fork => false,
        };
        // A pull request is one author's, but one branch here may hold one fork's commits today
        // and another's tomorrow, and so may one of a merge queue.
        let is_one_authors = match self.kind {
            JobsetKind::PullRequest { .. } => true,
            JobsetKind::Branch { .. } => self.tier() != Tier::Fork && !self.is_merge_queue(),
            // Moved, it is another's.
            JobsetKind::Tag { .. } => false,
        };
        tier <= self.tier() && (of_others || (is_one_authors && *maker == self.name()))
    }
}

/// A jobset and the commit of it that is to be built.
#[derive(Clone, Debug)]
pub struct Head {
    /// The jobset.
    pub jobset: Jobset,
    /// The author's commit: what statuses, entries and `commit.txt` name.
    pub commit: CommitId,
    /// The commit that is evaluated and built: the author's, or its merge with the base.
    pub built: CommitId,
    /// The ref under which that can be found in the repository.
    pub reference: String,
    /// What the author's commit is merged with in `built`; nothing if it is built as it is.
    pub base: Option<Base>,
    /// The newest commit of the jobset; `commit` itself unless an older one was asked for.
    pub tip: CommitId,
}

impl Head {
    /// Returns what a shadow commit of it shadows.
    pub(crate) fn shadowed(&self) -> Shadowed {
        Shadowed { original: self.commit, built: self.built }
    }
}

/// What a shadow commit shadows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shadowed {
    /// The author's commit.
    pub(crate) original: CommitId,
    /// The commit whose tree it has: the author's, or its merge with the base.
    pub(crate) built: CommitId,
}

impl From<CommitId> for Shadowed {
    fn from(commit: CommitId) -> Self {
        Self { original: commit, built: commit }
    }
}

impl From<&Shadow> for Shadowed {
    fn from(shadow: &Shadow) -> Self {
        Self { original: shadow.original, built: shadow.built }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{branch, pull_request};

    #[test]
    fn commits_decide_and_names_only_limit() {
        use Provenance::{Branch, DefaultBranch, MadeHere, Unknown};
        let all = [DefaultBranch, Branch, MadeHere, Unknown];
        let tiers = |kind: JobsetKind| {
            all.map(|provenance| Jobset { kind: kind.clone(), provenance }.tier())
        };
        let main = JobsetKind::Branch { name: "main".into(), is_default: true };
        let topic = JobsetKind::Branch { name: "topic".into(), is_default: false };
        assert_eq!(tiers(main), [Tier::DefaultBranch, Tier::Branch, Tier::Branch, Tier::Fork]);
        assert_eq!(tiers(topic), [Tier::Branch, Tier::Branch, Tier::Branch, Tier::Fork]);
        assert_eq!(
            tiers(JobsetKind::PullRequest { number: 7 }),
            [Tier::PullRequest, Tier::PullRequest, Tier::Fork, Tier::Fork]
        );
    }

    #[test]
    fn a_branch_of_unknown_commits_uses_what_branches_made_and_nothing_of_its_own() {
        let unknown = Jobset { provenance: Provenance::Unknown, ..branch("try", false) };
        assert!(!unknown.may_be_pushed());
        assert!(!unknown.trusts(&unknown.name(), unknown.tier()));
        assert!(unknown.trusts(&branch("main", true).name(), Tier::DefaultBranch));
        assert!(unknown.trusts(&unknown.name(), Tier::Branch));
        for user in [branch("try", false), branch("main", true), pull_request(7, true)] {
            assert!(!user.trusts(&unknown.name(), unknown.tier()), "{}", user.name());
        }
    }

    #[test]
    fn a_merge_queue_makes_nothing_that_others_or_its_next_try_use() {
        let (main, topic) = (branch("main", true), branch("topic", false));
        for name in ["staging", "gh-readonly-queue/main/pr-7-x"] {
            let queue = branch(name, false);
            assert_eq!((queue.tier(), queue.is_merge_queue()), (Tier::PullRequest, true));
            let unknown = Jobset { provenance: Provenance::Unknown, ..queue.clone() };
            assert_eq!(unknown.tier(), Tier::Fork);
            let trusts = |user: &Jobset, maker: &Jobset| user.trusts(&maker.name(), maker.tier());
            assert!(trusts(&queue, &main) && trusts(&queue, &topic), "{name}");
            for user in [&queue, &main, &topic, &pull_request(7, false), &pull_request(7, true)] {
                assert!(!trusts(user, &queue), "{}", user.name());
            }
        }
        // Whatever it is called: the default branch is no queue.
        let staging = branch("staging", true);
        assert_eq!((staging.tier(), staging.is_merge_queue()), (Tier::DefaultBranch, false));
        assert!(staging.trusts(&staging.name(), staging.tier()));
    }

    #[test]
    fn a_tag_starts_from_what_branches_made_and_leaves_nothing() {
        let (main, topic) = (branch("main", true), branch("topic", false));
        let kind = || JobsetKind::Tag { name: "v1".into() };
        for provenance in [Provenance::DefaultBranch, Provenance::Branch] {
            let tag = Jobset { kind: kind(), provenance };
            assert_eq!((tag.tier(), tag.may_be_pushed()), (Tier::PullRequest, true));
            let trusts = |user: &Jobset, maker: &Jobset| user.trusts(&maker.name(), maker.tier());
            assert!(trusts(&tag, &main) && trusts(&tag, &topic));
            for user in [&tag, &main, &topic, &pull_request(7, false)] {
                assert!(!trusts(user, &tag), "{}", user.name());
            }
        }
        // Of a commit that is on no branch.
        let tag = Jobset { kind: kind(), provenance: Provenance::Unknown };
        assert_eq!((tag.tier(), tag.may_be_pushed()), (Tier::Fork, false));
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
}
