//! Finds files.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// Finds files of the language below some directories, up to a size, sorted.
pub(crate) fn sources(trees: &[PathBuf], largest: u64) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = trees.to_vec();
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory)
            .with_context(|| format!("cannot list {}", directory.display()))?
        {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file()
                && entry.path().extension().is_some_and(|extension| extension == "nix")
                && entry.metadata()?.len() <= largest
            {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}
