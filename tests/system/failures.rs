//! Failures: which dependency failed and why, what is kept of logs, what no machine can build.

use std::fs;

use serde_json::json;

use crate::environment::{Environment, Repository};
use crate::jobs::ended;
use crate::shadow::{attr_path, job};

/// Makes a repository with these outputs, which may use `build NAME SCRIPT`.
fn repository<'a>(environment: &'a Environment, outputs: &str) -> Repository<'a> {
    let repository = environment.repository("project");
    repository.write("flake.nix", &FLAKE.replace("@outputs@", outputs));
    repository.commit("first");
    repository
}

const FLAKE: &str = r#"{
  outputs = { self }:
    let
      drv = name: attrs: derivation ({
        inherit name;
        system = "x86_64-linux";
        builder = "/bin/sh";
      } // attrs);
      build = name: script: drv name {
        args = [ "-c" "PATH=/usr/bin:/bin; ${script}; exit 0" ];
      };
    in {
@outputs@
    };
}
"#;

#[test]
fn why_dependencies_failed_is_told_under_the_jobs_that_need_them() {
    let environment = Environment::new();
    let repository = repository(
        &environment,
        r#"
      levainJobs.x86_64-linux = let
        source = drv "source" {
          outputHashMode = "recursive";
          outputHash = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
          args = [ "-c" "echo unpacking; echo other > $out; exit 0" ];
        };
        tool = build "tool" "echo compiling; exit 7";
        empty = build "empty" "echo nothing made";
        refers = drv "refers" {
          allowedReferences = [ ]; dep = build "dep" "echo > $out";
          args = [ "-c" "echo $dep > $out; exit 0" ];
        };
        library = build "library" "echo ${source} > $out";
      in {
        app = build "app" "echo ${library} > $out";
        both = build "both" "echo ${source} ${tool} > $out";
        hollow = build "hollow" "echo ${empty} > $out";
        leaky = build "leaky" "echo ${refers} > $out";
        fine = build "fine" "echo > $out";
      };"#,
    );
    let report = repository.report(&[]);
    let error = |name: &str| job(&report, name)["error"].as_str().unwrap().to_owned();
    let app = error("app");
    let mismatch = "dependency `source` failed: hash mismatch in fixed-output derivation: specified: sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=, got: sha256-";
    assert!(app.starts_with(mismatch), "{app}");
    assert_eq!(job(&report, "app")["lastLines"], json!(["unpacking"]));
    assert_eq!(job(&report, "app")["status"], "failed");

    let both = job(&report, "both");
    let dependencies = both["failedDependencies"].as_array().unwrap();
    let mut names: Vec<_> = dependencies.iter().map(|d| d["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["source", "tool"], "{both:#}");
    assert!(both["error"].as_str().unwrap().ends_with("(and 1 more)"), "{both:#}");
    let tool = dependencies.iter().find(|dependency| dependency["name"] == "tool").unwrap();
    assert_eq!(tool["error"], "builder failed with exit code 7");
    assert_eq!(fs::read_to_string(tool["log"].as_str().unwrap()).unwrap(), "compiling\n");

    let hollow = error("hollow");
    assert!(
        hollow.contains(
            "dependency `empty` failed: builder failed to produce output path for output 'out'"
        ),
        "{hollow}"
    );
    let leaky = error("leaky");
    assert!(
        leaky.contains("dependency `refers` failed: output '")
            && leaky.contains("is not allowed to refer to the following paths: "),
        "{leaky}"
    );
    assert_eq!(job(&report, "fine")["status"], "clean");

    // In the terminal, too, and no line of a log is shown twice.
    let ran = repository.levain(&["run"]).code(1);
    assert!(ran.stdout.contains(mismatch), "{}", ran.stdout);
    assert!(ran.stdout.contains("builder failed with exit code 7"), "{}", ran.stdout);
    let app = ran.stdout.split("--- ").find(|part| part.starts_with(&attr_path("app"))).unwrap();
    assert_eq!(app.matches("unpacking").count(), 1, "{app}");
}

#[test]
fn of_long_logs_beginning_and_end_are_kept() {
    let environment = Environment::new();
    let repository = repository(
        &environment,
        r#"
      levainProject.logs = { lineBytes = 100; logBytes = 4000; };
      levainJobs.x86_64-linux.talk = build "talk" "seq 1 5000; head -c 1000000 /dev/zero | tr '\\0' x; echo; echo end; exit 1";"#,
    );
    let report = repository.report(&[]);
    let talk = job(&report, "talk");
    let log = fs::read_to_string(talk["log"].as_str().unwrap()).unwrap();
    assert!(log.len() <= 4100, "{}", log.len());
    assert!(log.starts_with("1\n2\n3\n") && log.ends_with("\nend\n"), "{log}");
    let whole = (1..=5000).map(|number: u32| number.to_string().len() + 1).sum::<usize>();
    assert!(whole > 4000);
    assert!(log.contains(" bytes left out here; `nix log` shows them]\n"), "{log}");
    let long = format!("{} [999900 bytes of this line left out]", "x".repeat(100));
    assert!(log.contains(&long), "{log}");
    let lines = talk["lastLines"].as_array().unwrap();
    assert_eq!(lines[lines.len() - 2..], [json!(long), json!("end")]);
    let notices = report["notices"].to_string();
    assert!(notices.contains("`logs.logBytes`"), "{notices}");
    // Nix has all of it.
    let drv = talk["builtDrvPath"].as_str().unwrap();
    let whole = environment.run("nix", &repository.path, &["log", drv]).ok().stdout;
    assert!(whole.len() > 1_000_000, "{}", whole.len());
}

#[test]
fn all_logs_together_have_a_limit() {
    let environment = Environment::new();
    let outputs = |word: &str| {
        let jobs: Vec<String> = (1..=6)
            .map(|number| {
                format!(r#"j{number} = build "j{number}" "echo {word}; seq 1 300; echo > $out";"#)
            })
            .collect();
        format!(
            "levainProject.logs.totalBytes = 3000;\nlevainJobs.x86_64-linux = {{ {} }};",
            jobs.join("\n")
        )
    };
    let repository = repository(&environment, &outputs("one"));
    let logs = repository.path.join(".git/levain/logs");
    let kept = || -> u64 {
        let entries = fs::read_dir(&logs).unwrap();
        entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    };
    let report = repository.report(&["--max-jobs", "1"]);
    assert_eq!(report["counters"]["clean"], 6, "{report:#}");
    assert!(kept() > 0 && kept() <= 3000, "{}", kept());
    let notices = report["notices"].to_string();
    assert!(notices.contains("3 logs were not kept"), "{notices}");
    // Those of earlier runs go first.
    repository.write("flake.nix", &FLAKE.replace("@outputs@", &outputs("two")));
    repository.commit("second");
    repository.report(&["--max-jobs", "1"]);
    assert!(kept() > 0 && kept() <= 3000, "{}", kept());
    let all: Vec<String> = fs::read_dir(&logs)
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    assert!(all.iter().all(|log| log.starts_with("two\n")), "{all:?}");
}

#[test]
fn what_no_machine_can_build_is_skipped() {
    let environment = Environment::new();
    let repository = repository(
        &environment,
        r#"
      levainJobs.x86_64-linux = rec {
        odd = drv "odd" { requiredSystemFeatures = [ "levain-odd" ]; args = [ "-c" "echo > $out; exit 0" ]; };
        on-odd = build "on-odd" "echo ${odd} ${broken} > $out";
        broken = build "broken" "exit 1";
        native = drv "native" { requiredSystemFeatures = [ "benchmark" ]; args = [ "-c" "echo > $out; exit 0" ]; };
      };"#,
    );
    let report = repository.levain(&["run", "--format", "json"]).code(1).json();
    let found = ended(&report);
    let status = |name: &str| found[attr_path(name).as_str()];
    let expected = ["skipped", "skipped", "failed", "clean"];
    assert_eq!(["odd", "on-odd", "broken", "native"].map(status), expected, "{report:#}");
    assert_eq!(job(&report, "odd")["skipped"], "no builder for x86_64-linux with levain-odd");
    assert_eq!(
        job(&report, "on-odd")["skipped"],
        "no builder for x86_64-linux with levain-odd, which dependency `odd` needs"
    );
    // As soon as a machine has it, it is built.
    let conf = environment.path("conf/nix.conf");
    let text = fs::read_to_string(&conf).unwrap() + "extra-system-features = levain-odd\n";
    fs::write(&conf, text).unwrap();
    let report = repository.report(&[]);
    assert_eq!(job(&report, "odd")["status"], "clean", "{report:#}");
}

#[test]
fn a_project_chooses_its_systems() {
    let environment = Environment::new();
    let repository = repository(
        &environment,
        r#"
      levainProject.systems = [ "x86_64-linux" "riscv64-none" ];
      levainJobs = {
        a = build "a" "echo > $out";
        b = drv "b" { system = "i686-linux"; args = [ "-c" "echo > $out; exit 0" ]; };
        c = drv "c" { system = "riscv64-none"; };
      };"#,
    );
    let ran = repository.levain(&["run", "--format", "json"]).ok();
    let report = ran.json();
    let expected = [("a", "clean"), ("b", "skipped"), ("c", "skipped")];
    assert_eq!(ended(&report), expected.into(), "{report:#}");
    let why = |name: &str| {
        let jobs = report["jobs"].as_array().unwrap();
        jobs.iter().find(|job| job["attrPath"] == name).unwrap()["skipped"].clone()
    };
    assert_eq!(why("b"), "left out: `systems` does not name i686-linux");
    assert_eq!(why("c"), "no builder for riscv64-none");
    assert!(!ran.stderr.contains("b: skipped"), "{}", ran.stderr);
}

#[test]
fn the_settings_of_nix_count() {
    let environment = Environment::new();
    let repository = repository(
        &environment,
        r#"
      levainJobs.x86_64-linux = {
        cores = build "cores" "echo $NIX_BUILD_CORES > $out";
        silent = build "silent" "sleep 300; echo > $out";
      };"#,
    );
    let conf = environment.path("conf/nix.conf");
    let text = fs::read_to_string(&conf).unwrap();
    fs::write(&conf, format!("{text}cores = 3\nmax-silent-time = 1\n")).unwrap();
    let report = repository.report(&[]);
    let cores = job(&report, "cores")["outputs"]["out"].as_str().unwrap();
    assert_eq!(fs::read_to_string(cores).unwrap(), "3\n");
    let silent = job(&report, "silent");
    assert_eq!(silent["status"], "failed", "{silent:#}");
    assert!(silent["error"].as_str().unwrap().contains("timed out after 1 seconds"), "{silent:#}");

    // As plain Nix does, levain builds nothing here if that is what is configured.
    fs::write(&conf, format!("{text}max-jobs = 0\n")).unwrap();
    let report = repository.report(&[]);
    assert_eq!(job(&report, "silent")["status"], "error", "{report:#}");
    // What the user says comes first.
    fs::write(&conf, format!("{text}max-jobs = 0\ncores = 3\n")).unwrap();
    repository.write(
        "flake.nix",
        &FLAKE.replace(
            "@outputs@",
            r#"levainJobs.x86_64-linux.cores = build "again" "echo $NIX_BUILD_CORES > $out";"#,
        ),
    );
    repository.commit("second");
    let report = repository.report(&["--max-jobs", "1", "--cores", "7"]);
    let cores = job(&report, "cores")["outputs"]["out"].as_str().unwrap();
    assert_eq!(fs::read_to_string(cores).unwrap(), "7\n");
}

#[test]
fn an_aggregate_never_stands_for_what_nobody_builds() {
    let environment = Environment::new();
    let repository = repository(
        &environment,
        r#"
      levainProject.systems = [ "x86_64-linux" ];
      levainJobs = let
        hidden = build "hidden" "exit 1";
        aggregate = name: said: attributes: drv name ({
          args = [ "-c" "echo > $out; exit 0" ];
        } // attributes) // { _hydraAggregate = true; constituents = said; };
      in {
        fine = build "fine" "echo > $out";
        elsewhere = drv "elsewhere" { system = "i686-linux"; };
        dropped = aggregate "dropped" [ "fine" hidden ] { };
        needing = aggregate "needing" [ "fine" hidden ] { inherit hidden; };
        partly = aggregate "partly" [ "fine" "elsewhere" "fine" ] { };
        left = aggregate "left" [ "fine" ] { system = "i686-linux"; };
        above = aggregate "above" [ "left" ] { };
        circle = aggregate "circle" [ "round" ] { };
        round = aggregate "round" [ "circle" "dropped" ] { };
      };"#,
    );
    let report = repository.levain(&["run", "--format", "json"]).code(1).json();
    let expected = [
        ("above", "skipped"),
        ("circle", "error"),
        ("dropped", "error"),
        ("elsewhere", "skipped"),
        ("fine", "clean"),
        ("left", "skipped"),
        ("needing", "failed"),
        ("partly", "skipped"),
        ("round", "error"),
    ];
    assert_eq!(ended(&report), expected.into(), "{report:#}");
    let jobs = report["jobs"].as_array().unwrap();
    let dropped = jobs.iter().find(|job| job["attrPath"] == "dropped").unwrap();
    let error = dropped["error"].as_str().unwrap();
    assert!(error.contains("there is no job `") && error.contains("-hidden.drv`"), "{error}");
}

#[test]
fn an_aggregate_is_green_only_if_its_constituents_are() {
    let environment = Environment::new();
    let outputs = |script: &str| {
        r#"
      levainJobs.x86_64-linux = let
        aggregate = name: constituents: drv name {
          _hydraAggregate = true;
          inherit constituents;
          args = [ "-c" "echo > $out; exit 0" ];
        };
      in {
        all = aggregate "all" [ "x86_64-linux.fine" "x86_64-linux.other" ];
        fine = build "fine" "echo > $out";
        some = aggregate "some" [ "x86_64-linux.fine" ];
        other = build "other" "@script@";
      };"#
        .replace("@script@", script)
    };
    let repository = repository(&environment, &outputs("exit 1"));
    let report = repository.levain(&["run", "--format", "json"]).code(1).json();
    assert_eq!(job(&report, "some")["status"], "clean", "{report:#}");
    let all = job(&report, "all");
    assert_eq!(all["status"], "failed", "{report:#}");
    assert_eq!(all["error"], "constituent `x86_64-linux.other`: failed");
    assert_eq!(report["counters"]["failed"], 2);
    // Its own build was fine, so it is fresh: that alone makes it green no more than before.
    let report = repository.levain(&["run", "--format", "json"]).code(1).json();
    assert_eq!(job(&report, "all")["status"], "failed", "{report:#}");
    assert_eq!(job(&report, "some")["status"], "fresh", "{report:#}");

    repository.write("flake.nix", &FLAKE.replace("@outputs@", &outputs("echo > $out")));
    repository.commit("mended");
    let report = repository.levain(&["run", "--format", "json"]).ok().json();
    assert_eq!(job(&report, "all")["status"], "fresh", "{report:#}");
}
