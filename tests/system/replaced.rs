//! `levain serve` pushes nothing to a repository that took over the name of a project's while a run was carried out.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use wiremock::{Request, ResponseTemplate};

use crate::bad_input::incremental;
use crate::environment::Environment;
use crate::serve::{PATIENCE, Server, logged, newest, runs};
use crate::status::{Forge, SECRET};

/// The number of the project's repository.
const OWN: u64 = 7;

/// Answers as a forge at which the repository of that number has the name.
fn answer(request: &Request, number: u64) -> ResponseTemplate {
    let path = request.url.path().strip_prefix("/api/v1/").unwrap_or_default();
    let described = json!({ "id": number, "full_name": "octo/bread", "private": true });
    let found = |body| ResponseTemplate::new(200).set_body_json(body);
    match (request.method.as_str(), path) {
        ("GET", "repos/octo/bread") => found(described),
        ("GET", path) if path == format!("repositories/{number}") => found(described),
        ("GET", path) if path.starts_with("repositories/") => ResponseTemplate::new(404),
        ("GET", _) => found(json!([])),
        _ => ResponseTemplate::new(201).set_body_json(json!({ "id": 1 })),
    }
}

/// Waits until something is so.
#[track_caller]
fn until(environment: &Environment, what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "{what}: {}", logged(environment));
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Has a run end its builds when the name leads to the repository of this number; returns what was pushed.
fn pushed(later: u64) -> String {
    let environment = Environment::new().with("no_proxy", "*");
    let work = incremental(&environment, "");
    let (gate, home) = (environment.path("gate"), environment.path("home"));
    work.write("src/wait", &gate.display().to_string());
    let commit = work.commit("waits");
    let origin = environment.path("origin.git").display().to_string();
    work.git(&["init", "--quiet", "--bare", &origin]);
    work.git(&["remote", "add", "origin", &origin]);
    work.git(&["push", "--quiet", "origin", "main"]);
    let number = Arc::new(AtomicU64::new(OWN));
    let asked = Arc::clone(&number);
    let forge = Forge::with(move |request| answer(request, asked.load(Ordering::SeqCst)));
    let url = format!("{}/octo/bread.git", forge.url());
    let settings = fs::read_to_string(home.join(".gitconfig")).unwrap();
    let settings = format!("{settings}[url \"{origin}\"]\ninsteadOf = {url}\n");
    fs::write(home.join(".gitconfig"), settings).unwrap();
    fs::write(home.join("token"), SECRET).unwrap();
    let add = ["project", "add", "bread", &url, "--forge", "gitea", "--token-file", "token"];
    environment.levain(&home, &add).ok();
    let server = Server::start(&environment);
    newest(&environment, &commit, "running");
    let posts = || forge.requests().iter().filter(|one| one.method == "POST").count();
    let says = |text: &str| {
        let said = |one: &Request| String::from_utf8_lossy(&one.body).contains(text);
        forge.requests().iter().any(said)
    };
    until(&environment, "it does not build", || says("building"));
    number.store(later, Ordering::SeqCst);
    // What the forge said just now is believed for a moment.
    std::thread::sleep(Duration::from_secs(4));
    let before = posts();
    fs::write(&gate, "").unwrap();
    until(&environment, "it goes on", || runs(&environment)[0]["state"] != "running");
    let refs = work.git(&["ls-remote", "origin", "refs/levain/*"]);
    let state = runs(&environment)[0]["state"].as_str().unwrap().to_owned();
    if later == OWN {
        assert_eq!(state, "succeeded", "{}", logged(&environment));
    } else {
        // It waits until the operator says which repository is the project's.
        assert_eq!((refs.as_str(), &*state), ("", "queued"), "{}", logged(&environment));
        assert_eq!(posts(), before, "a stranger's repository is told nothing");
    }
    server.end();
    refs
}

#[test]
fn nothing_is_pushed_to_a_repository_that_took_the_name_over_while_a_run_was_carried_out() {
    let refs = pushed(OWN);
    assert!(refs.ends_with("refs/levain/heads/main"), "{refs}");
    let refs = pushed(OWN + 2);
    assert_eq!(refs, "");
}
