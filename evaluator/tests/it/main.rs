//! Tests of evaluation with the real Nix, in one binary.
//!
//! Every test has a store, a cache and repositories of its own.

#![expect(clippy::unwrap_used, reason = "the lint knows only functions marked as tests")]
#![expect(clippy::disallowed_methods, reason = "tests prepare files and use the real git and Nix")]

mod builtins;
mod derivations;
mod flakes;
// The readers' inputs are made by the program of `scripts/agreement --panic`.
mod get_flake;
#[path = "../../examples/agreement/hostile/mod.rs"]
mod hostile;
mod lang;
mod lib_incremental;
mod lib_nix;
mod nix_data;
mod outside;
mod purity;
#[path = "../../examples/agreement/random.rs"]
mod random;
mod readers;
mod support;
