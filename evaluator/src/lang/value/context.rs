//! String contexts: what store objects a string depends on.

use std::rc::Rc;

/// Larger contexts are merged rather than inserted.
const FEW: usize = 4;

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
/// Sorted and shared: most strings have the context of one of their parts. Absent rather than empty,
/// because nearly all strings have none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Context(Option<Rc<Vec<ContextElement>>>);

impl Context {
    /// Makes an empty context.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one thing.
    pub fn insert(&mut self, element: ContextElement) {
        if let Err(place) = self.elements().binary_search(&element) {
            Rc::make_mut(self.0.get_or_insert_default()).insert(place, element);
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
        if theirs.len() <= FEW {
            for element in theirs.iter() {
                if !self.contains(element) {
                    self.insert(element.clone());
                }
            }
            return;
        }
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
        if both.len() > ours.len() {
            self.0 = Some(Rc::new(both));
        }
    }

    fn elements(&self) -> &[ContextElement] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Returns whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.elements().is_empty()
    }

    /// Returns the number of things.
    pub fn len(&self) -> usize {
        self.elements().len()
    }

    /// Returns whether a thing is in it.
    pub fn contains(&self, element: &ContextElement) -> bool {
        self.elements().binary_search(element).is_ok()
    }

    /// Goes through the things in their order.
    pub fn iter(&self) -> impl Iterator<Item = &ContextElement> {
        self.elements().iter()
    }
}

impl FromIterator<ContextElement> for Context {
    fn from_iter<T: IntoIterator<Item = ContextElement>>(elements: T) -> Self {
        let mut elements: Vec<ContextElement> = elements.into_iter().collect();
        elements.sort_unstable();
        elements.dedup();
        Context((!elements.is_empty()).then(|| Rc::new(elements)))
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
}
