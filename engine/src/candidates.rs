//! Finds the entries that a job may start from, among all shadow branches.

use std::collections::{BTreeSet, HashMap};

use levain_actions::git::{CommitId, GitError, Repository};
use levain_actions::shadow;
use levain_evaluator::key::{self, Key, KeyDocument};
use levain_evaluator::pointer::Entry;
use levain_store::{Connection, StoreDir};

use crate::choose::{Candidate, Reason, Refusal, Sources};
use crate::dropped::{self, Dropped};
use crate::jobset::Jobset;
use crate::pointers::{Entries, Layout, Recorded, known};
use crate::state::{Kind, State};

/// How many shadow commits of a branch are searched for entries of ancestors.
/// Each carries the entries of all jobs, so the newest ones have the nearest.
const SHADOWS_PER_BRANCH: usize = 3;

/// Everything that was recorded for a project and that one jobset may look at.
pub(crate) struct Records<'a> {
    repository: &'a Repository,
    layout: &'a Layout,
    jobset: &'a Jobset,
    commit: CommitId,
    own: Result<Entries, String>,
    others: &'a [Recorded],
    ancestors: Option<HashMap<String, Vec<Candidate>>>,
    dropped: Dropped,
}

impl<'a> Records<'a> {
    /// Gathers the records for building `commit` of `jobset`. `own` are the
    /// entries of its own shadow branch; `others` are all shadow branches.
    pub(crate) fn new(
        repository: &'a Repository,
        layout: &'a Layout,
        jobset: &'a Jobset,
        commit: CommitId,
        own: Result<Entries, String>,
        others: &'a [Recorded],
        dropped: Dropped,
    ) -> Self {
        Self { repository, layout, jobset, commit, own, others, ancestors: None, dropped }
    }

    /// Returns, by job, the entries recorded for ancestors of the commit, nearest first.
    fn ancestors_of(&mut self, job: &str) -> Result<Vec<Candidate>, GitError> {
        if self.ancestors.is_none() {
            let found = self.gather_ancestors()?;
            self.ancestors = Some(found);
        }
        let found = self.ancestors.as_ref().and_then(|all| all.get(job));
        Ok(found.cloned().unwrap_or_default())
    }

    fn gather_ancestors(&self) -> Result<HashMap<String, Vec<Candidate>>, GitError> {
        let mut found: Vec<(CommitId, String, Candidate)> = Vec::new();
        let mut commits: BTreeSet<CommitId> = BTreeSet::new();
        for other in self.others {
            let mut searched = 0;
            let mut collect = |entries: &Entries| -> Result<(), GitError> {
                for (job, entry) in entries {
                    let Ok(entry) = entry else { continue };
                    let Some(commit) = known(self.repository, &entry.commit) else { continue };
                    if !commits.contains(&commit)
                        && !self.repository.is_ancestor(commit, self.commit)?
                    {
                        continue;
                    }
                    commits.insert(commit);
                    let candidate =
                        Candidate { entry: entry.clone(), jobset: other.jobset.clone() };
                    found.push((commit, job.clone(), candidate));
                }
                Ok(())
            };
            if let Ok(entries) = &other.entries {
                collect(entries)?;
            }
            for shadow in shadow::history(self.repository, other.head, &self.layout.files) {
                let Ok(shadow) = shadow else { break };
                if !self.repository.is_ancestor(shadow.original, self.commit)? {
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
        let mut by_job: HashMap<String, Vec<Candidate>> = HashMap::new();
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

    /// Returns the view of one job, for [`crate::choose::choose`].
    pub(crate) fn of_job<'b>(
        &'b mut self,
        job: &'b str,
        document: &'b KeyDocument,
        state: &'b State,
        connection: &'b mut Connection,
    ) -> JobRecords<'a, 'b> {
        JobRecords { records: self, job, document, state, connection }
    }
}

/// The records as seen by one job.
pub(crate) struct JobRecords<'a, 'b> {
    records: &'b mut Records<'a>,
    job: &'b str,
    document: &'b KeyDocument,
    state: &'b State,
    connection: &'b mut Connection,
}

impl Sources for JobRecords<'_, '_> {
    fn own(&mut self) -> Option<Result<Candidate, Refusal>> {
        let reject = |detail: String| Err(Refusal::new(Reason::Rejected, detail));
        match &self.records.own {
            Err(why) => Some(reject(format!("cache pointer rejected: {why}"))),
            Ok(entries) => match entries.get(self.job)? {
                Ok(entry) => {
                    Some(Ok(Candidate { entry: entry.clone(), jobset: self.records.jobset.name() }))
                }
                Err(error) => Some(reject(format!("cache pointer rejected: {error}"))),
            },
        }
    }

    fn ancestors(&mut self) -> Vec<Candidate> {
        match self.records.ancestors_of(self.job) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, job = self.job, "cannot search the ancestors' entries");
                Vec::new()
            }
        }
    }

    fn shared(&mut self, key: &Key) -> Vec<Candidate> {
        let mut found: Vec<Candidate> = Vec::new();
        for other in self.records.others {
            let Ok(entries) = &other.entries else { continue };
            for entry in entries.values().flatten() {
                if entry.key == *key {
                    found.push(Candidate { entry: entry.clone(), jobset: other.jobset.clone() });
                }
            }
        }
        found.sort_by_key(|candidate| u64::MAX - candidate.entry.time);
        found.dedup_by(|a, b| is_same(a, b));
        found
    }

    fn trusts(&mut self, candidate: &Candidate) -> bool {
        self.records.jobset.trusts(&candidate.jobset, candidate.entry.tier)
    }

    fn verify(&mut self, entry: &Entry) -> Result<(), Refusal> {
        let path = &entry.path;
        if entry.time <= dropped::before(&self.records.dropped, self.job) {
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
        let Some(before) = self.state.load::<KeyDocument>(Kind::Keys, old.as_str()) else {
            return "recorded elsewhere, so what differs is not known here".into();
        };
        let changes: Vec<String> = key::difference(&before, self.document)
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

/// Returns whether two candidates are one, found twice. An equal path alone does
/// not make them one: it may be recorded under another key, or by someone else.
fn is_same(a: &Candidate, b: &Candidate) -> bool {
    let bare = |candidate: &Candidate| Entry { unused: None, ..candidate.entry.clone() };
    a.jobset == b.jobset && bare(a) == bare(b)
}

/// Returns every store path that the shadow branches' heads name.
pub(crate) fn named_paths(recorded: &[Recorded], dir: &StoreDir) -> BTreeSet<String> {
    recorded
        .iter()
        .filter_map(|recorded| recorded.entries.as_ref().ok())
        .flat_map(|entries| entries.values().flatten())
        .map(|entry| dir.display(&entry.path))
        .collect()
}
