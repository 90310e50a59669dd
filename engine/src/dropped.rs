//! Caches that are not used any more: dropped by hand, or found out by an audit.
//!
//! Shadow branches keep their history, and other branches may have taken an
//! entry over; so dropping notes a time, and nothing that was recorded until
//! then is used again for that job and jobset.

use std::collections::BTreeMap;

use levain_actions::git::CommitId;
use levain_evaluator::names::JobsetNameError;
use levain_evaluator::pointer::Tier;
use levain_evaluator::{JobName, JobsetName};
use serde::{Deserialize, Serialize};

use crate::digest::sha256_hex;
use crate::jobset::Jobset;
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
    /// An audit found that the job's caches lie: none is used.
    Off {
        /// On all jobsets, as long as nobody said which.
        #[serde(default = "everywhere")]
        jobset: Jobsets,
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

fn everywhere() -> Jobsets {
    Jobsets::All
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
    /// Returns for whom it counts that an audit of `jobset` found a lie.
    ///
    /// Where the lie began is not known, so that it counts for all, if somebody wrote the jobset who may push to the
    /// project. Anybody can write a pull request that lies under the name of any job: it has itself to blame.
    pub(crate) fn misled_with(jobset: &Jobset) -> Self {
        match jobset.tier() {
            Tier::DefaultBranch | Tier::Branch => Self::All,
            Tier::PullRequest | Tier::Fork => Self::One(jobset.name()),
        }
    }

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

/// Returns the jobs that must not use caches on a jobset, and the commit whose audit said so.
pub(crate) fn switched_off(state: &State, jobset: &JobsetName) -> BTreeMap<JobName, CommitId> {
    marked_off(state)
        .filter(|(_, of, ..)| of.has(jobset))
        .map(|(_, _, job, commit)| (job, commit))
        .collect()
}

/// Returns all marks that keep jobs from using caches, with their names.
fn marked_off(state: &State) -> impl Iterator<Item = (String, Jobsets, JobName, CommitId)> {
    state.load_all::<Mark>(Kind::Dropped).into_iter().filter_map(|(name, mark)| match mark {
        Mark::Off { jobset, job, commit } => Some((name, jobset, job, commit)),
        Mark::Until { .. } => None,
    })
}

/// Keeps a job from using caches until [`allow`] is called.
pub(crate) fn switch_off(
    writer: &StateWriter,
    jobset: Jobsets,
    job: &JobName,
    commit: CommitId,
) -> Result<(), StateError> {
    let name = format!("{}\n{job}", String::from(jobset.clone()));
    let name = format!("off-{}", sha256_hex(name.as_bytes()));
    writer.store(Kind::Dropped, &name, &Mark::Off { jobset, job: job.clone(), commit })
}

/// Lets a job use caches again, on all jobsets. Returns whether it was kept from it on any.
pub(crate) fn allow(writer: &StateWriter, job: &JobName) -> Result<bool, StateError> {
    let mut was_off = false;
    for (name, _, marked, _) in marked_off(writer.state()) {
        if marked == *job {
            writer.forget(Kind::Dropped, &name)?;
            was_off = true;
        }
    }
    Ok(was_off)
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
        // Written before it was said on which jobsets.
        assert!(switched_off(&state, &main).contains_key("x.b"));
        assert!(allow(&writer, &"x.b".into()).unwrap());
        assert!(!allow(&writer, &"x.b".into()).unwrap());
        assert!(switched_off(&state, &main).is_empty());

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

    #[test]
    fn a_pull_request_that_lies_switches_itself_off_and_nobody_else() {
        use crate::testing::{branch, pull_request};
        let dir = tempfile::tempdir().unwrap();
        let writer = State::of(dir.path()).lock().unwrap();
        let state = writer.state();
        let job: JobName = "x.a".into();
        let commit: CommitId = "1".repeat(40).parse().unwrap();
        let is_off = |jobset: &Jobset| switched_off(state, &jobset.name()).contains_key(&job);
        let (main, topic) = (branch("main", true), branch("topic", false));
        let (fork, other) = (pull_request(7, true), pull_request(8, false));
        for misled in [&fork, &other] {
            switch_off(&writer, Jobsets::misled_with(misled), &job, commit).unwrap();
            assert!(is_off(misled) && !is_off(&main) && !is_off(&topic));
            assert!(allow(&writer, &job).unwrap());
        }
        for misled in [&main, &topic] {
            switch_off(&writer, Jobsets::misled_with(misled), &job, commit).unwrap();
            switch_off(&writer, Jobsets::misled_with(&fork), &job, commit).unwrap();
            assert!([&main, &topic, &fork, &other].into_iter().all(is_off));
            assert!(allow(&writer, &job).unwrap());
            assert!(![&main, &topic, &fork, &other].into_iter().any(is_off));
        }
    }
}
