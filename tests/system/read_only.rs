//! Read-only mode: everything is evaluated and built, and nothing is written outside.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::bad_input::incremental;
use crate::environment::{Environment, Ran, Repository};
use crate::jobs::{ended, job};
use crate::status::{Forge, SECRET};

const APP: &str = "x86_64-linux.app";

/// The content of files, by path.
type Files = BTreeMap<String, Vec<u8>>;

/// Returns every file below a directory.
fn files(directory: &Path) -> Files {
    let mut found = Files::new();
    let Ok(entries) = fs::read_dir(directory) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.display().to_string();
        if path.is_symlink() {
            found.insert(name, fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes());
        } else if path.is_dir() {
            found.extend(files(&path));
            found.insert(name, Vec::new());
        } else {
            found.insert(name, fs::read(&path).unwrap());
        }
    }
    found
}

/// A project with a remote and a forge.
struct Project<'a> {
    work: Repository<'a>,
    forge: Forge,
}

impl<'a> Project<'a> {
    fn new(environment: &'a Environment) -> Self {
        let forge = Forge::new();
        let declared = format!("; {}", forge.declared("github", "octo/bread"));
        let work = incremental(environment, &declared);
        let origin = environment.path("origin.git").display().to_string();
        work.git(&["init", "--quiet", "--bare", &origin]);
        work.git(&["remote", "add", "origin", &origin]);
        work.git(&["push", "--quiet", "origin", "main"]);
        Self { work, forge }
    }

    /// Returns all that read-only mode must leave as it is.
    fn look(&self) -> (Files, Files, usize) {
        let environment = self.work.environment;
        let ours = files(&self.work.path);
        (ours, files(&environment.path("origin.git")), self.forge.requests().len())
    }

    /// Runs read-only, requires that nothing was written, and returns the report.
    #[track_caller]
    fn read_only(&self, args: &[&str], variables: &[(&str, &str)]) -> Value {
        let before = self.look();
        let args: Vec<&str> = ["run", "--format", "json"].iter().chain(args).copied().collect();
        let mut command = self.work.environment.levain_command(&self.work.path, &args);
        command.env("LEVAIN_TOKEN", SECRET).envs(variables.iter().copied());
        let report = Ran::from(command.output().unwrap()).ok().json();
        let after = self.look();
        let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&after.0), names(&before.0));
        assert_eq!(names(&after.1), names(&before.1));
        assert!(after == before, "a file changed");
        assert_eq!(report["readOnly"], true);
        report
    }
}

#[test]
fn nothing_is_written_and_the_jobs_are_built() {
    let environment = Environment::new();
    let project = Project::new(&environment);
    let commit = project.work.git(&["rev-parse", "--short=12", "HEAD"]);
    let report = project.read_only(&["--read-only"], &[]);
    assert_eq!(ended(&report), [(APP, "clean")].into(), "{report:#}");
    let out = job(&report, APP)["outputs"]["out"].as_str().unwrap();
    assert_eq!(fs::read_to_string(out).unwrap(), "a\n");
    assert_eq!(
        report["withheld"],
        json!([
            format!("a shadow commit for {commit} on `refs/levain/heads/main`"),
            format!("the cache of `{APP}` and its pointer"),
            "a push of `refs/levain/heads/main` to `origin`",
            format!("statuses of 1 job and a summary on {commit}, to github"),
        ])
    );
    assert_eq!(report["shadow"]["after"], Value::Null);
    assert!(!project.work.path.join(".git/levain").exists());
}

#[test]
fn builds_are_incremental_too() {
    let environment = Environment::new();
    let project = Project::new(&environment);
    let written = project.work.levain_with_token(&["run", "--format", "json"]).ok().json();
    project.work.write("src/a.txt", "edited\n");
    project.work.write("src/b.txt", "added\n");
    project.work.commit("second");
    let report = project.read_only(&["--read-only"], &[]);
    assert_eq!(ended(&report), [(APP, "incremental")].into(), "{report:#}");
    let built = job(&report, APP);
    assert_eq!(built["caches"][0]["path"], job(&written, APP)["pointer"]["path"]);
    assert_eq!(report["shadow"]["before"], report["shadow"]["after"]);
    // What it was built from is what a run that writes would have built it from.
    let report = project.work.levain_with_token(&["run", "--format", "json"]).ok().json();
    assert_eq!(job(&report, APP)["builtDrvPath"], built["builtDrvPath"]);
    assert_eq!(report.get("withheld"), None);
    // A branch that only falls behind is told, too.
    project.work.commit("empty");
    let report = project.read_only(&["--read-only"], &[]);
    assert_eq!(ended(&report), [(APP, "fresh")].into(), "{report:#}");
    assert_eq!(report["withheld"].as_array().map(Vec::len), Some(3), "{report:#}");
}

