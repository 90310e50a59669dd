//! Questions about ancestry.

use git2::Sort;

use super::repository::missing;
use super::{CommitId, GitError, Repository};

impl Repository {
    /// Tells whether `descendant` can be reached from `ancestor`; a commit counts as its own ancestor.
    pub fn is_ancestor(&self, ancestor: CommitId, descendant: CommitId) -> Result<bool, GitError> {
        // A recorded commit may be gone after a forced push: that is an error of its own, not a "no".
        self.find(ancestor)?;
        self.find(descendant)?;
        if ancestor == descendant {
            return Ok(true);
        }
        self.inner
            .graph_descendant_of(descendant.oid(), ancestor.oid())
            .map_err(GitError::doing("compare two commits"))
    }

    /// Returns a commit and all its ancestors, nearest first: children before parents, newer before older.
    pub fn ancestors(
        &self,
        of: CommitId,
    ) -> Result<impl Iterator<Item = Result<CommitId, GitError>>, GitError> {
        let doing = "walk through history";
        let mut walk = self.inner.revwalk().map_err(GitError::doing(doing))?;
        walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME).map_err(GitError::doing(doing))?;
        walk.push(of.oid()).map_err(|source| missing(&of.to_string(), doing, source))?;
        Ok(walk.map(move |id| id.map(CommitId::new).map_err(GitError::doing(doing))))
    }

    /// Returns a commit, its first parent, that one's first parent, and so on: what a branch was, without
    /// what was merged into it.
    pub fn first_parents(
        &self,
        of: CommitId,
    ) -> Result<impl Iterator<Item = Result<CommitId, GitError>>, GitError> {
        let doing = "walk through history";
        let mut walk = self.inner.revwalk().map_err(GitError::doing(doing))?;
        walk.simplify_first_parent().map_err(GitError::doing(doing))?;
        walk.push(of.oid()).map_err(|source| missing(&of.to_string(), doing, source))?;
        Ok(walk.map(move |id| id.map(CommitId::new).map_err(GitError::doing(doing))))
    }

    /// Returns the names of the local branches that contain a commit, sorted.
    pub fn branches_containing(&self, commit: CommitId) -> Result<Vec<String>, GitError> {
        let mut names = Vec::new();
        for (name, head) in self.references("refs/heads/")? {
            if self.is_ancestor(commit, head)?
                && let Some(name) = name.strip_prefix("refs/heads/")
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }
}
