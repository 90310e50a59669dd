//! Our evaluator, in a process of its own, so that whatever it does costs one answer at most.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::answer::Answer;
use crate::child::{Conversation, Said};

/// What to evaluate, and how the value is to be shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The expression; or nothing to take the file's.
    pub text: Option<String>,
    /// The file to evaluate, or the directory that relative paths in the text start from.
    pub path: PathBuf,
    /// How the value is shown.
    pub show: Show,
    /// Directories for `<name>`, as in `NIX_PATH`.
    pub search_path: Vec<String>,
    /// Variables for `getEnv`.
    pub environment: Vec<(String, String)>,
    /// Names and values of settings.
    pub settings: Vec<(String, String)>,
}

/// How a value is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Show {
    /// As `nix-instantiate --eval --strict`.
    Strict,
    /// The bytes of a string.
    Raw,
    /// As `nix-instantiate --eval --strict --json`.
    Json,
    /// As `nix-instantiate --eval --strict --xml --no-location`.
    Xml,
    /// Not evaluated: as `nix-instantiate --parse`.
    Parse,
}

impl Request {
    /// Asks for a file.
    pub(crate) fn file(path: &Path, show: Show) -> Self {
        Self {
            text: None,
            path: path.to_owned(),
            show,
            search_path: Vec::new(),
            environment: Vec::new(),
            settings: Vec::new(),
        }
    }

    /// Asks for an expression.
    pub(crate) fn text(text: impl Into<String>, base: &Path, show: Show) -> Self {
        Self { text: Some(text.into()), ..Self::file(base, show) }
    }
}

/// Our answer, as the child sends it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// The value, and what was said before it was there.
    Value(String, Vec<String>),
    /// The rendered error.
    Failure(String),
}

/// After so many questions the child is replaced: recursive values are never freed.
const QUESTIONS_PER_CHILD: usize = 500;

/// The child process.
pub(crate) struct Ours {
    child: Option<Conversation>,
    /// What was said while the last value was evaluated.
    said: Vec<String>,
    asked: usize,
    patience: Duration,
}

impl Ours {
    /// Prepares a child that must answer within `patience`.
    pub(crate) fn new(patience: Duration) -> Self {
        Self { child: None, said: Vec::new(), asked: 0, patience }
    }

    /// Sends a question.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<()> {
        if self.asked >= QUESTIONS_PER_CHILD {
            self.child = None;
        }
        let line = serde_json::to_string(request).context("cannot write the question")?;
        if let Some(child) = &mut self.child {
            child.send(&line);
        } else {
            let program = std::env::current_exe().context("cannot find this program")?;
            let mut command = Command::new(program);
            command.arg("serve").stderr(Stdio::null());
            let mut child = Conversation::start(command)?;
            child.send(&line);
            self.child = Some(child);
            self.asked = 0;
        }
        self.asked += 1;
        Ok(())
    }

    /// Waits for the answer to the last question.
    pub(crate) fn answer(&mut self) -> Answer {
        let said = match &self.child {
            Some(child) => child.listen(Instant::now() + self.patience),
            None => Said::End,
        };
        match said {
            Said::Line(line) => match serde_json::from_str(&line) {
                Ok(Reply::Value(value, said)) => {
                    self.said = said;
                    Answer::Value(value)
                }
                Ok(Reply::Failure(message)) => Answer::Failure(message),
                Err(error) => Answer::Died(format!("answered `{line}`: {error}")),
            },
            Said::End => {
                self.child = None;
                Answer::Died("the process ended".to_owned())
            }
            Said::Nothing => {
                self.child = None;
                Answer::Silent
            }
        }
    }

    /// Returns traces and warnings of the last answer, if it was a value.
    pub(crate) fn said(&self) -> &[String] {
        &self.said
    }

    /// Asks and waits.
    pub(crate) fn evaluate(&mut self, request: &Request) -> Result<Answer> {
        self.ask(request)?;
        Ok(self.answer())
    }
}
