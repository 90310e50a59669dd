//! The result of a run, as one document: what `--format json` prints.
//!
//! Times are seconds since 1970 (whole) or durations in seconds (fractions);
//! store paths and derivations are full paths, commits are full hexadecimal ids.

use std::collections::BTreeMap;
use std::fmt;

use levain_actions::status::SummaryPhase;
use levain_evaluator::evaluate::JobsOutput;
use levain_evaluator::{JobName, JobsetName};
use levain_store::StoreDir;
use serde::{Deserialize, Serialize};

use crate::audit::Verdict;
use crate::choose::{Candidate, Origin, Reason};
use crate::pointers::ShadowName;

/// Everything that a run found out and did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Version of this document's format.
    pub version: u32,
    /// The repository that was built.
    pub repository: String,
    /// The jobset.
    pub jobset: JobsetName,
    /// The author's commit, which all statuses are about.
    pub original_commit: String,
    /// What was built in place of it, if it was merged with its base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge: Option<MergeReport>,
    /// Whether nothing was written outside.
    pub read_only: bool,
    /// `incremental`, `record` (clean builds whose caches are kept) or `off`.
    pub mode: String,
    /// The shadow branch; absent when incremental mode is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowReport>,
    /// The evaluations that took place, each with its two inputs.
    pub evaluations: Vec<EvaluationReport>,
    /// One element per attribute path.
    pub jobs: Vec<ReportedJob>,
    /// How many jobs ended how.
    pub counters: Counters,
    /// The caches that an audit by policy caught; their jobs' results are those of the clean builds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lies: Vec<Lie>,
    /// What could not be told to others or kept for later: statuses, pushes, caches.
    pub undelivered: Vec<Undelivered>,
    /// What read-only mode kept from being written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<String>,
    /// Anything worth knowing that is not an error.
    pub notices: Vec<String>,
    /// Where the time went.
    pub seconds: Seconds,
}

/// The merge of a pull request with its base.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MergeReport {
    /// The branch.
    pub base: String,
    /// Its commit.
    pub base_commit: String,
    /// What was built: a merge commit that levain made, or the one of the two that contains the other.
    pub commit: String,
}

/// The shadow branch before and after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvaluationReport {
    /// The locked jobset.
    pub flake: String,
    /// SHA-256 of the pointer file, or `null` for the null pointer.
    pub pointer: Option<String>,
    /// The flake output that names the jobs: where their attribute paths begin.
    pub output: JobsOutput,
    /// Whether the result was remembered from before.
    pub memoized: bool,
    /// How long it took.
    pub seconds: f64,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobStatus {
    /// Its base derivation had succeeded before.
    Fresh,
    /// Built from a cache: something was restored from it, or the builder says nothing of that.
    Incremental,
    /// Built from its base derivation, or given a cache and nothing was restored from it.
    Clean,
    /// Its build failed.
    Failed,
    /// It could not be evaluated, or levain or Nix itself failed.
    Error,
    /// It was stopped before it ended.
    Cancelled,
    /// It was not built, and nothing is wrong with it: no machine can build it.
    Skipped,
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
            Self::Skipped => "skipped",
        }
    }

    /// Returns whether the job does not stand in the way of the whole: it is fine, or skipped.
    pub fn is_success(self) -> bool {
        match self {
            Self::Fresh | Self::Incremental | Self::Clean | Self::Skipped => true,
            Self::Failed | Self::Error | Self::Cancelled => false,
        }
    }
}

/// One job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobReport {
    /// Its attribute path.
    pub attr_path: JobName,
    /// Its derivation's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The system it is built for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// How it ended.
    pub status: JobStatus,
    /// The base derivation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_drv_path: Option<String>,
    /// The derivation that was built, now or when it was fresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_drv_path: Option<String>,
    /// The outputs of a success.
    pub outputs: BTreeMap<String, String>,
    /// The caches that were given to the build.
    pub caches: Vec<CacheReport>,
    /// What the build said of each set of files that it restored or persisted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cache_sets: Vec<String>,
    /// Why nothing was restored from a cache, when the job has a cache output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The reason, explained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_detail: Option<String>,
    /// The key of its cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// For a fresh job: the original commit that it is unchanged since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unchanged_since: Option<String>,
    /// When its build began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<u64>,
    /// How long its own build took, without its dependencies.
    pub seconds: f64,
    /// The file with its log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// Why it was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The dependencies that failed, so that it was not built.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_dependencies: Vec<FailedDependency>,
    /// The last lines of the failing derivation's log: its own, or that of the first dependency.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_lines: Vec<String>,
    /// What an audit by policy found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<Verdict>,
}

impl JobReport {
    /// Describes a job of which nothing more is known.
    pub fn new(attr_path: &JobName, status: JobStatus) -> Self {
        Self {
            attr_path: attr_path.clone(),
            name: None,
            system: None,
            status,
            base_drv_path: None,
            built_drv_path: None,
            outputs: BTreeMap::new(),
            caches: Vec::new(),
            cache_sets: Vec::new(),
            reason: None,
            reason_detail: None,
            key: None,
            unchanged_since: None,
            started_at: None,
            seconds: 0.0,
            log: None,
            skipped: None,
            error: None,
            failed_dependencies: Vec::new(),
            last_lines: Vec::new(),
            audit: None,
        }
    }
}

