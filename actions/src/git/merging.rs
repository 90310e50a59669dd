//! Merges two commits: no work tree, no index, no ref.
//!
//! The `git` program merges the trees, as people's own `git merge` does, bounded in time: who wrote the commits may have
//! made them to be hard to merge. The merge commit is made here, from nothing but the two commits, so the same two give
//! the same one on every machine.

use std::time::Duration;

use git2::{ErrorCode, Oid, Signature, Time};
use levain_store::nix::Bounded;
use levain_store::visible_name;

use super::{CommitId, GitError, Repository, program};

/// How long a merge may take.
const LIMIT: Duration = Duration::from_secs(120);
/// Bytes of what git says about a merge that are read.
const MOST_SAID: usize = 256 << 10;
/// How many conflicting files are named.
const NAMED: usize = 10;
/// Bytes of the longest name of a conflicting file that is shown whole.
const LONGEST_NAME: usize = 120;
/// The name of the tree that has nothing in it.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
/// A time that git, Nix and libgit2 can all write: an author may claim any.
const LATEST: i64 = u32::MAX as i64;

/// What merging two commits gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merged {
    /// This commit has what both have. It is one of them if that contains the other.
    Commit(CommitId),
    /// Somebody has to decide.
    Conflict(Conflict),
}

/// Why two commits cannot be merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// Both changed the same places.
    Files {
        /// Some of the files, as they may be shown in a line.
        named: Vec<String>,
        /// How many more there are, at least.
        more: usize,
    },
    /// They have no commit in common.
    Unrelated,
}

impl Conflict {
    /// Tells what the conflict with a branch is, in a line.
    pub fn with(&self, branch: &str) -> String {
        let branch = visible_name(branch);
        match self {
            Self::Unrelated => format!("it has no commit in common with `{branch}`"),
            Self::Files { named, .. } if named.is_empty() => {
                format!("it conflicts with `{branch}`")
            }
            Self::Files { named, more } => {
                let more = match more {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                format!("it conflicts with `{branch}` in {}{more}", named.join(", "))
            }
        }
    }
}

/// Why nobody knows what merging gives.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// The repository.
    #[error(transparent)]
    Git(#[from] GitError),
    /// No end in time.
    #[error(
        "git did not merge {head} into {base} within {limit_seconds} s\nhint: merge the base into the branch and push that"
    )]
    TimedOut {
        /// The base.
        base: CommitId,
        /// The head.
        head: CommitId,
        /// How long it may take.
        limit_seconds: u64,
    },
    /// levain is being stopped.
    #[error("stopped")]
    Stopped,
}

impl Repository {
    /// Merges `head` into `base`; writes the objects of the merge, and moves no ref.
    pub fn merge(&self, base: CommitId, head: CommitId) -> Result<Merged, MergeError> {
        self.find(base)?;
        self.find(head)?;
        let common = match self.inner.merge_base(base.oid(), head.oid()) {
            Ok(common) => CommitId::new(common),
            Err(error) if error.code() == ErrorCode::NotFound => {
                return Ok(Merged::Conflict(Conflict::Unrelated));
            }
            Err(source) => {
                return Err(GitError::Git { doing: "compare two commits", source }.into());
            }
        };
        if common == base {
            return Ok(Merged::Commit(head));
        }
        if common == head {
            return Ok(Merged::Commit(base));
        }
        match self.merged_tree(base, head)? {
            Ok(tree) => Ok(Merged::Commit(self.merge_commit(base, head, tree)?)),
            Err(conflict) => Ok(Merged::Conflict(conflict)),
        }
    }

    /// Merges two trees that have a history in common.
    fn merged_tree(
        &self,
        base: CommitId,
        head: CommitId,
    ) -> Result<Result<Oid, Conflict>, MergeError> {
        // Whatever the machine's settings say, and those of whoever runs the server: the same two commits give the
        // same tree. Attributes are left out, for their drivers would be programs.
        let settings = [
            ("merge.default", "text"),
            ("merge.renames", "true"),
            ("merge.renameLimit", "1000"),
            ("merge.directoryRenames", "conflict"),
            ("merge.conflictStyle", "merge"),
            ("merge.renormalize", "false"),
            ("diff.algorithm", "histogram"),
            ("core.attributesFile", "/dev/null"),
            // Some versions of git read those of HEAD where there is no work tree.
            ("attr.tree", EMPTY_TREE),
            ("core.quotePath", "false"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
        let mut command = program::git(self.inner.path(), "merge-tree", settings.into());
        command.args(["--write-tree", "-z", "--name-only", "--no-messages"]);
        command.args([base.to_string(), head.to_string()]);
        // Where a work tree would be, there are none either.
        command.current_dir(self.inner.path());
        command.env("GIT_ATTR_NOSYSTEM", "1").env("GIT_NO_REPLACE_OBJECTS", "1");
        if self.conduct.stop.is_stopped() {
            return Err(MergeError::Stopped);
        }
        let limit = LIMIT.min(self.conduct.limit);
        let failed = |message| GitError::Program { doing: "merge two commits", message };
        let output = match self.conduct.stop.run_keeping(command, limit, MOST_SAID) {
            Ok(Bounded::Ended(output)) => output,
            Ok(Bounded::Stopped) => return Err(MergeError::Stopped),
            Ok(Bounded::TimedOut) => {
                let limit_seconds = limit.as_secs();
                return Err(MergeError::TimedOut { base, head, limit_seconds });
            }
            Err(error) => return Err(failed(format!("cannot run git: {error}")).into()),
        };
        let parts = || output.stdout.split(|byte| *byte == 0).filter(|part| !part.is_empty());
        match output.status.code() {
            Some(0) => {
                let tree = parts().next().and_then(|part| std::str::from_utf8(part).ok());
                let tree = tree.and_then(|text| Oid::from_str(text.trim_end()).ok());
                tree.map(Ok).ok_or_else(|| failed("it named no tree".to_owned()).into())
            }
            Some(1) => {
                let mut files = parts().skip(1);
                let named = files.by_ref().take(NAMED).map(shown).collect();
                Ok(Err(Conflict::Files { named, more: files.count() }))
            }
            Some(_) | None => {
                let said = String::from_utf8_lossy(&output.stderr);
                let line = said.lines().next().unwrap_or("it said nothing").to_owned();
                Err(failed(line).into())
            }
        }
    }

    /// Makes the merge commit, with the base as first parent, as forges do.
    fn merge_commit(
        &self,
        base: CommitId,
        head: CommitId,
        tree: Oid,
    ) -> Result<CommitId, GitError> {
        let doing = || GitError::doing("write a merge commit");
        let parents = [self.find(base)?, self.find(head)?];
        let newest = parents.iter().map(|commit| commit.time().seconds()).max();
        let time = Time::new(newest.unwrap_or_default().clamp(0, LATEST), 0);
        let levain = Signature::new("levain", "levain@localhost", &time).map_err(doing())?;
        let tree = self.inner.find_tree(tree).map_err(doing())?;
        let message = format!("Merge {head} into {base}\n");
        let parents = parents.each_ref();
        let id = self.inner.commit(None, &levain, &levain, &message, &tree, &parents);
        id.map(CommitId::new).map_err(doing())
    }
}

/// Returns the name of a file as it may be shown in a line, shortened if need be.
fn shown(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    let mut short: String = name.chars().take(LONGEST_NAME).collect();
    if short.len() < name.len() {
        short.push('…');
    }
    visible_name(&short).into_owned()
}
