//! Packs: transcripts and the contents of files, in three files that are written once.
//!
//! ```text
//! index         format version; where everything is; a digest of all that
//! contents      the contents of files, in zstd frames
//! transcripts   transcripts, in zstd frames
//! ```
//!
//! [`Packer`] writes a pack, [`Packs`] reads those of several directories. A pack may come from anybody: every content
//! is checked against its digest, every transcript against the index and against the rules in [`record`]. What fails is
//! left out with a reason, and the command runs.
//!
//! Knows nothing of builds: what a command was given is a digest here, and files are put in place by others.

mod index;
mod packer;
mod packs;
mod record;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;

pub(crate) use index::Damage;
pub(crate) use packer::Packer;
pub(crate) use packs::{Found, Packs};
pub(crate) use record::Fault;

/// The version of the format that is written, and the only one that is read.
const FORMAT: u32 = 1;
const INDEX: &str = "index";
const CONTENTS: &str = "contents";
const TRANSCRIPTS: &str = "transcripts";

/// Why a pack, or something in one, was not written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackError {
    /// The system refused.
    #[error("cannot {action} `{}`: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A directory without an index, as an unfinished pack is.
    #[error("`{}` is no pack, or was not finished: it has no `{INDEX}`", .0.display())]
    Unfinished(PathBuf),
    /// A link, pipe, directory or device where a file belongs.
    #[error("`{}` is no plain file", .0.display())]
    NotAFile(PathBuf),
    /// Not an index at all, or one of a format that is no longer read.
    #[error("`{}` is no index of a pack that this version reads", .0.display())]
    Foreign(PathBuf),
    /// An index of a later version of this program.
    #[error("`{}` has format {found}, newer than {FORMAT}, which this version reads", .path.display())]
    Newer {
        /// The index.
        path: PathBuf,
        /// Its format.
        found: String,
    },
    /// A file of a pack does not hold what it should.
    #[error("`{}` is damaged: {damage}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        damage: Damage,
    },
    /// A transcript breaks a rule.
    #[error("a transcript cannot be used{}: {fault}", in_file(.path.as_deref()))]
    Transcript {
        /// The file that has it, if it was read.
        path: Option<PathBuf>,
        /// What is wrong.
        fault: Fault,
    },
    /// No pack has a content.
    #[error("no pack has the content {0}")]
    Absent(Digest),
    /// More than the format has room for.
    #[error("`{}` cannot hold {what}", .path.display())]
    Large {
        /// The file.
        path: PathBuf,
        /// What is too large or too many.
        what: &'static str,
    },
    /// A directory for a new pack that holds something.
    #[error("`{}` is no empty directory", .0.display())]
    Occupied(PathBuf),
}

impl PackError {
    fn on(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PackError {
        let path = path.to_path_buf();
        move |source| PackError::Io { action, path, source }
    }

    fn damaged(path: &Path) -> impl FnOnce(Damage) -> PackError {
        let path = path.to_path_buf();
        move |damage| PackError::Damaged { path, damage }
    }
}

fn in_file(path: Option<&Path>) -> String {
    path.map(|path| format!(" in `{}`", path.display())).unwrap_or_default()
}
