//! The value of one expression or file, as `nix-instantiate` prints it.
//!
//! For comparing evaluators, not for jobs: those go through [`NixProgram::eval`]. In pure mode Nix
//! reads no files, so this is its restricted mode with what is impure in that hidden: see `pure.nix`.
//! Start at [`NixProgram::value`].

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use super::Bounded;
use super::confinement::{Confinement, HOME, View};
use super::eval::{EvalError, EvalFailure, Exit};
use super::program::NixProgram;
use super::settings::{Settings, path_with_programs};
use crate::ansi::strip_ansi;
use crate::config::StoreConfig;
use crate::scratch::Scratch;

/// What is evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueSource {
    /// An expression.
    Expression(String),
    /// A file.
    File(PathBuf),
}

/// How the value is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueFormat {
    /// As far as it is evaluated anyway.
    Lazy,
    /// Evaluated to the bottom.
    Strict,
    /// As JSON.
    Json,
}

/// A question for a value.
#[derive(Debug, Clone)]
pub struct ValueRequest {
    /// What is evaluated.
    pub source: ValueSource,
    /// How the value is printed.
    pub format: ValueFormat,
    /// Where relative paths start.
    pub directory: PathBuf,
    /// The only directory that may be read, if not everything may.
    pub visible: Option<PathBuf>,
    /// How it is kept from all other files and from the network, if not everything may be read.
    pub confinement: Confinement,
    /// The store, which is only read.
    pub store: StoreConfig,
    /// Names and values of settings.
    pub settings: Vec<(String, String)>,
}

/// What Nix printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrintedValue {
    /// The value, with a newline behind it.
    pub value: Vec<u8>,
    /// Traces and warnings.
    pub messages: String,
}

/// The scope of an expression that sees neither clock nor machine.
const PURE: &str = include_str!("pure.nix");
/// The names in it.
const NAMES: &str =
    "{ builtins, import, scopedImport, __nixPath, __storePath, __currentTime, __currentSystem }";

/// Returns what goes before a program that sees only `visible` and the store, and its `PATH`.
fn confined(
    request: &ValueRequest,
    program: &Path,
    visible: &Path,
    scratch: &Scratch,
) -> Result<(Vec<OsString>, OsString), EvalError> {
    let failed = |source| EvalError::Directory { path: scratch.path().to_owned(), source };
    let settings = Settings::read(&request.store).write(scratch.path()).map_err(failed)?;
    let view = View {
        store: &request.store,
        program,
        // It is in memory, and nothing is fetched.
        cache_dir: Path::new(HOME),
        settings: &settings,
        visible: Some(visible),
        repository: None,
        directory: &request.directory,
        memory: None,
    };
    let path = path_with_programs(&settings, &request.store);
    Ok((request.confinement.prefix(&view), path))
}

/// Returns a text as a string of the Nix language.
fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace("${", "\\${");
    format!("\"{text}\"")
}

impl NixProgram {
    /// Evaluates and returns the value as text; writes nothing to the store.
    #[expect(clippy::disallowed_methods, reason = "this is where Nix is run")]
    pub fn value(&self, request: &ValueRequest) -> Result<PrintedValue, EvalError> {
        let program = self.path().with_file_name("nix-instantiate");
        let scratch = Scratch::new("settings");
        let scratch = scratch
            .map_err(|source| EvalError::Directory { path: std::env::temp_dir(), source })?;
        let (mut words, path) = match &request.visible {
            Some(visible) => {
                let (words, path) = confined(request, &program, visible, &scratch)?;
                (words, Some(path))
            }
            None => (Vec::new(), None),
        };
        words.push(program.clone().into());
        let first = PathBuf::from(words.remove(0));
        let mut command = Command::new(&first);
        command.args(words).arg("--eval").current_dir(&request.directory).stdin(Stdio::null());
        match request.format {
            ValueFormat::Lazy => {}
            ValueFormat::Strict => drop(command.arg("--strict")),
            ValueFormat::Json => drop(command.args(["--strict", "--json"])),
        }
        if let Some(visible) = &request.visible {
            command.args(["--option", "restrict-eval", "true", "-I"]).arg(visible);
            if request.confinement != Confinement::None {
                command.env("HOME", HOME).env_remove("TMPDIR");
            }
        }
        if let Some(path) = path {
            command.env("PATH", path);
        }
        for (name, value) in &request.settings {
            command.args(["--option", name, value]);
        }
        match (&request.source, &request.visible) {
            (ValueSource::Expression(text), None) => command.args(["--expr", text]),
            (ValueSource::File(file), None) => command.arg("--").arg(file),
            (ValueSource::Expression(text), Some(_)) => {
                command.args(["--expr", &format!("({NAMES}: (\n{text}\n)) ({PURE})")])
            }
            (ValueSource::File(file), Some(_)) => {
                let path = quoted(&file.to_string_lossy());
                command.args(["--expr", &format!("builtins.scopedImport ({PURE}) {path}")])
            }
        };
        // Not limited here, but it ends when levain does.
        let ran = self.stop.run(command, Duration::MAX);
        let ran = ran.map_err(|source| EvalError::Start { program: program.clone(), source })?;
        let output = match ran {
            Bounded::Ended(output) => output,
            Bounded::Stopped | Bounded::TimedOut => {
                let exit = Exit::Signal(Signal::KILL.as_raw());
                let (message, warnings, refusals) = (String::new(), Vec::new(), Vec::new());
                let failure = EvalFailure { exit, message, warnings, refusals, exceeded: None };
                return Err(failure.into());
            }
        };
        let messages = strip_ansi(&String::from_utf8_lossy(&output.stderr)).to_string();
        if output.status.success() {
            return Ok(PrintedValue { value: output.stdout, messages });
        }
        let exit = match output.status.code() {
            Some(code) => Exit::Code(code),
            None => Exit::Signal(
                std::os::unix::process::ExitStatusExt::signal(&output.status).unwrap_or(0),
            ),
        };
        if request.visible.is_some() && messages.starts_with("bwrap: ") {
            return Err(EvalError::Confinement { message: messages.trim_end().to_owned() });
        }
        let message = messages.trim_end().trim_start_matches("error: ").to_owned();
        Err(EvalFailure {
            exit,
            message,
            warnings: Vec::new(),
            refusals: Vec::new(),
            exceeded: None,
        }
        .into())
    }
}
