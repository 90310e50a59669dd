//! The tree of an expression, with names as symbols and a place for everything.
//!
//! A large file has a hundred thousand of these, all of them there before the first is resolved:
//! what is rare or large is boxed, so that an expression takes 32 bytes.

use std::rc::Rc;

use super::bindings::Bindings;
use crate::lang::source::Span;
use crate::lang::symbol::Symbol;
use crate::lang::value::NixPath;

/// An expression and where it is.
#[derive(Debug, Clone)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it is.
    pub span: Span,
}

/// What an expression is.
#[derive(Debug, Clone)]
pub enum ExprKind {
    /// A number.
    Int(i64),
    /// A floating point number.
    Float(f64),
    /// A string of any spelling without interpolations, also an URI.
    Text(Box<[u8]>),
    /// A string with interpolations.
    String(Box<[Part]>),
    /// A path without interpolations.
    Path(Rc<NixPath>),
    /// Any other path: the first part is absolute and ends with a slash if something follows it.
    PathParts(Box<[Part]>),
    /// `<name>`
    SearchPath(Box<[u8]>),
    /// A variable.
    Variable(Symbol),
    /// `__curPos`
    CurrentPosition,
    /// `[ … ]`
    List(Box<[Expr]>),
    /// `{ … }` and `rec { … }`
    Attrs(Box<AttrSet>),
    /// `let … in body`
    Let(Box<AttrSet>, Box<Expr>),
    /// `subject.path or default`
    Select(Box<Select>),
    /// `subject ? path`
    HasAttr(Box<HasAttr>),
    /// `argument: body`
    Lambda(Box<Lambda>),
    /// A function, followed by all its arguments.
    Call(Box<[Expr]>),
    /// `with set; body`
    With(Box<Expr>, Box<Expr>),
    /// `if … then … else …`
    If(Box<[Expr; 3]>),
    /// `assert condition; body`
    Assert(Box<Expr>, Box<Expr>),
    /// `!x`
    Not(Box<Expr>),
    /// `-x`
    Negate(Box<Expr>),
    /// An operator between two expressions.
    Binary(BinaryOperator, Box<[Expr; 2]>),
}

/// A part of a string or path.
#[derive(Debug, Clone)]
pub enum Part {
    /// Text as it is meant, after all escapes.
    Text(Box<[u8]>),
    /// `${ … }`
    Interpolation(Expr),
}

/// An operator between two expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum BinaryOperator {
    Implies,
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Update,
    Add,
    Subtract,
    Multiply,
    Divide,
    Concat,
}

/// `subject.path or default`
#[derive(Debug, Clone)]
pub struct Select {
    /// What is selected from.
    pub subject: Expr,
    /// The names, at least one.
    pub path: Box<[AttrName]>,
    /// What follows `or`.
    pub default: Option<Expr>,
}

/// `subject ? path`
#[derive(Debug, Clone)]
pub struct HasAttr {
    /// What is asked.
    pub subject: Expr,
    /// The names, at least one.
    pub path: Box<[AttrName]>,
}

/// A name in an attribute path.
#[derive(Debug, Clone)]
pub enum AttrName {
    /// A name that is known.
    Static(Symbol, Span),
    /// An expression that gives the name; it is where its `${` or quote is.
    Dynamic(Box<Expr>, Span),
}

impl AttrName {
    /// Returns where it is.
    pub fn span(&self) -> Span {
        match self {
            AttrName::Static(_, span) | AttrName::Dynamic(_, span) => *span,
        }
    }
}

/// The definitions of an attribute set or of `let`, merged.
#[derive(Debug, Clone, Default)]
pub struct AttrSet {
    /// Whether the definitions see each other.
    pub recursive: bool,
    /// The definitions with known names.
    pub bindings: Bindings,
    /// The definitions with computed names, as they were written.
    pub dynamic: Vec<DynamicBinding>,
    /// The sets of all `inherit (set) …`.
    pub sources: Vec<Expr>,
}

/// A definition.
#[derive(Debug, Clone)]
pub struct Binding {
    /// What it is.
    pub value: BindingValue,
    /// Where its name is.
    pub span: Span,
}

/// What a name is defined as.
#[derive(Debug, Clone)]
pub enum BindingValue {
    /// `name = value`
    Expr(Expr),
    /// `inherit name`
    Inherit,
    /// `inherit (set) name`, with the index of the set.
    InheritFrom(u32),
}

/// A definition with a computed name.
#[derive(Debug, Clone)]
pub struct DynamicBinding {
    /// The name.
    pub name: Expr,
    /// The value.
    pub value: Expr,
    /// Where the name is.
    pub span: Span,
}

/// A function.
#[derive(Debug, Clone)]
pub struct Lambda {
    /// The name of the whole argument.
    pub argument: Option<Symbol>,
    /// The attributes that the argument must have.
    pub formals: Option<Formals>,
    /// The body.
    pub body: Expr,
}

/// The pattern of a function that takes an attribute set.
#[derive(Debug, Clone, Default)]
pub struct Formals {
    /// The attributes in their order.
    pub formals: Vec<Formal>,
    /// Whether it ends with `...`.
    pub ellipsis: bool,
}

/// One attribute of a pattern.
#[derive(Debug, Clone)]
pub struct Formal {
    /// Its name.
    pub name: Symbol,
    /// Where the name is.
    pub span: Span,
    /// What it is if it is not given.
    pub default: Option<Expr>,
}
