//! Times of files that are put in place of a command: in order, and before all that comes after.
//!
//! The kernel gives files the time of its last tick, some milliseconds apart, or a finer one if somebody asked for the
//! time of the same file meanwhile. Files that are put in place get the time that it is; whoever makes a file after that
//! waits for the next tick, so that it is newer.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::world::Moment;

/// The times that were given.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    last: Moment,
}

impl Clock {
    /// Returns a time for a file: not before any other file's, and after the last one's.
    pub(crate) fn next(&mut self) -> Moment {
        let time = now();
        let (seconds, nanos) = self.last;
        let after = match nanos {
            999_999_999 => (seconds + 1, 0),
            nanos => (seconds, nanos + 1),
        };
        self.last = time.max(after);
        self.last
    }

    /// Notes that time passed for whoever was skipped: what is made from now on is newer than what was made before.
    pub(crate) fn pass(&mut self) {
        self.last = self.last.max(now());
    }

    /// Waits until a file that is made now is newer than all that were put in place.
    pub(crate) fn settle(&self) {
        while tick() <= self.last {
            std::thread::sleep(Duration::from_micros(500));
        }
    }
}

/// Returns the time that the kernel gives to a file that is changed now.
pub(crate) fn tick() -> Moment {
    read(ClockId::RealtimeCoarse)
}

/// Returns the time that it is, which is at least that of any file that was changed.
pub(crate) fn now() -> Moment {
    read(ClockId::Realtime)
}

fn read(clock: ClockId) -> Moment {
    let now = clock_gettime(clock);
    (now.tv_sec, u32::try_from(now.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_order() {
        let mut clock = Clock::default();
        let times: Vec<Moment> = (0..100).map(|_| clock.next()).collect();
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
        clock.settle();
        assert!(tick() > times[99]);
    }
}
