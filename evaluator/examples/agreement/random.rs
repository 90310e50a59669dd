//! Random numbers that a seed repeats.

use fastrand::Rng;

/// A source of random choices; the same seed gives the same choices.
#[derive(Clone, Debug)]
pub(crate) struct Random(Rng);

impl Random {
    /// Starts at a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(Rng::with_seed(seed))
    }

    /// Returns 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0.u64(..)
    }

    /// Returns a number below `limit`, or 0 where there is none.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        // The remainder of a 64-bit number is far below the modulo bias that could matter here.
        let limit = u64::try_from(limit).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.bits() % limit).unwrap_or(0)
    }

    /// Says yes in `percent` of all cases.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// Picks one; the choices must not be empty.
    pub(crate) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// Picks one text.
    pub(crate) fn word(&mut self, choices: &[&'static str]) -> &'static str {
        choices[self.below(choices.len())]
    }
}
