//! Caches that cannot be relied on: always a clean build with the reason, never an aborted run.

use crate::environment::{BUILDER, Environment, Repository, flake};
use crate::shadow::{EVERYWHERE, History, Started, attr_path, job};

const BRANCH: &str = "heads/main";

fn built<'a>(environment: &'a Environment, jobs: &[&str]) -> Repository<'a> {
    let repository = environment.project("project", jobs, EVERYWHERE);
    repository.commit("first");
    let report = repository.report(&[]);
    assert_eq!(report["counters"]["clean"], jobs.len(), "{report:#}");
    repository
}

/// Edits the source of `name` and requires a clean build for a reason with this detail; then edits
/// it again and requires that the new pointer is used.
#[track_caller]
fn falls_back(repository: &Repository<'_>, name: &str, reason: &str, detail: &str) {
    repository.write(&format!("src/{name}/main.txt"), "edit\n");
    let commit = repository.commit("edit");
    let report = repository.report(&[]);
    let found = job(&report, name);
    assert_eq!(found["status"], "clean", "{report:#}");
    assert_eq!(found["reason"], reason, "{report:#}");
    let said = found["reasonDetail"].as_str().unwrap_or_default();
    assert!(said.contains(detail), "`{detail}` is not in `{said}`");
    assert_eq!(found["pointer"]["moved"], true, "{report:#}");
    let entry = repository.entry(BRANCH, name);
    assert_eq!((entry.commit, entry.depth), (commit, 0));
    repository.assert_pointers_hold(BRANCH);
    repository.write(&format!("src/{name}/main.txt"), "again\n");
    repository.commit("again");
    let report = repository.report(&[]);
    assert_eq!(job(&report, name)["status"], "incremental", "{report:#}");
    assert_eq!(job(&report, name)["caches"][0]["origin"], "own", "{report:#}");
}

/// Deletes a path although it is rooted.
fn delete(repository: &Repository<'_>, path: &str) {
    let environment = repository.environment;
    std::fs::remove_dir_all(repository.path.join(".git/levain/roots")).unwrap();
    let _ran = environment.run("nix-store", &repository.path, &["--delete", path]).ok();
    assert!(!environment.is_valid(path));
}

#[test]
fn the_path_is_gone() {
    let environment = Environment::new();
    let repository = built(&environment, &["app"]);
    let path = repository.entry(BRANCH, "app").path;
    delete(&repository, &path);
    let listed = repository.levain(&["cache", "list", "--format", "json"]).ok().json();
    assert_eq!(listed[0]["state"], "missing");
    let name = path.rsplit('/').next().unwrap().to_owned();
    falls_back(&repository, "app", "missing", &format!("{name}` is not in the store"));
}

#[test]
fn the_entry_is_not_what_was_signed() {
    let environment = Environment::new();
    let repository = built(&environment, &["app"]);
    let entry = repository.entry(BRANCH, "app");
    let other = environment.nar_hash(repository.path.join("src").to_str().unwrap());
    let text = repository.pointer_text(BRANCH).unwrap().replace(&entry.nar_hash, &other);
    repository.edit_pointer(BRANCH, &text, History::Replaced);
    let listed = repository.levain(&["cache", "list", "--format", "json"]).ok().json();
    assert_eq!(listed[0]["state"], "untrusted");
    let shown = repository.levain(&["cache", "show", &attr_path("app")]).ok().stdout;
    assert!(shown.contains("does not fit"), "{shown}");
    falls_back(&repository, "app", "untrusted", "does not fit: the entry was changed");
}

