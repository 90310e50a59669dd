//! Numbers: arithmetic, bits, rounding.
//!
//! Integers have 64 bits and an overflow is an error; one float makes the whole operation one of
//! floats.

use super::{Builtin, Scope};
use crate::lang::error::{Error, ErrorKind, Result};
use crate::lang::eval::Evaluator;
use crate::lang::source::Span;
use crate::lang::value::Value;

pub(super) const BUILTINS: &[Builtin] = &[
    Builtin {
        name: "add",
        arity: 2,
        parameters: &["a", "b"],
        scope: Scope::Prefixed,
        run: add,
        about: "Returns the sum of two numbers.",
    },
    Builtin {
        name: "sub",
        arity: 2,
        parameters: &["a", "b"],
        scope: Scope::Prefixed,
        run: sub,
        about: "Returns the difference of two numbers.",
    },
    Builtin {
        name: "mul",
        arity: 2,
        parameters: &["a", "b"],
        scope: Scope::Prefixed,
        run: mul,
        about: "Returns the product of two numbers.",
    },
    Builtin {
        name: "div",
        arity: 2,
        parameters: &["a", "b"],
        scope: Scope::Prefixed,
        run: div,
        about: "Returns the quotient of two numbers, towards zero if both are integers.",
    },
    Builtin {
        name: "lessThan",
        arity: 2,
        parameters: &["a", "b"],
        scope: Scope::Prefixed,
        run: less_than,
        about: "Returns whether the first of two values comes before the second.",
    },
    Builtin {
        name: "bitAnd",
        arity: 2,
        parameters: &["a", "b"],
        scope: Scope::Prefixed,
        run: |ev, args, at| bits(ev, args, at, |a, b| a & b),
        about: "Returns the bits that two integers share.",
    },
    Builtin {
        name: "bitOr",
        arity: 2,
        parameters: &["a", "b"],
        scope: Scope::Prefixed,
        run: |ev, args, at| bits(ev, args, at, |a, b| a | b),
        about: "Returns the bits that either of two integers has.",
    },
    Builtin {
        name: "bitXor",
        arity: 2,
        parameters: &["a", "b"],
        scope: Scope::Prefixed,
        run: |ev, args, at| bits(ev, args, at, |a, b| a ^ b),
        about: "Returns the bits in which two integers differ.",
    },
    Builtin {
        name: "ceil",
        arity: 1,
        parameters: &["number"],
        scope: Scope::Prefixed,
        run: |ev, args, at| round(ev, &args[0], at, f64::ceil),
        about: "Returns the smallest integer that is not below a number.",
    },
    Builtin {
        name: "floor",
        arity: 1,
        parameters: &["number"],
        scope: Scope::Prefixed,
        run: |ev, args, at| round(ev, &args[0], at, f64::floor),
        about: "Returns the largest integer that is not above a number.",
    },
];

/// Two operands: integers, or floats if one of them is.
enum Operands {
    Ints(i64, i64),
    Floats(f64, f64),
}

fn operands(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Operands> {
    let a = ev.force(&args[0], at)?;
    let b = ev.force(&args[1], at)?;
    if let (Value::Int(a), Value::Int(b)) = (&a, &b) {
        return Ok(Operands::Ints(*a, *b));
    }
    // Nix looks at the first operand first unless it is an integer and the second a float, and both
    // errors say the same.
    Ok(Operands::Floats(ev.force_float(&a, at)?, ev.force_float(&b, at)?))
}

fn checked(result: Option<i64>, at: Span, operation: impl FnOnce() -> String) -> Result<Value> {
    let overflow = || Error::new(ErrorKind::IntegerOverflow { operation: operation() }, at);
    result.map(Value::Int).ok_or_else(overflow)
}

fn add(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    match operands(ev, args, at)? {
        Operands::Ints(a, b) => checked(a.checked_add(b), at, || format!("adding {a} + {b}")),
        Operands::Floats(a, b) => Ok(Value::Float(a + b)),
    }
}

fn sub(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    match operands(ev, args, at)? {
        Operands::Ints(a, b) => checked(a.checked_sub(b), at, || format!("subtracting {a} - {b}")),
        Operands::Floats(a, b) => Ok(Value::Float(a - b)),
    }
}

fn mul(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    match operands(ev, args, at)? {
        Operands::Ints(a, b) => checked(a.checked_mul(b), at, || format!("multiplying {a} * {b}")),
        Operands::Floats(a, b) => Ok(Value::Float(a * b)),
    }
}

fn div(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    // Nix looks at the divisor before it looks at the dividend's type.
    ev.force(&args[0], at)?;
    if ev.force_float(&args[1], at)? == 0.0 {
        return Err(Error::new(ErrorKind::DivisionByZero, at));
    }
    match operands(ev, args, at)? {
        Operands::Ints(_, 0) => Err(Error::new(ErrorKind::DivisionByZero, at)),
        Operands::Ints(a, b) => checked(a.checked_div(b), at, || format!("dividing {a} / {b}")),
        Operands::Floats(_, 0.0) => Err(Error::new(ErrorKind::DivisionByZero, at)),
        Operands::Floats(a, b) => Ok(Value::Float(a / b)),
    }
}

pub(super) fn less_than(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    Ok(Value::Bool(ev.less(&args[0], &args[1], at)?))
}

fn bits(
    ev: &mut Evaluator,
    args: &[Value],
    at: Span,
    operation: fn(i64, i64) -> i64,
) -> Result<Value> {
    let a = ev.force_int(&args[0], at)?;
    let b = ev.force_int(&args[1], at)?;
    Ok(Value::Int(operation(a, b)))
}

fn round(ev: &mut Evaluator, number: &Value, at: Span, round: fn(f64) -> f64) -> Result<Value> {
    /// The first float above all integers.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    let number = ev.force(number, at)?;
    let float = ev.number(&number, at)?;
    let rounded = round(float);
    // An integer near the limit becomes a float out of range on the way, and Nix refuses it as well.
    if !(-LIMIT..LIMIT).contains(&rounded) {
        let message = format!("`{float}` is not in the range of integers");
        return Err(Error::new(ErrorKind::Argument { message }, at));
    }
    let rounded = rounded as i64;
    // Not every integer is a float. Nix rounded such integers silently, and refuses them since 2.34.
    if let Value::Int(exact) = number
        && exact != rounded
    {
        let message = format!("`{exact}` has no exact float: it would be rounded to `{rounded}`");
        return Err(Error::new(ErrorKind::Argument { message }, at));
    }
    Ok(Value::Int(rounded))
}
