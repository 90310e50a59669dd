//! Audits that the policy asks for and that were not done.
//!
//! An audit is owed from before it begins until it has a verdict: one that was stopped, killed or could
//! not build must not count as passed. The next run of that jobset audits the job's newest build instead.

use std::collections::{BTreeMap, BTreeSet};

use levain_evaluator::{JobName, JobsetName};

use crate::audit::Verdict;
use crate::state::{Kind, State, StateError, StateWriter};

/// The jobs whose audits are owed, by jobset.
type Owed = BTreeMap<JobsetName, BTreeSet<JobName>>;

/// Name under which they are remembered.
const OWED: &str = "owed-audits";

/// Returns the jobs of `jobset` whose audits are owed.
pub(crate) fn read(state: &State, jobset: &JobsetName) -> BTreeSet<JobName> {
    let mut owed: Owed = state.load(Kind::Project, OWED).unwrap_or_default();
    owed.remove(jobset).unwrap_or_default()
}

/// Remembers `jobs` as those of `jobset` whose audits are owed.
pub(crate) fn write(
    writer: &StateWriter,
    jobset: &JobsetName,
    jobs: BTreeSet<JobName>,
) -> Result<(), StateError> {
    let mut owed: Owed = writer.state().load(Kind::Project, OWED).unwrap_or_default();
    let before = match jobs.is_empty() {
        true => owed.remove(jobset).unwrap_or_default(),
        false => owed.insert(jobset.clone(), jobs.clone()).unwrap_or_default(),
    };
    if before == jobs { Ok(()) } else { writer.store(Kind::Project, OWED, &owed) }
}

/// What a run knows of a job when it decides about audits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    /// Whether the job is fine at this commit.
    pub(crate) is_success: bool,
    /// Whether this run built it, and the policy asks for an audit.
    pub(crate) is_due: bool,
    /// Whether there is a build from a cache to audit.
    pub(crate) is_incremental: bool,
}

/// What is done about a job's audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is audited now.
    Now,
    /// It stays owed: there is nothing yet to audit.
    Later,
    /// There is none.
    Never,
}

/// Decides whether a job is audited, whose audit may be owed.
pub(crate) fn decide(candidate: Candidate, is_owed: bool) -> Decision {
    match candidate {
        Candidate { is_success: false, .. } if is_owed => Decision::Later,
        Candidate { is_success: true, is_incremental: true, is_due } if is_due || is_owed => {
            Decision::Now
        }
        // A build without a cache leaves nothing in doubt.
        Candidate { .. } => Decision::Never,
    }
}

/// Returns whether an audit with this verdict is still owed.
pub(crate) fn is_owed_after(verdict: Verdict) -> bool {
    !verdict.is_done()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audit_stays_owed_until_there_is_something_to_audit() {
        let candidate =
            |is_success, is_due, is_incremental| Candidate { is_success, is_due, is_incremental };
        for (candidate, is_owed, decision) in [
            (candidate(true, true, true), false, Decision::Now),
            (candidate(true, false, true), true, Decision::Now),
            (candidate(true, false, true), false, Decision::Never),
            (candidate(true, false, false), true, Decision::Never),
            (candidate(false, false, false), true, Decision::Later),
            (candidate(false, false, true), true, Decision::Later),
            (candidate(false, false, false), false, Decision::Never),
        ] {
            assert_eq!(decide(candidate, is_owed), decision, "{candidate:?} {is_owed}");
        }
        assert!(is_owed_after(Verdict::Unfinished));
        assert!(!is_owed_after(Verdict::Same));
    }

    #[test]
    fn what_is_owed_is_kept_by_jobset() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::of(dir.path());
        let writer = state.lock().unwrap();
        let (main, topic) = (JobsetName::branch("main"), JobsetName::branch("topic"));
        let jobs: BTreeSet<JobName> = [JobName::from("x.a")].into();
        write(&writer, &main, jobs.clone()).unwrap();
        assert_eq!(read(&state, &main), jobs);
        assert!(read(&state, &topic).is_empty());
        write(&writer, &topic, jobs.clone()).unwrap();
        write(&writer, &main, BTreeSet::new()).unwrap();
        assert!(read(&state, &main).is_empty());
        assert_eq!(read(&state, &topic), jobs);
    }
}
