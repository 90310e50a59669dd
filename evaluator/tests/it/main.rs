//! Tests of evaluation with the real Nix, in one binary.
//!
//! Every test has a store, a cache and repositories of its own.

#![expect(clippy::unwrap_used, reason = "the lint knows only functions marked as tests")]

mod flakes;
mod lib_nix;
mod nix_data;
mod purity;
mod support;
