//! String contexts: what store objects a string depends on.

use std::collections::BTreeSet;
use std::rc::Rc;

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
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Context(BTreeSet<ContextElement>);

impl Context {
    /// Makes an empty context.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one thing.
    pub fn insert(&mut self, element: ContextElement) {
        self.0.insert(element);
    }

    /// Adds all of another context.
    pub fn extend(&mut self, other: &Context) {
        for element in &other.0 {
            if !self.0.contains(element) {
                self.0.insert(element.clone());
            }
        }
    }

    /// Returns whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number of things.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether a thing is in it.
    pub fn contains(&self, element: &ContextElement) -> bool {
        self.0.contains(element)
    }

    /// Goes through the things in their order.
    pub fn iter(&self) -> impl Iterator<Item = &ContextElement> {
        self.0.iter()
    }
}

impl FromIterator<ContextElement> for Context {
    fn from_iter<T: IntoIterator<Item = ContextElement>>(elements: T) -> Self {
        Context(elements.into_iter().collect())
    }
}
