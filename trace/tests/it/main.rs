//! Programs run under the tracer do what they do without it.

#![expect(clippy::unwrap_used, reason = "the lint knows only functions marked as tests")]
#![expect(clippy::disallowed_methods, reason = "programs are run with the tracer and without")]

mod alike;
mod support;

/// Every file beside this one is a module above; a test that is never compiled cannot fail.
#[test]
fn no_file_is_forgotten() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let this = std::fs::read_to_string(directory.join("main.rs")).unwrap();
    for entry in std::fs::read_dir(directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.strip_suffix(".rs").unwrap();
        let there = module == "main" || this.contains(&format!("mod {module};"));
        assert!(there, "{name}");
    }
}
