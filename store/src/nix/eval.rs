//! Pure evaluation by the `nix` program.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::confinement::{self, Confinement, View};
use super::network::{Refusal, Upstreams};
use super::process::{Exceeded, Input, PROXIES, ProcessLimits, Run, output};
use super::program::NixProgram;
use super::repository::CommitView;
use super::settings::{Settings, path_with_programs};
use crate::config::{Remote, StoreConfig, find_program};
use crate::protocol::{ConnectError, Connection};
use crate::scratch::Scratch;

/// The longest argument that Linux lets a program have, without the zero at its end.
const MAX_ARGUMENT: usize = 128 * 1024 - 1;

/// One evaluation.
///
/// It gets an empty home directory and only the variables of [`StoreConfig::environment`]. Of the
/// operator's settings of Nix it has those that are neither secret nor programs; those of git and ssh
/// have no influence on it.
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
    /// The repository that the evaluation may read, if any.
    pub repository: Option<Arc<CommitView>>,
    /// How it is kept from all files of the host.
    pub confinement: Confinement,
    /// Where Nix caches what it fetches; made if missing. Used in the same way without confinement.
    pub cache_dir: PathBuf,
    /// Where settings are written for it, which it may read and not change: not in `cache_dir`.
    pub settings_dir: PathBuf,
    /// How much of the machine it may take.
    pub limits: ProcessLimits,
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
    /// The store's daemon, which has to make the store, cannot be reached.
    #[error("cannot reach the Nix daemon before the evaluation")]
    Connect(#[source] Box<ConnectError>),
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
    /// The error, then what was being evaluated; without colours, warnings, and advice.
    pub message: String,
    /// Its warnings.
    pub warnings: Vec<String>,
    /// Hosts that it was not connected to.
    pub refusals: Vec<Refusal>,
    /// The limit that it has reached, if that is why it ended.
    pub exceeded: Option<Exceeded>,
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
        let (program, arguments, stdin) = self.evaluator(request)?;
        self.run(request, program, arguments, stdin.map_or(Input::Nothing, Input::Text))
    }

    /// Runs one of Nix's programs for an evaluation; returns what it prints.
    pub(super) fn run(
        &self,
        request: &EvalRequest,
        program: PathBuf,
        arguments: Vec<OsString>,
        input: Input<'_>,
    ) -> Result<Vec<u8>, EvalError> {
        make_dir(&request.cache_dir)?;
        let confined = match request.confinement {
            Confinement::Bubblewrap { .. } => true,
            Confinement::None => false,
        };
        let mut settings = Settings::read(&request.store);
        if request.confinement.proxied().is_some() {
            settings = settings.behind_a_proxy();
        }
        let directory = request.settings_dir.clone();
        let settings = settings
            .write(&directory)
            .map_err(|source| EvalError::Directory { path: directory, source })?;
        // Confined, it lies in memory: nothing stays behind if we are killed.
        let outside = match confined {
            true => None,
            false => {
                let made = Scratch::new("home");
                Some(made.map_err(|source| EvalError::Directory {
                    path: std::env::temp_dir(),
                    source,
                })?)
            }
        };
        let home = outside.as_ref().map_or(Path::new(confinement::HOME), |dir| dir.path());
        prepare(&request.store)?;
        let view = View {
            store: &request.store,
            program: &program,
            cache_dir: &request.cache_dir,
            settings: &settings,
            visible: None,
            repository: request.repository.as_deref(),
            directory: Path::new("/"),
            memory: request.limits.memory,
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
            .env("NIX_CONF_DIR", &settings)
            .env("PATH", path_with_programs(&settings, &request.store))
            .env("NIX_USER_CONF_FILES", "")
            .env_remove("NIX_CONFIG")
            // Git asks nobody, and says what Nix expects it to say.
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C");
        if confined {
            // Its own `/tmp` is there, another directory may not be.
            command.env_remove("TMPDIR");
        }
        if confined {
            // They may hold a password, and only our own proxy can be reached.
            for name in PROXIES {
                command.env_remove(name);
            }
        }
        let run = Run {
            program: &first,
            confined,
            proxied: request.confinement.proxied(),
            upstreams: &Upstreams::read(&request.store.environment),
            limits: request.limits,
        };
        output(command, &run, input, &self.stop)
    }

    /// Chooses the program. `nix eval` is pure by itself, but takes an expression only as an
    /// argument: from a file or standard input it would be impure on every version. Long ones go to
    /// the standard input of `nix-instantiate`, which is made pure by a setting.
    fn evaluator<'a>(
        &self,
        request: &'a EvalRequest,
    ) -> Result<(PathBuf, Vec<OsString>, Option<&'a str>), EvalError> {
        let length = request.expression.len();
        let mut words = settings(request);
        let mut add = |new: &[&str]| words.extend(new.iter().map(OsString::from));
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

/// Makes the directories of a store that are not there yet: confined, Nix could not make their
/// parents, and what is missing cannot be made visible.
pub(super) fn prepare(store: &StoreConfig) -> Result<(), EvalError> {
    if store.resolve_remote() == Remote::Child {
        make_dir(&store.real_dir)?;
        make_dir(&store.state_dir)
    } else if store.real_dir.exists() {
        Ok(())
    } else {
        // Its daemon makes it for the first who connects.
        Connection::open(store).map(drop).map_err(|error| EvalError::Connect(Box::new(error)))
    }
}

pub(super) fn make_dir(path: &Path) -> Result<(), EvalError> {
    fs::create_dir_all(path)
        .map_err(|source| EvalError::Directory { path: path.to_owned(), source })
}

/// Returns the options that every program of Nix gets for an evaluation.
pub(super) fn settings(request: &EvalRequest) -> Vec<OsString> {
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
    words
}
