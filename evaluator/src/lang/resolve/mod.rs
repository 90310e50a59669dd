//! Resolves variables to slots, once, before anything is evaluated.
//!
//! [`resolve`] turns the tree of the parser into [`Code`]. Lexical scopes win over `with`, and
//! builtins are constants. A variable that is bound nowhere is an error here, before evaluation.

mod code;
mod lower;

use std::collections::BTreeMap;

pub(in crate::lang) use code::{
    AttrSet, Binary, BinaryOperator, Call, Code, Formals, HasAttr, Join, Lambda, Name, Place,
    Select, WithVariable,
};

use super::error::{Error, ErrorKind, Result, suggest};
use super::source::Span;
use super::symbol::{Symbol, Symbols};
use super::syntax::ast::Expr;
use super::value::Value;

/// One environment as it will be at run time.
enum Scope {
    /// Variables and their slots, sorted by symbol.
    Names(Vec<(Symbol, u32)>),
    /// An environment without names: the sources of `inherit (set) …`.
    Hidden,
    /// The set of a `with`.
    With,
}

/// Resolves the variables of an expression.
///
/// `outer` are the names of an environment around the expression, in the order of their slots.
pub(in crate::lang) fn resolve(
    expr: Expr,
    globals: &BTreeMap<Symbol, Value>,
    symbols: &mut Symbols,
    outer: Option<&[Symbol]>,
) -> Result<Code> {
    let scopes = outer.into_iter().map(|names| {
        let mut names: Vec<(Symbol, u32)> = names.iter().copied().zip(0..).collect();
        names.sort_unstable();
        Scope::Names(names)
    });
    let mut resolver = Resolver { globals, scopes: scopes.collect(), symbols };
    resolver.lower(expr, None)
}

struct Resolver<'a> {
    globals: &'a BTreeMap<Symbol, Value>,
    scopes: Vec<Scope>,
    symbols: &'a mut Symbols,
}

impl Resolver<'_> {
    /// Finds a variable.
    fn variable(&self, name: Symbol, span: Span) -> Result<Code> {
        let mut withs = Vec::new();
        for (depth, scope) in (0..).zip(self.scopes.iter().rev()) {
            match scope {
                Scope::Names(names) => {
                    if let Ok(index) = names.binary_search_by_key(&name, |(name, _)| *name) {
                        return Ok(Code::Variable { depth, slot: names[index].1, span });
                    }
                }
                Scope::Hidden => {}
                Scope::With => withs.push(depth),
            }
        }
        if let Some(value) = self.globals.get(&name) {
            return Ok(Code::Const(value.clone()));
        }
        if withs.is_empty() {
            return Err(self.undefined(name, span));
        }
        let depths = withs.into_boxed_slice();
        Ok(Code::WithVariable(Box::new(WithVariable { name, depths, span })))
    }

    /// Returns whether a name is bound by the program itself.
    fn is_shadowed(&self, name: Symbol) -> bool {
        self.scopes.iter().any(|scope| match scope {
            Scope::Names(names) => names.binary_search_by_key(&name, |(name, _)| *name).is_ok(),
            Scope::Hidden | Scope::With => false,
        })
    }

    fn undefined(&self, name: Symbol, span: Span) -> Error {
        let local = self.scopes.iter().flat_map(|scope| match scope {
            Scope::Names(names) => names.as_slice(),
            Scope::Hidden | Scope::With => &[],
        });
        let known = local.map(|(name, _)| *name).chain(self.globals.keys().copied());
        let known = known.map(|name| self.symbols.name(name));
        let suggestion = suggest(self.symbols.name(name), known);
        let name = self.symbols.text(name);
        Error::new(ErrorKind::UndefinedVariable { name, suggestion }, span)
    }
}
