//! Whether an incremental build gave what a clean build gives.
//!
//! Compares the outputs file by file. What differs is the cache's doing only if
//! the clean build does not differ from itself there: so on a difference the
//! clean build is done once more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use levain_evaluator::evaluate::JobDerivation;
use levain_store::compare::{CompareError, Counterparts, Difference, compare};
use levain_store::{BuildOptions, BuildStatus, Connection, ProtocolError, Store, StorePath};
use serde::{Deserialize, Serialize};

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

/// Compares a success with the outputs of its base derivation, which are valid.
///
/// `cache_output` is left out: it may differ, and does.
pub(crate) fn compare_with_clean(
    store: &Store,
    connection: &mut Connection,
    success: &Success,
    base: &JobDerivation,
    cache_output: Option<&str>,
) -> Result<(Verdict, Vec<DifferingFile>), AuditError> {
    let incremental: BTreeMap<&String, StorePath> = success
        .outputs
        .iter()
        .filter_map(|(name, path)| Some((name, store.dir().parse(path).ok()?)))
        .collect();
    let pairs: Vec<(&String, &StorePath, &StorePath)> = incremental
        .iter()
        .filter_map(|(name, path)| Some((*name, path, base.outputs.get(*name)?)))
        .collect();
    for (_, path, _) in &pairs {
        if !connection.is_valid(path)? {
            return Ok((Verdict::Gone, Vec::new()));
        }
    }
    let counterparts = Counterparts::new(pairs.iter().map(|(_, a, b)| (*a, *b)));
    let mut found: Vec<(&String, &StorePath, Difference)> = Vec::new();
    for (name, path, clean) in &pairs {
        if cache_output == Some(name.as_str()) {
            continue;
        }
        let differences = compare(&store.real_path(path), &store.real_path(clean), &counterparts)?;
        found.extend(differences.into_iter().map(|difference| (*name, *clean, difference)));
    }
    if found.is_empty() {
        return Ok((Verdict::Same, Vec::new()));
    }
    let unstable = unstable_places(store, connection, base)?;
    let mut lied = false;
    let mut files = Vec::new();
    for (output, _, difference) in found {
        let also_in_clean = match &unstable {
            None => false,
            Some(places) => match places.get(output) {
                Some(paths) => paths.contains(&difference.path),
                // Nix stops at the first output that differs; of the others nothing is known.
                None => true,
            },
        };
        lied |= !also_in_clean;
        files.push(DifferingFile {
            output: output.clone(),
            path: difference.path.display().to_string(),
            difference: difference.kind.describe().to_owned(),
            also_in_clean,
        });
    }
    Ok((if lied { Verdict::Lied } else { Verdict::NotDeterministic }, files))
}

/// Returns where two clean builds differ, by output; `None` if they do not.
fn unstable_places(
    store: &Store,
    connection: &mut Connection,
    base: &JobDerivation,
) -> Result<Option<BTreeMap<String, BTreeSet<PathBuf>>>, AuditError> {
    let overrides = [("keep-failed".to_owned(), "true".to_owned())].into();
    connection.set_options(&BuildOptions { overrides, ..BuildOptions::default() })?;
    let result = connection.check(&base.derivation, &mut |_| {})?;
    if result.status != BuildStatus::NotDeterministic {
        return Ok(None);
    }
    let mut places = BTreeMap::new();
    for (name, path) in &base.outputs {
        let clean = store.real_path(path);
        let mut again = clean.clone().into_os_string();
        again.push(".check");
        let again = PathBuf::from(again);
        if again.symlink_metadata().is_ok() {
            let differences = compare(&clean, &again, &Counterparts::default())?;
            let paths = differences.into_iter().map(|difference| difference.path).collect();
            places.insert(name.clone(), paths);
        }
    }
    Ok(Some(places))
}
