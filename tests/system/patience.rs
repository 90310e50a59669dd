//! What a server waits for, and for how long: what is away comes back.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::environment::Environment;
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
