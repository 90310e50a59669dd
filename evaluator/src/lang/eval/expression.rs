//! Walks over resolved code.
//!
//! [`Evaluator::eval`] gives the value of an expression now; [`delay`] gives a value that is
//! evaluated later, without a thunk where none is needed.

use std::rc::Rc;

use super::Evaluator;
use super::env::{Closure, Env};
use super::operators::Sum;
use crate::lang::error::{Error, ErrorKind, Result, suggest};
use crate::lang::resolve::{Binary, BinaryOperator, Code, Name, Select, WithVariable};
use crate::lang::source::{Origin, Span};
use crate::lang::value::{AttrsBuilder, Thunk, Value};

/// Returns the value of an expression for later.
pub(super) fn delay(code: &'static Code, env: &Rc<Env>) -> Value {
    match code {
        Code::Const(value) => value.clone(),
        Code::Variable { depth, slot, .. } => {
            let value = env.up(*depth).and_then(|env| env.get(*slot as usize));
            // A slot that is not set yet belongs to a scope that is just being made.
            value.cloned().unwrap_or_else(|| thunk(code, env))
        }
        Code::Lambda(lambda) => Value::Closure(Rc::new(Closure { lambda, env: Rc::clone(env) })),
        Code::WithVariable(variable) => {
            with_value(variable, env).and_then(plain).unwrap_or_else(|| thunk(code, env))
        }
        Code::Select(select) => {
            selected(select, env).and_then(plain).unwrap_or_else(|| thunk(code, env))
        }
        Code::HasAttr(_)
        | Code::List(_)
        | Code::Attrs(_)
        | Code::Let(_)
        | Code::Call(_)
        | Code::With(_)
        | Code::If(_)
        | Code::Assert(_)
        | Code::Not(_)
        | Code::Binary(_)
        | Code::Join(_)
        | Code::Position(_) => thunk(code, env),
    }
}

/// Returns a value in place of a thunk that would have the same one, if nobody can tell the difference.
///
/// It must be evaluated. Functions are equal to themselves only as far as they come from one thunk, so
/// they need theirs.
fn plain(value: &Value) -> Option<Value> {
    let value = value.evaluated()?;
    let is_function = matches!(value, Value::Closure(_) | Value::Builtin(_) | Value::Partial(_));
    (!is_function).then(|| value.clone())
}

/// Returns what an expression selects, if all that it goes through is evaluated already.
///
/// Finding it now costs less than a thunk that finds it later. Nothing is evaluated, so nothing can
/// go wrong.
fn selected<'e>(select: &'static Select, env: &'e Env) -> Option<&'e Value> {
    let mut value = if let Code::Variable { depth, slot, .. } = &select.subject {
        env.up(*depth)?.settled(*slot as usize)?
    } else if let Code::WithVariable(variable) = &select.subject {
        with_value(variable, env)?
    } else {
        return None;
    };
    for name in &select.path {
        let (Name::Static(name, _), Value::Attrs(attrs)) = (name, value.evaluated()?) else {
            return None;
        };
        value = attrs.value(*name)?;
    }
    Some(value)
}

/// Returns the value of a variable of a `with`, if the sets that may have it are evaluated already.
fn with_value<'e>(variable: &'static WithVariable, env: &'e Env) -> Option<&'e Value> {
    for depth in &variable.depths {
        let Value::Attrs(attrs) = env.up(*depth)?.get(0)?.evaluated()? else { return None };
        if let Some(value) = attrs.value(variable.name) {
            return Some(value);
        }
    }
    None
}

/// Makes a thunk of an expression, whatever it is.
pub(super) fn thunk(code: &'static Code, env: &Rc<Env>) -> Value {
    Value::Thunk(Rc::new(Thunk::code(code, Rc::clone(env))))
}

/// Returns an expression if it is a sum itself.
fn sum(code: &Code) -> Option<&Binary> {
    let Code::Binary(binary) = code else { return None };
    (binary.operator == BinaryOperator::Add).then_some(binary)
}

