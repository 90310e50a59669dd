//! Equality and order.

use std::cmp::Ordering;
use std::rc::Rc;

use super::Evaluator;
use crate::lang::error::{Error, ErrorKind, Result};
use crate::lang::print;
use crate::lang::source::Span;
use crate::lang::value::{Attrs, Value};

impl Evaluator {
    /// Returns whether two values are equal, forcing as much of them as is needed.
    ///
    /// Functions are never equal, unless they are one and the same within lists or sets.
    pub fn equal(&mut self, left: &Value, right: &Value, at: Span) -> Result<bool> {
        if self.may_go_deeper()
            && let Some(equal) = self.equal_at_once(left, right)
        {
            return Ok(equal);
        }
        self.one_deeper(at, |ev| ev.equal_counted(left, right, at))
    }

    /// Returns whether a list has a value.
    pub fn contains(&mut self, list: &[Value], wanted: &Value, at: Span) -> Result<bool> {
        if list.is_empty() {
            return Ok(false);
        }
        let evaluated = self.force_ref(wanted, at)?;
        // One derivation among many: what is looked for need not be looked at again for each.
        let path =
            if let Value::Attrs(attrs) = evaluated { self.evaluated_out_path(attrs) } else { None };
        for element in list {
            let known = match (path, element.evaluated()) {
                (Some(path), Some(Value::Attrs(attrs))) if self.may_go_deeper() => {
                    self.evaluated_out_path(attrs).map(|other| path == other)
                }
                _ => None,
            };
            let equal = match known {
                Some(equal) => equal,
                None => self.equal_within(wanted, element, at)?,
            };
            if equal {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Compares what is evaluated already and has nothing in it; nothing if that does not decide.
    ///
    /// Names and derivations are nearly all that is ever compared, mostly to find one among many.
    fn equal_at_once(&self, left: &Value, right: &Value) -> Option<bool> {
        match (left.evaluated()?, right.evaluated()?) {
            (Value::String(a), Value::String(b)) => Some(a.bytes() == b.bytes()),
            (Value::Bool(a), Value::Bool(b)) => Some(a == b),
            (Value::Int(a), Value::Int(b)) => Some(a == b),
            (Value::Attrs(a), Value::Attrs(b)) => {
                Some(self.evaluated_out_path(a)? == self.evaluated_out_path(b)?)
            }
            _ => None,
        }
    }

    /// Returns the output path of a derivation of which type and path are evaluated.
    fn evaluated_out_path<'v>(&self, attrs: &'v Attrs) -> Option<&'v [u8]> {
        let text = |name| {
            let Value::String(text) = attrs.value(name)?.evaluated()? else { return None };
            Some(text.bytes())
        };
        if text(self.known.type_)? != b"derivation" {
            return None;
        }
        text(self.known.out_path)
    }

    /// Returns whether two values within lists or sets, or arguments, are equal.
    ///
    /// There what is one and the same in memory is equal, too, even a function, or a list that holds
    /// an error. It is evaluated all the same: only what is in it is left alone.
    pub(in crate::lang) fn equal_within(
        &mut self,
        left: &Value,
        right: &Value,
        at: Span,
    ) -> Result<bool> {
        if left.same(right) {
            self.force_ref(left, at)?;
            return Ok(true);
        }
        self.equal(left, right, at)
    }

    fn equal_counted(&mut self, left: &Value, right: &Value, at: Span) -> Result<bool> {
        let left = self.force_ref(left, at)?;
        let right = self.force_ref(right, at)?;
        Ok(match (left, right) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a), Value::Int(b)) => a == b,
            (Value::Float(a), Value::Float(b)) => a == b,
            (Value::Int(a), Value::Float(b)) | (Value::Float(b), Value::Int(a)) => *a as f64 == *b,
            // Contexts do not count.
            (Value::String(a), Value::String(b)) => a.bytes() == b.bytes(),
            (Value::Path(a), Value::Path(b)) => a == b,
            (Value::List(a), Value::List(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (a, b) in a.iter().zip(b.iter()) {
                    if !self.equal_within(a, b, at)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Value::Attrs(a), Value::Attrs(b)) => self.equal_attrs(a, b, at)?,
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
        })
    }

    fn equal_attrs(&mut self, a: &Rc<Attrs>, b: &Rc<Attrs>, at: Span) -> Result<bool> {
        // Derivations are equal if their outputs have the same path.
        if self.is_derivation(a, at)?
            && self.is_derivation(b, at)?
            && let Some(a) = a.value(self.known.out_path)
            && let Some(b) = b.value(self.known.out_path)
        {
            return self.equal(a, b, at);
        }
        if a.len() != b.len() {
            return Ok(false);
        }
        for (a, b) in a.iter().zip(b.iter()) {
            if a.name != b.name {
                return Ok(false);
            }
            if !self.equal_within(&a.value, &b.value, at)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns whether an attribute set is a derivation: its `type` is `"derivation"`.
    pub fn is_derivation(&mut self, attrs: &Attrs, at: Span) -> Result<bool> {
        let Some(kind) = attrs.value(self.known.type_) else { return Ok(false) };
        let kind = self.force_ref(kind, at)?;
        Ok(matches!(kind, Value::String(kind) if kind.bytes() == b"derivation"))
    }

    /// Returns whether one value comes before another (`<`).
    pub fn less(&mut self, left: &Value, right: &Value, at: Span) -> Result<bool> {
        Ok(self.compare(left, right, at)? == Some(Ordering::Less))
    }

    /// Compares two values; nothing if one of them is a float that is no number.
    pub fn compare(&mut self, left: &Value, right: &Value, at: Span) -> Result<Option<Ordering>> {
        self.check_stack(at)?;
        let left = self.force_ref(left, at)?;
        let right = self.force_ref(right, at)?;
        Ok(match (left, right) {
            (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
            (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
            (Value::Int(a), Value::Float(b)) => (*a as f64).partial_cmp(b),
            (Value::Float(a), Value::Int(b)) => a.partial_cmp(&(*b as f64)),
            (Value::String(a), Value::String(b)) => Some(a.bytes().cmp(b.bytes())),
            (Value::Path(a), Value::Path(b)) => Some(a.cmp(b)),
            (Value::List(a), Value::List(b)) => {
                for (a, b) in a.iter().zip(b.iter()) {
                    if !self.equal_within(a, b, at)? {
                        return self.compare(a, b, at);
                    }
                }
                Some(a.len().cmp(&b.len()))
            }
            (left, right) => {
                let left = print::described(self, left);
                let right = print::described(self, right);
                return Err(Error::new(ErrorKind::Incomparable { left, right }, at));
            }
        })
    }
}
