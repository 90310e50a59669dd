//! The sources: what they are, how they differ from those of the build that made the cache, and
//! which times they get.
//!
//! Tools compare times, Nix gives none. So a source with the content it had gets the time it had,
//! and every other one gets "now": then a tool that compares times finds out the truth.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::digest::Digest;
use crate::glob::{self, Glob};
use crate::links::{self, Leads};
use crate::manifest::{Source, SourceKind};
use crate::refusal::Refusal;
use crate::relative::RelativePath;
use crate::scan::{self, Found, FoundKind, ScanError, Stamp};
use crate::threads;
use crate::time::Time;

/// Reads all sources, in order.
pub(crate) fn read(
    tree: &Path,
    skip: &dyn Fn(&RelativePath) -> bool,
) -> Result<Vec<(Source, Stamp)>, ScanError> {
    let root = Found::at(tree, RelativePath::root())?;
    let mut found: Vec<Found> = root.into_iter().collect();
    scan::walk(tree, &RelativePath::root(), skip, &mut found)?;
    // A pipe or device is no content; a tool that needs one makes it.
    found.retain(|found| !matches!(found.kind, FoundKind::Special(_)));
    found.sort_by(|a, b| a.path.cmp(&b.path));
    let names = names(&found);
    threads::each(&found, |found| {
        let kind = match &found.kind {
            FoundKind::Directory => SourceKind::Directory {
                names: names.get(&found.path).copied().unwrap_or(nothing()),
            },
            FoundKind::Link(target) => SourceKind::Link { target: target.clone() },
            FoundKind::File | FoundKind::Special(_) => SourceKind::File {
                executable: found.mode & 0o100 != 0,
                size: found.size,
                digest: scan::read_content(&found.path.under(tree), found.size, None)?.0,
            },
        };
        let modified = found.stamp.modified;
        Ok((Source { path: found.path.clone(), modified, kind, rewritten: false }, found.stamp))
    })
}

fn nothing() -> Digest {
    Digest::of(b"")
}

/// Hashes the names that each directory holds. The list is in order, so the names are too.
fn names(found: &[Found]) -> HashMap<RelativePath, Digest> {
    let mut hashers: HashMap<RelativePath, blake3::Hasher> = HashMap::new();
    for found in found {
        if let Some(parent) = found.path.parent() {
            let hasher = hashers.entry(parent).or_default();
            hasher.update(found.path.name());
            hasher.update(&[0]);
        }
    }
    hashers.iter().map(|(path, hasher)| (path.clone(), Digest::from_hasher(hasher))).collect()
}

/// The time that a source gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gets {
    /// The time it had.
    Old(Time),
    /// A time later than everything restored.
    Now,
}

/// How sources differ from those recorded.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// For each source of now, in order.
    pub times: Vec<Gets>,
    /// Files and links as they were.
    pub unchanged: usize,
    /// Files and links with another content, or that the tool changed in the recorded build.
    pub changed: Vec<RelativePath>,
    /// Those of them that have the content they had, before the tool changed them.
    pub rewritten: HashSet<RelativePath>,
    /// Files and links that were not there.
    pub new: Vec<RelativePath>,
    /// Files and links that are no longer there.
    pub gone: Vec<RelativePath>,
    /// A link that is changed, new or gone and leads to a directory, now or then: behind it, files
    /// may be gone of which nothing is recorded.
    pub relinked: Option<RelativePath>,
}

/// Compares the sources of now with those recorded.
pub(crate) fn compare(
    tree: &Path,
    old: &[&Source],
    now: &[(Source, Stamp)],
) -> Result<Comparison, Refusal> {
    let before: HashMap<&RelativePath, &Source> =
        old.iter().map(|source| (&source.path, *source)).collect();
    let after: HashMap<&RelativePath, &Source> =
        now.iter().map(|(source, _)| (&source.path, source)).collect();
    let mut result = Comparison::default();
    let mut flipped = Vec::new();
    for (source, _) in now {
        let counts = source.has_content();
        let was = before.get(&source.path);
        let same = was.filter(|was| was.kind == source.kind && !was.rewritten);
        match (was, same) {
            (_, Some(same)) => {
                result.times.push(Gets::Old(same.modified));
                result.unchanged += usize::from(counts);
            }
            (Some(was), None) => {
                result.times.push(Gets::Now);
                if counts {
                    result.changed.push(source.path.clone());
                }
                if was.kind == source.kind {
                    result.rewritten.insert(source.path.clone());
                }
                flipped.push((Some(*was), Some(source)));
            }
            (None, None) => {
                result.times.push(Gets::Now);
                if counts {
                    result.new.push(source.path.clone());
                }
                flipped.push((None, Some(source)));
            }
        }
    }
    for source in old.iter().filter(|source| !after.contains_key(&source.path)) {
        if source.has_content() {
            result.gone.push(source.path.clone());
        }
        flipped.push((Some(*source), None));
    }
    touch_targets(tree, &flipped, (&before, &after), now, &mut result)?;
    Ok(result)
}

