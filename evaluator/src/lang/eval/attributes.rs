//! Attribute sets from their definitions, and questions to them.

use std::rc::Rc;

use super::Evaluator;
use super::env::Env;
use super::expression::{delay, thunk};
use crate::lang::error::{Error, ErrorKind, Result};
use crate::lang::resolve::{AttrSet, HasAttr, Name, Place};
use crate::lang::source::Span;
use crate::lang::symbol::Symbol;
use crate::lang::value::{Attr, Attrs, Value};

impl Evaluator {
    /// Returns the name that stands in an attribute path.
    pub(super) fn name(&mut self, name: &'static Name, env: &Rc<Env>) -> Result<(Symbol, Span)> {
        match name {
            Name::Static(name, span) => Ok((*name, *span)),
            Name::Dynamic(code, span) => {
                let value = self.eval(code, env)?;
                let string = self.force_plain_string(&value, *span)?;
                Ok((self.symbols.intern(string.bytes()), *span))
            }
        }
    }

    /// Returns whether a set has an attribute, and whether that has one, and so on.
    pub(super) fn has_attr(&mut self, has: &'static HasAttr, env: &Rc<Env>) -> Result<bool> {
        let mut value = self.eval(&has.subject, env)?;
        for (index, name) in has.path.iter().enumerate() {
            let (name, span) = self.name(name, env)?;
            let Value::Attrs(attrs) = &value else { return Ok(false) };
            let Some(attr) = attrs.get(name) else { return Ok(false) };
            if index + 1 < has.path.len() {
                let inner = attr.value.clone();
                value = self.force(&inner, span)?;
            }
        }
        Ok(true)
    }

    /// Makes the environment of a `let`.
    pub(super) fn let_env(&mut self, set: &'static AttrSet, env: &Rc<Env>) -> Rc<Env> {
        let inner = recursive_env(set, env);
        for (slot, binding) in set.bindings.iter().enumerate() {
            let place = if binding.place == Place::Outside { env } else { &inner };
            inner.set(slot, delay(&binding.code, place));
        }
        inner
    }

    /// Makes an attribute set.
    pub(super) fn attr_set(&mut self, set: &'static AttrSet, env: &Rc<Env>) -> Result<Value> {
        if set.recursive {
            return self.recursive_set(set, env);
        }
        let sources = if set.sources.is_empty() {
            None
        } else {
            let sources = Rc::new(Env::many(Some(Rc::clone(env)), set.sources.len()));
            for (slot, source) in set.sources.iter().enumerate() {
                sources.set(slot, delay(source, env));
            }
            Some(sources)
        };
        let entries = set.bindings.iter().map(|binding| {
            let place = match (binding.place, &sources) {
                (Place::Source, Some(sources)) => sources,
                (Place::Source | Place::Inside | Place::Outside, _) => env,
            };
            Attr {
                name: binding.name,
                position: binding.span.start,
                value: delay(&binding.code, place),
            }
        });
        let attrs = Attrs::from_sorted(entries.collect());
        self.add_dynamic(set, attrs, env)
    }

    fn recursive_set(&mut self, set: &'static AttrSet, env: &Rc<Env>) -> Result<Value> {
        let inner = recursive_env(set, env);
        let mut entries = Vec::with_capacity(set.bindings.len());
        for (slot, binding) in set.bindings.iter().enumerate() {
            let place = if binding.place == Place::Outside { env } else { &inner };
            // What is overridden must not have been looked at yet.
            let value = if set.overrides.is_some() {
                thunk(&binding.code, place)
            } else {
                delay(&binding.code, place)
            };
            inner.set(slot, value.clone());
            entries.push(Attr { name: binding.name, position: binding.span.start, value });
        }
        let mut attrs = Attrs::from_sorted(entries);
        if let Some(index) = set.overrides {
            attrs = self.apply_overrides(set, attrs, index, &inner)?;
            inner.settle();
        }
        self.add_dynamic(set, attrs, &inner)
    }

    /// Replaces attributes by those of `__overrides`, also for those that refer to them.
    fn apply_overrides(
        &mut self,
        set: &'static AttrSet,
        attrs: Attrs,
        index: usize,
        inner: &Env,
    ) -> Result<Attrs> {
        let Some(overrides) = attrs.iter().nth(index).map(|attr| attr.value.clone()) else {
            return Ok(attrs);
        };
        let span = set.bindings[index].span;
        let overrides = self.force_attrs(&overrides, span)?;
        for attr in overrides.iter() {
            // The attributes of a recursive set are in the order of its slots.
            if let Ok(slot) = set.bindings.binary_search_by_key(&attr.name, |bound| bound.name) {
                inner.replace(slot, attr.value.clone());
            }
        }
        Ok(Rc::new(attrs).update(&overrides))
    }

    /// Adds the definitions with computed names; a name that is null is left out.
    fn add_dynamic(&mut self, set: &'static AttrSet, attrs: Attrs, env: &Rc<Env>) -> Result<Value> {
        if set.dynamic.is_empty() {
            return Ok(Value::attrs(attrs));
        }
        let mut added: Vec<Attr> = Vec::with_capacity(set.dynamic.len());
        for binding in &set.dynamic {
            let name = self.eval(&binding.name, env)?;
            if let Value::Null = name {
                continue;
            }
            let name = self.force_plain_string(&name, binding.span)?;
            let symbol = self.symbols.intern(name.bytes());
            let place = added.binary_search_by_key(&symbol, |attr| attr.name);
            let (false, Err(place)) = (attrs.contains(symbol), place) else {
                let name = name.text().into_owned();
                return Err(Error::new(ErrorKind::DuplicateAttribute { name }, binding.span));
            };
            let position = binding.span.start;
            added.insert(place, Attr { name: symbol, position, value: delay(&binding.value, env) });
        }
        Ok(Value::attrs(Rc::new(attrs).update(&Rc::new(Attrs::from_sorted(added)))))
    }
}

/// Makes the environment of a recursive set with its sources, but without its bindings.
fn recursive_env(set: &'static AttrSet, env: &Rc<Env>) -> Rc<Env> {
    let count = set.bindings.len() + set.sources.len();
    let parent = Some(Rc::clone(env));
    let inner = Rc::new(match set.overrides {
        Some(_) => Env::overridable(parent, count),
        None => Env::many(parent, count),
    });
    for (slot, source) in (set.bindings.len()..).zip(&set.sources) {
        inner.set(slot, delay(source, &inner));
    }
    inner
}