impl Evaluator {
    /// Returns the value of an expression; never a thunk.
    pub(super) fn eval(&mut self, code: &'static Code, env: &Rc<Env>) -> Result<Value> {
        match code {
            Code::Const(value) => self.force(value, Span::NONE),
            Code::Variable { depth, slot, span } => {
                let value = env.up(*depth).and_then(|env| env.get(*slot as usize));
                match value {
                    Some(Value::Thunk(thunk)) => self.force_thunk(thunk, *span),
                    Some(value) => Ok(value.clone()),
                    None => Err(Error::new(ErrorKind::InfiniteRecursion, *span)),
                }
            }
            Code::WithVariable(variable) => {
                let value = self.with_variable(variable, env)?;
                self.force(&value, variable.span)
            }
            Code::Select(select) => self.select(select, env),
            Code::HasAttr(has) => self.has_attr(has, env).map(Value::Bool),
            Code::List(elements) => {
                Ok(Value::list(elements.iter().map(|element| delay(element, env)).collect()))
            }
            Code::Attrs(set) => self.attr_set(set, env),
            Code::Let(code) => {
                let inner = self.let_env(&code.set, env);
                self.eval(&code.body, &inner)
            }
            Code::Lambda(lambda) => {
                Ok(Value::Closure(Rc::new(Closure { lambda, env: Rc::clone(env) })))
            }
            Code::Call(call) => self.eval_call(call, env),
            Code::With(with) => {
                let attrs = delay(&with.attrs, env);
                let inner = Rc::new(Env::one(Some(Rc::clone(env)), attrs));
                self.eval(&with.body, &inner)
            }
            Code::If(branches) => {
                let branch = if self.eval_bool(&branches.condition, env, branches.span)? {
                    &branches.yes
                } else {
                    &branches.no
                };
                self.eval(branch, env)
            }
            Code::Assert(assert) => {
                if !self.eval_bool(&assert.condition, env, assert.span)? {
                    return Err(self.assertion_failed(assert.span));
                }
                self.eval(&assert.body, env)
            }
            Code::Not(operand) => {
                let (operand, span) = operand.as_ref();
                Ok(Value::Bool(!self.eval_bool(operand, env, *span)?))
            }
            Code::Binary(binary) => self.eval_binary(binary, env),
            Code::Join(join) => self.join(join, env),
            Code::Position(span) => Ok(self.position(*span)),
        }
    }

    fn eval_binary(&mut self, binary: &'static Binary, env: &Rc<Env>) -> Result<Value> {
        // A row of operators is as deep as it is long.
        self.check_stack(binary.span)?;
        match binary.operator {
            BinaryOperator::And => {
                let result = self.eval_bool(&binary.left, env, binary.span)?
                    && self.eval_bool(&binary.right, env, binary.right_span)?;
                Ok(Value::Bool(result))
            }
            BinaryOperator::Or => {
                let result = self.eval_bool(&binary.left, env, binary.span)?
                    || self.eval_bool(&binary.right, env, binary.right_span)?;
                Ok(Value::Bool(result))
            }
            BinaryOperator::Implies => {
                let result = !self.eval_bool(&binary.left, env, binary.span)?
                    || self.eval_bool(&binary.right, env, binary.right_span)?;
                Ok(Value::Bool(result))
            }
            BinaryOperator::Add if sum(&binary.left).is_some() => {
                self.sum(binary, env)?.finish(binary.span)
            }
            BinaryOperator::Equal
            | BinaryOperator::NotEqual
            | BinaryOperator::Less
            | BinaryOperator::LessOrEqual
            | BinaryOperator::Greater
            | BinaryOperator::GreaterOrEqual
            | BinaryOperator::Update
            | BinaryOperator::Add
            | BinaryOperator::Subtract
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Concat => {
                let left = self.eval(&binary.left, env)?;
                let right = self.eval(&binary.right, env)?;
                self.operate(binary, left, right)
            }
        }
    }

    /// Adds up the operands of a row of `+`; strings grow in one place instead of being copied anew
    /// for each operand.
    fn sum(&mut self, binary: &'static Binary, env: &Rc<Env>) -> Result<Sum> {
        self.check_stack(binary.span)?;
        let left = if let Some(inner) = sum(&binary.left) {
            self.sum(inner, env)?
        } else {
            Sum::Value(self.eval(&binary.left, env)?)
        };
        let right = self.eval(&binary.right, env)?;
        self.add_to(left, right, binary)
    }

