//! Which jobs of a run wait for which build: for whoever watches. Decides nothing.

use std::collections::BTreeMap;

use super::schedule::Schedule;

/// Of how many jobs it is told what they wait for. A row of builds that all jobs need would have all of them told at
/// each step.
const MOST_JOBS: usize = 1_000;

/// The jobs that wait, by the derivation that each waits for: numbers of the graph.
#[derive(Debug, Default)]
pub(super) struct Waits(BTreeMap<usize, Vec<usize>>);

impl Waits {
    /// Begins with all jobs. Returns what each waits for.
    pub(super) fn new(
        jobs: impl Iterator<Item = usize>,
        schedule: &Schedule,
    ) -> (Self, Vec<(usize, usize)>) {
        let mut waits = Self::default();
        let found = waits.look(jobs.take(MOST_JOBS), schedule);
        (waits, found)
    }

    /// Takes note that a derivation is settled. Returns what those wait for now that waited for it.
    pub(super) fn settled(&mut self, number: usize, schedule: &Schedule) -> Vec<(usize, usize)> {
        let jobs = self.0.remove(&number).unwrap_or_default();
        self.look(jobs.into_iter(), schedule)
    }

    fn look(
        &mut self,
        jobs: impl Iterator<Item = usize>,
        schedule: &Schedule,
    ) -> Vec<(usize, usize)> {
        let found: Vec<(usize, usize)> =
            jobs.filter_map(|job| Some((job, schedule.blocker(job)?))).collect();
        for (job, blocker) in &found {
            self.0.entry(*blocker).or_default().push(*job);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use levain_store::machines::Builders;

    use super::super::schedule::{Node, Outcome};
    use super::*;

    #[test]
    fn jobs_are_told_of_again_when_what_they_wait_for_is_settled() {
        let node = |inputs: &[usize]| Node {
            inputs: inputs.to_vec(),
            builders: Builders { local: true, remote: false },
            wanted: true,
            is_excused: false,
        };
        let mut schedule = Schedule::new(vec![node(&[]), node(&[0]), node(&[1])], true);
        let (mut waits, found) = Waits::new(0..3, &schedule);
        assert_eq!(found, [(0, 0), (1, 0), (2, 0)]);
        assert_eq!(waits.settled(1, &schedule), []);
        assert_eq!(schedule.next().map(|(number, _)| number), Some(0));
        schedule.ended(0, Outcome::Built);
        assert_eq!(waits.settled(0, &schedule), [(1, 1), (2, 1)]);
        assert_eq!(waits.settled(0, &schedule), []);
    }
}
