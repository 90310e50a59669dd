//! One file per command.

pub(crate) mod audit;
pub(crate) mod cache;
pub(crate) mod eval;
pub(crate) mod expression;
pub(crate) mod run;
pub(crate) mod why;

use std::io::{self, Write};

use serde::Serialize;

use crate::exit::Failure;
use crate::terminal;

/// Prints text to standard output.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::output)
}

/// Prints one JSON document to standard output.
fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::bug)?;
    print(&format!("{text}\n"))
}

/// Shows a message on standard error; one that nobody can read is lost.
fn note(message: &str) {
    let message = terminal::for_standard_error(message);
    let shown = writeln!(io::stderr().lock(), "{message}");
    drop(shown);
}
