//! Rules for which part of the code may know or do what.

use crate::{none, root, sources};

/// The crates, each with those of ours that it may depend on.
const ALLOWED: [(&str, &[&str]); 9] = [
    ("cache", &["trace"]),
    ("trace", &[]),
    ("store", &[]),
    ("evaluator", &["store"]),
    ("actions", &["store"]),
    ("engine", &["actions", "evaluator", "store"]),
    ("statuses", &["actions", "engine", "evaluator"]),
    ("server", &["actions", "engine", "evaluator", "statuses", "store", "trace"]),
    ("cli", &["actions", "engine", "evaluator", "server", "statuses", "store"]),
];

#[test]
fn crates_depend_in_one_direction() {
    let mut found = Vec::new();
    let workspace = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = workspace.lines().find(|line| line.starts_with("members")).unwrap();
    for member in members.split('"').skip(1).step_by(2) {
        if ALLOWED.iter().all(|(name, _)| *name != member) {
            found.push(format!("{member}: no rule says what it may depend on"));
        }
    }
    for (name, allowed) in ALLOWED {
        let manifest = std::fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let mut section = "";
        for line in manifest.lines() {
            if line.starts_with('[') {
                section = line;
            }
            let Some(dependency) = line.strip_prefix("levain-") else { continue };
            let end = dependency.find(['.', ' ', '=']).unwrap_or(dependency.len());
            let dependency = &dependency[..end];
            if section == "[dependencies]" && !allowed.contains(&dependency) {
                found.push(format!("{name} depends on {dependency}"));
            }
        }
    }
    none("dependencies point one way", &found);
}

#[test]
fn programs_are_started_in_three_places() {
    let places = ["store/src/nix/", "actions/src/git/", "cache/src/build"];
    let call = concat!("Command", "::new(");
    let mut found = Vec::new();
    for source in sources(&[".rs"]) {
        if source.is_test() || places.iter().any(|place| source.path.starts_with(place)) {
            continue;
        }
        for (number, line) in source.product_lines() {
            if line.contains(call) {
                found.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    none("only store/src/nix runs Nix, actions/src/git git, cache/src/build builders", &found);
}

#[test]
fn forges_are_named_in_one_place() {
    let names = [
        concat!("git", "hub"),
        concat!("git", "lab"),
        concat!("git", "ea"),
        concat!("for", "gejo"),
    ];
    let mut found = Vec::new();
    for source in sources(&[".rs"]) {
        // Flake references and lock files name forges in the Nix language itself.
        let is_language = ["evaluator/src/lang/flake_reference.rs", "evaluator/src/inputs.rs"]
            .contains(&source.path.as_str());
        if source.is_test() || source.path.starts_with("actions/src/forge/") || is_language {
            continue;
        }
        for (number, line) in source.product_lines() {
            let lower = line.to_lowercase();
            if names.iter().any(|name| lower.contains(name)) {
                found.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    none("forge names appear in actions/src/forge and lib only", &found);
}

#[test]
fn the_evaluator_reads_nothing_by_itself() {
    let banned = ["std::env", "SystemTime", "Instant::now", "std::net"];
    let mut found = Vec::new();
    for source in sources(&[".rs"]) {
        if source.is_test() || !source.path.starts_with("evaluator/src/") {
            continue;
        }
        for (number, line) in source.product_lines() {
            if banned.iter().any(|name| line.contains(name)) {
                found.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    none("the evaluator's result depends on its two inputs alone", &found);
}
