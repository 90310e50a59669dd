//! The result of a run, as one document: what `--format json` prints.
//!
//! Times are seconds since 1970 (whole) or durations in seconds (fractions);
//! store paths and derivations are full paths, commits are full hexadecimal ids.

use std::collections::BTreeMap;

use levain_store::StoreDir;
use serde::Serialize;

use crate::audit::Verdict;
use crate::choose::{Candidate, Origin, Reason};

/// Everything that a run found out and did.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Version of this document's format.
    pub version: u32,
    /// The repository that was built.
    pub repository: String,
    /// `heads/BRANCH` or `pull/NUMBER`.
    pub jobset: String,
    /// The author's commit, which all statuses are about.
    pub original_commit: String,
    /// Whether nothing was written outside.
    pub read_only: bool,
    /// `incremental`, `record` (clean builds whose caches are kept) or `off`.
    pub mode: String,
    /// The shadow branch; absent when incremental mode is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowReport>,
    /// The evaluations that took place, each with its two inputs.
    pub evaluations: Vec<EvaluationReport>,
    /// One element per attribute path.
    pub jobs: Vec<JobReport>,
    /// How many jobs ended how.
    pub counters: Counters,
    /// What could not be told to others or kept for later: statuses, pushes, caches.
    pub undelivered: Vec<Undelivered>,
    /// What read-only mode kept from being written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<String>,
    /// Anything worth knowing that is not an error.
    pub notices: Vec<String>,
    /// Where the time went.
    pub seconds: Seconds,
}

/// The shadow branch before and after.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShadowReport {
    /// Its ref.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Its head before the run.
    pub before: Option<String>,
    /// The shadow commit that was evaluated, if one was.
    pub evaluated: Option<String>,
    /// Its head after the run.
    pub after: Option<String>,
    /// Whether the remote has it.
    pub pushed: bool,
}

/// One evaluation.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EvaluationReport {
    /// The locked jobset.
    pub flake: String,
    /// SHA-256 of the pointer file, or `null` for the null pointer.
    pub pointer: Option<String>,
    /// Whether the result was remembered from before.
    pub memoized: bool,
    /// How long it took.
    pub seconds: f64,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobStatus {
    /// Its base derivation had succeeded before.
    Fresh,
    /// Built from a cache.
    Incremental,
    /// Built from its base derivation.
    Clean,
    /// Its build failed.
    Failed,
    /// It could not be evaluated, or levain or Nix itself failed.
    Error,
    /// It was stopped before it ended.
    Cancelled,
}

impl JobStatus {
    /// Returns the word used in outputs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Incremental => "incremental",
            Self::Clean => "clean",
            Self::Failed => "failed",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns whether the job is fine.
    pub fn is_success(self) -> bool {
        match self {
            Self::Fresh | Self::Incremental | Self::Clean => true,
            Self::Failed | Self::Error | Self::Cancelled => false,
        }
    }
}

/// One job.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobReport {
    /// Its attribute path.
    pub attr_path: String,
    /// Its derivation's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The system it is built for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// How it ended.
    pub status: JobStatus,
    /// The base derivation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_drv_path: Option<String>,
    /// The derivation that was built, now or when it was fresh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub built_drv_path: Option<String>,
    /// The outputs of a success.
    pub outputs: BTreeMap<String, String>,
    /// The caches that were used.
    pub caches: Vec<CacheReport>,
    /// What the build said of each set of files that it restored or persisted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cache_sets: Vec<String>,
    /// Why no cache was used, when the job has a cache output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The reason, explained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_detail: Option<String>,
    /// The key of its cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// For a fresh job: the original commit that it is unchanged since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unchanged_since: Option<String>,
    /// When its build began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<u64>,
    /// How long its own build took, without its dependencies.
    pub seconds: f64,
    /// The file with its log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The last lines of the failing derivation's log.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub last_lines: Vec<String>,
    /// What an audit by policy found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit: Option<Verdict>,
    /// The entry that its pointer has now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<PointerReport>,
}

/// A cache that a build started from, with its integrity and origin.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheReport {
    /// The path.
    pub path: String,
    /// Its NAR hash, which was checked.
    pub nar_hash: String,
    /// Where the entry was found.
    pub origin: Origin,
    /// The jobset that recorded it.
    pub jobset: String,
    /// The original commit it was made from.
    pub commit: String,
    /// When it was made.
    pub time: u64,
    /// Number of incremental builds behind it.
    pub depth: u32,
}

impl CacheReport {
    /// Describes a chosen entry.
    pub fn new(dir: &StoreDir, origin: Origin, candidate: &Candidate) -> Self {
        let entry = &candidate.entry;
        Self {
            path: dir.display(&entry.path),
            nar_hash: entry.nar_hash.to_string(),
            origin,
            jobset: candidate.jobset.clone(),
            commit: entry.commit.clone(),
            time: entry.time,
            depth: entry.depth,
        }
    }
}

/// Where a job's pointer points.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PointerReport {
    /// The path it names.
    pub path: String,
    /// Whether this run moved it there.
    pub moved: bool,
}

/// How many jobs ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Nothing to build.
    pub fresh: usize,
    /// Built from a cache.
    pub incremental: usize,
    /// Built without one.
    pub clean: usize,
    /// The build failed.
    pub failed: usize,
    /// Not evaluated, or not built through no fault of the job.
    pub errors: usize,
    /// Stopped.
    pub cancelled: usize,
}

impl Counters {
    /// Counts the jobs of a report.
    pub fn of<'a>(jobs: impl IntoIterator<Item = &'a JobReport>) -> Self {
        let mut counters = Self::default();
        for job in jobs {
            *match job.status {
                JobStatus::Fresh => &mut counters.fresh,
                JobStatus::Incremental => &mut counters.incremental,
                JobStatus::Clean => &mut counters.clean,
                JobStatus::Failed => &mut counters.failed,
                JobStatus::Error => &mut counters.errors,
                JobStatus::Cancelled => &mut counters.cancelled,
            } += 1;
        }
        counters
    }
}

/// Something that could not be told to others or kept. It does not change the result.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Undelivered {
    /// `status`, `push`, `fetch`, `record`: a success whose cache was not kept,
    /// or `audit`: a cache that lied.
    pub kind: &'static str,
    /// The status context, the ref or the job.
    pub subject: String,
    /// Why.
    pub error: String,
}

/// Where the time of a run went.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seconds {
    /// Finding the commit, writing shadow commits, fetching and pushing.
    pub git: f64,
    /// Evaluating declaration and original commit.
    pub evaluate_base: f64,
    /// Evaluating the shadow commit.
    pub evaluate_shadow: f64,
    /// Finding fresh jobs, keys and caches.
    pub plan: f64,
    /// Building.
    pub build: f64,
    /// Recording successes and copying caches, beside and after the builds.
    pub post_build: f64,
    /// Waiting for statuses after everything else was done.
    pub statuses: f64,
    /// All of it.
    pub total: f64,
}

impl Report {
    /// Returns whether every job is fine.
    pub fn is_success(&self) -> bool {
        self.jobs.iter().all(|job| job.status.is_success())
    }
}
