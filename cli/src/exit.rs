//! Exit codes and the last words before them.

use std::backtrace::BacktraceStatus;
use std::error::Error;
use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use crate::memory;
use crate::terminal::Terminal;

/// All is well.
pub(crate) const SUCCESS: u8 = 0;
/// A job failed, or the user has something to mend.
pub(crate) const FAILURE: u8 = 1;
/// Every job is fine, but something could not be told to others: a push, a status.
pub(crate) const UNDELIVERED: u8 = 4;
/// Every job is fine, but a cache lied; its job's result is that of a clean build.
pub(crate) const LIED: u8 = 5;
/// Standard output was closed.
pub(crate) const BROKEN_PIPE: u8 = 3;
/// The server or its database is not reached.
const UNREACHED: u8 = 3;
/// The server's database is somebody else's.
const NOT_ALLOWED: u8 = 4;
/// Nothing runs until somebody approves it.
pub(crate) const UNAPPROVED: u8 = 5;
/// It took longer than it may, as `timeout` says it.
pub(crate) const TOO_LATE: u8 = 124;
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

    /// The server or its database is not reached.
    pub(crate) fn unreached(error: &dyn Error) -> Self {
        Self { code: UNREACHED, ..Self::error(error) }
    }

    /// The server's database is somebody else's.
    pub(crate) fn not_allowed(error: impl Display) -> Self {
        Self { code: NOT_ALLOWED, ..Self::user(error) }
    }

    /// An error of an evaluation, whose text says itself which error it is.
    pub(crate) fn rendered(text: &str) -> Self {
        Self { code: FAILURE, message: text.trim_end().to_owned(), unlabelled: false }
    }

    /// Something that should not happen.
    pub(crate) fn bug(error: impl Display) -> Self {
        if let Some(hint) = of_the_machine(&error.to_string()) {
            return Self::user(format!("{error}\nhint: {hint}"));
        }
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

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
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
    // Whatever else could be done: what the machine lacks comes first.
    match of_the_machine(&text).map(str::to_owned).or(hint) {
        Some(hint) => format!("{text}\nhint: {hint}"),
        None => text,
    }
}

/// What a machine may have too little of, in the words of the system, of Nix's database, of tokio and
/// of the standard library, with the hint. In libgit2's and Nix's messages it shows only as text.
const LACKS: &[(&[&str], &str)] = &[
    (
        &["No space left on device", "Disk quota exceeded", "database or disk is full"],
        "free some space on that disk, then start levain again; nothing is lost",
    ),
    (
        &["Too many open files"],
        "raise the limit of open files (`ulimit -n`, or that of levain's service)",
    ),
    (
        &[
            "Cannot allocate memory",
            "Resource temporarily unavailable",
            "failed to spawn thread",
            "OS can't spawn",
        ],
        "raise the limits of memory and processes (`ulimit -a`, or those of levain's service)",
    ),
];

/// Returns what to do if the machine has too little of something.
pub(crate) fn of_the_machine(text: &str) -> Option<&'static str> {
    let found = LACKS.iter().find(|(words, _)| words.iter().any(|words| text.contains(words)));
    found.map(|(_, hint)| *hint)
}

/// Tells the levain outside why the evaluation inside its sandbox could not be started.
pub(crate) fn entry(message: &str) -> ExitCode {
    Terminal::default().note(message);
    ExitCode::from(FAILURE)
}

/// Prints the failure, if there is one, and returns the exit code.
pub(crate) fn report(result: Result<ExitCode, Failure>, terminal: &Terminal) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(Failure { code, message, unlabelled }) => {
            if !message.is_empty() {
                let label = if unlabelled { "error: " } else { "" };
                terminal.note(&format!("{label}{message}"));
            }
            ExitCode::from(code)
        }
    }
}

/// Shows what is wrong with the arguments, or the help that was asked for.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Written by us alone, colours included.
        error.exit();
    }
    Terminal::default().note(error.to_string().trim_end());
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(FAILURE))
}

/// Lets the message of a panic be shown like every other: it may quote anything.
pub(crate) fn show_panics(terminal: &Terminal) {
    let terminal = terminal.clone();
    std::panic::set_hook(Box::new(move |panic| {
        let payload = panic.payload();
        let message = payload.downcast_ref::<String>().map(String::as_str);
        let message = message.or_else(|| payload.downcast_ref::<&str>().copied());
        let message = message.unwrap_or_default();
        if let Some(hint) = of_the_machine(message) {
            // The standard library and tokio panic where a thread or a pipe cannot be made.
            memory::end(&format!("error: {message}\nhint: {hint}\n"));
        }
        let backtrace = std::backtrace::Backtrace::capture();
        let is_captured = backtrace.status() == BacktraceStatus::Captured;
        let trace = if is_captured { format!("\n{backtrace}") } else { String::new() };
        terminal.note(&format!("{panic}\nhint: this is a bug in levain; please report it{trace}"));
    }));
}
