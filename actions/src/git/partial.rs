//! Partial clones (`git clone --filter=…`): fetching the objects that were left out.
//!
//! libgit2 takes an object that is not here for lost; git fetches it. What a commit's tree needs is
//! fetched at once, before anything reads it.

use std::io::{Seek, Write};
use std::process::Stdio;

use super::remote::{RemoteError, Session};
use super::{CommitId, GitError, Repository, program};

/// Trees may lie so deep that each fetch brings only the next directories; no tree needs more.
const ROUNDS: usize = 64;

/// Why the objects of a commit are not all here.
#[derive(Debug, thiserror::Error)]
pub enum CompleteError {
    /// Looking for what is missing.
    #[error(transparent)]
    Git(#[from] GitError),
    /// Fetching it.
    #[error("the repository is a partial clone, and the files of a commit cannot be fetched: {0}")]
    Remote(#[from] RemoteError),
}

impl Repository {
    /// Returns the remote that has what was left out when the repository was cloned, if it is a partial clone.
    fn promisor(&self) -> Result<Option<String>, GitError> {
        let config = self.inner.config().map_err(GitError::doing("read the settings"))?;
        let names = self.remote_names()?;
        Ok(names
            .into_iter()
            .find(|name| config.get_bool(&format!("remote.{name}.promisor")).unwrap_or(false)))
    }

    /// Tells whether objects were left out when the repository was cloned.
    pub fn is_partial(&self) -> Result<bool, GitError> {
        Ok(self.promisor()?.is_some())
    }

    /// Fetches what the tree of a commit lacks into `into`, which is this repository or a temporary one on top of it.
    ///
    /// Does nothing unless this is a partial clone.
    pub fn complete(&self, commit: CommitId, into: &Self) -> Result<(), CompleteError> {
        let Some(remote) = self.promisor()? else { return Ok(()) };
        let doing = "write a list of objects to";
        let failed = |source| GitError::File { doing, path: std::env::temp_dir(), source };
        for _ in 0..ROUNDS {
            let missing = into.missing_objects(commit)?;
            if missing.is_empty() {
                break;
            }
            let mut list = tempfile::tempfile().map_err(failed)?;
            list.write_all(missing.join("\n").as_bytes())
                .and_then(|()| list.write_all(b"\n"))
                .and_then(|()| list.rewind())
                .map_err(failed)?;
            let session = Session::fetching(self, &remote);
            // As git fetches a missing object itself: nothing that is here says what else is.
            let mut command =
                session.command_with("fetch", &[("fetch.negotiationAlgorithm", "noop")]);
            command.args(["--quiet", "--no-tags", "--no-write-fetch-head", "--no-prune"]);
            command.args(["--no-recurse-submodules", "--no-show-forced-updates", "--refmap="]);
            command.args(["--filter=blob:none", "--stdin", "--", session.remote()]);
            command.stdin(Stdio::from(list));
            command.env("GIT_OBJECT_DIRECTORY", into.git_dir().join("objects"));
            let output = session.run(command)?;
            if !output.status.success() {
                return Err(session.failure(&output).into());
            }
        }
        Ok(())
    }

    /// Returns the names of the objects in the tree of a commit that are known to be missing.
    fn missing_objects(&self, commit: CommitId) -> Result<Vec<String>, GitError> {
        let doing = "list the objects of a commit";
        let failed = |message: String| GitError::Program { doing, message };
        let output = program::git(self.inner.path(), "rev-list", Vec::new())
            .args(["--objects", "--no-walk", "--missing=print", &commit.to_string()])
            .output()
            .map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().filter_map(|line| line.strip_prefix('?')).map(str::to_owned).collect())
    }
}
