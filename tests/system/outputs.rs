//! Outputs of successes: how long they are kept, and how they are asked for again.

use std::fs;

use serde_json::Value;

use crate::environment::{Environment, Repository};
use crate::shadow::job;

const FLAKE: &str = r#"{
  outputs = { self }:
    let
      build = name: text: derivation {
        inherit name;
        system = "x86_64-linux";
        builder = "/bin/sh";
        args = [ "-c" "PATH=/usr/bin:/bin; echo ${name} >> @at@/built; ${text}; exit 0" ];
      };
    in {
      levainProject.outputs = { @keep@ };
      levainJobs.x86_64-linux = {
        app = build "app" "echo @text@ > $out";
        same = build "same" "echo same > $out";
      };
    };
}
"#;

fn write(repository: &Repository<'_>, keep: &str, text: &str) {
    let at = repository.environment.path(".").display().to_string();
    let flake = FLAKE.replace("@at@", &at).replace("@keep@", keep).replace("@text@", text);
    repository.write("flake.nix", &flake);
    repository.commit(text);
}

fn output(report: &Value, name: &str) -> String {
    job(report, name)["outputs"]["out"].as_str().unwrap().to_owned()
}

fn built(environment: &Environment) -> String {
    let text = fs::read_to_string(environment.path("built")).unwrap_or_default();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join(" ")
}

#[test]
fn the_newest_outputs_are_kept_and_older_ones_are_not() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    write(&repository, "", "one");
    let one = repository.report(&[]);
    environment.collect_garbage();
    for name in ["app", "same"] {
        assert!(environment.is_valid(&output(&one, name)), "{name}");
    }
    write(&repository, "", "two");
    let two = repository.report(&[]);
    environment.collect_garbage();
    assert!(environment.is_valid(&output(&two, "app")));
    assert!(environment.is_valid(&output(&two, "same")), "a fresh job's outputs, too");
    assert!(!environment.is_valid(&output(&one, "app")), "of one commit only");

    write(&repository, "keep = 2;", "three");
    let three = repository.report(&[]);
    environment.collect_garbage();
    assert!(environment.is_valid(&output(&two, "app")));
    assert!(environment.is_valid(&output(&three, "app")));

    write(&repository, "keep = 0;", "four");
    let four = repository.report(&[]);
    environment.collect_garbage();
    for report in [&two, &three, &four] {
        assert!(!environment.is_valid(&output(report, "app")));
    }
}

#[test]
fn read_only_runs_keep_nothing() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    write(&repository, "", "one");
    let report = repository.report(&["--read-only"]);
    environment.collect_garbage();
    assert!(!environment.is_valid(&output(&report, "app")));
}

#[test]
fn outputs_that_are_gone_are_made_again_when_asked_for() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    write(&repository, "keep = 0;", "one");
    let report = repository.report(&[]);
    let (app, same) = (output(&report, "app"), output(&report, "same"));
    environment.collect_garbage();
    // That they have succeeded is known without them.
    let report = repository.report(&[]);
    assert_eq!(report["counters"]["fresh"], 2, "{report:#}");
    assert!(!environment.is_valid(&app));
    assert_eq!(built(&environment), "app same");

    let report = repository.report(&["--outputs"]);
    assert_eq!(report["counters"]["clean"], 2, "{report:#}");
    assert!(environment.is_valid(&app) && environment.is_valid(&same));
    assert_eq!(built(&environment), "app app same same");
    let report = repository.report(&["--outputs"]);
    assert_eq!(report["counters"]["fresh"], 2, "{report:#}");
    assert_eq!(built(&environment), "app app same same");
}

#[test]
fn what_is_fresh_is_built_again_when_asked_for() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    write(&repository, "", "one");
    repository.report(&[]);
    let report = repository.report(&["--rebuild"]);
    assert_eq!(report["counters"]["clean"], 2, "{report:#}");
    assert_eq!(built(&environment), "app app same same");

    // Another result is a failure, and the first one stays.
    write(&repository, "", "$(wc -l < @at@/built)");
    let at = environment.path(".").display().to_string();
    let flake = fs::read_to_string(repository.path.join("flake.nix")).unwrap();
    repository.write("flake.nix", &flake.replace("@at@", &at));
    repository.commit("counts");
    let report = repository.report(&[]);
    let out = output(&report, "app");
    let first = fs::read_to_string(&out).unwrap();
    let report = repository.levain(&["run", "--rebuild", "--format", "json"]).code(1).json();
    let app = job(&report, "app");
    assert_eq!(app["status"], "failed", "{report:#}");
    assert!(app["error"].as_str().unwrap().contains("deterministic"), "{app:#}");
    assert_eq!(job(&report, "same")["status"], "clean");
    assert_eq!(fs::read_to_string(&out).unwrap(), first);
}
