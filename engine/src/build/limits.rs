//! How long a build may take and say nothing, and when it is over for whom: pure decisions.
//!
//! Nix has such limits as well, but none where it waits itself: for a lock, for a download, or for a remote builder that is
//! not heard of any more. These hold for whatever takes a slot. Each run has its own: who shares a build with others is told
//! when its own limit is passed, and the build goes on as long as anybody wants it.

use std::time::{Duration, Instant};

/// The longest that a build may take and say nothing, as somebody wants it; nothing for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BuildLimits {
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// How long it may print no line.
    pub silence: Option<Duration>,
}

/// Who set a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SetBy {
    Operator,
    Project,
}

/// A limit that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    time: Duration,
    set_by: SetBy,
}

/// The limits of a run's builds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    timeout: Option<Limit>,
    silence: Option<Limit>,
}

/// What is known of a build's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    /// When Nix was asked for it.
    asked: Instant,
    /// When its builder began, and when it was heard of last.
    begun: Option<(Instant, Instant)>,
}

/// A limit that is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// It took too long.
    Timeout(Limit),
    /// It was silent for too long.
    Silence(Limit),
    /// Nix took too long to begin it.
    NotBegun(Limit),
}

impl Limits {
    /// Has a project lower what the operator allows, never raise it.
    pub(crate) fn new(operator: BuildLimits, project: BuildLimits) -> Self {
        let lower = |operator: Option<Duration>, project: Option<Duration>| {
            let operator = operator.map(|time| Limit { time, set_by: SetBy::Operator });
            let project = project.map(|time| Limit { time, set_by: SetBy::Project });
            [operator, project].into_iter().flatten().min_by_key(|limit| limit.time)
        };
        Self {
            timeout: lower(operator.timeout, project.timeout),
            silence: lower(operator.silence, project.silence),
        }
    }

    /// Returns when the first of them is passed if nothing more is heard, and which that is.
    pub(super) fn next(&self, clock: &Clock) -> Option<(Instant, Passed)> {
        let at = |from: Instant, limit: Option<Limit>, passed: fn(Limit) -> Passed| {
            limit.and_then(|limit| Some((from.checked_add(limit.time)?, passed(limit))))
        };
        let all = match clock.begun {
            None => [at(clock.asked, self.timeout, Passed::NotBegun), None],
            Some((begun, heard)) => {
                [at(begun, self.timeout, Passed::Timeout), at(heard, self.silence, Passed::Silence)]
            }
        };
        all.into_iter().flatten().min_by_key(|(when, _)| *when)
    }

    /// Returns the limit that is passed by now, if one is.
    pub(super) fn passed(&self, clock: &Clock, now: Instant) -> Option<Passed> {
        self.next(clock).filter(|(when, _)| *when <= now).map(|(_, passed)| passed)
    }
}

impl Clock {
    /// Begins when Nix is asked.
    pub(super) fn new(now: Instant) -> Self {
        Self { asked: now, begun: None }
    }

    /// Notes that a builder began.
    pub(super) fn began(&mut self, now: Instant) {
        let begun = self.begun.map_or(now, |(begun, _)| begun);
        self.begun = Some((begun, now));
    }

    /// Notes that a builder was heard of.
    pub(super) fn heard(&mut self, now: Instant) {
        if let Some((_, heard)) = &mut self.begun {
            *heard = now;
        }
    }
}

impl Passed {
    /// Returns whether the builder had begun.
    pub(super) fn has_begun(self) -> bool {
        match self {
            Self::Timeout(_) | Self::Silence(_) => true,
            Self::NotBegun(_) => false,
        }
    }

