//! Exit codes and the last words before them.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// All is well.
pub(crate) const SUCCESS: u8 = 0;
/// A job failed, or the user has something to mend.
pub(crate) const FAILURE: u8 = 1;
/// Every job is fine, but something could not be told to others: a push, a status.
pub(crate) const UNDELIVERED: u8 = 4;
/// Standard output was closed.
pub(crate) const BROKEN_PIPE: u8 = 3;
/// levain itself is wrong.
pub(crate) const BUG: u8 = 255;
/// Stopped by Ctrl-C, as a shell reports it.
pub(crate) const INTERRUPTED: u8 = 130;

/// Why a command ends early.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
    /// Whether `error:` has to be put before the message.
    unlabelled: bool,
}

impl Failure {
    /// Something the user can mend.
    pub(crate) fn user(error: impl Display) -> Self {
        Self { code: FAILURE, message: error.to_string(), unlabelled: true }
    }

    /// Something the user can mend, with its causes.
    pub(crate) fn error(error: &dyn Error) -> Self {
        Self { code: FAILURE, message: with_causes(error), unlabelled: true }
    }

    /// An error of an evaluation, whose text says itself which error it is.
    pub(crate) fn rendered(text: &str) -> Self {
        Self { code: FAILURE, message: text.trim_end().to_owned(), unlabelled: false }
    }

    /// Something that should not happen.
    pub(crate) fn bug(error: impl Display) -> Self {
        Self {
            code: BUG,
            message: format!("{error}\nhint: this is a bug in levain; please report it"),
            unlabelled: true,
        }
    }

    /// Standard output could not be written.
    pub(crate) fn output(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self { code: BROKEN_PIPE, message: String::new(), unlabelled: true };
        }
        Self {
            code: FAILURE,
            message: format!("cannot write to standard output: {error}"),
            unlabelled: true,
        }
    }
}

/// Returns the message with those causes that it does not tell already, the hint last.
fn with_causes(error: &dyn Error) -> String {
    let message = error.to_string();
    let (mut text, hint) = match message.split_once("\nhint: ") {
        Some((text, hint)) => (text.to_owned(), Some(hint.to_owned())),
        None => (message, None),
    };
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(cause_text.split("\nhint: ").next().unwrap_or_default()) {
            text.push_str(&format!(": {cause_text}"));
        }
        next = cause.source();
    }
    match hint {
        // Whatever else could be done: this comes first.
        Some(_) | None if is_about_space(&text) => format!("{text}\nhint: {FREE_SPACE}"),
        Some(hint) => format!("{text}\nhint: {hint}"),
        None => text,
    }
}

const FREE_SPACE: &str = "free some space on that disk, then start levain again; nothing is lost";

/// Returns whether a disk is full, in the words of the system or of Nix's database.
///
/// The full disk shows in libgit2's and Nix's messages only as text.
fn is_about_space(text: &str) -> bool {
    ["No space left on device", "Disk quota exceeded", "database or disk is full"]
        .iter()
        .any(|words| text.contains(words))
}

/// Prints the failure, if there is one, and returns the exit code.
pub(crate) fn report(result: Result<ExitCode, Failure>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(Failure { code, message, unlabelled }) => {
            if !message.is_empty() {
                let message = crate::terminal::for_standard_error(&message);
                // If standard error is closed as well, there is nobody left to tell.
                let label = if unlabelled { "error: " } else { "" };
                writeln!(io::stderr(), "{label}{message}").unwrap_or_default();
            }
            ExitCode::from(code)
        }
    }
}
