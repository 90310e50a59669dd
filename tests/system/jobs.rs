//! Jobs: what of a flake is built, under which names, and what happens beside
//! an error; and that anyone gets the same jobs from the same inputs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::bad_input::incremental;
use crate::environment::{Environment, Ran, Repository};

/// A flake with these outputs. They may call `job NAME`, a derivation with one output.
pub(crate) fn simple(outputs: &str) -> String {
    SIMPLE.replace("@outputs@", outputs)
}

const SIMPLE: &str = r#"{
  outputs = { self }:
    let
      job = name: derivation {
        inherit name;
        system = "x86_64-linux";
        builder = "/bin/sh";
        args = [ "-c" "echo ${name} > $out; exit 0" ];
      };
    in {
      @outputs@
    };
}
"#;

/// Commits a flake with these outputs, and returns the report of its run.
#[track_caller]
fn report(repository: &Repository<'_>, outputs: &str) -> Value {
    repository.write("flake.nix", &simple(outputs));
    repository.commit(outputs);
    repository.report(&[])
}

/// Returns how each job of a report ended.
pub(crate) fn ended(report: &Value) -> BTreeMap<&str, &str> {
    let jobs = report["jobs"].as_array().unwrap().iter();
    jobs.map(|job| (job["attrPath"].as_str().unwrap(), job["status"].as_str().unwrap())).collect()
}

/// Returns what a report says about a job.
#[track_caller]
pub(crate) fn job<'a>(report: &'a Value, attr_path: &str) -> &'a Value {
    let mut jobs = report["jobs"].as_array().unwrap().iter();
    jobs.find(|job| job["attrPath"] == attr_path).unwrap()
}

#[test]
fn the_outputs_that_name_jobs() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    // Nothing of levain's is needed.
    fs::remove_dir_all(repository.path.join("lib")).unwrap();
    for file in ["cache.nix", "commit.txt"] {
        fs::remove_file(repository.path.join(file)).unwrap();
    }
    let checks = "checks.x86_64-linux.lint = job \"lint\";
                  checks.aarch64-linux.lint = job \"other\";
                  packages.x86_64-linux = { default = job \"app\"; docs.html = job \"html\"; };";
    let found = report(&repository, checks);
    let docs = "packages.x86_64-linux.docs";
    assert_eq!(
        ended(&found),
        BTreeMap::from([
            ("checks.x86_64-linux.lint", "clean"),
            ("packages.x86_64-linux.default", "clean"),
            // Nix itself looks no deeper into packages.
            (docs, "error"),
        ]),
        "{found:#}"
    );
    let error = job(&found, docs)["error"].as_str().unwrap();
    assert!(error.contains("hint: set `recurseForDerivations` in it"), "{error}");

    let hydra = format!("hydraJobs.a.b = job \"app\"; {checks}");
    let found = report(&repository, &hydra);
    assert_eq!(ended(&found), [("a.b", "fresh")].into());

    // What plain Nix has built already needs no building, either.
    nix(&repository, &["build", "--no-link", ".#hydraJobs.a.b"]);
    fs::remove_dir_all(repository.path.join(".git/levain")).unwrap();
    let found = repository.report(&[]);
    assert_eq!(ended(&found), [("a.b", "fresh")].into());
    let out = job(&found, "a.b")["outputs"]["out"].as_str().unwrap();
    assert_eq!(fs::read_to_string(out).unwrap(), "app\n");

    let found = report(&repository, &format!("levainJobs.c = job \"c\"; {hydra}"));
    assert_eq!(ended(&found), [("c", "clean")].into());
}

#[test]
fn nested_sets_odd_names_and_several_outputs() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    let found = report(
        &repository,
        r#"levainJobs = {
          "a b"."c.d".${"e\"f"} = job "odd";
          "dollar$" = job "odd";
          "été" = job "odd";
          empty = { };
          hidden = { recurseForDerivations = false; inner = throw "not looked at"; };
          many = derivation {
            name = "many"; system = "x86_64-linux"; builder = "/bin/sh"; outputs = [ "dev" "out" "doc" ];
            args = [ "-c" "for o in $dev $out $doc; do echo $o > $o; done; exit 0" ];
          };
        };"#,
    );
    let odd = ["\"a b\".\"c.d\".\"e\\\"f\"", "\"dollar\\$\"", "\"été\""];
    let mut expected: BTreeMap<&str, &str> = odd.map(|name| (name, "clean")).into();
    expected.insert("many", "clean");
    assert_eq!(ended(&found), expected, "{found:#}");
    let built = job(&found, odd[0])["builtDrvPath"].clone();
    for name in odd {
        assert_eq!(job(&found, name)["builtDrvPath"], built, "three jobs, one derivation");
    }
    let outputs = job(&found, "many")["outputs"].as_object().unwrap();
    assert_eq!(outputs.keys().collect::<Vec<_>>(), ["dev", "doc", "out"]);
    for path in outputs.values() {
        let path = path.as_str().unwrap();
        assert_eq!(fs::read_to_string(path).unwrap().trim_end(), path);
    }
    // As they are printed, names can be typed in again.
    repository.levain(&["why", odd[0]]).ok();
}

