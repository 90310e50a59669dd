//! Caches that were dropped by hand.
//!
//! Shadow branches keep their history, and other branches may have taken an
//! entry over; so dropping notes a time, and nothing that was recorded until
//! then is used again for that job and jobset.

use std::collections::BTreeMap;

use levain_actions::git::CommitId;
use levain_evaluator::names::JobsetNameError;
use levain_evaluator::{JobName, JobsetName};
use serde::{Deserialize, Serialize};

use crate::digest::sha256_hex;
use crate::state::{Kind, State, StateError, StateWriter};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mark {
    /// Nothing recorded until then is used.
    Until {
        jobset: Jobsets,
        /// All jobs if absent.
        job: Option<JobName>,
        /// In seconds since 1970.
        time: u64,
    },
    /// An audit found that the job's caches lie: none is used on any jobset.
    Off {
        job: JobName,
        /// The original commit that was audited.
        commit: CommitId,
    },
}

/// Where caches are dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum Jobsets {
    /// On every jobset.
    All,
    /// On this one.
    One(JobsetName),
}

/// How [`Jobsets::All`] is written. No jobset is called so.
const ALL: &str = "*";

impl From<Jobsets> for String {
    fn from(jobsets: Jobsets) -> Self {
        match jobsets {
            Jobsets::All => ALL.to_owned(),
            Jobsets::One(jobset) => jobset.into(),
        }
    }
}

impl TryFrom<String> for Jobsets {
    type Error = JobsetNameError;

    fn try_from(text: String) -> Result<Self, JobsetNameError> {
        if text == ALL { Ok(Self::All) } else { text.try_into().map(Self::One) }
    }
}

impl Jobsets {
    fn has(&self, jobset: &JobsetName) -> bool {
        match self {
            Self::All => true,
            Self::One(one) => one == jobset,
        }
    }
}

/// The times until which caches are dropped, by job; that of all jobs under `None`.
pub(crate) type Dropped = BTreeMap<Option<JobName>, u64>;

/// Returns what was dropped of a jobset.
pub(crate) fn read(state: &State, jobset: &JobsetName) -> Dropped {
    let mut dropped = Dropped::new();
    for (_, mark) in state.load_all::<Mark>(Kind::Dropped) {
        match mark {
            Mark::Until { jobset: of, job, time } if of.has(jobset) => {
                let until = dropped.entry(job).or_default();
                *until = time.max(*until);
            }
            Mark::Until { .. } | Mark::Off { .. } => {}
        }
    }
    dropped
}

/// Returns the jobs that must not use caches, and the commit whose audit said so.
pub(crate) fn switched_off(state: &State) -> BTreeMap<JobName, CommitId> {
    state
        .load_all::<Mark>(Kind::Dropped)
        .into_iter()
        .filter_map(|(_, mark)| match mark {
            Mark::Off { job, commit } => Some((job, commit)),
            Mark::Until { .. } => None,
        })
        .collect()
}

/// Keeps a job from using caches until [`allow`] is called.
pub(crate) fn switch_off(
    writer: &StateWriter,
    job: &JobName,
    commit: CommitId,
) -> Result<(), StateError> {
    let mark = Mark::Off { job: job.clone(), commit };
    writer.store(Kind::Dropped, &off_name(job), &mark)
}

/// Lets a job use caches again. Returns whether it was kept from it.
pub(crate) fn allow(writer: &StateWriter, job: &JobName) -> Result<bool, StateError> {
    let was_off = switched_off(writer.state()).contains_key(job);
    writer.forget(Kind::Dropped, &off_name(job))?;
    Ok(was_off)
}

fn off_name(job: &JobName) -> String {
    format!("off-{}", sha256_hex(job.as_str().as_bytes()))
}

/// Returns the time until which caches of `job` are dropped; 0 if none are.
pub(crate) fn before(dropped: &Dropped, job: &JobName) -> u64 {
    let of = |job: &Option<JobName>| dropped.get(job).copied().unwrap_or(0);
    of(&None).max(of(&Some(job.clone())))
}

/// Notes that everything recorded until `time` is dropped.
pub(crate) fn note(
    writer: &StateWriter,
    jobset: Jobsets,
    job: Option<&JobName>,
    time: u64,
) -> Result<(), StateError> {
    let text = String::from(jobset.clone());
    let name = format!("{text}\n{}", job.map(JobName::as_str).unwrap_or_default());
    let name = sha256_hex(name.as_bytes());
    let mark = Mark::Until { jobset, job: job.cloned(), time };
    writer.store(Kind::Dropped, &name, &mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_as_they_have_always_been_written() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::of(dir.path());
        let writer = state.lock().unwrap();
        for (jobset, time) in [("heads/main", 1), ("pull/7", 2), ("*", 3), ("main", 4)] {
            let mark =
                serde_json::json!({ "until": { "jobset": jobset, "job": "x.a", "time": time } });
            writer.store(Kind::Dropped, &time.to_string(), &mark).unwrap();
        }
        let off = serde_json::json!({ "off": { "job": "x.b", "commit": "1".repeat(40) } });
        writer.store(Kind::Dropped, "off", &off).unwrap();
        let (main, pull) = (JobsetName::branch("main"), JobsetName::pull_request(7));
        // What names no jobset drops nothing.
        for jobset in [&main, &pull] {
            assert_eq!(before(&read(&state, jobset), &"x.a".into()), 3, "{jobset}");
        }
        assert!(switched_off(&state).contains_key("x.b"));

        note(&writer, Jobsets::One(main.clone()), None, 9).unwrap();
        note(&writer, Jobsets::All, Some(&"x.b".into()), 8).unwrap();
        let written = |name: &str| {
            let name = sha256_hex(name.as_bytes());
            state.load::<serde_json::Value>(Kind::Dropped, &name).unwrap()["until"].take()
        };
        let one = serde_json::json!({ "jobset": "heads/main", "job": null, "time": 9 });
        assert_eq!(written("heads/main\n"), one);
        let all = serde_json::json!({ "jobset": "*", "job": "x.b", "time": 8 });
        assert_eq!(written("*\nx.b"), all);
        assert_eq!(before(&read(&state, &main), &"x.a".into()), 9);
        assert_eq!(before(&read(&state, &pull), &"x.b".into()), 8);
    }
}
