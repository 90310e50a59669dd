//! Keys: what keeps a cache usable, what makes it unusable, and which cache a job takes.

use std::fs;

use serde_json::Value;

use crate::environment::{Environment, Repository};
use crate::shadow::{EVERYWHERE, attr_path, job, pointer};

/// Returns a flake with these jobs; each definition may use `levain`, `self` and `common`, which
/// makes a derivation with a cache output out of some attributes.
fn flake(jobs: &[(&str, &str)]) -> String {
    let jobs: String =
        jobs.iter().map(|(name, value)| format!("      {name} = {value};\n")).collect();
    FLAKE.replace("@jobs@", &jobs).replace("@incremental@", EVERYWHERE)
}

const FLAKE: &str = r#"{
  outputs = { self }:
    let
      levain = import ./lib;
      common = name: attributes: derivation ({
        inherit name;
        system = "x86_64-linux";
        builder = "/bin/sh";
        outputs = [ "out" "cache" ];
        previous = levain.cache ./cache.nix "x86_64-linux.${name}";
        args = [ "-c" "echo built > $cache; echo built > $out; exit 0" ];
      } // attributes);
    in {
      levainProject = levain.mkProject { incremental = @incremental@; };
      levainJobs.x86_64-linux = rec {
@jobs@      };
    };
}
"#;

fn repository<'a>(environment: &'a Environment, flake: &str) -> Repository<'a> {
    let repository = environment.repository("project");
    repository.write("flake.nix", flake);
    repository.write("src/a.txt", "a\n");
    repository
}

#[test]
fn editing_sources_keeps_the_key() {
    let environment = Environment::new();
    let ways = [
        ("tree", "common \"tree\" { src = ./.; }"),
        ("self-tree", "common \"self-tree\" { src = self; }"),
        ("folder", "common \"folder\" { src = ./src; }"),
        ("text", "common \"text\" { src = \"${./src}\"; }"),
        ("file", "common \"file\" { src = ./src/a.txt; }"),
        ("below-self", "common \"below-self\" { src = self + \"/src\"; }"),
        ("source", "common \"source\" { src = levain.source ./.; }"),
        ("source-self", "common \"source-self\" { src = levain.source self; }"),
        (
            "path",
            "common \"path\" { src = builtins.path { name = \"src\"; path = ./.; filter = p: t: baseNameOf p != \"cache.nix\" && baseNameOf p != \"commit.txt\"; }; }",
        ),
        (
            "filter-source",
            "common \"filter-source\" { src = builtins.filterSource (p: t: baseNameOf p != \"lib\") ./.; }",
        ),
    ];
    let repository = repository(&environment, &flake(&ways));
    repository.commit("first");
    let first = repository.report(&[]);
    assert_eq!(first["counters"]["clean"], ways.len(), "{first:#}");
    repository.write("src/a.txt", "edit\n");
    repository.commit("edit");
    let second = repository.report(&[]);
    for (name, _) in ways {
        assert_eq!(job(&second, name)["status"], "incremental", "{name}: {:#}", job(&second, name));
        assert_eq!(job(&first, name)["key"], job(&second, name)["key"], "{name}");
        assert_eq!(job(&second, name)["caches"][0]["path"], pointer(&first, name), "{name}");
    }
}

#[test]
fn a_script_of_the_tree_that_is_the_builder_is_a_recipe() {
    let environment = Environment::new();
    let ways = [("script", "common \"script\" { args = [ ./src/build.sh ]; }")];
    let repository = repository(&environment, &flake(&ways));
    let script = "echo built > $cache; echo built > $out; exit 0\n";
    repository.write("src/build.sh", script);
    repository.commit("first");
    let _first = repository.report(&[]);
    repository.write("src/build.sh", &format!(": edit\n{script}"));
    repository.commit("another recipe");
    let second = repository.report(&[]);
    let job = job(&second, "script");
    assert_eq!(job["status"], "clean", "{job:#}");
    assert_eq!(job["reason"], "key-changed");
    assert_eq!(job["reasonDetail"], "changed: args, source build.sh");
}

