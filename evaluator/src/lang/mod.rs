//! The Nix language: parser, evaluator and builtins, as a library without I/O of its own.
//!
//! An [`Evaluator`] is given an [`io::Io`], the only door to files, store, environment and clock.
//! It parses a source (`syntax`), resolves its variables to slots (`resolve`), and forces values
//! as far as somebody asks (`eval`). The language is that of Nix 2.34.
//!
//! Start at [`Evaluator`] and [`Value`]; a new builtin is one function in one file of [`builtins`].

pub mod builtins;
pub mod error;
pub mod eval;
pub mod flake_reference;
pub mod io;
pub mod json;
pub mod print;
pub mod regex;
mod resolve;
pub mod settings;
pub mod source;
pub mod stack;
pub mod symbol;
pub mod syntax;
pub mod toml;
pub mod value;

pub use error::{Error, ErrorKind, Result};
pub use eval::{Evaluator, Options};
pub use io::Io;
pub use settings::Settings;
pub use source::Span;
pub use stack::{Stack, on_large_stack};
pub use symbol::Symbol;
pub use value::Value;
