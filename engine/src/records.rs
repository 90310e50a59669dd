//! What is remembered from run to run: successes, dropped caches, keys, evaluations.
//!
//! The command line keeps it in files ([`files`]); a server keeps what several servers have to agree on elsewhere. One
//! suite holds for all: `server/tests/it/records.rs`. What only concerns this machine (links, logs, audits that are
//! owed) is no record: see [`crate::state`].
//!
//! Everything here belongs to one repository. Whoever reads decides what counts for whom: a record says who made it, and
//! how far that one is trusted.

mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use levain_evaluator::key::{Key, KeyDocument};
use levain_evaluator::{JobName, JobsetName};
use levain_store::DerivationPath;

pub use crate::dropped::{Jobsets, Mark, cache_dropped_until, dropped_until};
pub use crate::evaluations::Remembered;
use crate::state::{State, StateError, StateWriter};
pub use crate::success::{RecordedCache, StoredEntry, Success, Successes};

/// What is remembered about one repository.
///
/// A writing method returns when nothing can undo it any more, and what it does happens as a whole or not at all. It
/// takes the right to write, which read-only mode does not have.
pub trait Records: Send + Sync {
    /// Returns what is known of base derivations; nothing of those that are not known.
    fn successes(
        &self,
        bases: &BTreeSet<DerivationPath>,
    ) -> Result<BTreeMap<DerivationPath, Successes>, RecordsError>;

    /// Records a success, in place of an older one of the same maker.
    fn add_success(&self, writer: &StateWriter, new: &NewSuccess<'_>) -> Result<(), RecordsError>;

    /// Forgets the incremental successes of a job, or of all jobs, made by one jobset or by any. Returns how many.
    ///
    /// Clean ones of that job, whoever made them, stay; but nothing starts from their caches any more.
    fn forget_incremental(
        &self,
        writer: &StateWriter,
        jobset: Option<&JobsetName>,
        job: Option<&JobName>,
    ) -> Result<usize, RecordsError>;

    /// Returns which caches are not used any more.
    fn marks(&self) -> Result<Vec<Mark>, RecordsError>;

    /// Notes that caches are not used any more. Of two times for the same caches the later one counts.
    fn mark(&self, writer: &StateWriter, mark: &Mark) -> Result<(), RecordsError>;

    /// Lets a job use caches again that audits kept from it, on all jobsets. Returns whether it was kept from it on any.
    fn allow(&self, writer: &StateWriter, job: &JobName) -> Result<bool, RecordsError>;

    /// Returns what went into keys, as far as that is known.
    fn keys(&self, keys: &BTreeSet<Key>) -> Result<BTreeMap<Key, KeyDocument>, RecordsError>;

    /// Returns the evaluation of that name.
    fn evaluation(&self, id: &str) -> Result<Option<Remembered>, RecordsError>;

    /// Remembers an evaluation. It may be forgotten at any time.
    fn remember_evaluation(
        &self,
        writer: &StateWriter,
        id: &str,
        remembered: &Remembered,
    ) -> Result<(), RecordsError>;
}

/// A success that is yet to be recorded.
#[derive(Clone, Copy, Debug)]
pub struct NewSuccess<'a> {
    /// The base derivation.
    pub base: &'a DerivationPath,
    /// The jobset that made it from a cache, if one was among its inputs; a build of the base derivation itself is
    /// everyone's.
    pub maker: Option<&'a JobsetName>,
    /// The success.
    pub success: &'a Success,
    /// What went into the key of its cache.
    pub key: Option<&'a KeyDocument>,
}

/// Something that is remembered cannot be read, or not be kept.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// A file.
    #[error(transparent)]
    State(#[from] StateError),
    /// What a server keeps.
    #[error("cannot reach what is remembered: {0}")]
    Elsewhere(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The same, and it may be reached later.
    #[error("cannot reach what is remembered: {0}")]
    Away(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl RecordsError {
    /// Returns whether it makes sense to try once more later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Away(_) => true,
            Self::State(_) | Self::Elsewhere(_) => false,
        }
    }
}

/// Opens what is remembered about the repository whose files are given. There is a right to write unless nothing may be
/// written.
pub type OpenRecords =
    dyn Fn(&State, Option<&StateWriter>) -> Result<Arc<dyn Records>, RecordsError> + Send + Sync;

/// Returns what has everything remembered in the repository's own files.
pub fn in_files() -> Arc<OpenRecords> {
    Arc::new(|state, _| Ok(Arc::new(state.clone())))
}
