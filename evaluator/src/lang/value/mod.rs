//! Values: what expressions evaluate to, 16 bytes each.
//!
//! Everything larger than a number lies behind a reference count and is shared. A value may be a
//! [`Thunk`]: an expression that nobody has asked for yet. Lists and attribute sets hold such
//! values; only forcing (`Evaluator::force`) turns them into others, in place, for all who share
//! them. Counts are not atomic: a value stays on the thread of its evaluator. Recursive values
//! form cycles and live as long as the process, so a large evaluation has a process to itself.

mod attrs;
mod context;
mod string;
#[cfg(test)]
mod tests;
mod thunk;

use std::rc::Rc;

pub use attrs::{Attr, Attrs, AttrsBuilder, Iter as AttrsIter};
pub use context::{Context, ContextElement};
pub use string::{NixPath, NixString};
pub(in crate::lang) use thunk::{Later, Pending};
pub use thunk::{LazyValue, Thunk};

use super::builtins::Builtin;
use super::eval::Closure;

/// A value of the language; possibly one that is not evaluated yet.
///
/// The tag takes a whole word, because otherwise a value is moved in pieces that overlap, and the
/// processor waits for each: programs that compute take a sixth longer.
#[derive(Clone, Debug)]
#[repr(u64)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number of 64 bits.
    Int(i64),
    /// A floating point number.
    Float(f64),
    /// A string with its context.
    String(Rc<NixString>),
    /// A path: absolute and without `.` and `..`.
    Path(Rc<NixPath>),
    /// A list.
    List(Rc<Vec<Value>>),
    /// An attribute set.
    Attrs(Rc<Attrs>),
    /// A function with its environment.
    Closure(Rc<Closure>),
    /// A builtin function.
    Builtin(&'static Builtin),
    /// A builtin function that waits for more arguments.
    Partial(Rc<Partial>),
    /// Something to be evaluated when it is needed, or its value.
    Thunk(Rc<Thunk>),
}

/// A builtin that has some of its arguments.
#[derive(Debug)]
pub struct Partial {
    /// The builtin.
    pub builtin: &'static Builtin,
    /// Its first arguments, fewer than it takes.
    pub arguments: Vec<Value>,
}

impl Value {
    /// Makes a string without context.
    pub fn string(bytes: impl AsRef<[u8]>) -> Value {
        Value::String(Rc::new(NixString::new(bytes.as_ref())))
    }

    /// Makes a string with a context.
    pub fn string_with_context(bytes: impl AsRef<[u8]>, context: Context) -> Value {
        Value::String(Rc::new(NixString::with_context(bytes.as_ref(), context)))
    }

    /// Makes a path from an absolute and canonical text.
    pub fn path(bytes: impl AsRef<[u8]>) -> Value {
        Value::Path(Rc::new(NixPath::new(bytes.as_ref())))
    }

    /// Makes a list.
    pub fn list(elements: Vec<Value>) -> Value {
        Value::List(Rc::new(elements))
    }

    /// Makes an attribute set.
    pub fn attrs(attrs: Attrs) -> Value {
        Value::Attrs(Rc::new(attrs))
    }

    /// Makes a value that is computed when it is needed: `function` applied to `argument`.
    pub fn apply(function: Value, argument: Value) -> Value {
        Value::Thunk(Rc::new(Thunk::later(Later::Apply(function, argument))))
    }

    /// Makes a value that is computed when it is needed: `function` applied to two arguments.
    pub fn apply2(function: Value, first: Value, second: Value) -> Value {
        Value::Thunk(Rc::new(Thunk::later(Later::Apply2(function, first, second))))
    }

    /// Makes a value that is computed when it is needed by code of ours.
    ///
    /// The code may be called again after it failed, so it must not use itself up.
    pub fn lazy(compute: impl LazyValue + 'static) -> Value {
        Value::Thunk(Rc::new(Thunk::later(Later::Lazy(Box::new(compute)))))
    }

    /// Returns this value without the thunk around it, if it has been evaluated.
    #[inline]
    pub fn evaluated(&self) -> Option<&Value> {
        if let Value::Thunk(thunk) = self { thunk.value() } else { Some(self) }
    }

    /// Returns the kind of the value as messages name it, with its article.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a Boolean",
            Value::Int(_) => "an integer",
            Value::Float(_) => "a float",
            Value::String(text) if text.context().is_some() => "a string with context",
            Value::String(_) => "a string",
            Value::Path(_) => "a path",
            Value::List(_) => "a list",
            Value::Attrs(_) => "a set",
            Value::Closure(_) => "a function",
            Value::Builtin(_) => "a built-in function",
            Value::Partial(_) => "a partially applied built-in function",
            Value::Thunk(thunk) => thunk.value().map_or("a thunk", Value::kind),
        }
    }

    /// Returns whether two values are one and the same in memory.
    ///
    /// Functions are equal only so, and only within lists and attribute sets.
    pub(in crate::lang) fn same(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Thunk(a), Value::Thunk(b)) => Rc::ptr_eq(a, b),
            (Value::Closure(a), Value::Closure(b)) => Rc::ptr_eq(a, b),
            (Value::Partial(a), Value::Partial(b)) => Rc::ptr_eq(a, b),
            (Value::List(a), Value::List(b)) => Rc::ptr_eq(a, b),
            (Value::Attrs(a), Value::Attrs(b)) => Rc::ptr_eq(a, b),
            (Value::String(a), Value::String(b)) => Rc::ptr_eq(a, b),
            (Value::Builtin(a), Value::Builtin(b)) => std::ptr::eq(*a, *b),
            (
                Value::Null
                | Value::Bool(_)
                | Value::Int(_)
                | Value::Float(_)
                | Value::String(_)
                | Value::Path(_)
                | Value::List(_)
                | Value::Attrs(_)
                | Value::Closure(_)
                | Value::Builtin(_)
                | Value::Partial(_)
                | Value::Thunk(_),
                _,
            ) => false,
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Float(value)
    }
}
