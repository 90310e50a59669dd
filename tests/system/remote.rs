//! Shadow branches and remotes: pushing, races, warm clones, mirrors.

use std::fs;

use crate::bad_input::incremental;
use crate::environment::{Environment, Repository};
use crate::shadow::{EVERYWHERE, Started, job, parts, pointer};

const SHADOW: &str = "refs/levain/heads/main";

#[test]
fn the_shadow_branch_is_pushed_and_warms_other_clones() {
    let environment = Environment::new().with_one_signing_key();
    let first = environment.project("first", &["app"], EVERYWHERE);
    first.commit("first");
    let remote = environment.remote_of(&first, "remote.git");
    let report = first.report(&[]);
    assert_eq!(report["shadow"]["pushed"], true, "{report:#}");
    assert_eq!(report["shadow"]["after"], remote.reference(SHADOW).unwrap().as_str());
    assert_eq!(first.reference(SHADOW), remote.reference(SHADOW));

    let second = environment.clone_of(&remote, "second");
    assert_eq!(second.reference(SHADOW), None);
    second.write("src/app/main.txt", "edit\n");
    second.commit("edit");
    let report2 = second.report(&[]);
    let cache = &job(&report2, "app")["caches"][0];
    assert_eq!(
        (&cache["origin"], &cache["path"]),
        (&"own".into(), &pointer(&report, "app").into())
    );
    assert_eq!(report2["shadow"]["pushed"], true);
    // The second clone's shadow branch goes on where the first one's ended.
    second.git(&["merge-base", "--is-ancestor", &first.reference(SHADOW).unwrap(), SHADOW]);
    // And back: the first clone pulls, and has nothing to build from scratch.
    second.git(&["push", "--quiet", "origin", "main"]);
    first.git(&["pull", "--quiet", "--ff-only", "origin", "main"]);
    first.write("src/app/second.txt", "2\n");
    first.commit("another edit");
    let report3 = first.report(&[]);
    let cache = &job(&report3, "app")["caches"][0];
    assert_eq!(cache["path"], pointer(&report2, "app"), "{report3:#}");
    assert_eq!(remote.reference(SHADOW), first.reference(SHADOW));
}

#[test]
fn a_lost_race_loses_nothing() {
    let environment = Environment::new().with_one_signing_key();
    let first = environment.project("first", &["a", "b"], EVERYWHERE);
    first.commit("base");
    let remote = environment.remote_of(&first, "remote.git");
    let _base = first.report(&[]);
    let second = environment.clone_of(&remote, "second");
    // Two commits of which neither contains the other, built at the same time.
    let gate = environment.path("gate");
    first.write("src/a/wait", gate.to_str().unwrap());
    first.write("src/a/main.txt", "A of first\n");
    let ours = first.commit("edit a");
    second.write("src/b/main.txt", "B of second\n");
    let theirs = second.commit("edit b");

    let mut slow = Started::levain(&environment, &first.path, &["run", "--format", "json"]);
    slow.wait_for("building a");
    let report = second.report(&[]);
    assert_eq!(report["shadow"]["pushed"], true, "{report:#}");
    let seen = remote.reference(SHADOW).unwrap();
    fs::write(&gate, "").unwrap();
    let report = slow.end().ok().json();
    assert_eq!(report["shadow"]["pushed"], true, "{report:#}");
    assert_eq!(report["undelivered"].as_array().unwrap().len(), 0);
    assert_eq!(remote.reference(SHADOW), first.reference(SHADOW));
    // Both are in it, and the other's shadow commit is part of its history.
    assert_eq!(remote.entry("heads/main", "a").commit, ours);
    assert_eq!(remote.entry("heads/main", "b").commit, theirs);
    remote.git(&["merge-base", "--is-ancestor", &seen, SHADOW]);
    remote.assert_pointers_hold("heads/main");
}

#[test]
fn a_shadow_ref_to_something_else_costs_a_cache_and_is_replaced() {
    let environment = Environment::new().with_one_signing_key();
    let first = environment.project("first", &["app"], EVERYWHERE);
    first.commit("first");
    let remote = environment.remote_of(&first, "remote.git");
    let _base = first.report(&[]);
    let tree = remote.git(&["rev-parse", "main^{tree}"]);
    let blob = remote.git(&["rev-parse", "main:flake.nix"]);
    let raw = environment.path("raw");
    fs::write(&raw, format!("tree {tree}\n\nno author")).unwrap();
    let raw = raw.to_str().unwrap();
    let broken = remote.git(&["hash-object", "-w", "-t", "commit", "--literally", raw]);
    for (number, object) in [&blob, &tree, &broken].into_iter().enumerate() {
        let place = || remote.git(&["update-ref", SHADOW, object]);
        place();
        // Who has another one goes on with that.
        first.write("src/app/main.txt", &format!("edit {number}\n"));
        first.commit("edit");
        let report = first.report(&[]);
        assert_eq!(job(&report, "app")["status"], "incremental", "{report:#}");
        assert_eq!(report["shadow"]["pushed"], true, "{report:#}");
        assert_eq!(remote.reference(SHADOW), first.reference(SHADOW));
        // Who has none builds clean and says why.
        place();
        let other = environment.clone_of(&remote, &format!("clone-{number}"));
        other.write("src/app/main.txt", &format!("edit {number} of another\n"));
        other.commit("edit");
        let report = other.report(&[]);
        assert_eq!(job(&report, "app")["status"], "clean", "{report:#}");
        assert_eq!(job(&report, "app")["reason"], "rejected", "{report:#}");
        assert_eq!(remote.reference(SHADOW), other.reference(SHADOW));
        // Here as well as there.
        first.git(&["update-ref", SHADOW, object]);
        place();
        first.write("src/app/main.txt", &format!("another edit {number}\n"));
        first.commit("edit");
        let report = first.report(&[]);
        assert_eq!(job(&report, "app")["reason"], "rejected", "{report:#}");
        assert_eq!(remote.reference(SHADOW), first.reference(SHADOW));
    }
}

