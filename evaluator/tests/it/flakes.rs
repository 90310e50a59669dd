//! Test flakes and what is found in them: `tests/flakes/NAME` with `jobs.exp.json`.
//!
//! A new case is a new directory. `UPDATE_EXPECT=1` writes what was found; read the difference.
//! `jobs-2.26.exp.json`, where it is needed, holds what newer versions of Nix say.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use expect_test::expect_file;
use levain_evaluator::{
    EvaluateError, Evaluation, JobErrorKind, JobEvaluator as _, Limits, LockFileState, Request,
};

use crate::support::{World, attr_path, chain, flake_dir, outcomes};

/// Compares what is found in a test flake with its golden file.
fn check(name: &str) {
    let world = World::new();
    let flake = world.commit(name);
    let found = match world.evaluator.evaluate(&world.request(&flake)) {
        Ok(evaluation) => serde_json::to_value(&evaluation).unwrap(),
        Err(error) => serde_json::json!({ "error": chain(&error) }),
    };
    let text = world.normalise(&format!("{found:#}\n"));
    // Versions of Nix differ about this one, and nothing depends on it.
    let text = text.replace(
        "is required, but there is no substituter that can build it",
        "does not exist and cannot be created",
    );
    expect_file![golden(name, &world)].assert_eq(&text);
}

/// Returns the golden file of a test flake. Newer versions of Nix say some things in other words; where
/// they do, there is a second file.
fn golden(name: &str, world: &World) -> PathBuf {
    let version = world.evaluator.nix.version().unwrap();
    let newer = flake_dir(name).join("jobs-2.26.exp.json");
    match (version.major, version.minor) >= (2, 26) && newer.exists() {
        true => newer,
        false => flake_dir(name).join("jobs.exp.json"),
    }
}

macro_rules! cases {
    ($($function:ident => $name:literal,)*) => {
        $(#[test] fn $function() { check($name); })*

        const CASES: &[&str] = &[$($name),*];
    };
}

cases! {
    nested => "nested",
    failing => "failing",
    packages => "packages",
    hydra => "hydra",
    no_jobs => "no-jobs",
    list => "list",
    empty => "empty",
    no_flake => "no-flake",
    syntax_error => "syntax-error",
    no_lock => "no-lock",
    stale_lock => "stale-lock",
    throwing_output => "throwing-output",
    declaration => "declaration",
    import_from_derivation => "import-from-derivation",
    scopes => "scopes",
    wide => "wide",
}

#[test]
fn no_case_is_forgotten() {
    let found: BTreeSet<String> = fs::read_dir(flake_dir(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, CASES.iter().map(|name| (*name).to_owned()).collect());
}

#[test]
fn errors_of_a_whole_flake_have_types() {
    let world = World::new();
    let error = |name| {
        let flake = world.commit(name);
        world.evaluator.evaluate(&world.request(&flake)).unwrap_err()
    };
    assert!(matches!(error("no-flake"), EvaluateError::NotAFlake { .. }));
    assert!(matches!(error("syntax-error"), EvaluateError::FlakeFailed { .. }));
    assert!(matches!(error("no-jobs"), EvaluateError::NoJobs { .. }));
    assert!(matches!(error("list"), EvaluateError::OutputNotAnAttributeSet { .. }));
    assert!(matches!(
        error("no-lock"),
        EvaluateError::LockFile { state: LockFileState::Missing, .. }
    ));
    assert!(matches!(
        error("stale-lock"),
        EvaluateError::LockFile { state: LockFileState::Stale, .. }
    ));
}

#[test]
fn a_missing_commit_is_an_error_of_the_flake() {
    let world = World::new();
    let mut flake = world.commit("hydra");
    flake.revision = "0".repeat(40);
    let error = world.evaluator.evaluate(&world.request(&flake)).unwrap_err();
    assert!(matches!(error, EvaluateError::FlakeFailed { .. }), "{error}");
}

#[test]
fn a_broken_output_leaves_the_other_one_alone() {
    let world = World::new();
    for (name, packages) in [("abort", "abort \"no packages\""), ("number", "5")] {
        let text = format!(
            "{{ outputs = _: {{ packages = {packages}; checks.x86_64-linux.good = derivation {{
               name = \"good\"; system = \"x86_64-linux\"; builder = \"/bin/sh\"; }}; }}; }}"
        );
        let flake = world.commit_files(name, &[("flake.nix", &text)]);
        let evaluation = world.evaluator.evaluate(&world.request(&flake)).unwrap();
        let (good, bad) = outcomes(&evaluation);
        assert_eq!(
            (good, bad),
            (vec!["checks.x86_64-linux.good".into()], vec!["packages".into()]),
            "{packages}"
        );
    }
}

#[test]
fn a_flake_that_needs_a_build_to_list_its_jobs_gets_the_hint() {
    let world = World::new();
    let flake = world.commit_files(
        "listing",
        &[(
            "flake.nix",
            r#"{ outputs = _: { levainJobs = import (derivation {
                 name = "jobs.nix"; system = "x86_64-linux"; builder = "/bin/sh";
               }); }; }"#,
        )],
    );
    let error = world.evaluator.evaluate(&world.request(&flake)).unwrap_err().to_string();
    assert!(error.contains("evaluation.allowImportFromDerivation"), "{error}");
}

