//! Why a command ran: for people, and for those who want fewer of them.

use std::fmt;

use super::transcript::PathBytes;

/// Why a command ran, or cannot be skipped in later builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It is the whole build.
    Build,
    /// No transcript is of a command that was given the same.
    NotKnown,
    /// Something is not as a transcript says.
    Differs { path: PathBytes, what: &'static str },
    /// A transcript's contents are not there, or damaged.
    Content(String),
    /// It names an output of this build.
    OwnOutput(PathBytes),
    /// An argument, a variable or what it made names an output of this build.
    NamesOwnOutput(String),
    /// It leaves something where it is not the build's to leave anything.
    Outside(PathBytes),
    /// It would change the store.
    Store(PathBytes),
    /// Somebody else changed what it saw while it ran.
    Meanwhile(PathBytes),
    /// Something cannot be read.
    Unreadable(PathBytes, String),
    /// It read from a pipe, terminal or socket that it was given.
    Stream(i32),
    /// It has a descriptor that cannot be watched.
    Descriptor(i32),
    /// It talked to another program through a socket.
    Socket,
    /// It sent a signal to a process outside itself, or changed what that may do.
    Signal,
    /// It looked at what the kernel says of another process, or told the kernel something.
    Kernel(PathBytes),
    /// It has children from before it began.
    Children,
    /// It changed what others have open as well: locked it, or set its flags.
    Shared(i32),
    /// It made a call that is not understood.
    Call(i64),
    /// It was still doing something when it ended.
    Outlived,
    /// It was ended by a signal.
    Killed(i32),
    /// It made a pipe, socket or device, or a file with several names.
    Made(PathBytes),
    /// Somebody has something open that it would replace, or it looks at what it was given to write to.
    Held(PathBytes),
    /// It gave a file the time of one that is not known.
    Time(PathBytes),
    /// It wrote too much.
    Long,
    /// It moved about in a file that it was given to write to.
    Position(i32),
    /// It changed memory of the process so that its call could not be read.
    Memory(String),
    /// What runs is not a single program of this kind of processor, or its directory is unknown.
    Program(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).escape_debug().to_string();
        match self {
            Self::Build => f.write_str("it is the build itself"),
            Self::NotKnown => f.write_str("nothing is known of a command that is given the same"),
            Self::Differs { path, what } => write!(f, "`{}`: {what}", text(path)),
            Self::Content(problem) => write!(f, "what it made cannot be had: {problem}"),
            Self::OwnOutput(path) => write!(f, "it looks at its own output: `{}`", text(path)),
            Self::NamesOwnOutput(where_) => write!(f, "{where_} names an output of this build"),
            Self::Outside(path) => {
                write!(f, "it leaves `{}`, outside the build's directories", text(path))
            }
            Self::Store(path) => write!(f, "it changes the store: `{}`", text(path)),
            Self::Meanwhile(path) => {
                write!(f, "`{}` was changed by another command meanwhile", text(path))
            }
            Self::Unreadable(path, error) => write!(f, "`{}`: {error}", text(path)),
            Self::Stream(number) => write!(f, "it reads from descriptor {number}, a stream"),
            Self::Descriptor(number) => write!(f, "its descriptor {number} cannot be watched"),
            Self::Socket => f.write_str("it talks through a socket"),
            Self::Signal => f.write_str("it sends signals to others, or changes what they may do"),
            Self::Kernel(path) => write!(f, "it uses `{}`, which is the kernel's", text(path)),
            Self::Children => f.write_str("its process has children from before it began"),
            Self::Shared(number) => {
                write!(f, "it locks or changes descriptor {number}, which others have as well")
            }
            Self::Call(number) => write!(f, "it makes call {number}, which is not understood"),
            Self::Outlived => f.write_str("something that it started outlives it"),
            Self::Killed(signal) => write!(f, "it was ended by signal {signal}"),
            Self::Made(path) => write!(f, "`{}` is no file with one name", text(path)),
            Self::Held(path) => write!(f, "`{}` is in use", text(path)),
            Self::Time(path) => write!(f, "`{}` has a time of another file", text(path)),
            Self::Long => f.write_str("it writes too much"),
            Self::Position(number) => write!(f, "it moves about in descriptor {number}"),
            Self::Memory(problem) => write!(f, "its call cannot be read: {problem}"),
            Self::Program(problem) => write!(f, "its program: {problem}"),
        }
    }
}
