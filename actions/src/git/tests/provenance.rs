//! Tests of what a remote lists and of where commits come from, with the git program's own reflogs.

use std::path::{Path, PathBuf};

use crate::git::fixture::{Fixture, head, open, program, write};
use crate::git::{CommitId, Doubt, GitError};

/// Runs git as one person, who is author and committer.
fn git(at: &Path, args: &[&str]) {
    let ran = attempt(at, args);
    assert!(ran.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// Runs git as one person; it may fail.
fn attempt(at: &Path, args: &[&str]) -> std::process::Output {
    let mut command = program("git", at);
    command.envs([("GIT_COMMITTER_NAME", "Ann"), ("GIT_COMMITTER_EMAIL", "ann@example.org")]);
    command.env("GIT_EDITOR", "true").args(args).output().unwrap()
}

fn commit(at: &Path, files: &[(&str, &str)], message: &str) -> CommitId {
    for (name, content) in files {
        write(&at.join(name), content);
    }
    git(at, &["add", "-A"]);
    git(at, &["commit", "-q", "--allow-empty", "-m", message]);
    head(at)
}

/// A remote with the branch `main`, a pull request 7 at it, and a clone.
fn remote_and_clone(fixture: &Fixture) -> (PathBuf, PathBuf, CommitId) {
    let (path, _) = fixture.small("remote");
    git(&path, &["checkout", "-q", "-b", "work"]);
    let pull = commit(&path, &[("evil", "7")], "theirs");
    git(&path, &["update-ref", "refs/pull/7/head", "work"]);
    git(&path, &["checkout", "-q", "main"]);
    git(&path, &["branch", "-q", "-D", "work"]);
    git(&fixture.path(""), &["clone", "-q", "remote", "clone"]);
    (path, fixture.path("clone"), pull)
}

fn is_own(clone: &Path) -> bool {
    let repository = open(clone);
    let listing = repository.list_remote("origin").unwrap();
    let known: Vec<CommitId> = listing.branches.values().copied().collect();
    let here = head(clone);
    repository.is_part_of(here, &known).unwrap()
        || repository.is_made_here(here, &known, &repository).unwrap()
}

#[test]
fn a_remote_lists_branches_and_nothing_else() {
    let fixture = Fixture::new();
    let (remote, clone, pull) = remote_and_clone(&fixture);
    git(&remote, &["tag", "v1"]);
    git(&remote, &["update-ref", "refs/heads/pr/7", "main"]);
    let listing = open(&clone).list_remote("origin").unwrap();
    assert_eq!(listing.default.as_deref(), Some("main"));
    assert_eq!(listing.branches.keys().collect::<Vec<_>>(), ["main", "pr/7"]);
    assert!(listing.branches.values().all(|id| *id != pull));
    // Whatever the clone believes.
    git(&clone, &["symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/evil"]);
    assert_eq!(open(&clone).list_remote("origin").unwrap().default.as_deref(), Some("main"));
    git(&remote, &["checkout", "-q", "--detach"]);
    assert_eq!(open(&clone).list_remote("origin").unwrap().default, None);
}

#[test]
fn what_is_committed_here_on_top_of_listed_branches_is_own() {
    let fixture = Fixture::new();
    let (remote, clone, _) = remote_and_clone(&fixture);
    assert!(is_own(&clone));
    commit(&clone, &[("b", "1")], "mine");
    assert!(is_own(&clone));
    git(&clone, &["commit", "-q", "--amend", "-m", "fetch: storing head"]);
    assert!(is_own(&clone));
    git(&clone, &["checkout", "-q", "-b", "topic"]);
    commit(&clone, &[("c", "1")], "pull: Fast-forward");
    git(&clone, &["checkout", "-q", "main"]);
    commit(&clone, &[("d", "1")], "mine too");
    git(&clone, &["merge", "-q", "--no-edit", "topic"]);
    assert!(is_own(&clone));
    // The remote moves on, and is merged: what arrives is listed.
    commit(&remote, &[("e", "1")], "someone's");
    git(&clone, &["pull", "-q", "--no-rebase", "--no-edit", "origin", "main"]);
    assert!(is_own(&clone));
    // Without reflogs there is no evidence.
    std::fs::remove_dir_all(clone.join(".git/logs")).unwrap();
    assert!(!is_own(&clone));
}

#[test]
fn however_a_forks_commits_arrive_they_are_not_own() {
    let fetch: &[&str] = &["fetch", "-q", "origin", "refs/pull/7/head"];
    let ways: [&[&[&str]]; 13] = [
        &[fetch, &["checkout", "-q", "FETCH_HEAD"]],
        &[&["fetch", "-q", "origin", "refs/pull/7/head:patch"], &["checkout", "-q", "patch"]],
        &[&["pull", "-q", "--ff-only", "origin", "refs/pull/7/head"]],
        &[&["pull", "-q", "--rebase", "origin", "refs/pull/7/head"]],
        &[fetch, &["reset", "-q", "--hard", "FETCH_HEAD"]],
        &[fetch, &["cherry-pick", "FETCH_HEAD"]],
        &[fetch, &["merge", "-q", "--no-ff", "--no-edit", "FETCH_HEAD"]],
        &[fetch, &["checkout", "-q", "FETCH_HEAD"], &["commit", "-q", "--amend", "-m", "mine"]],
        &[
            fetch,
            &["checkout", "-q", "-B", "main", "FETCH_HEAD"],
            &["commit", "-q", "--allow-empty", "-m", "mine"],
        ],
        &[
            &["fetch", "-q", "origin", "+refs/pull/*/head:refs/remotes/origin/pr/*"],
            &["checkout", "-q", "-b", "patch", "origin/pr/7"],
        ],
        &[
            &["fetch", "-q", "origin", "+refs/pull/7/head:refs/remotes/origin/main"],
            &["checkout", "-q", "-b", "patch", "origin/main"],
        ],
        &[
            &["remote", "add", "fork", "../fork"],
            &["fetch", "-q", "fork", "main"],
            &["checkout", "-q", "--detach", "fork/main"],
        ],
        &[
            fetch,
            &["update-ref", "refs/tags/release", "FETCH_HEAD"],
            &["checkout", "-q", "release"],
            &["fetch", "-q", "origin", "main"],
        ],
    ];
    for way in ways {
        let fixture = Fixture::new();
        let (remote, clone, pull) = remote_and_clone(&fixture);
        git(&fixture.path(""), &["clone", "-q", "remote", "fork"]);
        git(&fixture.path("fork"), &["pull", "-q", "../remote", "refs/pull/7/head"]);
        for args in way {
            git(&clone, args);
        }
        assert!(clone.join("evil").exists(), "{way:?}");
        assert!(!is_own(&clone), "{way:?}");
        // Nor does it help to add to them.
        commit(&clone, &[("more", "1")], "more");
        assert!(!is_own(&clone), "{way:?} and more");
        // Once the remote lists them as a branch they are the project's.
        git(&remote, &["update-ref", "refs/heads/merged", &pull.to_string()]);
        git(&clone, &["checkout", "-q", "--detach", &pull.to_string()]);
        assert!(is_own(&clone), "{way:?} and listed");
    }
}

#[test]
fn what_was_made_here_and_is_part_of_a_pull_request_is_not_own() {
    let fixture = Fixture::new();
    let (_, clone, _) = remote_and_clone(&fixture);
    git(&clone, &["checkout", "-q", "-b", "topic"]);
    commit(&clone, &[("b", "1")], "mine");
    assert!(is_own(&clone));
    git(&clone, &["update-ref", "refs/remotes/origin/pr/8", "topic"]);
    commit(&clone, &[("b", "2")], "mine as well");
    assert!(!is_own(&clone));
}

#[test]
fn the_projects_remote_is_origin_or_the_only_one_or_the_one_that_was_chosen() {
    let fixture = Fixture::new();
    let (path, _) = fixture.small("r");
    assert_eq!(open(&path).project_remote().unwrap(), None);
    git(&path, &["remote", "add", "upstream", "/nowhere"]);
    // It may be anybody's.
    assert_eq!(open(&path).project_remote().unwrap(), None);
    git(&path, &["config", "checkout.defaultRemote", "upstream"]);
    assert_eq!(open(&path).project_remote().unwrap().as_deref(), Some("upstream"));
    git(&path, &["config", "--unset", "checkout.defaultRemote"]);
    git(&fixture.path(""), &["clone", "-q", "-o", "source", "r", "clone"]);
    let clone = fixture.path("clone");
    assert_eq!(open(&clone).project_remote().unwrap().as_deref(), Some("source"));
    git(&clone, &["remote", "rename", "source", "renamed"]);
    assert_eq!(open(&clone).project_remote().unwrap().as_deref(), Some("renamed"));
    git(&clone, &["remote", "remove", "renamed"]);
    git(&clone, &["remote", "add", "fork", "/nowhere"]);
    assert_eq!(open(&clone).project_remote().unwrap(), None);
    git(&path, &["remote", "add", "fork", "/nowhere"]);
    let error = open(&path).project_remote().unwrap_err();
    assert!(matches!(&error, GitError::AmbiguousRemote { names } if names.len() == 2), "{error}");
    git(&path, &["config", "checkout.defaultRemote", "upstream"]);
    assert_eq!(open(&path).project_remote().unwrap().as_deref(), Some("upstream"));
    git(&path, &["remote", "add", "origin", "/nowhere"]);
    assert_eq!(open(&path).project_remote().unwrap().as_deref(), Some("origin"));
}

#[test]
fn what_stops_at_a_conflict_and_is_committed_by_hand_is_not_own() {
    let fetch: &[&str] = &["fetch", "-q", "origin", "refs/pull/7/head"];
    let start: &[&str] = &["checkout", "-q", "-B", "work", "main"];
    let pull = "FETCH_HEAD";
    let ways: [&[&[&str]]; 7] = [
        &[&["checkout", "-q", pull], &["rebase", "--apply", "main"]],
        &[&["checkout", "-q", pull], &["rebase", "--merge", "main"]],
        &[
            &["checkout", "-q", pull],
            &["rebase", "--apply", "main"],
            &["checkout", "-q", "-b", "x"],
        ],
        &[&["pull", "-q", "--rebase", "origin", "refs/pull/7/head"]],
        &[start, &["cherry-pick", pull]],
        &[
            start,
            &["checkout", "-q", pull, "--", "."],
            &["commit", "-q", "--author=A B <c@d>", "-m", "x"],
        ],
        &[start, &["checkout", "-q", pull, "--", "."], &["commit", "-q", "-C", pull]],
    ];
    for way in ways {
        let fixture = Fixture::new();
        let (remote, clone, _) = remote_and_clone(&fixture);
        // The author of the pull request is someone else, and both changed the same file.
        git(&remote, &["checkout", "-q", "refs/pull/7/head"]);
        git(
            &remote,
            &["commit", "-q", "--amend", "-m", "theirs", "--author=Eve <eve@example.org>"],
        );
        git(&remote, &["update-ref", "refs/pull/7/head", "HEAD"]);
        git(&remote, &["checkout", "-q", "main"]);
        commit(&clone, &[("evil", "mine")], "mine");
        assert!(is_own(&clone));
        git(&clone, fetch);
        for args in way {
            attempt(&clone, args);
        }
        write(&clone.join("evil"), "7 and mine");
        git(&clone, &["add", "-A"]);
        attempt(&clone, &["commit", "-q", "-m", "resolved"]);
        attempt(&clone, &["rebase", "--continue"]);
        assert!(!is_own(&clone), "{way:?}");
    }
}

#[test]
fn what_was_fetched_into_a_repository_is_no_authority() {
    let fixture = Fixture::new();
    let (remote, clone, _) = remote_and_clone(&fixture);
    let hub = fixture.path("hub.git");
    git(&fixture.path(""), &["init", "-q", "--bare", "hub.git"]);
    git(&clone, &["push", "-q", "../hub.git", "main"]);
    let doubt = |path: &Path| open(path).doubt().unwrap();
    let of_remote = |url: &str| {
        git(&clone, &["remote", "set-url", "origin", url]);
        open(&clone).doubt_of_remote("origin").unwrap()
    };
    let as_url = |path: &Path| format!("file://{}", path.display());
    assert_eq!(doubt(&hub), None);
    assert_eq!(doubt(&clone), Some(Doubt::WorkTree));
    assert_eq!(of_remote(&as_url(&remote)), Some(Doubt::WorkTree));
    assert_eq!(of_remote("../remote"), Some(Doubt::WorkTree));
    assert_eq!(of_remote("../remote/.git"), Some(Doubt::WorkTree));
    assert_eq!(of_remote("."), Some(Doubt::WorkTree));
    assert_eq!(of_remote("../nothing"), Some(Doubt::Unreadable));
    for url in ["../hub.git", "../hub", &as_url(&hub), "ssh://host.invalid/x"] {
        assert_eq!(of_remote(url), None, "{url}");
    }
    // What git makes of the URL counts.
    git(&clone, &["config", "url.../remote.insteadOf", "https://host.invalid/p"]);
    assert_eq!(of_remote("https://host.invalid/p"), Some(Doubt::WorkTree));
    git(&clone, &["push", "-q", "../hub.git", "main:refs/pull/1/head"]);
    assert_eq!((doubt(&hub), of_remote("../hub")), (Some(Doubt::Fetched), None));
    git(&hub, &["update-ref", "-d", "refs/pull/1/head"]);
    git(&hub, &["fetch", "-q", "../remote", "refs/pull/7/head:refs/heads/patch"]);
    assert_eq!((doubt(&hub), of_remote("../hub")), (Some(Doubt::Fetched), Some(Doubt::Fetched)));
    // Whoever keeps the repository can say that it is its own.
    for path in [&hub, &remote] {
        git(path, &["config", "levain.ownBranches", "true"]);
        assert_eq!(doubt(path), None);
        assert_eq!(of_remote(&as_url(path)), None);
    }
}
