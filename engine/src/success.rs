//! Which base derivations have succeeded, and what their caches are.

use std::collections::BTreeMap;

use levain_actions::git::CommitId;
use levain_evaluator::key::Key;
use levain_evaluator::pointer::{Entry, Tier};
use levain_evaluator::{JobName, JobsetName};
use levain_store::{DerivationPath, StoreDir};
use serde::{Deserialize, Serialize};

use crate::jobset::{Head, Jobset};

/// The version of these records. Older ones held outputs that a flake had claimed.
const FORMAT: u32 = 2;

/// All known successes of one base derivation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Successes {
    /// The version.
    #[serde(default)]
    format: u32,
    /// The build of the base derivation itself. A pure derivation that
    /// succeeded has succeeded for everyone, whoever started it.
    pub clean: Option<Success>,
    /// Builds from caches, by jobset: trusted only as far as that jobset is.
    pub incremental: BTreeMap<JobsetName, Success>,
}

/// One success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Success {
    /// The derivation that was built, as a store path.
    pub built: String,
    /// Its outputs, as store paths.
    pub outputs: BTreeMap<String, String>,
    /// The original commit.
    pub commit: CommitId,
    /// When it was found to be a success, in seconds since 1970.
    pub time: u64,
    /// Trust in the jobset that made it.
    pub tier: Tier,
    /// The job, in the evaluation that made it.
    pub job: JobName,
    /// What a pointer may say of its cache output.
    pub cache: RecordedCache,
}

/// What became of a success's cache output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RecordedCache {
    /// The job has none, or incremental mode was off.
    None,
    /// There is a content-addressed copy; this is its pointer entry.
    Entry(StoredEntry),
    /// There is one that must not be used: it was dropped, refers to itself, or is referred to by
    /// another output.
    Unusable,
}

/// A pointer entry as text: the pointer's own format, so that there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredEntry(String);

impl From<String> for StoredEntry {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl StoredEntry {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Stores `entry`.
    pub(crate) fn new(dir: &levain_store::StoreDir, entry: &Entry) -> Self {
        let entries = [("entry".into(), Ok(entry.clone()))].into();
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

impl Success {
    /// Returns whether its cache can be named by a pointer and is not named by `own` yet.
    pub(crate) fn lacks_pointer(&self, dir: &StoreDir, own: Option<&Entry>) -> bool {
        match &self.cache {
            RecordedCache::Entry(stored) => {
                stored.entry(dir).is_some_and(|entry| own.is_none_or(|own| own.path != entry.path))
            }
            RecordedCache::None => true,
            RecordedCache::Unusable => false,
        }
    }

    /// Returns whether the base derivation itself was built.
    pub(crate) fn is_clean(&self, dir: &StoreDir, base: &DerivationPath) -> bool {
        self.built == dir.display(base.as_store_path())
    }

    /// Returns the entry with which the pointer of `head`'s jobset may name the cache of this
    /// success, whose recorded entry is `recorded`.
    ///
    /// What the base derivation gave when it was built itself is as good as if this jobset had built
    /// it, whoever did. But the key is partly what the job says about itself, and whoever built it
    /// first may have said anything; so it must be `own_key`, the key in this jobset's own evaluation.
    /// What a cache was part of stays as trusted as its maker.
    pub(crate) fn entry_for(
        &self,
        head: &Head,
        is_clean: bool,
        recorded: Entry,
        own_key: Option<Key>,
    ) -> Option<Entry> {
        let entry = Entry { commit: head.commit.to_string(), unused: None, ..recorded };
        if is_clean {
            return Some(Entry { key: own_key?, depth: 0, tier: head.jobset.tier(), ..entry });
        }
        Some(entry)
    }
}

impl Default for Successes {
    fn default() -> Self {
        Self { format: FORMAT, clean: None, incremental: BTreeMap::new() }
    }
}

impl Successes {
    /// Returns whether this version of levain can go by it.
    pub fn is_current(&self) -> bool {
        self.format == FORMAT
    }

    /// Returns whether nothing is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.clean.is_none() && self.incremental.is_empty()
    }

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

    /// Adds a success, in place of an older one. `maker` made it from a cache; nobody if the base derivation itself was
    /// built.
    pub fn add(&mut self, maker: Option<&JobsetName>, success: Success) {
        match maker {
            None => self.clean = Some(success),
            Some(maker) => {
                self.incremental.insert(maker.clone(), success);
            }
        }
    }

    /// Forgets the incremental successes of a job in a jobset, and the cache of a clean one; all jobs and jobsets if
    /// none is named. Returns how many it forgot, or nothing if there was nothing to change.
    pub(crate) fn forget(
        &mut self,
        jobset: Option<&JobsetName>,
        job: Option<&JobName>,
    ) -> Option<usize> {
        let concerns = |recorded: &JobName| job.is_none_or(|job| job == recorded);
        let before = self.incremental.len();
        self.incremental.retain(|maker, success| {
            !(jobset.is_none_or(|jobset| jobset == maker) && concerns(&success.job))
        });
        let forgotten = before - self.incremental.len();
        let mut has_changed = forgotten > 0;
        if let Some(clean) = &mut self.clean
            && concerns(&clean.job)
            && matches!(clean.cache, RecordedCache::Entry(_))
        {
            clean.cache = RecordedCache::Unusable;
            has_changed = true;
        }
        has_changed.then_some(forgotten)
    }
}

#[cfg(test)]
mod tests;
