//! What takes the slots of this server and what waits for them, as the runs tell it: so that what hangs is seen.
//!
//! A build that several runs want is one. Which runs are looked at is up to the caller: who may not see a run sees nothing of
//! its builds.

use std::collections::BTreeMap;

use levain_engine::event::{Stage, WaitReason};
use levain_evaluator::JobName;
use levain_store::DerivationPath;
use serde::Serialize;

use crate::clock::Timestamp;
use crate::live::LiveRun;
use crate::runs::RunId;

/// How many of each are listed.
const LISTED: usize = 100;

/// A build that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Building {
    /// The derivation's name.
    pub name: String,
    /// The derivation.
    pub derivation: String,
    /// Since when, in milliseconds since 1970.
    pub since: i64,
    /// When it printed a line last, or began.
    pub heard_at: i64,
    /// The runs that want it.
    pub runs: Vec<i64>,
    /// How many of their jobs wait for it, those that it is the build of left out.
    pub waiting_jobs: usize,
}

/// A job whose build has not begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitingJob {
    /// Its run.
    pub run: i64,
    /// Its name.
    pub job: String,
    /// What it waits for: `slot`, `dependency`, `nix` or `retry`.
    pub kind: &'static str,
    /// The derivation that it waits for, if it does for one.
    pub blocker: Option<String>,
    /// Until when it waits, if that is known, in milliseconds since 1970.
    pub until: Option<i64>,
    #[serde(skip)]
    reason: WaitReason,
}

impl WaitingJob {
    /// Says what it waits for.
    pub fn why(&self, now: Timestamp) -> String {
        words(&self.reason, now)
    }
}

/// What there is of both, and how many are not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Slots {
    /// The builds, the one first that was heard of least recently.
    pub building: Vec<Building>,
    /// The jobs.
    pub waiting_jobs: Vec<WaitingJob>,
    /// How many builds are not listed.
    pub more_building: usize,
    /// How many jobs are not listed.
    pub more_waiting_jobs: usize,
}

impl Slots {
    /// Gathers what runs tell.
    pub fn of(runs: &BTreeMap<RunId, LiveRun>) -> Self {
        let mut builds: BTreeMap<&DerivationPath, Building> = BTreeMap::new();
        let mut waited_for: BTreeMap<&DerivationPath, usize> = BTreeMap::new();
        let mut waiting = Vec::new();
        for (id, run) in runs {
            for (derivation, build) in &run.builds {
                let (since, heard_at) = (millis(build.since), millis(build.heard_at()));
                let known = builds.entry(derivation).or_insert_with(|| Building {
                    name: derivation.name().to_string(),
                    derivation: derivation.to_string(),
                    since,
                    heard_at,
                    runs: Vec::new(),
                    waiting_jobs: 0,
                });
                known.since = known.since.min(since);
                known.heard_at = known.heard_at.max(heard_at);
                known.runs.push(id.number());
            }
            for (name, job) in &run.waiting {
                if let Some(reason) = run.wait_of(job) {
                    waiting.push(waiting_job(*id, name, reason));
                    if let WaitReason::Dependency { derivation } = reason {
                        *waited_for.entry(derivation).or_default() += 1;
                    }
                }
            }
        }
        for (derivation, count) in waited_for {
            if let Some(build) = builds.get_mut(derivation) {
                build.waiting_jobs = count;
            }
        }
        let mut building: Vec<Building> = builds.into_values().collect();
        building.sort_by_key(|build| build.heard_at);
        let more_building = building.len().saturating_sub(LISTED);
        let more_waiting_jobs = waiting.len().saturating_sub(LISTED);
        building.truncate(LISTED);
        waiting.truncate(LISTED);
        Self { building, waiting_jobs: waiting, more_building, more_waiting_jobs }
    }
}

fn waiting_job(run: RunId, name: &JobName, reason: &WaitReason) -> WaitingJob {
    let (kind, blocker, until) = match reason {
        WaitReason::Slot => ("slot", None, None),
        WaitReason::Dependency { derivation } => ("dependency", Some(derivation.to_string()), None),
        WaitReason::Nix => ("nix", None, None),
        WaitReason::Retry { at } => ("retry", None, Some(millis(*at))),
    };
    let reason = reason.clone();
    WaitingJob { run: run.number(), job: name.to_string(), kind, blocker, until, reason }
}

