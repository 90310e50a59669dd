//! Whether an incremental build gave what a clean build gives.
//!
//! Compares the outputs file by file. What differs is the cache's doing only if
//! the clean build does not differ from itself there: so on a difference the
//! clean build is done once more, as a twin of the base derivation.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use levain_evaluator::evaluate::JobDerivation;
use levain_store::compare::{
    CompareError, Counterparts, Difference, DifferenceKind, Triples, compare, names_another,
};
use levain_store::{Connection, Derivation, ProtocolError, Store, StorePath};
use serde::{Deserialize, Serialize};

use crate::exposure::exposed_in;
use crate::success::Success;

/// What an audit found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The clean build gives the same.
    Same,
    /// They differ, but so does the clean build from itself.
    NotDeterministic,
    /// They differ where the clean build does not differ from itself: the cache lied.
    Lied,
    /// There is nothing to compare: the job was not built from a cache.
    NotIncremental,
    /// The incremental build's outputs are not in the store any more.
    Gone,
    /// The clean build fails although the incremental one did not: the cache lied.
    CleanFails,
    /// The clean build could not be done, through no fault of the job.
    Unfinished,
}

impl Verdict {
    /// Returns whether the cache must not be used any more.
    pub fn is_lie(self) -> bool {
        match self {
            Self::Lied | Self::CleanFails => true,
            Self::Same
            | Self::NotDeterministic
            | Self::NotIncremental
            | Self::Gone
            | Self::Unfinished => false,
        }
    }

    /// Returns whether the audit was carried through, so that its verdict counts.
    pub fn is_done(self) -> bool {
        match self {
            Self::Same
            | Self::NotDeterministic
            | Self::Lied
            | Self::NotIncremental
            | Self::Gone
            | Self::CleanFails => true,
            Self::Unfinished => false,
        }
    }

    /// Returns a few words for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Same => "same as a clean build",
            Self::NotDeterministic => "not deterministic: clean builds differ there, too",
            Self::Lied => "the cache lied",
            Self::NotIncremental => "was not built from a cache",
            Self::Gone => "its outputs are gone",
            Self::CleanFails => "the cache lied: a clean build fails",
            Self::Unfinished => "the clean build could not be done",
        }
    }
}

/// A file that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DifferingFile {
    /// The output that it is in.
    pub output: String,
    /// Its path in there.
    pub path: String,
    /// How the incremental build's (the first) and the clean build's (the second) differ.
    pub difference: String,
    /// Whether two clean builds differ there, too.
    pub also_in_clean: bool,
}

/// An audit could not be carried through.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The files.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// The store.
    #[error(transparent)]
    Store(#[from] ProtocolError),
}

/// How a success differs from the clean build.
#[derive(Debug)]
pub(crate) enum Compared {
    /// Its outputs are not in the store any more.
    Gone,
    /// The places, by output; none if they are the same.
    Differences(Vec<(String, Difference)>),
}

/// Compares a success with the outputs of its base derivation, which are valid.
///
/// `cache_output` is left out: it may differ, and does. Unless another output refers to it, so that it
/// is part of what users get.
pub(crate) fn compare_with_clean(
    store: &Store,
    connection: &mut Connection,
    success: &Success,
    base: &JobDerivation,
    cache_output: Option<&str>,
) -> Result<Compared, AuditError> {
    let incremental: BTreeMap<&String, StorePath> = success
        .outputs
        .iter()
        .filter_map(|(name, path)| Some((name, store.dir().parse(path).ok()?)))
        .collect();
    for path in incremental.values() {
        if !connection.is_valid(path)? {
            return Ok(Compared::Gone);
        }
    }
    let mut counterparts = Counterparts::new(
        incremental.iter().filter_map(|(name, path)| Some((path, base.outputs.get(*name)?))),
    );
    for (ours, theirs) in sources(store, success, base) {
        counterparts.add(&ours, &theirs);
    }
    let ours: BTreeMap<String, StorePath> =
        incremental.iter().map(|(name, path)| ((*name).clone(), path.clone())).collect();
    let mut left_out = cache_output;
    let built = store.dir().parse_derivation(&success.built).ok();
    let built = built.as_ref().unwrap_or(&base.derivation);
    for (derivation, outputs) in [(built, &ours), (&base.derivation, &base.outputs)] {
        let none = BTreeSet::new();
        if exposed_in(store, connection, derivation, outputs, cache_output, &none)?.is_some() {
            left_out = None;
        }
    }
    let mut found = Vec::new();
    let names: BTreeSet<&String> = incremental.keys().copied().chain(base.outputs.keys()).collect();
    for name in names.into_iter().filter(|name| left_out != Some(name.as_str())) {
        let whole = |kind| vec![Difference { path: PathBuf::new(), kind }];
        let differences = match (incremental.get(name), base.outputs.get(name)) {
            (Some(ours), Some(clean)) => {
                compare(&store.real_path(ours), &store.real_path(clean), &counterparts)?
            }
            (Some(_), None) => whole(DifferenceKind::OnlyFirst),
            (None, Some(_)) => whole(DifferenceKind::OnlySecond),
            (None, None) => Vec::new(),
        };
        found.extend(differences.into_iter().map(|difference| (name.clone(), difference)));
    }
    Ok(Compared::Differences(found))
}

