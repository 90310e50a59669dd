//! Which locked inputs are fetched with the operator's credentials, and from this machine.
//!
//! Whoever can push to the project's own branches decides what they use. A pull request may come from
//! anybody: it gets only what the default branch has as well, in the same version. Start at
//! [`Inputs::of`].

use levain_actions::git::{CommitId, GitError, Repository};
use levain_evaluator::LockedInput;
use levain_evaluator::evaluate::Limits;
use levain_evaluator::pointer::Tier;

const LOCK_FILE: &str = "flake.lock";

/// The inputs of one commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inputs {
    /// Those that are fetched before the evaluation.
    pub(crate) fetched: Vec<LockedInput>,
    /// Those that it has to fetch itself, without credentials.
    pub(crate) withheld: Vec<LockedInput>,
}

/// Bytes of the largest lock file that is read.
const MOST_LOCK: usize = 16 << 20;

impl Inputs {
    /// Returns the inputs of `commit`, which is trusted as far as `tier` says; `base` is the newest
    /// commit of the default branch.
    pub(crate) fn of(
        repository: &Repository,
        commit: CommitId,
        tier: Tier,
        base: Option<CommitId>,
    ) -> Result<Self, GitError> {
        let read = |commit| {
            let lock = repository.file(commit, LOCK_FILE, MOST_LOCK)?;
            Ok::<_, GitError>(LockedInput::all(&lock.unwrap_or_default()))
        };
        let own = read(commit)?;
        Ok(match tier {
            Tier::DefaultBranch | Tier::Branch => Self { fetched: own, withheld: Vec::new() },
            Tier::PullRequest | Tier::Fork => {
                Self::shared(own, &base.map_or(Ok(Vec::new()), read)?)
            }
        })
    }

    /// Parts inputs into those that are among `known` and those that are not.
    fn shared(own: Vec<LockedInput>, known: &[LockedInput]) -> Self {
        let (fetched, withheld) = own.into_iter().partition(|input| known.contains(input));
        Self { fetched, withheld }
    }

    /// Returns limits with these inputs.
    #[must_use]
    pub(crate) fn within(self, limits: Limits) -> Limits {
        Limits { inputs: self.fetched, withheld: self.withheld, ..limits }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked(revisions: &[&str]) -> Vec<LockedInput> {
        let nodes: serde_json::Map<String, serde_json::Value> = revisions
            .iter()
            .map(|revision| {
                let hash = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
                let locked = serde_json::json!({
                    "type": "git", "url": "https://h/x", "rev": revision, "narHash": hash,
                });
                ((*revision).to_owned(), serde_json::json!({ "locked": locked }))
            })
            .collect();
        LockedInput::all(serde_json::json!({ "nodes": nodes }).to_string().as_bytes())
    }

    #[test]
    fn a_pull_request_shares_what_the_default_branch_has_in_the_same_version() {
        let inputs = Inputs::shared(locked(&["1", "2"]), &locked(&["2", "3"]));
        assert_eq!(inputs, Inputs { fetched: locked(&["2"]), withheld: locked(&["1"]) });
    }
}
