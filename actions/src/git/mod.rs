//! All work on git repositories: objects, refs, history, remotes, the lock that keeps two levains apart.
//!
//! Objects and refs go through libgit2; the network goes through the `git` program, in [`remote`].
//! Everything blocks; nothing here ever touches a work tree or an index.
//! Not here: what a shadow commit means ([`crate::shadow`]). Start at [`Repository`].

mod address;
mod authority;
mod commit_id;
mod error;
mod history;
mod listing;
mod lock;
mod lock_files;
mod login;
mod merging;
mod overlay;
mod partial;
mod program;
mod provenance;
mod references;
mod reflog;
pub mod remote;
mod repository;
mod sources;
mod tree;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;

pub use address::masked;
pub use authority::Doubt;
pub use commit_id::{CommitId, CommitIdError};
pub use error::GitError;
pub use listing::Listing;
pub use lock::{LockError, RunLock};
pub use login::Login;
pub use merging::{Conflict, MergeError, Merged};
pub use overlay::{Overlay, OverlayDirectory};
pub use partial::CompleteError;
pub use references::Swap;
pub use remote::{Prune, PushOutcome, PushUpdate, RemoteError};
pub(crate) use repository::StandsAt;
pub use repository::{Conduct, PlainFile, Repository};
pub use sources::SourceIndex;
pub use tree::CommitTree;

/// Returns whether git accepts a text as the full name of a ref.
pub fn is_ref_name(text: &str) -> bool {
    git2::Reference::is_valid_name(text)
}
