//! Finds the entries that a job may start from, among all shadow branches.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use levain_actions::git::{CommitId, GitError, Repository};
use levain_actions::shadow;
use levain_evaluator::key::{self, Key, KeyDocument};
use levain_evaluator::pointer::{Entry, EntryError};
use levain_evaluator::{JobName, JobsetName};
use levain_store::{Connection, StoreDir};

use crate::choose::{Candidate, Reason, Refusal, Sources};
use crate::dropped::{Mark, cache_dropped_until};
use crate::jobset::Jobset;
use crate::pointers::{Entries, FoundBranch, Layout, Unusable, known};
use crate::records::{Records, RecordsError};
use crate::signing::Distrust;

/// How many shadow commits of a branch are searched for entries of ancestors.
/// Each carries the entries of all jobs, so the newest ones have the nearest.
const SHADOWS_PER_BRANCH: usize = 3;

/// How many shadow commits of a branch are looked at in all: others may write there, too.
const FAR: usize = 200;

/// Everything that was recorded for a project and that one jobset may look at.
pub(crate) struct KnownEntries<'a> {
    repository: &'a Repository,
    layout: &'a Layout,
    jobset: &'a Jobset,
    commit: CommitId,
    own: Result<Entries, String>,
    others: &'a [FoundBranch],
    ancestors: Option<HashMap<JobName, Vec<Candidate>>>,
    marks: &'a [Mark],
    /// What went into keys, as far as that was asked for.
    documents: BTreeMap<Key, Option<KeyDocument>>,
}

impl<'a> KnownEntries<'a> {
    /// Gathers the entries for building `commit` of `jobset`. `own` are the
    /// entries of its own shadow branch; `others` are all shadow branches.
    pub(crate) fn new(
        repository: &'a Repository,
        layout: &'a Layout,
        jobset: &'a Jobset,
        commit: CommitId,
        own: Result<Entries, String>,
        others: &'a [FoundBranch],
        marks: &'a [Mark],
    ) -> Self {
        let (ancestors, documents) = (None, BTreeMap::new());
        Self { repository, layout, jobset, commit, own, others, ancestors, marks, documents }
    }

    /// Returns, by job, the entries recorded for ancestors of the commit, nearest first.
    fn ancestors_of(&mut self, job: &JobName) -> Result<Vec<Candidate>, GitError> {
        if self.ancestors.is_none() {
            let found = self.gather_ancestors()?;
            self.ancestors = Some(found);
        }
        let found = self.ancestors.as_ref().and_then(|all| all.get(job));
        Ok(found.cloned().unwrap_or_default())
    }

    fn gather_ancestors(&self) -> Result<HashMap<JobName, Vec<Candidate>>, GitError> {
        let mut found: Vec<(CommitId, JobName, Candidate)> = Vec::new();
        let mut commits: BTreeSet<CommitId> = BTreeSet::new();
        for other in self.others {
            let mut searched = 0;
            let mut collect = |entries: &Entries| -> Result<(), GitError> {
                for (job, entry) in entries {
                    let Ok((entry, vouched)) = readable(entry) else { continue };
                    let Some(commit) = known(self.repository, &entry.commit) else { continue };
                    if !commits.contains(&commit)
                        && !self.repository.is_ancestor(commit, self.commit)?
                    {
                        continue;
                    }
                    commits.insert(commit);
                    let candidate =
                        Candidate { entry: entry.clone(), shadow: other.name.clone(), vouched };
                    found.push((commit, job.clone(), candidate));
                }
                Ok(())
            };
            if let Ok(entries) = &other.entries {
                collect(entries)?;
            }
            for shadow in shadow::history(self.repository, other.head, &self.layout.files).take(FAR)
            {
                let Ok(shadow) = shadow else { break };
                // Anybody's shadow commit may name anything.
                let is_ancestor = self.repository.is_ancestor(shadow.original, self.commit);
                if !is_ancestor.unwrap_or(false) {
                    continue;
                }
                if let Ok(entries) = self.layout.entries(&shadow) {
                    collect(&entries)?;
                }
                searched += 1;
                if searched == SHADOWS_PER_BRANCH {
                    break;
                }
            }
        }
        let distance = self.distances(commits)?;
        found.sort_by_key(|(commit, _, candidate)| {
            (distance.get(commit).copied().unwrap_or(usize::MAX), u64::MAX - candidate.entry.time)
        });
        let mut by_job: HashMap<JobName, Vec<Candidate>> = HashMap::new();
        for (_, job, candidate) in found {
            let known = by_job.entry(job).or_default();
            if known.iter().all(|other| !is_same(other, &candidate)) {
                known.push(candidate);
            }
        }
        Ok(by_job)
    }

