//! What a run tells while it goes on: one type, which can be stored and read back.
//!
//! The run knows nobody who listens. Whoever wants to know subscribes: the terminal draws events, a
//! forge is told what they mean, a server keeps them and shows them on pages.

use std::time::{SystemTime, UNIX_EPOCH};

use levain_actions::status::SummaryPhase;
use levain_evaluator::JobName;
use levain_store::DerivationPath;
use serde::{Deserialize, Serialize};

use crate::report::{Counters, JobReport};
use crate::statuses::StatusPlan;

/// Something that happened in a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When, in milliseconds since 1970.
    pub time: u64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened. Events of one run come one after the other.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum What {
    /// The jobset, its commit and the declaration are known. The first event of a run but for
    /// fetching.
    Opened {
        /// What there is to know for telling a forge how the run fares.
        statuses: Box<StatusPlan>,
    },
    /// A stage begins.
    Stage {
        /// Which.
        stage: Stage,
    },
    /// Something the user should know that is no error.
    Notice {
        /// In words.
        text: String,
    },
    /// Something that went wrong but does not stop the run.
    Warning {
        /// In words.
        text: String,
    },
    /// The jobs are known, those included that could not be evaluated.
    JobsFound {
        /// All of them.
        jobs: Vec<JobName>,
    },
    /// A job is going to be built.
    JobWaits {
        /// What is known of it; not how it ends.
        job: Box<JobReport>,
    },
    /// Builds are about to begin.
    BuildsBegin {
        /// How many jobs there are.
        jobs: usize,
        /// How many of them have ended, and how.
        counters: Counters,
    },
    /// The build of a job does not begin yet. Heard again when the reason changes.
    BuildWaits {
        /// The job's derivation.
        derivation: DerivationPath,
        /// What it waits for.
        reason: WaitReason,
    },
    /// A derivation starts building: a job's own or a dependency.
    BuildStarted {
        /// The derivation.
        derivation: DerivationPath,
        /// The file that its log is written to, line by line.
        log: Option<String>,
    },
    /// A running build wrote a line.
    BuildLine {
        /// The derivation.
        derivation: DerivationPath,
        /// The line, without its end.
        line: String,
    },
    /// A running build ended, well or not.
    BuildStopped {
        /// The derivation.
        derivation: DerivationPath,
    },
    /// A job is done.
    JobEnded {
        /// How it ended.
        job: Box<JobReport>,
    },
    /// The run has ended with a report.
    Ended {
        /// How the jobset fares as a whole.
        phase: SummaryPhase,
        /// How many jobs there are.
        jobs: usize,
        /// How they ended.
        counters: Counters,
    },
    /// The run has ended without a report.
    Failed {
        /// Whether it was stopped, or whose fault it is.
        phase: SummaryPhase,
        /// Why, in a line for readers who know nothing of this machine.
        error: String,
    },
}

/// Why a build does not begin yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum WaitReason {
    /// Everything is there that it needs; other builds take the slots.
    Slot,
    /// It needs what this derivation makes, and maybe more.
    Dependency {
        /// One that is built or waits for a slot itself.
        derivation: DerivationPath,
    },
    /// Nix was asked for it and has not begun: it may wait for another build of the same, for a download, or for a remote
    /// builder.
    Nix,
    /// It failed through no fault of its own, and is tried once more.
    Retry {
        /// When, in milliseconds since 1970.
        at: u64,
    },
}

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum Stage {
    /// Fetching from the remote.
    Fetch,
    /// Evaluating the original commit.
    EvaluateBase,
    /// Evaluating the shadow commit.
    EvaluateShadow,
    /// Building this many jobs.
    Build {
        /// Jobs to build.
        jobs: usize,
        /// Jobs that are fresh.
        fresh: usize,
    },
    /// Building this many jobs clean, to compare.
    Audit {
        /// Jobs to audit.
        jobs: usize,
    },
    /// Pushing the shadow branch.
    Deliver,
}

/// Returns the present, in milliseconds since 1970.
pub(crate) fn unix_millis() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// Where a run's events go.
#[derive(Clone, Copy)]
pub(crate) struct Tell<'a>(&'a dyn Fn(Event));

impl<'a> Tell<'a> {
    pub(crate) fn new(hear: &'a dyn Fn(Event)) -> Self {
        Self(hear)
    }

    pub(crate) fn what(&self, what: What) {
        (self.0)(Event { time: unix_millis(), what });
    }

    pub(crate) fn stage(&self, stage: Stage) {
        self.what(What::Stage { stage });
    }

    pub(crate) fn notice(&self, text: &str) {
        self.what(What::Notice { text: text.to_owned() });
    }

    pub(crate) fn warning(&self, text: &str) {
        self.what(What::Warning { text: text.to_owned() });
    }

    pub(crate) fn job_ended(&self, job: &JobReport) {
        self.what(What::JobEnded { job: Box::new(job.clone()) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::JobStatus;

    #[test]
    fn every_event_can_be_read_back() {
        let name = JobName::from("a.b");
        let derivation: DerivationPath =
            "0c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-far.drv".parse().unwrap();
        let job = Box::new(JobReport::new(&name, JobStatus::Incremental));
        let counters = Counters { clean: 2, ..Counters::default() };
        let all = [
            What::Opened { statuses: Box::new(StatusPlan::example()) },
            What::Stage { stage: Stage::Build { jobs: 3, fresh: 1 } },
            What::Stage { stage: Stage::Deliver },
            What::Notice { text: "n".into() },
            What::Warning { text: "w".into() },
            What::JobsFound { jobs: vec![name] },
            What::JobWaits { job: job.clone() },
            What::BuildsBegin { jobs: 3, counters },
            What::BuildWaits { derivation: derivation.clone(), reason: WaitReason::Slot },
            What::BuildWaits {
                derivation: derivation.clone(),
                reason: WaitReason::Dependency { derivation: derivation.clone() },
            },
            What::BuildWaits {
                derivation: derivation.clone(),
                reason: WaitReason::Retry { at: 9 },
            },
            What::BuildStarted { derivation: derivation.clone(), log: Some("/l".into()) },
            What::BuildLine { derivation: derivation.clone(), line: "\u{1b}[1m\0".into() },
            What::BuildStopped { derivation },
            What::JobEnded { job },
            What::Ended { phase: SummaryPhase::Success, jobs: 3, counters },
            What::Failed { phase: SummaryPhase::Error, error: "e".into() },
        ];
        for what in all {
            let text = serde_json::to_string(&Event { time: 7, what }).unwrap();
            let back: Event = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::to_string(&back).unwrap(), text);
            assert!(text.starts_with("{\"time\":7,\"event\":\""), "{text}");
        }
    }
}
