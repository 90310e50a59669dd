//! Flake references: as texts and as sets.

use super::{Builtin, Scope, argument};
use crate::lang::error::Result;
use crate::lang::eval::Evaluator;
use crate::lang::flake_reference::{self, Attribute, Attributes};
use crate::lang::source::Span;
use crate::lang::value::{AttrsBuilder, Value};

pub(super) const BUILTINS: &[Builtin] = &[
    Builtin {
        name: "flakeRefToString",
        arity: 1,
        parameters: &["attributes"],
        scope: Scope::Prefixed,
        run: to_text,
        about: "Writes a flake reference as a string.",
    },
    Builtin {
        name: "parseFlakeRef",
        arity: 1,
        parameters: &["reference"],
        scope: Scope::Prefixed,
        run: parse,
        about: "Returns the parts of a flake reference as a set.",
    },
];

fn parse(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let text = ev.force_plain_string(&args[0], at)?;
    let attributes = flake_reference::parse(&text.text());
    let attributes = attributes.map_err(|error| argument(at, error.to_string()))?;
    let mut attrs = AttrsBuilder::with_capacity(attributes.len());
    for (name, value) in attributes {
        let value = match value {
            Attribute::String(text) => Value::string(text),
            Attribute::Int(number) => Value::Int(i64::try_from(number).unwrap_or(i64::MAX)),
            Attribute::Bool(value) => Value::Bool(value),
        };
        attrs.push(ev.symbols.intern(name), value);
    }
    Ok(Value::attrs(attrs.finish()))
}

fn to_text(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let attrs = ev.force_attrs(&args[0], at)?;
    let mut attributes = Attributes::new();
    for attr in attrs.iter() {
        let value = ev.force(&attr.value, at)?;
        let name = ev.symbols.text(attr.name);
        let value = part(ev, &name, &value, at)?;
        attributes.insert(name, value);
    }
    let text = flake_reference::print(&attributes);
    Ok(Value::string(text.map_err(|error| argument(at, error.to_string()))?))
}

/// Converts one part of a flake reference.
pub(super) fn part(ev: &mut Evaluator, name: &str, value: &Value, at: Span) -> Result<Attribute> {
    match value {
        Value::String(text) => Ok(Attribute::String(text.text().into_owned())),
        Value::Bool(value) => Ok(Attribute::Bool(*value)),
        Value::Int(number) => {
            let negative = format!("flake reference attribute `{name}` is negative: {number}");
            Ok(Attribute::Int(u64::try_from(*number).ok().ok_or_else(|| argument(at, negative))?))
        }
        Value::Null
        | Value::Float(_)
        | Value::Path(_)
        | Value::List(_)
        | Value::Attrs(_)
        | Value::Closure(_)
        | Value::Builtin(_)
        | Value::Partial(_)
        | Value::Thunk(_) => Err(ev.type_error("a string, a Boolean or an integer", value, at)),
    }
}
