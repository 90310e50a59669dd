//! JSON: reading and writing values.
//!
//! The rules are those of the library that Nix uses: integers that do not fit become floats on the way
//! in if they are negative and errors if they are positive, floats always show that they are some.

use super::{Builtin, Scope};
use crate::lang::error::{Error, ErrorKind, Result, ResultExt};
use crate::lang::eval::{Coerce, Evaluator};
use crate::lang::json::{self, Event};
use crate::lang::source::Span;
use crate::lang::symbol::Symbol;
use crate::lang::value::{Attr, Attrs, Context, Value};

pub(super) const BUILTINS: &[Builtin] = &[
    Builtin {
        name: "fromJSON",
        arity: 1,
        parameters: &["text"],
        scope: Scope::Prefixed,
        run: from_json,
        about: "Reads a JSON text.",
    },
    Builtin {
        name: "toJSON",
        arity: 1,
        parameters: &["value"],
        scope: Scope::Prefixed,
        run: to_json_builtin,
        about: "Writes a value as JSON.",
    },
];

/// Values nested more deeply than this have no end.
const MAX_DEPTH: usize = 10_000;

fn unreadable(at: Span, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Format { format: "JSON", message: message.into() }, at)
}

/// A list or object that is being read.
enum Open {
    List(Vec<Value>),
    Object(Vec<Attr>, Option<Symbol>),
}

fn from_json(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let text = ev.force_plain_string(&args[0], at)?;
    read(ev, text.bytes(), at)
}

/// Reads a JSON text.
pub(super) fn read(ev: &mut Evaluator, text: &[u8], at: Span) -> Result<Value> {
    let mut reader = json::Reader::new(text);
    let mut open: Vec<Open> = Vec::new();
    loop {
        let event = reader.next().map_err(|error| unreadable(at, error.to_string()))?;
        let value = match event {
            Event::Null => Value::Null,
            Event::Bool(value) => Value::Bool(value),
            Event::Int(value) => Value::Int(value),
            Event::Float(value) => Value::Float(value),
            Event::String(text) | Event::Key(text) if text.contains(&0) => {
                return Err(unreadable(at, "a string contains a zero byte"));
            }
            Event::String(text) => Value::string(text),
            Event::Key(key) => {
                let name = ev.symbols.intern(key);
                if let Some(Open::Object(_, key)) = open.last_mut() {
                    *key = Some(name);
                }
                continue;
            }
            Event::BeginList => {
                open.push(Open::List(Vec::new()));
                continue;
            }
            Event::BeginObject => {
                open.push(Open::Object(Vec::new(), None));
                continue;
            }
            Event::End => match open.pop() {
                Some(Open::List(elements)) => Value::list(elements),
                Some(Open::Object(attrs, _)) => Value::attrs(Attrs::from_unsorted(attrs)),
                None => return Err(unreadable(at, "unexpected end of a list or object")),
            },
        };
        match open.last_mut() {
            None => {
                reader.finish().map_err(|error| unreadable(at, error.to_string()))?;
                return Ok(value);
            }
            Some(Open::List(elements)) => elements.push(value),
            Some(Open::Object(attrs, key)) => {
                attrs.extend(key.take().map(|key| Attr::new(key, value)))
            }
        }
    }
}

fn to_json_builtin(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let mut context = Context::new();
    let mut text = Vec::new();
    write(ev, &args[0], at, true, &mut context, &mut text)?;
    Ok(Value::string_with_context(text, context))
}

/// Returns a value as JSON, evaluated to the bottom; paths are copied into the store.
pub fn to_json(ev: &mut Evaluator, value: &Value) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    write(ev, value, Span::NONE, true, &mut Context::new(), &mut text)?;
    Ok(text)
}

/// Writes the name of an attribute as JSON, with the colon behind it.
pub(super) fn write_key(text: &mut Vec<u8>, name: &[u8], at: Span) -> Result<()> {
    json::write_string(text, name)
        .map_err(|error| Error::new(ErrorKind::Argument { message: error.to_string() }, at))?;
    text.push(b':');
    Ok(())
}

/// Writes a value as JSON; paths are copied into the store if `copy` says so.
pub(super) fn write(
    ev: &mut Evaluator,
    value: &Value,
    at: Span,
    copy: bool,
    context: &mut Context,
    text: &mut Vec<u8>,
) -> Result<()> {
    Writer { at, copy, context, text, depth: 0 }.value(ev, value)
}

struct Writer<'w> {
    at: Span,
    copy: bool,
    context: &'w mut Context,
    text: &'w mut Vec<u8>,
    depth: usize,
}

impl Writer<'_> {
    fn string(&mut self, text: &[u8]) -> Result<()> {
        let at = self.at;
        json::write_string(self.text, text)
            .map_err(|error| Error::new(ErrorKind::Argument { message: error.to_string() }, at))
    }

    fn value(&mut self, ev: &mut Evaluator, value: &Value) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Error::new(ErrorKind::CallDepth, self.at));
        }
        let value = ev.force(value, self.at)?;
        match &value {
            Value::Null => self.text.extend_from_slice(b"null"),
            Value::Bool(true) => self.text.extend_from_slice(b"true"),
            Value::Bool(false) => self.text.extend_from_slice(b"false"),
            Value::Int(int) => self.text.extend_from_slice(int.to_string().as_bytes()),
            Value::Float(float) => json::write_float(self.text, *float),
            Value::String(text) => {
                text.context().into_iter().for_each(|of| self.context.extend(of));
                self.string(text.bytes())?;
            }
            Value::Path(_) => {
                let coerce = Coerce { more: false, copy_to_store: self.copy };
                let text = ev.coerce_to_string(&value, self.at, coerce, self.context)?;
                self.string(text.bytes())?;
            }
            Value::List(list) => {
                self.text.push(b'[');
                for (index, element) in list.iter().enumerate() {
                    if index > 0 {
                        self.text.push(b',');
                    }
                    self.value(ev, element).context(self.at, || {
                        format!("while evaluating list element at index {index}")
                    })?;
                }
                self.text.push(b']');
            }
            Value::Attrs(attrs) => self.attrs(ev, &value, attrs)?,
            Value::Closure(_) | Value::Builtin(_) | Value::Partial(_) | Value::Thunk(_) => {
                let message = format!("cannot convert {} to JSON", value.kind());
                return Err(Error::new(ErrorKind::Argument { message }, self.at));
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn attrs(&mut self, ev: &mut Evaluator, value: &Value, attrs: &Attrs) -> Result<()> {
        // A set that knows how to be a string is one; what stands for a store path is that path.
        if ev.symbols.find("__toString").is_some_and(|name| attrs.contains(name)) {
            // Nix does not copy a path that `__toString` returned, and results depend on it.
            let coerce = Coerce::PLAIN;
            let text = ev.coerce_to_string(value, self.at, coerce, self.context)?;
            return self.string(text.bytes());
        }
        if let Some(path) = ev.symbols.find("outPath").and_then(|name| attrs.value(name)) {
            return self.value(ev, path);
        }
        self.text.push(b'{');
        let sorted: Vec<Attr> = attrs.sorted(&ev.symbols).into_iter().cloned().collect();
        for (index, attr) in sorted.iter().enumerate() {
            if index > 0 {
                self.text.push(b',');
            }
            write_key(self.text, ev.symbols.name(attr.name), self.at)?;
            self.value(ev, &attr.value).context(attr.span(), || {
                format!("while evaluating attribute `{}`", ev.symbols.text(attr.name))
            })?;
        }
        self.text.push(b'}');
        Ok(())
    }
}