#[test]
fn the_shadow_commit_before_still_has_a_good_entry() {
    let environment = Environment::new();
    let repository = built(&environment, &["app"]);
    let entry = repository.entry(BRANCH, "app");
    let other = environment.nar_hash(repository.path.join("src").to_str().unwrap());
    let text = repository.pointer_text(BRANCH).unwrap().replace(&entry.nar_hash, &other);
    repository.edit_pointer(BRANCH, &text, History::Kept);
    repository.write("src/app/main.txt", "edit\n");
    repository.commit("edit");
    let why = repository.levain(&["why", "x86_64-linux.app", "--format", "json"]).ok().json();
    assert_eq!(why["considered"][0]["origin"], "own");
    assert_eq!(why["considered"][0]["refusal"]["reason"], "untrusted");
    let report = repository.report(&[]);
    let cache = &job(&report, "app")["caches"][0];
    assert_eq!((&cache["origin"], &cache["path"]), (&"ancestor".into(), &entry.path.into()));
    assert_eq!(cache["narHash"], entry.nar_hash.as_str());
}

#[test]
fn the_file_is_not_plain_data() {
    let environment = Environment::new();
    let repository = built(&environment, &["app"]);
    repository.edit_pointer(
        BRANCH,
        "{ x86_64-linux.app = import ./evil.nix; }\n",
        History::Replaced,
    );
    let shown = repository.levain(&["cache", "list"]).ok().stdout;
    assert!(shown.contains("rejected: `cache.nix`"), "{shown}");
    falls_back(&repository, "app", "rejected", "cache pointer rejected: `cache.nix`");
}

#[test]
fn the_file_is_cut_off() {
    let environment = Environment::new();
    let repository = built(&environment, &["app"]);
    let text = repository.pointer_text(BRANCH).unwrap();
    repository.edit_pointer(BRANCH, &text[..text.len() / 2], History::Replaced);
    falls_back(&repository, "app", "rejected", "cache pointer rejected: `cache.nix`");
}

#[test]
fn the_file_is_one_store_path() {
    let environment = Environment::new();
    let repository = built(&environment, &["app"]);
    let path = repository.entry(BRANCH, "app").path;
    repository.edit_pointer(BRANCH, &format!("\"{path}\"\n"), History::Replaced);
    falls_back(&repository, "app", "rejected", "without a key or NAR hash");
}

#[test]
fn one_entry_is_bad_and_the_others_are_used() {
    let environment = Environment::new();
    let repository = built(&environment, &["a", "b", "c"]);
    let text = repository.pointer_text(BRANCH).unwrap();
    let (a, b) = (repository.entry(BRANCH, "a").path, repository.entry(BRANCH, "b").path);
    // No store path; and an attribute that nobody knows.
    let text = text
        .replace(&format!("\"{a}\""), "\"/etc/passwd\"")
        .replace(&format!("path = \"{b}\";"), &format!("path = \"{b}\"; compressed = true;"));
    repository.edit_pointer(BRANCH, &text, History::Replaced);
    for (name, text) in [("a", "A\n"), ("b", "B\n"), ("c", "C\n")] {
        repository.write(&format!("src/{name}/main.txt"), text);
    }
    repository.commit("edit");
    let report = repository.report(&[]);
    let said = |name: &str| {
        let found = job(&report, name);
        assert_eq!((&found["status"], &found["reason"]), (&"clean".into(), &"rejected".into()));
        found["reasonDetail"].as_str().unwrap().to_owned()
    };
    assert!(said("a").contains("attribute `path`"), "{}", said("a"));
    assert!(said("b").contains("unknown attribute `compressed`"), "{}", said("b"));
    assert_eq!(job(&report, "c")["status"], "incremental", "{report:#}");
    assert_eq!(repository.entries(BRANCH).len(), 3);
    repository.assert_pointers_hold(BRANCH);
}

