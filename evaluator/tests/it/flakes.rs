//! Test flakes and what is found in them: `tests/flakes/NAME` with `jobs.exp.json`.
//!
//! A new case is a new directory. `UPDATE_EXPECT=1` writes what was found; read the difference.

use std::collections::BTreeSet;
use std::fs;

use expect_test::expect_file;
use levain_evaluator::{
    EvaluateError, Evaluation, Evaluator as _, JobErrorKind, Limits, LockFileState, Request,
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
    expect_file![flake_dir(name).join("jobs.exp.json")].assert_eq(&text);
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
    assert_eq!(error.kind, JobErrorKind::ImportFromDerivation);
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
    let log = programs.path().join("log");
    let wrapper = programs.path().join("nix");
    let search = std::env::var_os("PATH").unwrap();
    let nix = std::env::split_paths(&search).map(|dir| dir.join("nix")).find(|nix| nix.exists());
    let script =
        format!("#!/bin/sh\necho >> {}\nexec {} \"$@\"\n", log.display(), nix.unwrap().display());
    fs::write(&wrapper, script).unwrap();
    let mut permissions = fs::metadata(&wrapper).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    fs::set_permissions(&wrapper, permissions).unwrap();

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
    // All jobs, a look at the root, eight halvings of two parts each, a look at what is left.
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 2 + 2 * 8 + 1);
}
