//! Why a project cannot be opened, or a commit of it not be found.

use std::path::PathBuf;

use levain_actions::git::{CompleteError, Conflict, GitError, LockError, MergeError, RemoteError};
use levain_evaluator::EvaluateError;

use super::Base;
use crate::declaration::DeclarationError;
use crate::records::RecordsError;
use crate::signing::SigningError;
use crate::state::StateError;

/// Why a project cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// Git.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The remote.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// Files that a partial clone lacks.
    #[error(transparent)]
    Complete(#[from] CompleteError),
    /// The lock of a temporary repository.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// What levain remembers.
    #[error(transparent)]
    State(#[from] StateError),
    /// What is remembered from run to run.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// The declaration's content.
    #[error(transparent)]
    Declaration(#[from] DeclarationError),
    /// The declaration's flake.
    #[error("cannot read the declaration of the project: {0}")]
    DeclarationFlake(#[source] EvaluateError),
    /// The key that entries are signed with.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// `--declaration` names nothing usable.
    #[error(
        "cannot read the declaration from `{place}`: {message}\nhint: name a git repository whose default branch has a flake with the output `levainProject`"
    )]
    DeclarationPlace {
        /// What was named.
        place: String,
        /// What is wrong with it.
        message: String,
    },
    /// The checkout is on no branch, and no branch that the project lists contains the commit.
    #[error(
        "`{}` is on no branch (detached HEAD at {commit}), and {why}\nhint: name the jobset with `--branch` or `--pull-request`",
        path.display()
    )]
    Detached {
        /// The checkout.
        path: PathBuf,
        /// Where HEAD is.
        commit: String,
        /// Why nothing else tells what the commit belongs to.
        why: &'static str,
    },
    /// The remote of a mirror names no default branch, and no other was asked for.
    #[error(
        "nothing tells which branch of `{label}` is the default branch\nhint: name one with `--branch`; `git ls-remote --symref {label} HEAD` shows what it says"
    )]
    NoDefaultBranch {
        /// The remote, for people.
        label: String,
    },
    /// The commit is not part of what was selected.
    #[error(
        "commit {commit} is not part of {of}\nhint: name the branch or pull request that contains it"
    )]
    NotInJobset {
        /// The commit.
        commit: String,
        /// What was selected, for people.
        of: String,
    },
    /// A shadow branch was named.
    #[error(
        "`{name}` is a shadow branch, which levain makes itself and never builds\nhint: name the branch that it mirrors"
    )]
    ShadowBranch {
        /// Its name.
        name: String,
    },
    /// No such pull request.
    #[error("the remote has no pull request {number}: tried {}\nhint: look up the number on the forge", tried.join(", "))]
    NoPullRequest {
        /// Its number.
        number: u64,
        /// The refs that were looked for.
        tried: Vec<String>,
    },
    /// No such tag.
    #[error("the remote has no tag `{name}`\nhint: `git ls-remote --tags` shows those there are")]
    NoTag {
        /// Its name.
        name: String,
    },
    /// A pull request cannot be merged with its base.
    #[error("{}\nhint: merge `{branch}` into the branch of the pull request, and push that", conflict.with(branch))]
    Conflict {
        /// The base's branch.
        branch: String,
        /// Why not.
        conflict: Conflict,
    },
    /// Nobody knows whether it can.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// The base is not there any more.
    #[error(
        "commit {} of the base `{}` is not in the repository\nhint: run it again: the base is read anew then",
        base.commit, base.branch
    )]
    NoBase {
        /// The base.
        base: Base,
    },
    /// A pull request needs a remote.
    #[error(
        "pull request {number} cannot be fetched: the repository has no remote\nhint: run `levain run URL --pull-request {number}`"
    )]
    NoRemote {
        /// Its number.
        number: u64,
    },
}

impl ProjectError {
    /// Returns whether a pull request cannot be merged with its base.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. })
    }

    /// Returns whether it makes sense to try once more later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Remote(error) | Self::Complete(CompleteError::Remote(error)) => error.may_pass(),
            Self::Records(error) => error.may_pass(),
            Self::DeclarationFlake(error) => error.may_pass(),
            // Forges list a pull request's new head before they move its ref.
            Self::NotInJobset { .. }
            | Self::NoPullRequest { .. }
            | Self::NoTag { .. }
            | Self::Git(GitError::UnknownCommit { .. }) => true,
            // It is read anew then.
            Self::NoBase { .. } => true,
            Self::Complete(CompleteError::Git(_))
            | Self::Git(_)
            | Self::Lock(_)
            | Self::State(_)
            | Self::Declaration(_)
            | Self::Signing(_)
            | Self::DeclarationPlace { .. }
            | Self::Detached { .. }
            | Self::NoDefaultBranch { .. }
            | Self::ShadowBranch { .. }
            | Self::Conflict { .. }
            | Self::Merge(_)
            | Self::NoRemote { .. } => false,
        }
    }

    /// Returns whether the declaration is to blame, and not the machine.
    pub fn is_the_declarations(&self) -> bool {
        matches!(self, Self::Declaration(_))
            || matches!(self, Self::DeclarationFlake(error) if error.is_the_flakes())
    }
}
