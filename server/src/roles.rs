//! What a branch, pull request or tag is to its project: a pure decision, by its name and the default branch's.

use levain_actions::forge::is_merge_queue;
use levain_evaluator::JobsetName;
use levain_evaluator::names::Named;

/// What a jobset is to its project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The branch that its repository names as the default.
    DefaultBranch,
    /// A branch that people push to.
    Branch,
    /// A branch that a merge queue makes for a try. It comes and goes, and what fails there is not broken.
    MergeQueue,
    /// The pull request of that number.
    PullRequest(u64),
    /// A tag.
    Tag,
}

impl Role {
    /// Tells what a jobset is to a project with this default branch, if one is known.
    pub fn of(jobset: &JobsetName, default_branch: Option<&str>) -> Self {
        match jobset.named() {
            Named::PullRequest(number) => Self::PullRequest(number),
            Named::Tag(_) => Self::Tag,
            Named::Branch(name) if default_branch == Some(name) => Self::DefaultBranch,
            Named::Branch(name) if is_merge_queue(name) => Self::MergeQueue,
            Named::Branch(_) => Self::Branch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_roles_and_the_default_branch_is_no_queue() {
        let role =
            |jobset: &str, default: Option<&str>| Role::of(&jobset.parse().unwrap(), default);
        for (jobset, default, expected) in [
            ("heads/main", Some("main"), Role::DefaultBranch),
            ("heads/main", Some("trunk"), Role::Branch),
            ("heads/main", None, Role::Branch),
            ("heads/staging", Some("main"), Role::MergeQueue),
            ("heads/staging", None, Role::MergeQueue),
            ("heads/staging", Some("staging"), Role::DefaultBranch),
            ("heads/gh-readonly-queue/main/pr-1-x", Some("main"), Role::MergeQueue),
            ("heads/pull/7", Some("main"), Role::Branch),
            ("pull/7", Some("pull/7"), Role::PullRequest(7)),
            ("tags/staging", Some("tags/staging"), Role::Tag),
        ] {
            assert_eq!(role(jobset, default), expected, "{jobset} {default:?}");
        }
    }
}
