//! What becomes of a run: a total function, so that nothing that arrives late can undo an end.

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunState {
    /// It waits until somebody approves its commit.
    Unapproved,
    /// It waits for somebody to carry it out.
    Queued,
    /// Somebody carries it out.
    Running,
    /// It ended, and all is well.
    Succeeded,
    /// It ended, and the author has something to mend.
    Failed,
    /// It could not be carried out, through no fault of the author.
    Errored,
    /// It ended before anything was built: the pull request cannot be merged with its base.
    Conflict,
    /// Somebody stopped it.
    Cancelled,
    /// The jobset has a newer commit.
    Superseded,
}

/// Something that happens to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunEvent {
    /// Somebody approves its commit.
    Approved,
    /// Nobody approved its commit, or not for so long.
    Unapproved,
    /// Somebody begins to carry it out.
    Claimed,
    /// Whoever carried it out says how it ended.
    Ended(Verdict),
    /// Whoever carried it out has not been heard of.
    Lost {
        /// How often it was begun by somebody who was never heard of again.
        attempts: u32,
    },
    /// Whoever carried it out stops, and leaves it to others.
    GivenBack,
    /// Something that is away kept it from being carried out.
    PutOff {
        /// Whether it is to be tried again: see [`super::putting_off`].
        again: bool,
    },
    /// Somebody stops it.
    Cancelled,
    /// The jobset gets a newer commit, or goes.
    Superseded,
}

/// How a run ends that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// All is well.
    Succeeded,
    /// The author has something to mend.
    Failed,
    /// It could not be carried out.
    Errored,
    /// The author has to merge the base first.
    Conflict,
}

/// A run that was begun so often by servers that were never heard of again takes whatever carries it out down with it.
pub const MOST_ATTEMPTS: u32 = 3;

impl RunState {
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::Unapproved,
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Errored,
        Self::Conflict,
        Self::Cancelled,
        Self::Superseded,
    ];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unapproved => "unapproved",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Errored => "errored",
            Self::Conflict => "conflict",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
        }
    }

    /// Returns whether nothing more becomes of it.
    pub fn is_end(self) -> bool {
        match self {
            Self::Unapproved | Self::Queued | Self::Running => false,
            Self::Succeeded
            | Self::Failed
            | Self::Errored
            | Self::Conflict
            | Self::Cancelled
            | Self::Superseded => true,
        }
    }

    /// Returns where it stands after something happened; the same if that came too late or means nothing.
    #[must_use]
    pub fn after(self, event: RunEvent) -> Self {
        match (self, event) {
            (Self::Unapproved, RunEvent::Approved) => Self::Queued,
            (Self::Queued, RunEvent::Unapproved) => Self::Unapproved,
            (Self::Queued, RunEvent::Claimed) => Self::Running,
            (Self::Running, RunEvent::Ended(verdict)) => verdict.into(),
            (Self::Running, RunEvent::Lost { attempts }) => {
                if attempts < MOST_ATTEMPTS {
                    Self::Queued
                } else {
                    Self::Errored
                }
            }
            (Self::Running, RunEvent::GivenBack | RunEvent::PutOff { again: true }) => Self::Queued,
            (Self::Running, RunEvent::PutOff { again: false }) => Self::Errored,
            (Self::Unapproved | Self::Queued | Self::Running, RunEvent::Cancelled) => {
                Self::Cancelled
            }
            (Self::Unapproved | Self::Queued | Self::Running, RunEvent::Superseded) => {
                Self::Superseded
            }
            (
                Self::Unapproved,
                RunEvent::Unapproved
                | RunEvent::Claimed
                | RunEvent::Ended(_)
                | RunEvent::Lost { .. }
                | RunEvent::GivenBack
                | RunEvent::PutOff { .. },
            )
            | (
                Self::Queued,
                RunEvent::Approved
                | RunEvent::Ended(_)
                | RunEvent::Lost { .. }
                | RunEvent::GivenBack
                | RunEvent::PutOff { .. },
            )
            // What has begun was approved then.
            | (Self::Running, RunEvent::Approved | RunEvent::Unapproved | RunEvent::Claimed) => self,
            (
                Self::Succeeded
                | Self::Failed
                | Self::Errored
                | Self::Conflict
                | Self::Cancelled
                | Self::Superseded,
                RunEvent::Approved
                | RunEvent::Unapproved
                | RunEvent::Claimed
                | RunEvent::Ended(_)
                | RunEvent::Lost { .. }
                | RunEvent::GivenBack
                | RunEvent::PutOff { .. }
                | RunEvent::Cancelled
                | RunEvent::Superseded,
            ) => self,
        }
    }
}

impl From<Verdict> for RunState {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Succeeded => Self::Succeeded,
            Verdict::Failed => Self::Failed,
            Verdict::Errored => Self::Errored,
            Verdict::Conflict => Self::Conflict,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [RunEvent; 14] = [
        RunEvent::Approved,
        RunEvent::Unapproved,
        RunEvent::Claimed,
        RunEvent::Ended(Verdict::Succeeded),
        RunEvent::Ended(Verdict::Failed),
        RunEvent::Ended(Verdict::Errored),
        RunEvent::Ended(Verdict::Conflict),
        RunEvent::Lost { attempts: 1 },
        RunEvent::Lost { attempts: MOST_ATTEMPTS },
        RunEvent::GivenBack,
        RunEvent::PutOff { again: true },
        RunEvent::PutOff { again: false },
        RunEvent::Cancelled,
        RunEvent::Superseded,
    ];

    #[test]
    fn every_event_in_every_state() {
        use RunState::{
            Cancelled, Conflict, Errored, Failed, Queued, Running, Succeeded, Superseded,
            Unapproved,
        };
        for (state, expected) in [
            (
                Unapproved,
                [
                    Queued, Unapproved, Unapproved, Unapproved, Unapproved, Unapproved, Unapproved,
                    Unapproved, Unapproved, Unapproved, Unapproved, Unapproved, Cancelled,
                    Superseded,
                ],
            ),
            (
                Queued,
                [
                    Queued, Unapproved, Running, Queued, Queued, Queued, Queued, Queued, Queued,
                    Queued, Queued, Queued, Cancelled, Superseded,
                ],
            ),
            (
                Running,
                [
                    Running, Running, Running, Succeeded, Failed, Errored, Conflict, Queued,
                    Errored, Queued, Queued, Errored, Cancelled, Superseded,
                ],
            ),
            (Succeeded, [Succeeded; 14]),
            (Failed, [Failed; 14]),
            (Errored, [Errored; 14]),
            (Conflict, [Conflict; 14]),
            (Cancelled, [Cancelled; 14]),
            (Superseded, [Superseded; 14]),
        ] {
            assert_eq!(EVENTS.map(|event| state.after(event)), expected, "{state:?}");
        }
    }

    #[test]
    fn an_end_is_an_end() {
        for state in RunState::ALL {
            let stays = EVENTS.iter().all(|event| state.after(*event) == state);
            assert_eq!(stays, state.is_end(), "{state:?}");
        }
    }
}
