//! What a search has found out about branching states at places of the text.
//!
//! States and places are rows and columns of a table that is far too large to exist. Squares of it are
//! made when something in them is remembered: an expression with thousands of alternatives fills
//! columns, one repetition in a long text fills a row, and either fills most of its squares.

/// How many entries a square has, as a power of two.
const SQUARE: u32 = 12;
/// How many branching states share a square at most, as a power of two.
const MOST_BRANCHES: u32 = 6;

/// What is known about a branching state at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Known {
    Nothing,
    Fails,
    Succeeds,
}

type Square = Box<[Known; 1 << SQUARE]>;

/// The table.
pub(super) struct Memory {
    /// Squares by place, then by branch; no squares where nothing was remembered.
    strips: Vec<Vec<Option<Square>>>,
    /// How many strips at the beginning have been forgotten.
    forgotten: usize,
    /// How many branches there are in a square, as a power of two.
    branch_bits: u32,
    /// How many squares a strip has.
    width: usize,
}

impl Memory {
    /// Makes an empty table for so many branching states.
    pub(super) fn new(branches: usize) -> Self {
        let branch_bits = branches.next_power_of_two().trailing_zeros().min(MOST_BRANCHES);
        let width = branches.div_ceil(1 << branch_bits);
        Memory { strips: Vec::new(), forgotten: 0, branch_bits, width }
    }

    /// Returns the strip of a place, the square in it, and the entry in that.
    fn address(&self, branch: usize, place: usize) -> (usize, usize, usize) {
        let place_bits = SQUARE - self.branch_bits;
        let inside = (branch & ((1 << self.branch_bits) - 1)) << place_bits;
        let entry = inside | (place & ((1 << place_bits) - 1));
        (place >> place_bits, branch >> self.branch_bits, entry)
    }

    /// Returns what is known.
    pub(super) fn get(&self, branch: usize, place: usize) -> Known {
        let (strip, square, entry) = self.address(branch, place);
        let square = self.strips.get(strip).and_then(|strip| strip.get(square)?.as_ref());
        square.map_or(Known::Nothing, |square| square[entry])
    }

    /// Remembers something, or that nothing is known.
    pub(super) fn set(&mut self, branch: usize, place: usize, known: Known) {
        let (strip, square, entry) = self.address(branch, place);
        if self.strips.len() <= strip {
            self.strips.resize_with(strip + 1, Vec::new);
        }
        let strip = &mut self.strips[strip];
        if strip.is_empty() {
            strip.resize_with(self.width, || None);
        }
        strip[square].get_or_insert_with(|| Box::new([Known::Nothing; 1 << SQUARE]))[entry] = known;
    }

    /// Frees what only places before this one need.
    pub(super) fn forget_before(&mut self, place: usize) {
        let end = (place >> (SQUARE - self.branch_bits)).min(self.strips.len());
        while self.forgotten < end {
            self.strips[self.forgotten] = Vec::new();
            self.forgotten += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_what_it_was_told_until_it_may_forget() {
        for branches in [1, 3, 64, 65, 1000] {
            let mut memory = Memory::new(branches);
            let last = branches - 1;
            memory.set(last, 5000, Known::Fails);
            memory.set(0, 5000, Known::Succeeds);
            assert_eq!(memory.get(last, 4999), Known::Nothing);
            assert_eq!(memory.get(last, 100_000), Known::Nothing);
            let expected = if last == 0 { Known::Succeeds } else { Known::Fails };
            assert_eq!(memory.get(last, 5000), expected);
            memory.forget_before(5000);
            assert_eq!(memory.get(last, 5000), expected, "{branches}");
            memory.forget_before(20_000);
            assert_eq!(memory.get(last, 5000), Known::Nothing, "{branches}");
        }
    }
}
