//! Coercion to strings: what may stand in `"${ … }"`, and what `toString` takes.

use std::rc::Rc;

use super::Evaluator;
use crate::lang::error::{Error, ErrorKind, Result};
use crate::lang::io::{AddError, AddPath, Ingestion, IoError};
use crate::lang::print;
use crate::lang::source::Span;
use crate::lang::value::{Context, ContextElement, NixPath, NixString, Value};

/// What may become a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coerce {
    /// Whether numbers, Booleans, null and lists may, as with `toString`.
    pub more: bool,
    /// Whether paths are copied to the store, as in `"${./x}"`.
    pub copy_to_store: bool,
}

impl Coerce {
    /// Strings, paths and sets with `outPath` or `__toString`; nothing is copied.
    pub const PLAIN: Coerce = Coerce { more: false, copy_to_store: false };
    /// What `toString` takes.
    pub const TO_STRING: Coerce = Coerce { more: true, copy_to_store: false };
    /// What the environment of a derivation takes.
    pub const ENVIRONMENT: Coerce = Coerce { more: true, copy_to_store: true };
}

impl Evaluator {
    /// Makes a string of a value, and adds what it depends on to `context`.
    pub fn coerce_to_string(
        &mut self,
        value: &Value,
        at: Span,
        options: Coerce,
        context: &mut Context,
    ) -> Result<Rc<NixString>> {
        if let Some(Value::String(string)) = value.evaluated()
            && self.may_go_deeper()
        {
            if let Some(additional) = string.context() {
                context.extend(additional);
            }
            return Ok(Rc::clone(string));
        }
        self.one_deeper(at, |ev| ev.coerce_counted(value, at, options, context))
    }

    fn coerce_counted(
        &mut self,
        value: &Value,
        at: Span,
        options: Coerce,
        context: &mut Context,
    ) -> Result<Rc<NixString>> {
        let value = self.force_ref(value, at)?;
        let plain = |text: &[u8]| Ok(Rc::new(NixString::new(text)));
        match value {
            Value::String(string) => {
                if let Some(additional) = string.context() {
                    context.extend(additional);
                }
                Ok(Rc::clone(string))
            }
            Value::Path(path) if options.copy_to_store => {
                let copied = self.copy_path_to_store(path, at)?;
                context.insert(ContextElement::Path(Rc::clone(&copied)));
                plain(copied.as_bytes())
            }
            Value::Path(path) => plain(path.bytes()),
            Value::Attrs(attrs) => {
                if let Some(function) = attrs.value(self.known.to_string).cloned() {
                    let text = self.call1(&function, value.clone(), at)?;
                    return self.coerce_to_string(&text, at, options, context).map_err(|error| {
                        error.context(
                            "while evaluating the result of the `__toString` attribute",
                            at,
                        )
                    });
                }
                match attrs.value(self.known.out_path).cloned() {
                    Some(path) => self.coerce_to_string(&path, at, options, context),
                    None => Err(self.coercion_error(value, at)),
                }
            }
            Value::Bool(true) if options.more => plain(b"1"),
            Value::Bool(false) | Value::Null if options.more => plain(b""),
            Value::Int(number) if options.more => plain(number.to_string().as_bytes()),
            Value::Float(number) if options.more => plain(print::fixed(*number).as_bytes()),
            Value::List(list) if options.more => {
                let mut text = Vec::new();
                for (index, element) in list.iter().enumerate() {
                    let part = self.coerce_to_string(element, at, options, context)?;
                    text.extend_from_slice(part.bytes());
                    // An empty list in a list adds no blank; an empty string does.
                    let is_empty_list =
                        matches!(element.evaluated(), Some(Value::List(list)) if list.is_empty());
                    if index + 1 < list.len() && !is_empty_list {
                        text.push(b' ');
                    }
                }
                plain(&text)
            }
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::List(_)
            | Value::Closure(_)
            | Value::Builtin(_)
            | Value::Partial(_)
            | Value::Thunk(_) => Err(self.coercion_error(value, at)),
        }
    }

    /// Copies a path to the store, once, and returns its store path.
    pub fn copy_path_to_store(&mut self, path: &NixPath, at: Span) -> Result<Rc<str>> {
        if let Some(copied) = self.copied.get(path) {
            return Ok(Rc::clone(copied));
        }
        let text = path.text();
        let name = text.rsplit('/').next().unwrap_or_default();
        if name.ends_with(".drv") {
            let message = format!("file names are not allowed to end in `.drv`: `{text}`");
            return Err(Error::new(ErrorKind::Argument { message }, at));
        }
        let io = Rc::clone(&self.io);
        let request =
            AddPath { name, path, ingestion: Ingestion::Recursive, expected: None, filter: None };
        let copied = io.add_path(request).map_err(|error| match error {
            AddError::Io(error) => Error::new(error.into(), at),
            AddError::Filter | AddError::HashMismatch { .. } => {
                let what = "neither a filter nor a hash was given".to_owned();
                Error::new(ErrorKind::Bug { what }, at)
            }
        })?;
        self.copied.insert(path.clone(), Rc::clone(&copied));
        Ok(copied)
    }

    fn coercion_error(&self, value: &Value, at: Span) -> Error {
        Error::new(ErrorKind::Coercion { found: print::described(self, value) }, at)
    }

    /// Makes sure that what a context names can be read: builds outputs if that is allowed.
    pub fn realise_context(&mut self, context: &Context, at: Span) -> Result<()> {
        let wrong = |error| Error::new(ErrorKind::Io(error), at);
        for element in context.iter() {
            match element {
                ContextElement::Path(path) | ContextElement::DerivationDeep(path) => {
                    if !self.io.is_valid_path(path).map_err(wrong)? {
                        let message = format!("path `{path}` is not valid");
                        return Err(Error::new(ErrorKind::StorePath { message }, at));
                    }
                }
                ContextElement::Output { derivation, output } => {
                    if !self.options.import_from_derivation {
                        return Err(wrong(IoError::Unavailable {
                            what: format!("read output `{output}` of `{derivation}`"),
                            reason: "this evaluation must not depend on builds".to_owned(),
                        }));
                    }
                    self.io.realise(derivation, output).map_err(wrong)?;
                }
            }
        }
        Ok(())
    }
}
