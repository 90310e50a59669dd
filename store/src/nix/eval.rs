//! Pure evaluation by the `nix` program.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};

use super::confinement::{self, Confinement, View};
use super::program::NixProgram;
use super::stop::Stop;
use crate::ansi::strip_ansi;
use crate::config::{Remote, StoreConfig, find_program};

/// The longest argument that Linux lets a program have, without the zero at its end.
const MAX_ARGUMENT: usize = 128 * 1024 - 1;
/// How much of Nix's messages is kept.
const MAX_STDERR: usize = 4 << 20;

/// One evaluation.
///
/// It gets an empty home directory and only the variables of [`StoreConfig::environment`]: the user's
/// own settings of Nix, git and ssh have no influence on it.
#[derive(Debug, Clone)]
pub struct EvalRequest {
    /// The Nix expression; its value is printed as JSON. It gets no arguments.
    pub expression: String,
    /// The store in which derivations are written.
    pub store: StoreConfig,
    /// Write nothing to the store, not even derivations.
    pub read_only: bool,
    /// Let the evaluation build what it imports.
    pub allow_import_from_derivation: bool,
    /// The deepest nesting of calls; Nix older than 2.20 has no such limit and ignores it.
    pub max_call_depth: Option<u32>,
    /// Files and directories of the host that the evaluation may read, such as a git mirror.
    pub visible: Vec<PathBuf>,
    /// How it is kept from all others.
    pub confinement: Confinement,
    /// Where Nix caches what it fetches; made if missing. Used in the same way without confinement.
    pub cache_dir: PathBuf,
}

