//! Keeps "now" later than everything restored, however the clocks of two builds differ.
//!
//! If the restored times lie too close behind this machine's clock for a file system that keeps
//! whole seconds, then the whole set moves back. Setting sources ahead of the clock instead would
//! make every output of this build look older than its sources.
//!
//! If they lie ahead of the clock, the set is refused: some tools write times into files of their
//! own (ninja's log, for rules with `restat`), which no moving back reaches.

use crate::manifest::Manifest;
use crate::refusal::Refusal;
use crate::time::Time;

const SECOND: i64 = 1_000_000_000;

/// Which times restored files get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    /// What the file system gives to a file written now.
    pub(super) now: Time,
    back: i64,
}

impl Clock {
    /// Compares the set's times with the clock; `touching` says whether any source gets "now".
    pub(super) fn new(manifest: &Manifest, now: Time, touching: bool) -> Result<Clock, Refusal> {
        let entries = manifest.entries.iter().map(|entry| entry.modified);
        let sources = manifest.sources.iter().map(|source| source.modified);
        let all = || entries.clone().chain(sources.clone()).chain([manifest.newest]);
        let newest = all().max().unwrap_or(Time::ZERO);
        let gap = if touching { SECOND } else { 0 };
        if newest > now {
            return Err(Refusal::Clock);
        }
        let over = newest.nanos().saturating_add(gap).saturating_sub(now.nanos());
        if over <= 0 {
            return Ok(Clock { now, back: 0 });
        }
        // Whole seconds, so that what differs by less still does.
        let back = over.div_euclid(SECOND).saturating_add(1).saturating_mul(SECOND);
        let clock = Clock { now, back };
        let early = |time: &Time| *time > Time::STORE && time.shifted(-back) <= Time::STORE;
        if all().any(|time| early(&time)) { Err(Refusal::Clock) } else { Ok(clock) }
    }

    /// Returns the time that something recorded with this time gets.
    pub(super) fn restored(&self, recorded: Time) -> Time {
        // Nix's own time is before everything and stays so.
        if recorded <= Time::STORE { recorded } else { recorded.shifted(-self.back) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(newest: i64) -> Manifest {
        Manifest {
            tool: String::new(),
            compressor: String::new(),
            key: None,
            source: Vec::new(),
            into: Vec::new(),
            origin: Vec::new(),
            roots: Vec::new(),
            newest: Time::from_nanos(newest),
            segments: Vec::new(),
            references: Vec::new(),
            outputs: Vec::new(),
            doubt: None,
            entries: Vec::new(),
            sources: Vec::new(),
        }
    }

    fn clock(newest: i64, now: i64, touching: bool) -> Clock {
        Clock::new(&manifest(newest), Time::from_nanos(now), touching).unwrap()
    }

    #[test]
    fn an_old_set_keeps_its_times() {
        assert_eq!(clock(5 * SECOND, 6 * SECOND, true).back, 0);
        assert_eq!(clock(5 * SECOND, 5 * SECOND, false).back, 0);
    }

    #[test]
    fn a_set_too_close_to_now_moves_back() {
        for (newest, now) in [(50, 50), (50, 51), (49, 52)] {
            for fraction in [0, 1, SECOND - 1] {
                let (newest, now) = (newest * SECOND + fraction, now * SECOND + SECOND - 1);
                let clock = clock(newest, now, true);
                if newest + SECOND > now {
                    let newest = Time::from_nanos(newest);
                    assert!(clock.restored(newest).shifted(SECOND) <= clock.now);
                    assert_eq!(clock.back % SECOND, 0);
                }
                assert_eq!(clock.restored(Time::STORE), Time::STORE);
            }
        }
    }

    #[test]
    fn a_clock_before_the_newest_file_is_refused() {
        for (newest, now) in [(1_700_000_000 * SECOND, 9), (51, 50), (50 * SECOND, 50 * SECOND - 1)]
        {
            for touching in [true, false] {
                let ahead = Clock::new(&manifest(newest), Time::from_nanos(now), touching);
                assert!(matches!(ahead, Err(Refusal::Clock)), "{newest} {now}");
            }
        }
    }
}
