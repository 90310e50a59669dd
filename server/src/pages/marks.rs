//! The marks of states: each state has a shape, a colour and a word, so that none is told by colour alone.

use serde::Serialize;

use crate::deliveries::DeliveryState;
use crate::runs::state::RunState;

/// A mark: a class of the style sheet, and the word that stands beside it or is read in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// The class.
    pub class: &'static str,
    /// The word.
    pub word: &'static str,
}

/// Returns the mark of a run.
pub fn of_run(state: RunState) -> Mark {
    let class = match state {
        RunState::Unapproved => "ask",
        RunState::Queued => "wait",
        RunState::Running => "busy",
        RunState::Succeeded => "good",
        RunState::Failed | RunState::Conflict => "bad",
        RunState::Errored => "error",
        RunState::Cancelled | RunState::Superseded => "off",
    };
    Mark { class, word: state.name() }
}

/// Returns the mark of a delivery.
pub fn of_delivery(state: DeliveryState) -> Mark {
    let class = match state {
        DeliveryState::Waiting => "wait",
        DeliveryState::Acted => "good",
        DeliveryState::Ignored => "off",
        DeliveryState::Failed => "error",
    };
    Mark { class, word: state.name() }
}

/// Returns the mark of a job.
pub fn of_job(status: super::kept_report::JobStatus) -> Mark {
    use super::kept_report::JobStatus;
    let class = match status {
        JobStatus::Fresh | JobStatus::Incremental | JobStatus::Clean => "good",
        JobStatus::Failed => "bad",
        JobStatus::Error => "error",
        JobStatus::Building => "busy",
        JobStatus::Waiting => "wait",
        JobStatus::Cancelled | JobStatus::Skipped | JobStatus::Unknown => "off",
    };
    Mark { class, word: status.name() }
}
