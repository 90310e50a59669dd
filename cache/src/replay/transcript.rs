//! What is kept of a command: what it saw, what it did, and how it ended.
//!
//! Plain data, as it is written to a pack. How it comes about is for [`super::tree`], whether it holds for
//! [`super::compare`], and doing it for [`super::doing`].

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// An absolute path without links, `.` or `..` before its last part, as bytes.
pub(crate) type PathBytes = Vec<u8>;

/// One run of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Transcript {
    /// What it saw of everything outside itself before it changed that, by path.
    pub(crate) seen: Vec<Seen>,
    /// What is there of what it changed once it has ended, in the order in which it is to be done.
    pub(crate) done: Vec<Done>,
    /// What it wrote to descriptors that it was given, in order.
    pub(crate) said: Vec<Said>,
    /// How far it read in a file that it was given as a descriptor.
    pub(crate) read: Vec<Read>,
    /// Whether it read from its standard input, which led to nothing.
    pub(crate) reads_nothing: bool,
    /// The code it ended with.
    pub(crate) code: u8,
    /// How long it took, in microseconds.
    pub(crate) micros: u64,
    /// What people call it: the program and its first arguments, cut.
    pub(crate) name: String,
}

/// What there was at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// Nothing.
    Absent,
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A pipe, socket or device.
    Other,
}

/// What a command saw at a path. What is not there it did not look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) path: PathBytes,
    pub(crate) kind: Kind,
    /// Permissions: the lower 12 bits.
    pub(crate) mode: Option<u16>,
    /// The length of a file.
    pub(crate) size: Option<u64>,
    /// When it was changed.
    pub(crate) when: Option<When>,
    /// A file's contents.
    pub(crate) content: Option<Digest>,
    /// What is in a directory, without some names that the command made or removed itself.
    pub(crate) names: Option<Names>,
    /// Where a link leads.
    pub(crate) target: Option<Vec<u8>>,
}

/// What is in a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Names {
    /// The names that do not count.
    pub(crate) without: Vec<Vec<u8>>,
    /// A digest of all other names with their kinds.
    pub(crate) digest: Digest,
}

/// When a file was changed, as far as builds have that in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum When {
    /// Long before the build began: seconds and nanoseconds since 1970.
    At(i64, u32),
    /// Of a directory: while the build was prepared.
    Before,
    /// In the build, or while it was prepared: its place among all that the command saw of these, from 0.
    Place(u32),
}

/// What a command left at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Done {
    /// Nothing any more.
    Remove { path: PathBytes },
    /// A directory.
    Directory { path: PathBytes, mode: u16 },
    /// A file.
    File { path: PathBytes, mode: u16, content: Digest, time: Time },
    /// A symbolic link.
    Link { path: PathBytes, target: Vec<u8> },
    /// Another time of a directory, or of a link. It is set when all else is done.
    Time { path: PathBytes, time: Time },
}

impl Done {
    pub(crate) fn path(&self) -> &PathBytes {
        match self {
            Self::Remove { path }
            | Self::Directory { path, .. }
            | Self::File { path, .. }
            | Self::Link { path, .. }
            | Self::Time { path, .. } => path,
        }
    }
}

/// When a file that a command left says it was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Time {
    /// When it was made, after what the command made before it.
    Then,
    /// At a time that the command set, in seconds and nanoseconds since 1970.
    At(i64, u32),
    /// As a file that was there before the command, which may be the same one.
    Like(PathBytes),
    /// As another file that the command left before it.
    With(PathBytes),
}

/// Bytes that a command wrote to a descriptor that it was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Said {
    /// The descriptor's number.
    pub(crate) descriptor: i32,
    pub(crate) bytes: Vec<u8>,
}

/// How far a command came in a file that it was given as a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Read {
    /// The descriptor's number.
    pub(crate) descriptor: i32,
    /// Where it is in the file at the end.
    pub(crate) position: u64,
}
