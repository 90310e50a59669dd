//! The report of a run, as it was kept: read for pages, whichever levain wrote it.
//!
//! Only what pages show is read, and nothing has to be there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use levain_engine::report;
use levain_evaluator::JobName;
use serde::{Deserialize, Serialize};

use super::slots::words;
use crate::clock::Timestamp;
use crate::live::LiveRun;

/// A run's report.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeptReport {
    /// The repository that was built.
    pub repository: String,
    /// `incremental`, `record` or `off`.
    pub mode: String,
    /// Whether nothing was written outside.
    pub read_only: bool,
    /// What was built in place of the author's commit.
    pub merge: Option<Merge>,
    /// The shadow branch.
    pub shadow: Option<Shadow>,
    /// The evaluations.
    pub evaluations: Vec<Evaluation>,
    /// The jobs.
    pub jobs: Vec<Job>,
    /// Caches that an audit caught.
    pub lies: Vec<Lie>,
    /// What could not be told to others.
    pub undelivered: Vec<Undelivered>,
    /// What was not written, in read-only mode.
    pub withheld: Vec<String>,
    /// Where the time went.
    pub seconds: Seconds,
}

impl KeptReport {
    /// Reads a report; nothing if it is none.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Describes what is known of a run that is under way.
    pub fn of_live(run: &LiveRun) -> Self {
        let job = |name: &JobName, status, log: Option<&PathBuf>| Job {
            attr_path: name.to_string(),
            status,
            log: log.map(|path| path.display().to_string()),
            ..Job::default()
        };
        let waiting = run.waiting.iter().map(|(name, waiting)| match run.build_of(waiting) {
            Some(build) => job(name, JobStatus::Building, build.log.as_ref()),
            None => Job {
                reason: run.wait_of(waiting).map(|reason| words(reason, Timestamp::now())),
                ..job(name, JobStatus::Waiting, None)
            },
        });
        let ended = run
            .ended
            .iter()
            .map(|(name, end)| job(name, JobStatus::of(end.status), end.log.as_ref()));
        Self { jobs: waiting.chain(ended).collect(), ..Self::default() }
    }

    /// Returns a job by its name.
    pub fn job(&self, name: &str) -> Option<&Job> {
        self.jobs.iter().find(|job| job.attr_path == name)
    }
}

/// The merge of a pull request with its base.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Merge {
    /// The branch.
    pub base: String,
    /// Its commit.
    pub base_commit: String,
    /// What was built.
    pub commit: String,
}

/// The shadow branch of a run.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Shadow {
    /// Its ref.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The shadow commit that was evaluated.
    pub evaluated: Option<String>,
    /// Whether the remote has it.
    pub pushed: bool,
}

/// One evaluation.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Evaluation {
    /// The locked jobset.
    pub flake: String,
    /// SHA-256 of the pointer file.
    pub pointer: Option<String>,
    /// The flake output that names the jobs.
    pub output: Option<String>,
    /// Whether the result was remembered.
    pub memoized: bool,
    /// How long it took.
    pub seconds: f64,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobStatus {
    /// Its build failed.
    Failed,
    /// It could not be evaluated or built through no fault of its own.
    Error,
    /// It was stopped.
    Cancelled,
    /// No machine can build it.
    Skipped,
    /// Built from a cache.
    Incremental,
    /// Built without one.
    Clean,
    /// Nothing to build.
    Fresh,
    /// It is being built.
    Building,
    /// Its build has not begun.
    Waiting,
    /// A word of a later levain.
    #[default]
    #[serde(other)]
    Unknown,
}

impl JobStatus {
    /// Every status, those that need somebody first.
    pub const ALL: [Self; 10] = [
        Self::Failed,
        Self::Error,
        Self::Cancelled,
        Self::Unknown,
        Self::Building,
        Self::Waiting,
        Self::Incremental,
        Self::Clean,
        Self::Skipped,
        Self::Fresh,
    ];

    /// Returns how pages call what the engine says.
    fn of(status: report::JobStatus) -> Self {
        match status {
            report::JobStatus::Fresh => Self::Fresh,
            report::JobStatus::Incremental => Self::Incremental,
            report::JobStatus::Clean => Self::Clean,
            report::JobStatus::Failed => Self::Failed,
            report::JobStatus::Error => Self::Error,
            report::JobStatus::Cancelled => Self::Cancelled,
            report::JobStatus::Skipped => Self::Skipped,
        }
    }

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
            Self::Incremental => "incremental",
            Self::Clean => "clean",
            Self::Fresh => "fresh",
            Self::Building => "building",
            Self::Waiting => "waiting",
            Self::Unknown => "unknown",
        }
    }

    /// Returns whether somebody has something to mend.
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::Error)
    }

    /// Returns whether the job is fine.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Fresh | Self::Incremental | Self::Clean)
    }
}

