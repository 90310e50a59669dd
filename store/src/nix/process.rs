//! A Nix program at work: its streams, its limits, its end.
//!
//! Knows nothing about what is evaluated or fetched. Start at [`output`].

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::alone::{alone, limit_memory};
use super::eval::{EvalError, EvalFailure, Exit};
use super::network::{AllowedHost, Proxy, Upstreams};
use super::session::Talk;
use super::stop::{Stop, Watched};
use super::{entry, messages};
use crate::ansi::strip_ansi;

/// The variables by which curl and git find a proxy.
pub(super) const PROXIES: &[&str] = &[
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
];
/// How much of Nix's messages is kept.
const MAX_STDERR: usize = 4 << 20;

/// The most that a program may print; more than all jobs of nixpkgs have to say.
const MAX_STDOUT: u64 = 256 << 20;

/// How much of the machine a program may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessLimits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Time until it is ended.
    pub time: Option<Duration>,
}

/// When the time for several programs together is over.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    started: Instant,
    time: Duration,
}

impl Deadline {
    /// Returns the deadline that is `time` from now.
    pub fn after(time: Duration) -> Self {
        Self { started: Instant::now(), time }
    }

    /// Returns how much time is left, or that none is.
    pub fn left(&self) -> Result<Duration, Exceeded> {
        let left = self.time.checked_sub(self.started.elapsed());
        left.filter(|left| !left.is_zero()).ok_or_else(|| self.exceeded())
    }

    /// Returns the limit, as it is told.
    pub const fn exceeded(&self) -> Exceeded {
        Exceeded::Time(self.time)
    }
}

/// A limit that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// It took too long.
    #[error(
        "the evaluation takes longer than {} s, its time limit\nhint: raise it with `--evaluation-timeout SECONDS`, and `evaluation.timeout` in `levainProject` if that is lower", .0.as_secs()
    )]
    Time(Duration),
    /// It needed too much memory; the limit in bytes, if there was one of ours.
    #[error("{}", out_of_memory(.0))]
    Memory(Option<u64>),
    /// It printed too much.
    #[error("the evaluation has a result of more than {0} bytes")]
    Output(u64),
}

fn out_of_memory(limit: &Option<u64>) -> String {
    match limit {
        Some(bytes) => format!(
            "the evaluation needs more than {} MiB of memory, its limit\nhint: raise it with `--evaluation-memory MIB`, and `evaluation.memory` in `levainProject` if that is lower",
            bytes >> 20
        ),
        None => "the machine has too little memory for the evaluation".to_owned(),
    }
}

/// What a program gets on standard input.
pub(super) enum Input<'a> {
    Nothing,
    Text(&'a str),
    /// Line after line, as the listener to its messages asks for them; no messages are kept.
    Talk(Talk),
}

/// What is written to a program.
enum Lines<'a> {
    One(&'a str),
    Many(Receiver<String>),
}

/// How a program is run.
pub(super) struct Run<'a> {
    pub(super) program: &'a Path,
    pub(super) confined: bool,
    /// What its proxy may connect it to besides public hosts, if it has one.
    pub(super) proxied: Option<&'a [AllowedHost]>,
    /// The proxies that its proxy asks in turn.
    pub(super) upstreams: &'a Upstreams,
    pub(super) limits: ProcessLimits,
}