    /// Returns how far each of `commits`, all of them ancestors, lies back.
    fn distances(
        &self,
        mut commits: BTreeSet<CommitId>,
    ) -> Result<HashMap<CommitId, usize>, GitError> {
        let mut distances = HashMap::new();
        if commits.is_empty() {
            return Ok(distances);
        }
        for (distance, commit) in self.repository.ancestors(self.commit)?.enumerate() {
            let commit = commit?;
            if commits.remove(&commit) {
                distances.insert(commit, distance);
                if commits.is_empty() {
                    break;
                }
            }
        }
        Ok(distances)
    }

    /// Returns what went into a key. Asks for those of all own entries at once: what changes one key often changes all.
    fn document_of(
        &mut self,
        key: &Key,
        records: &dyn Records,
    ) -> Result<Option<&KeyDocument>, RecordsError> {
        if !self.documents.contains_key(key) {
            let own = self.own.iter().flat_map(Entries::values).flatten();
            let mut asked: BTreeSet<Key> = own.map(|entry| entry.key.clone()).collect();
            asked.insert(key.clone());
            asked.retain(|key| !self.documents.contains_key(key));
            let mut found = records.keys(&asked)?;
            self.documents.extend(asked.into_iter().map(|key| {
                let document = found.remove(&key);
                (key, document)
            }));
        }
        Ok(self.documents.get(key).and_then(Option::as_ref))
    }

    /// Returns the view of one job, for [`crate::choose::choose`].
    pub(crate) fn of_job<'b>(
        &'b mut self,
        job: &'b JobName,
        document: &'b KeyDocument,
        records: &'b dyn Records,
        connection: &'b mut Connection,
    ) -> KnownToJob<'a, 'b> {
        KnownToJob { known: self, job, document, records, connection }
    }
}

/// Returns whether a cache that `job` of `jobset` would start from is dropped: there, or where it was made.
///
/// An entry that names no maker is not trusted anyway.
pub(crate) fn is_dropped(
    entry: &Entry,
    jobset: &JobsetName,
    job: &JobName,
    marks: &[Mark],
) -> bool {
    let maker = match &entry.maker {
        Some(maker) => (&maker.jobset, &maker.job),
        None => (jobset, job),
    };
    entry.time <= cache_dropped_until(marks, (jobset, job), maker)
}

/// The entries as seen by one job.
pub(crate) struct KnownToJob<'a, 'b> {
    known: &'b mut KnownEntries<'a>,
    job: &'b JobName,
    document: &'b KeyDocument,
    records: &'b dyn Records,
    connection: &'b mut Connection,
}

impl Sources for KnownToJob<'_, '_> {
    fn own(&mut self) -> Option<Result<Candidate, Refusal>> {
        own_among(&self.known.own, self.known.jobset, self.job)
    }

    fn ancestors(&mut self) -> Vec<Candidate> {
        match self.known.ancestors_of(self.job) {
            Ok(found) => found,
            Err(error) => {
                let job = self.job.as_str();
                tracing::warn!(%error, job, "cannot search the ancestors' entries");
                Vec::new()
            }
        }
    }

    fn shared(&mut self, key: &Key) -> Vec<Candidate> {
        shared_among(self.known.others, key)
    }

    fn trusts(&mut self, entry: &Entry) -> bool {
        trusts_maker(self.known.jobset, entry)
    }