#[test]
fn several_systems() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    let found = report(
        &repository,
        r#"levainJobs = {
          x86_64-linux.app = job "app";
          aarch64-linux.app = derivation {
            name = "app"; system = "aarch64-linux"; builder = "/bin/sh";
          };
          aarch64-linux.uses = derivation {
            name = "uses"; system = "x86_64-linux"; builder = "/bin/sh";
            args = [ "-c" "echo ${self.levainJobs.aarch64-linux.app}; exit 0" ];
          };
        };"#,
    );
    let expected = [
        ("aarch64-linux.app", "skipped"),
        ("aarch64-linux.uses", "skipped"),
        ("x86_64-linux.app", "clean"),
    ];
    assert_eq!(ended(&found), expected.into(), "{found:#}");
    assert_eq!(job(&found, "aarch64-linux.app")["skipped"], "no builder for aarch64-linux");
    assert_eq!(
        job(&found, "aarch64-linux.uses")["skipped"],
        "no builder for aarch64-linux, which dependency `app` needs"
    );
    assert_eq!(found["counters"]["skipped"], 2);
    // Nothing is wrong.
    let ran = repository.levain(&["run"]).ok();
    assert!(ran.stdout.contains("skipped (no builder for aarch64-linux)"), "{}", ran.stdout);
    assert_eq!(found["counters"]["clean"], 1);
}

#[test]
fn errors_of_every_kind_leave_the_others_alone() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    let found = report(
        &repository,
        r#"levainJobs = {
          a-good = job "a";
          abort = abort "aborted here";
          asserted = assert false; job "x";
          attribute = self.no.such.attribute;
          deep = let set = { inner = set; }; in set;
          import = import (job "x");
          infinite = let x = x; in x;
          leaf = "a text";
          levain = job "x" // { levain.kei = "7"; };
          m-good = job "m";
          name = derivation { name = "no/name"; system = "x86_64-linux"; builder = "/bin/sh"; };
          partly.bad = throw "thrown inside";
          partly.good = job "p";
          set = throw "thrown outside";
          type = job ("x" + 1);
          z-good = job "z";
        };"#,
    );
    let mut words = BTreeMap::from([
        ("abort", "aborted here"),
        ("asserted", "assertion"),
        ("attribute", "attribute 'no' missing"),
        ("import", "hint: set `evaluation.allowImportFromDerivation = true`"),
        ("infinite", "infinite recursion encountered"),
        ("leaf", "expected a derivation, found a string"),
        ("name", "no/name"),
        ("partly.bad", "thrown inside"),
        ("set", "thrown outside"),
        ("type", "cannot coerce"),
    ]);
    let deep = format!("deep{}", ".inner".repeat(15));
    words.insert(&deep, "attribute sets nest deeper than 16");
    // What is wrong in `levain` costs no job: it is built, as if nothing stood there.
    let good = ["a-good", "levain", "m-good", "partly.good", "z-good"];
    let errors = words.keys().map(|name| (*name, "error"));
    let expected = errors.chain(good.map(|name| (name, "clean"))).collect();
    assert_eq!(ended(&found), expected, "{found:#}");
    for (name, words) in words {
        let error = job(&found, name)["error"].as_str().unwrap();
        assert!(error.contains(words), "{name}: {error}");
        assert!(!error.contains("«string»"), "{name}: {error}");
    }
}

#[test]
fn a_failing_build_leaves_the_others_alone() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    let outputs = r#"levainJobs = let
        script = name: text: derivation {
          inherit name; system = "x86_64-linux"; builder = "/bin/sh";
          args = [ "-c" "${text}; exit 0" ];
        };
        bad = script "bad" "echo burnt; exit 3";
      in {
        inherit bad;
        needs-bad = script "needs-bad" "echo ${bad} > $out";
        no-output = script "no-output" "true";
        good = job "good";
      };"#;
    let found = report(&repository, outputs);
    let expected =
        [("bad", "failed"), ("good", "clean"), ("needs-bad", "failed"), ("no-output", "failed")];
    assert_eq!(ended(&found), expected.into(), "{found:#}");
    // The log that explains the failure is that of the dependency.
    assert_eq!(job(&found, "needs-bad")["lastLines"], json!(["burnt"]));
    let log = job(&found, "bad")["log"].as_str().unwrap();
    assert_eq!(fs::read_to_string(log).unwrap(), "burnt\n");
    assert_eq!(repository.report(&[])["counters"]["failed"], 3, "tried again");
}

/// Returns the locked jobset of a ref.
fn locked(path: &Path, reference: &str, commit: &str) -> String {
    format!("git+file://{}?ref={reference}&rev={commit}", path.display())
}

