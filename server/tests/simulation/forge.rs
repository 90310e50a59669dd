//! The virtual forge: refs that come, move and go, and deliveries that come late, twice or not at all.

use std::collections::BTreeMap;

use levain_actions::git::CommitId;
use levain_evaluator::JobsetName;
use levain_server::projects::ProjectId;
use levain_server::reconcile::{Head, Heads};

use crate::model::{Millis, QUEUE};

/// The repository of one project.
#[derive(Default)]
pub(crate) struct Origin {
    pub(crate) refs: Heads,
    /// Where each ref has been, one after the other; nothing while there was none.
    pub(crate) history: BTreeMap<JobsetName, Vec<Option<CommitId>>>,
    /// Until when it cannot be listed.
    pub(crate) down_until: Millis,
    commits: u64,
}

/// Something to deliver.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parcel {
    pub(crate) project: ProjectId,
    pub(crate) key: u64,
    pub(crate) body: u64,
    /// Whether it calls for nothing.
    pub(crate) is_noise: bool,
}

pub(crate) fn commit(number: u64) -> CommitId {
    format!("{number:040x}").parse().unwrap()
}

/// Returns the number that a commit was made of.
pub(crate) fn number_of(commit: CommitId) -> u64 {
    u64::from_str_radix(&commit.to_string()[24..], 16).unwrap()
}

impl Origin {
    /// Moves, removes or brings back a ref.
    pub(crate) fn push(&mut self, random: &mut fastrand::Rng) {
        let names = ["heads/main", "heads/topic", QUEUE, "pull/1", "pull/2"];
        let name: JobsetName = names[random.usize(0..names.len())].parse().unwrap();
        let is_gone = random.u32(0..6) == 0;
        // Force-pushes lead back to commits that were there before, and pull requests are opened from what is there.
        let is_back = self.commits > 0 && random.u32(0..3) == 0;
        let number = match is_back {
            true => random.u64(self.commits.saturating_sub(4).max(1)..=self.commits),
            false => self.commits + 1,
        };
        self.commits = self.commits.max(number);
        let after = (!is_gone).then(|| commit(number));
        let history = self.history.entry(name.clone()).or_default();
        if history.last().copied().flatten() != after {
            history.push(after);
        }
        match after {
            Some(commit) => {
                let base = match name.as_str() {
                    "pull/1" => Some("main".to_owned()),
                    "pull/2" => Some("topic".to_owned()),
                    _ => None,
                };
                self.refs.insert(name, Head { base, ..Head::branch(commit) })
            }
            None => self.refs.remove(&name),
        };
    }

    /// Lists a part of what there is: branches and pull requests are asked for one after the other.
    pub(crate) fn list(&self, is_pull: bool) -> Heads {
        let of_kind = |name: &JobsetName| name.as_str().starts_with("pull/") == is_pull;
        let listed = self.refs.iter().filter(|(name, _)| of_kind(name));
        listed.map(|(name, head)| (name.clone(), head.clone())).collect()
    }
}
