//! The command line: what it accepts, what it prints where, and its exit codes.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use expect_test::expect;

use crate::bad_input::incremental;
use crate::environment::{Environment, Repository};
use crate::jobs::simple;

/// Replaces what differs from one machine and moment to another.
fn shown(repository: &Repository<'_>, text: &str) -> String {
    let root = repository.environment.path("");
    let text = text.replace(&root.display().to_string(), "ROOT/");
    let mut result = String::new();
    for line in text.lines() {
        let words = line.split(' ').map(|word| {
            let bare = word.trim_end_matches([',', ')', ':', ';']);
            let rest = &word[bare.len()..];
            let hex = bare.len() >= 12 && bare.bytes().all(|byte| byte.is_ascii_hexdigit());
            let seconds = bare.split_once('.').is_some_and(|(whole, part)| {
                !part.is_empty() && whole.bytes().chain(part.bytes()).all(|b| b.is_ascii_digit())
            });
            match (hex, seconds, bare.split_once("store/")) {
                (true, ..) => format!("COMMIT{rest}"),
                (_, true, _) => format!("N{rest}"),
                (.., Some((before, path))) => {
                    let name = path.split_once('-').map_or(path, |(_, name)| name);
                    format!("{before}store/HASH-{name}{rest}")
                }
                (.., None) => word.to_owned(),
            }
        });
        result.push_str(&words.collect::<Vec<_>>().join(" "));
        result.push('\n');
    }
    result
}

