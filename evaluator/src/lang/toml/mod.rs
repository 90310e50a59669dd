//! TOML 1.0 as `fromTOML` reads it; knows nothing of values.
//!
//! Dates and times are refused unless [`Dates`] says otherwise, as in Nix without its experimental
//! feature. Start at [`parse`].

mod date;
mod parser;
mod scalar;
mod table;

use std::collections::BTreeMap;

pub use parser::parse;

/// What becomes of dates and times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dates {
    /// They are errors.
    Refused,
    /// They are read, and written again in one form.
    Read,
}

/// A value of a TOML document.
#[derive(Debug, Clone, PartialEq)]
pub enum Toml {
    /// A string.
    String(String),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// A Boolean.
    Bool(bool),
    /// A date, a time or both, in the one form that Nix writes.
    Date(String),
    /// An array.
    Array(Vec<Toml>),
    /// A table.
    Table(BTreeMap<String, Toml>),
}

/// A text that is no TOML document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at line {line}, column {column}")]
pub struct TomlError {
    /// What is wrong.
    pub what: TomlErrorKind,
    /// The line, from one.
    pub line: usize,
    /// The column, from one, in bytes.
    pub column: usize,
}

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TomlErrorKind {
    /// Something else should stand there.
    #[error("expected {0}")]
    Expected(&'static str),
    /// A key has a value already.
    #[error("key `{0}` is defined twice")]
    Duplicate(String),
    /// A table cannot be added to.
    #[error("`{0}` is no table that can be added to")]
    Closed(String),
    /// Dates and times need an experimental feature.
    #[error("dates and times are not supported")]
    Date,
    /// Values are nested too deeply.
    #[error("values are nested too deeply")]
    Depth,
}

#[cfg(test)]
mod tests;
