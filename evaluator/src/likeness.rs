//! Whether a shadow derivation is its base derivation with a cache, and nothing else.
//!
//! The shadow commit is evaluated with two files more than the author's commit, and a flake may read
//! them. What is built from a cache counts as the base derivation's result; so it must be what the
//! base derivation describes, wherever it came from: builder, arguments, environment, system,
//! outputs and inputs, in the whole graph. What may differ is what the two files make different:
//!
//! - a cache, as a value where the base has none;
//! - the project's own sources, the whole tree included, in the two files alone (which the caller compares);
//! - the commit's own name, and the store paths that follow from all this.
//!
//! Reads nothing by itself. Start at [`Comparison::differences`].

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use levain_store::{Derivation, DerivationPath, StoreDir, StorePath};
use serde_json::Value;

use crate::key::source_label;
use crate::mask::Mask;

/// How many derivations may lie on top of each other that differ.
const MOST_DEPTH: usize = 256;
/// How many pairs of derivations are compared for one job.
const MOST_PAIRS: usize = 5_000;
/// A shorter piece of a commit's name may be any number.
const SHORTEST_NAME: usize = 7;

/// What the two evaluations differ in by themselves: of the base, then of the shadow.
#[derive(Debug, Clone, Copy)]
pub struct Evaluations<'a> {
    /// Where the store is.
    pub dir: &'a StoreDir,
    /// The store path of the tree that was evaluated, as text.
    pub trees: [&'a str; 2],
    /// The commit that was evaluated.
    pub commits: [&'a str; 2],
    /// The caches that the pointer offers.
    pub caches: &'a BTreeSet<StorePath>,
}

/// Reads a derivation.
pub type Read<'a, E> = dyn FnMut(&DerivationPath) -> Result<Derivation, E> + 'a;
/// Says whether two sources, the base's and the shadow's, differ in the shadow branch's files alone.
pub type SameSource<'a, E> = dyn FnMut(&StorePath, &StorePath) -> Result<bool, E> + 'a;

/// Compares shadow derivations with their base derivations. No pair is compared twice.
pub struct Comparison<'a, 'f, E> {
    evaluations: Evaluations<'a>,
    read: &'f mut Read<'f, E>,
    same_source: &'f mut SameSource<'f, E>,
    known: BTreeMap<(DerivationPath, DerivationPath), Vec<String>>,
    derivations: BTreeMap<DerivationPath, Rc<Derivation>>,
    /// How many more pairs are compared.
    left: usize,
}

/// The labels of store paths that stand for each other: in the base, and in the shadow.
#[derive(Default)]
struct Masks([Mask; 2]);

impl Masks {
    fn add(&mut self, dir: &StoreDir, base: &StorePath, shadow: &StorePath, label: &str) {
        self.0[0].add(dir, base, label.to_owned());
        self.0[1].add(dir, shadow, label.to_owned());
    }
}

impl<'a, 'f, E> Comparison<'a, 'f, E> {
    /// Prepares to compare what two evaluations gave.
    pub fn new(
        evaluations: Evaluations<'a>,
        read: &'f mut Read<'f, E>,
        same_source: &'f mut SameSource<'f, E>,
    ) -> Self {
        let (known, derivations) = (BTreeMap::new(), BTreeMap::new());
        Self { evaluations, read, same_source, known, derivations, left: 0 }
    }

    /// Returns the parts in which the derivation `shadow` differs from `base` by more than the cache,
    /// as in `env CFLAGS`; none if it is `base` with a cache.
    pub fn differences(
        &mut self,
        base: &DerivationPath,
        shadow: &DerivationPath,
    ) -> Result<Vec<String>, E> {
        self.left = MOST_PAIRS;
        self.pair(base, shadow, 0)
    }

    fn derivation(&mut self, path: &DerivationPath) -> Result<Rc<Derivation>, E> {
        if let Some(known) = self.derivations.get(path) {
            return Ok(Rc::clone(known));
        }
        let derivation = Rc::new((self.read)(path)?);
        self.derivations.insert(path.clone(), Rc::clone(&derivation));
        Ok(derivation)
    }

    /// Compares two derivations and all that they need.
    fn pair(
        &mut self,
        base: &DerivationPath,
        shadow: &DerivationPath,
        depth: usize,
    ) -> Result<Vec<String>, E> {
        if base == shadow {
            return Ok(Vec::new());
        }
        let key = (base.clone(), shadow.clone());
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        self.left = self.left.saturating_sub(1);
        if depth > MOST_DEPTH || self.left == 0 {
            return Ok(vec!["more dependencies than are compared".to_owned()]);
        }
        let (b, s) = (self.derivation(base)?, self.derivation(shadow)?);
        let found = match b.is_fixed_output() && b.outputs == s.outputs {
            // Whatever makes it, its content is what its hash says.
            true => Vec::new(),
            false => self.contents(&b, &s, depth)?,
        };
        self.known.insert(key, found.clone());
        Ok(found)
    }

    fn contents(&mut self, b: &Derivation, s: &Derivation, depth: usize) -> Result<Vec<String>, E> {
        let dir = self.evaluations.dir;
        let mut parts = Vec::new();
        let mut masks = Masks::default();
        // Trees of two commits may differ in more than the commits do: `export-subst` writes names of
        // commits into files.
        if let [Ok(base), Ok(shadow)] = self.evaluations.trees.map(|tree| dir.parse(tree))
            && is_named(b, &base)
            && (self.same_source)(&base, &shadow)?
        {
            masks.add(dir, &base, &shadow, "<tree>");
        }
        let fixed = |derivation: &Derivation| -> Vec<(String, String, String, bool)> {
            let outputs = derivation.outputs.iter();
            let outputs = outputs.map(|(name, output)| {
                let (algorithm, hash) = (output.hash_algorithm.clone(), output.hash.clone());
                (name.clone(), algorithm, hash, output.path.is_some())
            });
            outputs.collect()
        };
        if fixed(b) != fixed(s) {
            parts.push("outputs".to_owned());
        }
        add_outputs(&mut masks, dir, b, s, &|name| format!("<output {name}>"));
        if b.system != s.system {
            parts.push("system".to_owned());
        }
        self.inputs(b, s, depth, &mut masks, &mut parts)?;
        let caches = self.sources(b, s, &mut masks, &mut parts)?;
        let caches: Vec<String> = caches.iter().map(|path| dir.display(path)).collect();
        let text = |side: usize, text: &[u8]| {
            named_commit(&masks.0[side].apply(text), self.evaluations.commits[side].as_bytes())
        };
        if text(0, &b.builder) != text(1, &s.builder) {
            parts.push("builder".to_owned());
        }
        let args = |a: &Vec<u8>, b: &Vec<u8>| is_alike(&text(0, a), &text(1, b), &caches);
        if b.args.len() != s.args.len() || !b.args.iter().zip(&s.args).all(|(a, b)| args(a, b)) {
            parts.push("args".to_owned());
        }
        let names: BTreeSet<&Vec<u8>> = b.env.keys().chain(s.env.keys()).collect();
        for name in names {
            let alike = match (b.env.get(name), s.env.get(name)) {
                (Some(a), Some(b)) if name == b"__json" => {
                    is_alike_structured(&text(0, a), &text(1, b), &caches)
                }
                (Some(a), Some(b)) => is_alike(&text(0, a), &text(1, b), &caches),
                (None, Some(b)) => is_caches(b, &caches),
                (Some(_) | None, None) => false,
            };
            if !alike {
                parts.push(format!("env {}", String::from_utf8_lossy(name)));
            }
        }
        Ok(parts)
    }

    /// Pairs the input derivations that differ, by name: each is like one on the other side.
    fn inputs(
        &mut self,
        b: &Derivation,
        s: &Derivation,
        depth: usize,
        masks: &mut Masks,
        parts: &mut Vec<String>,
    ) -> Result<(), E> {
        let dir = self.evaluations.dir;
        let alone = |a: &Derivation, b: &Derivation| -> Vec<(DerivationPath, BTreeSet<String>)> {
            let alone = a.input_derivations.iter();
            let alone =
                alone.filter(|(path, outputs)| b.input_derivations.get(*path) != Some(outputs));
            alone.map(|(path, outputs)| (path.clone(), outputs.clone())).collect()
        };
        let mut left = alone(s, b);
        for (base, outputs) in alone(b, s) {
            let similar = |other: &(DerivationPath, BTreeSet<String>)| {
                other.0.name() == base.name() && other.1 == outputs
            };
            let candidates: Vec<DerivationPath> =
                left.iter().filter(|other| similar(other)).map(|(path, _)| path.clone()).collect();
            let mut found = None;
            let mut why = Vec::new();
            for candidate in &candidates {
                why = self.pair(&base, candidate, depth + 1)?;
                if why.is_empty() {
                    found = Some(candidate.clone());
                    break;
                }
            }
            if found.is_none() {
                // With one candidate it is known what is wrong with it.
                found = candidates.first().filter(|_| candidates.len() == 1).cloned();
                let name = base.name();
                match &found {
                    Some(_) => parts.extend(why.into_iter().map(|part| {
                        match part.contains(" of dependency ") {
                            true => part,
                            false => format!("{part} of dependency `{name}`"),
                        }
                    })),
                    None => parts.push(format!("input {name}")),
                }
            }
            let Some(shadow) = found else { continue };
            left.retain(|(path, _)| *path != shadow);
            let (b, s) = (self.derivation(&base)?, self.derivation(&shadow)?);
            let label = |name: &str| format!("<input {base} {name}>");
            add_outputs(masks, dir, &b, &s, &label);
            let (base, shadow) = (base.as_store_path(), shadow.as_store_path());
            masks.add(dir, base, shadow, &format!("<input {base}>"));
        }
        parts.extend(left.into_iter().map(|(path, _)| format!("input {}", path.name())));
        Ok(())
    }

    /// Pairs the sources that differ; returns the caches among the shadow's.
    fn sources(
        &mut self,
        b: &Derivation,
        s: &Derivation,
        masks: &mut Masks,
        parts: &mut Vec<String>,
    ) -> Result<Vec<StorePath>, E> {
        let dir = self.evaluations.dir;
        let is_cache = |path: &&StorePath| self.evaluations.caches.contains(*path);
        let shadow = s.input_sources.difference(&b.input_sources);
        let (caches, mut left): (Vec<StorePath>, Vec<StorePath>) =
            shadow.cloned().partition(|path| is_cache(&path));
        for base in b.input_sources.difference(&s.input_sources) {
            let name = source_label(base);
            let mut found = None;
            for candidate in left.iter().filter(|other| source_label(other) == name) {
                if (self.same_source)(base, candidate)? {
                    found = Some(candidate.clone());
                    break;
                }
            }
            match found {
                Some(shadow) => {
                    left.retain(|path| *path != shadow);
                    masks.add(dir, base, &shadow, &format!("<source {base}>"));
                }
                None => parts.push(format!("source {name}")),
            }
        }
        for path in left {
            let part = format!("source {}", source_label(&path));
            if !parts.contains(&part) {
                parts.push(part);
            }
        }
        Ok(caches)
    }
}

fn add_outputs(
    masks: &mut Masks,
    dir: &StoreDir,
    base: &Derivation,
    shadow: &Derivation,
    label: &dyn Fn(&str) -> String,
) {
    for (name, output) in &base.outputs {
        let other = shadow.outputs.get(name).and_then(|output| output.path.as_ref());
        if let (Some(base), Some(shadow)) = (&output.path, other) {
            masks.add(dir, base, shadow, &label(name));
        }
    }
}

/// Says whether a text of a derivation names a store path.
fn is_named(derivation: &Derivation, path: &StorePath) -> bool {
    let hash = path.hash_part().as_bytes();
    let Derivation { builder, args, env, .. } = derivation;
    let texts = args.iter().chain(env.keys()).chain(env.values()).chain([builder]);
    texts.into_iter().any(|text| text.windows(hash.len()).any(|window| window == hash))
}

/// Replaces the commit's name, whole or cut, by how much of it there is.
fn named_commit(text: &[u8], commit: &[u8]) -> Vec<u8> {
    let Some(start) = commit.get(..SHORTEST_NAME) else { return text.to_vec() };
    let mut masked = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.first() {
        if rest.starts_with(start) {
            let length = rest.iter().zip(commit).take_while(|(a, b)| a == b).count();
            masked.extend(format!("<commit {length}>").into_bytes());
            rest = &rest[length..];
        } else {
            masked.push(*first);
            rest = &rest[1..];
        }
    }
    masked
}

/// Returns whether a text is nothing but caches.
fn is_caches(text: &[u8], caches: &[String]) -> bool {
    let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).peekable();
    words.peek().is_some() && words.all(|word| caches.iter().any(|cache| cache.as_bytes() == word))
}

