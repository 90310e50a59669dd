//! The shadow branch: the original tree, the cache pointer, and the name of the original commit.
//!
//! [`write()`] makes one commit of it, [`read()`] takes one apart, [`history`] follows the branch back.
//! Not here: moving the ref ([`crate::git::Repository::swap`]), and what the pointer's content means.

mod files;
mod read;
mod write;

#[cfg(test)]
mod tests;

use crate::git::{CommitId, GitError};

pub use files::{ShadowFiles, ShadowFilesError};
pub use read::{Shadow, history, read};
pub use write::{ShadowCommit, write};

/// Why a shadow commit can be neither made nor read.
#[derive(Debug, thiserror::Error)]
pub enum ShadowError {
    /// The original tree has something at one of the two paths that a file must not replace.
    #[error(
        "the tree of `{commit}` has a {found} at `{path}`, where the shadow branch needs {needed}\nhint: give the shadow branch's files other names in the project's declaration"
    )]
    Occupied {
        /// The original commit.
        commit: CommitId,
        /// The path in its tree.
        path: String,
        /// What is there.
        found: &'static str,
        /// What would have to be there.
        needed: &'static str,
    },

    /// The commit does not say which commit it shadows.
    #[error("`{id}` is not a shadow commit: {why}")]
    NotAShadow {
        /// The commit.
        id: CommitId,
        /// What is missing or malformed.
        why: String,
    },

    /// The repository cannot be read or written.
    #[error(transparent)]
    Git(#[from] GitError),
}