/// Starts `command` and serves its three streams at the same time, so that none can block another.
pub(super) fn output(
    mut command: Command,
    run: &Run<'_>,
    input: Input<'_>,
    stop: &Stop,
) -> Result<Vec<u8>, EvalError> {
    let program = run.program;
    let start = |source| EvalError::Start { program: program.to_owned(), source };
    let read = |source| EvalError::Read { program: program.to_owned(), source };
    // In a session of its own, so that `Stop` reaches all of it, and killed with us.
    // An entry limits itself.
    if let (Some(bytes), None) = (run.limits.memory, run.proxied) {
        limit_memory(&mut command, bytes);
    }
    alone(&mut command);
    let (ours, theirs) = UnixStream::pair().map_err(start)?;
    let has_input = !matches!(input, Input::Nothing);
    command.stdin(if has_input || run.proxied.is_some() {
        Stdio::from(OwnedFd::from(theirs))
    } else {
        Stdio::null()
    });
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(start)?;
    // It holds the other end of the socket.
    drop(command);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let watched = stop.watch(child);
    let (lines, listener) = match input {
        Input::Nothing => (Lines::One(""), None),
        Input::Text(text) => (Lines::One(text), None),
        Input::Talk(Talk { questions, listener }) => (Lines::Many(questions), Some(listener)),
    };
    let served = std::thread::scope(|scope| {
        let (watched, ours, time) = (&watched, &ours, run.limits.time);
        // Not `scope.spawn`, which panics where there is no memory for a thread.
        let thread = std::thread::Builder::new;
        let (ended, end) = channel();
        let work = || {
            let watchdog = thread().spawn_scoped(scope, move || watch(watched, time, &end))?;
            let messages = thread().spawn_scoped(scope, move || match (stderr, listener) {
                (None, _) => Ok(Vec::new()),
                (Some(stderr), None) => read_end(stderr),
                (Some(stderr), Some(listener)) => listener.listen(stderr),
            })?;
            let proxy = thread().spawn_scoped(scope, move || {
                let proxy = run.proxied.map_or(Ok(None), |allowed| {
                    entry::receive(ours)?
                        .map(|socket| Proxy::start(socket, allowed, run.upstreams))
                        .transpose()
                });
                if proxy.is_err() {
                    // What waits for the socket's other end must not wait for ever.
                    watched.end();
                }
                feed(ours, lines);
                proxy
            })?;
            let mut value = Vec::new();
            if let Some(stdout) = stdout {
                stdout.take(MAX_STDOUT + 1).read_to_end(&mut value)?;
            }
            let too_much = value.len() as u64 > MAX_STDOUT;
            if too_much {
                watched.end();
            }
            let (messages, proxy) = (joined(messages)?, joined(proxy)?);
            drop(ended);
            let late = joined(watchdog);
            let exceeded = match run.limits.time.filter(|_| late) {
                Some(limit) => Some(Exceeded::Time(limit)),
                None => too_much.then_some(Exceeded::Output(MAX_STDOUT)),
            };
            Ok((value, messages, proxy, exceeded))
        };
        let served = work();
        if served.is_err() {
            watched.end();
        }
        served
    });
    let status = watched.wait().map_err(read)?;
    let (mut value, messages, proxy, exceeded) = served.map_err(read)?;
    let exit = exit(status);
    let text = String::from_utf8_lossy(&messages);
    let (message, warnings) = messages::arrange(&text);
    if exit != Exit::Code(0) || exceeded.is_some() {
        // Half a value may have been printed: it must not be looked at.
        let exceeded = exceeded
            .or_else(|| is_out_of_memory(&text).then_some(Exceeded::Memory(run.limits.memory)));
        let refusals = proxy.map_or_else(Vec::new, |proxy| proxy.refusals());
        let failure = EvalFailure { exit, message, warnings, refusals, exceeded };
        return Err(failed(failure, run.confined));
    }
    for warning in warnings {
        tracing::debug!(target: "nix", "{warning}");
    }
    // Versions differ in the line feed at the end.
    value.truncate(value.trim_ascii_end().len());
    Ok(value)
}

/// Ends a program when its time is over; returns whether it was.
fn watch(watched: &Watched, time: Option<Duration>, end: &Receiver<()>) -> bool {
    let late = match time {
        Some(time) => end.recv_timeout(time) == Err(RecvTimeoutError::Timeout),
        None => end.recv().is_ok(),
    };
    if late {
        watched.end();
    }
    late
}

fn exit(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or(0)),
    }
}

/// Returns whether a program ended for want of memory, in the words of Nix, the collector of its
/// garbage, and the C++ library.
pub(super) fn is_out_of_memory(messages: &str) -> bool {
    messages.lines().any(|line| {
        line.starts_with("GC Warning: Out of Memory!")
            || ["error: out of memory", "error: std::bad_alloc", "Cannot allocate memory"]
                .iter()
                .any(|words| strip_ansi(line).contains(words))
    })
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Tells a failure of `bwrap` from one of Nix, whose messages never begin with that name.
fn failed(failure: EvalFailure, confined: bool) -> EvalError {
    let begins = |prefix| failure.message.starts_with(prefix);
    if confined && (begins("bwrap: ") || begins(entry::PREFIX)) {
        EvalError::Confinement { message: failure.message }
    } else {
        EvalError::Failed(failure)
    }
}

/// Writes what the program is to read and ends its input. A program that ends without reading all of
/// it says itself why.
fn feed(mut input: &UnixStream, lines: Lines<'_>) {
    let written = match lines {
        Lines::One(text) => input.write_all(text.as_bytes()),
        Lines::Many(lines) => {
            lines.iter().try_for_each(|line| input.write_all(format!("{line}\n").as_bytes()))
        }
    };
    if let Err(error) = written.and_then(|()| input.shutdown(Shutdown::Write)) {
        tracing::debug!(%error, "writing to the input of an evaluation");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_tells_the_whole_limit() {
        let none = Deadline::after(Duration::ZERO);
        assert_eq!(none.left(), Err(Exceeded::Time(Duration::ZERO)));
        let hour = Duration::from_secs(3600);
        let left = Deadline::after(hour).left().unwrap();
        assert!(left <= hour && !left.is_zero());
    }

    #[test]
    fn a_confinement_that_fails_is_no_fault_of_the_flake() {
        let said = |message: &str, confined| {
            let message = message.to_owned();
            failed(
                EvalFailure {
                    exit: Exit::Code(1),
                    message,
                    warnings: Vec::new(),
                    refusals: Vec::new(),
                    exceeded: None,
                },
                confined,
            )
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
