//! Keys: whether a cache fits a job.
//!
//! The key of a job is a hash over its base derivation with everything masked that comes from the
//! project's own sources. Editing sources keeps it; another compiler, flag, dependency or recipe
//! changes it. It errs on the safe side: what is not known to be harmless changes the key.
//! Reads nothing by itself. Start at [`compute`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use levain_store::{Derivation, DerivationPath, StoreDir, StorePath};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::mask::Mask;

/// Part of every key, so that another way of computing it never matches an old cache.
const FORMAT: &str = "levain-key-1";
/// Longer values are kept as their hash.
const MAX_VALUE: usize = 200;

/// The key of a job: 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(String);

/// A text that is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 lower-case hexadecimal digits, found `{found}`")]
pub struct KeyError {
    /// The text.
    pub found: String,
}

impl Key {
    /// Returns the digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for Key {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        let digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if text.len() == 64 && text.bytes().all(digit) {
            Ok(Self(text))
        } else {
            Err(KeyError { found: text })
        }
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0
    }
}

/// What a job says about its key, in `passthru.levain`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct KeyOptions {
    /// Any value that shall be part of the key (`key`).
    #[serde(rename = "key", skip_serializing_if = "Option::is_none")]
    pub extra: Option<serde_json::Value>,
    /// Environment variables that do not count.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub ignore_env: BTreeSet<String>,
    /// Names of direct input derivations whose output paths do not count.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub mask_inputs: BTreeSet<String>,
}

/// What a key is made of, so that two can be compared part by part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyDocument {
    /// Masked values by name: `system`, `builder`, `args`, `env NAME`, `input NAME`,
    /// `source NAME`, `extra`. A long value stands as its hash, `<sha256 DIGITS>`.
    pub components: BTreeMap<String, String>,
}

/// One part in which two keys differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyChange {
    /// The part's name.
    pub component: String,
    /// Its value before; none when it is new.
    pub before: Option<String>,
    /// Its value after; none when it is gone.
    pub after: Option<String>,
}

impl KeyDocument {
    /// Returns the key.
    pub fn key(&self) -> Key {
        let mut hash = Sha256::new();
        let mut add = |text: &str| {
            // The length first, so that no two documents feed the same bytes.
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        add(FORMAT);
        for (name, value) in &self.components {
            add(name);
            add(value);
        }
        Key(HEXLOWER.encode(&hash.finalize()))
    }

    fn insert(&mut self, name: String, value: &[u8]) {
        let text = match std::str::from_utf8(value) {
            Ok(text) if text.len() <= MAX_VALUE => text.to_owned(),
            Ok(_) | Err(_) => format!("<sha256 {}>", HEXLOWER.encode(&Sha256::digest(value))),
        };
        self.components.insert(name, text);
    }

    /// Adds to a component that several things of one name share.
    fn insert_all(&mut self, values: BTreeMap<String, BTreeSet<String>>) {
        for (name, values) in values {
            let joined: Vec<String> = values.into_iter().collect();
            self.insert(name, joined.join(" ").as_bytes());
        }
    }
}

/// Returns the parts in which two keys differ, by name.
pub fn difference(old: &KeyDocument, new: &KeyDocument) -> Vec<KeyChange> {
    let names: BTreeSet<&String> = old.components.keys().chain(new.components.keys()).collect();
    names
        .into_iter()
        .filter_map(|name| {
            let (before, after) = (old.components.get(name), new.components.get(name));
            (before != after).then(|| KeyChange {
                component: name.clone(),
                before: before.cloned(),
                after: after.cloned(),
            })
        })
        .collect()
}

/// Returns what the key of a base derivation is made of.
///
/// `inputs` are its direct input derivations, read. One that is missing there counts by its
/// derivation path, which is stricter. `project_sources` are the store paths that hold the
/// project's own sources.
pub fn compute(
    dir: &StoreDir,
    derivation: &Derivation,
    inputs: &BTreeMap<DerivationPath, Derivation>,
    project_sources: &BTreeSet<StorePath>,
    options: &KeyOptions,
) -> KeyDocument {
    let mut document = KeyDocument { components: BTreeMap::new() };
    let mut mask = Mask::default();
    for (output, details) in &derivation.outputs {
        if let Some(path) = &details.path {
            mask.add(dir, path, format!("<output {output}>"));
        }
    }
    for source in project_sources {
        mask.add(dir, source, format!("<source {}>", source_label(source)));
    }

    let mut shared: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, used) in &derivation.input_derivations {
        let name = path.name();
        let masked = options.mask_inputs.contains(name);
        let values = shared.entry(format!("input {name}")).or_default();
        for output in used {
            let built = inputs.get(path).and_then(|input| input.outputs.get(output)?.path.as_ref());
            values.insert(match built {
                Some(built) if masked => {
                    let label = match output.as_str() {
                        "out" => format!("<input {name}>"),
                        other => format!("<input {name} {other}>"),
                    };
                    mask.add(dir, built, label.clone());
                    label
                }
                Some(built) => dir.display(built),
                None => format!("{}!{output}", dir.display(path.as_store_path())),
            });
        }
    }
    for source in derivation.input_sources.difference(project_sources) {
        let values = shared.entry(format!("source {}", source.name())).or_default();
        values.insert(dir.display(source));
    }
    document.insert_all(shared);

