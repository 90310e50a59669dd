//! What a machine built, and what is remembered of that: every success was built, and none is lost that was told.
//!
//! A build is a file; then its success is recorded, as the engine does it. Each jobset has a mirror of its own, whose
//! first success is in its files: they were there before the server had a database.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use levain_actions::git::CommitId;
use levain_engine::records::{NewSuccess, RecordedCache, Records, RecordsError, Success};
use levain_engine::state::State;
use levain_evaluator::JobsetName;
use levain_evaluator::pointer::Tier;
use levain_server::Database;
use levain_server::records::{Home, in_database};
use levain_store::{DerivationPath, StorePath};
use sqlx::{AnyConnection, Executor, Row};
use tokio::runtime::Handle;

/// A machine's files.
pub(crate) struct Machine {
    directory: PathBuf,
}

/// The commit of what a mirror's files said at first.
fn first_commit() -> CommitId {
    "0123456789".repeat(4).parse().unwrap()
}

impl Machine {
    pub(crate) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    fn built(&self) -> PathBuf {
        self.directory.join("built")
    }

    fn mirrors(&self) -> PathBuf {
        self.directory.join("mirrors")
    }

    /// Builds a commit of a jobset, and records the success.
    pub(crate) fn build(
        &self,
        database: &Database,
        runtime: &Handle,
        url: &str,
        jobset: &JobsetName,
        commit: CommitId,
    ) -> Result<(), RecordsError> {
        std::fs::create_dir_all(self.built()).unwrap();
        std::fs::write(self.built().join(commit.to_string()), "").unwrap();
        let name = format!("{url} {jobset}").replace('/', "_");
        let mirror = self.mirrors().join(&name);
        let state = State::of(&mirror);
        let writer = state.lock()?;
        if Home::of(&state).is_none() {
            let new = success(&name, first_commit());
            let (base, success) = (base(&name), new);
            let new = NewSuccess { base: &base, maker: Some(jobset), success: &success, key: None };
            state.add_success(&writer, &new)?;
        }
        let open = in_database(database.clone(), runtime.clone(), url.to_owned());
        let records = open(&state, Some(&writer))?;
        let (base, success) = (base(&commit.to_string()), success(&name, commit));
        let new = NewSuccess { base: &base, maker: Some(jobset), success: &success, key: None };
        records.add_success(&writer, &new)
    }

    /// Fails if something is remembered that was not built, or nothing of what was told.
    pub(crate) async fn check(&self, connection: &mut AnyConnection, succeeded: &[CommitId]) {
        // Before the database is looked at: a server may be taking them over.
        let in_database = self.gone_from_files();
        let rows = connection.fetch_all("SELECT base, commit_id FROM successes").await.unwrap();
        let known: BTreeMap<String, CommitId> =
            rows.iter().map(|row| (row.get(0), row.get::<String, _>(1).parse().unwrap())).collect();
        for commit in known.values().filter(|commit| **commit != first_commit()) {
            let built = self.built().join(commit.to_string());
            assert!(built.exists(), "{commit} is recorded and was not built");
        }
        for commit in succeeded {
            let base = base(&commit.to_string()).to_string();
            assert_eq!(known.get(&base), Some(commit), "the success of {commit} is lost");
        }
        for first in in_database {
            assert!(known.contains_key(&first.to_string()), "{first} was in files, and is lost");
        }
    }

    /// Returns what mirrors remembered at first and have no more in their files.
    fn gone_from_files(&self) -> Vec<DerivationPath> {
        let Ok(mirrors) = std::fs::read_dir(self.mirrors()) else { return Vec::new() };
        let gone = mirrors.filter_map(|mirror| {
            let mirror = mirror.unwrap();
            let state = State::of(&mirror.path());
            Home::of(&state)?;
            let first = base(&mirror.file_name().into_string().unwrap());
            let in_files = state.successes(&[first.clone()].into()).unwrap();
            in_files.is_empty().then_some(first)
        });
        gone.collect()
    }
}

fn base(name: &str) -> DerivationPath {
    let mut digest = [0; 20];
    for (index, byte) in name.bytes().enumerate() {
        digest[index % 20] ^= byte.rotate_left(u32::try_from(index / 20 % 8).unwrap());
    }
    DerivationPath::try_from(StorePath::new(digest, "job.drv").unwrap()).unwrap()
}

fn success(job: &str, commit: CommitId) -> Success {
    Success {
        built: String::new(),
        outputs: BTreeMap::new(),
        commit,
        time: 1,
        tier: Tier::Branch,
        job: job.into(),
        cache: RecordedCache::None,
    }
}
