//! What a CI system says about the checkout that it made, and which refs are pull requests.
//!
//! Whoever writes a pull request may have chosen these names, so they say what to call a jobset and never how far to
//! trust it.

use std::ffi::OsString;

/// The jobset that the environment names, for a work tree that is on no branch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckedOut {
    /// A branch.
    pub branch: Option<String>,
    /// A pull request, or merge request.
    pub pull_request: Option<u64>,
}

impl CheckedOut {
    /// Reads the variables of the forges' own CI systems.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let text = |name: &str| {
            lookup(name).and_then(|value| value.into_string().ok()).filter(|text| !text.is_empty())
        };
        // Also set by the actions of Gitea and Forgejo.
        if let Some(reference) = text("GITHUB_REF") {
            return Self {
                branch: reference.strip_prefix("refs/heads/").map(str::to_owned),
                pull_request: pull_request_of(&reference),
            };
        }
        // A pipeline in a fork's project has the number that the other project gave.
        let is_here = text("CI_MERGE_REQUEST_PROJECT_ID") == text("CI_PROJECT_ID");
        let number = text("CI_MERGE_REQUEST_IID").and_then(|number| number.parse().ok());
        Self {
            // Unlike CI_COMMIT_REF_NAME, only set where that is a branch of this project.
            branch: text("CI_COMMIT_BRANCH"),
            pull_request: number.filter(|_| is_here),
        }
    }
}

/// Returns the number of the pull request that a ref belongs to, here or at a remote.
pub fn pull_request_of(reference: &str) -> Option<u64> {
    let mut rest = reference.strip_prefix("refs/")?;
    if let Some(remote) = rest.strip_prefix("remotes/") {
        rest = remote;
        // With the remote's name, or without, as GitHub's own checkouts have it.
        if !rest.starts_with("pull/") {
            rest = rest.split_once('/')?.1;
        }
    }
    let (kind, rest) = rest.split_once('/')?;
    if !matches!(kind, "pull" | "merge-requests" | "pr" | "mr") {
        return None;
    }
    match rest.split_once('/') {
        Some((number, "head" | "merge")) => number.parse().ok(),
        Some(_) => None,
        None => rest.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_a_jobset() {
        let found = |variables: &[(&str, &str)]| {
            let variables: Vec<(String, String)> =
                variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            let checked_out = CheckedOut::from_lookup(|name| {
                variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.into())
            });
            (checked_out.branch, checked_out.pull_request)
        };
        let branch = |name: &str| (Some(name.to_owned()), None);
        assert_eq!(found(&[]), (None, None));
        assert_eq!(found(&[("GITHUB_REF", "refs/heads/a/b")]), branch("a/b"));
        assert_eq!(found(&[("GITHUB_REF", "refs/tags/v1")]), (None, None));
        // The head's name is the fork's choice, and is not read.
        let pull = [("GITHUB_REF", "refs/pull/7/merge"), ("GITHUB_HEAD_REF", "main")];
        assert_eq!(found(&pull), (None, Some(7)));
        assert_eq!(
            found(&[("CI_COMMIT_BRANCH", "main"), ("CI_COMMIT_REF_NAME", "x")]),
            branch("main")
        );
        let merge_request = |project| {
            [
                ("CI_MERGE_REQUEST_IID", "5"),
                ("CI_MERGE_REQUEST_PROJECT_ID", "1"),
                ("CI_PROJECT_ID", project),
                ("CI_COMMIT_REF_NAME", "main"),
            ]
        };
        assert_eq!(found(&merge_request("1")), (None, Some(5)));
        assert_eq!(found(&merge_request("2")), (None, None));
    }

    #[test]
    fn refs_of_pull_requests_are_known_by_their_names() {
        for (reference, number) in [
            ("refs/pull/7/head", Some(7)),
            ("refs/pull/7/merge", Some(7)),
            ("refs/remotes/pull/7/merge", Some(7)),
            ("refs/remotes/origin/pull/7/head", Some(7)),
            ("refs/remotes/origin/pr/7", Some(7)),
            ("refs/merge-requests/7/head", Some(7)),
            ("refs/heads/pull/7", None),
            ("refs/heads/pr/7", None),
            ("refs/pull/x/head", None),
            ("refs/pull/7/other", None),
            ("refs/tags/pull/7", None),
            ("refs/remotes/origin/main", None),
            ("refs/pipelines/7", None),
        ] {
            assert_eq!(pull_request_of(reference), number, "{reference}");
        }
    }
}
