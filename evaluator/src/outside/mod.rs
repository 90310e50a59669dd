//! Implementations of [`Io`](crate::lang::Io): what an evaluation of the language may see.
//!
//! The language itself (`lang`) touches no file, no environment and no clock; all of that comes in
//! through the one trait, and this is the one place that answers it with a real file system. Even
//! here nothing is read from the process's surroundings: environment and time are given by the
//! caller. Start at [`Files`]; [`Recorded`] remembers what was asked.

mod access;
mod fetching;
mod files;
mod host;
mod mounts;
mod recorded;
mod source;

pub use access::Access;
pub use files::{Files, Listener};
pub use recorded::{Read, Recorded};
pub use source::{FetchedTree, Fetcher, References};
