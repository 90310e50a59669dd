//! The main job on a small project: first push, edit, no change, broken edit.

use crate::environment::{BUILDER, Environment, flake};

#[test]
fn first_push_edit_no_change_broken_edit() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    repository.write("flake.nix", &flake(&["app"], "{ enable = true; defaultBranch = true; }"));
    repository.write("builder.sh", BUILDER);
    repository.write("src/a.txt", "a\n");
    repository.write("src/b.txt", "b\n");
    let first = repository.commit("first");

    let report = repository.report(&[]);
    assert_eq!(report["counters"]["clean"], 1, "{report:#}");
    assert_eq!(report["jobs"][0]["reason"], "first-build");
    assert_eq!(report["originalCommit"], first.as_str());
    let pointer = report["jobs"][0]["pointer"]["path"].clone();
    assert_eq!(report["jobs"][0]["pointer"]["moved"], true);

    repository.write("src/a.txt", "A\n");
    repository.commit("edit");
    let report = repository.report(&[]);
    assert_eq!(report["counters"]["incremental"], 1, "{report:#}");
    assert_eq!(report["jobs"][0]["caches"][0]["path"], pointer);
    assert_eq!(report["jobs"][0]["caches"][0]["commit"], first.as_str());
    let log = std::fs::read_to_string(report["jobs"][0]["log"].as_str().unwrap()).unwrap();
    assert_eq!(log, "compiling a.txt\n");
    let pointer = report["jobs"][0]["pointer"]["path"].clone();

    let report = repository.report(&[]);
    assert_eq!(report["counters"]["fresh"], 1, "{report:#}");
    assert_eq!(report["jobs"][0]["pointer"]["moved"], false);

    repository.write("src/fail", "");
    repository.commit("break");
    let ran = repository.levain(&["run"]).code(1);
    assert!(ran.stdout.contains("this build fails"), "{}", ran.stdout);
    let report = repository.report(&[]);
    assert_eq!(report["counters"]["failed"], 1, "{report:#}");
    assert_eq!(report["jobs"][0]["pointer"]["path"], pointer);
}
