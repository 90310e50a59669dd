//! A virtual server: what one process knows, lost when it is killed.

use std::collections::BTreeMap;
use std::time::Duration;

use levain_evaluator::JobsetName;
use levain_server::projects::ProjectId;
use levain_server::reconcile::Heads;
use levain_server::serving::holding::{Answering, Holding, RETRY};
use levain_server::serving::standing::Standings;

use crate::model::Millis;

/// A look at a project, on its way.
#[derive(Clone, Debug)]
pub(crate) struct Looking {
    pub(crate) project: ProjectId,
    pub(crate) everything: bool,
    /// Deliveries that call for it.
    pub(crate) waiting: Vec<usize>,
    pub(crate) last: u64,
    pub(crate) heads: Heads,
    pub(crate) step: Step,
}

/// What comes next in a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Read,
    Remember,
    ListBranches,
    ListPullRequests,
    Note,
    Settle,
}

/// A run that a server holds.
pub(crate) struct Held {
    pub(crate) run: usize,
    pub(crate) jobset: (ProjectId, JobsetName),
    pub(crate) holding: Holding,
    /// Whether it is to stop.
    pub(crate) is_stopped: bool,
    /// Whether the engine is still at it.
    pub(crate) is_at_work: bool,
}

/// One process.
pub(crate) struct Server {
    /// Counts its lives: what was on its way in an earlier one is gone.
    pub(crate) life: u32,
    pub(crate) is_alive: bool,
    pub(crate) is_ending: bool,
    /// When it started.
    pub(crate) started: Millis,
    /// Until when nothing of it moves, as on a machine that is suspended.
    pub(crate) frozen_until: Millis,
    /// How far its clock is ahead.
    pub(crate) skew: Millis,
    pub(crate) standings: Standings,
    pub(crate) answering: Answering,
    pub(crate) looks: usize,
    /// By the number of the claim: a run may be claimed again.
    pub(crate) held: BTreeMap<usize, Held>,
}

impl Server {
    pub(crate) fn new(skew: Millis) -> Self {
        Self {
            life: 0,
            is_alive: false,
            is_ending: false,
            started: 0,
            frozen_until: 0,
            skew,
            standings: Standings::default(),
            answering: Answering::default(),
            looks: 0,
            held: BTreeMap::new(),
        }
    }

    /// Begins a new life.
    pub(crate) fn start(&mut self, now: Millis) {
        let (life, skew) = (self.life + 1, self.skew);
        *self = Self { life, is_alive: true, started: now, ..Self::new(skew) };
    }

    /// Returns how long it has lived.
    pub(crate) fn age(&self, now: Millis) -> Duration {
        Duration::from_millis(u64::try_from(now - self.started).unwrap_or_default())
    }
}

pub(crate) fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap()
}

/// Returns when the database is told again that has not answered.
pub(crate) fn retry() -> std::ops::Range<Millis> {
    millis(RETRY)..millis(RETRY) + 20
}
