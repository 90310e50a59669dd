//! String contexts: what store objects a string depends on.

use std::rc::Rc;

/// Larger contexts are merged rather than inserted.
const FEW: usize = 4;
/// So many things are kept in one row; the contexts of nearly all strings are smaller.
const ROW: usize = 64;

/// One thing that a string depends on. Store paths are whole (`/nix/store/HASH-name`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContextElement {
    /// A store object as it is; for a derivation, its file alone.
    Path(Rc<str>),
    /// A derivation with its whole graph, and all its outputs (`drvPath` has this).
    DerivationDeep(Rc<str>),
    /// An output of a derivation.
    Output {
        /// The derivation.
        derivation: Rc<str>,
        /// The name of the output.
        output: Rc<str>,
    },
}

/// A set of such things, in a fixed order.
///
/// Shared: most strings have the context of one of their parts. Absent rather than empty, because
/// nearly all strings have none.
#[derive(Debug, Clone, Default)]
pub struct Context(Option<Rc<Elements>>);

/// The things themselves.
#[derive(Debug, Clone)]
enum Elements {
    /// Sorted; at most [`ROW`].
    Few(Vec<ContextElement>),
    /// More than that.
    Many(Rows),
}

/// Thousands of things, in rows that strings share: a string that grows by one thing copies one row
/// and the places of the others.
#[derive(Debug, Clone)]
struct Rows {
    /// Sorted, as each row is; none is empty, or longer than twice [`ROW`].
    rows: Vec<Rc<Vec<ContextElement>>>,
    len: usize,
}

impl Rows {
    /// Returns where a thing is, or else where it belongs: the row and the place in it.
    fn find(&self, element: &ContextElement) -> Result<(usize, usize), (usize, usize)> {
        let row = self.rows.partition_point(|row| row.last().is_some_and(|last| last < element));
        let row = row.min(self.rows.len().saturating_sub(1));
        let found = self.rows.get(row).map_or(Err(0), |elements| elements.binary_search(element));
        found.map(|place| (row, place)).map_err(|place| (row, place))
    }

    fn insert(&mut self, element: ContextElement) {
        let Err((row, place)) = self.find(&element) else { return };
        let Some(elements) = self.rows.get_mut(row).map(Rc::make_mut) else { return };
        elements.insert(place, element);
        self.len += 1;
        if elements.len() > 2 * ROW {
            let rest = elements.split_off(ROW);
            self.rows.insert(row + 1, Rc::new(rest));
        }
    }
}

impl Default for Elements {
    fn default() -> Self {
        Elements::Few(Vec::new())
    }
}

impl Elements {
    /// Makes a set of things that are sorted and different.
    fn of_sorted(sorted: Vec<ContextElement>) -> Self {
        if sorted.len() > ROW {
            let rows = sorted.chunks(ROW).map(|row| Rc::new(row.to_vec())).collect();
            Elements::Many(Rows { rows, len: sorted.len() })
        } else {
            Elements::Few(sorted)
        }
    }

    fn len(&self) -> usize {
        match self {
            Elements::Few(elements) => elements.len(),
            Elements::Many(rows) => rows.len,
        }
    }

    fn contains(&self, element: &ContextElement) -> bool {
        match self {
            Elements::Few(elements) => elements.binary_search(element).is_ok(),
            Elements::Many(rows) => rows.find(element).is_ok(),
        }
    }

    fn insert(&mut self, element: ContextElement) {
        match self {
            Elements::Few(elements) => {
                if let Err(place) = elements.binary_search(&element) {
                    elements.insert(place, element);
                }
                if elements.len() > ROW {
                    *self = Elements::of_sorted(std::mem::take(elements));
                }
            }
            Elements::Many(rows) => rows.insert(element),
        }
    }

    fn iter(&self) -> impl Iterator<Item = &ContextElement> {
        let (few, many) = match self {
            Elements::Few(elements) => (elements.as_slice(), [].as_slice()),
            Elements::Many(rows) => ([].as_slice(), rows.rows.as_slice()),
        };
        few.iter().chain(many.iter().flat_map(|row| row.iter()))
    }
}

impl Context {
    /// Makes an empty context.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one thing.
    pub fn insert(&mut self, element: ContextElement) {
        if !self.contains(&element) {
            Rc::make_mut(self.0.get_or_insert_default()).insert(element);
        }
    }

