//! The operators that need both operands, and strings with interpolations.

use std::rc::Rc;

use super::Evaluator;
use super::coerce::Coerce;
use super::env::Env;
use crate::lang::error::{Error, ErrorKind, Result};
use crate::lang::resolve::{Binary, BinaryOperator, Join};
use crate::lang::source::Span;
use crate::lang::value::{Context, NixPath, NixString, Value};

impl Evaluator {
    /// Applies an operator to two forced operands.
    pub(super) fn operate(
        &mut self,
        binary: &'static Binary,
        left: Value,
        right: Value,
    ) -> Result<Value> {
        let span = binary.span;
        match binary.operator {
            BinaryOperator::Equal => self.equal(&left, &right, span).map(Value::Bool),
            BinaryOperator::NotEqual => {
                self.equal(&left, &right, span).map(|equal| Value::Bool(!equal))
            }
            BinaryOperator::Less => self.less(&left, &right, span).map(Value::Bool),
            BinaryOperator::Greater => self.less(&right, &left, span).map(Value::Bool),
            BinaryOperator::LessOrEqual => {
                self.less(&right, &left, span).map(|less| Value::Bool(!less))
            }
            BinaryOperator::GreaterOrEqual => {
                self.less(&left, &right, span).map(|less| Value::Bool(!less))
            }
            BinaryOperator::Update => {
                let left = self.force_attrs(&left, span)?;
                let right = self.force_attrs(&right, binary.right_span)?;
                Ok(if left.is_empty() {
                    Value::Attrs(right)
                } else if right.is_empty() {
                    Value::Attrs(left)
                } else {
                    Value::attrs(left.update(&right))
                })
            }
            BinaryOperator::Concat => {
                let left = self.force_list(&left, span)?;
                let right = self.force_list(&right, binary.right_span)?;
                Ok(concat(left, right))
            }
            BinaryOperator::Add => self.add(left, right, span, binary.right_span),
            BinaryOperator::Subtract
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::And
            | BinaryOperator::Or
            | BinaryOperator::Implies => self.arithmetic(binary.operator, &left, &right, span),
        }
    }

    /// Subtracts, multiplies or divides two numbers, as the operators and the builtins do.
    pub fn arithmetic(
        &mut self,
        operator: BinaryOperator,
        left: &Value,
        right: &Value,
        at: Span,
    ) -> Result<Value> {
        let left = self.force_ref(left, at)?;
        let right = self.force_ref(right, at)?;
        if let (Value::Int(left), Value::Int(right)) = (left, right) {
            let (result, sign) = match operator {
                BinaryOperator::Add => (left.checked_add(*right), '+'),
                BinaryOperator::Subtract => (left.checked_sub(*right), '-'),
                BinaryOperator::Multiply => (left.checked_mul(*right), '*'),
                BinaryOperator::Divide if *right == 0 => {
                    return Err(Error::new(ErrorKind::DivisionByZero, at));
                }
                BinaryOperator::Divide => (left.checked_div(*right), '/'),
                BinaryOperator::Implies
                | BinaryOperator::Or
                | BinaryOperator::And
                | BinaryOperator::Equal
                | BinaryOperator::NotEqual
                | BinaryOperator::Less
                | BinaryOperator::LessOrEqual
                | BinaryOperator::Greater
                | BinaryOperator::GreaterOrEqual
                | BinaryOperator::Update
                | BinaryOperator::Concat => return Err(not_arithmetic(at)),
            };
            return result.map(Value::Int).ok_or_else(|| {
                let operation = format!("{left} {sign} {right}");
                Error::new(ErrorKind::IntegerOverflow { operation }, at)
            });
        }
        // The divisor is looked at first.
        let right = self.number(right, at)?;
        if operator == BinaryOperator::Divide && right == 0.0 {
            return Err(Error::new(ErrorKind::DivisionByZero, at));
        }
        let left = self.number(left, at)?;
        Ok(Value::Float(match operator {
            BinaryOperator::Add => left + right,
            BinaryOperator::Subtract => left - right,
            BinaryOperator::Multiply => left * right,
            BinaryOperator::Divide => left / right,
            BinaryOperator::Implies
            | BinaryOperator::Or
            | BinaryOperator::And
            | BinaryOperator::Equal
            | BinaryOperator::NotEqual
            | BinaryOperator::Less
            | BinaryOperator::LessOrEqual
            | BinaryOperator::Greater
            | BinaryOperator::GreaterOrEqual
            | BinaryOperator::Update
            | BinaryOperator::Concat => return Err(not_arithmetic(at)),
        }))
    }

    /// Returns a forced number of either kind.
    pub(crate) fn number(&self, value: &Value, at: Span) -> Result<f64> {
        if let Value::Int(number) = value {
            return Ok(*number as f64);
        }
        if let Value::Float(number) = value {
            return Ok(*number);
        }
        Err(self.type_error("a number", value, at))
    }

