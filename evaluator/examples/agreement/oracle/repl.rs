//! A session with `nix repl`, which survives errors and answers thousands of questions a second.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{OUT_OF_MEMORY, program};
use crate::answer::Answer;
use crate::child::{Conversation, Said};

/// After so many questions a session is replaced, because it forgets no file that it read.
const QUESTIONS_PER_SESSION: usize = 2000;
/// No expression goes on like this.
const SURELY_WRONG: &str = ")";
/// How a session complains of it.
const ABOUT_WRONG: &str = "error: syntax error, unexpected ')'";
/// How a value begins; see `show.nix` for the mark. It is asked for in a list, since newer versions print
/// a string that stands alone without quotes.
const VALUE: &str = "\"@V@";
/// How that line ends.
const VALUE_END: &str = "\" ]";

/// Nix, ready to be asked.
pub(crate) struct Repl {
    scratch: PathBuf,
    show: PathBuf,
    session: Option<Conversation>,
    asked: usize,
    patience: Duration,
}

impl Repl {
    /// Prepares sessions; `show` is the file with the function that turns values into text.
    pub(crate) fn new(scratch: &Path, show: &Path, patience: Duration) -> Self {
        Self {
            scratch: scratch.to_owned(),
            show: show.to_owned(),
            session: None,
            asked: 0,
            patience,
        }
    }

    fn session(&mut self) -> Result<&mut Conversation> {
        if self.asked >= QUESTIONS_PER_SESSION {
            self.session = None;
        }
        if self.session.is_none() {
            // Both outputs in one, so that their order is kept.
            let mut command = program("sh", &self.scratch);
            command.args([
                "-c",
                "exec nix --extra-experimental-features 'nix-command flakes' repl 2>&1",
            ]);
            command.stderr(Stdio::null()).current_dir(&self.scratch);
            let mut session = Conversation::start(command)?;
            session.send(&format!("show = import {}", self.show.display()));
            self.session = Some(session);
            self.asked = 0;
        }
        self.asked += 1;
        match &mut self.session {
            Some(session) => Ok(session),
            None => anyhow::bail!("there is no session"),
        }
    }

    /// Asks for the value of a file; `unsure` says that it may not be the language at all.
    pub(crate) fn ask(&mut self, file: &Path, unsure: bool) -> Result<()> {
        let number = self.asked + 1;
        let session = self.session()?;
        session.send(&format!(":p [ (show (import {})) ]", file.display()));
        if unsure {
            // A session takes a file that ends too early for an unfinished line, and waits. What
            // can be no continuation of anything makes it give up.
            session.send(SURELY_WRONG);
        }
        // In two parts: the session repeats what it is sent.
        session.send(&format!(":p \"@EN\" + \"D@{number}@\""));
        Ok(())
    }

    /// Waits for the answer to the last question.
    pub(crate) fn answer(&mut self) -> Answer {
        let deadline = Instant::now() + self.patience;
        let mut text = String::new();
        let Some(session) = &self.session else {
            return Answer::Died("there is no session".to_owned());
        };
        loop {
            match session.listen(deadline) {
                Said::Line(line) if line.contains("@END@") => break,
                Said::Line(line) => {
                    text.push_str(&plain(&line));
                    text.push('\n');
                }
                Said::End => {
                    self.session = None;
                    return Answer::Died(text);
                }
                Said::Nothing => {
                    self.session = None;
                    return Answer::Silent;
                }
            }
        }
        // Traces may come between the list's bracket and its value.
        let value = text.lines().find_map(|line| {
            let line = line.strip_prefix("[ ").unwrap_or(line);
            line.trim_end().strip_prefix(VALUE)?.strip_suffix(VALUE_END)
        });
        if let Some(value) = value {
            return Answer::Value(without_dollars(value));
        }
        if text.contains(OUT_OF_MEMORY) {
            // It gives nothing back.
            self.session = None;
            return Answer::Died(text);
        }
        // What is said about the file comes before what is said about the wrong line.
        let told = text.rfind(ABOUT_WRONG).map_or("", |at| &text[..at]);
        Answer::Failure(if told.contains("error:") { told.to_owned() } else { text })
    }
}

/// Removes colours.
fn plain(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        result.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    result.push_str(rest);
    result
}

/// Undoes the escaping of `${`, which older versions leave as it is.
fn without_dollars(printed: &str) -> String {
    let mut text = String::with_capacity(printed.len());
    let mut rest = printed.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '\\' && rest.peek() != Some(&'$') {
            text.push(c);
            text.extend(rest.next());
        } else if c != '\\' {
            text.push(c);
        }
    }
    text
}

/// Escapes a string as a session prints it, so that ours can be compared.
pub(crate) fn as_printed(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c => text.push(c),
        }
    }
    text
}
