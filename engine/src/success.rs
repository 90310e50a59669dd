//! Which base derivations have succeeded, and what their caches are.

use std::collections::BTreeMap;

use levain_evaluator::pointer::{Entry, Tier};
use serde::{Deserialize, Serialize};

use crate::jobset::Jobset;

/// All known successes of one base derivation.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Successes {
    /// The build of the base derivation itself. A pure derivation that
    /// succeeded has succeeded for everyone, whoever started it.
    pub clean: Option<Success>,
    /// Builds from caches, by jobset: trusted only as far as that jobset is.
    pub incremental: BTreeMap<String, Success>,
}

/// One success.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Success {
    /// The derivation that was built, as a store path.
    pub built: String,
    /// Its outputs, as store paths.
    pub outputs: BTreeMap<String, String>,
    /// The original commit.
    pub commit: String,
    /// When it was found to be a success, in seconds since 1970.
    pub time: u64,
    /// Trust in the jobset that made it.
    pub tier: Tier,
    /// The job's attribute path in the evaluation that made it.
    pub job: String,
    /// What a pointer may say of its cache output.
    pub cache: RecordedCache,
}

/// What became of a success's cache output.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum RecordedCache {
    /// The job has none, or incremental mode was off.
    None,
    /// There is a content-addressed copy; this is its pointer entry.
    Entry(StoredEntry),
    /// There is one that must not be used: it was dropped, or refers to itself.
    Unusable,
}

/// A pointer entry as text: the pointer's own format, so that there is one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StoredEntry(String);

impl StoredEntry {
    /// Stores `entry`.
    pub(crate) fn new(dir: &levain_store::StoreDir, entry: &Entry) -> Self {
        let entries = [("entry".to_owned(), Ok(entry.clone()))].into();
        Self(levain_evaluator::pointer::Pointer::Entries(entries).print(dir))
    }

    /// Returns the entry, if it can still be understood.
    pub(crate) fn entry(&self, dir: &levain_store::StoreDir) -> Option<Entry> {
        use levain_evaluator::pointer::Pointer;
        match Pointer::parse(dir, self.0.as_bytes()).ok()? {
            Pointer::Entries(mut entries) => entries.remove("entry")?.ok(),
            Pointer::Null | Pointer::Path(_) => None,
        }
    }
}

impl Successes {
    /// Returns the best success that `jobset` may rely on: a clean one, else
    /// its own, else the newest of a jobset that it trusts.
    pub(crate) fn usable(&self, jobset: &Jobset) -> Option<&Success> {
        let own = || {
            let name = jobset.name();
            self.incremental.get(&name).filter(|success| jobset.trusts(&name, success.tier))
        };
        self.clean.as_ref().or_else(own).or_else(|| {
            self.incremental
                .iter()
                .filter(|(maker, success)| jobset.trusts(maker, success.tier))
                .map(|(_, success)| success)
                .max_by_key(|success| success.time)
        })
    }

    /// Adds a success of `jobset`; `incremental` says whether it used a cache.
    pub(crate) fn add(&mut self, jobset: &Jobset, success: Success, built_from: BuiltFrom) {
        match built_from {
            BuiltFrom::Nothing => self.clean = Some(success),
            BuiltFrom::Cache => {
                self.incremental.insert(jobset.name(), success);
            }
        }
    }
}

/// What a build started from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BuiltFrom {
    /// The base derivation.
    Nothing,
    /// A derivation with a cache among its inputs.
    Cache,
}
