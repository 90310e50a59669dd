//! Where commits come from: from branches that are known, from `git commit` in this repository, or from elsewhere.
//!
//! Git keeps in its reflogs how each commit came to be at a head. Only positive evidence counts: a commit whose making
//! is not on record here came from elsewhere, for all that is known.

use std::collections::{HashMap, HashSet};

use git2::{Oid, Revwalk};

use super::reflog::{Arrival, LogLine, Making, read_log, replayed};
use super::repository::missing;
use super::{CommitId, GitError, Repository};

/// Unknown commits beyond this number are not looked at: so many came from elsewhere.
const LIMIT: usize = 20_000;

/// Tells whether a commit has the name of the one who made it here; of another author it was taken over.
fn is_by_its_committer(commit: &git2::Commit<'_>) -> bool {
    let (author, committer) = (commit.author(), commit.committer());
    author.name_bytes() == committer.name_bytes() && author.email_bytes() == committer.email_bytes()
}

/// A line of a reflog that tells of the making of a commit.
#[derive(Clone, Copy, Debug)]
struct Made {
    before: Oid,
    making: Making,
}

impl Repository {
    /// Tells whether `commit` can be reached from one of `known`, those of them that this repository has.
    pub fn is_part_of(&self, commit: CommitId, known: &[CommitId]) -> Result<bool, GitError> {
        if known.contains(&commit) {
            return Ok(true);
        }
        let mut beyond = self.beyond(commit.oid(), known)?;
        Ok(beyond.next().is_none())
    }

