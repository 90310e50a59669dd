//! Garbage collection: what pointers name stays, what none names goes.

use std::collections::BTreeSet;
use std::fs;

use crate::environment::{Environment, Repository};
use crate::shadow::{EVERYWHERE, Started, job, pointer};

const BRANCH: &str = "heads/main";

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
    let repository = environment.project("project", &["app"], EVERYWHERE);
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
    let repository = environment.project("project", &["app"], EVERYWHERE);
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
    let repository = environment.project("project", &["app"], EVERYWHERE);
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
fn collecting_during_a_build_takes_nothing_that_it_needs() {
    let environment = Environment::new();
    let repository = environment.project("project", &["app"], EVERYWHERE);
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
    let repository = environment.project("project", &["app"], EVERYWHERE);
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
    let repository = environment.project("project", &["app"], EVERYWHERE);
    repository.commit("one");
    // The first reads the declaration.
    fs::write(&flag, "2").unwrap();
    let report = repository.report(&[]);
    assert_eq!(report["counters"]["clean"], 1, "{report:#}");
    assert_eq!(fs::read_to_string(&flag).unwrap().trim(), "0");

    for (after, expected) in [("2", "incremental"), ("3", "clean")] {
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
