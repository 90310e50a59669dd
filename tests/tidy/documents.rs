//! Rules for what people read: paths that exist, decisions that are complete.

use std::collections::BTreeSet;

use crate::{none, root, sources};

/// Returns what stands between backticks in a text, line by line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

#[test]
fn named_paths_exist() {
    let root = root();
    let top: BTreeSet<String> = std::fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        // `tests/…` is often another project's, or a crate's own.
        .filter(|name| name != "target" && name != ".git" && name != "tests")
        .collect();
    let mut found = Vec::new();
    for source in sources(&[".md", ".rs"]) {
        let is_document = source.path.ends_with(".md");
        let mut fenced = false;
        for (index, line) in source.text.lines().enumerate() {
            let line = line.trim_start();
            if !is_document && !line.starts_with("//") {
                continue;
            }
            fenced ^= line.starts_with("```");
            if fenced {
                continue;
            }
            for name in quoted(line) {
                let is_path =
                    name.split_once('/').is_some_and(|(first, _)| {
                        top.contains(first) || (is_document && first == "tests")
                    }) && name.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
                // As in `logs/NAME.log`.
                let is_pattern = name
                    .split(['/', '.'])
                    .any(|part| part.len() > 1 && part.chars().all(|c| c.is_ascii_uppercase()));
                let own = source.path.split('/').next().unwrap_or_default();
                let exists = root.join(name).exists() || root.join(own).join(name).exists();
                if is_path && !is_pattern && !exists {
                    found.push(format!("{}:{}: `{name}`", source.path, index + 1));
                }
            }
        }
    }
    none("paths that documents name exist", &found);
}

#[test]
fn links_lead_somewhere() {
    let root = root();
    let mut found = Vec::new();
    for source in sources(&[".md"]) {
        let here = root.join(&source.path);
        for (index, line) in source.text.lines().enumerate() {
            for link in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let path = link.split('#').next().unwrap_or_default();
                if path.is_empty() || path.contains("://") {
                    continue;
                }
                if !here.parent().unwrap().join(path).exists() {
                    found.push(format!("{}:{}: {link}", source.path, index + 1));
                }
            }
        }
    }
    none("links lead somewhere", &found);
}

#[test]
fn decisions_have_all_their_parts() {
    let mut found = Vec::new();
    let mut numbers = BTreeSet::new();
    for source in sources(&[".md"]) {
        let Some(name) = source.path.strip_prefix("docs/decisions/") else { continue };
        if !name.get(..4).is_some_and(|number| numbers.insert(number.to_owned())) {
            found.push(format!("{}: another note has its number", source.path));
        }
        for heading in ["# ", "## Context", "## Decision", "## For", "## Against"] {
            if !source.text.lines().any(|line| line.starts_with(heading)) {
                found.push(format!("{}: `{}` is missing", source.path, heading.trim()));
            }
        }
    }
    assert!(!numbers.is_empty(), "no decisions were found");
    for (index, number) in numbers.iter().enumerate() {
        if number.parse() != Ok(index + 1) {
            found.push(format!("number {:04} is missing", index + 1));
        }
    }
    none("decisions are numbered, with context, decision, for and against", &found);
}

#[test]
fn every_decision_is_listed() {
    let architecture = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let unlisted: Vec<String> = sources(&[".md"])
        .into_iter()
        .filter(|source| source.path.starts_with("docs/"))
        .filter(|source| !architecture.contains(&source.path))
        .map(|source| source.path)
        .collect();
    none("ARCHITECTURE.md leads to every document", &unlisted);
}