fn millis(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

/// Says why a build does not begin yet.
pub fn words(reason: &WaitReason, now: Timestamp) -> String {
    match reason {
        WaitReason::Slot => "for a free slot".to_owned(),
        WaitReason::Dependency { derivation } => format!("for `{}`", derivation.name()),
        WaitReason::Nix => {
            "for Nix to begin: it may wait for another build of the same, a download or a remote builder"
                .to_owned()
        }
        WaitReason::Retry { at } => {
            let left = millis(*at).saturating_sub(now.millis()).max(0);
            let left = left.unsigned_abs().div_ceil(1_000);
            format!("to be tried again in {left} s: it failed through no fault of its own")
        }
    }
}

/// Says what a run is doing.
pub fn doing(stage: Stage) -> &'static str {
    match stage {
        Stage::Fetch => "fetching",
        Stage::EvaluateBase => "evaluating",
        Stage::EvaluateShadow => "evaluating with its caches",
        Stage::Build { .. } => "building",
        Stage::Audit { .. } => "comparing with clean builds",
        Stage::Deliver => "pushing its caches",
    }
}

#[cfg(test)]
mod tests {
    use levain_engine::event::{Event, What};
    use levain_engine::report::{JobReport, JobStatus};

    use super::*;
    use crate::live::Live;

    const SLOW: &str = "0c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-slow.drv";
    const TOP: &str = "1c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-top.drv";
    const QUICK: &str = "2c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-quick.drv";

    #[test]
    fn a_build_that_hangs_is_the_first_one_with_all_that_wait_for_it() {
        let live = Live::default();
        let hear = |run: i64, time, what| live.hear(RunId::from_number(run), &Event { time, what });
        let path = |text: &str| text.parse::<DerivationPath>().unwrap();
        let wait = |run: i64, name: &str, built: &str, reason| {
            let mut job = JobReport::new(&name.into(), JobStatus::Clean);
            job.built_drv_path = Some(format!("/nix/store/{built}"));
            hear(run, 1, What::JobWaits { job: Box::new(job) });
            hear(run, 1, What::BuildWaits { derivation: path(built), reason });
        };
        for run in [7, 8] {
            let needs = || WaitReason::Dependency { derivation: path(SLOW) };
            wait(run, "slow", SLOW, WaitReason::Slot);
            wait(run, "top", TOP, needs());
        }
        wait(8, "quick", QUICK, WaitReason::Slot);
        let begun = |text| What::BuildStarted { derivation: path(text), log: None };
        hear(8, 10, begun(QUICK));
        // Who came later hears of it later.
        hear(7, 20, begun(SLOW));
        hear(8, 30, begun(SLOW));
        let line = What::BuildLine { derivation: path(QUICK), line: "x".into() };
        hear(8, 40, line);
        let found = Slots::of(&live.runs());
        let shown = |build: &Building| {
            (
                build.name.clone(),
                build.since,
                build.heard_at,
                build.runs.clone(),
                build.waiting_jobs,
            )
        };
        assert_eq!(
            found.building.iter().map(shown).collect::<Vec<_>>(),
            [("slow".to_owned(), 20, 30, vec![7, 8], 2), ("quick".to_owned(), 10, 40, vec![8], 0),]
        );
        let waiting: Vec<_> =
            found.waiting_jobs.iter().map(|job| (job.run, job.job.as_str(), job.kind)).collect();
        assert_eq!(waiting, [(7, "top", "dependency"), (8, "top", "dependency")]);
        assert_eq!(found.waiting_jobs[0].blocker.as_deref(), Some(SLOW));
        assert_eq!((found.more_building, found.more_waiting_jobs), (0, 0));
        // What is tried again takes no slot meanwhile.
        let reason = WaitReason::Retry { at: 9_000 };
        hear(7, 50, What::BuildWaits { derivation: path(SLOW), reason: reason.clone() });
        hear(8, 50, What::BuildWaits { derivation: path(SLOW), reason });
        let found = Slots::of(&live.runs());
        assert_eq!(found.building.len(), 1);
        let again: Vec<_> = found.waiting_jobs.iter().filter(|job| job.kind == "retry").collect();
        assert_eq!((again.len(), again[0].until), (2, Some(9_000)));
    }

    #[test]
    fn reasons_in_words() {
        let now = Timestamp::from_millis(1_000);
        let flour: DerivationPath = SLOW.parse().unwrap();
        for (reason, expected) in [
            (WaitReason::Slot, "for a free slot"),
            (WaitReason::Dependency { derivation: flour }, "for `slow`"),
            (
                WaitReason::Retry { at: 3_500 },
                "to be tried again in 3 s: it failed through no fault of its own",
            ),
            (
                WaitReason::Retry { at: 0 },
                "to be tried again in 0 s: it failed through no fault of its own",
            ),
        ] {
            assert_eq!(words(&reason, now), expected);
        }
        assert!(words(&WaitReason::Nix, now).starts_with("for Nix to begin"));
    }
}
