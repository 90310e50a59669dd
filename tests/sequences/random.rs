//! Random numbers that a seed repeats.

use fastrand::Rng;

/// A stream of numbers.
pub(crate) struct Random(Rng);

impl Random {
    /// Starts the stream of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(Rng::with_seed(seed))
    }

    /// Returns a number from `low` on, below `high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0.u64(low..high)
    }

    /// Returns one of `items`, which must not be empty.
    pub(crate) fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.between(0, items.len() as u64) as usize].clone()
    }

    /// Brings `items` into a random order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        self.0.shuffle(items);
    }
}