#[test]
fn names_that_are_no_utf_8_hide_nothing() {
    let world = World::new();
    let flake = world.commit("hydra");
    let mut text = b"{ outputs = _: { levainJobs = let d = n: derivation { name = n; system = \"x\"; builder = \"/bin/sh\"; }; in { good = d \"good\"; \"bad".to_vec();
    text.extend(b"\xff\" = d \"named\"; }; }; }");
    fs::write(flake.location.join("flake.nix"), text).unwrap();
    let flake = world.commit_tree(&flake.location);
    let evaluation = world.evaluator.evaluate(&world.request(&flake)).unwrap();
    assert!(evaluation.jobs.iter().any(|job| job.attr_path == attr_path("good")));
    assert_eq!(evaluation.jobs.len(), 2);
}

#[test]
fn names_that_are_shown_alike_are_an_error() {
    let world = World::new();
    let flake = world.commit("hydra");
    let d = "n: derivation { name = n; system = \"x\"; builder = \"/bin/sh\"; }";
    let text = format!(
        r#"{{ outputs = _: {{ levainJobs = let d = {d}; in {{
             set = {{ "a<fc>" = d "good"; "a<ff>" = d "bad"; b = d "b"; "c<ff>" = d "c"; }};
             all = d "all" // {{ _hydraAggregate = true; constituents = [ "set.a<ff>" ]; }};
             "e<fffd>" = throw "no"; "e<ff>" = d "e"; fails = throw "no";
           }}; }}; }}"#
    );
    let mut bytes = text.replace("<fffd>", "\u{fffd}").into_bytes();
    for (name, byte) in [("<fc>", 0xfc), ("<ff>", 0xff)] {
        while let Some(at) = bytes.windows(4).position(|window| window == name.as_bytes()) {
            bytes.splice(at..at + 4, [byte]);
        }
    }
    fs::write(flake.location.join("flake.nix"), bytes).unwrap();
    let flake = world.commit_tree(&flake.location);
    let request = world.request(&flake);
    let evaluation = world.evaluator.evaluate(&request).unwrap();
    let (good, bad) = outcomes(&evaluation);
    assert_eq!(good, ["all", "set.b", "set.\"c\u{fffd}\""]);
    assert_eq!(bad, ["\"e\u{fffd}\"", "fails", "set.\"a\u{fffd}\""]);
    let only = Some(vec![attr_path("set.\"a\u{fffd}\"")]);
    let evaluation = world.evaluator.evaluate(&Request { only, ..request }).unwrap();
    let error = evaluation.jobs[0].outcome.as_ref().unwrap_err();
    assert_eq!(error.kind, JobErrorKind::SameName);
}