/// A job.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Job {
    /// Its attribute path.
    pub attr_path: String,
    /// Its derivation's name.
    pub name: Option<String>,
    /// The system it is built for.
    pub system: Option<String>,
    /// How it ended.
    pub status: JobStatus,
    /// The base derivation.
    pub base_drv_path: Option<String>,
    /// What was built.
    pub built_drv_path: Option<String>,
    /// The outputs.
    pub outputs: BTreeMap<String, String>,
    /// The caches that the build was given.
    pub caches: Vec<Cache>,
    /// What the build said about them.
    pub cache_sets: Vec<String>,
    /// Why none was used.
    pub reason: Option<String>,
    /// The reason, explained.
    pub reason_detail: Option<String>,
    /// The key of its cache.
    pub key: Option<String>,
    /// The commit since which it is unchanged.
    pub unchanged_since: Option<String>,
    /// When its build began, in seconds since 1970.
    pub started_at: Option<u64>,
    /// How long its build took.
    pub seconds: f64,
    /// The file with its log.
    pub log: Option<String>,
    /// Why it was skipped.
    pub skipped: Option<String>,
    /// What went wrong.
    pub error: Option<String>,
    /// The dependencies that failed.
    pub failed_dependencies: Vec<FailedDependency>,
    /// The end of the log.
    pub last_lines: Vec<String>,
    /// What an audit found.
    pub audit: Option<String>,
    /// Where its pointer points now.
    pub pointer: Option<Pointer>,
}

/// A dependency that failed.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FailedDependency {
    /// Its derivation.
    pub drv_path: String,
    /// The derivation's name.
    pub name: String,
    /// What went wrong.
    pub error: String,
}

/// A cache that a build was given.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Cache {
    /// The path.
    pub path: String,
    /// Its NAR hash.
    pub nar_hash: String,
    /// `own`, `ancestor` or `shared`.
    pub origin: String,
    /// The shadow branch on which it is recorded.
    pub jobset: String,
    /// The commit that made it.
    pub commit: String,
    /// When, in seconds since 1970.
    pub time: u64,
    /// Incremental builds behind it.
    pub depth: u32,
}

/// Where a pointer points.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pointer {
    /// The path.
    pub path: String,
    /// Whether this run moved it there.
    pub moved: bool,
    /// When the cache was recorded, in seconds since 1970; 0 if the report does not say.
    pub time: u64,
    /// Who made it.
    pub maker: Option<Maker>,
}

/// Who made a cache.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Maker {
    /// The jobset.
    pub jobset: String,
    /// The job there.
    pub job: String,
}

/// A cache that an audit caught.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Lie {
    /// The job.
    pub job: String,
    /// What an audit found, in words.
    pub detail: String,
    /// Why the cache is still there.
    pub not_dropped: Option<String>,
}

/// Something that others were not told.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Undelivered {
    /// What kind of thing.
    pub kind: String,
    /// Its name.
    pub subject: String,
    /// Why.
    pub error: String,
}

/// Where the time of a run went, in seconds.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Seconds {
    /// Fetching, writing shadow commits, pushing.
    pub git: f64,
    /// Evaluating the original commit.
    pub evaluate_base: f64,
    /// Evaluating the shadow commit.
    pub evaluate_shadow: f64,
    /// Finding fresh jobs and caches.
    pub plan: f64,
    /// Building.
    pub build: f64,
    /// Recording successes and keeping caches.
    pub post_build: f64,
    /// Waiting for statuses.
    pub statuses: f64,
    /// All of it.
    pub total: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_any_levain_are_read() {
        let report = KeptReport::read(
            r#"{"jobs": [{"attrPath": "a", "status": "baked"}, {"attrPath": "b", "status": "fresh", "more": 1}]}"#,
        )
        .unwrap();
        assert_eq!(report.jobs[0].status, JobStatus::Unknown);
        assert_eq!(report.job("b").unwrap().status, JobStatus::Fresh);
        assert!(KeptReport::read("{}").unwrap().jobs.is_empty());
        assert!(KeptReport::read("[").is_none());
    }

    #[test]
    fn each_status_has_the_engines_word() {
        use levain_engine::report::JobStatus as Engine;
        for (engine, ours) in [
            (Engine::Fresh, JobStatus::Fresh),
            (Engine::Incremental, JobStatus::Incremental),
            (Engine::Clean, JobStatus::Clean),
            (Engine::Failed, JobStatus::Failed),
            (Engine::Error, JobStatus::Error),
            (Engine::Cancelled, JobStatus::Cancelled),
            (Engine::Skipped, JobStatus::Skipped),
        ] {
            let read: JobStatus = serde_json::from_value(serde_json::json!(engine.name())).unwrap();
            assert_eq!((read, ours.name()), (ours, engine.name()));
            assert_eq!(ours.is_good() || ours == JobStatus::Skipped, engine.is_success());
        }
    }
}
