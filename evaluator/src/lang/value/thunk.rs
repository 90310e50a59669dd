//! Thunks: expressions that are evaluated when somebody needs them, and then never again.
//!
//! A thunk is a place for its value and a cell with what computes it. Forcing takes the latter out,
//! which leaves the mark "being evaluated": who meets that mark again has found an infinite
//! recursion. The value is put in place, so that all who share the thunk see it, and from then on
//! looking at it costs no more than a comparison. After an error what was taken out is put back, so
//! that the next one to ask meets the same error and not the mark.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::rc::Rc;

use super::Value;
use crate::lang::error::Result;
use crate::lang::eval::{Env, Evaluator};
use crate::lang::resolve::Code;

/// Code of ours that computes a value later.
pub trait LazyValue {
    /// Computes the value; the result may be a thunk again.
    fn compute(&self, evaluator: &mut Evaluator) -> Result<Value>;
}

impl<F: Fn(&mut Evaluator) -> Result<Value>> LazyValue for F {
    fn compute(&self, evaluator: &mut Evaluator) -> Result<Value> {
        self(evaluator)
    }
}

/// A value that is evaluated when it is needed: 32 bytes, 48 with its counts.
pub struct Thunk {
    /// Never a thunk itself.
    value: OnceCell<Value>,
    pending: Cell<Pending>,
}

/// What computes a value; two words, because nearly every thunk is an expression.
pub(in crate::lang) enum Pending {
    /// An expression in its environment.
    Code(&'static Code, Rc<Env>),
    /// Anything else; nothing if the thunk is being evaluated, or has been.
    Other(Option<Box<Later>>),
}

/// What computes a value that no expression stands for.
pub(in crate::lang) enum Later {
    /// A function and its argument.
    Apply(Value, Value),
    /// A function and its two arguments.
    Apply2(Value, Value, Value),
    /// Code of ours.
    Lazy(Box<dyn LazyValue>),
}

impl Default for Pending {
    fn default() -> Self {
        Pending::Other(None)
    }
}

impl Thunk {
    fn new(pending: Pending) -> Self {
        Thunk { value: OnceCell::new(), pending: Cell::new(pending) }
    }

    pub(in crate::lang) fn code(code: &'static Code, env: Rc<Env>) -> Self {
        Self::new(Pending::Code(code, env))
    }

    /// Makes a thunk whose value comes later; until then it counts as being evaluated.
    pub(in crate::lang) fn unset() -> Self {
        Self::new(Pending::default())
    }

    pub(in crate::lang) fn later(later: Later) -> Self {
        Self::new(Pending::Other(Some(Box::new(later))))
    }

    /// Takes out what computes the value, and leaves the mark "being evaluated".
    pub(in crate::lang) fn take(&self) -> Pending {
        self.pending.take()
    }

    /// Puts back what was taken out.
    pub(in crate::lang) fn put_back(&self, pending: Pending) {
        self.pending.set(pending);
    }

    /// Returns whether somebody has taken out what computes the value, and has none yet.
    pub(in crate::lang) fn is_being_evaluated(&self) -> bool {
        let pending = self.pending.take();
        let taken = matches!(pending, Pending::Other(None));
        self.pending.set(pending);
        taken && self.value().is_none()
    }

    /// Puts the value in place.
    pub(in crate::lang) fn set(&self, value: Value) {
        debug_assert!(!matches!(value, Value::Thunk(_)), "a thunk's value is none");
        let first = self.value.set(value).is_ok();
        debug_assert!(first, "a thunk is evaluated once");
    }

    /// Returns the value, if it has been evaluated.
    #[inline]
    pub fn value(&self) -> Option<&Value> {
        self.value.get()
    }
}

impl fmt::Debug for Thunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value() {
            Some(value) => value.fmt(f),
            None => f.write_str("«thunk»"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thunks_stay_small() {
        assert_eq!(size_of::<Value>(), 16);
        assert_eq!(size_of::<Thunk>(), 32);
    }
}
