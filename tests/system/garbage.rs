//! Garbage collection: what pointers name stays, what none names goes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::environment::{Environment, Repository};
use crate::incremental::tool;
use crate::shadow::{Started, job, pointer};

const BRANCH: &str = "heads/main";

/// Incremental mode everywhere; outputs are left to the garbage collector.
const ONLY_CACHES: &str = "{ enable = true; defaultBranch = true; }; outputs.keep = 0";

fn store_paths(environment: &Environment) -> BTreeSet<String> {
    let paths = fs::read_dir(environment.path("store")).unwrap();
    paths
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.') && !name.ends_with(".lock"))
        .collect()
}

fn edit(repository: &Repository<'_>, text: &str) -> String {
    repository.write("src/app/main.txt", text);
    repository.commit(text.trim());
    pointer(&repository.report(&[]), "app")
}

#[test]
fn what_a_pointer_names_survives_and_is_released_when_it_moves_on() {
    let environment = Environment::new();
    let repository = environment.project("project", &["app"], ONLY_CACHES);
    let first = edit(&repository, "one\n");
    environment.collect_garbage();
    assert!(environment.is_valid(&first));
    repository.assert_pointers_hold(BRANCH);
    let second = edit(&repository, "two\n");
    assert_eq!(repository.entry(BRANCH, "app").depth, 1);
    environment.collect_garbage();
    assert!(environment.is_valid(&second));
    assert!(!environment.is_valid(&first), "{first} is still there");
    let dropped = repository.levain(&["cache", "drop", "x86_64-linux.app"]).ok();
    assert!(dropped.stdout.contains("x86_64-linux.app"));
    environment.collect_garbage();
    assert!(!environment.is_valid(&second), "{second} is still there");
    assert_eq!(store_paths(&environment), BTreeSet::new());
}

#[test]
fn two_jobsets_that_name_one_path_both_keep_it() {
    let environment = Environment::new();
    let repository = environment.project("project", &["app"], ONLY_CACHES);
    let path = edit(&repository, "one\n");
    repository.git(&["checkout", "--quiet", "-b", "topic"]);
    let report = repository.report(&[]);
    assert_eq!(job(&report, "app")["status"], "fresh");
    assert_eq!(repository.entry("heads/topic", "app").path, path);
    repository.git(&["checkout", "--quiet", "main"]);
    let _other = edit(&repository, "two\n");
    environment.collect_garbage();
    assert!(environment.is_valid(&path));
    repository.assert_pointers_hold("heads/topic");
    repository.assert_pointers_hold(BRANCH);
}

#[test]
fn the_store_does_not_grow_with_the_commits() {
    let environment = Environment::new();
    let repository = environment.project("project", &["app"], ONLY_CACHES);
    for number in 0..10 {
        let path = edit(&repository, &format!("{number}\n"));
        assert_eq!(repository.entry(BRANCH, "app").depth, number);
        // A copy has no deriver, so no derivation and no older cache hangs on it.
        let args = ["-q", "--deriver", &path];
        let deriver = environment.run("nix-store", &repository.path, &args).ok().stdout;
        assert_eq!(deriver.trim(), "unknown-deriver");
        let args = ["-q", "--requisites", &path];
        let closure = environment.run("nix-store", &repository.path, &args).ok().stdout;
        assert_eq!(closure.trim(), path);
        environment.collect_garbage();
        let name = path.rsplit('/').next().unwrap().to_owned();
        assert_eq!(store_paths(&environment), BTreeSet::from([name]), "after commit {number}");
    }
}

#[test]
fn incremental_builds_keep_one_cache_and_what_it_mentions() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    let tool = tool(&environment);
    repository.write("flake.nix", &INCREMENTAL.replace("@tool@", tool.to_str().unwrap()));
    repository
        .write("build.sh", "export PATH=/usr/bin:/bin\nmake || exit\ncat o/* > $out\nexit 0\n");
    // What is made names a dependency, and the output of the build that made it.
    repository.write("src/Makefile", MAKEFILE);
    repository.write("dependency", "used\n");
    for number in 0..4 {
        repository.write(&format!("src/{number}.txt"), "text\n");
    }
    let mut sizes = Vec::new();
    for number in 0..5 {
        repository.write(&format!("src/{}.txt", number % 4), &format!("{number}\n"));
        repository.commit("edit");
        let report = repository.report(&[]);
        let log = fs::read_to_string(job(&report, "app")["log"].as_str().unwrap()).unwrap();
        let made = log.lines().filter(|line| line.starts_with("making")).count();
        assert_eq!(made, if number == 0 { 4 } else { 1 }, "{log}");
        environment.collect_garbage();
        let (dependencies, caches): (Vec<_>, Vec<_>) =
            store_paths(&environment).into_iter().partition(|name| name.ends_with("-dependency"));
        let name = pointer(&report, "app").rsplit('/').next().unwrap().to_owned();
        assert_eq!((dependencies.len(), caches), (1, vec![name]), "after commit {number}");
        sizes.push(size(&environment.path("store")));
    }
    let (first, last) = (sizes[0], *sizes.last().unwrap());
    // Where each file came from takes a few bytes; a second cache would take as many again.
    assert!(last < first + first / 2, "{sizes:?}");
    repository.levain(&["cache", "drop", "x86_64-linux.app"]).ok();
    environment.collect_garbage();
    assert_eq!(store_paths(&environment), BTreeSet::new());
}

