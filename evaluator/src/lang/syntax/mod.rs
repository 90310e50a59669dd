//! From text to a tree: lexer, parser and the tree itself.
//!
//! The lexer follows Nix's rules of the longest match; the parser is recursive descent with
//! binding powers for the operators. Names are symbols, attribute definitions are merged, and
//! indented strings are stripped when the tree is made; variables are resolved later.
//! Start at [`parse`] and [`ast`].

pub mod ast;
mod attributes;
pub mod bindings;
mod lexer;
mod lint;
mod parser;
mod print;
mod strings;
#[cfg(test)]
mod tests;

pub use lexer::count_tokens;
pub use lint::Literal;
pub use parser::{ParseOptions, parse};
pub use print::print;
