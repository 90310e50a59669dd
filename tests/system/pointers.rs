//! Pointers: when they move, what they say, and dropping them by hand.

use std::fs;

use crate::environment::{BUILDER, Environment, flake};
use crate::shadow::{EVERYWHERE, Started, attr_path, job, parts, pointer};

fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_secs()
}

#[test]
fn an_entry_says_everything_about_its_cache() {
    let environment = Environment::new();
    let repository = environment.project("project", &["app"], EVERYWHERE);
    let commit = repository.commit("first");
    let before = now();
    let report = repository.report(&[]);
    let entry = repository.entry("heads/main", "app");
    assert_eq!(entry.path, pointer(&report, "app"));
    assert_eq!(entry.nar_hash, environment.nar_hash(&entry.path));
    assert_eq!(entry.key, job(&report, "app")["key"]);
    assert_eq!((entry.depth, &entry.commit, entry.tier.as_str()), (0, &commit, "default-branch"));
    assert!((before..=now()).contains(&entry.time), "{} is not between", entry.time);
    assert_eq!(entry.unused, None);
    // The entry names a copy of the output, not the output.
    let output = job(&report, "app")["outputs"]["cache"].as_str().unwrap().to_owned();
    assert_ne!(entry.path, output);
    assert_eq!(environment.nar_hash(&output), entry.nar_hash);
    assert_eq!(repository.git(&["show", "refs/levain/heads/main:commit.txt"]), commit);
}

#[test]
fn an_older_build_that_finishes_later_does_not_move_the_pointer_back() {
    let environment = Environment::new().with_one_signing_key();
    let first = environment.project("first", &["app"], EVERYWHERE);
    let gate = environment.path("gate");
    first.write("src/app/wait", gate.to_str().unwrap());
    let old = first.commit("old");
    let remote = environment.remote_of(&first, "remote.git");
    let second = environment.clone_of(&remote, "second");
    fs::remove_file(second.path.join("src/app/wait")).unwrap();
    second.write("src/app/main.txt", "new\n");
    let new = second.commit("new");

    let args = ["run", "--format", "json", "--rev", &old];
    let mut slow = Started::levain(&environment, &first.path, &args);
    slow.wait_for("building app");
    let report = second.report(&[]);
    assert_eq!(report["shadow"]["pushed"], true, "{report:#}");
    let newer = remote.entry("heads/main", "app");
    assert_eq!(newer.commit, new);

    fs::write(&gate, "").unwrap();
    let report = slow.end().ok().json();
    assert_eq!(report["originalCommit"], old.as_str());
    assert_eq!(job(&report, "app")["status"], "clean");
    // What it built itself is recorded, but the newer entry is what counts.
    assert_eq!(remote.entry("heads/main", "app"), newer);
    assert_eq!(first.entry("heads/main", "app").path, newer.path);
    assert_eq!(
        first.reference("refs/levain/heads/main"),
        remote.reference("refs/levain/heads/main")
    );
}

#[test]
fn building_an_older_commit_leaves_the_pointer_of_the_newer_one() {
    let environment = Environment::new();
    let repository = environment.project("project", &["app"], EVERYWHERE);
    let old = repository.commit("old");
    repository.write("src/app/main.txt", "new\n");
    let new = repository.commit("new");
    let newer = pointer(&repository.report(&[]), "app");
    let report = repository.report(&["--rev", &old]);
    assert_eq!(report["originalCommit"], old.as_str());
    assert_eq!(job(&report, "app")["status"], "incremental", "{report:#}");
    assert_eq!(job(&report, "app")["pointer"]["moved"], false, "{report:#}");
    let entry = repository.entry("heads/main", "app");
    assert_eq!((entry.path, entry.commit), (newer, new));
    repository.assert_pointers_hold("heads/main");
}

#[test]
fn after_a_force_push_the_pointer_follows_the_branch() {
    let environment = Environment::new();
    let repository = environment.project("project", &["app"], EVERYWHERE);
    repository.commit("first");
    let _first = repository.report(&[]);
    repository.write("src/app/main.txt", "thrown away\n");
    let gone = repository.commit("thrown away");
    let _gone = repository.report(&[]);
    assert_eq!(repository.entry("heads/main", "app").commit, gone);
    repository.git(&["reset", "--quiet", "--hard", "HEAD^"]);
    repository.write("src/app/other.txt", "instead\n");
    let instead = repository.commit("instead");
    let report = repository.report(&[]);
    assert_eq!(job(&report, "app")["status"], "incremental", "{report:#}");
    assert_eq!(job(&report, "app")["pointer"]["moved"], true);
    let entry = repository.entry("heads/main", "app");
    assert_eq!(entry.commit, instead);
    assert!(fs::exists(format!("{}/other.txt", entry.path)).unwrap());
    // Going back to a commit that was built before builds nothing.
    repository.git(&["reset", "--quiet", "--hard", "HEAD^"]);
    let report = repository.report(&[]);
    assert_eq!(job(&report, "app")["status"], "fresh", "{report:#}");
    repository.assert_pointers_hold("heads/main");
}