/// Requires that `levain why` names exactly these parts of the key, and returns them.
#[track_caller]
fn changes(repository: &Repository<'_>, name: &str, components: &[&str]) -> Vec<Value> {
    let why = repository.levain(&["why", &attr_path(name), "--format", "json"]).ok().json();
    assert_eq!(why["refusal"]["reason"], "key-changed", "{why:#}");
    let changes = why["keyChanges"].as_array().unwrap().clone();
    let named: Vec<&str> =
        changes.iter().map(|change| change["component"].as_str().unwrap()).collect();
    assert_eq!(named, components, "{why:#}");
    changes
}

#[test]
fn everything_that_is_not_source_changes_the_key() {
    let environment = Environment::new();
    let tool = |version: &str| {
        format!(
            "derivation {{ name = \"compiler\"; system = \"x86_64-linux\"; builder = \"/bin/sh\"; args = [ \"-c\" \"echo {version} > $out; exit 0\" ]; }}"
        )
    };
    let job_with = |attributes: &str| {
        flake(&[("app", &format!("common \"app\" ({{ src = ./src; }} // {attributes})"))])
    };
    let job_also = |attributes: &str| {
        flake(&[("app", &format!("common \"app\" {{ src = ./src; }} // {attributes}"))])
    };
    let with_tool = |version: &str| job_with(&format!("{{ CC = {}; }}", tool(version)));
    let from_store = |path: &str| {
        job_with(&format!(
            "{{ CC = builtins.appendContext \"{path}\" {{ \"{path}\".path = true; }}; }}"
        ))
    };
    fs::create_dir(environment.path("tools")).unwrap();
    let add = |text: &str| {
        let file = environment.path("tools/gcc");
        fs::write(&file, text).unwrap();
        let args = ["--add", file.to_str().unwrap()];
        environment
            .run("nix-store", &environment.path("tools"), &args)
            .ok()
            .stdout
            .trim()
            .to_owned()
    };
    let (gcc_1, gcc_2) = (add("one"), add("two"));
    let cases: [(String, String, &[&str]); 8] = [
        (with_tool("1"), with_tool("2"), &["env CC", "input compiler"]),
        (from_store(&gcc_1), from_store(&gcc_2), &["env CC", "source gcc"]),
        // Nix puts the builder into the environment too.
        (job_with("{ }"), job_with("{ builder = \"/bin/bash\"; }"), &["builder", "env builder"]),
        (job_with("{ CFLAGS = \"-O1\"; }"), job_with("{ CFLAGS = \"-O2\"; }"), &["env CFLAGS"]),
        (job_with("{ }"), job_with("{ NEW = \"1\"; }"), &["env NEW"]),
        (
            job_with("{ }"),
            job_with("{ args = [ \"-e\" \"-c\" \"echo 1 > $cache; echo 1 > $out; exit 0\" ]; }"),
            &["args"],
        ),
        (
            job_also("{ passthru.levain.key = 1; }"),
            job_also("{ passthru.levain.key = 2; }"),
            &["extra"],
        ),
        (
            job_also("{ levain.key = { rules = \"a\"; }; }"),
            job_also("{ levain.key = { rules = \"b\"; }; }"),
            &["extra"],
        ),
    ];
    let repository = repository(&environment, "");
    for (case, (before, after, components)) in cases.iter().enumerate() {
        repository.write("flake.nix", before);
        repository.write("src/a.txt", &format!("{case} before\n"));
        repository.commit("before");
        let report = repository.report(&[]);
        assert!(report["jobs"][0]["status"] != "failed", "{report:#}");
        repository.write("flake.nix", after);
        repository.write("src/a.txt", &format!("{case} after\n"));
        repository.commit("after");
        for change in changes(&repository, "app", components) {
            assert_ne!(change["before"], change["after"]);
        }
    }
}

