//! What becomes of news about a status, and of an attempt to send it: pure decisions.
//!
//! A forge shows one status of each name on a commit. Runs of one commit follow each other, and their news comes late,
//! twice or not at all; what is shown in the end is what the newest of them said last.

use std::time::Duration;

use levain_actions::status::State;

use crate::clock::Timestamp;
use crate::runs::RunId;

/// How long a name's next update waits after the last, while nothing ended.
pub const MERGED: Duration = Duration::from_secs(10);
/// By how much each further update of a run waits longer than the one before.
const SLOWER: u32 = 6;
/// The wait after a first failure; doubled after each further one.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// How long a failure holds up other statuses at most, unless the forge asks for more.
const LONGEST_HOLD: Duration = Duration::from_secs(60);
/// The longest wait that the doubling leads to.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// How much one run may tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// How often a run's summary is sent at most, its first and its last included.
    pub summary: u32,
    /// How many jobs have statuses of their own at most.
    pub jobs: u32,
}

impl Budget {
    /// Ten requests for each run.
    pub const DEFAULT: Self = Self { summary: 5, jobs: 5 };
}

/// Who says something: a run, begun for the how-many-th time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// The run: later ones have higher numbers.
    pub run: RunId,
    /// How often it was begun.
    pub attempt: u32,
}

/// What is to be shown by now, as far as the decision needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Who said so.
    pub source: Source,
    /// The state.
    pub state: State,
    /// How often that run's was sent.
    pub writes: u32,
    /// When it was sent last.
    pub told_at: Option<Timestamp>,
    /// Whether the forge shows it, and nothing is under way.
    pub is_shown: bool,
    /// Whether the word is with who speaks now, and not with who said so: however new the run is that said so.
    pub gives_way: bool,
}

/// News about a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct News {
    /// Who says so.
    pub source: Source,
    /// The state.
    pub state: State,
    /// Whether everything that a forge would show is as it was, the state included.
    pub is_same: bool,
}

/// What becomes of news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// Nothing.
    Ignore,
    /// The forge shows it already; what comes later is compared with this.
    Adopt,
    /// It is sent, not before a time.
    Send {
        /// The time.
        at: Timestamp,
    },
}

/// Decides what becomes of news.
pub fn weigh(standing: Option<Standing>, news: News, budget: Budget, now: Timestamp) -> Course {
    let Some(standing) = standing else { return Course::Send { at: now } };
    if news.source < standing.source && !standing.gives_way {
        return Course::Ignore;
    }
    let is_same_run = news.source.run == standing.source.run;
    if is_same_run && standing.state.is_final() {
        // Only a run that was begun anew may come to another end.
        let is_anew = news.source.attempt > standing.source.attempt;
        if !news.state.is_final() || !is_anew {
            return Course::Ignore;
        }
    }
    // A run that is begun anew is not shown to wait once more.
    if is_same_run && standing.state == State::Running && news.state == State::Pending {
        return Course::Ignore;
    }
    if news.is_same && (is_same_run || standing.is_shown) {
        return if is_same_run { Course::Ignore } else { Course::Adopt };
    }
    if news.state.is_final() || !is_same_run {
        return Course::Send { at: now };
    }
    match (standing.writes, standing.told_at) {
        (0, _) | (_, None) => Course::Send { at: now },
        // One is left for the end.
        (writes, _) if writes.saturating_add(1) >= budget.summary => Course::Ignore,
        (writes, Some(told_at)) => Course::Send { at: now.max(told_at.after(gap(writes))) },
    }
}

/// Returns how long to wait after so many of a run's updates.
fn gap(writes: u32) -> Duration {
    MERGED.saturating_mul(SLOWER.saturating_pow(writes.saturating_sub(1).min(8)))
}

/// Decides whether a job that has no status yet gets one.
///
/// `taken` counts the jobs that this run told of, and those that earlier runs told of and that are not known to be well
/// by now: their statuses are to be put right first.
pub fn admits_job(state: State, taken: u32, budget: Budget) -> bool {
    match state {
        State::Failure | State::Error => taken < budget.jobs,
        State::Pending | State::Running | State::Success | State::Cancelled | State::Skipped => {
            false
        }
    }
}

