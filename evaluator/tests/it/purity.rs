//! What an evaluation may not do or see.

use std::fs;

use levain_evaluator::{EvaluateError, JobEvaluator as _, Limits, LockedFlakeRef};
use levain_store::{Confinement, StorePath};

use crate::support::{World, outcomes};

#[test]
fn the_nar_hash_is_checked() {
    let world = World::new();
    let flake = world.commit("hydra");
    let mut locked = world.evaluator.evaluate(&world.request(&flake)).unwrap().flake;
    assert!(locked.nar_hash.is_some());
    assert!(world.evaluator.evaluate(&world.request(&locked)).is_ok());
    let right = locked.nar_hash;
    locked.nar_hash = Some(levain_store::NarHash::of(b"something else"));
    match world.evaluator.evaluate(&world.request(&locked)) {
        Err(EvaluateError::NarHashMismatch { expected, found, .. }) => {
            assert_eq!((Some(expected), Some(found)), (locked.nar_hash, right));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        world.evaluator.declaration(&locked, &Limits::default()),
        Err(EvaluateError::NarHashMismatch { .. })
    ));
}

#[test]
fn impure_builtins_and_unlocked_references_are_errors_of_their_job() {
    let world = World::new();
    let flake = world.commit_files(
        "impure",
        &[(
            "flake.nix",
            r#"{ outputs = _:
                 let job = x: derivation {
                   name = "x"; system = "x86_64-linux"; builder = "/bin/sh"; inherit x;
                 };
                 in { levainJobs = {
                   good = job 1;
                   system = job builtins.currentSystem;
                   time = job builtins.currentTime;
                   file = job (builtins.readFile /etc/passwd);
                   flake = job (builtins.getFlake "git+file:///nowhere").x;
                   path = job (builtins.storePath "/nix/store/x");
                   fetch = job (builtins.fetchGit "file:///nowhere");
                 }; }; }"#,
        )],
    );
    let evaluation = world.evaluator.evaluate(&world.request(&flake)).unwrap();
    let (good, bad) = outcomes(&evaluation);
    assert_eq!(good, ["good"]);
    assert_eq!(bad, ["fetch", "file", "flake", "path", "system", "time"]);
}

#[test]
fn a_dirty_tree_is_not_looked_at() {
    let world = World::new();
    let flake = world.commit("hydra");
    let before = world.evaluator.evaluate(&world.request(&flake)).unwrap();
    fs::write(world.path("hydra/flake.nix"), "not a flake").unwrap();
    fs::write(world.path("hydra/new"), "new").unwrap();
    assert_eq!(world.evaluator.evaluate(&world.request(&flake)).unwrap(), before);
}

#[test]
fn nothing_is_written_into_the_repository() {
    let world = World::new();
    let flake = world.commit("no-lock");
    assert!(world.evaluator.evaluate(&world.request(&flake)).is_err());
    assert_eq!(world.git(&flake.location, &["status", "--porcelain"]), "");
}

#[test]
fn confined_evaluation_sees_its_repository_only() {
    let mut world = World::new();
    world.evaluator.confinement = Confinement::detect(|name| std::env::var_os(name)).unwrap();
    let secret = world.commit_files("secret", &[("password", "hunter2")]);
    let expression = format!(
        r#"{{ outputs = _: {{ levainJobs = {{
             good = derivation {{ name = "good"; system = "x86_64-linux"; builder = "/bin/sh"; }};
             spy = derivation {{
               name = "spy"; system = "x86_64-linux"; builder = "/bin/sh";
               x = builtins.readFile ((builtins.fetchGit {{
                 url = "file://{}"; rev = "{}"; ref = "refs/heads/main";
               }}) + "/password");
             }};
           }}; }}; }}"#,
        secret.location.display(),
        secret.revision,
    );
    let flake = world.commit_files("spying", &[("flake.nix", &expression)]);
    let evaluation = world.evaluator.evaluate(&world.request(&flake)).unwrap();
    assert_eq!(outcomes(&evaluation), (vec!["good".to_owned()], vec!["spy".to_owned()]));

    // The same flake sees it when nothing keeps it from that.
    world.evaluator.confinement = Confinement::None;
    let evaluation = world.evaluator.evaluate(&world.request(&flake)).unwrap();
    assert_eq!(outcomes(&evaluation).0, ["good", "spy"]);
}

#[test]
fn confined_evaluation_sees_the_commit_wherever_its_objects_are() {
    let mut world = World::new();
    world.evaluator.confinement = Confinement::detect(|name| std::env::var_os(name)).unwrap();
    let owner = world.commit("hydra");
    let root = world.path("");
    world.git(&root, &["clone", "-q", "--shared", "hydra", "borrower"]);
    world.git(&root, &["clone", "-q", "--bare", "hydra", "bare"]);
    world.git(&root, &["clone", "-q", "--separate-git-dir", "elsewhere", "hydra", "separate"]);
    world.git(&owner.location, &["worktree", "add", "-q", "--detach", "../linked"]);
    for name in ["hydra", "borrower", "bare", "separate", "linked"] {
        let flake = LockedFlakeRef { location: world.path(name), ..owner.clone() };
        let evaluation = world.evaluator.evaluate(&world.request(&flake)).unwrap();
        assert_eq!(outcomes(&evaluation).0, ["build.x86_64-linux"], "{name}");
        let shallow = LockedFlakeRef { shallow: true, ..flake };
        let evaluation = world.evaluator.evaluate(&world.request(&shallow)).unwrap();
        assert_eq!(outcomes(&evaluation).0, ["build.x86_64-linux"], "{name}");
    }
}

#[test]
fn a_flake_knows_its_history_when_it_is_confined_too() {
    let mut world = World::new();
    let text = r#"{ outputs = { self }: { levainJobs.x = derivation {
      name = "x-${toString self.revCount}-${toString self.lastModified}-${self.rev}";
      system = "x86_64-linux"; builder = "/bin/sh"; }; }; }"#;
    world.commit_files("counted", &[("flake.nix", text)]);
    world.commit_files("counted", &[("other", "1")]);
    let flake = world.commit_files("counted", &[("other", "2")]);
    let open = world.evaluator.evaluate(&world.request(&flake)).unwrap();
    assert!(open.jobs[0].outcome.as_ref().unwrap().name.starts_with("x-3-"));
    world.evaluator.confinement = Confinement::detect(|name| std::env::var_os(name)).unwrap();
    world.evaluator.cache_dir = world.path("other-cache");
    assert_eq!(world.evaluator.evaluate(&world.request(&flake)).unwrap(), open);
}

#[test]
fn the_derivations_are_written() {
    let world = World::new();
    let flake = world.commit("nested");
    let evaluation = world.evaluator.evaluate(&world.request(&flake)).unwrap();
    let store = levain_store::Store::new(world.evaluator.store.clone());
    for job in evaluation.jobs {
        let job = job.outcome.unwrap();
        let derivation = store.read_derivation(&job.derivation).unwrap();
        let outputs = derivation.outputs.into_iter().map(|(name, output)| (name, output.path));
        let outputs: Vec<(String, Option<StorePath>)> = outputs.collect();
        let expected = job.outputs.into_iter().map(|(name, path)| (name, Some(path)));
        assert_eq!(outputs, expected.collect::<Vec<_>>());
        assert_eq!(derivation.system, job.system);
    }
}
