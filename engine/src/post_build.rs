//! The post-build action: records successes and moves pointers.
//!
//! The order makes a kill at any moment harmless: copy the cache, root it,
//! record the success, then move the pointer. What is missing afterwards is
//! found and done again by the next run; a pointer never precedes its success.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use levain_evaluator::key::KeyDocument;
use levain_evaluator::pointer::Entry;
use levain_evaluator::{JobName, JobsetName};
use levain_store::{Connection, CopyError, ProtocolError, Store};

use crate::build::unix_now;
use crate::dropped::dropped_until;
use crate::exposure::exposed_in;
use crate::jobset::Head;
use crate::plan::{PlannedJob, Target};
use crate::pointers::Change;
use crate::records::{NewSuccess, Records, RecordsError};
use crate::report::{Undelivered, UndeliveredKind};
use crate::roots::RootError;
use crate::shadowing::{Shadowing, ShadowingError};
use crate::signing::Keyring;
use crate::state::StateWriter;
use crate::success::{RecordedCache, StoredEntry, Success};

/// Pointer moves are gathered this long, so that a burst of successes makes one commit.
const GATHER: Duration = Duration::from_secs(1);

/// A success could not be recorded, or its pointer not be moved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostBuildError {
    /// The cache could not be copied.
    #[error("cannot keep the cache: {0}")]
    Copy(#[from] CopyError),
    /// The cache could not be rooted.
    #[error("cannot keep the cache: {0}")]
    Root(#[from] RootError),
    /// The success could not be written down.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// The pointer could not be moved.
    #[error("cannot move the pointer: {0}")]
    Shadow(#[from] ShadowingError),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] ProtocolError),
}

/// Records the successes of one run.
pub(crate) struct PostBuild<'a> {
    store: &'a Store,
    records: &'a dyn Records,
    writer: &'a StateWriter,
    keys: &'a Keyring,
    head: &'a Head,
    /// `None` when incremental mode is off: caches are not kept.
    shadowing: Option<&'a Shadowing<'a>>,
    changes: BTreeMap<JobName, Change>,
    flushed: Option<Instant>,
    /// Jobs whose pointers moved.
    pub moved: Vec<JobName>,
    /// What could not be recorded.
    pub troubles: Vec<Undelivered>,
    /// Time spent, in seconds.
    pub seconds: f64,
}

/// A success, as a run found it.
pub(crate) struct Succeeded<'a> {
    /// The job.
    pub job: &'a PlannedJob,
    /// What was built.
    pub target: &'a Target,
    /// Name of its cache output, if it has one.
    pub cache_output: Option<&'a str>,
    /// The key of its cache.
    pub key: Option<&'a KeyDocument>,
}

impl<'a> PostBuild<'a> {
    /// Prepares for the successes of a run about `head`.
    pub(crate) fn new(
        store: &'a Store,
        records: &'a dyn Records,
        writer: &'a StateWriter,
        keys: &'a Keyring,
        head: &'a Head,
        shadowing: Option<&'a Shadowing<'a>>,
    ) -> Self {
        Self {
            store,
            records,
            writer,
            keys,
            head,
            shadowing,
            changes: BTreeMap::new(),
            flushed: None,
            moved: Vec::new(),
            troubles: Vec::new(),
            seconds: 0.0,
        }
    }

    /// Records a success and moves the job's pointer.
    ///
    /// What goes wrong does not undo the success; it is kept in `troubles`.
    pub(crate) fn succeeded(&mut self, connection: &mut Connection, success: &Succeeded<'_>) {
        let started = Instant::now();
        let result = self.record(connection, success);
        self.note(success.job.attr_path.as_str(), result);
        self.seconds += started.elapsed().as_secs_f64();
    }

    fn note(&mut self, subject: &str, result: Result<(), PostBuildError>) {
        if let Err(error) = result {
            self.troubles.push(Undelivered {
                kind: UndeliveredKind::Record,
                subject: subject.to_owned(),
                error: error.to_string(),
            });
        }
    }

    fn record(
        &mut self,
        connection: &mut Connection,
        success: &Succeeded<'_>,
    ) -> Result<(), PostBuildError> {
        let time = self.time(&success.job.attr_path)?;
        // A cache that cannot be kept costs the next build its start, not this one its success.
        let (entry, cache) = if self.is_exposed(connection, success)? {
            (None, RecordedCache::Unusable)
        } else {
            match self.entry(connection, success, time) {
                Ok(Some(entry)) => {
                    let stored = StoredEntry::new(self.store.dir(), &entry);
                    (Some(entry), RecordedCache::Entry(stored))
                }
                Ok(None) => (None, RecordedCache::None),
                Err(error) => {
                    let lasting =
                        matches!(error, PostBuildError::Copy(CopyError::SelfReference { .. }));
                    self.note(success.job.attr_path.as_str(), Err(error));
                    (None, if lasting { RecordedCache::Unusable } else { RecordedCache::None })
                }
            }
        };
        let dir = self.store.dir();
        let target = success.target;
        let record = Success {
            built: dir.display(target.derivation.as_store_path()),
            outputs: target
                .outputs
                .iter()
                .map(|(name, path)| (name.clone(), dir.display(path)))
                .collect(),
            commit: self.head.commit,
            time,
            tier: self.head.jobset.tier(),
            job: success.job.attr_path.clone(),
            cache,
        };
        let maker = self.head.jobset.name();
        let new = NewSuccess {
            base: &success.job.base.derivation,
            maker: (!target.caches.is_empty()).then_some(&maker),
            success: &record,
            key: success.key,
        };
        self.records.add_success(self.writer, &new)?;
        if let Some(entry) = entry {
            self.point(&success.job.attr_path, entry);
        }
        Ok(())
    }

