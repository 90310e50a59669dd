//! Nix *plain data*: the part of the Nix language that needs no evaluation.
//!
//! Null, booleans, whole numbers, strings, lists, attribute sets and comments. No identifier is
//! looked up, no file is opened and no function called, so that a file of unknown origin can be
//! read safely. It is no Nix parser: everything else is refused. Start at [`Data::parse`] and
//! [`Data::print`]; [`quote_string`] is the one way in which text gets into an expression.

mod parse;
mod print;

use std::collections::BTreeMap;

pub use parse::{DataError, MAX_DEPTH, MAX_LENGTH};
pub use print::{is_plain_name, quote_string};

/// A value of plain data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A whole number; Nix's own are at most 2⁶³ − 1, and a sign is an operator, not data.
    Integer(u64),
    /// `"text"`, never with a NUL character, which Nix cannot represent.
    String(String),
    /// `[ a b ]`
    List(Vec<Data>),
    /// `{ name = value; }`
    Set(BTreeMap<String, Data>),
}

impl Data {
    /// Returns what kind of value this is, for messages: `a string`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::String(_) => "a string",
            Self::List(_) => "a list",
            Self::Set(_) => "an attribute set",
        }
    }

    /// Returns an attribute set of these attributes.
    pub fn set<N: Into<String>>(attributes: impl IntoIterator<Item = (N, Data)>) -> Self {
        Self::Set(attributes.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}

impl From<&str> for Data {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Data {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}