    /// Adds all of another context.
    pub fn extend(&mut self, other: &Context) {
        let (Some(ours), Some(theirs)) = (&self.0, &other.0) else {
            if self.0.is_none() {
                self.0.clone_from(&other.0);
            }
            return;
        };
        if Rc::ptr_eq(ours, theirs) {
            return;
        }
        if let (Elements::Few(ours), Elements::Few(theirs)) = (&**ours, &**theirs)
            && theirs.len() > FEW
        {
            let joined = merge(ours, theirs);
            if joined.len() > ours.len() {
                self.0 = Some(Rc::new(Elements::of_sorted(joined)));
            }
            return;
        }
        // What is larger is shared rather than copied.
        let mut smaller = Rc::clone(theirs);
        if smaller.len() > ours.len() {
            smaller = self.0.replace(smaller).unwrap_or_default();
        }
        smaller.iter().for_each(|element| self.insert(element.clone()));
    }

    /// Returns whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of things.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |elements| elements.len())
    }

    /// Returns whether a thing is in it.
    pub fn contains(&self, element: &ContextElement) -> bool {
        self.0.as_ref().is_some_and(|elements| elements.contains(element))
    }

    /// Goes through the things in their order.
    pub fn iter(&self) -> impl Iterator<Item = &ContextElement> {
        self.0.iter().flat_map(|elements| elements.iter())
    }
}

/// Merges two rows without duplicates.
fn merge(ours: &[ContextElement], theirs: &[ContextElement]) -> Vec<ContextElement> {
    let mut both = Vec::with_capacity(ours.len() + theirs.len());
    let (mut our, mut their) = (ours.iter().peekable(), theirs.iter().peekable());
    while let (Some(a), Some(b)) = (our.peek(), their.peek()) {
        let order = a.cmp(b);
        if order.is_eq() {
            their.next();
        }
        both.extend(if order.is_gt() { their.next() } else { our.next() }.cloned());
    }
    both.extend(our.chain(their).cloned());
    both
}

impl PartialEq for Context {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Context {}

impl FromIterator<ContextElement> for Context {
    fn from_iter<T: IntoIterator<Item = ContextElement>>(elements: T) -> Self {
        let mut elements: Vec<ContextElement> = elements.into_iter().collect();
        elements.sort_unstable();
        elements.dedup();
        Context((!elements.is_empty()).then(|| Rc::new(Elements::of_sorted(elements))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(names: &[u8]) -> Context {
        names
            .iter()
            .map(|name| ContextElement::Path(char::from(*name).to_string().into()))
            .collect()
    }

    #[test]
    fn joined_contexts_have_everything_once_and_in_order() {
        for (ours, theirs, both) in [
            ("", "", ""),
            ("", "ba", "ab"),
            ("ab", "", "ab"),
            ("bd", "a", "abd"),
            ("bd", "bd", "bd"),
            ("bdfhj", "acdegiklm", "abcdefghijklm"),
            ("abcdefgh", "aceghi", "abcdefghi"),
        ] {
            let mut joined = context(ours.as_bytes());
            let before = joined.clone();
            joined.extend(&context(theirs.as_bytes()));
            assert_eq!(joined, context(both.as_bytes()), "{ours} and {theirs}");
            assert_eq!(before, context(ours.as_bytes()), "what was shared has not changed");
        }
    }

    #[test]
    fn many_things_from_many_strings_are_joined_in_order() {
        let one = |number: usize| ContextElement::Path(format!("{number:06}").into());
        // To move or to copy half of them for each one would take minutes.
        let (count, step) = (100_000, 77_777);
        let mut joined = Context::new();
        for number in 0..count {
            let before = joined.clone();
            joined.extend(&Context::from_iter([one(number * step % count)]));
            assert_eq!((before.len(), joined.len()), (number, number + 1));
        }
        assert_eq!(joined.len(), count);
        assert!(joined.iter().eq((0..count).map(one).collect::<Vec<_>>().iter()));
        let before = joined.clone();
        joined.extend(&context(b"ab"));
        joined.extend(&before);
        assert_eq!((before.len(), joined.len()), (count, count + 2));
        let mut little = context(b"b");
        little.extend(&joined);
        little.insert(ContextElement::Path("a".into()));
        assert_eq!(little, joined);
    }
}
