//! When which project is looked at: a pure decision of each server by itself.
//!
//! Time is what has passed since the server started. A look that fails is tried again after a wait that doubles, and
//! deliveries do not shorten it; apart from that, every project is looked at when something was delivered, and now and
//! then.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Settings;
use crate::projects::ProjectId;

/// How a look ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Deliveries were read, and called for no more.
    Deliveries,
    /// The project's heads were listed and noted.
    Everything,
    /// Another server noted a listing meanwhile.
    Overtaken,
    /// It came to nothing.
    Failed,
}

/// When a project is looked at.
struct Standing {
    is_looked_at: bool,
    failures: u32,
    /// How many looks at any project had begun when one at this began; 0 before the first.
    turn: u64,
    /// Not before this time, whatever is delivered: the last look failed.
    not_before: Duration,
    /// At this time, even if nothing is delivered.
    next: Duration,
}

/// When each project is looked at.
#[derive(Default)]
pub struct Standings {
    projects: BTreeMap<ProjectId, Standing>,
    /// How many looks have begun.
    turns: u64,
}

impl Standings {
    /// Returns the projects that are to be looked at, each with whether its heads are to be listed whatever was
    /// delivered: first those whose last look is the longest ago. Projects that are not among `projects` are forgotten.
    pub fn due(
        &mut self,
        projects: &[ProjectId],
        delivered: &BTreeSet<ProjectId>,
        now: Duration,
    ) -> Vec<(ProjectId, bool)> {
        self.projects.retain(|id, _| projects.contains(id));
        let due = projects.iter().filter_map(|id| {
            let new =
                Standing { is_looked_at: false, failures: 0, turn: 0, not_before: now, next: now };
            let standing = self.projects.entry(*id).or_insert(new);
            let everything = standing.next <= now;
            let is_due = everything || delivered.contains(id);
            (is_due && !standing.is_looked_at && standing.not_before <= now)
                .then_some((standing.turn, (*id, everything)))
        });
        let mut due: Vec<_> = due.collect();
        due.sort_by_key(|(turn, _)| *turn);
        due.into_iter().map(|(_, due)| due).collect()
    }

    /// Takes note that a look begins.
    pub fn begin(&mut self, id: ProjectId) {
        if let Some(standing) = self.projects.get_mut(&id) {
            self.turns = self.turns.saturating_add(1);
            standing.turn = self.turns;
            standing.is_looked_at = true;
        }
    }

    /// Takes note of how a look ended.
    pub fn end(&mut self, id: ProjectId, look: Look, settings: &Settings, now: Duration) {
        let Some(standing) = self.projects.get_mut(&id) else { return };
        standing.is_looked_at = false;
        match look {
            Look::Deliveries => standing.failures = 0,
            Look::Everything => {
                standing.failures = 0;
                standing.next = now + settings.look_every;
            }
            // That server had reason to look, and so have we.
            Look::Overtaken => {}
            Look::Failed => {
                standing.failures = standing.failures.saturating_add(1);
                standing.not_before = now + wait_after(settings, standing.failures);
            }
        }
    }
}

/// Returns how long to wait after so many failures in a row.
fn wait_after(settings: &Settings, failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(20);
    settings.first_wait.saturating_mul(1 << doublings).min(settings.longest_wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound() {
        let settings = Settings::default();
        let waits = [1, 2, 3, 6, 7, 40, u32::MAX].map(|n| wait_after(&settings, n).as_secs());
        assert_eq!(waits, [5, 10, 20, 160, 300, 300, 300]);
    }

    #[test]
    fn whoever_was_looked_at_the_longest_ago_is_first() {
        let settings = Settings::default();
        let ids = [1, 2, 3].map(ProjectId);
        let (nothing, later) = (BTreeSet::new(), Duration::from_secs(1_000));
        let mut standings = Standings::default();
        let order = |standings: &mut Standings| -> Vec<i64> {
            standings.due(&ids, &nothing, later).into_iter().map(|(id, _)| id.0).collect()
        };
        assert_eq!(order(&mut standings), [1, 2, 3]);
        for id in [ProjectId(1), ProjectId(2), ProjectId(1)] {
            standings.begin(id);
            standings.end(id, Look::Failed, &settings, Duration::ZERO);
        }
        assert_eq!(order(&mut standings), [3, 2, 1]);
    }

    #[test]
    fn a_project_is_due_at_the_start_now_and_then_and_when_something_is_delivered() {
        let settings = Settings::default();
        let id = ProjectId(1);
        let (nothing, delivered) = (BTreeSet::new(), BTreeSet::from([id]));
        let seconds = Duration::from_secs;
        let mut standings = Standings::default();
        assert_eq!(standings.due(&[id], &nothing, seconds(0)), [(id, true)]);
        standings.begin(id);
        assert_eq!(standings.due(&[id], &delivered, seconds(1)), [], "looks do not overlap");
        standings.end(id, Look::Everything, &settings, seconds(1));
        assert_eq!(standings.due(&[id], &nothing, seconds(300)), []);
        assert_eq!(standings.due(&[id], &delivered, seconds(300)), [(id, false)]);
        assert_eq!(standings.due(&[id], &nothing, seconds(301)), [(id, true)]);
        standings.end(id, Look::Failed, &settings, seconds(301));
        assert_eq!(standings.due(&[id], &delivered, seconds(305)), [], "it is left alone");
        assert_eq!(standings.due(&[id], &nothing, seconds(306)), [(id, true)], "it is still due");
        standings.end(id, Look::Deliveries, &settings, seconds(306));
        standings.end(id, Look::Failed, &settings, seconds(306));
        assert_eq!(standings.due(&[id], &nothing, seconds(311)).len(), 1, "the first failure");
        standings.end(id, Look::Overtaken, &settings, seconds(311));
        assert_eq!(standings.due(&[id], &nothing, seconds(311)), [(id, true)], "at once");
        assert_eq!(standings.due(&[], &nothing, seconds(312)), []);
        assert_eq!(standings.due(&[id], &nothing, seconds(312)), [(id, true)], "it is new");
    }
}