#[test]
fn an_entry_of_another_job_under_this_jobs_name_has_another_key() {
    let environment = Environment::new();
    let repository = built(&environment, &["a", "b"]);
    let a = repository.entry(BRANCH, "a");
    let [under_a, under_b] = ["a", "b"].map(|job| format!("\"{}\" = {{", attr_path(job)));
    let text = repository.pointer_text(BRANCH).unwrap();
    assert!(text.contains(&under_a) && text.contains(&under_b), "{text}");
    let text = text.replace(&under_a, "@").replace(&under_b, &under_a).replace('@', &under_b);
    repository.edit_pointer(BRANCH, &text, History::Replaced);
    // The entry of `a` stands under the name of `b`, where its key is shared again.
    repository.write("src/a/second.txt", "2\n");
    repository.commit("edit");
    let report = repository.report(&[]);
    let cache = &job(&report, "a")["caches"][0];
    assert_eq!(
        (&cache["origin"], &cache["path"]),
        (&"shared".into(), &a.path.into()),
        "{report:#}"
    );
}

#[test]
fn the_author_commits_a_pointer() {
    let environment = Environment::new();
    let repository = built(&environment, &["app"]);
    let text = repository.pointer_text(BRANCH).unwrap();
    repository.write("cache.nix", &text);
    repository.write("src/app/main.txt", "edit\n");
    let commit = repository.commit("copy the pointer by mistake");
    let report = repository.report(&[]);
    let notice = report["notices"][0].as_str().unwrap_or_default();
    assert!(notice.contains("cache pointer rejected: commit"), "{report:#}");
    assert!(notice.contains("should be `null`"), "{notice}");
    // The base derivation is that of the null pointer; the recorded cache is used all the same.
    assert_eq!(job(&report, "app")["status"], "incremental", "{report:#}");
    assert_eq!(repository.entry(BRANCH, "app").commit, commit);
    repository.write("cache.nix", "null\n");
    repository.commit("take it back");
    let report = repository.report(&[]);
    assert_eq!(job(&report, "app")["status"], "fresh", "{report:#}");
    assert_eq!(report["notices"].as_array().unwrap().len(), 0);
}

#[test]
fn the_author_commits_something_else_under_that_name() {
    let environment = Environment::new();
    let repository = built(&environment, &["app"]);
    let before = repository.entry(BRANCH, "app");
    repository.write("cache.nix", "{ pkgs }: pkgs.hello\n");
    // The library must not trip over it either, or the flake could not be evaluated at all.
    let flake = crate::shadow::parts(&["app"], EVERYWHERE);
    let flake = flake.replace("levain.cache ./cache.nix \"x86_64-linux.${name}\"", "null");
    repository.write("flake.nix", &flake);
    repository.write("src/app/main.txt", "edit\n");
    repository.commit("edit");
    let report = repository.report(&[]);
    assert_eq!(report["mode"], "off", "{report:#}");
    let notice = report["notices"][0].as_str().unwrap_or_default();
    assert!(notice.contains("`cache.nix` of commit"), "{notice}");
    assert!(notice.contains("make it `null`"), "{notice}");
    let app = job(&report, "app");
    assert_eq!((&app["status"], &app["reason"]), (&"clean".into(), &serde_json::Value::Null));
    assert_eq!(repository.entry(BRANCH, "app"), before);
    assert!(repository.entries(BRANCH).contains_key(&attr_path("app")));
}

#[test]
fn the_shadow_ref_points_at_something_else() {
    let environment = Environment::new();
    let repository = built(&environment, &["app"]);
    repository.git(&["update-ref", "refs/levain/heads/main", "refs/heads/main"]);
    falls_back(&repository, "app", "rejected", "cache pointer rejected");
}

