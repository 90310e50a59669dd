//! Makes a shadow commit.

use git2::build::TreeUpdateBuilder;
use git2::{FileMode, Signature};

use super::{ShadowError, ShadowFiles};
use crate::git::{CommitId, GitError, Repository};

/// What goes into a shadow commit.
#[derive(Debug, Clone, Copy)]
pub struct ShadowCommit<'a> {
    /// The shadow commit before this one; nothing for the first, or after the branch was deleted.
    pub previous: Option<CommitId>,
    /// The commit to shadow.
    pub original: CommitId,
    /// The content of the cache pointer's file.
    pub pointer: &'a [u8],
    /// The commit message.
    pub message: &'a str,
}

/// Writes a shadow commit and returns its name; no ref moves, and no work tree or index is touched.
///
/// The same input gives the same name everywhere: author and committer are levain, at the original commit's time.
/// The cost does not grow with the tree: libgit2's tree update reads and writes only the directories on the two paths.
pub fn write(
    repository: &Repository,
    commit: &ShadowCommit<'_>,
    files: &ShadowFiles,
) -> Result<CommitId, ShadowError> {
    let original = repository.find(commit.original)?;
    // A shadow of itself would only repeat a parent.
    let previous = match commit.previous.filter(|id| *id != commit.original) {
        Some(id) => Some(repository.find(id)?),
        None => None,
    };
    let tree = original.tree().map_err(GitError::doing("read the tree of a commit"))?;
    for path in [files.pointer(), files.commit()] {
        check_free(repository, commit.original, &tree, path)?;
    }

    let objects = repository.objects();
    let doing = || GitError::doing("write a shadow commit");
    let pointer = objects.blob(commit.pointer).map_err(doing())?;
    let name = objects.blob(format!("{}\n", commit.original).as_bytes()).map_err(doing())?;
    let tree = TreeUpdateBuilder::new()
        .upsert(files.pointer(), pointer, FileMode::Blob)
        .upsert(files.commit(), name, FileMode::Blob)
        .create_updated(objects, &tree)
        .and_then(|id| objects.find_tree(id))
        .map_err(doing())?;
    let signature =
        Signature::new("levain", "levain@localhost", &original.time()).map_err(doing())?;
    let parents: Vec<_> = previous.iter().chain([&original]).collect();
    let id = objects
        .commit(None, &signature, &signature, commit.message, &tree, &parents)
        .map_err(doing())?;
    Ok(CommitId::new(id))
}

/// Refuses a path at which, or above which, the tree has what a plain file must not replace.
fn check_free(
    repository: &Repository,
    commit: CommitId,
    root: &git2::Tree<'_>,
    path: &str,
) -> Result<(), ShadowError> {
    let mut tree = root.clone();
    let mut ends: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
    ends.push(path.len());
    let mut begin = 0;
    for end in ends {
        let last = end == path.len();
        let Some(entry) = tree.get_name_bytes(&path.as_bytes()[begin..end]) else {
            return Ok(());
        };
        let found = what(entry.filemode());
        let needed = if last { "a file" } else { "a directory" };
        if format!("a {found}") != needed {
            return Err(ShadowError::Occupied {
                commit,
                path: path[..end].to_owned(),
                found,
                needed,
            });
        }
        if !last {
            let below = entry.id();
            drop(entry);
            tree = repository.objects().find_tree(below).map_err(GitError::doing("read a tree"))?;
        }
        begin = end + 1;
    }
    Ok(())
}

fn what(mode: i32) -> &'static str {
    match mode {
        0o040_000 => "directory",
        0o120_000 => "symbolic link",
        0o160_000 => "submodule",
        _ => "file",
    }
}
