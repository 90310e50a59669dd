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
struct Mark {
    jobset: String,
    /// All jobs if absent.
    job: Option<String>,
    /// In seconds since 1970.
    time: u64,
}

/// The times until which caches are dropped, by job; that of all jobs under `None`.
pub(crate) type Dropped = BTreeMap<Option<String>, u64>;

/// Returns what was dropped of a jobset.
pub(crate) fn read(state: &State, jobset: &str) -> Dropped {
    state
        .load_all::<Mark>(Kind::Dropped)
        .into_iter()
        .filter(|(_, mark)| mark.jobset == jobset)
        .map(|(_, mark)| (mark.job, mark.time))
        .collect()
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
    let mark = Mark { jobset: jobset.to_owned(), job: job.map(str::to_owned), time };
    writer.store(Kind::Dropped, &name, &mark)
}
