//! Tests of the built program: whole builds with a fixed directory, as inside Nix.

#![expect(clippy::unwrap_used, reason = "the lint knows only functions marked as tests")]

mod conditions;
mod corpus;
mod corrupt;
mod fixture;
mod fuzz;
mod hostile;
mod keeping;
mod nix;
mod own_paths;
mod program;
#[path = "../../../tests/sequences/random.rs"]
#[allow(dead_code, reason = "the sequences of edits use the rest")]
mod random;
mod replay;
mod round_trip;
mod times;
mod tools;
mod traps;

/// Every file beside this one is a module above; a test that is never compiled cannot fail.
#[test]
fn no_file_is_forgotten() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let this = std::fs::read_to_string(directory.join("main.rs")).unwrap();
    for entry in std::fs::read_dir(directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.strip_suffix(".rs").unwrap();
        assert!(module == "main" || this.contains(&format!("mod {module};")), "{name}");
    }
}