    /// Walks through what cannot be reached from `known`, beginning at `from`.
    fn beyond(&self, from: Oid, known: &[CommitId]) -> Result<Revwalk<'_>, GitError> {
        let doing = "look for the origin of commits";
        let mut walk = self.inner.revwalk().map_err(GitError::doing(doing))?;
        for id in known {
            if self.has(*id) {
                walk.hide(id.oid()).map_err(GitError::doing(doing))?;
            }
        }
        walk.push(from).map_err(|source| missing(&from.to_string(), doing, source))?;
        Ok(walk)
    }

    /// Tells whether this repository has a commit.
    pub fn has(&self, commit: CommitId) -> bool {
        self.inner.find_commit(commit.oid()).is_ok()
    }

    /// Tells whether everything in `commit` that cannot be reached from `known` was committed in this repository, and is
    /// part of nothing that was fetched.
    ///
    /// Reflogs and refs are those of `original`: a temporary repository has no reflogs.
    pub fn is_made_here(
        &self,
        commit: CommitId,
        known: &[CommitId],
        original: &Self,
    ) -> Result<bool, GitError> {
        let Some(roots) = self.committed_here(commit, known, original)? else { return Ok(false) };
        let fetched: Vec<CommitId> =
            original.fetched_tips()?.into_iter().chain(known.iter().copied()).collect();
        for (root, unknown) in roots {
            // What is part of a pull request is that author's, wherever it was made.
            if self.beyond(root, &fetched)?.count() != unknown {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Tells whether a commit and all before it were committed in this repository.
    ///
    /// Others may have built on them meanwhile.
    pub fn is_all_committed_here(&self, commit: CommitId) -> Result<bool, GitError> {
        Ok(self.committed_here(commit, &[], self)?.is_some())
    }

    /// Looks for evidence that everything in `commit` that cannot be reached from `known` was committed in this repository.
    ///
    /// A commit that was amended stands on what it replaces as well as on its parents. Returns what it all stands on, each
    /// with the number of its commits that are not known; nothing if there is no such evidence.
    fn committed_here(
        &self,
        commit: CommitId,
        known: &[CommitId],
        original: &Self,
    ) -> Result<Option<Vec<(Oid, usize)>>, GitError> {
        let doing = "look for the origin of commits";
        let made = original.made_here()?;
        let mut roots = Vec::new();
        let mut seen: HashSet<Oid> = HashSet::new();
        let mut waiting = vec![commit.oid()];
        while let Some(root) = waiting.pop() {
            if seen.contains(&root) {
                continue;
            }
            let walk = match self.beyond(root, known) {
                Ok(walk) => walk,
                // What was amended is gone, and with it what it was.
                Err(GitError::UnknownCommit { .. }) => return Ok(None),
                Err(error) => return Err(error),
            };
            let mut unknown = 0;
            for id in walk {
                let id = id.map_err(GitError::doing(doing))?;
                unknown += 1;
                if unknown > LIMIT {
                    return Ok(None);
                }
                if !seen.insert(id) {
                    continue;
                }
                let Some(lines) = made.get(&id) else { return Ok(None) };
                let commit = self.inner.find_commit(id).map_err(GitError::doing(doing))?;
                let parents: Vec<Oid> = commit.parent_ids().collect();
                let explained = lines.iter().find_map(|line| line.explains(&parents));
                match explained.filter(|_| is_by_its_committer(&commit)) {
                    None => return Ok(None),
                    Some(Explained::ByParents) => {}
                    Some(Explained::ByWhatItReplaces(before)) => waiting.push(before),
                }
            }
            roots.push((root, unknown));
        }
        Ok(Some(roots))
    }

    /// Returns commits that came from elsewhere, or are on their way there: whatever refs, `FETCH_HEAD` and reflogs know.
    fn fetched_tips(&self) -> Result<Vec<CommitId>, GitError> {
        let mut tips = Vec::new();
        for (name, id) in self.references("refs/")? {
            if is_of_others(&name) {
                tips.push(id);
            }
        }
        for directory in self.git_dirs() {
            // There is none before the first fetch.
            let text = std::fs::read_to_string(directory.join("FETCH_HEAD")).unwrap_or_default();
            tips.extend(text.lines().filter_map(|line| line.get(..40)?.parse::<CommitId>().ok()));
        }
        let remotes = self.remote_names()?;
        for LogLine { before, after, message } in self.logs()?.into_iter().flatten() {
            match Arrival::of(&message, &remotes) {
                Some(Arrival::Moved) => tips.push(CommitId::new(after)),
                Some(Arrival::Merged) => {
                    if let Ok(commit) = self.inner.find_commit(after) {
                        tips.extend(
                            commit.parent_ids().filter(|id| *id != before).map(CommitId::new),
                        );
                    }
                }
                None => {}
            }
        }
        Ok(tips)
    }

    /// Reads from the reflogs which commits were made here, and from what.
    fn made_here(&self) -> Result<HashMap<Oid, Vec<Made>>, GitError> {
        let logs = self.logs()?;
        let mut found: HashMap<Oid, Vec<Made>> = HashMap::new();
        for LogLine { before, after, message } in logs.iter().flatten() {
            if let Some(making) = Making::of(message) {
                found.entry(*after).or_default().push(Made { before: *before, making });
            }
        }
        // Another log may have a line about the same commit that does not tell of the rebase.
        for id in logs.iter().flat_map(|log| replayed(log)) {
            found.remove(&id);
        }
        Ok(found)
    }

    /// Returns the reflogs of all branches, and of HEAD in each work tree.
    fn logs(&self) -> Result<Vec<Vec<LogLine>>, GitError> {
        let heads = self.git_dirs().into_iter().map(|dir| dir.join("logs/HEAD"));
        let branches = self.references("refs/heads/")?;
        let branches = branches.into_iter().map(|(name, _)| self.git_dir().join("logs").join(name));
        Ok(heads.chain(branches).map(|path| read_log(&path)).collect())
    }
}

/// Tells whether a ref holds what others made, or what was made for them to take.
fn is_of_others(name: &str) -> bool {
    let rest = name.strip_prefix("refs/").unwrap_or(name);
    if rest.starts_with("levain") {
        return rest.contains("/pull/") || rest == "levain-fetched/checked-out";
    }
    !["heads/", "tags/", "notes/", "replace/", "bisect/", "worktree/", "rewritten/", "stash"]
        .iter()
        .any(|own| rest.starts_with(own))
}

/// What a commit was made from.
enum Explained {
    ByParents,
    ByWhatItReplaces(Oid),
}

impl Made {
    /// Returns what this line says of a commit with these parents; nothing if it is about something else.
    fn explains(self, parents: &[Oid]) -> Option<Explained> {
        match self.making {
            Making::Commit => {
                let of_one = if self.before.is_zero() { &[][..] } else { &[self.before][..] };
                (parents == of_one).then_some(Explained::ByParents)
            }
            Making::Merge => (parents.len() > 1 && parents.first() == Some(&self.before))
                .then_some(Explained::ByParents),
            Making::Amend => {
                (!self.before.is_zero()).then_some(Explained::ByWhatItReplaces(self.before))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refs_of_others_are_all_but_a_few() {
        for (name, others) in [
            ("refs/heads/pr/7", false),
            ("refs/tags/v1", false),
            ("refs/stash", false),
            ("refs/levain/heads/main", false),
            ("refs/levain-fetched/heads/main", false),
            ("refs/levain-fetched/pull/7", true),
            ("refs/levain/pull/7", true),
            ("refs/remotes/origin/main", true),
            ("refs/remotes/fork/main", true),
            ("refs/pull/7/head", true),
            ("refs/merge-requests/7/head", true),
            ("refs/anything", true),
        ] {
            assert_eq!(is_of_others(name), others, "{name}");
        }
    }
}
