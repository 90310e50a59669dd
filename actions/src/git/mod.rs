//! All work on git repositories: objects, refs, history, remotes, the lock that keeps two levains apart.
//!
//! Objects and refs go through libgit2; the network goes through the `git` program, in [`remote`].
//! Everything blocks; nothing here ever touches a work tree or an index.
//! Not here: what a shadow commit means ([`crate::shadow`]). Start at [`Repository`].

mod address;
mod commit_id;
mod error;
mod history;
mod lock;
mod overlay;
mod program;
mod references;
pub mod remote;
mod repository;
mod sources;
mod tree;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;

pub use address::masked;
pub use commit_id::{CommitId, CommitIdError};
pub use error::GitError;
pub use lock::{LockError, RunLock};
pub use overlay::{Overlay, OverlayDirectory};
pub use references::Swap;
pub use remote::{Prune, PushOutcome, PushUpdate, RemoteError};
pub use repository::Repository;
pub use sources::SourceIndex;
pub use tree::CommitTree;
