//! Whose fault a failure is: the cache's only if a clean build would not fail just the same.

use std::fs;

use crate::environment::{Environment, Repository, flake};
use crate::shadow::job;

const ON: &str = "{ enable = true; defaultBranch = true; }";

/// How often something ran that adds a line to this file each time.
fn times(file: &std::path::Path) -> usize {
    fs::read_to_string(file).unwrap_or_default().lines().count()
}

/// A project whose jobs are these attributes, built once.
fn project<'a>(environment: &'a Environment, jobs: &str) -> Repository<'a> {
    let repository = environment.repository("project");
    let text = format!(
        r#"{{
  outputs = {{ self }}: let
    levain = import ./lib;
    base = {{ system = "x86_64-linux"; builder = "/bin/sh"; src = levain.source ./src; }};
    cached = name: script: derivation (base // {{
      inherit name;
      outputs = [ "out" "cache" ];
      previous = levain.cache ./cache.nix "x86_64-linux.${{name}}";
      args = [ "-c" "export PATH=/usr/bin:/bin; ${{script}}; mkdir $cache; cp $src/a.txt $cache; echo > $out" ];
    }});
    plain = name: script: derivation (base // {{
      inherit name;
      args = [ "-c" "export PATH=/usr/bin:/bin; ${{script}}; cat $src/a.txt > $out" ];
    }});
  in {{
    levainProject = levain.mkProject {{ incremental = {ON}; }};
    levainJobs.x86_64-linux = {{ {jobs} }};
  }};
}}
"#
    );
    repository.write("flake.nix", &text);
    repository.write("src/a.txt", "a\n");
    repository.commit("first");
    repository.levain(&["run"]).ok();
    repository
}

#[test]
fn a_dependency_that_no_cache_is_part_of_fails_once() {
    let environment = Environment::new();
    let (count, fail) = (environment.path("count"), environment.path("fail"));
    let jobs = format!(
        r#"app = cached "app" ": ${{derivation {{
             name = "dep"; system = "x86_64-linux"; builder = "/bin/sh";
             args = [ "-c" "echo >> {}; [ ! -e {} ] && echo > $out" ];
           }}}}";"#,
        count.display(),
        fail.display()
    );
    let repository = project(&environment, &jobs);
    // What was downloaded or built may be gone when the next commit needs it.
    let is_dep = |path: &std::path::PathBuf| path.display().to_string().ends_with("-dep");
    let mut paths =
        fs::read_dir(environment.path("store")).unwrap().map(|entry| entry.unwrap().path());
    let dep = paths.find(is_dep).unwrap().display().to_string();
    let args = ["--delete", "--ignore-liveness", &dep];
    environment.run("nix-store", &repository.path, &args).ok();
    fs::write(&fail, "").unwrap();
    repository.write("src/a.txt", "b\n");
    repository.commit("second");
    let report = repository.levain(&["run", "--format", "json"]).code(1).json();
    let app = job(&report, "app");
    assert_eq!(app["status"], "failed", "{app:#}");
    assert_eq!(app["caches"].as_array().unwrap().len(), 1, "it was to start from one: {app:#}");
    assert_eq!(times(&count), 2, "built at first, and once more");
}

#[test]
fn what_is_repeated_to_compare_is_not_done_clean_in_its_place() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    repository.write("flake.nix", &flake(&["app"], ON));
    // Its cache is always the same, so that it is built from that once more.
    let clock = "export PATH=/usr/bin:/bin\nmkdir $cache\ndate +%N > $out\n";
    repository.write("builder.sh", clock);
    for text in ["a\n", "b\n"] {
        repository.write("src/a.txt", text);
        repository.commit(text);
        repository.levain(&["run"]).ok();
    }
    let args = ["run", "--rebuild", "--format", "json"];
    let report = repository.levain(&args).code(1).json();
    let app = job(&report, "app");
    assert_eq!(app["status"], "failed", "{app:#}");
    assert!(app["error"].as_str().unwrap().contains("deterministic"), "{app:#}");
}

#[test]
fn without_keep_going_what_was_stopped_blames_no_cache_and_is_not_done_again() {
    let environment = Environment::new();
    let (begun, never) = (environment.path("begun"), environment.path("never"));
    // From its cache it waits for ever; clean it would not.
    let jobs = format!(
        r#"good = cached "good" "if [ -n \"$previous\" ]; then echo > {0}; until [ -e {1} ]; do sleep 0.1; done; fi";
           bad = plain "bad" "[ ! -e $src/fail ] || {{ until [ -e {0} ]; do sleep 0.1; done; exit 9; }}";"#,
        begun.display(),
        never.display()
    );
    let repository = project(&environment, &jobs);
    repository.write("src/fail", "");
    repository.commit("broken");
    let args = ["run", "--no-keep-going", "--max-jobs", "2", "--format", "json"];
    let report = repository.levain(&args).code(1).json();
    assert_eq!(job(&report, "bad")["status"], "failed", "{report:#}");
    let good = job(&report, "good");
    assert_eq!(good["status"], "error", "{good:#}");
    assert_eq!(good["error"], "not finished, since another build failed first");
    assert!(good["reason"].is_null(), "{good:#}");
}

#[test]
fn a_cache_that_fails_its_build_is_no_end_for_others() {
    let environment = Environment::new();
    let jobs = r#"trapped = cached "trapped" "[ -z \"$previous\" ] || exit 7"; other = plain "other" "sleep 1";"#;
    let repository = project(&environment, jobs);
    repository.write("src/a.txt", "b\n");
    repository.commit("second");
    let args = ["run", "--no-keep-going", "--max-jobs", "2", "--format", "json"];
    let report = repository.levain(&args).ok().json();
    assert_eq!(job(&report, "trapped")["reason"], "failed-with-cache", "{report:#}");
    assert_eq!(job(&report, "other")["status"], "clean", "{report:#}");
}

#[test]
fn a_derivation_that_nix_cannot_look_at_costs_no_other_job_anything() {
    let environment = Environment::new();
    let count = environment.path("count");
    let jobs = format!(
        r#"fails = plain "fails" "echo >> {}; [ ! -e $src/fail ] || exit 9";
           odd = derivation (base // {{ name = "odd"; }} // (if builtins.pathExists ./src/fail
             then {{ __json = "{{"; }} else {{ args = [ "-c" "echo > $out" ]; }}));
           odder = derivation (base // {{ name = "odder"; args = [ "-c" "echo > $out" ]; }}
             // (if builtins.pathExists ./src/fail then {{ system = "none-none"; }} else {{ }}));"#,
        count.display()
    );
    let repository = project(&environment, &jobs);
    let before = times(&count);
    repository.write("src/fail", "");
    repository.commit("broken");
    let report = repository.levain(&["run", "--format", "json"]).code(1).json();
    assert_eq!(job(&report, "fails")["status"], "failed", "{report:#}");
    assert_eq!(times(&count), before + 1, "a builder that failed has failed");
}
