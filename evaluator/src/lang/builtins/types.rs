//! What a value is.

use super::{Builtin, Scope};
use crate::lang::error::Result;
use crate::lang::eval::Evaluator;
use crate::lang::source::Span;
use crate::lang::value::{Attr, AttrsBuilder, Value};

pub(super) const BUILTINS: &[Builtin] = &[
    Builtin {
        name: "functionArgs",
        arity: 1,
        parameters: &["f"],
        scope: Scope::Prefixed,
        run: function_args,
        about: "Returns the named arguments of a function, each with whether it has a default.",
    },
    Builtin {
        name: "isAttrs",
        arity: 1,
        parameters: &["x"],
        scope: Scope::Prefixed,
        run: |ev, args, at| is(ev, args, at, "set"),
        about: "Returns whether a value is an attribute set.",
    },
    Builtin {
        name: "isBool",
        arity: 1,
        parameters: &["x"],
        scope: Scope::Prefixed,
        run: |ev, args, at| is(ev, args, at, "bool"),
        about: "Returns whether a value is a Boolean.",
    },
    Builtin {
        name: "isFloat",
        arity: 1,
        parameters: &["x"],
        scope: Scope::Prefixed,
        run: |ev, args, at| is(ev, args, at, "float"),
        about: "Returns whether a value is a float.",
    },
    Builtin {
        name: "isFunction",
        arity: 1,
        parameters: &["x"],
        scope: Scope::Prefixed,
        run: |ev, args, at| is(ev, args, at, "lambda"),
        about: "Returns whether a value is a function.",
    },
    Builtin {
        name: "isInt",
        arity: 1,
        parameters: &["x"],
        scope: Scope::Prefixed,
        run: |ev, args, at| is(ev, args, at, "int"),
        about: "Returns whether a value is an integer.",
    },
    Builtin {
        name: "isList",
        arity: 1,
        parameters: &["x"],
        scope: Scope::Prefixed,
        run: |ev, args, at| is(ev, args, at, "list"),
        about: "Returns whether a value is a list.",
    },
    Builtin {
        name: "isNull",
        arity: 1,
        parameters: &["x"],
        scope: Scope::Global,
        run: |ev, args, at| is(ev, args, at, "null"),
        about: "Returns whether a value is null.",
    },
    Builtin {
        name: "isPath",
        arity: 1,
        parameters: &["x"],
        scope: Scope::Prefixed,
        run: |ev, args, at| is(ev, args, at, "path"),
        about: "Returns whether a value is a path.",
    },
    Builtin {
        name: "isString",
        arity: 1,
        parameters: &["x"],
        scope: Scope::Prefixed,
        run: |ev, args, at| is(ev, args, at, "string"),
        about: "Returns whether a value is a string.",
    },
    Builtin {
        name: "typeOf",
        arity: 1,
        parameters: &["x"],
        scope: Scope::Prefixed,
        run: type_of,
        about: "Returns the name of a value's type.",
    },
];

/// Returns the name of the type of a value that has been evaluated.
fn name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Float(_) => "float",
        Value::String(_) => "string",
        Value::Path(_) => "path",
        Value::List(_) => "list",
        Value::Attrs(_) => "set",
        Value::Closure(_) | Value::Builtin(_) | Value::Partial(_) => "lambda",
        Value::Thunk(_) => "thunk",
    }
}

fn is(ev: &mut Evaluator, args: &[Value], at: Span, wanted: &str) -> Result<Value> {
    Ok(Value::Bool(name(&ev.force(&args[0], at)?) == wanted))
}

fn type_of(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    Ok(Value::string(name(&ev.force(&args[0], at)?)))
}

pub(super) fn function_args(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let mut attrs = AttrsBuilder::default();
    match ev.force(&args[0], at)? {
        Value::Closure(closure) => {
            for formal in closure.lambda.formals.iter().flat_map(|formals| &formals.formals) {
                let value = Value::Bool(formal.default.is_some());
                attrs.push_attr(Attr { name: formal.name, position: formal.span.start, value });
            }
        }
        Value::Builtin(_) | Value::Partial(_) => {}
        other @ (Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::String(_)
        | Value::Path(_)
        | Value::List(_)
        | Value::Attrs(_)
        | Value::Thunk(_)) => return Err(ev.type_error("a function", &other, at)),
    }
    Ok(Value::attrs(attrs.finish()))
}
