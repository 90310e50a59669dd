//! Thunks: expressions that are evaluated when somebody needs them, and then never again.
//!
//! A thunk is a cell. Forcing takes its content out, which leaves the mark "being evaluated": who
//! meets that mark again has found an infinite recursion. The result is put back in place, so that
//! all who share the thunk see it. After an error the old content is put back, so that the next one
//! to ask meets the same error and not the mark.

use std::cell::Cell;
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

/// A value that is evaluated when it is needed.
pub struct Thunk(Cell<State>);

/// What a thunk is at the moment.
#[derive(Clone, Default)]
pub(in crate::lang) enum State {
    /// It is being evaluated.
    #[default]
    Blackhole,
    /// It has been evaluated; never a thunk itself.
    Done(Value),
    /// An expression in its environment.
    Code(&'static Code, Rc<Env>),
    /// A function and its argument.
    Apply(Rc<(Value, Value)>),
    /// A function and its two arguments.
    Apply2(Rc<(Value, Value, Value)>),
    /// Code of ours.
    Lazy(Rc<dyn LazyValue>),
}

impl Thunk {
    pub(in crate::lang) fn code(code: &'static Code, env: Rc<Env>) -> Self {
        Thunk(Cell::new(State::Code(code, env)))
    }

    /// Makes a thunk whose content comes later; until then it counts as being evaluated.
    pub(in crate::lang) fn unset() -> Self {
        Thunk(Cell::new(State::Blackhole))
    }

    pub(in crate::lang) fn apply(function: Value, argument: Value) -> Self {
        Thunk(Cell::new(State::Apply(Rc::new((function, argument)))))
    }

    pub(in crate::lang) fn apply2(function: Value, first: Value, second: Value) -> Self {
        Thunk(Cell::new(State::Apply2(Rc::new((function, first, second)))))
    }

    pub(in crate::lang) fn lazy(compute: Rc<dyn LazyValue>) -> Self {
        Thunk(Cell::new(State::Lazy(compute)))
    }

    /// Takes the content out and leaves the mark "being evaluated".
    pub(in crate::lang) fn take(&self) -> State {
        self.0.take()
    }

    /// Puts a content in place.
    pub(in crate::lang) fn set(&self, state: State) {
        self.0.set(state);
    }

    /// Returns the value, if it has been evaluated.
    pub fn value(&self) -> Option<Value> {
        let state = self.0.take();
        let value = match &state {
            State::Done(value) => Some(value.clone()),
            State::Blackhole
            | State::Code(..)
            | State::Apply(_)
            | State::Apply2(_)
            | State::Lazy(_) => None,
        };
        self.0.set(state);
        value
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