    /// Returns whether the cache is part of what users get: then no build may start from it.
    fn is_exposed(
        &self,
        connection: &mut Connection,
        success: &Succeeded<'_>,
    ) -> Result<bool, ProtocolError> {
        if self.shadowing.is_none() || success.cache_output.is_none() {
            return Ok(false);
        }
        let Target { derivation, outputs, .. } = success.target;
        let (output, none) = (success.cache_output, BTreeSet::new());
        Ok(exposed_in(self.store, connection, derivation, outputs, output, &none)?.is_some())
    }

    /// Returns the present, but later than a time before which caches are dropped.
    fn time(&self, attr_path: &JobName) -> Result<u64, RecordsError> {
        let (marks, jobset) = (self.records.marks()?, self.head.jobset.name());
        Ok(unix_now().max(dropped_until(&marks, Some(&jobset), attr_path) + 1))
    }

    /// Copies the cache output to a content-addressed path, roots that, and
    /// returns the entry that names it.
    fn entry(
        &self,
        connection: &mut Connection,
        success: &Succeeded<'_>,
        time: u64,
    ) -> Result<Option<Entry>, PostBuildError> {
        let (Some(_), Some(output), Some(document)) =
            (self.shadowing, success.cache_output, success.key)
        else {
            return Ok(None);
        };
        // A shadow derivation may name its outputs differently only if the flake does.
        let Some(path) = success.target.outputs.get(output) else { return Ok(None) };
        let copy = connection.copy_content_addressed(self.store, path)?;
        let links = self.writer.state().roots();
        self.writer.lent().link(&links, connection, self.store.dir(), &copy.path)?;
        let depth = success.target.caches.iter().map(|(_, c)| c.entry.depth + 1).max();
        let entry = Entry {
            path: copy.path,
            nar_hash: copy.info.nar_hash,
            key: document.key(),
            depth: depth.unwrap_or(0),
            commit: self.head.commit.to_string(),
            time,
            tier: self.head.jobset.tier(),
            maker: None,
            unused: None,
        };
        let (jobset, job) = (self.head.jobset.name(), success.job.attr_path.clone());
        Ok(Some(self.keys.sign(self.store.dir(), entry, jobset, job)))
    }

    /// Makes sure that a fresh job's pointer names the cache of its success:
    /// after a kill, or on a new branch, it may not yet. `maker` is the jobset that counts as
    /// having made it.
    pub(crate) fn fresh(
        &mut self,
        connection: &mut Connection,
        attr_path: &JobName,
        entry: Entry,
        maker: JobsetName,
    ) {
        let result = self.root_again(connection, &entry);
        if matches!(result, Ok(true)) {
            let entry = Entry { unused: None, ..entry };
            // Recorded by this levain, whichever key it had then.
            let entry = self.keys.sign(self.store.dir(), entry, maker, attr_path.clone());
            self.point(attr_path, entry);
        }
        self.note(attr_path.as_str(), result.map(|_| ()));
    }

    /// Returns whether the path is still there, rooted if it is.
    fn root_again(
        &self,
        connection: &mut Connection,
        entry: &Entry,
    ) -> Result<bool, PostBuildError> {
        if !connection.is_valid(&entry.path)? {
            return Ok(false);
        }
        let links = self.writer.state().roots();
        self.writer.lent().link(&links, connection, self.store.dir(), &entry.path)?;
        Ok(true)
    }

    fn point(&mut self, attr_path: &JobName, entry: Entry) {
        self.changes.insert(attr_path.clone(), Change::Set(Box::new(entry)));
        if self.flushed.is_none_or(|last| last.elapsed() >= GATHER) {
            self.flush();
        }
    }

    /// Moves all pointers that were gathered.
    pub(crate) fn flush(&mut self) {
        let Some(shadowing) = self.shadowing else { return };
        if self.changes.is_empty() {
            return;
        }
        let started = Instant::now();
        let changes = std::mem::take(&mut self.changes);
        match shadowing.apply(self.writer.run_lock(), self.head.shadowed(), &changes) {
            Ok((_, moved)) => self.moved.extend(moved),
            Err(error) => self.note(&shadowing.reference, Err(error.into())),
        }
        self.flushed = Some(Instant::now());
        self.seconds += started.elapsed().as_secs_f64();
    }
}
