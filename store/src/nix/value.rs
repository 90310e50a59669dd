//! The value of one expression or file, as `nix-instantiate` prints it.
//!
//! For comparing evaluators, not for jobs: those go through [`NixProgram::eval`], which is pure and
//! confined. Start at [`NixProgram::value`].

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::eval::{EvalError, EvalFailure, Exit};
use super::program::NixProgram;
use crate::ansi::strip_ansi;

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

impl NixProgram {
    /// Evaluates and returns the value as text; writes nothing to the store.
    #[expect(clippy::disallowed_methods, reason = "this is where Nix is run")]
    pub fn value(&self, request: &ValueRequest) -> Result<PrintedValue, EvalError> {
        let program = self.path().with_file_name("nix-instantiate");
        let mut command = Command::new(&program);
        command.arg("--eval").current_dir(&request.directory).stdin(Stdio::null());
        match request.format {
            ValueFormat::Lazy => {}
            ValueFormat::Strict => drop(command.arg("--strict")),
            ValueFormat::Json => drop(command.args(["--strict", "--json"])),
        }
        if let Some(visible) = &request.visible {
            command.args(["--option", "restrict-eval", "true", "-I"]).arg(visible);
        }
        for (name, value) in &request.settings {
            command.args(["--option", name, value]);
        }
        match &request.source {
            ValueSource::Expression(expression) => command.args(["--expr", expression]),
            ValueSource::File(file) => command.arg("--").arg(file),
        };
        let output = command
            .output()
            .map_err(|source| EvalError::Start { program: program.clone(), source })?;
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
        let message = messages.trim_end().trim_start_matches("error: ").to_owned();
        Err(EvalFailure { exit, message, warnings: Vec::new() }.into())
    }
}
