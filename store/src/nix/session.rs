//! A Nix that stays: one process that answers many questions and outlives their errors.
//!
//! `nix eval` ends with the first error, and a process for each failing attribute costs an evaluation
//! each. `nix repl` goes on, and keeps what it has evaluated. It is asked for values by way of
//! `builtins.trace`, on the stream that has its errors: what stands between two marks belongs to one
//! question, on every version. Older versions are not pure there, so this tells *what fails and how*;
//! results come from [`NixProgram::eval`]. Start at [`EvalSession`].

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use super::eval::{EvalError, EvalFailure, EvalRequest, Exit, settings};
use super::messages;
use super::process::{Exceeded, Input, is_out_of_memory};
use super::program::NixProgram;

/// No expression goes on like this.
const SURELY_WRONG: &str = ")";
/// How Nix begins to complain of it.
const ABOUT_WRONG: &str = "error: syntax error, unexpected ')'";
/// How much is kept of what Nix says about one question.
const MAX_TEXT: usize = 1 << 20;
/// The longest line that is read whole.
const MAX_LINE: u64 = 64 << 20;

/// A running session.
///
/// Ends when it is dropped, and with [`super::Stop`].
#[derive(Debug)]
pub struct EvalSession {
    /// Gone when nothing more is asked.
    questions: Option<Sender<String>>,
    answers: Receiver<Heard>,
    conversation: Option<JoinHandle<Result<Vec<u8>, EvalError>>>,
    mark: String,
    /// The limit of its memory.
    memory: Option<u64>,
}

/// Why a session gives no more answers.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Nix ended, and this is what it said last.
    #[error("nix ended during a session: {0}")]
    Ended(Box<EvalFailure>),
    /// It could not be run.
    #[error(transparent)]
    Eval(#[from] EvalError),
}

/// What is heard about a question.
#[derive(Debug)]
enum Heard {
    Answer {
        value: Option<Vec<u8>>,
        text: Vec<u8>,
    },
    /// Nix has ended, and this is what it said since the last answer.
    End {
        text: Vec<u8>,
    },
}

/// What [`super::process`] needs to serve a conversation.
pub(super) struct Talk {
    pub(super) questions: Receiver<String>,
    pub(super) listener: Listener,
}

/// Sorts what Nix prints into answers.
pub(super) struct Listener {
    answers: Sender<Heard>,
    mark: String,
}

impl EvalSession {
    /// Starts a session in which `subject` is the value of `request.expression`.
    ///
    /// Expressions may have lines that are comments, but no other comments and no strings of several
    /// lines: the session reads single lines.
    pub fn start(nix: &NixProgram, request: &EvalRequest) -> Result<Self, SessionError> {
        // A flake must not be able to answer for Nix, so the mark is one that it cannot know.
        let mark = format!("levain-{:016x}", RandomState::new().build_hasher().finish());
        let (questions, asked) = mpsc::channel();
        let (said, answers) = mpsc::channel();
        let listener = Listener { answers: said, mark: mark.clone() };
        let (program, request) = (nix.clone(), request.clone());
        let memory = request.limits.memory;
        let subject = one_line(&request.expression);
        let conversation = std::thread::spawn(move || {
            let mut words = vec!["repl".into()];
            words.extend(settings(&request));
            let talk = Input::Talk(Talk { questions: asked, listener });
            program.run(&request, program.path().to_owned(), words, talk)
        });
        let mut session = Self {
            questions: Some(questions),
            answers,
            conversation: Some(conversation),
            mark,
            memory,
        };
        session.say(format!("subject = ({subject})"));
        session.say(session.end());
        // What it says when it starts belongs to no question.
        session.hear()?;
        Ok(session)
    }

    /// Returns the value of an expression as JSON, or Nix's error. It must be a single line of ASCII.
    ///
    /// The message is empty where Nix does not say it: a session takes a file that ends too early for
    /// an unfinished line of its own.
    pub fn ask(&mut self, expression: &str) -> Result<Result<Vec<u8>, EvalFailure>, SessionError> {
        let mark = &self.mark;
        self.say(format!(
            "builtins.trace (\"{mark} value \" + builtins.toJSON ({expression})) null"
        ));
        // What can be no continuation of anything makes it give up an unfinished line.
        self.say(SURELY_WRONG.to_owned());
        self.say(self.end());
        let (value, text) = self.hear()?;
        let text = before_wrong(&text);
        Ok(value.ok_or_else(|| {
            let (message, warnings) = messages::arrange(&String::from_utf8_lossy(text));
            EvalFailure {
                exit: Exit::Code(1),
                message,
                warnings,
                refusals: Vec::new(),
                exceeded: None,
            }
        }))
    }

    fn end(&self) -> String {
        format!("builtins.trace \"{} end\" null", self.mark)
    }

    fn say(&self, line: String) {
        // If nobody listens any more, Nix has ended, and `hear` tells.
        if let Some(questions) = &self.questions
            && questions.send(line).is_err()
        {
            tracing::debug!("the session has ended");
        }
    }

    fn hear(&mut self) -> Result<(Option<Vec<u8>>, Vec<u8>), SessionError> {
        match self.answers.recv() {
            Ok(Heard::Answer { value, text }) => Ok((value, text)),
            Ok(Heard::End { text }) => Err(self.ended(&text)),
            Err(mpsc::RecvError) => Err(self.ended(b"")),
        }
    }

