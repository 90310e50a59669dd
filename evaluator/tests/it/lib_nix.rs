//! The Nix library in `lib/`, used as a flake uses it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use levain_evaluator::{
    Data, Entry, JobErrorKind, JobEvaluator as _, Limits, LockedFlakeRef, Pointer, Tier,
};
use levain_store::{Derivation, Store, StorePath};
use serde_json::{Value, json};

use crate::support::{World, outcomes, text};

pub(crate) fn library() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../lib"))
}

/// Returns the value of an expression in which `lib` is the library, or Nix's message.
pub(crate) fn evaluate(world: &World, expression: &str) -> Result<Value, String> {
    let expression = format!("let lib = import {}; in {expression}", library().display());
    let output = world.nix("nix", &["eval", "--impure", "--json", "--expr", &expression]);
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).unwrap())
    } else {
        Err(text(&output.stderr))
    }
}

/// Commits a flake that has the library beside its own files.
fn commit(world: &World, name: &str, files: &[(&str, &str)]) -> LockedFlakeRef {
    copy_tree(library(), &world.path(name).join("levain"));
    world.commit_files(name, files)
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Puts a file into the world's store.
pub(crate) fn add(world: &World, name: &str) -> StorePath {
    let file = world.path("added").join(name);
    fs::create_dir_all(world.path("added")).unwrap();
    fs::write(&file, name).unwrap();
    let output = world.nix("nix-store", &["--add", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    world.evaluator.store.dir.parse(text(&output.stdout).trim()).unwrap()
}

pub(crate) fn entry(path: &StorePath) -> Entry {
    Entry {
        path: path.clone(),
        nar_hash: levain_store::NarHash::of(b""),
        key: "ab".repeat(32).parse().unwrap(),
        depth: 1,
        commit: "0".repeat(40),
        time: 1,
        tier: Tier::Branch,
        maker: None,
        unused: None,
    }
}

const FLAKE: &str = r#"
  { outputs = { self }:
    let
      lib = import ./levain;
      derive = attrs: derivation ({
        name = "job"; system = "x86_64-linux"; builder = "/bin/sh";
        args = [ "-c" "echo > $out; exit 0" ];
      } // attrs);
    in
    {
      levainJobs = {
        hello = derive { cache = lib.cache ./cache.nix "hello"; };
        "odd name" = derive { cache = lib.cache ./cache.nix "\"odd name\""; };
        source = derive { src = lib.source ./.; };
        named = derive { src = lib.source { path = ./.; name = "mine"; files = [ "cache.nix" ]; }; };
        self = derive { src = lib.source self; };
        whole = derive { src = ./.; };
      };
      levainProject = lib.mkProject { incremental.enable = true; };
    };
  }"#;

/// Returns the derivations of all jobs.
fn derivations(world: &World, flake: &LockedFlakeRef) -> BTreeMap<String, Derivation> {
    let evaluation = world.evaluator.evaluate(&world.request(flake)).unwrap();
    assert_eq!(outcomes(&evaluation).1, Vec::<String>::new());
    let store = Store::new(world.evaluator.store.clone());
    let jobs = evaluation.jobs.into_iter().map(|job| {
        let derivation = store.read_derivation(&job.outcome.unwrap().derivation).unwrap();
        (job.attr_path.to_string(), derivation)
    });
    jobs.collect()
}

#[test]
fn a_cache_is_an_input_of_its_job() {
    let world = World::new();
    let (cache, odd) = (add(&world, "cache"), add(&world, "odd"));
    let pointer = Pointer::Entries(BTreeMap::from([
        ("hello".into(), Ok(entry(&cache))),
        ("\"odd name\"".into(), Ok(entry(&odd))),
        ("absent".into(), Ok(entry(&odd))),
    ]));
    let pointer = pointer.print(&world.evaluator.store.dir);
    let flake = commit(&world, "warm", &[("flake.nix", FLAKE), ("cache.nix", &pointer)]);
    let jobs = derivations(&world, &flake);
    for (job, cache) in [("hello", &cache), ("\"odd name\"", &odd)] {
        assert!(jobs[job].input_sources.contains(cache), "{:?}", jobs[job]);
        let path = world.evaluator.store.dir.display(cache);
        assert_eq!(jobs[job].env("cache"), Some(path.as_bytes()));
    }
    assert!(!jobs["source"].input_sources.contains(&cache));
}

#[test]
fn a_cache_that_is_gone_is_an_error_of_its_job_alone() {
    let world = World::new();
    let gone: StorePath = "00000000000000000000000000000000-cache".parse().unwrap();
    let pointer = Pointer::Entries(BTreeMap::from([("hello".into(), Ok(entry(&gone)))]));
    let pointer = pointer.print(&world.evaluator.store.dir);
    let flake = commit(&world, "gone", &[("flake.nix", FLAKE), ("cache.nix", &pointer)]);
    let evaluation = world.evaluator.evaluate(&world.request(&flake)).unwrap();
    assert_eq!(outcomes(&evaluation).1, ["hello"]);
    let error = evaluation.jobs[0].outcome.as_ref().unwrap_err();
    // It may come back, so it is not remembered.
    assert_eq!(error.kind, JobErrorKind::Machine);
    // In the words of Nix up to 2.33, and from 2.34 on.
    let says = ["does not exist", "is required, but there is no substituter"];
    assert!(says.iter().any(|words| error.message.contains(words)), "{error}");
}

#[test]
fn sources_do_not_depend_on_the_two_files() {
    let world = World::new();
    let files = [("flake.nix", FLAKE), ("cache.nix", "null"), ("commit.txt", ""), ("a.c", "x")];
    let clean = derivations(&world, &commit(&world, "clean", &files));
    let path = add(&world, "cache");
    let pointer = Pointer::Entries(BTreeMap::from([("hello".into(), Ok(entry(&path)))]));
    let pointer = pointer.print(&world.evaluator.store.dir);
    let files = [
        ("flake.nix", FLAKE),
        ("cache.nix", pointer.as_str()),
        ("commit.txt", "0000000000000000000000000000000000000000\n"),
        ("a.c", "x"),
    ];
    let shadow = derivations(&world, &commit(&world, "shadow", &files));
    assert_eq!(clean["source"], shadow["source"]);
    assert_eq!(clean["self"], shadow["self"]);
    assert_eq!(clean["source"], clean["self"]);
    // This one leaves out only `cache.nix`, and the other one nothing.
    assert_ne!(clean["named"], shadow["named"]);
    assert_ne!(clean["whole"], shadow["whole"]);
    assert_ne!(clean["hello"], shadow["hello"]);

    let name = |job: &str| clean[job].input_sources.first().unwrap().name().to_owned();
    assert_eq!((name("source"), name("named")), ("source".to_owned(), "mine".to_owned()));
    let source = clean["source"].input_sources.first().unwrap();
    let real = Store::new(world.evaluator.store.clone()).real_path(source);
    let mut names: Vec<_> = fs::read_dir(real)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["a.c", "flake.nix", "levain"]);
}

#[test]
fn a_job_without_a_usable_entry_has_no_cache() {
    let world = World::new();
    let path = add(&world, "cache");
    let unused = Entry { unused: Some("key-changed".to_owned()), ..entry(&path) };
    let dir = &world.evaluator.store.dir;
    let entries = Pointer::Entries(BTreeMap::from([("job".into(), Ok(unused))])).print(dir);
    for pointer in ["null", "{ }", "{ other = 1; }", &entries] {
        let file = world.path("cache.nix");
        fs::write(&file, pointer).unwrap();
        let expression = format!("lib.cache {} \"job\"", file.display());
        assert_eq!(evaluate(&world, &expression), Ok(Value::Null), "{pointer}");
    }
    let expression = format!("lib.cache {} \"job\"", world.path("absent.nix").display());
    assert_eq!(evaluate(&world, &expression), Ok(Value::Null));

    let bare = world.path("bare.nix");
    fs::write(&bare, Data::from(dir.display(&path)).print()).unwrap();
    let expression = format!(
        "let p = lib.cache {} \"job\"; in [ p (builtins.attrNames (builtins.getContext p)) ]",
        bare.display()
    );
    let printed = dir.display(&path);
    assert_eq!(evaluate(&world, &expression), Ok(json!([printed, [printed]])));
}

#[test]
fn a_malformed_entry_is_an_error_that_names_the_job() {
    let world = World::new();
    for (pointer, expected) in [
        ("{ job = 1; }", "expected an attribute set, found an integer"),
        ("{ job = { }; }", "attribute `path` is missing"),
        ("{ job.path = 1; }", "expected `path` to be a string, found an integer"),
        ("{ job.path = \"/etc/passwd\"; }", "expected `path` to be a store path"),
        ("[ ]", "expected null, a store path or an attribute set"),
        ("\"x\"", "expected `path` to be a store path, found `x`"),
    ] {
        let file = world.path("cache.nix");
        fs::write(&file, pointer).unwrap();
        let expression = format!("lib.cache {} \"job\"", file.display());
        let error = evaluate(&world, &expression).unwrap_err();
        assert!(error.contains("`cache.nix`, job `job`: "), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_declaration_has_what_was_given_and_nothing_else() {
    let world = World::new();
    let given = r#"{
        incremental = {
          enable = true; defaultBranch = false; pullRequests = true; branches = [ "*" ];
          depthLimit = 50; maxAgeDays = 30; cacheOutput = "cache";
        };
        files = { pointer = "cache.nix"; commit = "commit.txt"; };
        shadow = { ref = "refs/levain/{{jobset}}"; message = "x"; push = true; };
        evaluation.allowImportFromDerivation = false;
        forge = { kind = "gitea"; apiUrl = "https://example.org"; repository = "a/b"; };
        status = { failure = "it failed"; summarySuccess = "all of it"; };
    }"#;
    let checked = evaluate(&world, &format!("lib.mkProject {given}")).unwrap();
    assert_eq!(checked, evaluate(&world, given).unwrap());
    assert_eq!(evaluate(&world, "lib.mkProject { }"), Ok(json!({})));

    let flake = commit(&world, "declared", &[("flake.nix", FLAKE)]);
    let declaration = world.evaluator.declaration(&flake, &Limits::default()).unwrap();
    assert_eq!(declaration, Some(json!({ "incremental": { "enable": true } })));
}

#[test]
fn a_wrong_declaration_is_an_error_that_names_the_key() {
    let world = World::new();
    for (declaration, expected) in [
        (
            "{ incremental.depthLimit = \"5\"; }",
            "levainProject.incremental.depthLimit: expected an integer, found a string",
        ),
        ("{ incremental.depthLimit = -1; }", "incremental.depthLimit: expected an integer of at"),
        ("{ incremental.enable = 1; }", "incremental.enable: expected a boolean, found an integer"),
        ("{ incremental.branches = \"*\"; }", "expected a list of strings, found a string"),
        ("{ incremental.branches = [ null ]; }", "expected a list of strings, found null in it"),
        ("{ incremental = true; }", "levainProject.incremental: expected an attribute set"),
        ("{ incremental.depth = 5; }", "levainProject.incremental.depth: unknown key, expected"),
        ("{ increment.enable = true; }", "levainProject.increment: unknown key, expected one of"),
        ("{ forge = { }; }", "levainProject.forge.kind: missing"),
        ("{ forge.kind = \"svn\"; }", "forge.kind: expected one of `github`, `gitlab`, `gitea`"),
        ("{ forge.kind = 1; }", "forge.kind: expected one of `github`, `gitlab`"),
        ("{ status.success = \"x\"; }", "levainProject.status.success: unknown key"),
        ("{ shadow.push = \"no\"; }", "levainProject.shadow.push: expected a boolean"),
        ("[ ]", "levainProject: expected an attribute set, found a list"),
    ] {
        // Even when only another key is read.
        let expression = format!("(lib.mkProject {declaration}).files or 1");
        let error = evaluate(&world, &expression).expect_err(declaration);
        assert!(error.contains(expected), "{declaration}: {error}");
    }
}

#[test]
fn the_flake_has_the_library() {
    let world = World::new();
    let flake = library().join("../flake.nix");
    let expression = format!(
        "let flake = import {}; in [ (flake ? inputs) (builtins.attrNames (flake.outputs {{ }}).lib) ]",
        flake.display()
    );
    let expected = json!([false, ["cache", "incremental", "mkProject", "settings", "source"]]);
    assert_eq!(evaluate(&world, &expression), Ok(expected));
}
