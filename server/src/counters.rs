//! What a server did since it started, in numbers: for `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Something that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// A delivery was kept.
    DeliveryKept,
    /// It was there already.
    DeliveryAgain,
    /// Another was there under its key.
    DeliveryConflict,
    /// It was signed wrongly, or for no project.
    DeliveryRefused,
    /// It could not be kept.
    DeliveryFailed,
    /// A project was looked at.
    LookDone,
    /// That came to nothing.
    LookFailed,
    /// A run was begun.
    RunBegun,
    /// A run ended, and all is well.
    RunSucceeded,
    /// A run ended, and the author has something to mend.
    RunFailed,
    /// A run could not be carried out.
    RunErrored,
    /// A pull request could not be merged with its base.
    RunConflict,
    /// A run was left to others.
    RunGivenBack,
    /// A run waits until it is tried again, because of something that is away.
    RunPutOff,
    /// A run was taken from a server that is gone.
    RunTakenOver,
    /// A transaction was committed.
    Commit,
    /// Something was done in one.
    Write,
}

impl Counted {
    /// Everything that is counted.
    pub const ALL: [Self; 17] = [
        Self::DeliveryKept,
        Self::DeliveryAgain,
        Self::DeliveryConflict,
        Self::DeliveryRefused,
        Self::DeliveryFailed,
        Self::LookDone,
        Self::LookFailed,
        Self::RunBegun,
        Self::RunSucceeded,
        Self::RunFailed,
        Self::RunErrored,
        Self::RunConflict,
        Self::RunGivenBack,
        Self::RunPutOff,
        Self::RunTakenOver,
        Self::Commit,
        Self::Write,
    ];
}

/// Counts. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Counters(Arc<[AtomicU64; Counted::ALL.len()]>);

impl Counters {
    /// Counts so many more.
    pub(crate) fn add(&self, what: Counted, count: u64) {
        self.0[what as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// Counts one more.
    pub(crate) fn count(&self, what: Counted) {
        self.add(what, 1);
    }

    /// Returns how many there were.
    pub fn get(&self, what: Counted) -> u64 {
        self.0[what as usize].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_apart() {
        for (index, what) in Counted::ALL.into_iter().enumerate() {
            assert_eq!(what as usize, index);
            let counters = Counters::default();
            counters.clone().add(what, 2);
            counters.count(what);
            let found = Counted::ALL.map(|other| counters.get(other));
            assert_eq!((counters.get(what), found.iter().sum::<u64>()), (3, 3));
        }
    }
}