    fn eval_bool(&mut self, code: &'static Code, env: &Rc<Env>, span: Span) -> Result<bool> {
        let value = self.eval(code, env)?;
        if let Value::Bool(value) = value {
            return Ok(value);
        }
        Err(self.type_error("a Boolean", &value, span))
    }

    fn assertion_failed(&self, span: Span) -> Error {
        let assertion = self.sources.source(span).and_then(|source| {
            let start = (span.start - source.base) as usize;
            source.text.get(start..(span.end - source.base) as usize)
        });
        let assertion = String::from_utf8_lossy(assertion.unwrap_or_default()).into_owned();
        Error::new(ErrorKind::Assertion { assertion }, span)
    }

    /// Finds a variable in the sets of the enclosing `with`s.
    fn with_variable(&mut self, variable: &'static WithVariable, env: &Rc<Env>) -> Result<Value> {
        for depth in &variable.depths {
            let Some(set) = env.up(*depth).and_then(|env| env.get(0)) else { continue };
            let Value::Attrs(attrs) = self.force_ref(set, variable.span)? else {
                return Err(self.type_error("a set", set, variable.span));
            };
            if let Some(value) = attrs.value(variable.name) {
                return Ok(value.clone());
            }
        }
        let mut known = Vec::new();
        for depth in &variable.depths {
            let set = env.up(*depth).and_then(|env| env.get(0)).and_then(Value::evaluated);
            if let Some(Value::Attrs(attrs)) = set {
                known.extend(attrs.iter().map(|attr| attr.name));
            }
        }
        let known = known.iter().map(|name| self.symbols.name(*name));
        let suggestion = suggest(self.symbols.name(variable.name), known);
        let name = self.symbols.text(variable.name);
        Err(Error::new(ErrorKind::UndefinedVariable { name, suggestion }, variable.span))
    }

    fn select(&mut self, select: &'static Select, env: &Rc<Env>) -> Result<Value> {
        let mut value = self.eval(&select.subject, env)?;
        for (index, name) in select.path.iter().enumerate() {
            let (name, span) = self.name(name, env)?;
            let found = if let Value::Attrs(attrs) = &value { attrs.get(name) } else { None };
            let Some(attr) = found else {
                return match (&select.default, &value) {
                    (Some(default), _) => self.eval(default, env),
                    (None, Value::Attrs(attrs)) => Err(self.missing_attribute(attrs, name, span)),
                    (None, other) => {
                        let selecting = self.symbols.text(name);
                        Err(self
                            .type_error("a set", other, select.span)
                            .context(format!("while selecting the attribute `{selecting}`"), span))
                    }
                };
            };
            let selected = match self.force_ref(&attr.value, span) {
                Ok(selected) => selected.clone(),
                Err(error) => {
                    return Err(self.while_selecting(error, select, index, attr.span()));
                }
            };
            value = selected;
        }
        Ok(value)
    }

    /// Adds to an error which attribute was being evaluated.
    #[cold]
    fn while_selecting(
        &self,
        mut error: Error,
        select: &'static Select,
        last: usize,
        position: Span,
    ) -> Error {
        error.push_context(if position.is_some() { position } else { select.span }, || {
            let names: Vec<String> = select
                .path
                .iter()
                .take(last + 1)
                .map(|name| match name {
                    Name::Static(name, _) => self.symbols.text(*name),
                    Name::Dynamic(..) => "${…}".to_owned(),
                })
                .collect();
            format!("while evaluating the attribute `{}`", names.join("."))
        });
        error
    }

    /// Returns the value of `__curPos`.
    pub(in crate::lang) fn position(&mut self, span: Span) -> Value {
        let (Some(source), Some(position)) =
            (self.sources.source(span), self.sources.position(span))
        else {
            return Value::Null;
        };
        let file = match &source.origin {
            Origin::File(path) => Value::string(path),
            // Nix has no position for what was not read from a file.
            Origin::Expression | Origin::Stdin | Origin::Internal(_) => return Value::Null,
        };
        let mut attrs = AttrsBuilder::with_capacity(3);
        attrs
            .push(self.known.file, file)
            .push(self.known.line, Value::Int(i64::from(position.line)))
            .push(self.known.column, Value::Int(i64::from(position.column)));
        Value::attrs(attrs.finish())
    }
}
