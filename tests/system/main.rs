//! Whole-system tests: the built `levain`, real Nix, real git, real HTTP on loopback.
//!
//! Each test has an [`environment::Environment`] of its own (store, home,
//! repositories), so all run side by side. To add one, write a function in the
//! module of its topic; `every_file_is_a_module` finds forgotten files.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod app;
mod audit;
mod bad_input;
mod blame;
mod browser;
mod building;
mod caches;
mod checkouts;
mod claims;
mod command_line;
mod confinement;
mod declaration;
mod demonstration;
mod environment;
mod expressions;
mod failures;
mod following;
mod garbage;
mod guides;
mod hidden_files;
mod incremental;
mod installing;
mod interruption;
mod jobs;
mod keys;
mod main_job;
mod merges;
mod outputs;
mod pages;
mod patience;
mod pointers;
mod provenance;
mod read_only;
mod releasing;
mod remembered;
mod remote;
mod replaced;
mod serve;
mod shadow;
mod shadow_branch;
mod shadow_evaluation;
mod shown;
mod signing;
mod status;
mod trust;
mod tutorial;
mod upkeep;
mod waiting;

#[test]
fn every_file_is_a_module() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/system");
    let main = std::fs::read_to_string(dir.join("main.rs")).unwrap();
    for entry in std::fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(module) = name.strip_suffix(".rs").filter(|module| *module != "main") else {
            continue;
        };
        assert!(main.contains(&format!("mod {module};")), "`{name}` is not a module of main.rs");
    }
}