#[test]
fn another_compiler_is_reported_by_why_and_run() {
    let environment = Environment::new();
    let with = |version: u32| {
        let tool = format!(
            "derivation {{ name = \"gcc-{version}\"; system = \"x86_64-linux\"; builder = \"/bin/sh\"; args = [ \"-c\" \"echo {version} > $out; exit 0\" ]; }}"
        );
        flake(&[("app", &format!("common \"app\" {{ src = ./src; CC = {tool}; }}"))])
    };
    let repository = repository(&environment, &with(12));
    repository.commit("first");
    let first = repository.report(&[]);
    repository.write("flake.nix", &with(13));
    repository.commit("another compiler");
    let changed = changes(&repository, "app", &["env CC", "input gcc-12", "input gcc-13"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    assert!(text(&changed[0]["before"]).ends_with("-gcc-12"), "{changed:#?}");
    assert!(text(&changed[0]["after"]).ends_with("-gcc-13"), "{changed:#?}");
    assert_eq!(changed[1]["after"], Value::Null);
    assert_eq!(changed[2]["before"], Value::Null);
    let shown = repository.levain(&["why", "x86_64-linux.app"]).ok().stdout;
    assert!(shown.contains("no cache: key-changed"), "{shown}");
    assert!(shown.contains("key changed: env CC\n  before: "), "{shown}");
    let report = repository.report(&[]);
    let app = job(&report, "app");
    assert_eq!((&app["status"], &app["reason"]), (&"clean".into(), &"key-changed".into()));
    assert_eq!(app["reasonDetail"], "changed: env CC, input gcc-12, input gcc-13");
    assert_ne!(app["key"], job(&first, "app")["key"]);
    // Back to the first compiler: the cache of that time has the right key again.
    repository.write("flake.nix", &with(12));
    repository.write("src/a.txt", "edit\n");
    repository.commit("the first compiler");
    let report = repository.report(&[]);
    let cache = &job(&report, "app")["caches"][0];
    assert_eq!(cache["path"], pointer(&first, "app"), "{report:#}");
    assert_eq!(cache["origin"], "ancestor");
}

#[test]
fn options_leave_parts_out_of_the_key() {
    let environment = Environment::new();
    let with = |version: u32| {
        let tool = format!(
            "derivation {{ name = \"gcc\"; system = \"x86_64-linux\"; builder = \"/bin/sh\"; args = [ \"-c\" \"echo {version} > $out; exit 0\" ]; }}"
        );
        flake(&[
            (
                "ignoring",
                &format!(
                    "common \"ignoring\" {{ src = ./src; VERSION = {version}; }} // {{ passthru.levain.ignoreEnv = [ \"VERSION\" ]; }}"
                ),
            ),
            (
                "masking",
                &format!(
                    "common \"masking\" {{ src = ./src; CC = {tool}; }} // {{ levain.maskInputs = [ \"gcc\" ]; }}"
                ),
            ),
        ])
    };
    let repository = repository(&environment, &with(1));
    repository.commit("first");
    let first = repository.report(&[]);
    repository.write("flake.nix", &with(2));
    repository.commit("second");
    let second = repository.report(&[]);
    for name in ["ignoring", "masking"] {
        assert_eq!(job(&second, name)["status"], "incremental", "{second:#}");
        assert_eq!(job(&second, name)["key"], job(&first, name)["key"]);
    }
}

#[test]
fn a_job_without_a_cache_output_is_built_clean() {
    let environment = Environment::new();
    let args = "args = [ \"-c\" \"echo built > $out; exit 0\" ]";
    let named = "args = [ \"-c\" \"echo built > $intermediates; echo built > $out; exit 0\" ]";
    let repository = repository(
        &environment,
        &flake(&[
            (
                "plain",
                &format!("common \"plain\" {{ src = ./src; outputs = [ \"out\" ]; {args}; }}"),
            ),
            (
                "garnix",
                &format!(
                    "common \"garnix\" {{ src = ./src; outputs = [ \"out\" \"intermediates\" ]; {named}; }}"
                ),
            ),
        ]),
    );
    repository.commit("first");
    let _first = repository.report(&[]);
    repository.write("src/a.txt", "edit\n");
    repository.commit("edit");
    let report = repository.report(&[]);
    let plain = job(&report, "plain");
    assert_eq!((&plain["status"], &plain["reason"]), (&"clean".into(), &Value::Null));
    assert_eq!(plain["pointer"], Value::Null);
    assert_eq!(plain["key"], Value::Null);
    assert_eq!(job(&report, "garnix")["status"], "incremental", "{report:#}");
    assert_eq!(
        repository.entries("heads/main").into_keys().collect::<Vec<_>>(),
        ["x86_64-linux.garnix"]
    );
}

#[test]
fn a_job_that_ignores_its_cache_is_built_from_its_base_derivation() {
    let environment = Environment::new();
    let ignoring = "common \"app\" { src = ./src; previous = null; }";
    let whole = "common \"whole\" { src = ./.; previous = null; }";
    let repository = repository(&environment, &flake(&[("app", ignoring), ("whole", whole)]));
    repository.commit("first");
    let _first = repository.report(&[]);
    repository.write("src/a.txt", "edit\n");
    repository.commit("edit");
    let report = repository.report(&[]);
    for name in ["app", "whole"] {
        let found = job(&report, name);
        assert_eq!((&found["status"], &found["reason"]), (&"clean".into(), &"disabled".into()));
        let detail = found["reasonDetail"].as_str().unwrap();
        assert!(detail.contains("does not use its cache"), "{detail}");
        assert_eq!(found["builtDrvPath"], found["baseDrvPath"]);
    }
}

#[test]
fn a_job_that_takes_another_jobs_cache_is_incremental() {
    let environment = Environment::new();
    let taking = "common \"taking\" { src = ./src; previous = levain.cache ./cache.nix \"x86_64-linux.giving\"; }";
    let repository = repository(
        &environment,
        &flake(&[("giving", "common \"giving\" { src = ./src; }"), ("taking", taking)]),
    );
    repository.commit("first");
    let first = repository.report(&[]);
    repository.write("src/a.txt", "edit\n");
    repository.commit("edit");
    let report = repository.report(&[]);
    for name in ["giving", "taking"] {
        let found = job(&report, name);
        assert_eq!(found["status"], "incremental", "{report:#}");
        assert_eq!(found["caches"].as_array().unwrap().len(), 1);
        assert_eq!(found["caches"][0]["path"], pointer(&first, "giving"));
        assert_ne!(found["builtDrvPath"], found["baseDrvPath"]);
    }
    assert_eq!(repository.entry("heads/main", "taking").depth, 1);
}

#[test]
fn jobs_may_share_one_derivation() {
    let environment = Environment::new();
    let repository = repository(
        &environment,
        &flake(&[("one", "common \"one\" { src = ./src; }"), ("two", "one")]),
    );
    repository.commit("first");
    let first = repository.report(&[]);
    assert_eq!(job(&first, "one")["builtDrvPath"], job(&first, "two")["builtDrvPath"]);
    assert_eq!(pointer(&first, "one"), pointer(&first, "two"));
    repository.write("src/a.txt", "edit\n");
    repository.commit("edit");
    let report = repository.report(&[]);
    assert_eq!(report["counters"]["incremental"], 2, "{report:#}");
    let entries = repository.entries("heads/main");
    assert_eq!(entries["x86_64-linux.one"].path, entries["x86_64-linux.two"].path);
}

#[test]
fn a_job_may_depend_on_another_job() {
    let environment = Environment::new();
    let library = "common \"library\" { src = ./src; }";
    let app = "common \"app\" { src = ./app; inherit library; }";
    let repository = repository(&environment, &flake(&[("library", library), ("app", app)]));
    repository.write("app/main.txt", "main\n");
    repository.commit("first");
    let first = repository.report(&[]);
    assert_eq!(first["counters"]["clean"], 2);
    // The library is fresh: the job on top of it links the very library that was built.
    repository.write("app/main.txt", "edit\n");
    repository.commit("edit the app");
    let report = repository.report(&[]);
    assert_eq!(job(&report, "library")["status"], "fresh", "{report:#}");
    assert_eq!(job(&report, "app")["status"], "incremental", "{report:#}");
    let show = |drv: &Value| {
        let args = ["-q", "--references", drv.as_str().unwrap()];
        environment.run("nix-store", &repository.path, &args).ok().stdout
    };
    let library = job(&first, "library")["builtDrvPath"].as_str().unwrap().to_owned();
    assert!(show(&job(&report, "app")["builtDrvPath"]).contains(&library));
    // Both change: each starts from its own cache, and the app from the new library.
    repository.write("src/a.txt", "edit\n");
    repository.write("app/main.txt", "again\n");
    repository.commit("edit both");
    let report = repository.report(&[]);
    let both = [job(&report, "library"), job(&report, "app")];
    assert_eq!(both[0]["status"], "incremental", "{report:#}");
    let library = both[0]["builtDrvPath"].as_str().unwrap();
    // The app's own cache has another key now, but the library below it is built from a cache: so
    // the shadow derivation is what is built, and that is what the report says.
    let app = both[1];
    assert_eq!(app["status"], "incremental", "{report:#}");
    assert_eq!(app["caches"].as_array().unwrap().len(), 1, "{report:#}");
    assert_eq!(app["caches"][0]["path"], both[0]["caches"][0]["path"]);
    assert!(show(&app["builtDrvPath"]).contains(library));
}