    fn verify(&mut self, entry: &Entry) -> Result<(), Refusal> {
        let path = &entry.path;
        if is_dropped(entry, &self.known.jobset.name(), self.job, self.known.marks) {
            return Err(Refusal::new(Reason::Rejected, "dropped by hand"));
        }
        // First the root, then the questions, so that the answers stay true. Held until the
        // connection closes: the path must not vanish before the build.
        if let Err(error) = self.connection.add_temp_root(path) {
            tracing::debug!(%error, %path, "cannot protect from garbage collection");
        }
        let missing = |detail: String| Refusal::new(Reason::Missing, detail);
        let gone = || missing(format!("`{path}` is not in the store and no substituter has it"));
        let valid = self
            .connection
            .is_valid(path)
            .map_err(|error| missing(format!("the store does not answer: {error}")))?;
        if !valid {
            // Substituting may fail for many reasons; all mean that it is not to be had.
            if let Err(error) = self.connection.ensure_path(path) {
                tracing::debug!(%error, %path, "cannot substitute");
                return Err(gone());
            }
        }
        let info = self
            .connection
            .path_info(path)
            .map_err(|error| missing(format!("the store does not answer: {error}")))?
            .ok_or_else(gone)?;
        if info.nar_hash != entry.nar_hash {
            return Err(Refusal::new(
                Reason::Rejected,
                format!(
                    "cache pointer rejected: `{path}` has NAR hash {}, the entry says {}",
                    info.nar_hash, entry.nar_hash
                ),
            ));
        }
        Ok(())
    }

    fn explain_key(&mut self, old: &Key) -> String {
        let before = match self.known.document_of(old, self.records) {
            Ok(Some(before)) => before,
            Ok(None) => return "recorded elsewhere, so what differs is not known here".into(),
            Err(error) => {
                tracing::warn!(%error, "cannot read what went into a key");
                return "what differs cannot be read".into();
            }
        };
        let changes: Vec<String> = key::difference(before, self.document)
            .into_iter()
            .map(|change| change.component)
            .collect();
        match changes.len() {
            0 => "the key format changed".into(),
            1..=4 => format!("changed: {}", changes.join(", ")),
            more => format!("changed: {} and {} more", changes[..4].join(", "), more - 4),
        }
    }
}

/// Returns the entry of `job` on its jobset's own shadow branch, or why it cannot be read.
fn own_among(
    own: &Result<Entries, String>,
    jobset: &Jobset,
    job: &JobName,
) -> Option<Result<Candidate, Refusal>> {
    let reject = |why: String| {
        Some(Err(Refusal::new(Reason::Rejected, format!("cache pointer rejected: {why}"))))
    };
    let entry = match own {
        Err(why) => return reject(why.clone()),
        Ok(entries) => entries.get(job)?,
    };
    match readable(entry) {
        Ok((entry, vouched)) => {
            Some(Ok(Candidate { entry: entry.clone(), shadow: jobset.name().into(), vouched }))
        }
        Err(error) => reject(error.to_string()),
    }
}

/// Returns the entries with this key, of whichever job, newest first.
fn shared_among(branches: &[FoundBranch], key: &Key) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    for branch in branches {
        let Ok(entries) = &branch.entries else { continue };
        for (entry, vouched) in entries.values().filter_map(|entry| readable(entry).ok()) {
            if entry.key == *key {
                let shadow = branch.name.clone();
                found.push(Candidate { entry: entry.clone(), shadow, vouched });
            }
        }
    }
    found.sort_by_key(|candidate| u64::MAX - candidate.entry.time);
    found.dedup_by(|a, b| is_same(a, b));
    found
}

/// Returns whether `jobset` may use what the maker of `entry` made.
fn trusts_maker(jobset: &Jobset, entry: &Entry) -> bool {
    entry.maker.as_ref().is_some_and(|maker| jobset.trusts(&maker.jobset, entry.tier))
}

/// Returns what an entry says, if it can be read, and whether that is believed.
fn readable(
    entry: &Result<Entry, Unusable>,
) -> Result<(&Entry, Result<(), Distrust>), &EntryError> {
    match entry {
        Ok(entry) => Ok((entry, Ok(()))),
        Err(Unusable::Untrusted { entry, why }) => Ok((entry, Err(why.clone()))),
        Err(Unusable::Malformed(error)) => Err(error),
    }
}

/// Returns whether two candidates are one, found twice. An equal path alone does
/// not make them one: it may be recorded under another key, or by someone else.
fn is_same(a: &Candidate, b: &Candidate) -> bool {
    let bare = |candidate: &Candidate| Entry { unused: None, ..candidate.entry.clone() };
    a.shadow == b.shadow && bare(a) == bare(b)
}

/// Returns every store path that the shadow branches' heads name.
pub(crate) fn named_paths(recorded: &[FoundBranch], dir: &StoreDir) -> BTreeSet<String> {
    recorded
        .iter()
        .filter_map(|recorded| recorded.entries.as_ref().ok())
        .flat_map(|entries| entries.values().flatten())
        .map(|entry| dir.display(&entry.path))
        .collect()
}

#[cfg(test)]
mod tests;