#[test]
fn outputs_that_are_named_are_looked_at() {
    let world = World::new();
    let flake = world.commit_files(
        "outputs",
        &[(
            "flake.nix",
            r#"{ outputs = _: let
                 d = name: derivation { inherit name; system = "x86_64-linux"; builder = "/bin/sh"; };
                 systems = set: { x86_64-linux = set; aarch64-linux = abort "not here"; };
               in {
                 levainJobs.job = d "job";
                 packages = systems { default = d "package"; };
                 devShells = systems { default = d "shell"; };
                 formatter = systems (d "formatter");
                 legacyPackages = systems {
                   hello = d "hello"; lib.x = abort "no"; callPackage = x: x;
                   inner = { recurseForDerivations = true; job = d "inner"; };
                 };
                 nixosConfigurations.host.config.system.build.toplevel = d "host";
                 homeConfigurations.me.activationPackage = d "home";
               }; }"#,
        )],
    );
    let found = |outputs: Option<&[&str]>| {
        let outputs = outputs.map(|names| names.iter().map(|&name| name.to_owned()).collect());
        let request = Request { outputs, ..world.request(&flake) };
        outcomes(&world.evaluator.evaluate(&request).unwrap()).0
    };
    assert_eq!(found(None), ["job"]);
    assert_eq!(
        found(Some(&["packages", "devShells", "formatter", "levainJobs"])),
        [
            "devShells.x86_64-linux.default",
            "formatter.x86_64-linux",
            "levainJobs.job",
            "packages.x86_64-linux.default"
        ]
    );
    assert_eq!(
        found(Some(&["legacyPackages", "nixosConfigurations", "homeConfigurations"])),
        [
            "homeConfigurations.me",
            "legacyPackages.x86_64-linux.hello",
            "legacyPackages.x86_64-linux.inner.job",
            "nixosConfigurations.host"
        ]
    );
    let none = Request { outputs: Some(vec!["checks".into()]), ..world.request(&flake) };
    assert!(matches!(world.evaluator.evaluate(&none), Err(EvaluateError::NoJobs { .. })));
}

#[test]
fn a_flake_in_a_directory_is_refused_by_name() {
    let world = World::new();
    let flake = world.commit_files("below", &[("nix/flake.nix", "{ outputs = _: { }; }")]);
    let error = world.evaluator.evaluate(&world.request(&flake)).unwrap_err().to_string();
    assert!(error.contains("`nix/flake.nix`") && error.contains("`dir=`"), "{error}");
}

#[test]
fn only_some_jobs_give_the_same_as_all() {
    let world = World::new();
    let flake = world.commit("failing");
    let all = world.evaluator.evaluate(&world.request(&flake)).unwrap();
    let only = ["set", "good1", "throws", "aborts", "string", "set.good5", "list"];
    let paths: Vec<_> = only.iter().map(|path| attr_path(path)).collect();
    let request = Request { only: Some(paths.clone()), ..world.request(&flake) };
    let some = world.evaluator.evaluate(&request).unwrap();
    let expected = all
        .jobs
        .into_iter()
        .filter(|job| paths.iter().any(|path| path.is_prefix_of(&job.attr_path)));
    assert_eq!(some.jobs, expected.collect::<Vec<_>>());
    assert_eq!(some.jobs.len(), 8);
}

#[test]
fn a_job_that_does_not_exist_is_missing() {
    let world = World::new();
    let flake = world.commit("nested");
    let only = ["absent", "x86_64-linux.hello.name", "x86_64-linux.skipped.never", "a.b.c"];
    let paths = only.iter().map(|path| attr_path(path)).collect();
    let request = Request { only: Some(paths), ..world.request(&flake) };
    let jobs = world.evaluator.evaluate(&request).unwrap().jobs;
    assert_eq!(jobs.len(), only.len());
    for job in jobs {
        let error = job.outcome.unwrap_err();
        assert_eq!(error.kind, JobErrorKind::Missing, "{}", job.attr_path);
        assert!(error.message.contains("hint: "), "{error}");
    }
    let none = Request { only: Some(Vec::new()), ..world.request(&flake) };
    assert_eq!(world.evaluator.evaluate(&none).unwrap().jobs, []);
}

#[test]
fn imports_from_derivations_are_built_when_allowed() {
    let world = World::new();
    let flake = world.commit("import-from-derivation");
    let limits = Limits { allow_import_from_derivation: true, ..Limits::default() };
    let request = Request { limits, ..world.request(&flake) };
    let evaluation = world.evaluator.evaluate(&request).unwrap();
    let (good, bad) = outcomes(&evaluation);
    assert_eq!((good, bad), (vec!["imported".into(), "plain".into()], vec!["failing".into()]));
    let error = evaluation.jobs[0].outcome.as_ref().unwrap_err();
    assert_eq!(error.kind, JobErrorKind::FailedImport);
    assert!(error.message.contains("failing.nix"), "{error}");
}

#[test]
fn two_clones_give_the_same_text() {
    let world = World::new();
    let flake = world.commit("failing");
    let clone = world.path("a b+%c #?.git");
    world.git(&world.path(""), &["clone", "-q", "--bare", "failing", clone.to_str().unwrap()]);
    let mut cloned = flake.clone();
    cloned.location = clone;
    let texts = [&flake, &cloned].map(|flake| {
        let evaluation = world.evaluator.evaluate(&world.request(flake)).unwrap();
        assert_eq!(evaluation.flake.location, flake.location);
        serde_json::to_string(&evaluation).unwrap()
    });
    assert_eq!(texts[0], texts[1]);

    let read: Evaluation = serde_json::from_str(&texts[0]).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), texts[0]);
}