type Tree<'a> = HashMap<&'a RelativePath, &'a Source>;

/// A link that now leads elsewhere changes no file's time, so both ends of the move get a new one.
fn touch_targets(
    tree: &Path,
    flipped: &[(Option<&Source>, Option<&Source>)],
    (before, after): (&Tree<'_>, &Tree<'_>),
    now: &[(Source, Stamp)],
    result: &mut Comparison,
) -> Result<(), Refusal> {
    let mut touched: HashSet<RelativePath> = HashSet::new();
    for (was, is) in flipped {
        if let Some(Source { path, kind: SourceKind::Link { target }, .. }) = was {
            match follow(tree, path, target, before) {
                Leads::To(end) => {
                    if is_directory(before, &end) {
                        result.relinked.get_or_insert_with(|| path.clone());
                    }
                    touched.insert(end);
                }
                // Who knows what was there.
                Leads::Out | Leads::Elsewhere => {
                    result.relinked.get_or_insert_with(|| path.clone());
                }
                Leads::Nowhere => {}
            }
        }
        if let Some(Source { path, kind: SourceKind::Link { target }, .. }) = is {
            match follow(tree, path, target, after) {
                Leads::To(end) => {
                    if is_directory(after, &end) {
                        result.relinked.get_or_insert_with(|| path.clone());
                    }
                    touched.insert(end);
                }
                Leads::Out if was.is_some() => return Err(Refusal::SourceLink(path.clone())),
                Leads::Out | Leads::Elsewhere | Leads::Nowhere => {}
            }
        }
    }
    if touched.is_empty() {
        return Ok(());
    }
    for ((source, _), gets) in now.iter().zip(&mut result.times) {
        let mut place = Some(source.path.clone());
        while let Some(path) = place {
            if touched.contains(&path) {
                *gets = Gets::Now;
            }
            place = path.parent();
        }
    }
    Ok(())
}

fn follow(place: &Path, link: &RelativePath, target: &[u8], tree: &Tree<'_>) -> Leads {
    links::follow(place, link, target, &|path| target_in(tree, path), &|_| false)
}

fn is_directory(tree: &Tree<'_>, path: &RelativePath) -> bool {
    tree.get(path).is_some_and(|source| matches!(source.kind, SourceKind::Directory { .. }))
}

fn target_in(tree: &Tree<'_>, path: &RelativePath) -> Option<Vec<u8>> {
    match &tree.get(path)?.kind {
        SourceKind::Link { target } => Some(target.clone()),
        SourceKind::Directory { .. } | SourceKind::File { .. } => None,
    }
}

/// Refuses a set when a new source may hide another, directly or behind a link to a directory.
pub(crate) fn check_hiding(comparison: &Comparison, hiding: &[Glob]) -> Result<(), Refusal> {
    if let Some(path) = comparison.new.iter().find(|path| glob::any(hiding, path)) {
        return Err(Refusal::Hiding(path.clone()));
    }
    match &comparison.relinked {
        Some(link) if !hiding.is_empty() => Err(Refusal::Relinked(link.clone())),
        Some(_) | None => Ok(()),
    }
}

/// Returns the hash of everything in a directory but what is below one place in it, and times.
pub(crate) fn beside(directory: &Path, but: &RelativePath) -> Result<Digest, ScanError> {
    let mut text = Vec::new();
    for (source, _) in read(directory, &|path| path.within(but))? {
        Source { modified: Time::ZERO, ..source }.encode(&mut text);
    }
    Ok(Digest::of(&text))
}

/// Refuses a set when a definition file differs.
///
/// One that the tool itself changed does not: it is what it was, and the tool will change it again.
/// So does nixpkgs' `stdenv` with the first line of every `configure`.
pub(crate) fn check_definitions(
    comparison: &Comparison,
    definitions: &[Glob],
) -> Result<(), Refusal> {
    let differing =
        [("changed", &comparison.changed), ("new", &comparison.new), ("gone", &comparison.gone)];
    for (how, paths) in differing {
        let differs = |path: &&RelativePath| {
            glob::any(definitions, path) && !comparison.rewritten.contains(*path)
        };
        if let Some(path) = paths.iter().find(differs) {
            return Err(Refusal::Definition { path: path.clone(), how });
        }
    }
    Ok(())
}