    /// Names the limit, and who set it.
    pub(super) fn describe(self) -> String {
        let set_by = |limit: Limit, option: &str, key: &str| match limit.set_by {
            SetBy::Operator => format!("the operator's limit, `{option}`"),
            SetBy::Project => format!("the project's limit, `build.{key}` in `levainProject`"),
        };
        match self {
            Self::Timeout(limit) => {
                let set_by = set_by(limit, "--build-timeout", "timeout");
                format!("stopped after {} s: {set_by}", limit.time.as_secs())
            }
            Self::Silence(limit) => {
                let set_by = set_by(limit, "--build-silence", "silence");
                format!("stopped after {} s without a line: {set_by}", limit.time.as_secs())
            }
            Self::NotBegun(limit) => {
                let set_by = set_by(limit, "--build-timeout", "timeout");
                let seconds = limit.time.as_secs();
                format!(
                    "Nix did not begin to build it within {seconds} s ({set_by}): it may wait for another build of the same, a download or a remote builder"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn limits(timeout: u64, silence: u64) -> BuildLimits {
        let limit = |time: u64| (time > 0).then_some(seconds(time));
        BuildLimits { timeout: limit(timeout), silence: limit(silence) }
    }

    #[test]
    fn a_project_lowers_what_the_operator_allows_and_never_raises_it() {
        for (operator, project, timeout, silence) in [
            (limits(100, 10), limits(0, 0), "the operator's", "the operator's"),
            (limits(100, 10), limits(200, 20), "the operator's", "the operator's"),
            (limits(100, 10), limits(100, 10), "the operator's", "the operator's"),
            (limits(100, 10), limits(99, 9), "the project's", "the project's"),
            (limits(0, 10), limits(200, 20), "the project's", "the operator's"),
        ] {
            let found = Limits::new(operator, project);
            let said = Passed::Timeout(found.timeout.unwrap()).describe();
            assert!(said.contains(timeout), "{said}");
            let said = Passed::Silence(found.silence.unwrap()).describe();
            assert!(said.contains(silence), "{said}");
        }
        assert_eq!(Limits::new(limits(0, 0), limits(0, 0)), Limits::default());
    }

    #[test]
    fn a_limit_is_passed_by_what_takes_too_long_or_says_nothing() {
        let start = Instant::now();
        let at = |time| start + seconds(time);
        let limits = Limits::new(limits(100, 10), limits(0, 0));
        let mut clock = Clock::new(start);
        clock.heard(at(50));
        assert_eq!(limits.passed(&clock, at(99)), None, "nothing says anything before it begins");
        let passed = limits.passed(&clock, at(100));
        assert!(matches!(passed, Some(Passed::NotBegun(_))), "{passed:?}");
        clock.began(at(90));
        assert_eq!(limits.passed(&clock, at(99)), None);
        let passed = limits.passed(&clock, at(100));
        assert!(matches!(passed, Some(Passed::Silence(_))), "{passed:?}");
        // What it needs is built first, and says something.
        for time in (95..190).step_by(5) {
            clock.heard(at(time));
            clock.began(at(time + 1));
            assert_eq!(limits.passed(&clock, at(time + 4)), None, "{time}");
        }
        let passed = limits.passed(&clock, at(190));
        assert!(matches!(passed, Some(Passed::Timeout(_))), "{passed:?}");
        assert_eq!(Limits::default().next(&clock), None);
    }

    #[test]
    fn whoever_reads_it_knows_which_limit_it_was_and_whose() {
        let set_by = SetBy::Operator;
        let limit = Limit { time: seconds(60), set_by };
        for (passed, has_begun, expected) in [
            (
                Passed::Timeout(limit),
                true,
                "stopped after 60 s: the operator's limit, `--build-timeout`",
            ),
            (
                Passed::Silence(Limit { set_by: SetBy::Project, ..limit }),
                true,
                "stopped after 60 s without a line: the project's limit, `build.silence` in `levainProject`",
            ),
            (
                Passed::NotBegun(limit),
                false,
                "Nix did not begin to build it within 60 s (the operator's limit, `--build-timeout`): it may wait for another build of the same, a download or a remote builder",
            ),
        ] {
            assert_eq!((passed.has_begun(), passed.describe().as_str()), (has_begun, expected));
        }
    }
}