/// An evaluation that gave no value.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// Nix reports an error in what was evaluated, or ended otherwise.
    #[error(transparent)]
    Failed(#[from] EvalFailure),
    /// A program could not be started.
    #[error("cannot start `{}`", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The expression is too long for an argument, and there is no `nix-instantiate` to read it.
    #[error(
        "the expression has {length} bytes, more than the {limit} that an argument can have, and `nix-instantiate` was not found beside `nix`\nhint: install all of Nix's programs"
    )]
    TooLong {
        /// The length of the expression.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// The namespaces could not be made; nothing was evaluated.
    #[error(
        "cannot confine the evaluation: {message}\nhint: `bwrap` must be allowed to make user namespaces"
    )]
    Confinement {
        /// What `bwrap` said.
        message: String,
    },
    /// A directory for the evaluation could not be made.
    #[error("cannot make the directory `{}`", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The program's output could not be read.
    #[error("cannot read what `{}` prints", program.display())]
    Read {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What Nix said instead of a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", if message.is_empty() { exit.to_string() } else { message.clone() })]
pub struct EvalFailure {
    /// How the program ended.
    pub exit: Exit,
    /// Its messages, without colours, warnings, and the advice to use `--show-trace`.
    pub message: String,
    /// Its warnings.
    pub warnings: Vec<String>,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Exit {
    /// By itself, with this status.
    #[error("nix exited with status {0}")]
    Code(i32),
    /// By this signal.
    #[error("nix was ended by signal {0}")]
    Signal(i32),
}

impl NixProgram {
    /// Evaluates an expression purely; returns its value as JSON.
    pub fn eval(&self, request: &EvalRequest) -> Result<Vec<u8>, EvalError> {
        make_dir(&request.cache_dir)?;
        let confined = match request.confinement {
            Confinement::Bubblewrap { .. } => true,
            Confinement::None => false,
        };
        // Confined, it lies in memory: nothing stays behind if we are killed.
        let outside = match confined {
            true => None,
            false => {
                let made = tempfile::Builder::new().prefix("levain-home-").tempdir();
                Some(made.map_err(|source| EvalError::Directory {
                    path: std::env::temp_dir(),
                    source,
                })?)
            }
        };
        let home = outside.as_ref().map_or(Path::new(confinement::HOME), |dir| dir.path());
        if request.store.resolve_remote() == Remote::Child {
            // Nix makes these itself, but confined it could not make their parents.
            make_dir(&request.store.real_dir)?;
            make_dir(&request.store.state_dir)?;
        }
        let (program, arguments, stdin) = self.evaluator(request)?;
        let view = View {
            store: &request.store,
            program: &program,
            cache_dir: &request.cache_dir,
            visible: &request.visible,
        };
        let mut words = request.confinement.prefix(&view);
        words.push(program.into());
        words.extend(arguments);
        let first = PathBuf::from(words.remove(0));
        #[expect(clippy::disallowed_methods, reason = "this module starts Nix")]
        let mut command = Command::new(&first);
        command
            .args(words)
            .env_clear()
            .envs(&request.store.environment)
            .env("HOME", home)
            .env("XDG_CACHE_HOME", &request.cache_dir)
            // Git asks nobody, and says what Nix expects it to say.
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C");
        if confined {
            // Its own `/tmp` is there, another directory may not be.
            command.env_remove("TMPDIR");
        }
        output(command, &first, stdin, confined, &self.stop)
    }

    /// Chooses the program. `nix eval` is pure by itself, but takes an expression only as an
    /// argument: from a file or standard input it would be impure on every version. Long ones go to
    /// the standard input of `nix-instantiate`, which is made pure by a setting.
    fn evaluator<'a>(
        &self,
        request: &'a EvalRequest,
    ) -> Result<(PathBuf, Vec<OsString>, Option<&'a str>), EvalError> {
        let length = request.expression.len();
        let mut words: Vec<OsString> = Vec::new();
        let mut add = |new: &[&str]| words.extend(new.iter().map(OsString::from));
        add(&["--extra-experimental-features", "nix-command flakes"]);
        let import = if request.allow_import_from_derivation { "true" } else { "false" };
        add(&["--option", "allow-import-from-derivation", import]);
        add(&["--option", "pure-eval", "true", "--option", "warn-dirty", "false"]);
        // A flake must not change the settings of the Nix that evaluates it, nor ask about it.
        add(&["--option", "accept-flake-config", "false"]);
        let depth = request.max_call_depth.map(|depth| depth.to_string());
        if let Some(depth) = &depth {
            add(&["--option", "max-call-depth", depth]);
        }
        if length <= MAX_ARGUMENT {
            if request.read_only {
                add(&["--read-only"]);
            }
            let mut arguments: Vec<OsString> = vec!["eval".into(), "--json".into()];
            arguments.append(&mut words);
            arguments.extend(["--no-update-lock-file", "--expr"].map(OsString::from));
            arguments.push(request.expression.as_str().into());
            return Ok((self.path().to_owned(), arguments, None));
        }
        add(&["--eval", "--strict", "--json"]);
        if !request.read_only {
            add(&["--read-write-mode"]);
        }
        add(&["-"]);
        let dir = self.path().parent().unwrap_or(Path::new("/"));
        let program = find_program("nix-instantiate", dir.as_os_str())
            .ok_or(EvalError::TooLong { length, limit: MAX_ARGUMENT })?;
        Ok((program, words, Some(&request.expression)))
    }
}

fn make_dir(path: &Path) -> Result<(), EvalError> {
    fs::create_dir_all(path)
        .map_err(|source| EvalError::Directory { path: path.to_owned(), source })
}

/// Starts `command` and serves its three streams at the same time, so that none can block another.
fn output(
    mut command: Command,
    program: &Path,
    stdin: Option<&str>,
    confined: bool,
    stop: &Stop,
) -> Result<Vec<u8>, EvalError> {
    let start = |source| EvalError::Start { program: program.to_owned(), source };
    let read = |source| EvalError::Read { program: program.to_owned(), source };
    // A group of its own, so that `Stop` reaches all of it.
    command.process_group(0);
    command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(start)?;
    let (input, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let watched = stop.watch(child);
    let (value, messages) = std::thread::scope(|scope| {
        let messages = scope.spawn(move || stderr.map_or(Ok(Vec::new()), read_end));
        scope.spawn(move || feed(input, stdin));
        let mut value = Vec::new();
        let value = match stdout.map(|mut stdout| stdout.read_to_end(&mut value)) {
            Some(Err(error)) => Err(error),
            Some(Ok(_)) | None => Ok(value),
        };
        (value, messages.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let status = watched.wait().map_err(read)?;
    let (mut value, messages) = (value.map_err(read)?, messages.map_err(read)?);
    let exit = match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or(0)),
    };
    let (message, warnings) = clean(&String::from_utf8_lossy(&messages));
    if exit != Exit::Code(0) {
        // Half a value may have been printed: it must not be looked at.
        return Err(failed(EvalFailure { exit, message, warnings }, confined));
    }
    for warning in warnings {
        tracing::debug!(target: "nix", "{warning}");
    }
    // Versions differ in the line feed at the end.
    value.truncate(value.trim_ascii_end().len());
    Ok(value)
}

/// Tells a failure of `bwrap` from one of Nix, whose messages never begin with that name.
fn failed(failure: EvalFailure, confined: bool) -> EvalError {
    if confined && failure.message.starts_with("bwrap: ") {
        EvalError::Confinement { message: failure.message }
    } else {
        EvalError::Failed(failure)
    }
}

/// Writes the expression. A program that ends without reading all of it says itself why.
fn feed(input: Option<ChildStdin>, text: Option<&str>) {
    if let (Some(mut input), Some(text)) = (input, text)
        && let Err(error) = input.write_all(text.as_bytes())
    {
        tracing::debug!(%error, "writing an expression to nix-instantiate");
    }
}

/// Reads a stream to its end, and keeps the last part: that is where the error stands.
fn read_end(mut stream: impl Read) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    let mut block = vec![0; 16 * 1024];
    loop {
        match stream.read(&mut block) {
            Ok(0) => return Ok(kept),
            Ok(count) => kept.extend_from_slice(&block[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if kept.len() > 2 * MAX_STDERR {
            kept.drain(..kept.len() - MAX_STDERR);
        }
    }
}

/// Parts Nix's messages into what went wrong and what is only a warning.
fn clean(stderr: &str) -> (String, Vec<String>) {
    let mut message = Vec::new();
    let mut warnings = Vec::new();
    for line in strip_ansi(stderr).lines() {
        if let Some(warning) = line.strip_prefix("warning:") {
            warnings.push(warning.trim().to_owned());
        } else if !line.trim_start().starts_with("(use '--show-trace'") {
            message.push(line.trim_end().to_owned());
        }
    }
    (message.join("\n").trim().to_owned(), warnings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_parted_from_warnings() {
        let (message, warnings) = clean(
            "\u{1b}[35;1mwarning:\u{1b}[0m unknown setting 'x'\n\u{1b}[31;1merror:\u{1b}[0m no\n\n   at here\n(use '--show-trace' to show detailed location information)\n",
        );
        assert_eq!(message, "error: no\n\n   at here");
        assert_eq!(warnings, ["unknown setting 'x'"]);
    }

    #[test]
    fn a_confinement_that_fails_is_no_fault_of_the_flake() {
        let said = |message: &str, confined| {
            let message = message.to_owned();
            failed(EvalFailure { exit: Exit::Code(1), message, warnings: Vec::new() }, confined)
        };
        let refused = "bwrap: No permissions to create new namespace";
        assert!(matches!(said(refused, true), EvalError::Confinement { .. }));
        assert!(matches!(said(refused, false), EvalError::Failed(_)));
        assert!(matches!(said("error: bwrap: no", true), EvalError::Failed(_)));
    }

    #[test]
    fn only_the_end_of_long_messages_is_kept() {
        let mut long = vec![b'a'; 3 * MAX_STDERR];
        long.extend(b"the error");
        let kept = read_end(long.as_slice()).unwrap();
        assert!(kept.len() <= 2 * MAX_STDERR && kept.ends_with(b"the error"));
    }
}
