//! The shadow evaluation: what a flake makes of the two files that only the shadow commit has.

use std::fs;

use crate::environment::{Environment, Repository};
use crate::shadow::{EVERYWHERE, job};

/// A flake that knows by `commit.txt` that it is evaluated with caches: `shadow` is true then.
const FLAKE: &str = r#"{
  outputs = { self }:
    let
      levain = import ./lib;
      shadow = builtins.readFile ./commit.txt != "";
      say = word: "echo ${word} > $cache; echo ${word} $(/bin/cat $src/a.txt) > $out; exit 0";
      common = name: attributes: derivation ({
        inherit name;
        system = "x86_64-linux";
        builder = "/bin/sh";
        outputs = [ "out" "cache" ];
        src = ./src;
        previous = levain.cache ./cache.nix "x86_64-linux.${name}";
        args = [ "-c" (say "good") ];
      } // attributes);
    in {
      levainProject = levain.mkProject { incremental = @incremental@; };
      levainJobs.x86_64-linux = {
@jobs@      };
    };
}
"#;

fn repository<'a>(environment: &'a Environment, jobs: &[(&str, &str)]) -> Repository<'a> {
    let jobs: String =
        jobs.iter().map(|(name, value)| format!("      {name} = {value};\n")).collect();
    let repository = environment.repository("project");
    let flake = FLAKE.replace("@jobs@", &jobs).replace("@incremental@", EVERYWHERE);
    repository.write("flake.nix", &flake);
    for (path, text) in [
        ("commit.txt", ""),
        ("cache.nix", "null\n"),
        ("src/a.txt", "a\n"),
        ("evil/a.txt", "evil\n"),
        ("src/b.txt", "b\n"),
    ] {
        repository.write(path, text);
    }
    repository.commit("first");
    repository
}

#[test]
fn a_flake_that_gives_another_derivation_with_the_cache_is_built_from_its_base() {
    let environment = Environment::new();
    let evil = "args = [ \"-c\" (say (if shadow then \"evil\" else \"good\")) ];";
    let filter = "builtins.path { name = \"src\"; path = ./src; filter = path: type: !(shadow && baseNameOf path == \"b.txt\"); }";
    let deep = format!(
        "common \"deep\" {{ part = common \"part\" {{ {evil} src = ./evil; previous = null; }}; }}"
    );
    let args = format!("common \"args\" {{ {evil} }}");
    let source = "common \"source\" { src = if shadow then ./evil else ./src; }";
    let named = "common \"named\" { src = builtins.path { name = \"src\"; path = if shadow then ./evil else ./src; }; }";
    let filtered = format!("common \"filtered\" {{ src = {filter}; }}");
    let file = "common \"file\" { text = builtins.toFile \"mode\" (if shadow then \"evil\" else \"good\"); }";
    let more = "common \"more\" { outputs = [ \"out\" \"cache\" ] ++ (if shadow then [ \"evil\" ] else [ ]); }";
    let jobs = [
        ("args", args.as_str(), "args"),
        ("source", source, "source evil, source src, env src"),
        ("named", named, "source src, env src"),
        ("filtered", &filtered, "source src, env src"),
        ("file", file, "source mode, env text"),
        ("deep", &deep, "args of dependency `part`"),
        ("more", more, "outputs, env evil, env outputs"),
    ];
    let honest = ("honest", "common \"honest\" { }");
    let tree = "common \"tree\" { src = ./.; args = [ \"-c\" \"echo good > $cache; echo good $(/bin/cat $src/src/a.txt) > $out; exit 0\" ]; rev = self.rev; }";
    let tree = ("tree", format!("{tree} // {{ levain.ignoreEnv = [ \"rev\" ]; }}"));
    let written: Vec<(&str, &str)> = jobs
        .iter()
        .map(|(name, value, _)| (*name, *value))
        .chain([honest, (tree.0, &tree.1)])
        .collect();
    let repository = repository(&environment, &written);
    let first = repository.report(&[]);
    assert_eq!(first["counters"]["clean"], jobs.len() + 2, "{first:#}");
    repository.write("src/a.txt", "edit\n");
    repository.commit("edit");
    let report = repository.report(&[]);
    for name in ["honest", "tree"] {
        assert_eq!(job(&report, name)["status"], "incremental", "{:#}", job(&report, name));
    }
    for (name, _, parts) in jobs {
        let found = job(&report, name);
        assert_eq!(found["status"], "clean", "{found:#}");
        assert_eq!(found["reason"], "shadow-differs", "{found:#}");
        let mut expected: Vec<&str> = parts.split(", ").collect();
        let detail = found["reasonDetail"].as_str().unwrap();
        let mut differing: Vec<&str> =
            detail.strip_prefix("more than the cache differs: ").unwrap().split(", ").collect();
        expected.sort_unstable();
        differing.sort_unstable();
        assert_eq!(differing, expected, "{name}");
        assert_eq!(found["builtDrvPath"], found["baseDrvPath"]);
        let out = fs::read_to_string(found["outputs"]["out"].as_str().unwrap()).unwrap();
        assert_eq!(out, "good edit\n", "{name}");
    }
    // So nobody who has the same base derivation gets anything else.
    repository.git(&["checkout", "--quiet", "-b", "other"]);
    repository.git(&["commit", "--quiet", "--allow-empty", "-m", "nothing"]);
    let report = repository.report(&[]);
    let out = job(&report, "args")["outputs"]["out"].as_str().unwrap();
    assert_eq!(fs::read_to_string(out).unwrap(), "good edit\n", "{report:#}");
}

#[test]
fn a_tree_that_names_the_commit_it_is_from_is_not_taken_from_the_shadow_commit() {
    let environment = Environment::new();
    let say =
        "args = [ \"-c\" \"echo good > $cache; echo $(/bin/cat $src/version) > $out; exit 0\" ];";
    let tree = format!("common \"tree\" {{ src = self; {say} }}");
    let hidden = format!(
        "common \"hidden\" {{ src = builtins.unsafeDiscardStringContext self.outPath; {say} }} // {{ levain.ignoreEnv = [ \"src\" ]; }}"
    );
    let repository = repository(
        &environment,
        &[("tree", &tree), ("hidden", &hidden), ("part", "common \"part\" { }")],
    );
    repository.write(".gitattributes", "version export-subst\n");
    repository.write("version", "$Format:%s by %an$\n");
    repository.commit("second");
    repository.report(&[]);
    let unchanged = fs::read_to_string(repository.path.join("version")).unwrap();
    repository.write("src/a.txt", "edit\n");
    repository.commit("edit");
    let report = repository.report(&[]);
    assert_eq!(job(&report, "part")["status"], "incremental", "{report:#}");
    for name in ["tree", "hidden"] {
        let found = job(&report, name);
        let out = fs::read_to_string(found["outputs"]["out"].as_str().unwrap()).unwrap();
        // Not every Nix archives a commit as git does.
        if out != unchanged {
            assert!(out.starts_with("edit by "), "{out}");
            assert_eq!(found["status"], "clean", "{found:#}");
            assert_eq!(found["reason"], "shadow-differs", "{found:#}");
        }
    }
}
