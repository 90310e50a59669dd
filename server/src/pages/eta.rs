//! When runs will be over, by how long earlier ones took: pure estimates, each with its error.
//!
//! An estimate is a median, its error the median distance from it, so that one run that was odd does not count. What
//! is not known stays unknown: there is no estimate behind a run that has none.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use serde::Serialize;

/// How many runs say something about how long the next one takes.
const LEAST: usize = 3;

/// How long something takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// In seconds.
    pub seconds: f64,
    /// How much more or less it may be, in seconds.
    pub error: f64,
}

impl Estimate {
    const NOW: Self = Self { seconds: 0.0, error: 0.0 };

    /// Estimates by what was seen.
    fn of(seen: &[f64]) -> Option<Self> {
        let seconds = median(seen)?;
        let distances: Vec<f64> = seen.iter().map(|one| (one - seconds).abs()).collect();
        Some(Self { seconds, error: median(&distances)? })
    }

    /// Returns how long both take, one after the other. Their errors may have one cause, so they add up.
    fn and_then(self, next: Self) -> Self {
        Self { seconds: self.seconds + next.seconds, error: self.error + next.error }
    }

    /// Says it in words: `about 3 min (± 1 min)`.
    pub fn words(self) -> String {
        format!("about {} (± {})", coarse(self.seconds), coarse(self.error))
    }
}

/// An estimate as it is shown, in whole seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownEstimate {
    /// How long.
    pub seconds: u64,
    /// How much more or less it may be.
    pub error: u64,
    /// Both, in words.
    pub text: String,
}