#[test]
fn a_failed_build_keeps_its_pointer_and_costs_no_other_job_anything() {
    let environment = Environment::new();
    let repository = environment.project("project", &["a", "b"], EVERYWHERE);
    repository.commit("first");
    let _first = repository.report(&[]);
    let before = repository.entries("heads/main");
    repository.write("src/a/fail", "");
    repository.write("src/b/main.txt", "B\n");
    let broken = repository.commit("break a, edit b");
    let report = environment.report(&repository.path, &[]);
    assert_eq!(job(&report, "a")["status"], "failed");
    assert_eq!(job(&report, "b")["status"], "incremental");
    let after = repository.entries("heads/main");
    assert_eq!(after[&attr_path("a")], before[&attr_path("a")]);
    assert_eq!(after[&attr_path("b")].commit, broken);
    assert_eq!(job(&report, "a")["pointer"]["moved"], false);
    // The next attempt starts from the last success.
    fs::remove_file(repository.path.join("src/a/fail")).unwrap();
    repository.write("src/a/second.txt", "two\n");
    repository.commit("mend a");
    let report = repository.report(&[]);
    assert_eq!(job(&report, "a")["caches"][0]["path"], before[&attr_path("a")].path.as_str());
    let log = fs::read_to_string(job(&report, "a")["log"].as_str().unwrap()).unwrap();
    assert_eq!(log, "compiling second.txt\n");
}

#[test]
fn entries_of_removed_jobs_go_and_those_of_broken_ones_stay() {
    let environment = Environment::new();
    let repository = environment.project("project", &["a", "b", "c"], EVERYWHERE);
    repository.commit("first");
    let _first = repository.report(&[]);
    let before = repository.entries("heads/main");
    assert_eq!(before.len(), 3);
    let broken = parts(&["a", "b"], EVERYWHERE).replace(
        "value = derivation {",
        "value = (if name == \"b\" then throw \"broken\" else derivation) {",
    );
    repository.write("flake.nix", &broken);
    repository.commit("remove c, break b; build nothing");
    let report = repository.report(&[]);
    assert_eq!(job(&report, "b")["status"], "error", "{report:#}");
    assert_eq!(job(&report, "a")["status"], "fresh", "{report:#}");
    let entries = repository.entries("heads/main");
    assert_eq!(entries.keys().collect::<Vec<_>>(), [&attr_path("a"), &attr_path("b")]);
    repository.write("src/a/main.txt", "A\n");
    repository.commit("edit a");
    let report = repository.report(&[]);
    assert_eq!(job(&report, "a")["status"], "incremental", "{report:#}");
    let entries = repository.entries("heads/main");
    assert_eq!(entries.keys().collect::<Vec<_>>(), [&attr_path("a"), &attr_path("b")]);
    assert_eq!(entries[&attr_path("b")].path, before[&attr_path("b")].path);
    repository.write("flake.nix", &parts(&["a", "b"], EVERYWHERE));
    repository.write("src/b/main.txt", "B\n");
    repository.commit("mend b");
    let report = repository.report(&[]);
    assert_eq!(job(&report, "b")["caches"][0]["origin"], "own", "{report:#}");
}

#[test]
fn at_the_depth_limit_the_next_build_is_clean() {
    let environment = Environment::new();
    let policy = "{ enable = true; defaultBranch = true; depthLimit = 2; }";
    let repository = environment.project("project", &["app"], policy);
    let mut seen = Vec::new();
    for round in 0..6 {
        repository.write("src/app/main.txt", &format!("{round}\n"));
        repository.commit("edit");
        let report = repository.report(&[]);
        let app = job(&report, "app");
        let status = app["status"].as_str().unwrap();
        let reason = app["reason"].as_str().unwrap_or("-");
        let depth = repository.entry("heads/main", "app").depth;
        seen.push(format!("{status} {reason} {depth}"));
    }
    assert_eq!(
        seen,
        [
            "clean first-build 0",
            "incremental - 1",
            "incremental - 2",
            "clean depth-limit 0",
            "incremental - 1",
            "incremental - 2",
        ]
    );
}

#[test]
fn an_age_limit_of_0_days_lets_every_entry_expire_at_once() {
    let environment = Environment::new();
    let policy = "{ enable = true; defaultBranch = true; maxAgeDays = 0; }";
    let repository = environment.project("project", &["app"], policy);
    repository.commit("first");
    let _first = repository.report(&[]);
    repository.write("src/app/main.txt", "edit\n");
    repository.commit("edit");
    let report = repository.report(&[]);
    assert_eq!(job(&report, "app")["reason"], "expired", "{report:#}");
}