    fn ended(&mut self, text: &[u8]) -> SessionError {
        let ended = match self.finish() {
            Ok(()) => None,
            // Its messages went to us.
            Err(EvalError::Failed(failure)) => Some(failure),
            Err(error) => return error.into(),
        };
        let text = String::from_utf8_lossy(text);
        let memory = || is_out_of_memory(&text).then_some(Exceeded::Memory(self.memory));
        let (message, warnings) = messages::arrange(&text);
        SessionError::Ended(Box::new(match ended {
            Some(failure) => {
                let exceeded = failure.exceeded.or_else(memory);
                EvalFailure { message, warnings, exceeded, ..failure }
            }
            None => EvalFailure {
                exit: Exit::Code(0),
                message,
                warnings,
                refusals: Vec::new(),
                exceeded: memory(),
            },
        }))
    }

    /// Asks nothing more, and waits for the end.
    fn finish(&mut self) -> Result<(), EvalError> {
        self.questions = None;
        let Some(conversation) = self.conversation.take() else { return Ok(()) };
        let ended = conversation.join();
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map(drop)
    }
}

impl Drop for EvalSession {
    fn drop(&mut self) {
        self.questions = None;
        if let Some(conversation) = self.conversation.take()
            && !matches!(conversation.join(), Ok(Ok(_)))
        {
            tracing::debug!("a session did not end well");
        }
    }
}

impl Listener {
    /// Listens to the end of the stream; no messages are left for others.
    pub(super) fn listen(self, stream: impl Read) -> io::Result<Vec<u8>> {
        let mut stream = BufReader::new(stream);
        let value_mark = format!("trace: {} value ", self.mark).into_bytes();
        let end_mark = format!("trace: {} end\n", self.mark).into_bytes();
        let (mut value, mut text) = (None, Vec::new());
        loop {
            let mut line = Vec::new();
            (&mut stream).take(MAX_LINE).read_until(b'\n', &mut line)?;
            if line.is_empty() {
                break;
            }
            if let Some(json) = line.strip_prefix(value_mark.as_slice()) {
                value = Some(json.trim_ascii_end().to_owned());
            } else if line == end_mark {
                let answer = Heard::Answer { value: value.take(), text: std::mem::take(&mut text) };
                if self.answers.send(answer).is_err() {
                    tracing::debug!("an answer that nobody waits for");
                }
            } else {
                text.extend(line);
                if text.len() > 2 * MAX_TEXT {
                    text.drain(..text.len() - MAX_TEXT);
                }
            }
        }
        if self.answers.send(Heard::End { text }).is_err() {
            tracing::debug!("the session is over");
        }
        Ok(Vec::new())
    }
}

/// Returns what was said before the complaint about [`SURELY_WRONG`].
fn before_wrong(text: &[u8]) -> &[u8] {
    let complaint = ABOUT_WRONG.as_bytes();
    let at = text.windows(complaint.len()).rposition(|window| window == complaint);
    at.map_or(text, |at| &text[..at])
}

/// Returns an expression without its lines of comments, as one line.
fn one_line(expression: &str) -> String {
    let lines = expression.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(printed: &str) -> Vec<Heard> {
        let (answers, all) = mpsc::channel();
        let listener = Listener { answers, mark: "m".into() };
        assert_eq!(listener.listen(printed.as_bytes()).unwrap(), b"");
        all.iter().collect()
    }

    #[test]
    fn what_stands_between_two_marks_is_one_answer() {
        let all = heard(
            "Welcome\ntrace: m end\ntrace: m value {}\ntrace: m end\ntrace: x\nerror: no\ntrace: m end\nerror: stack",
        );
        let text = |heard: &Heard| match heard {
            Heard::Answer { value, text } => {
                (value.clone(), String::from_utf8_lossy(text).into_owned())
            }
            Heard::End { text } => (None, format!("end {}", String::from_utf8_lossy(text))),
        };
        assert_eq!(
            all.iter().map(text).collect::<Vec<_>>(),
            [
                (None, "Welcome\n".to_owned()),
                (Some(b"{}".to_vec()), String::new()),
                (None, "trace: x\nerror: no\n".to_owned()),
                (None, "end error: stack".to_owned()),
            ]
        );
    }

    #[test]
    fn only_the_end_of_a_long_answer_is_kept() {
        let long = format!("{}\nerror: no\ntrace: m end\n", "x\n".repeat(2 * MAX_TEXT));
        let all = heard(&long);
        let Heard::Answer { text, .. } = &all[0] else { panic!("no answer") };
        assert!(text.len() <= 2 * MAX_TEXT && text.ends_with(b"error: no\n"));
    }

    #[test]
    fn the_complaint_about_the_wrong_line_is_no_answer() {
        let text = b"error: no\nerror: syntax error, unexpected ')'\n  at (string):1:1\n";
        assert_eq!(before_wrong(text), b"error: no\n");
        assert_eq!(before_wrong(&text[10..]), b"");
        assert_eq!(before_wrong(b"error: no\n"), b"error: no\n");
    }

    #[test]
    fn expressions_become_one_line() {
        assert_eq!(one_line("# a\nx:\n  # b\n  x + 1\n\n"), "x: x + 1");
    }
}
