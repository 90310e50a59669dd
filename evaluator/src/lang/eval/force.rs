//! Forces values, and says what is wrong with those of the wrong type.

use std::rc::Rc;

use super::Evaluator;
use crate::lang::error::{Error, ErrorKind, Result, suggest};
use crate::lang::print;
use crate::lang::source::Span;
use crate::lang::symbol::Symbol;
use crate::lang::value::{
    Attrs, Context, ContextElement, Later, NixPath, NixString, Pending, Thunk, Value,
};

/// Declares a method that forces a value to one type.
/// Constants of `builtins` that only impure evaluation has.
const IMPURE: [&str; 2] = ["currentSystem", "currentTime"];

macro_rules! force_to {
    ($(#[$doc:meta])* $method:ident, $variant:ident, $type:ty, $expected:literal) => {
        $(#[$doc])*
        pub fn $method(&mut self, value: &Value, at: Span) -> Result<$type> {
            let value = self.force_ref(value, at)?;
            if let Value::$variant(inner) = value {
                return Ok(inner.clone());
            }
            Err(self.type_error($expected, value, at))
        }
    };
}

impl Evaluator {
    /// Evaluates a value until its type is known; the result is never a thunk.
    #[inline]
    pub fn force(&mut self, value: &Value, at: Span) -> Result<Value> {
        if let Value::Thunk(thunk) = value {
            return self.force_thunk(thunk, at);
        }
        Ok(value.clone())
    }

    /// Evaluates a value until its type is known, and lends the result.
    #[inline]
    pub fn force_ref<'v>(&mut self, value: &'v Value, at: Span) -> Result<&'v Value> {
        let Value::Thunk(thunk) = value else { return Ok(value) };
        if let Some(known) = thunk.value() {
            return Ok(known);
        }
        self.force_pending(thunk, at)?;
        // Now it has one: a thunk that is evaluated never loses its value.
        thunk.value().ok_or_else(|| Error::new(ErrorKind::InfiniteRecursion, at))
    }

    /// Evaluates a thunk, or returns its value.
    #[inline]
    pub(super) fn force_thunk(&mut self, thunk: &Thunk, at: Span) -> Result<Value> {
        if let Some(value) = thunk.value() {
            return Ok(value.clone());
        }
        self.force_pending(thunk, at)
    }

    /// Evaluates a thunk that has no value yet.
    fn force_pending(&mut self, thunk: &Thunk, at: Span) -> Result<Value> {
        self.check_stack(at)?;
        let pending = thunk.take();
        let result = match &pending {
            Pending::Code(code, env) => self.eval(code, env),
            Pending::Other(None) => return Err(Error::new(ErrorKind::InfiniteRecursion, at)),
            Pending::Other(Some(later)) => match later.as_ref() {
                Later::Apply(function, argument) => self.call1(function, argument.clone(), at),
                Later::Apply2(function, first, second) => {
                    self.call(function, &[first.clone(), second.clone()], at)
                }
                Later::Lazy(lazy) => lazy.compute(self).and_then(|value| self.force(&value, at)),
            },
        };
        match result {
            Ok(value) => {
                thunk.set(value.clone());
                Ok(value)
            }
            Err(error) => {
                thunk.put_back(pending);
                Err(error)
            }
        }
    }

    force_to!(
        /// Forces a value that must be a number without fraction.
        force_int, Int, i64, "an integer"
    );
    force_to!(
        /// Forces a value that must be `true` or `false`.
        force_bool, Bool, bool, "a Boolean"
    );
    force_to!(
        /// Forces a value that must be a list; its elements stay as they are.
        force_list, List, Rc<Vec<Value>>, "a list"
    );
    force_to!(
        /// Forces a value that must be an attribute set; its values stay as they are.
        force_attrs, Attrs, Rc<Attrs>, "a set"
    );
    force_to!(
        /// Forces a value that must be a string; it may have a context.
        force_string, String, Rc<NixString>, "a string"
    );

    /// Forces a value that must be a number of either kind.
    pub fn force_float(&mut self, value: &Value, at: Span) -> Result<f64> {
        let value = self.force(value, at)?;
        self.number(&value, at)
    }

    /// Forces a value that must be a function, or a set that can be called.
    pub fn force_function(&mut self, value: &Value, at: Span) -> Result<Value> {
        let value = self.force(value, at)?;
        let callable = match &value {
            Value::Closure(_) | Value::Builtin(_) | Value::Partial(_) => true,
            Value::Attrs(attrs) => attrs.contains(self.known.functor),
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::String(_)
            | Value::Path(_)
            | Value::List(_)
            | Value::Thunk(_) => false,
        };
        if callable { Ok(value) } else { Err(self.type_error("a function", &value, at)) }
    }

    /// Forces a value that must be a string without context.
    pub fn force_plain_string(&mut self, value: &Value, at: Span) -> Result<Rc<NixString>> {
        let string = self.force_string(value, at)?;
        match string.context().and_then(|context| context.iter().next()) {
            None => Ok(string),
            Some(element) => Err(Error::new(
                ErrorKind::Context {
                    text: string.text().into_owned(),
                    reference: reference(element),
                },
                at,
            )),
        }
    }

    /// Forces a value that must be a path, or something that becomes an absolute path as a string.
    pub fn force_path(&mut self, value: &Value, at: Span) -> Result<(NixPath, Context)> {
        let value = self.force(value, at)?;
        if let Value::Path(path) = &value {
            return Ok((path.as_ref().clone(), Context::new()));
        }
        if let Value::Attrs(attrs) = &value
            && !attrs.contains(self.known.to_string)
            && let Some(inner) = attrs.value(self.known.out_path).cloned()
        {
            return self.force_path(&inner, at);
        }
        let mut context = Context::new();
        let text = self.coerce_to_string(&value, at, super::Coerce::PLAIN, &mut context)?;
        if text.bytes().first() != Some(&b'/') {
            return Err(Error::new(
                ErrorKind::Argument {
                    message: format!("string `{}` doesn't represent an absolute path", text.text()),
                },
                at,
            ));
        }
        Ok((NixPath::canonical(text.bytes()), context))
    }

    /// Forces a value and everything in it.
    pub fn deep_force(&mut self, value: &Value, at: Span) -> Result<Value> {
        let mut seen = std::collections::BTreeSet::new();
        self.deep_force_unseen(value, at, &mut seen)
    }

    fn deep_force_unseen(
        &mut self,
        value: &Value,
        at: Span,
        seen: &mut std::collections::BTreeSet<usize>,
    ) -> Result<Value> {
        self.one_deeper(at, |ev| ev.deep_force_counted(value, at, seen))
    }

    fn deep_force_counted(
        &mut self,
        value: &Value,
        at: Span,
        seen: &mut std::collections::BTreeSet<usize>,
    ) -> Result<Value> {
        let value = self.force(value, at)?;
        match &value {
            Value::List(list) => {
                if !seen.insert(Rc::as_ptr(list).addr()) {
                    return Ok(value);
                }
                for element in list.iter() {
                    self.deep_force_unseen(element, at, seen)?;
                }
            }
            Value::Attrs(attrs) => {
                if !seen.insert(Rc::as_ptr(attrs).addr()) {
                    return Ok(value);
                }
                for attr in attrs.iter() {
                    self.deep_force_unseen(&attr.value, at, seen).map_err(|mut error| {
                        error.push_context(attr.span(), || {
                            let name = self.symbols.text(attr.name);
                            format!("while evaluating the attribute `{name}`")
                        });
                        error
                    })?;
                }
            }
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::String(_)
            | Value::Path(_)
            | Value::Closure(_)
            | Value::Builtin(_)
            | Value::Partial(_)
            | Value::Thunk(_) => {}
        }
        Ok(value)
    }

    /// Returns the value of an attribute that must be there.
    pub fn required(&mut self, attrs: &Attrs, name: &str, at: Span) -> Result<Value> {
        let name = self.symbols.intern(name);
        self.required_symbol(attrs, name, at)
    }

    /// Returns the value of an attribute that must be there, by its symbol.
    pub fn required_symbol(&self, attrs: &Attrs, name: Symbol, at: Span) -> Result<Value> {
        match attrs.value(name) {
            Some(value) => Ok(value.clone()),
            None => Err(self.missing_attribute(attrs, name, at)),
        }
    }

    /// Makes the error for an attribute that is not there.
    pub fn missing_attribute(&self, attrs: &Attrs, name: Symbol, at: Span) -> Error {
        let known = attrs.iter().map(|attr| self.symbols.name(attr.name));
        let suggestion = suggest(self.symbols.name(name), known);
        let name = self.symbols.text(name);
        // What pure evaluation leaves out of `builtins` is better called so than missing.
        let is_builtins = || attrs.value(self.known.builtins).is_some();
        if self.options.pure && IMPURE.contains(&name.as_str()) && is_builtins() {
            return Error::new(ErrorKind::Impure { what: format!("`builtins.{name}`") }, at);
        }
        Error::new(ErrorKind::MissingAttribute { name, suggestion }, at)
    }

    /// Makes the error for a value of another type than is needed.
    pub fn type_error(&self, expected: &str, found: &Value, at: Span) -> Error {
        let found = print::described(self, found);
        Error::new(ErrorKind::Type { expected: expected.to_owned(), found }, at)
    }
}

/// Returns the store path that an element of a context names.
pub(super) fn reference(element: &ContextElement) -> String {
    match element {
        ContextElement::Path(path) | ContextElement::DerivationDeep(path) => path.to_string(),
        ContextElement::Output { derivation, output } => format!("{derivation}^{output}"),
    }
}
