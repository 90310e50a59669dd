//! `levain-cache inspect`: what a cache holds.

use std::path::PathBuf;

use levain_cache::{EntryKind, Manifest, Refusal, SetName};
use serde::Serialize;

use crate::args::Inspect;

/// Why a cache cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InspectError {
    #[error("cannot inspect `{}`: {refusal}", .cache.display())]
    Refused { cache: PathBuf, refusal: Refusal },
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
}

#[derive(Serialize)]
struct Document {
    sets: Vec<Set>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Set {
    name: String,
    tool: String,
    compressor: String,
    key: Option<String>,
    source: String,
    into: String,
    origin: std::collections::BTreeMap<String, String>,
    roots: Vec<String>,
    files: u64,
    bytes: u64,
    stored_bytes: u64,
    segments: usize,
    sources: usize,
    references: Vec<String>,
    doubt: Option<String>,
    entries: Vec<EntryLine>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EntryLine {
    path: String,
    kind: &'static str,
    mode: String,
    modified_nanos: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unused_builds: Option<u32>,
}

/// Returns what to print.
pub(crate) fn inspect(command: &Inspect) -> Result<String, InspectError> {
    let refused = |refusal| InspectError::Refused { cache: command.cache.clone(), refusal };
    let mut sets = Vec::new();
    for name in levain_cache::sets(&command.cache).map_err(refused)? {
        let manifest = levain_cache::manifest(&command.cache, &name).map_err(refused)?;
        sets.push(set(&name, &manifest));
    }
    if command.json {
        return Ok(format!("{}\n", serde_json::to_string_pretty(&Document { sets })?));
    }
    Ok(sets.iter().map(describe).collect())
}

fn describe(set: &Set) -> String {
    let mut text = format!("{}\n", set.name);
    let origin: Vec<String> =
        set.origin.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let lines = [
        ("files", format!("{} ({} bytes, {} stored)", set.files, set.bytes, set.stored_bytes)),
        ("sources", set.sources.to_string()),
        ("paths", set.roots.join(" ")),
        ("made in", format!("{} (sources {})", set.into, set.source)),
        ("made by", format!("{}, {}", set.tool, set.compressor)),
        ("origin", origin.join(" ")),
        ("key", set.key.clone().unwrap_or_default()),
        ("refers to", set.references.join(" ")),
        ("in doubt", set.doubt.clone().unwrap_or_default()),
    ];
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        text.push_str(&format!("  {name}: {}\n", value.escape_debug()));
    }
    text
}

fn set(name: &SetName, manifest: &Manifest) -> Set {
    let (files, bytes) = manifest.files();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let sources = manifest.sources.iter();
    Set {
        name: name.to_string(),
        tool: manifest.tool.clone(),
        compressor: manifest.compressor.clone(),
        key: manifest.key.clone(),
        source: text(&manifest.source),
        into: text(&manifest.into),
        origin: manifest.origin.iter().cloned().collect(),
        roots: manifest.roots.iter().map(|root| text(root.bytes())).collect(),
        files,
        bytes,
        stored_bytes: manifest.segments.iter().map(|part| part.stored).sum(),
        segments: manifest.segments.len(),
        sources: sources.filter(|s| s.has_content()).count(),
        references: manifest.references.iter().map(|base| text(base)).collect(),
        doubt: manifest.doubt.as_ref().map(ToString::to_string),
        entries: manifest.entries.iter().map(entry).collect(),
    }
}

fn entry(entry: &levain_cache::Entry) -> EntryLine {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut line = EntryLine {
        path: text(entry.path.bytes()),
        kind: "directory",
        mode: format!("{:o}", entry.mode),
        modified_nanos: entry.modified.nanos(),
        size: None,
        hash: None,
        target: None,
        unused_builds: None,
    };
    match &entry.kind {
        EntryKind::Directory => {}
        EntryKind::File(content) => {
            line.kind = "file";
            line.size = Some(content.size);
            line.hash = Some(content.digest.to_string());
            line.unused_builds = Some(content.unused);
        }
        EntryKind::Link { target } => {
            line.kind = "link";
            line.target = Some(text(target));
        }
        EntryKind::Same { of } => {
            line.kind = "same";
            line.target = Some(text(of.bytes()));
        }
    }
    line
}