fn size(place: &Path) -> u64 {
    let metadata = place.symlink_metadata().unwrap();
    if !metadata.is_dir() {
        return metadata.len();
    }
    fs::read_dir(place).unwrap().map(|entry| size(&entry.unwrap().path())).sum()
}

const INCREMENTAL: &str = r#"{
  outputs = { self }:
    let
      levain.lib = import ./lib;
    in {
      levainProject = levain.lib.mkProject {
        incremental = { enable = true; defaultBranch = true; };
        outputs.keep = 0;
      };
      levainJobs.x86_64-linux.app = levain.lib.incremental {
        cache = ./cache.nix;
        job = "x86_64-linux.app";
        tool = "@tool@";
        settings = levain.lib.settings.make { paths = [ "o" ]; } // { allowOwnPaths = true; };
      } (derivation {
        name = "app";
        system = "x86_64-linux";
        builder = "/bin/sh";
        args = [ ./build.sh ];
        src = levain.lib.source ./src;
        dependency = builtins.path { name = "dependency"; path = ./dependency; };
      });
    };
}
"#;

const MAKEFILE: &str = "\
all: $(patsubst %.txt,o/%,$(wildcard *.txt))
o/%: %.txt
\t@echo making $@
\t@mkdir -p o
\t@{ cat $<; echo $(dependency) $(out); } > $@
";

#[test]
fn collecting_during_a_build_takes_nothing_that_it_needs() {
    let environment = Environment::new();
    let repository = environment.project("project", &["app"], ONLY_CACHES);
    let before = edit(&repository, "one\n");
    let gate = environment.path("gate");
    repository.write("src/app/wait", gate.to_str().unwrap());
    repository.write("src/app/main.txt", "two\n");
    repository.commit("two");
    let mut started = Started::levain(&environment, &repository.path, &["run", "--format", "json"]);
    started.wait_for("building app");
    environment.collect_garbage();
    assert!(environment.is_valid(&before));
    fs::write(&gate, "").unwrap();
    let report = started.end().ok().json();
    assert_eq!(job(&report, "app")["caches"][0]["path"], before);
    repository.assert_pointers_hold(BRANCH);
}

#[test]
fn deleting_the_repository_releases_its_caches() {
    let environment = Environment::new();
    let repository = environment.project("project", &["app"], ONLY_CACHES);
    let path = edit(&repository, "one\n");
    fs::remove_dir_all(&repository.path).unwrap();
    let ran = environment.run("nix-store", &environment.path("."), &["--gc"]).ok();
    assert!(!environment.is_valid(&path), "{}", ran.stderr);
}

#[test]
fn collecting_right_after_an_evaluation_costs_time_at_most() {
    use std::os::unix::fs::PermissionsExt as _;
    let environment = Environment::new();
    let bin = environment.path("bin");
    fs::create_dir(&bin).unwrap();
    let nix = environment.run("sh", &bin, &["-c", "command -v nix"]).ok().stdout;
    // Collects after as many evaluations as the file says, if that one is there.
    let script = "#!/bin/sh
@nix@ \"$@\"
code=$?
left=$(cat @flag@ 2>/dev/null || echo 0)
case \" $* \" in *\" eval \"*) ;; *) left=0 ;; esac
if [ \"$left\" -gt 0 ]; then
  echo $((left - 1)) > @flag@
  [ \"$left\" = 1 ] && nix-store --gc >/dev/null 2>&1
fi
exit $code
";
    // Where a confined evaluation can write.
    let flag = environment.path("var/collect-after");
    fs::create_dir_all(flag.parent().unwrap()).unwrap();
    let script = script.replace("@nix@", nix.trim()).replace("@flag@", flag.to_str().unwrap());
    fs::write(bin.join("nix"), script).unwrap();
    fs::set_permissions(bin.join("nix"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let environment = environment.with("PATH", &path);
    let repository = environment.project("project", &["app"], ONLY_CACHES);
    repository.commit("one");
    // The first reads the declaration.
    fs::write(&flag, "2").unwrap();
    let report = repository.report(&[]);
    assert_eq!(report["counters"]["clean"], 1, "{report:#}");
    assert_eq!(fs::read_to_string(&flag).unwrap().trim(), "0");

    // What was collected is evaluated once more.
    for (after, expected) in [("2", "incremental"), ("3", "incremental")] {
        repository.write("src/app/main.txt", &format!("after {after}\n"));
        repository.commit(after);
        fs::write(&flag, after).unwrap();
        let report = repository.report(&[]);
        assert_eq!(job(&report, "app")["status"], expected, "{after}: {report:#}");
        assert_eq!(fs::read_to_string(&flag).unwrap().trim(), "0", "{after}");
        repository.assert_pointers_hold(BRANCH);
    }
    assert_eq!(job(&repository.report(&[]), "app")["status"], "fresh");
}
