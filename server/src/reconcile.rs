//! What is to be done about a project, given what is there now: a pure decision.
//!
//! Deliveries come late, twice, in any order or not at all. So nothing is decided by them: they only say that somebody
//! should look. What is found then is compared with what was found before.

use std::collections::{BTreeMap, BTreeSet};

use levain_actions::git::CommitId;
use levain_evaluator::JobsetName;

use crate::approve::Trust;
use crate::roles::Role;

/// The newest commit of a jobset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The commit.
    pub commit: CommitId,
    /// Whose it is. That of a commit is fixed when it is first seen, whatever is found later.
    pub trust: Trust,
    /// The number at the forge of who wrote the pull request, if it is one and that is known.
    pub author: Option<u64>,
    /// The branch that a pull request is merged with to be built, without `refs/heads/`; nothing if its own commit is.
    pub base: Option<String>,
}

impl Head {
    /// Returns a branch's head.
    pub fn branch(commit: CommitId) -> Self {
        Self::new(commit, Trust::Branch)
    }

    /// Returns a head whose author nobody knows.
    pub fn new(commit: CommitId, trust: Trust) -> Self {
        Self { commit, trust, author: None, base: None }
    }
}

/// The newest commit of each jobset.
pub type Heads = BTreeMap<JobsetName, Head>;

/// What is there, and nobody says at which commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unknown {
    /// These.
    pub jobsets: BTreeSet<JobsetName>,
    /// And a pull request that may be any.
    pub some_pull_request: bool,
}

impl Unknown {
    /// Adds what was known before: what is not known to be gone stays as it was.
    pub fn keep(&self, before: &Heads, now: &mut Heads) {
        for (name, head) in before {
            let is_unknown = self.jobsets.contains(name)
                || (self.some_pull_request && matches!(Role::of(name, None), Role::PullRequest(_)));
            if is_unknown && !now.contains_key(name) {
                now.insert(name.clone(), head.clone());
            }
        }
    }
}

/// How what is there differs from what was there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Jobsets that are new, or have another commit or base.
    pub moved: Heads,
    /// Jobsets that are gone, with the commit that they had.
    pub gone: Heads,
}

/// Compares what was there with what is there.
///
/// That the base of a pull request has another commit changes nothing: a push to it would start all pull requests anew.
pub fn changes(before: &Heads, now: &Heads) -> Changes {
    let differs = |name: &JobsetName, head: &Head| {
        let is_same = |known: &Head| known.commit == head.commit && known.base == head.base;
        !before.get(name).is_some_and(is_same)
    };
    Changes {
        moved: now
            .iter()
            .filter(|(name, head)| differs(name, head))
            .map(|(name, head)| (name.clone(), head.clone()))
            .collect(),
        gone: before
            .iter()
            .filter(|(name, _)| !now.contains_key(*name))
            .map(|(name, head)| (name.clone(), head.clone()))
            .collect(),
    }
}

/// Returns the commits that some jobset has left: it is at another one, or gone.
pub fn left(before: &Heads, now: &Heads) -> BTreeSet<CommitId> {
    let is_there = |name: &JobsetName, head: &Head| {
        now.get(name).is_some_and(|found| found.commit == head.commit)
    };
    let gone = before.iter().filter(|(name, head)| !is_there(name, head));
    gone.map(|(_, head)| head.commit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads(list: &[(&str, char)]) -> Heads {
        let head = |digit: char| Head::branch(String::from(digit).repeat(40).parse().unwrap());
        list.iter().map(|(name, digit)| (name.parse().unwrap(), head(*digit))).collect()
    }

    #[test]
    fn new_moved_and_gone() {
        let before = heads(&[("heads/main", 'a'), ("heads/topic", 'b'), ("pull/7", 'c')]);
        let now = heads(&[("heads/main", 'a'), ("heads/topic", 'd'), ("heads/pull/7", 'c')]);
        assert_eq!(
            changes(&before, &now),
            Changes {
                moved: heads(&[("heads/topic", 'd'), ("heads/pull/7", 'c')]),
                gone: heads(&[("pull/7", 'c')]),
            }
        );
        assert_eq!(changes(&now, &now), Changes::default());
    }

    #[test]
    fn what_nobody_describes_stays_as_it_was() {
        let before = heads(&[("heads/main", 'a'), ("pull/7", 'c'), ("pull/8", 'd')]);
        let found = heads(&[("heads/topic", 'b'), ("pull/8", 'e')]);
        let kept = |unknown: Unknown| {
            let mut now = found.clone();
            unknown.keep(&before, &mut now);
            now
        };
        assert_eq!(kept(Unknown::default()), found);
        let with_7 = heads(&[("heads/topic", 'b'), ("pull/7", 'c'), ("pull/8", 'e')]);
        let jobsets =
            BTreeSet::from(["pull/7", "pull/8", "pull/9"].map(|name| name.parse().unwrap()));
        assert_eq!(kept(Unknown { jobsets, some_pull_request: false }), with_7);
        let unknown = Unknown { jobsets: BTreeSet::new(), some_pull_request: true };
        assert_eq!(kept(unknown), with_7, "branches are known");
    }

    #[test]
    fn a_commit_is_left_by_what_moves_on_or_goes() {
        let before = heads(&[("heads/main", 'a'), ("heads/topic", 'b'), ("pull/7", 'c')]);
        let commits = |digits: &[char]| -> BTreeSet<CommitId> {
            digits.iter().map(|digit| String::from(*digit).repeat(40).parse().unwrap()).collect()
        };
        let now = heads(&[("heads/main", 'a'), ("heads/topic", 'd'), ("heads/new", 'e')]);
        assert_eq!(left(&before, &now), commits(&['b', 'c']));
        let mut rebased = before.clone();
        rebased.get_mut("pull/7").unwrap().base = Some("main".to_owned());
        assert_eq!(left(&before, &rebased), commits(&[]));
    }

    #[test]
    fn another_base_is_news_and_another_commit_of_it_is_none() {
        let of = |base: Option<&str>, main: char| {
            let mut all = heads(&[("heads/main", main), ("pull/7", 'c')]);
            all.get_mut("pull/7").unwrap().base = base.map(str::to_owned);
            all
        };
        let moved = |before: &Heads, now: &Heads| -> Vec<String> {
            changes(before, now).moved.into_keys().map(String::from).collect()
        };
        let before = of(Some("main"), 'a');
        assert_eq!(moved(&before, &of(Some("main"), 'b')), ["heads/main"]);
        assert_eq!(moved(&before, &of(Some("next"), 'a')), ["pull/7"]);
        assert_eq!(moved(&of(None, 'a'), &before), ["pull/7"]);
    }

    #[test]
    fn whose_a_commit_is_does_not_change_while_it_is_the_head() {
        let of = |trust| {
            let head = Head { trust, ..heads(&[("pull/7", 'c')])["pull/7"].clone() };
            Heads::from([("pull/7".parse().unwrap(), head)])
        };
        assert_eq!(changes(&of(Trust::Fork), &of(Trust::Own)), Changes::default());
    }
}