/// Pairs the copies of the project's tree that the two derivations have, each its own: two files
/// differ between them, and an output that names its sources is no lie.
fn sources(store: &Store, success: &Success, base: &JobDerivation) -> Vec<(StorePath, StorePath)> {
    let built = store.dir().parse_derivation(&success.built).ok();
    let built = built.and_then(|path| store.read_derivation(&path).ok());
    let (Some(built), Ok(base)) = (built, store.read_derivation(&base.derivation)) else {
        return Vec::new();
    };
    let alone = |a: &Derivation, b: &Derivation| -> Vec<StorePath> {
        let sources = a.input_sources.difference(&b.input_sources);
        sources.filter(|source| source.name().ends_with("source")).cloned().collect()
    };
    match (alone(&built, &base).as_slice(), alone(&base, &built).as_slice()) {
        ([ours], [theirs]) => vec![(ours.clone(), theirs.clone())],
        // Which belongs to which is not certain.
        (_, _) => Vec::new(),
    }
}

/// The places where two clean builds differ, by output.
pub(crate) type Unstable = BTreeMap<String, BTreeSet<PathBuf>>;

/// Compares the outputs of a base derivation with those of its twin; all are valid.
pub(crate) fn unstable_places(
    store: &Store,
    base: &JobDerivation,
    twin: &BTreeMap<String, StorePath>,
) -> Result<Unstable, AuditError> {
    let pairs: Vec<(&String, &StorePath, &StorePath)> = base
        .outputs
        .iter()
        .filter_map(|(name, path)| Some((name, path, twin.get(name)?)))
        .collect();
    let counterparts = Counterparts::new(pairs.iter().map(|(_, path, again)| (*again, *path)));
    let mut places = Unstable::new();
    for (name, path, again) in pairs {
        let differences = compare(&store.real_path(again), &store.real_path(path), &counterparts)?;
        let paths = differences.into_iter().map(|difference| difference.path).collect();
        places.insert(name.clone(), paths);
    }
    Ok(places)
}

/// Finds the files in which two clean builds differ, but each names its own outputs where the
/// incremental build names those of another build: that is no lack of determinism.
pub(crate) fn foreign_places(
    store: &Store,
    success: &Success,
    base: &JobDerivation,
    twin: &BTreeMap<String, StorePath>,
    found: &[(String, Difference)],
) -> Result<Unstable, AuditError> {
    let ours = |name: &String| store.dir().parse(success.outputs.get(name)?).ok();
    let all: BTreeMap<&String, (StorePath, &StorePath, &StorePath)> = base
        .outputs
        .iter()
        .filter_map(|(name, clean)| Some((name, (ours(name)?, clean, twin.get(name)?))))
        .collect();
    let triples = Triples::new(all.values().map(|(ours, clean, twin)| (ours, *clean, *twin)));
    let mut places = Unstable::new();
    for (name, difference) in found {
        let Some((ours, clean, twin)) = all.get(name) else { continue };
        let file = |path: &StorePath| match difference.path.as_os_str().is_empty() {
            true => store.real_path(path),
            false => store.real_path(path).join(&difference.path),
        };
        let files = [file(ours), file(clean), file(twin)];
        // A name that carries a hash is another one in each build.
        let all_there = files.iter().all(|file| file.symlink_metadata().is_ok());
        if all_there && names_another([&files[0], &files[1], &files[2]], &triples)? {
            places.entry(name.clone()).or_default().insert(difference.path.clone());
        }
    }
    Ok(places)
}

/// Judges what differs, knowing where two clean builds do, and where another build's outputs are named.
pub(crate) fn judge(
    found: Vec<(String, Difference)>,
    unstable: &Unstable,
    foreign: &Unstable,
) -> (Verdict, Vec<DifferingFile>) {
    let has = |places: &Unstable, output: &String, path: &PathBuf| {
        places.get(output).is_some_and(|places| places.contains(path))
    };
    if found.is_empty() {
        return (Verdict::Same, Vec::new());
    }
    let files: Vec<DifferingFile> = found
        .into_iter()
        .map(|(output, difference)| {
            let names_another = has(foreign, &output, &difference.path);
            DifferingFile {
                also_in_clean: !names_another && has(unstable, &output, &difference.path),
                path: difference.path.display().to_string(),
                difference: match names_another {
                    true => "names the output of another build".to_owned(),
                    false => difference.kind.describe().to_owned(),
                },
                output,
            }
        })
        .collect();
    let lied = files.iter().any(|file| !file.also_in_clean);
    (if lied { Verdict::Lied } else { Verdict::NotDeterministic }, files)
}

#[cfg(test)]
mod tests;