#[test]
fn a_build_that_fails_from_its_cache_is_done_clean_before_that_counts() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    let trap = "if [ -n \"$previous\" ] && [ -e \"$src/trap\" ]; then echo caught; exit 7; fi";
    repository.write("builder.sh", &format!("{trap}\n{BUILDER}"));
    let settings = "enable = true; defaultBranch = true;";
    repository.write("flake.nix", &flake(&["app"], &format!("{{ {settings} }}")));
    repository.write("src/a.txt", "a\n");
    repository.commit("first");
    repository.report(&[]);
    repository.write("src/trap", "");
    repository.commit("a cache does harm");
    let report = repository.report(&[]);
    let app = job(&report, "app");
    assert_eq!((&app["status"], &app["reason"]), (&"clean".into(), &"failed-with-cache".into()));
    assert!(app["reasonDetail"].as_str().unwrap().contains("exit code 7"), "{app:#}");
    assert_eq!(app["builtDrvPath"], app["baseDrvPath"]);
    assert!(app["pointer"]["moved"].as_bool().unwrap(), "the next build starts from this one");

    // What fails either way has failed, with the clean build's log.
    repository.write("src/fail", "");
    repository.commit("broken");
    let report = repository.levain(&["run", "--format", "json"]).code(1).json();
    let app = job(&report, "app");
    assert_eq!(app["status"], "failed");
    assert!(app["error"].as_str().unwrap().contains("exit code 1"), "{app:#}");
    assert_eq!(app["builtDrvPath"], app["baseDrvPath"]);

    let settings = format!("{{ {settings} retryClean = false; }}");
    repository.write("flake.nix", &flake(&["app"], &settings));
    repository.commit("as it is");
    let report = repository.levain(&["run", "--format", "json"]).code(1).json();
    let app = job(&report, "app");
    assert!(app["error"].as_str().unwrap().contains("exit code 7"), "{app:#}");
    assert_ne!(app["builtDrvPath"], app["baseDrvPath"]);
}

/// As another server does, whose audit found out that the cache lies.
#[test]
fn a_cache_that_is_dropped_while_it_is_used_made_nothing() {
    let environment = Environment::new();
    let repository = built(&environment, &["app"]);
    let entry = repository.entry(BRANCH, "app");
    let gate = environment.path("gate");
    repository.write("src/app/wait", gate.to_str().unwrap());
    let commit = repository.commit("edit");
    let mut started = Started::levain(&environment, &repository.path, &["run", "--format", "json"]);
    started.wait_for("building app");
    let dropped = repository.path.join(".git/levain/dropped");
    std::fs::create_dir_all(&dropped).unwrap();
    let mark = serde_json::json!({
        "until": { "jobset": "*", "job": attr_path("app"), "time": entry.time }
    });
    std::fs::write(dropped.join("another.json"), mark.to_string()).unwrap();
    std::fs::write(&gate, "").unwrap();
    let report = started.end().ok().json();
    let found = job(&report, "app");
    assert_eq!((&found["status"], &found["reason"]), (&"clean".into(), &"rejected".into()));
    let said = found["reasonDetail"].as_str().unwrap();
    assert!(said.contains("was dropped while it was used"), "{said}");
    let entry = repository.entry(BRANCH, "app");
    assert_eq!((entry.commit, entry.depth), (commit, 0));
    // Nothing is left to be done, and the next build starts from what was built clean.
    assert_eq!(repository.report(&[])["counters"]["fresh"], 1);
}

#[test]
fn what_is_dropped_on_one_branch_starts_nothing_on_another() {
    let environment = Environment::new();
    let repository = built(&environment, &["app"]);
    repository.levain(&["cache", "drop"]).ok();
    repository.git(&["checkout", "-q", "-b", "topic"]);
    repository.write("src/app/main.txt", "edit\n");
    let commit = repository.commit("edit");
    let report = repository.report(&[]);
    let found = job(&report, "app");
    // The history of the other branch's shadow still has the entry.
    assert_eq!((&found["status"], &found["reason"]), (&"clean".into(), &"rejected".into()));
    assert!(found["reasonDetail"].as_str().unwrap().contains("dropped"), "{found:#}");
    // What it made itself serves it, and others.
    assert_eq!(repository.entry("heads/topic", "app").commit, commit);
    repository.git(&["checkout", "-q", "-b", "another"]);
    repository.write("src/app/main.txt", "again\n");
    repository.commit("again");
    let report = repository.report(&[]);
    assert_eq!(job(&report, "app")["status"], "incremental", "{report:#}");
}
