//! What the runs of this server are doing right now, for whoever watches.
//!
//! Kept in memory and nowhere else: what must outlast the server is in the database. Start at [`Live::hear`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use levain_engine::event::{Event, Stage, WaitReason, What};
use levain_engine::report::{Counters, JobStatus};
use levain_evaluator::JobName;
use levain_store::DerivationPath;
use serde::Serialize;
use tokio::sync::watch;

use crate::runs::RunId;

/// What the runs of this server are doing. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Live(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    runs: Mutex<BTreeMap<RunId, LiveRun>>,
    /// Counts the changes.
    changed: watch::Sender<u64>,
}

/// A run that is carried out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveRun {
    /// What it is doing.
    pub stage: Option<Stage>,
    /// Since when, in milliseconds since 1970.
    pub stage_since: Option<u64>,
    /// How many jobs there are, once that is known.
    pub jobs: Option<usize>,
    /// How those ended that have.
    pub counters: Counters,
    /// The jobs that are not done.
    pub waiting: BTreeMap<JobName, LiveJob>,
    /// Why the builds of jobs do not begin that have not.
    pub waits: BTreeMap<DerivationPath, WaitReason>,
    /// What is being built.
    pub builds: BTreeMap<DerivationPath, LiveBuild>,
    /// How its jobs ended that have. What they printed is shown once the run is over, without secrets.
    pub ended: BTreeMap<JobName, LiveEnd>,
}

/// How a job of a run ended that has not.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveEnd {
    /// How.
    pub status: JobStatus,
    /// The file with its log. A path of this machine: not for readers.
    #[serde(skip)]
    pub log: Option<PathBuf>,
}

/// A job that is not done.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveJob {
    /// What is built for it, as a path.
    pub built: Option<String>,
}

impl LiveJob {
    fn derivation(&self) -> Option<DerivationPath> {
        self.built.as_deref()?.rsplit('/').next()?.parse().ok()
    }
}

/// A derivation that is being built.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveBuild {
    /// Since when, in milliseconds since 1970.
    pub since: u64,
    /// When it printed a line last, if it did.
    pub last_line: Option<u64>,
    /// The file that its log is written to, line by line. A path of this machine: not for readers.
    #[serde(skip)]
    pub log: Option<PathBuf>,
}

impl LiveBuild {
    /// Returns when it was heard of last.
    pub fn heard_at(&self) -> u64 {
        self.last_line.unwrap_or(self.since)
    }
}

impl LiveRun {
    /// Returns the build of a job, if it is under way.
    pub fn build_of(&self, job: &LiveJob) -> Option<&LiveBuild> {
        self.builds.get(&job.derivation()?)
    }

    /// Returns why the build of a job has not begun; nothing if it has, or while that is not known.
    pub fn wait_of(&self, job: &LiveJob) -> Option<&WaitReason> {
        self.waits.get(&job.derivation()?)
    }
}

impl Live {
    /// Takes note of something that happened in a run.
    pub fn hear(&self, run: RunId, event: &Event) {
        {
            let mut runs = self.lock();
            let live = runs.entry(run).or_default();
            match &event.what {
                What::Stage { stage } => {
                    live.stage = Some(*stage);
                    live.stage_since = Some(event.time);
                }
                What::JobsFound { jobs } => live.jobs = Some(jobs.len()),
                What::JobWaits { job } => {
                    let waiting = LiveJob { built: job.built_drv_path.clone() };
                    live.waiting.insert(job.attr_path.clone(), waiting);
                }
                What::JobEnded { job } => {
                    live.waiting.remove(&job.attr_path);
                    let log = job.log.as_ref().map(PathBuf::from);
                    let end = LiveEnd { status: job.status, log };
                    live.ended.insert(job.attr_path.clone(), end);
                    let statuses = live.ended.values().map(|end| end.status);
                    live.counters = Counters::of_statuses(statuses);
                }
                What::BuildWaits { derivation, reason } => {
                    // One that is tried again has ended.
                    live.builds.remove(derivation);
                    live.waits.insert(derivation.clone(), reason.clone());
                }
                What::BuildStarted { derivation, log } => {
                    live.waits.remove(derivation);
                    let log = log.as_ref().map(PathBuf::from);
                    let build = LiveBuild { since: event.time, last_line: None, log };
                    live.builds.insert(derivation.clone(), build);
                }
                What::BuildStopped { derivation } => {
                    live.builds.remove(derivation);
                }
                // Whoever reads a log follows its file.
                What::BuildLine { derivation, .. } => {
                    if let Some(build) = live.builds.get_mut(derivation) {
                        build.last_line = Some(event.time);
                    }
                    return;
                }
                What::Opened { .. }
                | What::Notice { .. }
                | What::Warning { .. }
                | What::BuildsBegin { .. }
                | What::Ended { .. }
                | What::Failed { .. } => {}
            }
        }
        self.0.changed.send_modify(|count| *count += 1);
    }

    /// Forgets a run, which has ended.
    pub fn forget(&self, run: RunId) {
        self.lock().remove(&run);
        self.0.changed.send_modify(|count| *count += 1);
    }

    /// Returns what a run is doing, if this server carries it out.
    pub fn run(&self, run: RunId) -> Option<LiveRun> {
        self.lock().get(&run).cloned()
    }

    /// Returns what all runs of this server are doing.
    pub fn runs(&self) -> BTreeMap<RunId, LiveRun> {
        self.lock().clone()
    }

    /// Returns what tells of each change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RunId, LiveRun>> {
        self.0.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use levain_engine::report::JobReport;

    use super::*;

    #[test]
    fn it_shows_what_is_under_way_and_nothing_of_what_is_over() {
        let (live, id) = (Live::default(), RunId::from_number(7));
        let changes = live.changes();
        let name = JobName::from("a");
        let derivation: DerivationPath =
            "0c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-far.drv".parse().unwrap();
        let hear = |what| live.hear(id, &Event { time: 5, what });
        let job = || Box::new(JobReport::new(&name, JobStatus::Clean));
        hear(What::JobsFound { jobs: vec![name.clone()] });
        let mut waits = job();
        waits.built_drv_path = Some(format!("/nix/store/{derivation}"));
        hear(What::JobWaits { job: waits });
        hear(What::BuildWaits { derivation: derivation.clone(), reason: WaitReason::Slot });
        let run = live.run(id).unwrap();
        assert_eq!(run.wait_of(&run.waiting[&name]), Some(&WaitReason::Slot));
        hear(What::BuildStarted { derivation: derivation.clone(), log: Some("/l".into()) });
        let run = live.run(id).unwrap();
        assert_eq!((run.jobs, run.waiting.len(), run.builds.len()), (Some(1), 1, 1));
        let build = run.build_of(&run.waiting[&name]).unwrap();
        assert_eq!(build.log, Some(PathBuf::from("/l")));
        assert_eq!(run.wait_of(&run.waiting[&name]), None);
        assert_eq!(run.builds[&derivation].log.as_deref(), Some("/l".as_ref()));
        assert!(!serde_json::to_string(&run).unwrap().contains("/l"), "no path of the machine");
        hear(What::BuildStopped { derivation });
        hear(What::JobEnded { job: job() });
        hear(What::JobEnded { job: job() });
        let run = live.run(id).unwrap();
        assert_eq!((run.counters.clean, run.waiting.len(), run.builds.len()), (1, 0, 0));
        assert!(changes.has_changed().unwrap());
        live.forget(id);
        assert!(live.runs().is_empty());
    }
}
