//! Tests with real Nix, each in a store of its own.

#![expect(clippy::unwrap_used, reason = "the lint knows only functions marked as tests")]

mod build;
mod copy;
mod end;
mod eval;
mod files;
mod fixture;
mod output_paths;
mod remote;
mod twin;
