//! What can go wrong between us and the daemon.

use std::io;
use std::path::PathBuf;

use crate::store_path::StorePathError;

/// A question that got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// Nix answered with an error. The connection can still be used.
    #[error("nix: {message}")]
    Daemon {
        /// What Nix said, without colours.
        message: String,
    },
    /// The connection has ended, by the daemon, by a [`Closer`](super::Closer), or by an earlier
    /// error.
    #[error(
        "the connection to the Nix daemon is closed\nhint: see the daemon's log if nobody closed it"
    )]
    Closed,
    /// The daemon sent something that the protocol does not allow.
    #[error("the Nix daemon sent a malformed {what}: {found}")]
    Malformed {
        /// The part of the answer.
        what: &'static str,
        /// What was found there.
        found: Malformed,
    },
    /// The system failed to transport a message.
    #[error("cannot talk to the Nix daemon")]
    Io(#[source] io::Error),
}

impl ProtocolError {
    /// Returns whether it makes sense to try once more later, with another connection.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Closed | Self::Io(_) => true,
            Self::Daemon { .. } | Self::Malformed { .. } => false,
        }
    }
}

/// Why a part of an answer is not what the protocol says.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// A length beyond anything that Nix sends.
    #[error("a length of {length} where at most {limit} is sensible")]
    Length {
        /// The length as it was sent.
        length: u64,
        /// The most that is accepted.
        limit: u64,
    },
    /// A number without a meaning here.
    #[error("the number {0:#x}")]
    Number(u64),
    /// Padding with bytes other than zero.
    #[error("padding that is not zero")]
    Padding,
    /// Text that is not UTF-8, where a name or path is due.
    #[error("text that is not UTF-8")]
    Utf8,
    /// A text of another form.
    #[error("`{0}`")]
    Text(String),
    /// A path that is no store path.
    #[error(transparent)]
    StorePath(StorePathError),
}

impl ProtocolError {
    pub(super) const fn number(what: &'static str, number: u64) -> Self {
        Self::Malformed { what, found: Malformed::Number(number) }
    }

    pub(super) const fn store_path(error: StorePathError) -> Self {
        Self::Malformed { what: "store path", found: Malformed::StorePath(error) }
    }

    pub(super) fn text(what: &'static str, text: &str) -> Self {
        Self::Malformed { what, found: Malformed::Text(text.to_owned()) }
    }

    /// Returns whether the connection can be used afterwards.
    pub const fn is_recoverable(&self) -> bool {
        match self {
            Self::Daemon { .. } => true,
            Self::Closed | Self::Malformed { .. } | Self::Io(_) => false,
        }
    }
}

impl From<io::Error> for ProtocolError {
    fn from(error: io::Error) -> Self {
        let ended = matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::NotConnected
        );
        if ended { Self::Closed } else { Self::Io(error) }
    }
}

/// A connection that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nix is not installed, or not on the search path.
    #[error("`nix-daemon` was not found on PATH\nhint: install Nix 2.8 or newer")]
    NoProgram,
    /// The program could not be started.
    #[error("cannot start `{}`", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon's socket does not answer.
    #[error("cannot connect to the Nix daemon at `{}`\nhint: is `nix-daemon` running?", socket.display())]
    Socket {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon is older than Nix 2.8.
    #[error(
        "the Nix daemon speaks protocol {major}.{minor}, but 1.34 is needed\nhint: install Nix 2.8 or newer"
    )]
    TooOld {
        /// The daemon's major version.
        major: u64,
        /// The daemon's minor version.
        minor: u64,
    },
    /// The daemon ended or failed before the first question.
    #[error("the Nix daemon did not start{}", said(stderr))]
    Greeting {
        /// The last lines that it wrote to standard error.
        stderr: Vec<String>,
        /// What came instead of its greeting.
        source: ProtocolError,
    },
}

impl ConnectError {
    /// Returns whether it makes sense to try once more later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Socket { .. } | Self::Greeting { .. } => true,
            Self::NoProgram | Self::Start { .. } | Self::TooOld { .. } => false,
        }
    }
}

fn said(stderr: &[String]) -> String {
    let said = stderr.join("\n");
    // There is one error, and this is what it says.
    let said = said.strip_prefix("error: ").unwrap_or(&said);
    if said.is_empty() { String::new() } else { format!(": {said}") }
}
