//! Random sequences of edits: whatever happens to a project, its incremental builds equal clean ones.
//!
//! Each test takes one toolchain and a generated project ([`project`]), changes it step by step
//! ([`edit`]), and builds every step twice ([`sequence`]): with `levain run`, and clean. A few steps by
//! default; `scripts/edit-sequences` does more. Each prints a line with what it did, and its seed.
//!
//! `LEVAIN_TEST_STEPS` is the number of steps, `LEVAIN_TEST_SEED` repeats a sequence, and
//! `LEVAIN_TEST_SETTINGS` stands in for the settings of all toolchains: with `{ }`, commands are skipped.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

#[path = "../system/environment.rs"]
#[allow(dead_code, reason = "the whole-system tests use the rest")]
mod environment;

mod compare;
mod edit;
mod liars;
mod project;
mod random;
mod sequence;
mod toolchains;

use crate::sequence::Sequence;
use crate::toolchains::{Toolchain, c, cargo, dune, ghc, go, tsc};

/// The sequence of the ordinary tests: always the same, so that a change is judged by what it
/// changes. `scripts/edit-sequences` draws a new one each time.
const SEED: u64 = 4711;

/// Goes through a random sequence with a toolchain, if it is installed.
#[track_caller]
fn check(toolchain: &Toolchain) {
    let steps = number("LEVAIN_TEST_STEPS").map_or(toolchain.short, |steps| steps as usize);
    let seed = number("LEVAIN_TEST_SEED").unwrap_or(SEED);
    let name = toolchain.name;
    if let Some(missing) = toolchain.missing() {
        sequence::say(&format!("sequence|{name}|skipped: {missing} is missing"));
        return;
    }
    let mut sequence = Sequence::new(toolchain, seed);
    let difference = sequence.random(steps).err();
    sequence::say(&sequence.summary());
    if let Some(difference) = difference {
        panic!(
            "{difference}\nrepeat it with LEVAIN_TEST_SEED={seed} LEVAIN_TEST_STEPS={steps}\nedits:\n  {}",
            sequence.history().join("\n  ")
        );
    }
}

/// Returns the number that a variable holds; a text that is none is a mistake to be told of.
#[track_caller]
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}: expected a number, found `{text}`")))
}

#[test]
fn make() {
    check(&c::MAKE);
}

#[test]
fn ninja() {
    check(&c::NINJA);
}

#[test]
fn cmake() {
    check(&c::CMAKE);
}

#[test]
fn meson() {
    check(&c::MESON);
}

#[test]
fn cargo() {
    check(&cargo::CARGO);
}

#[test]
fn go() {
    check(&go::GO);
}

#[test]
fn tsc() {
    check(&tsc::TSC);
}

#[test]
fn ghc() {
    check(&ghc::GHC);
}

#[test]
fn dune() {
    check(&dune::DUNE);
}