/// A dependency that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedDependency {
    /// Its derivation.
    pub drv_path: String,
    /// The derivation's name.
    pub name: String,
    /// What went wrong.
    pub error: String,
    /// The file with its log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

/// A cache that a build started from, with its integrity and origin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheReport {
    /// The path.
    pub path: String,
    /// Its NAR hash, which was checked.
    pub nar_hash: String,
    /// Where the entry was found.
    pub origin: Origin,
    /// The shadow branch on which it is recorded.
    #[serde(rename = "jobset")]
    pub shadow: ShadowName,
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
            shadow: candidate.shadow.clone(),
            commit: entry.commit.clone(),
            time: entry.time,
            depth: entry.depth,
        }
    }
}

/// A job as it is in the report of its run: how it ended, and what is known only when all have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportedJob {
    /// How it ended, as it was told then.
    #[serde(flatten)]
    pub job: JobReport,
    /// The entry that its pointer has now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<PointerReport>,
}

/// Where a job's pointer points.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PointerReport {
    /// The path it names.
    pub path: String,
    /// Whether this run moved it there.
    pub moved: bool,
    /// When the cache was recorded, in seconds since 1970.
    #[serde(default)]
    pub time: u64,
    /// Who made it: another jobset, perhaps, from which this one took it over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maker: Option<MakerReport>,
}

/// Who made a cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MakerReport {
    /// The jobset whose build made it.
    pub jobset: JobsetName,
    /// The job there.
    pub job: JobName,
}

/// How many jobs ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Nothing to build.
    pub fresh: usize,
    /// Built from a cache.
    pub incremental: usize,
    /// Built without one, or with nothing restored from it.
    pub clean: usize,
    /// The build failed.
    pub failed: usize,
    /// Not evaluated, or not built through no fault of the job.
    pub errors: usize,
    /// Stopped.
    pub cancelled: usize,
    /// Not built, since no machine can build them.
    pub skipped: usize,
}

impl Counters {
    /// Counts the jobs of a report.
    pub fn of<'a>(jobs: impl IntoIterator<Item = &'a JobReport>) -> Self {
        Self::of_statuses(jobs.into_iter().map(|job| job.status))
    }

    /// Counts jobs by how they ended.
    pub fn of_statuses(jobs: impl IntoIterator<Item = JobStatus>) -> Self {
        let mut counters = Self::default();
        for status in jobs {
            *match status {
                JobStatus::Fresh => &mut counters.fresh,
                JobStatus::Incremental => &mut counters.incremental,
                JobStatus::Clean => &mut counters.clean,
                JobStatus::Failed => &mut counters.failed,
                JobStatus::Error => &mut counters.errors,
                JobStatus::Cancelled => &mut counters.cancelled,
                JobStatus::Skipped => &mut counters.skipped,
            } += 1;
        }
        counters
    }

    /// Returns whether no job says anything: there is none, or all were skipped.
    pub fn is_vacuous(self) -> bool {
        let Self { fresh, incremental, clean, failed, errors, cancelled, skipped: _ } = self;
        fresh + incremental + clean + failed + errors + cancelled == 0
    }

    /// Returns what is told of a jobset whose jobs ended so; `authors_error` says whether one of the errors is for the author
    /// to mend.
    pub fn phase(self, authors_error: bool) -> SummaryPhase {
        if self.cancelled > 0 {
            SummaryPhase::Cancelled
        } else if self.failed > 0 || authors_error {
            SummaryPhase::Failure
        } else if self.errors > 0 {
            SummaryPhase::Error
        } else if self.is_vacuous() {
            SummaryPhase::Skipped
        } else {
            SummaryPhase::Success
        }
    }
}

/// A cache that lied: what was built from it is not what a clean build gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lie {
    /// The job.
    pub job: JobName,
    /// What an audit found.
    pub verdict: Verdict,
    /// The same in words, with the first files that differ.
    pub detail: String,
    /// Why the cache could not be dropped, if so; the next run may use it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_dropped: Option<String>,
}

/// Something that could not be told to others or kept. It does not change the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Undelivered {
    /// What kind of thing.
    pub kind: UndeliveredKind,
    /// The status context, the ref or the job.
    pub subject: String,
    /// Why.
    pub error: String,
}

/// What could not be told to others or kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UndeliveredKind {
    /// A status.
    Status,
    /// A push of the shadow branch.
    Push,
    /// A fetch of the shadow branches.
    Fetch,
    /// A success, whose cache was not kept.
    Record,
}

impl fmt::Display for UndeliveredKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Status => "status",
            Self::Push => "push",
            Self::Fetch => "fetch",
            Self::Record => "record",
        })
    }
}

/// Where the time of a run went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// Adds what came of telling the forge, once the run itself has ended.
    pub fn add_statuses(&mut self, undelivered: Vec<Undelivered>, seconds: f64) {
        self.undelivered.extend(undelivered);
        self.seconds.statuses += seconds;
        self.seconds.total += seconds;
    }

    /// Returns whether every job is fine. Where there is none, or all were skipped, nobody knows: that is no success.
    pub fn is_success(&self) -> bool {
        self.jobs.iter().all(|job| job.job.status.is_success()) && !self.counters.is_vacuous()
    }
}

#[cfg(test)]
mod tests;
