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
pub use read::{MOST_POINTER, Shadow, history, read};
pub use write::{ShadowCommit, write};

/// Why a shadow commit can be neither made nor read.
#[derive(Debug, thiserror::Error)]
pub enum ShadowError {
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
