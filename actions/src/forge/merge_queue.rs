//! Which branches belong to a merge queue, by their names alone.
//!
//! A forge or a bot makes such a branch for what it tries to merge, waits for the statuses of its commit, and then
//! deletes or overwrites it. What is on it may come from anybody's pull request. Whether a branch is the default branch
//! is not known here: callers ask that first.

/// What the names of the forges' own queues begin with, each branch being one try.
const BELOW: [&str; 2] = ["gh-readonly-queue/", "gitea-mq/"];

/// The branches of bors: what it tests before it merges, what it only tries, and where it prepares both.
const NAMED: [&str; 4] = ["staging", "staging.tmp", "trying", "trying.tmp"];

/// Returns whether a branch of this name, without `refs/heads/`, belongs to a merge queue unless it is the default branch.
pub fn is_merge_queue(branch: &str) -> bool {
    let is_try = |prefix: &&str| branch.strip_prefix(*prefix).is_some_and(|rest| !rest.is_empty());
    NAMED.contains(&branch) || BELOW.iter().any(is_try)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_merge_queues() {
        for name in [
            "gh-readonly-queue/main/pr-7-0123456789abcdef0123456789abcdef01234567",
            "gh-readonly-queue/release/1.0/pr-1-x",
            "gitea-mq/3",
            "gitea-mq/a\u{202e}b",
            "staging",
            "staging.tmp",
            "trying",
        ] {
            assert!(is_merge_queue(name), "{name}");
        }
        for name in [
            "",
            "main",
            "gh-readonly-queue",
            "gh-readonly-queue/",
            "gh-readonly-queues/main",
            "GH-readonly-queue/main",
            "x/gh-readonly-queue/main",
            "refs/heads/staging",
            "gitea-mq",
            "gitea-mq/",
            "staging/x",
            "Staging",
            "staging ",
            "staging\u{0}",
            "pre-staging",
            "trying2",
        ] {
            assert!(!is_merge_queue(name), "{name:?}");
        }
    }
}
