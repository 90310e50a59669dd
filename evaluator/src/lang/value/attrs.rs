//! Attribute sets: slices of attributes, sorted by symbol once, when they are made.
//!
//! A set that changes little of a large one (`pkgs // { … }`) shares it instead of copying it: it is a
//! layer of its own attributes over that set. There is never more than one layer, so finding an
//! attribute looks at two slices at most; a layer that has grown too large is merged into a slice.

use std::cmp::Ordering;
use std::rc::Rc;

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

/// A layer is at most such a part of the set under it: what is shared must outweigh the second search.
const LAYER: usize = 2;
/// Smaller sets are copied: the copy is as small as what would share them.
const SHARED: usize = 8;

/// An attribute set.
#[derive(Debug, Clone)]
pub struct Attrs(Shape);

#[derive(Debug, Clone)]
enum Shape {
    /// Sorted by name, without duplicates.
    Flat(Box<[Attr]>),
    Layered(Box<Layered>),
}

#[derive(Debug, Clone)]
struct Layered {
    /// Sorted by name, without duplicates; these count where the set below has the same.
    own: Box<[Attr]>,
    /// A flat set.
    below: Rc<Attrs>,
    /// The number of different names in both.
    len: usize,
}

impl Default for Attrs {
    fn default() -> Self {
        Attrs(Shape::Flat(Box::default()))
    }
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
        Attrs(Shape::Flat(entries.into_boxed_slice()))
    }

    /// Makes an attribute set of attributes that are sorted by symbol and have different names.
    pub fn from_sorted(entries: Vec<Attr>) -> Self {
        debug_assert!(entries.is_sorted_by(|a, b| a.name < b.name));
        Attrs(Shape::Flat(entries.into_boxed_slice()))
    }

    /// Returns the attribute of a name.
    #[inline]
    pub fn get(&self, name: Symbol) -> Option<&Attr> {
        let (own, below) = self.slices();
        find(own, name).or_else(|| find(below, name))
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
        match &self.0 {
            Shape::Flat(entries) => entries.len(),
            Shape::Layered(layered) => layered.len,
        }
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Goes through the attributes in the order of their symbols, which is nobody's business outside.
    pub fn iter(&self) -> Iter<'_> {
        let (own, below) = self.slices();
        Iter { own, below }
    }

    /// Returns the attributes in the order of their names, as users see them.
    pub fn sorted<'a>(&'a self, symbols: &Symbols) -> Vec<&'a Attr> {
        let mut sorted: Vec<&Attr> = Vec::with_capacity(self.len());
        sorted.extend(self.iter());
        sorted.sort_unstable_by(|a, b| symbols.compare(a.name, b.name));
        sorted
    }

    /// Returns the attributes of both, those of `other` where both have them (`self // other`).
    pub fn update(self: &Rc<Self>, other: &Rc<Self>) -> Attrs {
        let (left, right) = (self.len(), other.len());
        if left >= SHARED && right * LAYER <= left {
            let (own, below) = match &self.0 {
                Shape::Flat(_) => (other.iter().cloned().collect(), self),
                Shape::Layered(layered) => {
                    (merged(Iter::over(&layered.own), other.iter(), right), &layered.below)
                }
            };
            if own.len() * LAYER <= below.len() {
                return Self::layered(own, below);
            }
        } else if right >= SHARED && left * LAYER <= right {
            // What the right set has already is not seen any more.
            let seen: Vec<Attr> =
                self.iter().filter(|attr| !other.contains(attr.name)).cloned().collect();
            let (own, below) = match &other.0 {
                Shape::Flat(_) => (seen, other),
                Shape::Layered(layered) => {
                    let own = layered.own.len();
                    (merged(Iter::over(&seen), Iter::over(&layered.own), own), &layered.below)
                }
            };
            if own.len() * LAYER <= below.len() {
                return Self::layered(own, below);
            }
        }
        Self::from_sorted(merged(self.iter(), other.iter(), left + right))
    }

    fn layered(own: Vec<Attr>, below: &Rc<Attrs>) -> Self {
        let added = own.iter().filter(|attr| !below.contains(attr.name)).count();
        let len = below.len() + added;
        Attrs(Shape::Layered(Box::new(Layered { own: own.into(), below: Rc::clone(below), len })))
    }

    /// Returns what counts first, and what counts where that has nothing.
    #[inline]
    fn slices(&self) -> (&[Attr], &[Attr]) {
        match &self.0 {
            Shape::Flat(entries) => (&[], entries),
            Shape::Layered(layered) => match &layered.below.0 {
                Shape::Flat(below) => (&layered.own, below),
                Shape::Layered(_) => unreachable!("there is never more than one layer"),
            },
        }
    }
}

/// Returns the attribute of a name in a sorted slice.
#[inline]
fn find(entries: &[Attr], name: Symbol) -> Option<&Attr> {
    if entries.len() <= FEW {
        return entries.iter().find(|attr| attr.name == name);
    }
    if name.index() < FEW {
        // The names that the evaluator itself asks for most have the first numbers.
        return entries[..=name.index()].iter().find(|attr| attr.name == name);
    }
    entries.binary_search_by_key(&name, |attr| attr.name).ok().map(|index| &entries[index])
}

/// Returns the attributes of both in the order of their symbols, those of `right` where both have them.
fn merged<'a>(left: Iter<'a>, right: Iter<'a>, capacity: usize) -> Vec<Attr> {
    let mut entries = Vec::with_capacity(capacity);
    let (mut left, mut right) = (left.peekable(), right.peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let order = a.name.cmp(&b.name);
        if order == Ordering::Equal {
            left.next();
        }
        entries.extend(if order == Ordering::Less { left.next() } else { right.next() }.cloned());
    }
    entries.extend(left.chain(right).cloned());
    entries
}

/// The attributes of a set in the order of their symbols.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    own: &'a [Attr],
    below: &'a [Attr],
}

impl<'a> Iter<'a> {
    fn over(entries: &'a [Attr]) -> Self {
        Iter { own: &[], below: entries }
    }

    /// Passes over everything in front of a name, and returns the attribute of that name.
    ///
    /// Whoever asks for names in the order of their symbols looks at nothing twice.
    pub fn find_next(&mut self, name: Symbol) -> Option<&'a Attr> {
        let own = pass(&mut self.own, name);
        let below = pass(&mut self.below, name);
        own.or(below)
    }
}

/// In so many attributes the next one is found sooner by halving than one by one.
const SEARCHED: usize = 64;

fn pass<'a>(rest: &mut &'a [Attr], name: Symbol) -> Option<&'a Attr> {
    let place = if rest.len() > SEARCHED {
        rest.partition_point(|attr| attr.name < name)
    } else {
        rest.iter().position(|attr| attr.name >= name).unwrap_or(rest.len())
    };
    *rest = &rest[place..];
    rest.first().filter(|attr| attr.name == name)
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a Attr;

    #[inline]
    fn next(&mut self) -> Option<&'a Attr> {
        let Some((own, more)) = self.own.split_first() else {
            let (below, more) = self.below.split_first()?;
            self.below = more;
            return Some(below);
        };
        if let Some((below, rest)) = self.below.split_first()
            && below.name <= own.name
        {
            self.below = rest;
            if below.name < own.name {
                return Some(below);
            }
        }
        self.own = more;
        Some(own)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.own.len().max(self.below.len()), Some(self.own.len() + self.below.len()))
    }
}

impl<'a> IntoIterator for &'a Attrs {
    type Item = &'a Attr;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
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
