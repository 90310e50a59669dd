//! What operators do with a server that runs: copies, secrets, the doctor, removing a project.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::environment::Environment;
use crate::serve::{PATIENCE, Pushed, Server, logged, newest, runs};

/// Returns the findings of the doctor, by what was checked.
fn findings(environment: &Environment) -> Vec<Value> {
    let home = environment.path("home");
    // It fails if anything is bad: that is for the test to say.
    let ran = environment.levain(&home, &["doctor", "--format", "json"]);
    serde_json::from_str::<Vec<Value>>(&ran.stdout)
        .unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[track_caller]
fn finding(findings: &[Value], check: &str) -> Value {
    let found = findings.iter().find(|finding| finding["check"] == check);
    found.unwrap_or_else(|| panic!("nothing is said about {check}: {findings:#?}")).clone()
}

#[test]
fn a_server_is_looked_after_while_it_runs() {
    let environment = Environment::new().with("no_proxy", "*");
    let home = environment.path("home");
    let pushed = Pushed::new(&environment);
    let server = Server::start_with(&environment, &["--log-format", "json"]);
    pushed.add();
    let first = pushed.push("first\n");
    newest(&environment, &first, "succeeded");

    let found = findings(&environment);
    for check in ["nix", "database", "clock", "deliveries", "runs", "hook", "project bread"] {
        assert_eq!(finding(&found, check)["severity"], "good", "{check}: {found:#?}");
    }
    let address = finding(&found, "address");
    assert_eq!(address["severity"], "doubtful", "not encrypted");
    assert!(address["fix"].as_str().unwrap().contains("--public-url"), "{address}");
    assert_eq!(server.get("/readyz"), "ready\n");
    let metrics = server.get("/metrics");
    assert!(metrics.contains("levain_runs_ended_total{verdict=\"succeeded\"} 1\n"), "{metrics}");

    // Both hooks are good until the old secret is dropped.
    let hook = pushed.origin.join("hooks/post-receive");
    let rotated = environment.levain(&home, &["project", "secret", "rotate", "bread"]).ok();
    let rotated = rotated.says("stays good until").stdout;
    assert!(rotated.starts_with("#!/bin/sh\n"), "{rotated}");
    let second = pushed.push("second\n");
    newest(&environment, &second, "succeeded");
    fs::write(&hook, rotated).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o700)).unwrap();
    let drop = ["project", "secret", "drop", "bread"];
    let dropped = environment.levain(&home, &drop).ok().stdout;
    assert_eq!(dropped, "dropped 1 old secrets of `bread`\n");
    let third = pushed.push("third\n");
    newest(&environment, &third, "succeeded");

    let copy = environment.path("copy.sqlite");
    let copy = copy.to_str().unwrap();
    environment.levain(&home, &["backup", copy]).ok();
    environment.levain(&home, &["backup", copy]).code(1).says("exists");
    environment.levain(&home, &["project", "remove", "bread"]).ok();
    environment.levain(&home, &["project", "remove", "bread"]).code(1).says("no project `bread`");
    assert_eq!(runs(&environment), Vec::<Value>::new());
    let restore = ["restore", copy, "--replace"];
    environment.levain(&home, &restore).code(1).says("another `levain serve`");
    server.end();
    // A browser may have lost its cookie; the address is that of the server that ran.
    let link = environment.levain(&home, &["sign-in", "operator", "--end-sessions"]).ok();
    let link = link.says("ended 0 sessions of the operator").stdout;
    assert!(link.starts_with("sign in as operator, once: http://127.0.0.1:"), "{link}");
    assert!(link.contains("/admin?token="), "{link}");
    environment.levain(&home, &["restore", copy]).code(1).says("--replace");
    let restored = environment.levain(&home, &restore).ok().stdout;
    assert!(restored.contains("before-restore-1"), "{restored}");
    assert_eq!(runs(&environment).len(), 3);
    let found = findings(&environment);
    let hook = finding(&found, "hook");
    assert_eq!(hook["severity"], "bad", "nobody listens: {hook}");

    // Every line is a document, and names what it is about.
    let log = logged(&environment);
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert!(lines.iter().any(|line| line["run"] == 1 && line["jobset"] == "heads/main"), "{log}");
    assert!(lines.iter().any(|line| line["delivery"].is_number()), "{log}");
    assert!(lines.iter().all(|line| line["timestamp"].is_string()), "{log}");
}

/// Returns the mirrors that levain keeps.
fn mirrors(environment: &Environment) -> Vec<PathBuf> {
    let state = environment.path("home").join(".local/state/levain/mirrors");
    let entries =
        fs::read_dir(&state).unwrap_or_else(|error| panic!("{}: {error}", state.display()));
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

#[test]
fn the_mirror_of_a_project_that_is_gone_is_removed_and_no_other() {
    let environment = Environment::new().with("no_proxy", "*");
    let home = environment.path("home");
    let pushed = Pushed::new(&environment);
    let server = Server::start(&environment);
    pushed.add();
    newest(&environment, &pushed.push("first\n"), "succeeded");
    let [mirror] = &*mirrors(&environment) else { panic!("{:?}", mirrors(&environment)) };
    server.end();
    // Another one, of the command line.
    let copy = environment.path("copy.git").display().to_string();
    pushed.work.git(&["clone", "--quiet", "--bare", &pushed.origin.display().to_string(), &copy]);
    let url = format!("file://{copy}");
    environment.levain(&home, &["run", &url, "--branch", "main"]).ok();
    let long_ago = || {
        for mirror in mirrors(&environment) {
            let lock =
                fs::File::options().create(true).append(true).open(mirror.join("levain/lock"));
            lock.unwrap()
                .set_modified(SystemTime::now() - Duration::from_secs(48 * 3_600))
                .unwrap();
        }
    };
    let all = mirrors(&environment);
    assert_eq!(all.len(), 2, "{all:?}");
    // It is needed, though nothing happened for long.
    long_ago();
    // The next server listens elsewhere, where no hook tells it of a push: it finds this one by itself.
    let second = pushed.push("second\n");
    let server = Server::start(&environment);
    newest(&environment, &second, "succeeded");
    server.end();
    assert_eq!(mirrors(&environment), all);
    environment.levain(&home, &["project", "remove", "bread"]).ok();
    long_ago();
    let server = Server::start(&environment);
    let started = Instant::now();
    while mirror.exists() {
        assert!(started.elapsed() < PATIENCE, "{}", logged(&environment));
        std::thread::sleep(Duration::from_millis(50));
    }
    server.end();
    let others: Vec<PathBuf> = all.into_iter().filter(|place| place != mirror).collect();
    assert_eq!(mirrors(&environment), others);
}