/// What became of an attempt to send a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The forge shows it.
    Shown,
    /// The forge shows it as a check.
    Check {
        /// The forge's number for that.
        id: u64,
        /// Whether what follows can update it.
        is_open: bool,
    },
    /// It cannot succeed.
    Refused {
        /// The reason.
        why: String,
    },
    /// It may succeed later.
    Later {
        /// The reason.
        why: String,
        /// How long the forge asks to wait.
        wait: Option<Duration>,
        /// Whether the forge may show it all the same.
        may_be_shown: bool,
    },
}

/// Returns how long to wait after the given number of failures, the forge's wish included.
pub fn wait_after(failures: u32, asked: Option<Duration>) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    let own = FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT);
    // What a forge asks for is never shortened: it bans those who come back too early.
    asked.map_or(own, |asked| asked.max(own))
}

/// Returns how long other statuses of the same token wait after a failure that makes this one wait for `own`.
///
/// A forge that is down, or that asks for patience, is so to all. But one status that a forge cannot digest must not
/// hold up the others for long.
pub fn hold(own: Duration, asked: Option<Duration>) -> Duration {
    let short = own.min(LONGEST_HOLD);
    asked.map_or(short, |asked| asked.max(short))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn source(run: i64, attempt: u32) -> Source {
        Source { run: RunId(run), attempt }
    }

    /// All that news may say, for two runs and two attempts.
    fn all_news() -> Vec<News> {
        let mut all = Vec::new();
        for (run, attempt) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
            for state in State::ALL {
                for is_same in [false, true] {
                    all.push(News { source: source(run, attempt), state, is_same });
                }
            }
        }
        all
    }

    fn all_standings() -> Vec<Standing> {
        let mut all = Vec::new();
        for news in all_news() {
            for writes in 0..=Budget::DEFAULT.summary {
                for (is_shown, gives_way) in
                    [(false, false), (true, false), (false, true), (true, true)]
                {
                    let told_at = (writes > 0).then(|| at(100));
                    let (source, state) = (news.source, news.state);
                    all.push(Standing { source, state, writes, told_at, is_shown, gives_way });
                }
            }
        }
        all
    }

    #[test]
    fn every_news_in_every_standing() {
        for standing in all_standings() {
            for news in all_news().into_iter().filter(|n| !n.is_same || n.state == standing.state) {
                let course = weigh(Some(standing), news, Budget::DEFAULT, at(101));
                let context = format!("{standing:?} {news:?} {course:?}");
                let is_same_run = news.source.run == standing.source.run;
                if news.source < standing.source && !standing.gives_way {
                    assert_eq!(course, Course::Ignore, "late: {context}");
                }
                let takes_over = standing.gives_way && !is_same_run;
                if takes_over && !(news.is_same && standing.is_shown) {
                    assert_eq!(course, Course::Send { at: at(101) }, "taken over: {context}");
                }
                if is_same_run && standing.state.is_final() && !news.state.is_final() {
                    assert_eq!(course, Course::Ignore, "back from an end: {context}");
                }
                if is_same_run && standing.state == State::Running && news.state == State::Pending {
                    assert_eq!(course, Course::Ignore, "back to waiting: {context}");
                }
                if news.source == standing.source && standing.state.is_final() {
                    assert_eq!(course, Course::Ignore, "one end: {context}");
                }
                if news.source.run > standing.source.run && !(news.is_same && standing.is_shown) {
                    assert_eq!(course, Course::Send { at: at(101) }, "a newer run: {context}");
                }
                let is_end = news.state.is_final() && !standing.state.is_final();
                if news.source >= standing.source && is_end && is_same_run {
                    assert_eq!(course, Course::Send { at: at(101) }, "an end: {context}");
                }
                if let Course::Send { at: time } = course
                    && is_same_run
                    && !news.state.is_final()
                    && standing.writes > 0
                {
                    assert!(time >= at(110), "merged: {context}");
                    assert!(standing.writes + 1 < Budget::DEFAULT.summary, "{context}");
                }
            }
        }
    }

    #[test]
    fn what_is_shown_is_not_sent_for_a_newer_run() {
        let standing = Standing {
            source: source(1, 1),
            state: State::Success,
            writes: 2,
            told_at: Some(at(100)),
            is_shown: true,
            gives_way: false,
        };
        let news = News { source: source(2, 1), state: State::Success, is_same: true };
        assert_eq!(weigh(Some(standing), news, Budget::DEFAULT, at(101)), Course::Adopt);
        let hidden = Standing { is_shown: false, ..standing };
        let course = weigh(Some(hidden), news, Budget::DEFAULT, at(101));
        assert_eq!(course, Course::Send { at: at(101) });
    }

    /// Any order of what two runs say ends in what the newest said last.
    #[test]
    fn whatever_comes_late_the_newest_end_is_shown() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let mut shown: Option<Standing> = None;
            let mut ends: Vec<(Source, State)> = Vec::new();
            let mut writes = std::collections::BTreeMap::<RunId, u32>::new();
            for step in 0..random.usize(1..30) {
                let new = source(random.i64(1..=3), random.u32(1..=2));
                let state = State::ALL[random.usize(0..State::ALL.len())];
                let news = News { source: new, state, is_same: false };
                let now = at(i64::try_from(step).unwrap() * random.i64(0..30));
                let before = shown;
                if let Course::Send { .. } = weigh(shown, news, Budget::DEFAULT, now) {
                    let is_same_run = before.is_some_and(|before| before.source.run == new.run);
                    let written = if is_same_run { before.map_or(0, |b| b.writes) } else { 0 };
                    shown = Some(Standing {
                        source: new,
                        state,
                        writes: written + 1,
                        told_at: Some(now),
                        is_shown: true,
                        gives_way: false,
                    });
                    *writes.entry(new.run).or_default() += 1;
                    if let Some(before) = before {
                        assert!(new >= before.source);
                        let is_back = before.state.is_final() && !state.is_final();
                        assert!(!is_back || new.run > before.source.run);
                    }
                    if state.is_final() {
                        ends.push((new, state));
                    }
                }
            }
            let last = shown.unwrap();
            let newest = ends.iter().rfind(|(end, _)| end.run == last.source.run);
            if let Some((_, state)) = newest {
                assert_eq!(last.state, *state);
            }
            // One more for a run that was begun twice and ended twice.
            assert!(
                writes.values().all(|count| *count <= Budget::DEFAULT.summary + 1),
                "{writes:?}"
            );
        }
    }

    #[test]
    fn updates_come_less_and_less_often() {
        let gaps = [1, 2, 3, 4].map(|writes| gap(writes).as_secs());
        assert_eq!(gaps, [10, 60, 360, 2160]);
        assert!(gap(u32::MAX) > Duration::from_secs(3600));
    }

    #[test]
    fn only_the_first_failing_jobs_have_statuses() {
        for state in State::ALL {
            let fails = matches!(state, State::Failure | State::Error);
            assert_eq!(admits_job(state, 4, Budget::DEFAULT), fails, "{state:?}");
            assert!(!admits_job(state, 5, Budget::DEFAULT), "{state:?}");
        }
    }

    #[test]
    fn waits_grow_up_to_a_day_and_are_never_shorter_than_asked_for() {
        let waits = [1, 2, 3, 10, 16, 17, 40, u32::MAX].map(|n| wait_after(n, None).as_secs());
        assert_eq!(waits, [2, 4, 8, 1024, 65_536, 86_400, 86_400, 86_400]);
        assert_eq!(wait_after(1, Some(Duration::from_secs(90))).as_secs(), 90);
        assert_eq!(wait_after(10, Some(Duration::from_secs(90))).as_secs(), 1024);
        assert_eq!(wait_after(1, Some(Duration::from_secs(200_000))).as_secs(), 200_000);
        let seconds = Duration::from_secs;
        assert_eq!(hold(seconds(4), None), seconds(4));
        assert_eq!(hold(seconds(86_400), None), seconds(60));
        assert_eq!(hold(seconds(86_400), Some(seconds(90))), seconds(90));
    }
}
