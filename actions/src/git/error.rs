//! What can go wrong with a repository on this machine; for the network see [`super::RemoteError`].

use std::path::PathBuf;

/// An error of a local repository.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// Neither the path nor any directory above it is a repository.
    #[error(
        "`{}` is not in a git repository\nhint: run levain inside a clone, or give it the URL of one",
        path.display()
    )]
    NotARepository {
        /// Where the search began.
        path: PathBuf,
    },

    /// There is a repository, but it belongs to somebody else.
    #[error(
        "the git repository at `{}` belongs to another user\nhint: `git config --global --add safe.directory '{}'`",
        path.display(),
        path.display()
    )]
    NotOwned {
        /// Where the repository is.
        path: PathBuf,
    },

    /// There is a repository which libgit2 cannot read, or a mirror that cannot be made.
    #[error("cannot open the git repository at `{}`", path.display())]
    Open {
        /// Where the repository is.
        path: PathBuf,
        /// What libgit2 said.
        #[source]
        source: git2::Error,
    },

    /// A repository in a format that libgit2 does not read.
    #[error(
        "the git repository at `{}` has {format}, which levain does not read\nhint: {hint}",
        path.display()
    )]
    Format {
        /// Where the repository is.
        path: PathBuf,
        /// What is special about it.
        format: String,
        /// What makes a repository that it reads.
        hint: &'static str,
    },

    /// The repository has no commit yet.
    #[error("the git repository at `{}` has no commits yet\nhint: `git commit`", path.display())]
    EmptyRepository {
        /// Where the repository is.
        path: PathBuf,
    },

    /// There is no local branch of that name.
    #[error("there is no branch `{name}`{}", did_you_mean(similar))]
    UnknownBranch {
        /// The name that was asked for.
        name: String,
        /// Branches whose names are close to it, the closest first.
        similar: Vec<String>,
    },

    /// The repository has no such commit.
    #[error("there is no commit `{id}` in the repository\nhint: `git fetch` it first")]
    UnknownCommit {
        /// The name that was asked for.
        id: String,
    },

    /// Several objects begin with these digits.
    #[error("`{id}` is the beginning of more than one object\nhint: give more digits")]
    AmbiguousCommit {
        /// The digits that were given.
        id: String,
    },

    /// None of several remotes is called `origin`.
    #[error(
        "the repository has {} remotes and none is called `origin`: {}\nhint: `git config checkout.defaultRemote {}` names the one that the project lives at",
        names.len(), names.join(", "), names.first().map_or("NAME", String::as_str)
    )]
    AmbiguousRemote {
        /// Their names.
        names: Vec<String>,
    },

    /// Not a name that git accepts for a ref.
    #[error("`{name}` is not a valid ref name\nhint: see `git check-ref-format --help`")]
    InvalidReference {
        /// The name that was given.
        name: String,
    },

    /// A ref cannot be made since another one is its directory, or lies below it.
    #[error(
        "cannot create the ref `{name}` beside `{existing}`: git cannot have one inside the other\nhint: `git update-ref -d {existing}`, or choose another name for the shadow ref"
    )]
    ReferenceConflict {
        /// The ref to be made.
        name: String,
        /// The ref in its way.
        existing: String,
    },

    /// Another program kept the ref locked for too long.
    #[error("another program keeps the ref `{name}` locked with `{}`", path.display())]
    ReferenceLocked {
        /// The ref.
        name: String,
        /// Its lock file.
        path: PathBuf,
    },

    /// A file of the repository could not be read or written.
    #[error("cannot {doing} `{}`", path.display())]
    File {
        /// What was tried, as a verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },

    /// The git program failed, or there is none.
    #[error(
        "git cannot {doing}: {message}\nhint: `git --version` must work, and `git fsck` must be content"
    )]
    Program {
        /// What was tried, as a verb and its object.
        doing: &'static str,
        /// What it said.
        message: String,
    },

    /// Any other refusal of libgit2.
    #[error("git cannot {doing}")]
    Git {
        /// What was tried, as a verb and its object.
        doing: &'static str,
        /// What libgit2 said.
        #[source]
        source: git2::Error,
    },
}

impl GitError {
    /// Returns the function that wraps an error of libgit2, for `map_err`.
    pub(crate) fn doing(doing: &'static str) -> impl FnOnce(git2::Error) -> Self {
        move |source| Self::Git { doing, source }
    }
}

fn did_you_mean(similar: &[String]) -> String {
    if similar.is_empty() {
        return "\nhint: `git branch` lists them".to_owned();
    }
    let names: Vec<_> = similar.iter().map(|name| format!("`{name}`")).collect();
    format!("\nhint: did you mean {}?", names.join(" or "))
}
