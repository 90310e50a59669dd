//! Definitions by name, in the order of their symbols.
//!
//! Most sets are small and a sorted vector is the smallest and fastest table for them; a few have
//! thousands of definitions, for which inserting into a vector would take quadratic time.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Index;

use super::ast::Binding;
use crate::lang::symbol::Symbol;

/// Larger tables are trees.
const FEW: usize = 64;

/// Definitions by name, in the order of their symbols.
#[derive(Debug, Clone, Default)]
pub struct Bindings {
    /// Sorted by symbol; empty if there are many.
    few: Vec<(Symbol, Binding)>,
    many: BTreeMap<Symbol, Binding>,
}

impl Bindings {
    /// Returns the definition of a name.
    pub fn get(&self, name: Symbol) -> Option<&Binding> {
        match self.place(name) {
            Ok(index) => self.few.get(index).map(|(_, binding)| binding),
            Err(_) => self.many.get(&name),
        }
    }

    /// Returns the definition of a name to change it.
    pub fn get_mut(&mut self, name: Symbol) -> Option<&mut Binding> {
        match self.place(name) {
            Ok(index) => self.few.get_mut(index).map(|(_, binding)| binding),
            Err(_) => self.many.get_mut(&name),
        }
    }

    /// Adds the definition of a name, or gives it back if there is one.
    pub fn add(&mut self, name: Symbol, binding: Binding) -> Result<(), Binding> {
        if !self.many.is_empty() || self.few.len() >= FEW {
            self.many.extend(self.few.drain(..));
            return match self.many.entry(name) {
                Entry::Vacant(place) => {
                    place.insert(binding);
                    Ok(())
                }
                Entry::Occupied(_) => Err(binding),
            };
        }
        match self.place(name) {
            Ok(_) => Err(binding),
            Err(index) => {
                self.few.insert(index, (name, binding));
                Ok(())
            }
        }
    }

    fn place(&self, name: Symbol) -> Result<usize, usize> {
        self.few.binary_search_by_key(&name, |(name, _)| *name)
    }

    /// Goes through the definitions.
    pub fn iter(&self) -> impl Iterator<Item = (&Symbol, &Binding)> {
        self.few.iter().map(|(name, binding)| (name, binding)).chain(&self.many)
    }

    /// Goes through the names.
    pub fn keys(&self) -> impl Iterator<Item = &Symbol> {
        self.iter().map(|(name, _)| name)
    }

    /// Returns the number of definitions.
    pub fn len(&self) -> usize {
        self.few.len() + self.many.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the definitions out.
    pub(in crate::lang) fn drain(self) -> impl Iterator<Item = (Symbol, Binding)> {
        self.few.into_iter().chain(self.many)
    }
}

impl Index<&Symbol> for Bindings {
    type Output = Binding;

    /// Returns the definition of a name that is defined.
    fn index(&self, name: &Symbol) -> &Binding {
        match self.place(*name) {
            Ok(index) => &self.few[index].1,
            Err(_) => &self.many[name],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::source::Span;
    use crate::lang::symbol::Symbols;
    use crate::lang::syntax::ast::BindingValue;

    #[test]
    fn few_and_many_definitions_are_found_and_sorted() {
        let mut symbols = Symbols::new();
        let names: Vec<Symbol> = (0..200).map(|n| symbols.intern(n.to_string())).collect();
        for count in [5, 64, 65, 200] {
            let mut bindings = Bindings::default();
            for name in names[..count].iter().rev() {
                let binding = Binding { value: BindingValue::Inherit, span: Span::NONE };
                assert!(bindings.add(*name, binding.clone()).is_ok());
                assert!(bindings.add(*name, binding).is_err(), "a name is defined once");
            }
            assert_eq!(bindings.len(), count);
            assert!(bindings.keys().eq(&names[..count]));
            assert!(bindings.get(names[count - 1]).is_some());
            assert!(bindings.get_mut(names[0]).is_some());
        }
    }
}
