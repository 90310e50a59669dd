//! What a run knows of each derivation that was built for it: its times, its log, its failure.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;

use levain_store::{BuildStatus, DerivationPath};

use super::recording::Recorded;

/// How many notices about single logs are made.
const MOST_NOTICES: usize = 10;

/// What is known of a derivation that was started or asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace {
    /// When it began, in seconds since 1970.
    pub started_at: Option<u64>,
    /// How long it took.
    pub seconds: f64,
    /// The file with its log.
    pub log: Option<PathBuf>,
    /// The end of its log, if it did not succeed.
    pub last_lines: VecDeque<String>,
    /// What `levain-cache` said about each set it restored or persisted.
    pub cache_lines: Vec<String>,
    /// Whether another machine built it.
    pub is_remote: bool,
    /// What Nix says of it, if it failed.
    pub failure: Option<Failure>,
}

/// What Nix says of a derivation that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Nix's classification.
    pub status: BuildStatus,
    /// The reason.
    pub message: String,
}

/// What is known of each derivation that was started or failed.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    known: HashMap<DerivationPath, Trace>,
    kept_bytes: u64,
    not_kept: usize,
    shortened: usize,
    notices: Vec<String>,
}

impl Traces {
    /// Returns what is known of a derivation.
    pub(crate) fn get(&self, derivation: &DerivationPath) -> Option<&Trace> {
        self.known.get(derivation)
    }

    /// Adds what was recorded of a request.
    pub(super) fn add(&mut self, recorded: &Recorded) {
        for (derivation, trace) in &recorded.traces {
            self.known.insert(derivation.clone(), trace.clone());
        }
        self.kept_bytes += recorded.kept_bytes;
        self.not_kept += recorded.not_kept;
        self.shortened += recorded.shortened.len();
        for (derivation, left_out) in &recorded.shortened {
            if self.notices.len() < MOST_NOTICES {
                self.notices.push(format!(
                    "the log of `{}` is kept without {left_out} bytes in its middle (`logs.logBytes`); `nix log` shows all of it",
                    derivation.name()
                ));
            }
        }
    }

    /// Returns what should be known about logs that are not kept whole.
    pub(crate) fn take_notices(&mut self) -> Vec<String> {
        let mut notices = std::mem::take(&mut self.notices);
        if self.shortened > notices.len() {
            let more = self.shortened - notices.len();
            notices.push(format!("{more} more logs are kept without their middle"));
        }
        if self.not_kept > 0 {
            notices.push(format!(
                "{} logs were not kept: those of this run take {} bytes already (`logs.totalBytes`); `nix log` shows them",
                self.not_kept, self.kept_bytes
            ));
        }
        notices
    }

    /// Notes that a derivation's outputs are there.
    pub(super) fn succeeded(&mut self, derivation: &DerivationPath) {
        if let Some(trace) = self.known.get_mut(derivation) {
            // Ten thousand successes must not hold the ends of ten thousand logs.
            trace.last_lines = VecDeque::new();
        }
    }

    /// Notes why a derivation failed.
    pub(super) fn failed(&mut self, derivation: &DerivationPath, failure: Failure) {
        let trace = self.known.entry(derivation.clone()).or_default();
        trace.failure = Some(failure);
    }
}
