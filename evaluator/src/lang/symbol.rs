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
/// A hash table with open addressing over the names' numbers; its order is never observed.
#[derive(Debug)]
pub struct Symbols {
    names: Vec<Rc<[u8]>>,
    /// The first eight bytes of each name as a number, in which nearly all names differ.
    prefixes: Vec<u64>,
    /// Numbers of names plus one; zero is a free place. The length is a power of two.
    places: Vec<u32>,
}

impl Symbols {
    /// Makes an empty table.
    pub fn new() -> Self {
        Symbols { names: Vec::new(), prefixes: Vec::new(), places: vec![0; 4096] }
    }

    /// Returns the number of a name, a new one if it has none yet.
    pub fn intern(&mut self, name: impl AsRef<[u8]>) -> Symbol {
        let name = name.as_ref();
        let place = self.place(name);
        if let Some(found) = self.places[place].checked_sub(1) {
            return Symbol(found);
        }
        let number = self.names.len() as u32;
        self.names.push(Rc::from(name));
        self.prefixes.push(prefix(name));
        self.places[place] = number + 1;
        if self.names.len() * 2 > self.places.len() {
            self.grow();
        }
        Symbol(number)
    }

    /// Returns the number of a name that is known already.
    ///
    /// A name that nobody has written yet is in no attribute set, so lookups need not intern.
    pub fn find(&self, name: impl AsRef<[u8]>) -> Option<Symbol> {
        self.places[self.place(name.as_ref())].checked_sub(1).map(Symbol)
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
    fn place(&self, name: &[u8]) -> usize {
        let mask = self.places.len() - 1;
        let mut place = hash(name) as usize & mask;
        loop {
            match self.places[place] {
                0 => return place,
                number if *self.names[number as usize - 1] == *name => return place,
                _ => place = (place + 1) & mask,
            }
        }
    }

    fn grow(&mut self) {
        self.places = vec![0; self.places.len() * 2];
        for number in 0..self.names.len() {
            let place = self.place(&Rc::clone(&self.names[number]));
            self.places[place] = number as u32 + 1;
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

/// FNV-1a with a final mix, because the table uses the low bits.
fn hash(name: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in name {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^ (hash >> 32)
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
