//! `scripts/demo --server`, which shows the whole on one machine: what it claims holds, and nothing of it is left.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::environment::Environment;
use crate::incremental::tool;

/// Returns the processes that were started below a directory for temporary files.
fn started_in(directory: &Path) -> Vec<String> {
    let variable = format!("TMPDIR={}", directory.display());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let place = entry.unwrap().path();
        // Most of what is there is no process, or somebody else's.
        let Ok(variables) = fs::read(place.join("environ")) else { continue };
        let variables = String::from_utf8_lossy(&variables);
        if variables.split('\0').any(|text| text.starts_with(&variable)) {
            let command = fs::read(place.join("cmdline")).unwrap_or_default();
            found.push(String::from_utf8_lossy(&command).replace('\0', " "));
        }
    }
    found
}

#[test]
fn the_demonstration_holds_and_leaves_nothing_behind() {
    let environment = Environment::new();
    let programs = tool(&environment).join("bin");
    fs::copy(env!("CARGO_BIN_EXE_levain"), programs.join("levain")).unwrap();
    let temporary = environment.path("tmp");
    let environment = environment.with("LEVAIN_BIN", programs.to_str().unwrap());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let ran = environment.run("scripts/demo", &root, &["--server"]).ok();
    for claim in [
        "the hook announced the pushes",
        "the topic branch was built incrementally, and compiled 1 file",
        "the broken edit failed",
        "the server ended in order",
    ] {
        assert!(ran.stdout.contains(&format!("checked: {claim}\n")), "{}", ran.stdout);
    }
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "nothing is left of its files");
    // A hook's curl may be about to end.
    let started = Instant::now();
    while !started_in(&temporary).is_empty() {
        let left = started_in(&temporary);
        assert!(started.elapsed() < Duration::from_secs(30), "still running: {left:#?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn the_demonstration_says_how_it_is_called() {
    let environment = Environment::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for arguments in [&["--sever"][..], &["--server", "/redis"], &["/redis", "/other"]] {
        environment.run("scripts/demo", &root, arguments).code(1).says("scripts/demo [--server]");
    }
}
