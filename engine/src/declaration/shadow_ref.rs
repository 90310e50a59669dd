//! Where shadow branches may live: in a namespace that nobody else writes.

use levain_actions::git::is_ref_name;

/// What stands below `refs/` and has a meaning for git, for a forge or for another tool. Shadow branches
/// there would overwrite tracking branches or tags, or start what a forge does for pull requests.
const TAKEN: &[&str] = &[
    // Git and its companions.
    "bisect",
    "branchless",
    "bundles",
    "gitbutler",
    "jj",
    "namespaces",
    "notes",
    "original",
    "patches",
    "prefetch",
    "remotes",
    "replace",
    "rewritten",
    "stash",
    "svn",
    "tags",
    "worktree",
    // Forges.
    "__gh__",
    "cache-automerge",
    "changes",
    "draft-comments",
    "drafts",
    "environments",
    "for",
    "for-review",
    "gh",
    "groups",
    "internal",
    "keep-around",
    "merge-requests",
    "meta",
    "mr",
    "pipelines",
    "pull",
    "pull-requests",
    "pulls",
    "sequences",
    "starred-changes",
    "users",
];
/// What all other namespaces of levain's own start with: fetched heads, tracking refs.
const LEVAINS: &str = "levain-";
/// The branches that a forge makes itself.
const TAKEN_BRANCHES: &[&str] = &["gh-readonly-queue"];

/// Returns what is wrong with a template of a ref that contains a placeholder.
pub(super) fn problem(template: &str) -> Option<String> {
    let prefix = template.split("{{").next().unwrap_or_default();
    // What follows the last slash only begins a name: `refs/levain{{jobset}}` has no namespace.
    let (namespace, _) = prefix.rsplit_once('/')?;
    if !is_ref_name(&format!("{prefix}x")) {
        return Some(format!("`{prefix}…` is no name of a ref"));
    }
    let mut parts = namespace.split('/').skip(1);
    match parts.next().map(str::to_ascii_lowercase).as_deref() {
        None => Some(format!("`{template}` has no namespace of its own")),
        Some("heads") => match parts.next() {
            None => Some(format!("`{template}` could be any branch of the project")),
            Some(branch) if TAKEN_BRANCHES.contains(&branch.to_ascii_lowercase().as_str()) => {
                Some(format!("`refs/heads/{branch}/` is used otherwise"))
            }
            Some(_) => None,
        },
        Some(name) if TAKEN.contains(&name) || name.starts_with(LEVAINS) => {
            Some(format!("`refs/{name}/` is used otherwise"))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_namespaces_of_ones_own_hold_shadow_branches() {
        for template in [
            "refs/levain/{{jobset}}",
            "refs/mine/{{jobset}}",
            "refs/ci/levain/x-{{branch}}",
            "refs/heads/levain/{{jobset}}",
            "refs/heads/ci/x-{{jobset}}",
        ] {
            assert_eq!(problem(template), None, "{template}");
        }
        for (template, words) in [
            ("refs/{{jobset}}", "no namespace of its own"),
            ("refs/levain{{jobset}}", "no namespace of its own"),
            ("refs/heads/{{branch}}", "any branch"),
            ("refs/heads/main-{{branch}}", "any branch"),
            ("refs/heads/gh-readonly-queue/{{branch}}", "used otherwise"),
            ("refs/remotes/origin/{{branch}}", "`refs/remotes/` is used otherwise"),
            ("refs/Tags/{{branch}}", "`refs/tags/` is used otherwise"),
            ("refs/pull/{{branch}}/head", "used otherwise"),
            ("refs/merge-requests/{{branch}}/head", "used otherwise"),
            ("refs/notes/{{branch}}", "used otherwise"),
            ("refs/levain-remote/{{jobset}}", "used otherwise"),
            ("refs/levain-fetched/{{jobset}}", "used otherwise"),
            ("refs//tags/{{jobset}}", "no name of a ref"),
            ("refs/a/../tags/{{jobset}}", "no name of a ref"),
        ] {
            let found = problem(template).unwrap_or_default();
            assert!(found.contains(words), "{template}: {found}");
        }
    }
}
