//! Rules for dependencies: each is used, and all have licences that levain's own allows.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use crate::{none, root, sources};

/// The licences that a dependency may have.
const LICENCES: [&str; 9] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "MPL-2.0",
];

/// Where the tests of a crate are that lie outside its directory.
const ELSEWHERE: [(&str, &[&str]); 2] =
    [("cli", &["tests/"]), ("cache", &["tests/sequences/random.rs"])];

#[test]
fn every_dependency_is_used() {
    let sources = sources(&[".rs"]);
    let mut found = Vec::new();
    for name in ["store", "evaluator", "actions", "engine", "cli", "cache"] {
        let elsewhere = ELSEWHERE.iter().find(|(of, _)| *of == name).map_or(&[][..], |(_, at)| at);
        let manifest = std::fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let mut section = "";
        for line in manifest.lines() {
            if line.starts_with('[') {
                section = line;
            }
            let product = match section {
                "[dependencies]" => true,
                "[dev-dependencies]" => false,
                _ => continue,
            };
            let Some(end) = line.find(['.', ' ']).filter(|_| !line.starts_with(['#', '['])) else {
                continue;
            };
            let dependency = &line[..end];
            // The library of the package `md-5` has another name.
            let library = if dependency == "md-5" { "md5" } else { dependency }.replace('-', "_");
            let uses =
                [format!("{library}::"), format!("use {library};"), format!("use {library} as")];
            let is_used = sources.iter().any(|source| {
                let is_own = source.path.starts_with(&format!("{name}/src/"))
                    || !product && source.path.starts_with(&format!("{name}/"))
                    || !product && elsewhere.iter().any(|at| source.path.starts_with(at));
                is_own && uses.iter().any(|text| source.text.contains(text.as_str()))
            });
            if !is_used {
                found.push(format!("{name}/Cargo.toml: {dependency}"));
            }
        }
    }
    none("no crate names a dependency that it does not use", &found);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "asks cargo what it takes")]
fn licences_allow_ours() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform"])
        .arg(format!("{}-unknown-linux-gnu", std::env::consts::ARCH))
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 50, "{} packages", packages.len());
    let mut found = BTreeMap::new();
    for package in packages {
        let licence = package["license"].as_str().unwrap_or("none");
        if !is_allowed(licence) {
            found.insert(package["name"].to_string(), licence.to_owned());
        }
    }
    let found: Vec<String> = found.iter().map(|(name, found)| format!("{name}: {found}")).collect();
    none("all licences are on the list", &found);
}

/// Returns whether an expression of licences is met by those on the list: of alternatives one, of
/// several that apply together all.
fn is_allowed(expression: &str) -> bool {
    let plain = expression.replace(['(', ')'], " ").replace('/', " OR ");
    plain
        .split(" AND ")
        .all(|part| part.split(" OR ").any(|licence| LICENCES.contains(&licence.trim())))
}

#[test]
fn expressions_of_licences() {
    for good in ["MIT", "MIT OR GPL-3.0", "GPL-3.0/MIT", "(MIT OR Apache-2.0) AND Unicode-3.0"] {
        assert!(is_allowed(good), "{good}");
    }
    for bad in ["GPL-3.0", "none", "MIT AND GPL-3.0", "LGPL-2.1 OR GPL-3.0", ""] {
        assert!(!is_allowed(bad), "{bad}");
    }
}
