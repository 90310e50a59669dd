//! What a server waits for, and for how long: what is away comes back, and a build that hangs is seen and stopped.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::environment::{Environment, flake};
use crate::serve::{PATIENCE, Pushed, Server, logged, newest, runs};

/// Waits until something is there, and returns it.
#[track_caller]
fn until<T>(environment: &Environment, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "{:#?}\n{}", runs(environment), logged(environment));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_remote_that_is_away_for_a_moment_ends_no_run() {
    let environment = Environment::new().with("no_proxy", "*");
    let pushed = Pushed::new(&environment);
    let gate = environment.path("gate");
    pushed.work.write("src/wait", &gate.display().to_string());
    let server = Server::start_with(&environment, &["--workers", "1"]);
    pushed.add();
    let commit = pushed.push("first\n");
    newest(&environment, &commit, "running");
    // The next one waits for its turn, and the remote goes meanwhile.
    pushed.work.git(&["push", "--quiet", "origin", "main:topic"]);
    let topic = || runs(&environment).into_iter().find(|run| run["jobset"] == "heads/topic");
    until(&environment, || topic().filter(|run| run["state"] == "queued"));
    let away = environment.path("away.git");
    fs::rename(&pushed.origin, &away).unwrap();
    fs::write(&gate, "").unwrap();
    let run = until(&environment, || topic().filter(|run| run["putOff"] == 1));
    assert_eq!((&run["state"], &run["attempts"]), (&"queued".into(), &0.into()));
    let summary = run["summary"].as_str().unwrap();
    assert!(
        summary.starts_with("tried again at ") && summary.contains("because cannot reach"),
        "{summary}"
    );
    let queue = server.get("/queue.json");
    assert!(queue.contains(r#""kind":"outage""#), "{queue}");
    fs::rename(&away, &pushed.origin).unwrap();
    let run = until(&environment, || topic().filter(|run| run["state"] == "succeeded"));
    assert_eq!((&run["attempts"], &run["putOffUntil"]), (&1.into(), &Value::Null));
    server.end();
}

#[test]
fn a_build_that_hangs_is_seen_and_stopped_and_its_slot_is_free_again() {
    let environment = Environment::new().with("no_proxy", "*");
    let pushed = Pushed::new(&environment);
    let gate = environment.path("never");
    pushed.work.write("src/wait", &gate.display().to_string());
    let server = Server::start_with(&environment, &["--build-silence", "4"]);
    pushed.add();
    let commit = pushed.push("first\n");
    let build = until(&environment, || {
        let queue: Value = serde_json::from_str(&server.get("/api/v1/queue")).unwrap();
        queue["slots"]["building"].get(0).cloned()
    });
    assert_eq!(build["runs"].as_array().unwrap().len(), 1, "{build}");
    assert!(server.get("/queue").contains(build["name"].as_str().unwrap()));
    let run = newest(&environment, &commit, "failed");
    let report: Value =
        serde_json::from_str(&server.get(&format!("/api/v1/runs/{}", run["id"]))).unwrap();
    let said = report["report"]["jobs"].to_string();
    let limit = "stopped after 4 s without a line: the operator's limit, `--build-silence`";
    assert!(said.contains(limit), "{said}");
    let queue: Value = serde_json::from_str(&server.get("/api/v1/queue")).unwrap();
    assert_eq!(queue["slots"]["building"], Value::Array(Vec::new()));
    // What says nothing for ever takes no place from what comes after.
    fs::remove_file(pushed.work.path.join("src/wait")).unwrap();
    let commit = pushed.push("second\n");
    newest(&environment, &commit, "succeeded");
    server.end();
}

#[test]
fn a_project_may_have_its_builds_stopped_sooner_and_not_later() {
    let environment = Environment::new().with("no_proxy", "*");
    let pushed = Pushed::new(&environment);
    let gate = environment.path("never");
    pushed.work.write("src/wait", &gate.display().to_string());
    let settings = "{ enable = true; }; build = { silence = 2; timeout = 999999; }";
    pushed.work.write("flake.nix", &flake(&["app"], settings));
    let server = Server::start_with(&environment, &["--build-timeout", "60"]);
    pushed.add();
    let commit = pushed.push("first\n");
    let run = newest(&environment, &commit, "failed");
    let report = server.get(&format!("/api/v1/runs/{}", run["id"]));
    let limit = "stopped after 2 s without a line: the project's limit, `build.silence`";
    assert!(report.contains(limit), "{report}");
    server.end();
}
