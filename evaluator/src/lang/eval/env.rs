//! Environments: the values of variables, by slot; and functions, which keep theirs.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use crate::lang::resolve::Lambda;
use crate::lang::value::Value;

/// The variables of one scope, and the environment around it.
#[derive(Debug)]
pub struct Env {
    parent: Option<Rc<Env>>,
    slots: Slots,
}

/// Slots are set once, after the environment was made, because values refer to it.
#[derive(Debug)]
enum Slots {
    /// A function with a simple argument, or a `with`: most environments are of this kind.
    One(OnceCell<Value>),
    Many(Box<[OnceCell<Value>]>),
    /// A recursive set with `__overrides`: what overrides a slot is seen from then on.
    Overridable(Box<Overridable>),
}

#[derive(Debug)]
struct Overridable {
    /// What was written, and what overrides it.
    slots: Box<[(OnceCell<Value>, OnceCell<Value>)]>,
    /// Whether it is known what is overridden.
    settled: Cell<bool>,
}

impl Env {
    /// Makes an environment of one value.
    pub(super) fn one(parent: Option<Rc<Env>>, value: Value) -> Self {
        Env { parent, slots: Slots::One(OnceCell::from(value)) }
    }

    /// Makes an environment whose values come later.
    pub(super) fn many(parent: Option<Rc<Env>>, count: usize) -> Self {
        Env { parent, slots: Slots::Many((0..count).map(|_| OnceCell::new()).collect()) }
    }

    /// Makes an environment whose values come later, and others in their place later still.
    pub(super) fn overridable(parent: Option<Rc<Env>>, count: usize) -> Self {
        let slots = (0..count).map(|_| Default::default()).collect();
        let overridable = Overridable { slots, settled: Cell::new(false) };
        Env { parent, slots: Slots::Overridable(Box::new(overridable)) }
    }

    /// Sets a slot that is not set yet.
    pub(super) fn set(&self, slot: usize, value: Value) {
        let place = match &self.slots {
            Slots::One(only) => Some(only),
            Slots::Many(slots) => slots.get(slot),
            Slots::Overridable(over) => over.slots.get(slot).map(|(first, _)| first),
        };
        let first = place.is_some_and(|place| place.set(value).is_ok());
        debug_assert!(first, "slot {slot} exists and is set once");
    }

    /// Replaces the value in a slot, once.
    pub(super) fn replace(&self, slot: usize, value: Value) {
        let place = match &self.slots {
            Slots::One(_) | Slots::Many(_) => None,
            Slots::Overridable(over) => over.slots.get(slot).map(|(_, second)| second),
        };
        let first = place.is_some_and(|place| place.set(value).is_ok());
        debug_assert!(first, "slot {slot} can be replaced and is replaced once");
    }

    /// Returns the value in a slot, if it is set.
    #[inline]
    pub(super) fn get(&self, slot: usize) -> Option<&Value> {
        match &self.slots {
            Slots::One(only) => only.get(),
            Slots::Many(slots) => slots.get(slot)?.get(),
            Slots::Overridable(over) => {
                let (first, second) = over.slots.get(slot)?;
                second.get().or_else(|| first.get())
            }
        }
    }

    /// Returns the value in a slot, if it is set and nothing can override it any more.
    pub(super) fn settled(&self, slot: usize) -> Option<&Value> {
        if let Slots::Overridable(over) = &self.slots
            && !over.settled.get()
        {
            return None;
        }
        self.get(slot)
    }

    /// Says that everything that overrides a slot is in place.
    pub(super) fn settle(&self) {
        if let Slots::Overridable(over) = &self.slots {
            over.settled.set(true);
        }
    }

    /// Returns the environment some levels up.
    #[inline]
    pub(super) fn up(&self, depth: u32) -> Option<&Env> {
        let mut env = self;
        for _ in 0..depth {
            env = env.parent.as_deref()?;
        }
        Some(env)
    }
}

/// A function with its environment.
pub struct Closure {
    pub(in crate::lang) lambda: &'static Lambda,
    pub(in crate::lang) env: Rc<Env>,
}

impl std::fmt::Debug for Closure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the environment: it usually contains the function.
        f.write_str("«lambda»")
    }
}