    /// Adds numbers, or joins strings and paths.
    fn add(&mut self, left: Value, right: Value, span: Span, right_span: Span) -> Result<Value> {
        if let (Value::Int(a), Value::Int(b)) = (&left, &right)
            && let Some(sum) = a.checked_add(*b)
        {
            return Ok(Value::Int(sum));
        }
        let is_number = |value: &Value| matches!(value, Value::Int(_) | Value::Float(_));
        if is_number(&left) {
            if is_number(&right) {
                return self.arithmetic(BinaryOperator::Add, &left, &right, span);
            }
            let expected = format!("a number to be added to {}", left.kind());
            return Err(self.type_error(&expected, &right, right_span));
        }
        if let (Value::String(a), Value::String(b)) = (&left, &right)
            && a.context().is_none()
        {
            let bytes = [a.bytes(), b.bytes()].concat();
            let string = NixString::from_vec(bytes, b.shared_context());
            return Ok(Value::String(Rc::new(string)));
        }
        let mut joined = Joined::new(&left, false);
        self.join_part(&mut joined, &left, span)?;
        self.join_part(&mut joined, &right, right_span)?;
        joined.finish(span)
    }

    /// Adds an operand to what a row of `+` has come to so far.
    pub(super) fn add_to(&mut self, sum: Sum, right: Value, binary: &Binary) -> Result<Sum> {
        let mut joined = match sum {
            Sum::Text(joined) => joined,
            Sum::Value(left @ Value::String(_)) => {
                let mut joined = Joined::new(&left, false);
                self.join_part(&mut joined, &left, binary.span)?;
                joined
            }
            // Numbers need no room, and paths are made canonical after each operand.
            Sum::Value(left) => {
                return self.add(left, right, binary.span, binary.right_span).map(Sum::Value);
            }
        };
        self.join_part(&mut joined, &right, binary.right_span)?;
        Ok(Sum::Text(joined))
    }

    /// Evaluates a string with interpolations, or a path with them.
    pub(super) fn join(&mut self, join: &'static Join, env: &Rc<Env>) -> Result<Value> {
        let mut joined: Option<Joined> = None;
        let mut first_span = Span::NONE;
        for (code, span) in &join.parts {
            // What is evaluated here must not be forced before the part in front of it.
            let value = self.eval(code, env)?;
            let joined = joined.get_or_insert_with(|| {
                first_span = *span;
                Joined::new(&value, join.is_string)
            });
            self.join_part(joined, &value, *span)?;
        }
        match joined {
            Some(joined) => joined.finish(first_span),
            None => Ok(Value::string(b"")),
        }
    }

    fn join_part(&mut self, joined: &mut Joined, value: &Value, span: Span) -> Result<()> {
        if let (Value::Path(path), true) = (value, joined.is_first && joined.is_path) {
            // As it is written: it may end with a slash that the next part needs.
            joined.bytes.extend_from_slice(path.bytes());
        } else {
            let options = Coerce { more: false, copy_to_store: joined.copies };
            let part = self.coerce_to_string(value, span, options, &mut joined.context)?;
            if joined.bytes.is_empty() {
                joined.bytes.reserve(part.bytes().len() + 32);
            }
            joined.bytes.extend_from_slice(part.bytes());
        }
        joined.is_first = false;
        Ok(())
    }
}

/// What a row of `+` has come to so far.
pub(super) enum Sum {
    /// A value that is no string.
    Value(Value),
    /// A string that may grow.
    Text(Joined),
}

impl Sum {
    pub(super) fn finish(self, span: Span) -> Result<Value> {
        match self {
            Sum::Value(value) => Ok(value),
            Sum::Text(joined) => joined.finish(span),
        }
    }
}

/// Parts of a string or path, joined so far.
pub(super) struct Joined {
    bytes: Vec<u8>,
    context: Context,
    is_first: bool,
    /// Whether the result is a path, because the first part is one.
    is_path: bool,
    /// Whether paths are copied to the store.
    copies: bool,
}

impl Joined {
    fn new(first: &Value, is_string: bool) -> Self {
        Joined {
            bytes: Vec::new(),
            context: Context::new(),
            is_first: true,
            is_path: !is_string && matches!(first, Value::Path(_)),
            copies: is_string || matches!(first, Value::String(_)),
        }
    }

    fn finish(self, span: Span) -> Result<Value> {
        if !self.is_path {
            let string = NixString::from_vec(self.bytes, self.context);
            return Ok(Value::String(Rc::new(string)));
        }
        if !self.context.is_empty() {
            let message =
                "a string that refers to a store path cannot be appended to a path".to_owned();
            return Err(Error::new(ErrorKind::Argument { message }, span));
        }
        Ok(Value::Path(Rc::new(NixPath::canonical(&self.bytes))))
    }
}

/// Joins two lists, reusing the first if nobody else has it.
fn concat(mut left: Rc<Vec<Value>>, right: Rc<Vec<Value>>) -> Value {
    if left.is_empty() {
        return Value::List(right);
    }
    if right.is_empty() {
        return Value::List(left);
    }
    if let Some(unshared) = Rc::get_mut(&mut left) {
        unshared.extend_from_slice(&right);
        return Value::List(left);
    }
    let mut elements = Vec::with_capacity(left.len() + right.len());
    elements.extend_from_slice(&left);
    elements.extend_from_slice(&right);
    Value::list(elements)
}

fn not_arithmetic(at: Span) -> Error {
    Error::new(ErrorKind::Bug { what: "not an arithmetic operator".to_owned() }, at)
}