#[test]
fn caches_are_listed_shown_and_dropped() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    repository.write("flake.nix", &flake(&["a", "b"], EVERYWHERE));
    repository.write("builder.sh", BUILDER);
    repository.write("src/a.txt", "a\n");
    let commit = repository.commit("first");
    assert_eq!(repository.levain(&["cache", "list"]).ok().stdout, "no caches are recorded\n");
    assert_eq!(repository.levain(&["cache", "list", "--format", "json"]).ok().stdout, "[]\n");
    let _first = repository.report(&[]);
    let entry = repository.entry("heads/main", "a");

    let listed = repository.levain(&["cache", "list", "--format", "json"]).ok().json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let a = &listed[0];
    assert_eq!((&a["jobset"], &a["attrPath"]), (&"heads/main".into(), &"x86_64-linux.a".into()));
    assert_eq!(
        (&a["path"], &a["narHash"]),
        (&entry.path.as_str().into(), &entry.nar_hash.as_str().into())
    );
    assert_eq!((&a["state"], &a["depth"]), (&"present".into(), &0.into()));
    assert_eq!((&a["commit"], &a["tier"]), (&commit.as_str().into(), &"default-branch".into()));
    let listed = repository.levain(&["cache", "list"]).ok().stdout;
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 3, "{listed}");
    assert!(lines[0].starts_with("JOBSET"), "{listed}");
    for word in ["heads/main", "x86_64-linux.a", &commit[..12], "present", &entry.path] {
        assert!(lines[1].contains(word), "`{word}` is not in {}", lines[1]);
    }
    let shown = repository.levain(&["cache", "show", "x86_64-linux.a"]).ok().stdout;
    for word in [&entry.path, &entry.nar_hash, &entry.key, &commit, "default-branch"] {
        assert!(shown.contains(word), "`{word}` is not in {shown}");
    }
    let shown = repository.levain(&["cache", "show", "x86_64-linux.a", "--format", "json"]).ok();
    assert_eq!(shown.json()[0], *a);
    let unknown = repository.levain(&["cache", "show", "x86_64-linux.c"]).code(1);
    let _unknown = unknown.says("has no cache of a job `x86_64-linux.c`").says("hint:");
    let unknown = repository.levain(&["cache", "drop", "x86_64-linux.c"]).code(1);
    let _unknown = unknown.says("`heads/main` has no cache of a job `x86_64-linux.c`");

    let dropped = repository.levain(&["cache", "drop", "x86_64-linux.a"]).ok();
    assert!(
        dropped.stdout.starts_with("dropped on heads/main: x86_64-linux.a;"),
        "{}",
        dropped.stdout
    );
    assert_eq!(repository.entries("heads/main").keys().collect::<Vec<_>>(), ["x86_64-linux.b"]);
    // A cache that was dropped does not come back by itself.
    let report = repository.report(&[]);
    assert_eq!(job(&report, "a")["status"], "fresh");
    assert_eq!(repository.entries("heads/main").keys().collect::<Vec<_>>(), ["x86_64-linux.b"]);
    for (text, status, reason, detail) in
        [("edit\n", "clean", "rejected", "dropped by hand"), ("again\n", "incremental", "-", "-")]
    {
        repository.write("src/a.txt", text);
        repository.commit("edit");
        let report = repository.report(&[]);
        let a = job(&report, "a");
        let word = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
        assert_eq!(
            [word(&a["status"]), word(&a["reason"]), word(&a["reasonDetail"])],
            [status, reason, detail]
        );
        assert_eq!(job(&report, "b")["status"], "incremental", "{report:#}");
    }
    let dropped = repository.levain(&["cache", "drop"]).ok().stdout;
    assert!(dropped.contains("x86_64-linux.a, x86_64-linux.b; 3 incremental"), "{dropped}");
    assert_eq!(repository.pointer_text("heads/main").unwrap(), "null\n");
    let report = repository.report(&[]);
    assert_eq!(
        (&report["counters"]["clean"], &report["counters"]["fresh"]),
        (&2.into(), &0.into())
    );
}

#[test]
fn an_older_commit_says_nothing_about_the_jobs_of_newer_ones() {
    let environment = Environment::new();
    let repository = environment.project("project", &["a"], EVERYWHERE);
    let old = repository.commit("old");
    repository.write("flake.nix", &parts(&["a", "b"], EVERYWHERE));
    repository.write("src/b/main.txt", "b\n");
    repository.commit("new");
    let _new = repository.report(&[]);
    let newer = repository.entry("heads/main", "b");
    let report = repository.report(&["--rev", &old]);
    assert_eq!(report["jobs"].as_array().unwrap().len(), 1);
    assert_eq!(repository.entry("heads/main", "b"), newer);
}
