//! Outputs of successes that are kept from garbage collection: those of the newest commits of each
//! jobset.
//!
//! Each output has one link, whichever jobsets name it, so that a commit that changes nothing needs
//! no connection to the store. A list for each jobset says which commit names which outputs.

use std::collections::BTreeSet;

use levain_actions::git::CommitId;
use levain_evaluator::JobsetName;
use levain_store::{ConnectError, Connection, Store};
use serde::{Deserialize, Serialize};

use crate::connections::LazyConnection;
use crate::declaration::Outputs;
use crate::digest::sha256_hex;
use crate::report::{JobReport, JobStatus, Undelivered, UndeliveredKind};
use crate::roots::RootError;
use crate::state::{Kind, StateWriter};

/// What a jobset keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct List {
    /// The jobset, for people who look into the file.
    jobset: JobsetName,
    /// Its commits, the newest run first.
    commits: Vec<Commit>,
}

/// What a commit's success gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Commit {
    commit: CommitId,
    /// When it was last built, in seconds since 1970.
    time: u64,
    /// Its jobs' outputs, as store paths.
    outputs: BTreeSet<String>,
}

impl List {
    /// Adds what a run kept.
    fn add(&mut self, new: Commit, keep: u32) {
        let mut new = new;
        if let Some(place) = self.commits.iter().position(|known| known.commit == new.commit) {
            new.outputs.append(&mut self.commits.remove(place).outputs);
        }
        self.commits.insert(0, new);
        self.commits.truncate(keep as usize);
    }

    fn last_run(&self) -> u64 {
        self.commits.iter().map(|commit| commit.time).max().unwrap_or(0)
    }
}

/// Gives a connection to the store, which need not be open yet.
pub(crate) trait Connect {
    /// Opens it, if it is not open.
    fn connection(&mut self) -> Result<&mut Connection, ConnectError>;
}

impl Connect for Connection {
    fn connection(&mut self) -> Result<&mut Connection, ConnectError> {
        Ok(self)
    }
}

impl Connect for LazyConnection {
    fn connection(&mut self) -> Result<&mut Connection, ConnectError> {
        self.get()
    }
}

/// Keeps the outputs of one run's successes.
pub(crate) struct KeptOutputs<'a> {
    writer: &'a StateWriter,
    store: &'a Store,
    settings: Outputs,
    outputs: BTreeSet<String>,
    troubles: Vec<Undelivered>,
}

impl<'a> KeptOutputs<'a> {
    /// Keeps as many as `settings` say.
    pub(crate) fn new(writer: &'a StateWriter, store: &'a Store, settings: Outputs) -> Self {
        Self { writer, store, settings, outputs: BTreeSet::new(), troubles: Vec::new() }
    }

    /// Keeps the outputs of a job that ended well, as far as they are in the store. `cache_output` is
    /// left out: caches have roots of their own. `connect` is called if Nix has to be told.
    pub(crate) fn keep(
        &mut self,
        job: &JobReport,
        cache_output: Option<&str>,
        connect: &mut impl Connect,
    ) {
        let built =
            matches!(job.status, JobStatus::Fresh | JobStatus::Clean | JobStatus::Incremental);
        if !built || self.settings.keep == 0 {
            return;
        }
        let links = self.writer.state().output_roots();
        for (name, output) in &job.outputs {
            if cache_output == Some(name.as_str()) || self.outputs.contains(output) {
                continue;
            }
            let Ok(path) = self.store.dir().parse(output) else { continue };
            if !self.store.exists_on_disk(&path) {
                continue;
            }
            self.outputs.insert(output.clone());
            // Before it is looked for: nobody removes it from now on.
            self.writer.lent().needs_link(output);
            if links.join(path.to_string()).symlink_metadata().is_ok() {
                continue;
            }
            let added = match connect.connection() {
                Ok(connection) => self
                    .writer
                    .lent()
                    .link(&links, connection, self.store.dir(), &path)
                    .map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = added {
                self.troubles.push(Undelivered {
                    kind: UndeliveredKind::Record,
                    subject: job.attr_path.to_string(),
                    error: format!("its outputs are not kept from garbage collection: {error}"),
                });
                return;
            }
        }
    }

    /// Notes what this run keeps, and releases what no jobset keeps any more. Returns what went wrong.
    pub(crate) fn finish(
        mut self,
        jobset: &JobsetName,
        commit: CommitId,
        now: u64,
    ) -> Vec<Undelivered> {
        if let Err(error) = self.note(jobset, commit, now) {
            self.troubles.push(Undelivered {
                kind: UndeliveredKind::Record,
                subject: jobset.to_string(),
                error: format!("which outputs are kept could not be noted: {error}"),
            });
        }
        self.troubles
    }

    fn note(&mut self, jobset: &JobsetName, commit: CommitId, now: u64) -> Result<(), String> {
        let name = sha256_hex(jobset.as_str().as_bytes());
        let outputs = std::mem::take(&mut self.outputs);
        let state = self.writer.state();
        let _turn = self.writer.lent().records();
        let mut lists: Vec<(String, List)> = state.load_all(Kind::Kept);
        let own = lists.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            let list = List { jobset: jobset.clone(), commits: Vec::new() };
            lists.push((name.clone(), list));
            lists.len() - 1
        });
        let list = &mut lists[own].1;
        list.add(Commit { commit, time: now, outputs }, self.settings.keep);
        let age = u64::from(self.settings.keep_days) * 86_400;
        let (kept, released): (Vec<_>, Vec<_>) = lists.into_iter().partition(|(_, list)| {
            !list.commits.is_empty() && list.last_run().saturating_add(age) >= now
        });
        for (known, list) in &kept {
            if *known == name {
                let stored = self.writer.store(Kind::Kept, known, list);
                stored.map_err(|error| error.to_string())?;
            }
        }
        for (known, _) in &released {
            self.writer.forget(Kind::Kept, known).map_err(|error| error.to_string())?;
        }
        let commits = kept.into_iter().flat_map(|(_, list)| list.commits);
        let named = commits.flat_map(|commit| commit.outputs).collect();
        let links = self.writer.state().output_roots();
        let unlinked = self.writer.lent().unlink(&links, || Ok::<_, RootError>(Some(named)));
        unlinked.map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::State;