#[test]
fn the_variable_does_the_same() {
    let environment = Environment::new();
    let project = Project::new(&environment);
    for value in ["1", "true", "yes"] {
        project.read_only(&[], &[("LEVAIN_READ_ONLY", value)]);
    }
    // As text, for people.
    let mut command = environment.levain_command(&project.work.path, &["run"]);
    let ran = Ran::from(command.env("LEVAIN_READ_ONLY", "1").output().unwrap()).ok();
    assert!(ran.stdout.contains("read-only, not written: a shadow commit for "), "{}", ran.stdout);

    // What says no, or nothing, is no.
    for value in ["0", "false", ""] {
        let mut command =
            environment.levain_command(&project.work.path, &["run", "--format", "json"]);
        let ran = Ran::from(command.env("LEVAIN_READ_ONLY", value).output().unwrap());
        assert_eq!(ran.ok().json()["readOnly"], false, "{value}");
    }
}

#[test]
fn caches_of_others_are_used_once_they_are_known() {
    let environment = Environment::new().with_one_signing_key();
    let project = Project::new(&environment);
    project.work.levain_with_token(&["run"]).ok();
    let path = environment.path("clone");
    let origin = environment.path("origin.git").display().to_string();
    project.work.git(&["clone", "--quiet", &origin, &path.display().to_string()]);
    let clone = Repository { environment: &environment, path };
    clone.write("src/a.txt", "edited\n");
    clone.commit("second");
    let before = files(&clone.path);
    let args = ["run", "--read-only", "--format", "json"];
    let ran = clone.levain(&args).ok();
    let ran =
        ran.says("note: read-only: shadow branches are not fetched, only known ones are used");
    assert_eq!(ended(&ran.json()), [(APP, "clean")].into());
    assert!(files(&clone.path) == before);
    // A mirror is levain's own, and follows its remote.
    clone.write("src/a.txt", "edited again\n");
    clone.commit("third");
    clone.git(&["push", "--quiet", "origin", "main"]);
    let url = format!("file://{origin}");
    let report = clone.levain(&["run", &url, "--read-only", "--format", "json"]).ok().json();
    assert_eq!(ended(&report), [(APP, "incremental")].into(), "{report:#}");
    assert_eq!(report["withheld"].as_array().map(Vec::len), Some(4), "{report:#}");
}

#[test]
fn a_pull_request_is_fetched_elsewhere() {
    let environment = Environment::new();
    let project = Project::new(&environment);
    project.work.levain_with_token(&["run"]).ok();
    project.work.git(&["checkout", "--quiet", "--detach"]);
    project.work.write("src/a.txt", "by somebody else\n");
    let commit = project.work.commit("pull request");
    project.work.git(&["push", "--quiet", "origin", "HEAD:refs/pull/1/head"]);
    // As if it had been pushed from elsewhere: none of its objects is here.
    project.work.git(&["checkout", "--quiet", "main"]);
    project.work.git(&["reflog", "expire", "--expire=now", "--all"]);
    project.work.git(&["gc", "--quiet", "--prune=now"]);
    project.work.write("src/a.txt", "not committed\n");
    let report = project.read_only(&["--read-only", "--pull-request", "1"], &[]);
    assert_eq!(report["originalCommit"], commit.as_str());
    assert_eq!(report["jobset"], "pull/1");
    assert_eq!(ended(&report), [(APP, "incremental")].into(), "{report:#}");
    assert_eq!(job(&report, APP)["caches"][0]["jobset"], "heads/main");
    let out = job(&report, APP)["outputs"]["out"].as_str().unwrap();
    assert_eq!(fs::read_to_string(out).unwrap(), "by somebody else\n");
    let before = project.look();
    project.work.levain(&["why", "--pull-request", "1", APP]).ok();
    project.work.levain(&["why", "--pull-request", "2", APP]).says("no pull request 2");
    assert!(project.look() == before);
}

#[test]
fn other_commands_heed_the_variable_too() {
    let environment = Environment::new();
    let project = Project::new(&environment);
    project.work.levain_with_token(&["run"]).ok();
    project.work.write("src/a.txt", "edited\n");
    project.work.commit("second");
    project.work.levain_with_token(&["run"]).ok();
    let before = project.look();
    for (args, code) in [
        (&["audit"][..], 0),
        (&["audit", "--read-only"], 0),
        (&["cache", "drop"], 1),
        (&["cache", "drop", APP, "--read-only"], 1),
        (&["cache", "allow", APP], 1),
    ] {
        let mut command = environment.levain_command(&project.work.path, args);
        if !args.contains(&"--read-only") {
            command.env("LEVAIN_READ_ONLY", "1");
        }
        let ran = Ran::from(command.output().unwrap()).code(code);
        assert!(
            code == 0 || ran.stderr.contains("no cache is dropped or allowed in read-only mode"),
            "{ran:?}"
        );
        assert!(project.look() == before, "{args:?}");
    }
}

#[test]
fn questions_write_nothing_either() {
    let environment = Environment::new();
    let project = Project::new(&environment);
    project.work.levain_with_token(&["run"]).ok();
    project.work.write("src/a.txt", "edited\n");
    let commit = project.work.commit("second");
    let jobset =
        format!("git+file://{}?ref=refs/heads/main&rev={commit}", project.work.path.display());
    let before = project.look();
    for args in [
        &["why", APP][..],
        &["cache", "list"],
        &["cache", "show", APP],
        &["eval", "--jobset", &jobset],
    ] {
        project.work.levain(args).ok();
        assert!(project.look() == before, "{args:?}");
    }
}
