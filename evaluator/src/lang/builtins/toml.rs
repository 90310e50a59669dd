//! TOML: reading values.

use super::{Builtin, Scope};
use crate::lang::error::{Error, ErrorKind, Result};
use crate::lang::eval::Evaluator;
use crate::lang::source::Span;
use crate::lang::toml::{self, Dates, Toml};
use crate::lang::value::{AttrsBuilder, Value};

pub(super) const BUILTINS: &[Builtin] = &[Builtin {
    name: "fromTOML",
    arity: 1,
    parameters: &["text"],
    scope: Scope::Global,
    run: from_toml,
    about: "Reads a TOML text.",
}];

fn from_toml(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let text = ev.force_plain_string(&args[0], at)?;
    let wrong = |message| Error::new(ErrorKind::Format { format: "TOML", message }, at);
    let text = std::str::from_utf8(text.bytes()).map_err(|error| wrong(error.to_string()))?;
    let dates = if ev.options.settings.toml_timestamps { Dates::Read } else { Dates::Refused };
    let document = toml::parse(text, dates).map_err(|error| wrong(error.to_string()))?;
    value(ev, document).ok_or_else(|| wrong("a string contains a zero byte".to_owned()))
}

/// Makes a value of a part of a document; nothing if a string in it cannot be one of Nix's.
fn value(ev: &mut Evaluator, toml: Toml) -> Option<Value> {
    Some(match toml {
        Toml::String(text) if text.contains('\0') => return None,
        Toml::String(text) => Value::string(text),
        Toml::Int(value) => Value::Int(value),
        Toml::Float(value) => Value::Float(value),
        Toml::Bool(value) => Value::Bool(value),
        Toml::Date(date) => {
            let mut attrs = AttrsBuilder::with_capacity(2);
            attrs.push(ev.symbols.intern("_type"), Value::string("timestamp"));
            attrs.push(ev.symbols.intern("value"), Value::string(date));
            Value::attrs(attrs.finish())
        }
        Toml::Array(elements) => {
            let elements = elements.into_iter().map(|element| value(ev, element));
            Value::list(elements.collect::<Option<_>>()?)
        }
        Toml::Table(entries) => {
            let mut attrs = AttrsBuilder::with_capacity(entries.len());
            for (key, entry) in entries {
                if key.contains('\0') {
                    return None;
                }
                let name = ev.symbols.intern(key);
                attrs.push(name, value(ev, entry)?);
            }
            Value::attrs(attrs.finish())
        }
    })
}
