//! What the server has done by others: finding out what a project has, and carrying out a run.
//!
//! Both take long and block, so they are called on threads of their own. The product's workshop is
//! [`engine`]; tests bring a stand-in.

pub mod engine;
mod pull_requests;
mod reporter;

use std::sync::Arc;

use levain_engine::cancel::Cancel;

use crate::projects::Project;
use crate::reconcile::{Heads, Unknown};
use crate::runs::{Ended, Run};
use crate::statuses::messenger::Messenger;
use crate::statuses::voice::Voice;

/// Lists what there is to be built, and builds it.
pub trait Workshop: Send + Sync + 'static {
    /// Lists the heads that a project has now: all of them, or an error.
    fn heads(&self, project: &Project, cancel: &Cancel) -> Result<Listed, HeadsError>;

    /// Carries out a run to its end, or until it is cancelled.
    fn carry_out(&self, order: &Order, cancel: &Cancel) -> Carried;

    /// Removes what none of the projects needs any more from this machine's disk. These are all that there are.
    fn tidy(&self, projects: &[Project]) {
        let _nothing = projects;
    }

    /// Returns who sends statuses; nobody in read-only mode.
    fn messenger(&self) -> Option<Arc<dyn Messenger>> {
        None
    }
}

/// What a project has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// What is to be built.
    pub heads: Heads,
    /// What is there and is not to be built, with the reason.
    pub left_out: Vec<String>,
    /// What of that may be built already.
    pub unknown: Unknown,
    /// Why the pull requests could not be listed, if so. They stay as they were.
    pub without_pull_requests: Option<String>,
    /// The branch that the repository names as its default.
    pub default_branch: Option<String>,
}

/// Why nobody knows what a project has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HeadsError {
    /// The reason.
    pub message: String,
}

/// What is to be carried out.
#[derive(Clone, Debug)]
pub struct Order {
    /// The project.
    pub project: Project,
    /// The run.
    pub run: Run,
    /// Says how it fares while it is carried out.
    pub voice: Voice,
}

/// What carrying out a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carried {
    /// It has a result.
    Ended(Ended),
    /// It was cancelled and has none.
    Stopped,
    /// Something is away that it cannot do without, and that may come back by itself.
    Hindered {
        /// What is told in a line.
        why: String,
    },
}
