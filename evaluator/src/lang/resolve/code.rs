//! Expressions whose variables are resolved: what the evaluator walks over.
//!
//! A variable is a number of environments to go up and a slot there. All code of a file is one
//! tree that is never freed: thunks and functions point into it for as long as there are any.

use crate::lang::source::Span;
use crate::lang::symbol::Symbol;
use crate::lang::value::Value;

/// An expression.
pub(in crate::lang) enum Code {
    /// A constant, also a builtin.
    Const(Value),
    /// A variable of an enclosing `let`, `rec` or function.
    Variable {
        depth: u32,
        slot: u32,
        span: Span,
    },
    /// A variable that may come from an enclosing `with`.
    WithVariable(Box<WithVariable>),
    Select(Box<Select>),
    HasAttr(Box<HasAttr>),
    List(Box<[Code]>),
    Attrs(Box<AttrSet>),
    Let(Box<Let>),
    Lambda(Box<Lambda>),
    Call(Box<Call>),
    With(Box<With>),
    If(Box<If>),
    Assert(Box<Assert>),
    Not(Box<(Code, Span)>),
    Binary(Box<Binary>),
    /// A string with interpolations, or a path with them.
    Join(Box<Join>),
    /// The set of file, line and column of a place.
    Position(Span),
}

pub(in crate::lang) struct WithVariable {
    pub(in crate::lang) name: Symbol,
    /// How many environments to go up for each enclosing `with`, the innermost first.
    pub(in crate::lang) depths: Box<[u32]>,
    pub(in crate::lang) span: Span,
}

pub(in crate::lang) struct Select {
    pub(in crate::lang) subject: Code,
    pub(in crate::lang) path: Box<[Name]>,
    pub(in crate::lang) default: Option<Code>,
    pub(in crate::lang) span: Span,
}

pub(in crate::lang) struct HasAttr {
    pub(in crate::lang) subject: Code,
    pub(in crate::lang) path: Box<[Name]>,
}

/// A name in an attribute path.
pub(in crate::lang) enum Name {
    Static(Symbol, Span),
    Dynamic(Code, Span),
}

/// The definitions of a set or of `let`.
pub(in crate::lang) struct AttrSet {
    pub(in crate::lang) recursive: bool,
    /// In the order of their symbols; in a recursive set, the index is the slot.
    pub(in crate::lang) bindings: Box<[Binding]>,
    /// The sets of `inherit (set) …`, in slots after those of the bindings; if the set is not
    /// recursive, in an environment of their own.
    pub(in crate::lang) sources: Box<[Code]>,
    pub(in crate::lang) dynamic: Box<[DynamicBinding]>,
    /// The index of `__overrides` in a recursive set.
    pub(in crate::lang) overrides: Option<usize>,
}

pub(in crate::lang) struct Binding {
    pub(in crate::lang) name: Symbol,
    pub(in crate::lang) span: Span,
    pub(in crate::lang) place: Place,
    pub(in crate::lang) code: Code,
}

/// The environment in which a definition is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::lang) enum Place {
    /// That of the set: its own if it is recursive.
    Inside,
    /// That around the set (`inherit x`).
    Outside,
    /// That of the sources (`inherit (set) x`).
    Source,
}

pub(in crate::lang) struct DynamicBinding {
    pub(in crate::lang) name: Code,
    pub(in crate::lang) value: Code,
    pub(in crate::lang) span: Span,
}

pub(in crate::lang) struct Let {
    pub(in crate::lang) set: AttrSet,
    pub(in crate::lang) body: Code,
}

/// A function.
pub(in crate::lang) struct Lambda {
    /// The name that it was first given, for messages.
    pub(in crate::lang) name: Option<Symbol>,
    /// The name of the whole argument, which is in slot 0 if it has one.
    pub(in crate::lang) argument: Option<Symbol>,
    pub(in crate::lang) formals: Option<Formals>,
    pub(in crate::lang) body: Code,
    pub(in crate::lang) span: Span,
}

pub(in crate::lang) struct Formals {
    /// In the order of their symbols; their slots follow that of the whole argument.
    pub(in crate::lang) formals: Box<[Formal]>,
    pub(in crate::lang) ellipsis: bool,
}

pub(in crate::lang) struct Formal {
    pub(in crate::lang) name: Symbol,
    /// Where the name is.
    pub(in crate::lang) span: Span,
    pub(in crate::lang) default: Option<Code>,
}

pub(in crate::lang) struct Call {
    pub(in crate::lang) function: Code,
    pub(in crate::lang) arguments: Box<[Code]>,
    pub(in crate::lang) span: Span,
}

pub(in crate::lang) struct With {
    pub(in crate::lang) attrs: Code,
    pub(in crate::lang) body: Code,
}

pub(in crate::lang) struct If {
    pub(in crate::lang) condition: Code,
    pub(in crate::lang) yes: Code,
    pub(in crate::lang) no: Code,
    pub(in crate::lang) span: Span,
}

pub(in crate::lang) struct Assert {
    pub(in crate::lang) condition: Code,
    pub(in crate::lang) body: Code,
    /// Where the condition is.
    pub(in crate::lang) span: Span,
}

pub(in crate::lang) use crate::lang::syntax::ast::BinaryOperator;

pub(in crate::lang) struct Binary {
    pub(in crate::lang) operator: BinaryOperator,
    pub(in crate::lang) left: Code,
    pub(in crate::lang) right: Code,
    pub(in crate::lang) span: Span,
    pub(in crate::lang) right_span: Span,
}

pub(in crate::lang) struct Join {
    /// Whether the result is a string whatever the first part is.
    pub(in crate::lang) is_string: bool,
    pub(in crate::lang) parts: Box<[(Code, Span)]>,
}