#[test]
fn heads_that_diverged_are_merged() {
    let environment = Environment::new().with_one_signing_key();
    let first = environment.project("first", &["a", "b"], EVERYWHERE);
    first.commit("base");
    let remote = environment.remote_of(&first, "remote.git");
    let second = environment.clone_of(&remote, "second");
    // Each begins a shadow branch of its own: they have no shadow commit in common.
    let _first = first.report(&["--no-push"]);
    second.write("src/b/main.txt", "B\n");
    let _theirs = second.commit("edit b");
    second.git(&["push", "--quiet", "origin", "main"]);
    let report = second.report(&[]);
    let b = pointer(&report, "b");
    first.git(&["pull", "--quiet", "--ff-only", "origin", "main"]);
    first.write("src/a/main.txt", "A\n");
    let ours = first.commit("edit a");
    let report = first.report(&[]);
    assert_eq!(report["shadow"]["pushed"], true, "{report:#}");
    assert_eq!(job(&report, "a")["status"], "incremental", "{report:#}");
    assert_eq!(remote.entry("heads/main", "a").commit, ours);
    assert_eq!(remote.entry("heads/main", "b").path, b);
    let after = first.reference(SHADOW).unwrap();
    first.git(&["merge-base", "--is-ancestor", &second.reference(SHADOW).unwrap(), &after]);
    assert_eq!(remote.reference(SHADOW).unwrap(), after);
}

#[test]
fn not_pushing_keeps_the_shadow_branch_here() {
    let environment = Environment::new();
    let first = environment.project("first", &["app"], EVERYWHERE);
    first.commit("first");
    let remote = environment.remote_of(&first, "remote.git");
    let report = first.report(&["--no-push"]);
    assert_eq!(report["shadow"]["pushed"], false);
    assert!(first.reference(SHADOW).is_some());
    assert_eq!(remote.reference(SHADOW), None);
    let policy =
        parts(&["app"], EVERYWHERE).replace("incremental =", "shadow.push = false; incremental =");
    first.write("flake.nix", &policy);
    first.write("src/app/main.txt", "edit\n");
    first.commit("never push");
    let report = first.report(&[]);
    assert_eq!(report["shadow"]["pushed"], false);
    assert_eq!(job(&report, "app")["status"], "incremental");
    assert_eq!(remote.reference(SHADOW), None);
}

#[test]
fn a_url_is_mirrored_and_needs_no_checkout() {
    let environment = Environment::new().with_one_signing_key();
    let author = environment.project("author", &["app"], EVERYWHERE);
    let commit = author.commit("first");
    let remote = environment.remote_of(&author, "remote.git");
    let url = remote.path.display().to_string();
    let elsewhere = environment.path("home");
    let run = |args: &[&str]| {
        let args: Vec<&str> = std::iter::once(url.as_str()).chain(args.iter().copied()).collect();
        environment.report(&elsewhere, &args)
    };
    let report = run(&[]);
    assert_eq!(report["originalCommit"], commit.as_str());
    assert_eq!(report["jobset"], "heads/main");
    assert_eq!(report["shadow"]["pushed"], true, "{report:#}");
    assert_eq!(run(&[])["counters"]["fresh"], 1);
    author.write("src/app/main.txt", "edit\n");
    let commit = author.commit("edit");
    author.git(&["push", "--quiet", "origin", "main"]);
    let report = run(&["--branch", "main"]);
    assert_eq!(report["originalCommit"], commit.as_str());
    assert_eq!(job(&report, "app")["caches"][0]["origin"], "own");
    // Everything is in the mirror: with another home, the remote alone warms it.
    let mirrors = environment.path("home/.local/state/levain/mirrors");
    let count = fs::read_dir(&mirrors).unwrap().count();
    assert_eq!(count, 1);
    fs::remove_dir_all(&mirrors).unwrap();
    author.write("src/app/main.txt", "again\n");
    author.commit("again");
    author.git(&["push", "--quiet", "origin", "main"]);
    let report = run(&[]);
    assert_eq!(job(&report, "app")["status"], "incremental", "{report:#}");
    let mirror = fs::read_dir(&mirrors).unwrap().next().unwrap().unwrap().path();
    let mirror = Repository { environment: &environment, path: mirror };
    assert_eq!(mirror.reference(SHADOW), remote.reference(SHADOW));
}

/// Killed while it moves a ref, git leaves a lock file that stands in the way of every later fetch.
#[test]
fn a_mirror_whose_fetch_was_killed_is_fetched_again() {
    let environment = Environment::new();
    let repository = incremental(&environment, "");
    repository.git(&["config", "levain.ownBranches", "true"]);
    let away = environment.path("tmp");
    let path = repository.path.display().to_string();
    let args = ["run", &path, "--format", "json"];
    environment.levain(&away, &args).ok();
    let mirrors = environment.path("home/.local/state/levain/mirrors");
    let mirror = fs::read_dir(mirrors).unwrap().next().unwrap().unwrap().path();
    for name in ["refs/heads/main.lock", "packed-refs.lock"] {
        fs::write(mirror.join(name), "").unwrap();
    }
    repository.write("src/b.txt", "b\n");
    let commit = repository.commit("second");
    let report = environment.levain(&away, &args).ok().json();
    assert_eq!(report["originalCommit"], commit.as_str());
}
