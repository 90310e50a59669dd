//! A connection from its opening to its end.

use std::io::{BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::error::{ConnectError, ProtocolError};
use super::frames::Frame;
use super::handshake::{self, Greeting};
use super::operations::BuildOptions;
use super::wire::{Message, WireReader};
use crate::config::{Remote, StoreConfig};
use crate::nix::{DaemonChild, NixVersion};
use crate::store_path::StoreDir;

/// A connection to the Nix that keeps a store.
///
/// It protects what it built, added or named from the garbage collector until it is dropped. After
/// an error other than [`ProtocolError::Daemon`] it answers every question with
/// [`ProtocolError::Closed`].
#[derive(Debug)]
pub struct Connection {
    pub(super) dir: StoreDir,
    wire: WireReader<BufReader<UnixStream>>,
    stream: Arc<UnixStream>,
    greeting: Greeting,
    broken: bool,
    line_limit: usize,
    /// Last, so that it is dropped after the stream was shut down, and ends by itself.
    child: Option<DaemonChild>,
}

/// How many bytes of a log line are read unless somebody says otherwise.
const LINE_LIMIT: usize = 16 << 10;

/// Ends a connection from another thread.
///
/// The daemon sees the end of its input, stops its builders and lets go of its locks; the question
/// that is being answered fails with [`ProtocolError::Closed`].
#[derive(Debug, Clone)]
pub struct Closer(Arc<UnixStream>);

impl Closer {
    /// Ends the connection. May be called more than once.
    pub fn close(&self) {
        if let Err(error) = self.0.shutdown(Shutdown::Both) {
            // Not connected any more: it has ended already.
            tracing::debug!(%error, "closing a connection to the Nix daemon");
        }
    }
}

/// How often a connection is tried that another Nix program disturbs.
const ATTEMPTS: u32 = 6;
/// How long to wait before the second attempt; longer before each further one.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(30);

/// Returns whether a daemon ended since another program was making the same store.
fn is_disturbed(stderr: &[String]) -> bool {
    // The words of a daemon behind a socket go to its own log.
    stderr.is_empty()
        || stderr.iter().any(|line| {
            line.ends_with("is busy")
                || line.ends_with("File exists")
                // Nix writes the number of its schema into a file that is there, empty, before.
                || line.ends_with("/schema' is corrupt")
        })
}

impl Connection {
    /// Opens a connection as `config` says.
    pub(crate) fn open(config: &StoreConfig) -> Result<Self, ConnectError> {
        let mut attempts = 1;
        loop {
            match Self::open_once(config) {
                // Nix programs that open a new store at the same time disturb each other.
                Err(ConnectError::Greeting { stderr, source: ProtocolError::Closed })
                    if attempts < ATTEMPTS && is_disturbed(&stderr) =>
                {
                    std::thread::sleep(PAUSE * attempts);
                    attempts += 1;
                }
                result => return result,
            }
        }
    }

    fn open_once(config: &StoreConfig) -> Result<Self, ConnectError> {
        match config.resolve_remote() {
            Remote::Socket(socket) => {
                let stream = UnixStream::connect(&socket)
                    .map_err(|source| ConnectError::Socket { socket, source })?;
                Self::greet(stream, config.dir.clone(), None)
            }
            Remote::Auto | Remote::Child => {
                let (stream, child) = DaemonChild::start(config)?;
                Self::greet(stream, config.dir.clone(), Some(child))
            }
        }
    }

    pub(super) fn greet(
        stream: UnixStream,
        dir: StoreDir,
        child: Option<DaemonChild>,
    ) -> Result<Self, ConnectError> {
        match Self::try_greet(stream, dir) {
            Ok(mut connection) => {
                connection.child = child;
                Ok(connection)
            }
            Err(ConnectError::Greeting { source, .. }) => {
                // The stream is closed, so the child ends, and then all it has said is known.
                let stderr = child.map(DaemonChild::into_last_words).unwrap_or_default();
                Err(ConnectError::Greeting { stderr, source })
            }
            Err(other) => Err(other),
        }
    }

    fn try_greet(mut stream: UnixStream, dir: StoreDir) -> Result<Self, ConnectError> {
        let failed = |source| ConnectError::Greeting { stderr: Vec::new(), source };
        let reader = stream.try_clone().map_err(|error| failed(error.into()))?;
        let mut wire = WireReader(BufReader::with_capacity(64 * 1024, reader));
        let greeting = handshake::greet(&mut wire, &mut stream)?;
        let stream = Arc::new(stream);
        let mut connection = Self {
            dir,
            wire,
            stream,
            greeting,
            broken: false,
            line_limit: LINE_LIMIT,
            child: None,
        };
        connection.drain(&mut |_| {}).map_err(failed)?;
        // Otherwise the daemon prints log lines as messages that no derivation can be found for.
        connection.set_options(&BuildOptions::default()).map_err(failed)?;
        Ok(connection)
    }

    /// Returns the version of the Nix at the other end.
    pub fn nix_version(&self) -> Option<&str> {
        Some(self.greeting.nix_version.as_str()).filter(|version| !version.is_empty())
    }

    /// Returns the version of Nix at the other end as numbers, if it is one.
    pub fn version(&self) -> Option<NixVersion> {
        NixVersion::parse(self.nix_version()?)
    }

    /// Returns the minor version of the protocol that both ends speak.
    pub const fn minor(&self) -> u64 {
        self.greeting.minor
    }

    /// Returns whether the daemon lets us change every setting; Nix 2.8 does not say.
    pub const fn trusted(&self) -> Option<bool> {
        self.greeting.trusted
    }

    /// Sets how many bytes of each line of a builder's log are read; the others only pass by.
    pub const fn limit_lines(&mut self, bytes: usize) {
        self.line_limit = bytes;
    }

    /// Returns what ends this connection from another thread.
    pub fn closer(&self) -> Closer {
        Closer(Arc::clone(&self.stream))
    }

    /// Returns the process id of the daemon, if it is a child of ours.
    pub fn daemon_process(&self) -> Option<u32> {
        self.child.as_ref().map(DaemonChild::id)
    }

    /// Asks one question: sends `message`, passes on what the daemon says meanwhile, reads the
    /// answer.
    pub(super) fn ask<T>(
        &mut self,
        message: &Message,
        on_frame: &mut dyn FnMut(Frame),
        answer: impl FnOnce(&mut Answer<'_>) -> Result<T, ProtocolError>,
    ) -> Result<T, ProtocolError> {
        self.guard(|connection| {
            (&*connection.stream).write_all(&message.0)?;
            connection.drain(on_frame)?;
            answer(&mut Answer { wire: &mut connection.wire, dir: &connection.dir })
        })
    }

    /// Does a part of a conversation, unless an earlier one broke off in the middle.
    pub(super) fn guard<T>(
        &mut self,
        part: impl FnOnce(&mut Self) -> Result<T, ProtocolError>,
    ) -> Result<T, ProtocolError> {
        if self.broken {
            return Err(ProtocolError::Closed);
        }
        let result = part(self);
        self.broken = result.as_ref().is_err_and(|error| !error.is_recoverable());
        result
    }

    /// Reads what the daemon says, up to the point where its answer follows.
    pub(super) fn drain(&mut self, on_frame: &mut dyn FnMut(Frame)) -> Result<(), ProtocolError> {
        loop {
            match Frame::read(&mut self.wire, self.line_limit)? {
                Frame::Last => return Ok(()),
                Frame::Error { message } => return Err(ProtocolError::Daemon { message }),
                frame @ (Frame::Message(_)
                | Frame::Start { .. }
                | Frame::Stop { .. }
                | Frame::Result { .. }) => on_frame(frame),
            }
        }
    }

    /// Returns what writes to the daemon.
    pub(super) fn sink(&self) -> &UnixStream {
        &self.stream
    }

    /// Returns what reads an answer that follows a [`Connection::drain`].
    pub(super) fn answer(&mut self) -> Answer<'_> {
        Answer { wire: &mut self.wire, dir: &self.dir }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.closer().close();
    }
}

/// The answer to a question, as far as it has not been read.
pub(super) struct Answer<'a> {
    pub(super) wire: &'a mut WireReader<BufReader<UnixStream>>,
    pub(super) dir: &'a StoreDir,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_another_program_disturbs_is_started_again() {
        for (line, disturbed) in [
            ("error: SQLite database '/nix/var/nix/db/db.sqlite' is busy", true),
            ("error: creating directory '/nix/store/.links': File exists", true),
            ("error: '/nix/var/nix/db/schema' is corrupt", true),
            ("error: '/nix/var/nix/db/db.sqlite' is corrupt", false),
            ("error: cannot connect to socket: Permission denied", false),
        ] {
            assert_eq!(is_disturbed(&[line.to_owned()]), disturbed, "{line}");
        }
        assert!(is_disturbed(&[]));
    }
}
