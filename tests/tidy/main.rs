//! Checks what compilers do not: the house rules about names, sizes, layers and documents.
//!
//! Each test reads the repository's own files and lists every place that breaks its rule. To add a
//! rule, write a test in the module of its topic.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod code;
mod declaration;
mod dependencies;
mod documents;
mod layers;
mod secrets;

use std::fs;
use std::path::{Path, PathBuf};

/// A text file of the repository.
pub(crate) struct Source {
    /// Its path from the repository's root, with `/` between the parts.
    pub path: String,
    /// Its content.
    pub text: String,
}

impl Source {
    /// Returns whether the file holds nothing but tests, benchmarks or examples.
    pub(crate) fn is_test(&self) -> bool {
        let parts: Vec<&str> = self.path.split('/').collect();
        parts.iter().any(|part| matches!(*part, "tests" | "benches" | "examples" | "tests.rs"))
    }

    /// Returns the lines before the first inline test module, numbered from 1.
    pub(crate) fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
        lines.enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// Returns the repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Returns all text files whose name ends with one of `endings`; all of them if there are none.
pub(crate) fn sources(endings: &[&str]) -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    let mut open = vec![root.clone()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            // In a linked work tree `.git` is a file.
            if name == ".git" || name == "target" {
                continue;
            }
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                open.push(entry.path());
            }
            let wanted = endings.is_empty() || endings.iter().any(|ending| name.ends_with(ending));
            if !kind.is_file() || !wanted {
                continue;
            }
            let Ok(text) = fs::read_to_string(entry.path()) else { continue };
            let path = entry.path().strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            found.push(Source { path, text });
        }
    }
    assert!(!found.is_empty(), "no files end with {endings:?}");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Fails with one line per violation.
#[track_caller]
pub(crate) fn none(rule: &str, violations: &[String]) {
    assert!(violations.is_empty(), "{rule}:\n  {}", violations.join("\n  "));
}