#[test]
fn usage_errors_and_help() {
    let environment = Environment::new();
    let here = environment.path("tmp");
    for args in [
        &[][..],
        &["bake"],
        &["run", "--no-such-option"],
        &["run", "--branch", "a", "--pull-request", "1"],
        &["run", "--pull-request", "one"],
        &["run", "--max-jobs", "0"],
        &["eval"],
        &["why"],
        &["cache"],
        &["serve", "--listen", "here"],
        &["serve", "--workers", "1001"],
        &["serve", "--public-url", "https://x/'; reboot; '"],
        &["project"],
        &["project", "add", "bread"],
        &["project", "add", "bread", "x", "--pull-requests", "some"],
    ] {
        let ran = environment.levain(&here, args).code(2).says("--help");
        assert_eq!(ran.stdout, "", "{args:?}");
    }
    for args in [&["--help"][..], &["run", "--help"], &["cache", "drop", "--help"], &["help"]] {
        let ran = environment.levain(&here, args).ok();
        assert!(ran.stdout.contains("Usage: levain"), "{}", ran.stdout);
        assert_eq!(ran.stderr, "");
    }
    let version = environment.levain(&here, &["--version"]).ok().stdout;
    assert_eq!(version, format!("levain {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_token_of_an_unknown_kind_of_forge_is_refused() {
    let environment = Environment::new();
    let here = environment.path("tmp");
    std::fs::write(environment.path("tmp/token"), "s3cr3t-t0ken").unwrap();
    let url = "http://git.example.org/o/r";
    let add = ["project", "add", "bread", url, "--token-file", "token"];
    environment.levain(&here, &add).code(1).says("with `--forge`: ");
    let list = environment.levain(&here, &["project", "list"]).ok().stdout;
    assert_eq!(list, "");
    let named = [&add[..], &["--forge", "gitea"]].concat();
    environment.levain(&here, &named).ok().says("warning: the token goes to");
    let list = environment.levain(&here, &["project", "list"]).ok().stdout;
    assert!(list.contains("  token  "), "{list}");
}

#[test]
fn results_on_standard_output_and_the_rest_on_standard_error() {
    let environment = Environment::new();
    let repository = incremental(&environment, "");
    let first = repository.levain(&["run"]).ok();
    expect![[r#"
        1 to build, 0 fresh
        building app
        x86_64-linux.app: clean in N s, no cache: first-build
    "#]]
    .assert_eq(&shown(&repository, &first.stderr));
    expect![[r#"
        x86_64-linux.app  clean in N s, no cache: first-build
        heads/main at COMMIT: 0 fresh, 0 incremental, 1 clean, 0 failed; N s
        shadow branch: refs/levain/heads/main COMMIT
    "#]]
    .assert_eq(&shown(&repository, &first.stdout));

    repository.write("src/fail", "");
    repository.write("src/a.txt", "A\n");
    repository.commit("broken");
    let ran = repository.levain(&["run"]).code(1);
    let out = shown(&repository, &ran.stdout);
    for text in [
        "--- x86_64-linux.app: failed\nbuilder failed with exit code 1",
        "last 2 log lines:\n  compiling a.txt\n  this build fails\nwhole log: ROOT/project/.git/levain/logs/",
        "\nx86_64-linux.app  failed in N s, no cache: failed-with-cache (built from a cache, it failed: ",
        "\nheads/main at COMMIT: 0 fresh, 0 incremental, 0 clean, 1 failed; N s\n",
    ] {
        assert!(out.contains(text), "{text}\n\n{out}");
    }

    // One document and nothing else, whatever happens.
    let ran = repository.levain(&["run", "--format", "json"]).code(1);
    assert_eq!(ran.json()["counters"]["failed"], 1);
    for text in [&first.stdout, &first.stderr, &ran.stderr] {
        assert!(!text.contains('\u{1b}'), "no colours where nobody sees them: {text}");
    }
}

#[test]
fn the_directory_can_be_named() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    repository.write("flake.nix", &simple("levainJobs.good = job \"good\";"));
    repository.write("deep/er/file", "");
    let commit = repository.commit("first");
    let path = repository.path.display().to_string();
    let away = environment.path("home");
    let args = ["-C", &path, "run", "--format", "json"];
    assert_eq!(environment.levain(&away, &args).ok().json()["originalCommit"], commit.as_str());
    let args = ["run", "--directory", &path, "--format", "json"];
    assert_eq!(environment.levain(&away, &args).ok().json()["repository"], path.as_str());
    // Anywhere inside will do.
    let report = environment.report(&repository.path.join("deep/er"), &[]);
    assert_eq!(report["repository"], path.as_str());
}

#[test]
fn a_reader_that_goes_away_is_no_bug() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    repository.write("flake.nix", &simple("levainJobs.good = job \"good\";"));
    repository.commit("first");
    let mut command = repository.environment.levain_command(&repository.path, &["run"]);
    let mut levain = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(levain.stdout.take());
    let output = levain.wait_with_output().unwrap();
    assert_eq!(output.status.signal(), None);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("error"), "{output:?}");
}

#[test]
fn an_url_is_mirrored_and_built() {
    let environment = Environment::new();
    let repository = incremental(&environment, "");
    repository.git(&["branch", "topic"]);
    // It has a work tree, and would not be believed otherwise.
    repository.git(&["config", "levain.ownBranches", "true"]);
    let away = environment.path("tmp");
    let path = repository.path.display().to_string();
    for url in [&path, &format!("file://{path}"), &"../project".to_owned()] {
        let ran = environment.levain(&away, &["run", url, "--format", "json"]).ok();
        assert_eq!(ran.json()["jobset"], "heads/main");
    }
    // Its shadow branch came back to it, and no mirror is a checkout's business.
    assert!(repository.reference("refs/levain/heads/main").is_some());
    assert!(!repository.path.join(".git/levain").exists());
    let head = repository.git(&["rev-parse", "HEAD"]);
    let args = ["run", &path, "--branch", "topic", "--rev", &head, "--format", "json"];
    let report = environment.levain(&away, &args).ok().json();
    assert_eq!(report["jobset"], "heads/topic");
    assert_eq!(report["originalCommit"], head.as_str());
    // A branch that is gone there is gone here.
    repository.git(&["branch", "-D", "topic"]);
    environment.levain(&away, &args).code(1).says("there is no branch `topic`");
}

#[test]
fn values_that_mean_nothing_are_refused() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    repository.levain(&["run", "--git-timeout", "0"]).code(2).says("--git-timeout");
    repository.levain(&["run", "--allow-path", "a/b"]).code(2).says("expected an absolute path");
}