/// Runs plain Nix in a repository.
#[track_caller]
fn nix(repository: &Repository<'_>, args: &[&str]) -> String {
    let ran = repository.environment.run("nix", &repository.path, args).ok();
    ran.stdout.trim_end().to_owned()
}

#[test]
fn plain_nix_repeats_what_was_built() {
    let environment = Environment::new();
    let repository = incremental(&environment, "");
    repository.report(&[]);
    repository.write("src/a.txt", "A\n");
    let original = repository.commit("second");
    let found = repository.report(&[]);
    let built = job(&found, "x86_64-linux.app");
    assert_eq!(built["status"], "incremental", "{found:#}");
    assert_ne!(built["builtDrvPath"], built["baseDrvPath"]);

    let shadow = &found["shadow"];
    let reference = shadow["ref"].as_str().unwrap();
    assert_eq!(reference, "refs/levain/heads/main");
    let evaluated = shadow["evaluated"].as_str().unwrap();
    let attribute = |commit: &str, reference: &str| {
        format!("{}#levainJobs.x86_64-linux.app", locked(&repository.path, reference, commit))
    };
    let incremental = attribute(evaluated, reference);
    let derivation = nix(&repository, &["eval", "--raw", &format!("{incremental}.drvPath")]);
    assert_eq!(built["builtDrvPath"], derivation.as_str());
    let clean = attribute(&original, "refs/heads/main");
    let derivation = nix(&repository, &["eval", "--raw", &format!("{clean}.drvPath")]);
    assert_eq!(built["baseDrvPath"], derivation.as_str());

    for output in ["out", "cache"] {
        let path = nix(&repository, &["eval", "--raw", &format!("{incremental}.{output}")]);
        assert_eq!(built["outputs"][output], path.as_str());
    }
    let log = built["log"].as_str().unwrap();
    fs::remove_file(log).unwrap();
    nix(&repository, &["build", "--no-link", &incremental]);
    // The very same is in the store already. In an empty one it would be built from the cache.
    let out = built["outputs"]["out"].as_str().unwrap();
    nix(&repository, &["build", "--no-link", "--rebuild", &incremental]);
    assert_eq!(fs::read_to_string(out).unwrap(), "A\n");

    // The same, by levain: the original commit with the pointer of the shadow commit.
    let pointer = repository.git(&["show", &format!("{evaluated}:cache.nix")]);
    let file = environment.path("pointer.nix");
    fs::write(&file, format!("{pointer}\n")).unwrap();
    let jobset = locked(&repository.path, "refs/heads/main", &original);
    let file = file.display().to_string();
    let eval = |args: &[&str]| repository.levain(args).ok().json();
    let from_pointer = eval(&["eval", "--jobset", &jobset, "--cache-pointer", &file]);
    assert_eq!(from_pointer["jobs"][0]["outputs"]["out"], built["outputs"]["out"]);
    assert_eq!(from_pointer["jobs"][0]["drvPath"], built["builtDrvPath"], "{from_pointer:#}");
    let shadow = locked(&repository.path, reference, evaluated);
    let as_it_is = eval(&["eval", "--jobset", &shadow, "--cache-pointer", &file]);
    assert_eq!(as_it_is["jobs"], from_pointer["jobs"]);
    let null = eval(&["eval", "--jobset", &jobset]);
    assert_eq!(null["jobs"][0]["drvPath"], built["baseDrvPath"]);
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    repository.write(
        "flake.nix",
        &simple("levainJobs = { a = job \"a\"; b.c = job \"c\"; bad = throw \"bad\"; };"),
    );
    let commit = repository.commit("first");
    let clone = environment.path("elsewhere/clone");
    repository.git(&["clone", "--quiet", ".", &clone.display().to_string()]);
    let bare = environment.path("bare.git");
    repository.git(&["clone", "--quiet", "--bare", ".", &bare.display().to_string()]);

    let eval = |path: &Path, root: Option<&str>| {
        let jobset = locked(path, "refs/heads/main", &commit);
        let mut command = environment.levain_command(path, &["eval", "--jobset", &jobset]);
        if let Some(root) = root {
            for variable in ["NIX_STORE_DIR", "NIX_STATE_DIR", "NIX_LOG_DIR"] {
                command.env_remove(variable);
            }
            let root = environment.path(root);
            fs::create_dir_all(&root).unwrap();
            command.env("NIX_REMOTE", format!("local?root={}", root.display()));
        }
        Ran::from(command.output().unwrap()).ok().stdout
    };
    let first = eval(&repository.path, None);
    for path in [&repository.path, &clone, &bare] {
        assert_eq!(eval(path, None), first);
    }
    // Two stores that name their paths alike.
    let default = eval(&repository.path, Some("root-1"));
    assert!(default.contains("\"drvPath\": \"/nix/store/"), "{default}");
    assert_eq!(eval(&clone, Some("root-2")), default);
    assert_eq!(eval(&repository.path, Some("root-1")), default);
    assert_eq!(eval(&repository.path, None), first, "the stores do not disturb each other");
}
