//! What a run tells while it goes on. The command line draws it; tests record it.

use crate::report::JobReport;

/// Receives the progress of a run. Calls come from one thread at a time.
pub trait Progress: Send {
    /// A stage begins.
    fn stage(&mut self, stage: Stage);
    /// Something the user should know that is no error.
    fn notice(&mut self, text: &str);
    /// Something that went wrong but does not stop the run.
    fn warning(&mut self, text: &str);
    /// A derivation starts building: a job's own or a dependency.
    fn build_started(&mut self, derivation: &str, name: &str);
    /// A running build wrote a line.
    fn build_line(&mut self, derivation: &str, line: &str);
    /// A running build ended, well or not.
    fn build_stopped(&mut self, derivation: &str);
    /// A job is done.
    fn job_done(&mut self, job: &JobReport);
}

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Pushing the shadow branch and waiting for statuses.
    Deliver,
}

/// Shows nothing.
#[derive(Debug)]
pub struct Silent;

impl Progress for Silent {
    fn stage(&mut self, _: Stage) {}
    fn notice(&mut self, _: &str) {}
    fn warning(&mut self, _: &str) {}
    fn build_started(&mut self, _: &str, _: &str) {}
    fn build_line(&mut self, _: &str, _: &str) {}
    fn build_stopped(&mut self, _: &str) {}
    fn job_done(&mut self, _: &JobReport) {}
}