/// Returns whether the shadow's text is the base's, but for caches where the base has no value.
///
/// A value is the whole text, or what follows `=` or a quote up to a blank, a quote or the end. So a
/// cache never becomes a word of its own in a command, nor the beginning of a longer path.
fn is_alike(base: &[u8], shadow: &[u8], caches: &[String]) -> bool {
    if base == shadow {
        return true;
    }
    if base.trim_ascii().is_empty() && is_caches(shadow, caches) {
        return true;
    }
    let mut without = Vec::with_capacity(shadow.len());
    let mut rest = shadow;
    while let Some(first) = rest.first() {
        let cache = caches.iter().find(|cache| {
            let after = rest.strip_prefix(cache.as_bytes()).map(<[u8]>::first);
            let begins = matches!(without.last(), Some(b'=' | b'\'' | b'"'));
            let ends = |after: Option<&u8>| {
                after.is_none_or(|c| c.is_ascii_whitespace() || matches!(c, b'\'' | b'"'))
            };
            begins && after.is_some_and(ends)
        });
        match cache {
            Some(cache) => rest = &rest[cache.len()..],
            None => {
                without.push(*first);
                rest = &rest[1..];
            }
        }
    }
    without == base
}

/// Returns the same for structured attributes.
fn is_alike_structured(base: &[u8], shadow: &[u8], caches: &[String]) -> bool {
    let parsed = [base, shadow].map(serde_json::from_slice::<Value>);
    match parsed {
        [Ok(base), Ok(shadow)] => is_alike_value(Some(&base), &shadow, caches),
        [_, _] => is_alike(base, shadow, caches),
    }
}

fn is_alike_value(base: Option<&Value>, shadow: &Value, caches: &[String]) -> bool {
    match (base, shadow) {
        (Some(Value::String(base)), Value::String(shadow)) => {
            is_alike(base.as_bytes(), shadow.as_bytes(), caches)
        }
        (None | Some(Value::Null), Value::String(shadow)) => is_caches(shadow.as_bytes(), caches),
        (Some(Value::Array(base)), Value::Array(shadow)) => {
            let mut pairs = base.iter().zip(shadow);
            base.len() == shadow.len() && pairs.all(|(a, b)| is_alike_value(Some(a), b, caches))
        }
        (Some(Value::Object(base)), Value::Object(shadow)) => {
            let mut of_shadow = shadow.iter();
            base.keys().all(|name| shadow.contains_key(name))
                && of_shadow.all(|(name, value)| is_alike_value(base.get(name), value, caches))
        }
        (Some(base), shadow) => base == shadow,
        (None, _) => false,
    }
}

#[cfg(test)]
mod tests;