#[test]
fn the_declaration_is_plain_json() {
    let world = World::new();
    let declare = |name| {
        let flake = world.commit(name);
        world.evaluator.declaration(&flake, &Limits::default())
    };
    let declaration = declare("declaration").unwrap().unwrap();
    assert_eq!(
        declaration,
        serde_json::json!({ "incremental": { "enable": true, "depthLimit": 7 } })
    );
    assert_eq!(declare("hydra").unwrap(), None);
    assert!(matches!(declare("no-flake"), Err(EvaluateError::NotAFlake { .. })));
    assert!(matches!(declare("syntax-error"), Err(EvaluateError::FlakeFailed { .. })));
}

#[test]
fn few_processes_find_few_failures() {
    let programs = tempfile::tempdir().unwrap();
    let log = logged(programs.path());

    let world = World::with_programs(Some(programs.path()));
    let flake = world.commit_files(
        "many",
        &[(
            "flake.nix",
            r#"{ outputs = _: { levainJobs = builtins.listToAttrs (builtins.genList (n: {
                 name = "job${toString n}";
                 value = derivation {
                   name = if n == 77 then abort "seventy-seven" else "job"; n = toString n;
                   system = "x86_64-linux"; builder = "/bin/sh";
                 };
               }) 256); }; }"#,
        )],
    );
    let evaluation = world.evaluator.evaluate(&world.request(&flake)).unwrap();
    let (good, bad) = outcomes(&evaluation);
    assert_eq!((good.len(), bad), (255, vec!["job77".to_owned()]));
    // All jobs, a session that tells which of them fails, and all others.
    let processes = fs::read_to_string(&log).unwrap();
    assert_eq!(processes.lines().filter(|line| is_evaluation(line)).count(), 3, "{processes}");
}

fn is_evaluation(arguments: &str) -> bool {
    arguments.starts_with("eval ") || arguments.starts_with("repl ")
}

/// Thousands of attributes that fail in either way take no longer than three evaluations.
#[test]
fn many_failures_take_as_many_processes_as_one() {
    let programs = tempfile::tempdir().unwrap();
    let log = logged(programs.path());
    let world = World::with_programs(Some(programs.path()));
    let flake = world.commit_files(
        "many",
        &[(
            "flake.nix",
            r#"{ outputs = _: { levainJobs = builtins.listToAttrs (builtins.genList (n: {
                 name = "job${toString n}";
                 value =
                   if n / 3 * 3 == n then abort "number ${toString n}"
                   else if n / 5 * 5 == n then throw "number ${toString n}"
                   else derivation { name = "job${toString n}"; system = "x86_64-linux"; builder = "/bin/sh"; };
               }) 600); }; }"#,
        )],
    );
    let evaluation = world.evaluator.evaluate(&world.request(&flake)).unwrap();
    for job in &evaluation.jobs {
        let number: u32 = job.attr_path.names()[0].trim_start_matches("job").parse().unwrap();
        match &job.outcome {
            Ok(_) => assert!(!number.is_multiple_of(3) && !number.is_multiple_of(5), "{number}"),
            Err(error) => {
                assert!(error.message.contains(&format!("number {number}")), "{error}");
                assert!(error.is_lasting(), "{error}");
            }
        }
    }
    let (good, bad) = outcomes(&evaluation);
    assert_eq!((good.len(), bad.len()), (320, 280));
    let processes = fs::read_to_string(&log).unwrap();
    assert_eq!(processes.lines().filter(|line| is_evaluation(line)).count(), 3, "{processes}");
}

/// Makes a `nix` in `programs` that writes down how it is called; returns the file.
fn logged(programs: &Path) -> PathBuf {
    let log = programs.join("log");
    let wrapper = programs.join("nix");
    let search = std::env::var_os("PATH").unwrap();
    let nix = std::env::split_paths(&search).map(|dir| dir.join("nix")).find(|nix| nix.exists());
    let script = format!(
        "#!/bin/sh\nprintf '%.5s\\n' \"$*\" >> {}\nexec {} \"$@\"\n",
        log.display(),
        nix.unwrap().display()
    );
    fs::write(&wrapper, script).unwrap();
    let mut permissions = fs::metadata(&wrapper).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    fs::set_permissions(&wrapper, permissions).unwrap();

    log
}
