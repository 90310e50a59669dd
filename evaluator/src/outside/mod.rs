//! Implementations of [`Io`](crate::lang::Io): what an evaluation of the language may see.
//!
//! The language itself (`lang`) touches no file, no environment and no clock; all of that comes in
//! through the one trait, and this is the one place that answers it with a real file system. Even
//! here nothing is read from the process's surroundings: environment and time are given by the
//! caller. Start at [`Files`].

mod access;
mod files;
mod tree;

pub use access::Access;
pub use files::{Files, Listener};
