//! Errors of the language: what, where, and what was being evaluated.
//!
//! An [`Error`] carries data; [`Error::render`] makes the text for people, with an excerpt of the
//! source. Whether `tryEval` catches an error is a property of its kind ([`ErrorKind::is_catchable`]).
//! Start at [`ErrorKind`].

mod kind;
mod render;
mod suggest;
mod warning;

pub use kind::ErrorKind;
pub use suggest::suggest;
pub use warning::Warning;

use super::source::Span;

/// The result of everything that may fail.
pub type Result<T> = std::result::Result<T, Error>;

/// An error: one pointer, so that results stay small.
#[derive(Debug, Clone)]
pub struct Error(Box<Data>);

#[derive(Debug, Clone)]
struct Data {
    kind: ErrorKind,
    span: Span,
    /// The innermost first.
    contexts: Vec<ErrorContext>,
    /// How many more contexts there were than are kept.
    dropped: usize,
}

/// Something that was being evaluated when an error happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorContext {
    /// A phrase: "while evaluating the attribute `x`".
    pub message: String,
    /// Where that was written.
    pub span: Span,
}

/// More contexts than these help nobody; deep recursion would fill the memory with them.
const MAX_CONTEXTS: usize = 100;

impl Error {
    /// Makes an error of a kind at a place.
    pub fn new(kind: ErrorKind, span: Span) -> Self {
        Error(Box::new(Data { kind, span, contexts: Vec::new(), dropped: 0 }))
    }

    /// Returns the kind.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// Returns the place.
    pub fn span(&self) -> Span {
        self.0.span
    }

    /// Returns what was being evaluated, the innermost first.
    pub fn contexts(&self) -> &[ErrorContext] {
        &self.0.contexts
    }

    /// Gives the error a place if it has none yet.
    #[must_use]
    pub fn or_at(mut self, span: Span) -> Self {
        if !self.0.span.is_some() {
            self.0.span = span;
        }
        self
    }

    /// Adds what was being evaluated.
    #[must_use]
    pub fn context(mut self, message: impl Into<String>, span: Span) -> Self {
        self.push_context(span, || message.into());
        self
    }

    /// Adds what was being evaluated; the message is made only if it is kept.
    pub fn push_context(&mut self, span: Span, message: impl FnOnce() -> String) {
        if self.0.contexts.len() < MAX_CONTEXTS {
            self.0.contexts.push(ErrorContext { message: message(), span });
        } else {
            self.0.dropped += 1;
        }
    }
}

/// Adds context to the errors of a result.
pub trait ResultExt {
    /// Adds what was being evaluated; the message is made only for an error.
    #[must_use]
    fn context(self, span: Span, message: impl FnOnce() -> String) -> Self;
}

impl<T> ResultExt for Result<T> {
    fn context(self, span: Span, message: impl FnOnce() -> String) -> Self {
        self.map_err(|mut error| {
            error.push_context(span, message);
            error
        })
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.kind.fmt(f)
    }
}

impl std::error::Error for Error {}
