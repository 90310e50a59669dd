//! Caches that were dropped by hand.
//!
//! Shadow branches keep their history, and other branches may have taken an
//! entry over; so dropping notes a time, and nothing that was recorded until
//! then is used again for that job and jobset.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::sha256_hex;
use crate::state::{Kind, State, StateError, StateWriter};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mark {
    /// Nothing recorded until then is used.
    Until {
        jobset: String,
        /// All jobs if absent.
        job: Option<String>,
        /// In seconds since 1970.
        time: u64,
    },
    /// An audit found that the job's caches lie: none is used on any jobset.
    Off {
        job: String,
        /// The original commit that was audited.
        commit: String,
    },
}

/// Stands for every jobset: no branch can have a name with a star in it.
pub(crate) const EVERYWHERE: &str = "*";

/// The times until which caches are dropped, by job; that of all jobs under `None`.
pub(crate) type Dropped = BTreeMap<Option<String>, u64>;

/// Returns what was dropped of a jobset.
pub(crate) fn read(state: &State, jobset: &str) -> Dropped {
    let mut dropped = Dropped::new();
    for (_, mark) in state.load_all::<Mark>(Kind::Dropped) {
        match mark {
            Mark::Until { jobset: of, job, time } if of == jobset || of == EVERYWHERE => {
                let until = dropped.entry(job).or_default();
                *until = time.max(*until);
            }
            Mark::Until { .. } | Mark::Off { .. } => {}
        }
    }
    dropped
}

/// Returns the jobs that must not use caches, and the commit whose audit said so.
pub(crate) fn switched_off(state: &State) -> BTreeMap<String, String> {
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
pub(crate) fn switch_off(writer: &StateWriter, job: &str, commit: &str) -> Result<(), StateError> {
    let mark = Mark::Off { job: job.to_owned(), commit: commit.to_owned() };
    writer.store(Kind::Dropped, &off_name(job), &mark)
}

/// Lets a job use caches again. Returns whether it was kept from it.
pub(crate) fn allow(writer: &StateWriter, job: &str) -> Result<bool, StateError> {
    let was_off = switched_off(writer.state()).contains_key(job);
    writer.forget(Kind::Dropped, &off_name(job))?;
    Ok(was_off)
}

fn off_name(job: &str) -> String {
    format!("off-{}", sha256_hex(job.as_bytes()))
}

/// Returns the time until which caches of `job` are dropped; 0 if none are.
pub(crate) fn before(dropped: &Dropped, job: &str) -> u64 {
    let of = |job: &Option<String>| dropped.get(job).copied().unwrap_or(0);
    of(&None).max(of(&Some(job.to_owned())))
}

/// Notes that everything recorded until `time` is dropped.
pub(crate) fn note(
    writer: &StateWriter,
    jobset: &str,
    job: Option<&str>,
    time: u64,
) -> Result<(), StateError> {
    let name = sha256_hex(format!("{jobset}\n{}", job.unwrap_or_default()).as_bytes());
    let mark = Mark::Until { jobset: jobset.to_owned(), job: job.map(str::to_owned), time };
    writer.store(Kind::Dropped, &name, &mark)
}
