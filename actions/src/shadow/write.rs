//! Makes a shadow commit.

use git2::build::TreeUpdateBuilder;
use git2::{FileMode, Signature};

use super::{ShadowError, ShadowFiles};
use crate::git::{CommitId, GitError, Repository, StandsAt};

/// What goes into a shadow commit.
#[derive(Debug, Clone, Copy)]
pub struct ShadowCommit<'a> {
    /// The shadow commit before this one; nothing for the first, or after the branch was deleted.
    pub previous: Option<CommitId>,
    /// The author's commit.
    pub original: CommitId,
    /// The commit whose tree it has: the original itself, or its merge with its base.
    pub built: CommitId,
    /// The content of the cache pointer's file.
    pub pointer: &'a [u8],
    /// The commit message.
    pub message: &'a str,
}

/// Writes a shadow commit and returns its name; no ref moves, and no work tree or index is touched.
///
/// Whatever the tree has at the two paths is replaced, and so is what stands in the way of a directory on them.
/// The same input gives the same name everywhere: author and committer are levain, at the time of the commit whose tree it
/// has.
/// The cost does not grow with the tree: libgit2's tree update reads and writes only the directories on the two paths.
pub fn write(
    repository: &Repository,
    commit: &ShadowCommit<'_>,
    files: &ShadowFiles,
) -> Result<CommitId, ShadowError> {
    repository.find(commit.original)?;
    let built = repository.find(commit.built)?;
    // A shadow of itself would only repeat a parent.
    let previous = match commit.previous.filter(|id| *id != commit.built) {
        Some(id) => Some(repository.find(id)?),
        None => None,
    };
    let tree = repository.tree_of(commit.built)?;
    let tree = cleared(repository, tree, files.pointer())?;
    let tree = cleared(repository, tree, files.commit())?;

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
    let signature = Signature::new("levain", "levain@localhost", &built.time()).map_err(doing())?;
    let parents: Vec<_> = previous.iter().chain([&built]).collect();
    let id = objects
        .commit(None, &signature, &signature, commit.message, &tree, &parents)
        .map_err(doing())?;
    Ok(CommitId::new(id))
}

/// Returns the tree without what keeps a plain file from being put at `path`.
///
/// An author may have anything there; a pull request must not keep the shadow branch from being
/// written.
fn cleared<'r>(
    repository: &'r Repository,
    tree: git2::Tree<'r>,
    path: &str,
) -> Result<git2::Tree<'r>, GitError> {
    let StandsAt::Other { path, .. } = repository.stands_at(&tree, path)? else {
        return Ok(tree);
    };
    let objects = repository.objects();
    TreeUpdateBuilder::new()
        .remove(&path)
        .create_updated(objects, &tree)
        .and_then(|id| objects.find_tree(id))
        .map_err(GitError::doing("write a shadow commit"))
}
