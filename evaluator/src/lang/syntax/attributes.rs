//! Definitions of attribute sets: paths, `inherit`, and the merging of nested definitions.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a parser names the tokens that fit; every other one is an error"
)]

use super::ast::{AttrName, AttrSet, Binding, BindingValue, DynamicBinding, Expr, ExprKind};
use super::lexer::Token;
use super::parser::{MAX_DEPTH, Parser};
use crate::lang::error::{Error, ErrorKind, Result};
use crate::lang::source::Span;
use crate::lang::symbol::{Symbol, Symbols};

impl Parser<'_> {
    /// Parses definitions up to a token, which is not taken.
    pub(super) fn bindings(&mut self, end: Token, is_let: bool) -> Result<AttrSet> {
        let mut set = AttrSet { recursive: is_let, ..AttrSet::default() };
        while self.token.token != end {
            if self.token.token == Token::Inherit {
                self.advance();
                self.inherit(&mut set)?;
                continue;
            }
            if !self.begins_attr_name() {
                let expected = if is_let { "a name or `in`" } else { "a name or `}`" };
                return Err(self.unexpected(expected));
            }
            let name = self.attr_name()?;
            // Most definitions are of one name, which needs no path.
            let single = match &name {
                AttrName::Static(name, span) if self.token.token != Token::Char(b'.') => {
                    Some((*name, *span))
                }
                _ => None,
            };
            let path = match single {
                Some(_) => Box::default(),
                None => self.attr_path_after(name)?,
            };
            self.expect(Token::Char(b'='), "`=`")?;
            let value = self.expr()?;
            self.expect(Token::Char(b';'), "`;`")?;
            match single {
                Some((name, span)) => {
                    let binding = Binding { value: BindingValue::Expr(value), span };
                    merge(&mut set, &mut Vec::new(), name, binding, self.symbols)?;
                }
                None => add(&mut set, path, value, self.symbols)?,
            }
        }
        if is_let && let Some(dynamic) = set.dynamic.first() {
            let message = "dynamic attributes not allowed in let".to_owned();
            return Err(Error::new(ErrorKind::Syntax { message }, dynamic.span));
        }
        Ok(set)
    }

    /// Parses what follows `inherit`.
    fn inherit(&mut self, set: &mut AttrSet) -> Result<()> {
        let from = if self.token.token == Token::Char(b'(') {
            self.advance();
            let source = self.expr()?;
            self.expect(Token::Char(b')'), "`)`")?;
            set.sources.push(source);
            Some((set.sources.len() - 1) as u32)
        } else {
            None
        };
        while self.token.token != Token::Char(b';') {
            let (name, span) = match self.attr_name()? {
                AttrName::Static(name, span) => (name, span),
                AttrName::Dynamic(expr, _) => {
                    let message = "dynamic attributes not allowed in inherit".to_owned();
                    return Err(Error::new(ErrorKind::Syntax { message }, expr.span));
                }
            };
            let value = from.map_or(BindingValue::Inherit, BindingValue::InheritFrom);
            if set.bindings.add(name, Binding { value, span }).is_err() {
                return Err(duplicate(&[name], span, self.symbols));
            }
        }
        self.advance();
        Ok(())
    }

    /// Parses names with dots between them.
    pub(super) fn attr_path(&mut self) -> Result<Box<[AttrName]>> {
        let name = self.attr_name()?;
        self.attr_path_after(name)
    }

    /// Parses what follows the first name of an attribute path.
    fn attr_path_after(&mut self, name: AttrName) -> Result<Box<[AttrName]>> {
        if self.token.token != Token::Char(b'.') {
            return Ok(Box::new([name]));
        }
        let first = self.names.len();
        self.names.push(name);
        while self.token.token == Token::Char(b'.') {
            self.advance();
            let name = self.attr_name()?;
            self.names.push(name);
            if self.names.len() - first > MAX_DEPTH {
                let message = "expressions are nested too deeply".to_owned();
                return Err(self.error_at(self.token, message));
            }
        }
        Ok(self.names.drain(first..).collect())
    }

    fn begins_attr_name(&self) -> bool {
        matches!(
            self.token.token,
            Token::Identifier | Token::Or | Token::Quote | Token::DollarBrace
        )
    }

    fn attr_name(&mut self) -> Result<AttrName> {
        let first = self.token;
        match first.token {
            Token::Identifier | Token::Or => {
                let name = self.symbols.intern(&self.text[first.start..first.end]);
                self.advance();
                Ok(AttrName::Static(name, self.token_span(first)))
            }
            Token::Quote => {
                let start = first.start;
                let kind = self.string()?;
                let end = self.token.start;
                let span = self.span(start, end);
                Ok(self.static_if_known(Expr { kind, span }, span))
            }
            Token::DollarBrace => {
                self.advance();
                let expr = self.expr()?;
                let span = self.span(first.start, self.token.end);
                self.expect(Token::Char(b'}'), "`}`")?;
                Ok(self.static_if_known(expr, span))
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    /// Makes a known name of a string without interpolation.
    fn static_if_known(&mut self, expr: Expr, span: Span) -> AttrName {
        match &expr.kind {
            ExprKind::Text(text) => AttrName::Static(self.symbols.intern(text), span),
            _ => AttrName::Dynamic(Box::new(expr), span),
        }
    }
}

/// Adds `path = value`, merging it with what is there.
fn add(set: &mut AttrSet, path: Box<[AttrName]>, value: Expr, symbols: &Symbols) -> Result<()> {
    let mut names: Vec<Symbol> = Vec::new();
    let mut set = set;
    // Every name of a path is said to be where the path begins.
    let span = path.first().map_or(Span::NONE, AttrName::span);
    let mut path = path.into_iter().peekable();
    while let Some(name) = path.next() {
        if path.peek().is_none() {
            return match name {
                AttrName::Static(name, _) => {
                    let binding = Binding { value: BindingValue::Expr(value), span };
                    merge(set, &mut names, name, binding, symbols)
                }
                AttrName::Dynamic(name, _) => {
                    set.dynamic.push(DynamicBinding { name: *name, value, span });
                    Ok(())
                }
            };
        }
        let empty = Expr { kind: ExprKind::Attrs(Box::default()), span };
        let inner = match name {
            AttrName::Static(name, _) => {
                names.push(name);
                if set.bindings.get(name).is_none() {
                    let value = BindingValue::Expr(empty);
                    let _new = set.bindings.add(name, Binding { value, span });
                }
                match set.bindings.get_mut(name).map(|binding| &mut binding.value) {
                    Some(BindingValue::Expr(inner)) => Some(inner),
                    Some(BindingValue::Inherit | BindingValue::InheritFrom(_)) | None => None,
                }
            }
            AttrName::Dynamic(name, _) => {
                set.dynamic.push(DynamicBinding { name: *name, value: empty, span });
                set.dynamic.last_mut().map(|binding| &mut binding.value)
            }
        };
        match inner {
            Some(Expr { kind: ExprKind::Attrs(inner), .. }) => set = inner,
            Some(_) | None => return Err(duplicate(&names, span, symbols)),
        }
    }
    Ok(())
}

/// Adds a definition at the end of a path; two attribute sets become one.
fn merge(
    set: &mut AttrSet,
    path: &mut Vec<Symbol>,
    name: Symbol,
    binding: Binding,
    symbols: &Symbols,
) -> Result<()> {
    let Err(binding) = set.bindings.add(name, binding) else { return Ok(()) };
    path.push(name);
    let place = set.bindings.get_mut(name).map(|binding| &mut binding.value);
    let (
        Some(BindingValue::Expr(Expr { kind: ExprKind::Attrs(there), .. })),
        BindingValue::Expr(Expr { kind: ExprKind::Attrs(new), .. }),
    ) = (place, binding.value)
    else {
        return Err(duplicate(path, binding.span, symbols));
    };
    // Whether the new set is recursive is ignored, as Nix does.
    let displacement = there.sources.len() as u32;
    for (name, mut inner) in new.bindings.drain() {
        if let BindingValue::InheritFrom(index) = &mut inner.value {
            *index += displacement;
        }
        merge(there, path, name, inner, symbols)?;
    }
    path.pop();
    there.dynamic.extend(new.dynamic);
    there.sources.extend(new.sources);
    Ok(())
}

fn duplicate(path: &[Symbol], span: Span, symbols: &Symbols) -> Error {
    let names: Vec<String> = path.iter().map(|name| symbols.text(*name)).collect();
    let message = format!("attribute `{}` already defined", names.join("."));
    Error::new(ErrorKind::Syntax { message }, span)
}
