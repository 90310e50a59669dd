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

/// Says that some caches are not used any more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// Nothing recorded until then is used.
    Until {
        /// Where.
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
        /// The job.
        job: JobName,
        /// The original commit that was audited.
        commit: CommitId,
    },
}

/// Where caches are dropped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Jobsets {
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

/// Returns the time until which what was recorded of a job is dropped, in a jobset or, if none is named, in any; 0 if
/// nothing is.
pub fn dropped_until(marks: &[Mark], jobset: Option<&JobsetName>, job: &JobName) -> u64 {
    let times = marks.iter().filter_map(|mark| match mark {
        Mark::Until { jobset: of, job: dropped, time } => {
            let is_meant = jobset.is_none_or(|jobset| of.has(jobset))
                && dropped.as_ref().is_none_or(|dropped| dropped == job);
            is_meant.then_some(*time)
        }
        Mark::Off { .. } => None,
    });
    times.max().unwrap_or(0)
}

/// Returns the time until which a cache is dropped that `job` of `jobset` would start from: there, or where it was made; 0 if
/// it is not.
///
/// By whatever name: the job that made it may be another one with the same key.
pub fn cache_dropped_until(
    marks: &[Mark],
    (jobset, job): (&JobsetName, &JobName),
    (made_on, made_by): (&JobsetName, &JobName),
) -> u64 {
    let until = |jobset, job| dropped_until(marks, Some(jobset), job);
    [until(jobset, job), until(jobset, made_by), until(made_on, job), until(made_on, made_by)]
        .into_iter()
        .max()
        .unwrap_or(0)
}

/// Returns the jobs that must not use caches on a jobset, and the commit whose audit said so.
pub(crate) fn switched_off(marks: &[Mark], jobset: &JobsetName) -> BTreeMap<JobName, CommitId> {
    let off = marks.iter().filter_map(|mark| match mark {
        Mark::Off { jobset: of, job, commit } if of.has(jobset) => Some((job.clone(), *commit)),
        Mark::Off { .. } | Mark::Until { .. } => None,
    });
    off.collect()
}

impl Mark {
    /// Returns the name under which it is kept: one for all marks of the same caches.
    pub fn name(&self) -> String {
        let name = |jobset: &Jobsets, job: &str| {
            sha256_hex(format!("{}\n{job}", String::from(jobset.clone())).as_bytes())
        };
        match self {
            Self::Until { jobset, job, .. } => {
                name(jobset, job.as_ref().map(JobName::as_str).unwrap_or_default())
            }
            Self::Off { jobset, job, .. } => format!("off-{}", name(jobset, job.as_str())),
        }
    }

    /// Returns whether `other`, about the same caches, adds nothing to it.
    pub(crate) fn reaches(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Until { time, .. }, Self::Until { time: other, .. }) => time >= other,
            (Self::Off { .. } | Self::Until { .. }, Self::Off { .. } | Self::Until { .. }) => false,
        }
    }

    /// Returns whether it keeps a job from using caches until that is allowed again.
    pub(crate) fn turns_off(&self, wanted: &JobName) -> bool {
        match self {
            Self::Off { job, .. } => job == wanted,
            Self::Until { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Records;
    use crate::state::{Kind, State};

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
        let dropped = |jobset: &JobsetName, job: &str| {
            dropped_until(&state.marks().unwrap(), Some(jobset), &job.into())
        };
        let is_off = |job: &str| switched_off(&state.marks().unwrap(), &main).contains_key(job);
        // What names no jobset drops nothing.
        for jobset in [&main, &pull] {
            assert_eq!(dropped(jobset, "x.a"), 3, "{jobset}");
        }
        // Written before it was said on which jobsets.
        assert!(is_off("x.b"));
        assert!(state.allow(&writer, &"x.b".into()).unwrap());
        assert!(!state.allow(&writer, &"x.b".into()).unwrap());
        assert!(!is_off("x.b"));

        let until = |jobset, job: Option<&str>, time| {
            let mark = Mark::Until { jobset, job: job.map(JobName::from), time };
            state.mark(&writer, &mark).unwrap();
        };
        until(Jobsets::One(main.clone()), None, 9);
        until(Jobsets::All, Some("x.b"), 8);
        let written = |name: &str| {
            let name = sha256_hex(name.as_bytes());
            state.load::<serde_json::Value>(Kind::Dropped, &name).unwrap()["until"].take()
        };
        let one = serde_json::json!({ "jobset": "heads/main", "job": null, "time": 9 });
        assert_eq!(written("heads/main\n"), one);
        let all = serde_json::json!({ "jobset": "*", "job": "x.b", "time": 8 });
        assert_eq!(written("*\nx.b"), all);
        assert_eq!(dropped(&main, "x.a"), 9);
        assert_eq!(dropped(&pull, "x.b"), 8);
    }

    #[test]
    fn a_pull_request_that_lies_switches_itself_off_and_nobody_else() {
        use crate::testing::{branch, pull_request};
        let job: JobName = "x.a".into();
        let commit: CommitId = "1".repeat(40).parse().unwrap();
        let off = |misled: &Jobset| Mark::Off {
            jobset: Jobsets::misled_with(misled),
            job: job.clone(),
            commit,
        };
        let is_off = |marks: &[Mark], jobset: &Jobset| {
            switched_off(marks, &jobset.name()).contains_key(&job)
        };
        let (main, topic) = (branch("main", true), branch("topic", false));
        let (fork, other) = (pull_request(7, true), pull_request(8, false));
        for misled in [&fork, &other] {
            let marks = [off(misled)];
            assert!(is_off(&marks, misled) && !is_off(&marks, &main) && !is_off(&marks, &topic));
        }
        for misled in [&main, &topic] {
            let marks = [off(misled), off(&fork)];
            assert!(
                [&main, &topic, &fork, &other].into_iter().all(|jobset| is_off(&marks, jobset))
            );
        }
    }
}
