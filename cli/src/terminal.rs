//! The one way to standard output and standard error.
//!
//! Attribute names, branch names, log lines, messages of git, Nix and forges: most of what levain
//! shows was written by others. So everything goes through [`Terminal`], which takes secrets out and
//! makes control characters visible. A test forbids other ways.

use std::io::{self, IsTerminal, Write};

use levain_actions::forge::{Masks, Token};
use levain_store::{visible, visible_json, visible_line};
use serde::Serialize;
use tracing_subscriber::fmt::MakeWriter;

use crate::exit::Failure;

/// Standard output and standard error. Clones are alike.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terminal {
    masks: Masks,
}

impl Terminal {
    /// Keeps this secret out of all that is shown.
    pub(crate) fn new(token: Option<&Token>) -> Self {
        Self { masks: Masks::new(token) }
    }

    /// Prints text to standard output.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        write_out(visible(&self.masks.apply(text)).as_bytes())
    }

    /// Prints one JSON document to standard output.
    pub(crate) fn print_json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(Failure::bug)?;
        write_out(visible_json(&self.masks.apply(&format!("{text}\n"))).as_bytes())
    }

    /// Prints a value that the user asked for: byte for byte, unless somebody looks at it.
    pub(crate) fn print_value(&self, value: &[u8]) -> Result<(), Failure> {
        if io::stdout().is_terminal() {
            self.print(&String::from_utf8_lossy(value))
        } else {
            write_out(value)
        }
    }

    /// Shows a message on standard error; one that nobody can read is lost.
    pub(crate) fn note(&self, message: &str) {
        self.error_stream().write_all(format!("{message}\n").as_bytes()).unwrap_or_default();
    }

    /// Returns a text as part of a line that is drawn by others.
    pub(crate) fn part_of_line(&self, text: &str) -> String {
        visible_line(&self.masks.apply(text)).into_owned()
    }

    fn error_stream(&self) -> ErrorStream {
        ErrorStream { terminal: self.clone() }
    }
}

/// Returns whether somebody looks at standard error.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

fn write_out(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(Failure::output)
}

/// Standard error. Each write must be whole lines, as those of the log are.
pub(crate) struct ErrorStream {
    terminal: Terminal,
}

impl Write for ErrorStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let shown = self.terminal.masks.apply(&text);
        io::stderr().lock().write_all(visible(&shown).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl MakeWriter<'_> for Terminal {
    type Writer = ErrorStream;

    fn make_writer(&self) -> ErrorStream {
        self.error_stream()
    }
}
