//! Tests with real Nix, each in a store of its own.

mod build;
mod copy;
mod end;
mod eval;
mod files;
mod fixture;
mod remote;
