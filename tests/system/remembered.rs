//! What a server remembers is in its database: it outlives the mirror, and the command line in a mirror goes by it.

use std::fs;
use std::path::PathBuf;

use crate::environment::Environment;
use crate::serve::{Pushed, Server, logged, newest, runs};

/// Returns the one mirror.
fn mirror(environment: &Environment) -> PathBuf {
    let mut open = vec![environment.path("home")];
    let mut found = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true if directory.ends_with("levain/mirrors") => found.push(entry.path()),
                true => open.push(entry.path()),
                false => {}
            }
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// Has the newest run done once more; returns what came of it.
fn again(environment: &Environment, commit: &str) -> String {
    let newest_run = &runs(environment)[0];
    let before = runs(environment).len();
    environment.levain(&environment.path("home"), &["rerun", &newest_run["id"].to_string()]).ok();
    assert_eq!(runs(environment).len(), before + 1);
    newest(environment, commit, "succeeded")["summary"].as_str().unwrap().to_owned()
}

#[test]
fn what_a_server_remembers_outlives_the_mirror() {
    let environment = Environment::new().with("no_proxy", "*");
    let pushed = Pushed::new(&environment);
    let server = Server::start(&environment);
    pushed.add();
    let first = pushed.push("first\n");
    newest(&environment, &first, "succeeded");
    let second = pushed.push("second\n");
    let run = newest(&environment, &second, "succeeded");
    assert_eq!(run["summary"], "1 incremental", "{}", logged(&environment));
    server.end();

    let state = mirror(&environment).join("levain");
    for kind in ["successes", "dropped", "keys"] {
        assert_eq!(fs::read_dir(state.join(kind)).unwrap().count(), 0, "{kind}");
    }
    // Another machine has no mirror yet, nor anything that the first one signed. That a build from a cache succeeded
    // does not show in the store.
    fs::remove_dir_all(mirror(&environment)).unwrap();
    let server = Server::start(&environment);
    assert_eq!(again(&environment, &second), "1 fresh", "{}", logged(&environment));

    // The command line finds what the database has.
    let mirror = mirror(&environment);
    let dropped = environment.levain(&mirror, &["cache", "drop", "--branch", "main"]).ok().stdout;
    assert!(dropped.contains("1 incremental success forgotten"), "{dropped}");
    assert_eq!(again(&environment, &second), "1 clean", "{}", logged(&environment));
    server.end();
}