    document.insert("system".to_owned(), derivation.system.as_bytes());
    document.insert("builder".to_owned(), &mask.apply(&derivation.builder));
    document.insert("args".to_owned(), &masked_args(&mask, &derivation.args));
    insert_env(&mut document, &mask, derivation, options);
    if let Some(extra) = &options.extra {
        document.insert("extra".to_owned(), extra.to_string().as_bytes());
    }
    document
}

/// Returns the arguments in one text from which they can be told apart.
fn masked_args(mask: &Mask, args: &[Vec<u8>]) -> Vec<u8> {
    let mut joined = Vec::new();
    for arg in args {
        let masked = mask.apply(arg);
        if !joined.is_empty() {
            joined.push(b' ');
        }
        match String::from_utf8(masked) {
            // As JSON: quoted, so that blanks inside an argument do not look like two.
            Ok(text) => joined.extend(serde_json::Value::from(text).to_string().into_bytes()),
            Err(binary) => {
                let digits = HEXLOWER.encode(binary.as_bytes());
                joined.extend(format!("<bytes {digits}>").into_bytes());
            }
        }
    }
    joined
}

fn insert_env(
    document: &mut KeyDocument,
    mask: &Mask,
    derivation: &Derivation,
    options: &KeyOptions,
) {
    for (name, value) in &derivation.env {
        let name = String::from_utf8_lossy(name);
        if options.ignore_env.contains(name.as_ref()) {
            continue;
        }
        let structured = match name.as_ref() {
            "__json" => serde_json::from_slice::<BTreeMap<String, serde_json::Value>>(value).ok(),
            _other => None,
        };
        match structured {
            // Structured attributes: one component each, so that a change can be named.
            Some(attributes) => {
                for (attribute, value) in attributes {
                    if !options.ignore_env.contains(&attribute) {
                        let value = mask.apply(value.to_string().as_bytes());
                        document.insert(format!("env __json.{attribute}"), &value);
                    }
                }
            }
            None => document.insert(format!("env {name}"), &mask.apply(value)),
        }
    }
}

/// Returns the name of a source without the hash that a whole tree's copy carries in its name
/// (`HASH-source`), which changes with the content.
pub(crate) fn source_label(source: &StorePath) -> &str {
    let name = source.name();
    // Nix's base 32 has no e, o, t and u.
    let is_hash =
        |text: &str| text.bytes().all(|c| b"0123456789abcdfghijklmnpqrsvwxyz".contains(&c));
    match name.split_at_checked(32) {
        Some((hash, rest)) if is_hash(hash) => match rest.strip_prefix('-') {
            Some(label) if !label.is_empty() => label,
            Some(_) | None => name,
        },
        Some(_) | None => name,
    }
}

/// Returns which of `wanted` are input sources anywhere in the graph of the derivation `shadow`.
///
/// The graph of `base` is walked in step, and what stands there too is not descended into: base
/// and shadow differ in little, so little is read. No derivation is read twice.
pub fn graph_contains<E>(
    read: &mut dyn FnMut(&DerivationPath) -> Result<Derivation, E>,
    shadow: &DerivationPath,
    base: &DerivationPath,
    wanted: &BTreeSet<StorePath>,
) -> Result<BTreeSet<StorePath>, E> {
    let mut found = BTreeSet::new();
    if wanted.is_empty() || shadow == base {
        return Ok(found);
    }
    // Everything that was ever queued on either side; on the base's side also what was only seen.
    let mut shadow_seen = BTreeSet::from([shadow.clone()]);
    let mut base_seen = BTreeSet::from([base.clone()]);
    let mut shadow_level = vec![shadow.clone()];
    let mut base_level = vec![base.clone()];
    while !shadow_level.is_empty() {
        let mut shadow_next = BTreeSet::new();
        for path in &shadow_level {
            let derivation = read(path)?;
            found.extend(derivation.input_sources.intersection(wanted).cloned());
            shadow_next.extend(derivation.input_derivations.into_keys());
        }
        if found.len() == wanted.len() {
            break;
        }
        let mut base_next = BTreeSet::new();
        for path in &base_level {
            // Read on the other side already: what is below it is known there.
            if !shadow_seen.contains(path) {
                base_next.extend(read(path)?.input_derivations.into_keys());
            }
        }
        base_level = base_next
            .iter()
            .filter(|path| !base_seen.contains(*path) && !shadow_next.contains(*path))
            .cloned()
            .collect();
        base_seen.extend(base_next);
        shadow_level = shadow_next
            .into_iter()
            .filter(|path| !base_seen.contains(path) && shadow_seen.insert(path.clone()))
            .collect();
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
