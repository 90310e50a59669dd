//! A `nix-daemon --stdio` of our own.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::ansi::strip_ansi;
use crate::config::{StoreConfig, find_program};
use crate::protocol::ConnectError;

/// How many lines of standard error are kept for a message.
const LAST_WORDS: usize = 10;
/// How long a daemon may take to notice that its connection is closed.
const NOTICES: Duration = Duration::from_secs(1);
/// How long it may take to stop its builders and end.
const GRACE: Duration = Duration::from_secs(10);

/// The child. It ends when the other end of its connection is closed; dropping this waits for that.
#[derive(Debug)]
pub(crate) struct DaemonChild {
    child: Child,
    /// Gets the last lines of standard error when the child has closed it.
    last_words: Receiver<Vec<String>>,
}

impl DaemonChild {
    /// Starts the child; returns our end of the connection too.
    ///
    /// A socket pair takes the place of two pipes: another thread can shut it down at any moment,
    /// and the daemon notices that even while it builds.
    pub(crate) fn start(config: &StoreConfig) -> Result<(UnixStream, Self), ConnectError> {
        let program = find_daemon(config).ok_or(ConnectError::NoProgram)?;
        let failed = |source| ConnectError::Start { program: program.clone(), source };
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let theirs = OwnedFd::from(theirs);
        #[expect(clippy::disallowed_methods, reason = "this module starts Nix")]
        let mut command = Command::new(&program);
        command
            .arg("--stdio")
            .env_clear()
            .envs(&config.environment)
            .envs(&config.user_environment)
            .stdin(Stdio::from(theirs.try_clone().map_err(failed)?))
            .stdout(Stdio::from(theirs))
            .stderr(Stdio::piped())
            // Ctrl-C is for us alone: we close the connection when it is time.
            .process_group(0);
        // It has been decided that the daemon is to open the store itself. Were it to decide
        // otherwise, it would try to splice between our socket and that of another daemon.
        let remote = config.environment.get("NIX_REMOTE").map_or(OsStr::new("auto"), |value| value);
        if remote.is_empty() || remote == "auto" {
            command.env("NIX_REMOTE", "local");
        }
        let mut child = command.spawn().map_err(failed)?;
        let (sender, last_words) = channel();
        if let Some(stderr) = child.stderr.take() {
            let drain = move || {
                let lines = drain(stderr);
                // Nobody listens if the child has outlived its grace.
                sender.send(lines).ok();
            };
            std::thread::Builder::new().spawn(drain).map_err(failed)?;
        }
        Ok((ours, Self { child, last_words }))
    }

    /// Returns the process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end of the child, whose connection has been closed; returns its last lines.
    pub(crate) fn into_last_words(mut self) -> Vec<String> {
        self.end()
    }

    fn end(&mut self) -> Vec<String> {
        // Standard error is closed when the child has ended.
        let mut words = self.last_words.recv_timeout(NOTICES);
        if words.is_err() {
            // Nix 2.34 can miss the end of its input: it is interrupted a moment before it begins to
            // wait for its builders, and then waits for as long as these take.
            self.signal(Signal::INT);
            words = self.last_words.recv_timeout(GRACE);
        }
        if words.is_err() {
            tracing::warn!("the Nix daemon did not end by itself and is killed");
            self.signal(Signal::KILL);
        }
        if let Err(error) = self.child.wait() {
            tracing::warn!(%error, "cannot wait for the Nix daemon");
        }
        words.unwrap_or_default()
    }

    fn signal(&mut self, signal: Signal) {
        // Until it is waited for, nobody else can have its number.
        if let Err(error) = kill_process(Pid::from_child(&self.child), signal) {
            tracing::debug!(%error, "ending the Nix daemon");
        }
    }
}

impl Drop for DaemonChild {
    fn drop(&mut self) {
        self.end();
    }
}

/// Finds the daemon beside `nix`, so that both have one version; or else anywhere on `PATH`.
fn find_daemon(config: &StoreConfig) -> Option<PathBuf> {
    let search_path = config.environment.get("PATH")?;
    let beside = find_program("nix", search_path)
        .and_then(|nix| find_program("nix-daemon", nix.parent()?.as_os_str()));
    beside.or_else(|| find_program("nix-daemon", search_path))
}

/// Passes standard error to the log, so that the child never waits for us, and keeps the last lines.
fn drain(stderr: ChildStderr) -> Vec<String> {
    let mut last = VecDeque::new();
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    while stderr.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        let text = strip_ansi(String::from_utf8_lossy(&line).trim_end());
        tracing::debug!(target: "nix-daemon", "{text}");
        if last.len() == LAST_WORDS {
            last.pop_front();
        }
        last.push_back(text);
        line.clear();
    }
    last.into()
}
