//! From the tree to code, construct by construct.

use std::rc::Rc;

use super::code::{
    Assert, AttrSet, Binary, BinaryOperator, Binding, Call, Code, DynamicBinding, Formal, Formals,
    HasAttr, If, Join, Lambda, Let, Name, Place, Select, With,
};
use super::{Resolver, Scope};
use crate::lang::error::Result;
use crate::lang::source::Span;
use crate::lang::symbol::Symbol;
use crate::lang::syntax::ast::{self, BindingValue, Expr, ExprKind, Part};
use crate::lang::value::{Attrs, Context, NixString, Value};

impl Resolver<'_> {
    /// Turns an expression into code; `name` is what the expression is being bound to.
    pub(super) fn lower(&mut self, expr: Expr, name: Option<Symbol>) -> Result<Code> {
        let span = expr.span;
        Ok(match expr.kind {
            ExprKind::Int(number) => Code::Const(Value::Int(number)),
            ExprKind::Float(number) => Code::Const(Value::Float(number)),
            ExprKind::Text(text) => constant(text),
            ExprKind::String(parts) => self.join(true, parts, span)?,
            ExprKind::Path(path) => Code::Const(Value::Path(path)),
            ExprKind::PathParts(parts) => self.join(false, parts, span)?,
            ExprKind::SearchPath(name) => self.search_path(name, span)?,
            ExprKind::Variable(name) => self.variable(name, span)?,
            ExprKind::CurrentPosition => Code::Position(span),
            ExprKind::List(elements) => {
                if elements.is_empty() {
                    Code::Const(Value::list(Vec::new()))
                } else {
                    Code::List(self.lower_all(elements)?)
                }
            }
            ExprKind::Attrs(set) => {
                if set.bindings.is_empty() && set.dynamic.is_empty() {
                    Code::Const(Value::attrs(Attrs::new()))
                } else {
                    Code::Attrs(Box::new(self.attr_set(*set)?))
                }
            }
            ExprKind::Let(set, body) => {
                self.scopes.push(names(&set));
                let set = self.inside(*set);
                let body = self.lower(*body, name);
                self.scopes.pop();
                // Only sets have overrides.
                let set = AttrSet { overrides: None, ..set? };
                Code::Let(Box::new(Let { set, body: body? }))
            }
            ExprKind::Select(select) => {
                let ast::Select { subject, path, default } = *select;
                Code::Select(Box::new(Select {
                    subject: self.lower(subject, None)?,
                    path: self.path(path)?,
                    default: default.map(|default| self.lower(default, None)).transpose()?,
                    span,
                }))
            }
            ExprKind::HasAttr(has) => {
                let ast::HasAttr { subject, path } = *has;
                let subject = self.lower(subject, None)?;
                Code::HasAttr(Box::new(HasAttr { subject, path: self.path(path)? }))
            }
            ExprKind::Lambda(lambda) => self.lambda(*lambda, name, span)?,
            ExprKind::Call(call) => self.call(call, span)?,
            ExprKind::With(attrs, body) => {
                let attrs = self.lower(*attrs, None)?;
                self.scopes.push(Scope::With);
                let body = self.lower(*body, name);
                self.scopes.pop();
                Code::With(Box::new(With { attrs, body: body? }))
            }
            ExprKind::If(branches) => {
                let [condition, yes, no] = *branches;
                Code::If(Box::new(If {
                    span: condition.span,
                    condition: self.lower(condition, None)?,
                    yes: self.lower(yes, name)?,
                    no: self.lower(no, name)?,
                }))
            }
            ExprKind::Assert(condition, body) => Code::Assert(Box::new(Assert {
                span: condition.span,
                condition: self.lower(*condition, None)?,
                body: self.lower(*body, name)?,
            })),
            ExprKind::Not(operand) => {
                let span = operand.span;
                Code::Not(Box::new((self.lower(*operand, None)?, span)))
            }
            ExprKind::Negate(operand) => {
                let zero = Expr { kind: ExprKind::Int(0), span };
                self.arithmetic("__sub", BinaryOperator::Subtract, zero, *operand, span)?
            }
            ExprKind::Binary(operator, operands) => {
                let [left, right] = *operands;
                self.binary(operator, left, right, span)?
            }
        })
    }

    fn lower_all(
        &mut self,
        exprs: impl IntoIterator<Item = Expr, IntoIter: ExactSizeIterator>,
    ) -> Result<Box<[Code]>> {
        boxed(exprs.into_iter().map(|expr| self.lower(expr, None)))
    }

    fn call(&mut self, call: Box<[Expr]>, span: Span) -> Result<Code> {
        let mut exprs = call.into_iter();
        let function = exprs.next().expect("a call begins with its function");
        let function = self.lower(function, None)?;
        Ok(Code::Call(Box::new(Call { function, arguments: self.lower_all(exprs)?, span })))
    }

    fn path(&mut self, path: Box<[ast::AttrName]>) -> Result<Box<[Name]>> {
        boxed(path.into_iter().map(|name| {
            Ok(match name {
                ast::AttrName::Static(name, span) => Name::Static(name, span),
                ast::AttrName::Dynamic(expr, _) => {
                    let span = expr.span;
                    Name::Dynamic(self.lower(*expr, None)?, span)
                }
            })
        }))
    }

    fn join(&mut self, is_string: bool, parts: Box<[Part]>, span: Span) -> Result<Code> {
        let parts = parts.into_iter().enumerate().map(|(index, part)| {
            Ok(match part {
                Part::Text(text) if index == 0 && !is_string => {
                    // Its slash at the end is kept until the next part is joined to it.
                    (Code::Const(Value::path(&text)), span)
                }
                Part::Text(text) => (constant(text), span),
                Part::Interpolation(expr) => {
                    let span = expr.span;
                    (self.lower(expr, None)?, span)
                }
            })
        });
        Ok(Code::Join(Box::new(Join { is_string, parts: boxed(parts)? })))
    }

    /// `<name>` is `__findFile __nixPath "name"`, and programs do bind these two.
    fn search_path(&mut self, name: Box<[u8]>, span: Span) -> Result<Code> {
        let find = self.symbols.intern("__findFile");
        let path = self.symbols.intern("__nixPath");
        let function = self.variable(find, span)?;
        let path = self.variable(path, span)?;
        let arguments = Box::new([path, constant(name)]);
        Ok(Code::Call(Box::new(Call { function, arguments, span })))
    }

    /// Some operators are calls of builtins, which a program may bind itself.
    fn arithmetic(
        &mut self,
        name: &str,
        operator: BinaryOperator,
        left: Expr,
        right: Expr,
        span: Span,
    ) -> Result<Code> {
        let builtin = self.symbols.intern(name);
        let right_span = right.span;
        let left = self.lower(left, None)?;
        let right = self.lower(right, None)?;
        if self.is_shadowed(builtin) {
            let function = self.variable(builtin, span)?;
            let arguments = Box::new([left, right]);
            return Ok(Code::Call(Box::new(Call { function, arguments, span })));
        }
        Ok(Code::Binary(Box::new(Binary { operator, left, right, span, right_span })))
    }

    fn binary(
        &mut self,
        operator: BinaryOperator,
        left: Expr,
        right: Expr,
        span: Span,
    ) -> Result<Code> {
        use BinaryOperator as Op;
        match operator {
            Op::Subtract => self.arithmetic("__sub", operator, left, right, span),
            Op::Multiply => self.arithmetic("__mul", operator, left, right, span),
            Op::Divide => self.arithmetic("__div", operator, left, right, span),
            Op::Less => self.arithmetic("__lessThan", operator, left, right, span),
            // `a > b` is `b < a`, and the other two are their negations.
            Op::Greater => self.arithmetic("__lessThan", Op::Less, right, left, span),
            Op::LessOrEqual => {
                let less = self.arithmetic("__lessThan", Op::Less, right, left, span)?;
                Ok(Code::Not(Box::new((less, span))))
            }
            Op::GreaterOrEqual => {
                let less = self.arithmetic("__lessThan", Op::Less, left, right, span)?;
                Ok(Code::Not(Box::new((less, span))))
            }
            Op::Implies
            | Op::Or
            | Op::And
            | Op::Equal
            | Op::NotEqual
            | Op::Update
            | Op::Add
            | Op::Concat => Ok(Code::Binary(Box::new(Binary {
                operator,
                right_span: right.span,
                left: self.lower(left, None)?,
                right: self.lower(right, None)?,
                span,
            }))),
        }
    }

    fn lambda(&mut self, lambda: ast::Lambda, name: Option<Symbol>, span: Span) -> Result<Code> {
        let ast::Lambda { argument, formals: pattern, body } = lambda;
        let ellipsis = pattern.as_ref().map(|pattern| pattern.ellipsis);
        let mut formals = pattern.map(|pattern| pattern.formals).unwrap_or_default();
        formals.sort_by_key(|formal| formal.name);
        let mut names = Vec::with_capacity(formals.len() + 1);
        names.extend(argument.map(|argument| (argument, 0)));
        let first_slot = names.len() as u32;
        names.extend(formals.iter().map(|formal| formal.name).zip(first_slot..));
        names.sort_unstable();
        self.scopes.push(Scope::Names(names));
        let formals = boxed(formals.into_iter().map(|formal| {
            let default = formal.default.map(|default| self.lower(default, Some(formal.name)));
            Ok(Formal { name: formal.name, span: formal.span, default: default.transpose()? })
        }));
        let body = self.lower(body, None);
        self.scopes.pop();
        let formals = formals?;
        let formals = ellipsis.map(|ellipsis| Formals { formals, ellipsis });
        Ok(Code::Lambda(Box::new(Lambda { name, argument, formals, body: body?, span })))
    }

    fn attr_set(&mut self, set: ast::AttrSet) -> Result<AttrSet> {
        if set.recursive {
            self.scopes.push(names(&set));
            let code = self.inside(set);
            self.scopes.pop();
            return code;
        }
        let sources = self.lower_all(set.sources)?;
        let mut bindings = Vec::with_capacity(set.bindings.len());
        for (name, binding) in set.bindings.drain() {
            let (place, code) = match binding.value {
                BindingValue::Expr(expr) => (Place::Inside, self.lower(expr, Some(name))?),
                BindingValue::Inherit => (Place::Outside, self.variable(name, binding.span)?),
                BindingValue::InheritFrom(index) => {
                    self.scopes.push(Scope::Hidden);
                    let code = inherit_from(name, index, binding.span);
                    self.scopes.pop();
                    (Place::Source, code)
                }
            };
            bindings.push(Binding { name, span: binding.span, place, code });
        }
        let dynamic = self.dynamic(set.dynamic)?;
        let bindings = bindings.into_boxed_slice();
        Ok(AttrSet { recursive: false, bindings, sources, dynamic, overrides: None })
    }

    /// Resolves a recursive set or `let`, whose names are in scope already.
    fn inside(&mut self, set: ast::AttrSet) -> Result<AttrSet> {
        let sources = self.lower_all(set.sources)?;
        let first_source = set.bindings.len();
        let mut bindings = Vec::with_capacity(first_source);
        for (name, binding) in set.bindings.drain() {
            let (place, code) = match binding.value {
                BindingValue::Expr(expr) => (Place::Inside, self.lower(expr, Some(name))?),
                BindingValue::Inherit => {
                    // The name means what it means outside.
                    let scope = self.scopes.pop();
                    let code = self.variable(name, binding.span);
                    self.scopes.extend(scope);
                    (Place::Outside, code?)
                }
                BindingValue::InheritFrom(index) => {
                    (Place::Source, inherit_from(name, first_source as u32 + index, binding.span))
                }
            };
            bindings.push(Binding { name, span: binding.span, place, code });
        }
        let dynamic = self.dynamic(set.dynamic)?;
        let overrides = self.symbols.intern("__overrides");
        let overrides = bindings.binary_search_by_key(&overrides, |binding| binding.name).ok();
        let bindings = bindings.into_boxed_slice();
        Ok(AttrSet { recursive: true, bindings, sources, dynamic, overrides })
    }

    fn dynamic(&mut self, dynamic: Vec<ast::DynamicBinding>) -> Result<Box<[DynamicBinding]>> {
        boxed(dynamic.into_iter().map(|binding| {
            Ok(DynamicBinding {
                name: self.lower(binding.name, None)?,
                value: self.lower(binding.value, None)?,
                span: binding.span,
            })
        }))
    }
}

/// Collects into a box; the number is known, so that nothing grows or shrinks.
fn boxed<T>(items: impl ExactSizeIterator<Item = Result<T>>) -> Result<Box<[T]>> {
    let mut all = Vec::with_capacity(items.len());
    for item in items {
        all.push(item?);
    }
    Ok(all.into_boxed_slice())
}

/// A string that depends on nothing.
fn constant(text: Box<[u8]>) -> Code {
    Code::Const(Value::String(Rc::new(NixString::from_vec(text.into_vec(), Context::new()))))
}

/// The scope of a recursive set: its slots are its bindings in their order.
fn names(set: &ast::AttrSet) -> Scope {
    Scope::Names(set.bindings.keys().copied().zip(0..).collect())
}

/// Code that selects a name from a source in the nearest environment.
fn inherit_from(name: Symbol, slot: u32, span: Span) -> Code {
    Code::Select(Box::new(Select {
        subject: Code::Variable { depth: 0, slot, span },
        path: Box::new([Name::Static(name, span)]),
        default: None,
        span,
    }))
}