impl From<Estimate> for ShownEstimate {
    fn from(estimate: Estimate) -> Self {
        let whole = |seconds: f64| {
            Duration::try_from_secs_f64(seconds.round()).unwrap_or_default().as_secs()
        };
        let Estimate { seconds, error } = estimate;
        Self { seconds: whole(seconds), error: whole(error), text: estimate.words() }
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    Some(match sorted.len() % 2 {
        0 => f64::midpoint(*sorted.get(middle.checked_sub(1)?)?, upper),
        _ => upper,
    })
}

/// Returns a time as exactly as a guess deserves.
fn coarse(seconds: f64) -> String {
    let rounded = |unit: f64| (seconds / unit).round().max(1.0);
    match seconds {
        ..60.0 => format!("{} s", rounded(1.0)),
        60.0..5_400.0 => format!("{} min", rounded(60.0)),
        _ => format!("{} h", rounded(3_600.0)),
    }
}

/// Returns how long a run takes, by earlier ones of its jobset in seconds, or else of its project; nothing if there
/// were too few.
pub fn whole(of_jobset: &[f64], of_project: &[f64]) -> Option<Estimate> {
    Estimate::of(telling(of_jobset, of_project)?)
}

/// Returns how long a run still takes that has taken `elapsed` seconds; nothing if it takes longer than any before.
pub fn left(of_jobset: &[f64], of_project: &[f64], elapsed: f64) -> Option<Estimate> {
    let all = telling(of_jobset, of_project)?;
    // Those that were over by now say nothing about this one.
    let longer: Vec<f64> =
        all.iter().map(|took| took - elapsed).filter(|left| *left > 0.0).collect();
    let left = Estimate::of(&longer)?;
    // One or two are near each other by chance.
    let error = match longer.len() {
        0..LEAST => left.error.max(Estimate::of(all)?.error),
        _ => left.error,
    };
    Some(Estimate { error, ..left })
}

fn telling<'a>(of_jobset: &'a [f64], of_project: &'a [f64]) -> Option<&'a [f64]> {
    [of_jobset, of_project].into_iter().find(|durations| durations.len() >= LEAST)
}

/// Returns when each run that waits will be over.
///
/// `running` are what is under way, each with its jobset and how long it still takes; `waiting` what waits, in turn, each
/// with how long it takes as a whole. As many run at a time as do now, and those of one jobset one after the other.
pub fn in_turn<J: Clone + Eq + Hash>(
    running: &[(J, Option<Estimate>)],
    waiting: &[(J, Option<Estimate>)],
) -> Vec<Option<Estimate>> {
    let mut busy: HashMap<J, Option<Estimate>> = running.iter().cloned().collect();
    // When each place is free; one of which that is unknown counts as never.
    let mut places: Vec<Estimate> = match running {
        [] => vec![Estimate::NOW],
        _ => running.iter().filter_map(|(_, left)| *left).collect(),
    };
    let mut ends = Vec::new();
    for (jobset, takes) in waiting {
        let before = match busy.get(jobset) {
            Some(None) => None,
            Some(Some(end)) => Some(*end),
            None => Some(Estimate::NOW),
        };
        let free = places
            .iter()
            .enumerate()
            .min_by(|(_, one), (_, other)| one.seconds.total_cmp(&other.seconds));
        let free = free.map(|(place, end)| (place, *end));
        let end = match (before, free) {
            (Some(before), Some((place, free))) => {
                places.swap_remove(place);
                let begins = if before.seconds > free.seconds { before } else { free };
                let end = takes.map(|takes| begins.and_then(takes));
                places.extend(end);
                end
            }
            // It takes no place before it is known what it waits for.
            (_, _) => None,
        };
        busy.insert(jobset.clone(), end);
        ends.push(end);
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(seconds: f64, error: f64) -> Option<Estimate> {
        Some(Estimate { seconds, error })
    }

    #[test]
    fn a_run_takes_as_long_as_the_middle_one() {
        assert_eq!(whole(&[60.0, 90.0, 150.0], &[]), about(90.0, 30.0));
        assert_eq!(whole(&[100.0, 110.0, 9_000.0, 90.0, 105.0], &[]), about(105.0, 5.0));
        assert_eq!(whole(&[1.0, 2.0, 4.0, 5.0], &[]), about(3.0, 1.5));
        assert_eq!(whole(&[7.0, 7.0, 7.0], &[]), about(7.0, 0.0));
        // Too few of the jobset: those of the project. Too few of both: nothing.
        assert_eq!(whole(&[1.0, 1.0], &[60.0, 90.0, 150.0]), about(90.0, 30.0));
        assert_eq!(whole(&[1.0, 1.0], &[60.0, 90.0]), None);
        assert_eq!(whole(&[], &[]), None);
    }

    #[test]
    fn what_is_left_is_judged_by_those_that_took_longer() {
        let took = [60.0, 90.0, 150.0];
        assert_eq!(left(&took, &[], 0.0), whole(&took, &[]));
        // One is left to judge by: it is no surer than all of them are.
        assert_eq!(left(&took, &[], 100.0), about(50.0, 30.0));
        assert_eq!(left(&took, &[], 150.0), None, "longer than any before");
        assert_eq!(left(&[], &took, 10.0), about(80.0, 30.0));
    }

    #[test]
    fn what_waits_comes_in_turn() {
        let minute = about(60.0, 10.0);
        // One place: one after the other, and each less sure.
        let ends = in_turn(&[("a", about(30.0, 5.0))], &[("b", minute), ("c", minute)]);
        assert_eq!(ends, [about(90.0, 15.0), about(150.0, 25.0)]);
        // Two places, of which the first to be free is taken.
        let running = [("a", about(100.0, 0.0)), ("b", about(10.0, 0.0))];
        let ends = in_turn(&running, &[("c", minute), ("d", minute)]);
        assert_eq!(ends, [about(70.0, 10.0), about(130.0, 20.0)]);
        // Runs of one jobset do not overlap.
        assert_eq!(in_turn(&running, &[("a", minute)]), [about(160.0, 10.0)]);
        // With nothing under way they begin at once.
        assert_eq!(in_turn(&[], &[("a", minute), ("a", minute)]), [minute, about(120.0, 20.0)]);
    }

    #[test]
    fn behind_what_is_unknown_all_is_unknown() {
        let minute = about(60.0, 10.0);
        assert_eq!(in_turn(&[("a", None)], &[("b", minute)]), [None]);
        let running = [("a", None), ("b", about(10.0, 0.0))];
        // The other place is free all the same; what waits for the run itself is not estimated.
        let ends = in_turn(&running, &[("a", minute), ("c", minute), ("d", None), ("e", minute)]);
        assert_eq!(ends, [None, about(70.0, 10.0), None, None]);
    }

    #[test]
    fn estimates_in_words() {
        let words = |seconds, error| Estimate { seconds, error }.words();
        assert_eq!(words(190.0, 50.0), "about 3 min (± 50 s)");
        assert_eq!(words(170.0, 70.0), "about 3 min (± 1 min)");
        assert_eq!(words(0.2, 0.0), "about 1 s (± 1 s)");
        assert_eq!(words(20_000.0, 3_000.0), "about 6 h (± 50 min)");
    }
}
