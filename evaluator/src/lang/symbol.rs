//! Symbols: names of variables and attributes as small numbers.
//!
//! Equal names have equal numbers within one evaluator. The numbers say nothing about the order
//! of the names: what a user sees is sorted by the names themselves.

use std::cmp::Ordering;
use std::rc::Rc;

/// A name that was given a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(u32);

impl Symbol {
    /// Returns the number, for tables that are indexed by symbols.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The table of names.
///
/// A hash table with open addressing over the names' numbers; its order is never observed. Each place
/// has the hash as well, so that looking for a name reads no other name than its own.
#[derive(Debug)]
pub struct Symbols {
    names: Vec<Rc<[u8]>>,
    /// The first eight bytes of each name as a number, in which nearly all names differ.
    prefixes: Vec<u64>,
    /// The length is a power of two.
    places: Vec<Place>,
}

/// A place of the table.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    hash: u32,
    /// The number of a name plus one; zero if the place is free.
    number: u32,
}

impl Symbols {
    /// Makes an empty table.
    pub fn new() -> Self {
        Symbols { names: Vec::new(), prefixes: Vec::new(), places: vec![Place::default(); 4096] }
    }

    /// Returns the number of a name, a new one if it has none yet.
    pub fn intern(&mut self, name: impl AsRef<[u8]>) -> Symbol {
        let name = name.as_ref();
        let hash = hash(name);
        let place = self.place(name, hash);
        if let Some(found) = self.places[place].number.checked_sub(1) {
            return Symbol(found);
        }
        let number = self.names.len() as u32;
        self.names.push(Rc::from(name));
        self.prefixes.push(prefix(name));
        self.places[place] = Place { hash, number: number + 1 };
        if self.names.len() * 2 > self.places.len() {
            self.grow();
        }
        Symbol(number)
    }

    /// Returns the number of a name that is known already.
    ///
    /// A name that nobody has written yet is in no attribute set, so lookups need not intern.
    pub fn find(&self, name: impl AsRef<[u8]>) -> Option<Symbol> {
        let name = name.as_ref();
        self.places[self.place(name, hash(name))].number.checked_sub(1).map(Symbol)
    }

    /// Returns the name of a symbol.
    pub fn name(&self, symbol: Symbol) -> &[u8] {
        self.names.get(symbol.index()).map_or(b"", |name| name)
    }

    /// Returns the name of a symbol, shared.
    pub fn shared_name(&self, symbol: Symbol) -> Rc<[u8]> {
        self.names.get(symbol.index()).map_or_else(|| Rc::from([]), Rc::clone)
    }

    /// Compares two symbols by their names.
    pub fn compare(&self, a: Symbol, b: Symbol) -> Ordering {
        let prefix = |symbol: Symbol| self.prefixes.get(symbol.index());
        prefix(a).cmp(&prefix(b)).then_with(|| self.name(a).cmp(self.name(b)))
    }

    /// Returns the name of a symbol as a text, for messages.
    pub fn text(&self, symbol: Symbol) -> String {
        String::from_utf8_lossy(self.name(symbol)).into_owned()
    }

    /// Returns the place of a name, or the free place where it belongs.
    fn place(&self, name: &[u8], hash: u32) -> usize {
        let mask = self.places.len() - 1;
        let mut index = hash as usize & mask;
        loop {
            let place = self.places[index];
            let is_here = place.number == 0
                || (place.hash == hash && *self.names[place.number as usize - 1] == *name);
            if is_here {
                return index;
            }
            index = (index + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let length = self.places.len() * 2;
        let places = std::mem::replace(&mut self.places, vec![Place::default(); length]);
        for place in places.into_iter().filter(|place| place.number != 0) {
            let mut index = place.hash as usize & (length - 1);
            while self.places[index].number != 0 {
                index = (index + 1) & (length - 1);
            }
            self.places[index] = place;
        }
    }
}

impl Default for Symbols {
    fn default() -> Self {
        Self::new()
    }
}

/// The first eight bytes, zeros after a shorter name: where these differ, so do names, the same way.
fn prefix(name: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let length = name.len().min(bytes.len());
    bytes[..length].copy_from_slice(&name[..length]);
    u64::from_be_bytes(bytes)
}

/// Mixes eight bytes at a time; the last eight may overlap those before them.
fn hash(name: &[u8]) -> u32 {
    let mut hash = name.len() as u64;
    let mut rest = name;
    while let Some((eight, more)) = rest.split_first_chunk::<8>() {
        hash = mixed(hash ^ u64::from_le_bytes(*eight));
        rest = more;
    }
    if rest.is_empty() {
        return hash as u32;
    }
    let last = match (name.last_chunk::<8>(), rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        (Some(eight), ..) => u64::from_le_bytes(*eight),
        (None, Some(first), Some(last)) => {
            u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32
        }
        // The first, middle and last byte are all that a name of three has.
        (None, ..) => [rest[0], rest[rest.len() / 2], rest[rest.len() - 1]]
            .iter()
            .fold(0, |bytes, byte| bytes << 8 | u64::from(*byte)),
    };
    mixed(hash ^ last) as u32
}

/// Multiplies, and folds the upper half of the product into the lower.
fn mixed(bits: u64) -> u64 {
    let product = u128::from(bits ^ 0x9e37_79b9_7f4a_7c15) * 0xa076_1d64_78bd_642f;
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_have_equal_numbers_and_growing_keeps_them() {
        let mut symbols = Symbols::new();
        let first: Vec<Symbol> = (0..10_000).map(|n| symbols.intern(format!("name{n}"))).collect();
        let second: Vec<Symbol> = (0..10_000).map(|n| symbols.intern(format!("name{n}"))).collect();
        assert_eq!(first, second);
        assert_eq!(symbols.name(first[77]), b"name77");
        assert_eq!(symbols.find("name9999"), Some(first[9999]));
        assert_eq!(symbols.find("other"), None);
    }

    #[test]
    fn symbols_compare_as_their_names_do() {
        let mut symbols = Symbols::new();
        let names: [&[u8]; 8] =
            [b"", b"\0", b"a", b"a\0", b"abcdefgh", b"abcdefgh\0", b"abcdefghi", b"\xff"];
        for a in names {
            for b in names {
                let (left, right) = (symbols.intern(a), symbols.intern(b));
                assert_eq!(symbols.compare(left, right), a.cmp(b), "{a:?} and {b:?}");
            }
        }
    }
}