    fn id(digit: &str) -> CommitId {
        digit.repeat(40).parse().unwrap()
    }

    fn commit(commit: &str, time: u64, outputs: &[&str]) -> Commit {
        let outputs = outputs.iter().map(|output| (*output).to_owned()).collect();
        Commit { commit: id(commit), time, outputs }
    }

    #[test]
    fn the_newest_commits_are_kept() {
        let mut list = List { jobset: JobsetName::branch("main"), commits: Vec::new() };
        list.add(commit("a", 1, &["x"]), 2);
        list.add(commit("b", 2, &["x", "y"]), 2);
        list.add(commit("a", 3, &["z"]), 2);
        assert_eq!(list.commits, [commit("a", 3, &["x", "z"]), commit("b", 2, &["x", "y"])]);
        list.add(commit("c", 4, &[]), 2);
        assert_eq!(list.commits, [commit("c", 4, &[]), commit("a", 3, &["x", "z"])]);
        assert_eq!(list.last_run(), 4);
        list.add(commit("d", 5, &["x"]), 0);
        assert_eq!(list.commits, []);
    }

    #[test]
    fn links_go_with_the_last_list_that_names_them() {
        let dir = tempfile::tempdir().unwrap();
        let writer = State::of(dir.path()).lock().unwrap();
        let store = Store::new(levain_store::StoreConfig::from_lookup(|_| None).unwrap());
        let links = writer.state().output_roots();
        let run = |jobset: &str, commit: &str, outputs: &[&str], now: u64, keep_days: u32| {
            let settings = Outputs { keep: 1, keep_days };
            let mut kept = KeptOutputs::new(&writer, &store, settings);
            for output in outputs {
                let path = format!("/nix/store/0c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-{output}");
                let link = links.join(output);
                let made = std::os::unix::fs::symlink(&path, link);
                assert!(
                    made.is_ok() || made.unwrap_err().kind() == std::io::ErrorKind::AlreadyExists
                );
                kept.outputs.insert(path);
            }
            assert!(kept.finish(&jobset.parse().unwrap(), id(commit), now).is_empty());
            let mut left: Vec<String> = std::fs::read_dir(&links)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            left.sort();
            left.join(" ")
        };
        let day = 86_400;
        assert_eq!(run("heads/main", "1", &["a", "b"], day, 30), "a b");
        assert_eq!(run("heads/topic", "2", &["b", "c"], 2 * day, 30), "a b c");
        assert_eq!(run("heads/main", "3", &["d"], 3 * day, 30), "b c d");
        // The topic has not been built for long.
        assert_eq!(run("heads/main", "3", &["d"], 40 * day, 30), "d");
        let lists: Vec<(String, List)> = writer.state().load_all(Kind::Kept);
        assert_eq!(lists.len(), 1);
        assert_eq!(lists[0].1.jobset, JobsetName::branch("main"));
    }
}
