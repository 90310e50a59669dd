//! What stands before git and Mercurial in an evaluation: they start programs that a repository's own settings name.
//!
//! Nix calls them by name, so it is enough that ours come first on the `PATH`. Start at [`gates`].

use std::path::Path;

use crate::config::{StoreConfig, find_program};

/// The programs that read repositories.
const PROGRAMS: &[&str] = &["git", "hg"];

const GATE: &str = include_str!("gate.sh");

/// Returns the scripts that go before programs that are there, by name.
pub(super) fn gates(store: &StoreConfig) -> Vec<(&'static str, String)> {
    let path = store.environment.get("PATH");
    let found = |name: &&'static str| Some((*name, find_program(name, path?)?));
    // A link in the way to the store is resolved by the script, for what it is asked about.
    let real = store.real_dir.canonicalize();
    let stores = [
        Path::new(store.dir.as_str()),
        &store.real_dir,
        real.as_deref().unwrap_or(&store.real_dir),
    ];
    let stores: Vec<String> = stores.iter().map(|dir| quoted(dir)).collect();
    let gate = |(name, program): (&'static str, std::path::PathBuf)| {
        let text = GATE.replace("@STORES@", &stores.join(" "));
        (name, text.replace("@PROGRAM@", &quoted(&program)))
    };
    PROGRAMS.iter().filter_map(found).map(gate).collect()
}

/// Returns a path as one word of a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "'\\''"))
}
