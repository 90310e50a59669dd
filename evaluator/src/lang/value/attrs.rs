//! Attribute sets: slices of attributes, sorted by symbol once, when they are made.

use super::Value;
use crate::lang::source::Span;
use crate::lang::symbol::{Symbol, Symbols};

/// One attribute.
#[derive(Debug, Clone)]
pub struct Attr {
    /// Its name.
    pub name: Symbol,
    /// The first byte of where it was written; zero if it was not.
    pub position: u32,
    /// Its value, possibly not evaluated.
    pub value: Value,
}

impl Attr {
    /// Makes an attribute that nobody has written.
    pub fn new(name: Symbol, value: Value) -> Self {
        Attr { name, position: 0, value }
    }

    /// Returns where it was written.
    pub fn span(&self) -> Span {
        Span { start: self.position, end: self.position }
    }
}

/// In so many attributes one is found sooner one by one than by halving.
const FEW: usize = 8;

/// An attribute set.
#[derive(Debug, Clone, Default)]
pub struct Attrs {
    /// Sorted by name, without duplicates.
    entries: Box<[Attr]>,
}

impl Attrs {
    /// Makes an empty attribute set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes an attribute set of attributes in any order; of equal names the last counts.
    pub fn from_unsorted(mut entries: Vec<Attr>) -> Self {
        if !entries.is_sorted_by(|a, b| a.name < b.name) {
            entries.sort_by_key(|attr| attr.name);
            // Stable sorting keeps equal names in their order, and `dedup_by` keeps the first.
            entries.reverse();
            entries.dedup_by(|later, kept| later.name == kept.name);
            entries.reverse();
        }
        Attrs { entries: entries.into_boxed_slice() }
    }

    /// Makes an attribute set of attributes that are sorted by symbol and have different names.
    pub fn from_sorted(entries: Vec<Attr>) -> Self {
        debug_assert!(entries.is_sorted_by(|a, b| a.name < b.name));
        Attrs { entries: entries.into_boxed_slice() }
    }

    /// Returns the attribute of a name.
    pub fn get(&self, name: Symbol) -> Option<&Attr> {
        let entries = &self.entries;
        if entries.len() <= FEW {
            return entries.iter().find(|attr| attr.name == name);
        }
        if name.index() < FEW {
            // The names that the evaluator itself asks for most have the first numbers.
            return entries[..=name.index()].iter().find(|attr| attr.name == name);
        }
        entries.binary_search_by_key(&name, |attr| attr.name).ok().map(|index| &entries[index])
    }

    /// Returns the value of a name.
    pub fn value(&self, name: Symbol) -> Option<&Value> {
        self.get(name).map(|attr| &attr.value)
    }

    /// Returns whether there is an attribute of a name.
    pub fn contains(&self, name: Symbol) -> bool {
        self.get(name).is_some()
    }

    /// Returns the number of attributes.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the attributes in the order of their symbols, which is nobody's business outside.
    pub fn entries(&self) -> &[Attr] {
        &self.entries
    }

    /// Returns the attributes in the order of their names, as users see them.
    pub fn sorted<'a>(&'a self, symbols: &Symbols) -> Vec<&'a Attr> {
        let mut sorted: Vec<&Attr> = self.entries.iter().collect();
        sorted.sort_unstable_by(|a, b| symbols.compare(a.name, b.name));
        sorted
    }

    /// Returns the attributes of both, those of `other` where both have them (`self // other`).
    pub fn update(&self, other: &Attrs) -> Attrs {
        let (left, right) = (&self.entries, &other.entries);
        let mut entries = Vec::with_capacity(left.len() + right.len());
        let (mut l, mut r) = (0, 0);
        while l < left.len() && r < right.len() {
            match left[l].name.cmp(&right[r].name) {
                std::cmp::Ordering::Less => {
                    entries.push(left[l].clone());
                    l += 1;
                }
                std::cmp::Ordering::Greater => {
                    entries.push(right[r].clone());
                    r += 1;
                }
                std::cmp::Ordering::Equal => {
                    entries.push(right[r].clone());
                    l += 1;
                    r += 1;
                }
            }
        }
        entries.extend_from_slice(&left[l..]);
        entries.extend_from_slice(&right[r..]);
        Attrs { entries: entries.into_boxed_slice() }
    }
}

/// Collects attributes in any order.
#[derive(Debug, Default)]
pub struct AttrsBuilder {
    entries: Vec<Attr>,
}

impl AttrsBuilder {
    /// Makes a builder with room for some attributes.
    pub fn with_capacity(capacity: usize) -> Self {
        AttrsBuilder { entries: Vec::with_capacity(capacity) }
    }

    /// Adds an attribute that nobody has written.
    pub fn push(&mut self, name: Symbol, value: Value) -> &mut Self {
        self.entries.push(Attr::new(name, value));
        self
    }

    /// Adds an attribute.
    pub fn push_attr(&mut self, attr: Attr) -> &mut Self {
        self.entries.push(attr);
        self
    }

    /// Returns the attribute set; of equal names the last counts.
    pub fn finish(self) -> Attrs {
        Attrs::from_unsorted(self.entries)
    }
}
