//! Which branch a project's repository names as its default, and what is wrong if it names none.
//!
//! Declarations are read from the default branch, so a project without one is built clean, silently. Repositories get
//! there easily: a bare one is made with HEAD on `master`, and people push `main`.

use std::collections::BTreeSet;

use levain_actions::forge::ForgeKind;
use levain_actions::forge::webhook::Sender;
use levain_evaluator::JobsetName;
use levain_evaluator::names::Named;
use sqlx::Row;

use super::{Project, ProjectId};
use crate::database::{Database, DatabaseError};
use crate::roles::Role;
use crate::runs::head_of;
use crate::statuses::hand_over;

/// What default branches are usually called, the likeliest first.
const USUAL: [&str; 3] = ["main", "master", "trunk"];
/// How many branches are looked through for one to propose.
const MOST_BRANCHES: i64 = 1_000;
/// Stands for the name of a branch that nobody can guess.
const UNKNOWN: &str = "BRANCH";

/// A project has branches, and nothing tells which of them is the default branch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}\nhint: {}", self.found(), self.hint())]
pub struct NoDefaultBranch {
    /// What can be made the default branch.
    proposed: String,
    /// Where that is said; in the repository itself if there is no forge.
    forge: Option<ForgeKind>,
}

impl NoDefaultBranch {
    /// Decides whether this is wrong with a project that has these jobsets and no default branch.
    pub fn of(sender: Sender, jobsets: &[JobsetName]) -> Option<Self> {
        let branches = jobsets.iter().filter(|jobset| Role::of(jobset, None) == Role::Branch);
        let branches: Vec<&str> = branches.filter_map(name_of).collect();
        let proposed = match (USUAL.iter().find(|usual| branches.contains(usual)), &*branches) {
            // Nothing was pushed yet.
            (None, []) => return None,
            (Some(usual), _) => usual,
            (None, [only]) if is_plain(only) => only,
            (None, _) => UNKNOWN,
        };
        let forge = match sender {
            Sender::Forge(kind) => Some(kind),
            Sender::Git => None,
        };
        Some(Self { proposed: proposed.to_owned(), forge })
    }

    /// Says what is wrong.
    pub fn found(&self) -> &'static str {
        "HEAD of the repository leads to no branch that is there, so nothing tells which is the default branch: no declaration is read, incremental mode is off, and no schedule is followed"
    }

    /// Says what to do.
    pub fn hint(&self) -> String {
        let proposed = &self.proposed;
        match self.forge {
            None => format!("in the repository, `git symbolic-ref HEAD refs/heads/{proposed}`"),
            Some(kind) => format!(
                "make `{proposed}` the default branch in the repository's settings on the forge: {}",
                kind.default_branch_setting()
            ),
        }
    }
}

fn name_of(jobset: &JobsetName) -> Option<&str> {
    match jobset.named() {
        Named::Branch(name) => Some(name),
        Named::PullRequest(_) | Named::Tag(_) => None,
    }
}

/// Returns whether a name can be typed as it is: whoever may push chooses it, and the operator types it.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte))
}

impl Database {
    /// Notes which branch is a project's default.
    pub async fn note_default_branch(
        &self,
        id: ProjectId,
        name: Option<String>,
    ) -> Result<(), DatabaseError> {
        let outbox = self.outbox();
        self.write_and_tell(move |connection| {
            Box::pin(async move {
                let row = sqlx::query("SELECT default_branch FROM projects WHERE id = $1")
                    .bind(id.0)
                    .fetch_optional(&mut *connection)
                    .await?;
                let Some(row) = row else { return Ok(()) };
                let before: Option<String> = row.try_get(0)?;
                if before == name {
                    return Ok(());
                }
                sqlx::query("UPDATE projects SET default_branch = $2 WHERE id = $1")
                    .bind(id.0)
                    .bind(name.clone())
                    .execute(&mut *connection)
                    .await?;
                // Who has the word at a commit depends on whether it is the default branch's.
                let mut commits = BTreeSet::new();
                for branch in [before, name].into_iter().flatten() {
                    let head = head_of(connection, id, &JobsetName::branch(&branch)).await?;
                    commits.extend(head.map(|head| head.commit));
                }
                for commit in commits {
                    hand_over(connection, outbox, id, commit).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Tells whether nothing says which branch of a project is its default.
    pub async fn no_default_branch(
        &self,
        project: &Project,
    ) -> Result<Option<NoDefaultBranch>, DatabaseError> {
        if project.default_branch.is_some() || project.looked_at.is_none() {
            return Ok(None);
        }
        let rows = sqlx::query(
            "SELECT jobset FROM heads WHERE project = $1 AND jobset LIKE 'heads/%'
             ORDER BY jobset LIMIT $2",
        )
        .bind(project.id.0)
        .bind(MOST_BRANCHES)
        .fetch_all(self.readers())
        .await?;
        let jobset = |text: String| {
            text.parse().map_err(|_unnamed| DatabaseError::Content {
                table: "heads",
                what: "jobset",
                found: text,
            })
        };
        let jobsets: Result<Vec<JobsetName>, DatabaseError> =
            rows.iter().map(|row| jobset(row.try_get(0)?)).collect();
        Ok(NoDefaultBranch::of(project.sender, &jobsets?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_repository_with_branches_lacks_a_default_branch() {
        let of = |jobsets: &[&str]| {
            let jobsets: Vec<JobsetName> =
                jobsets.iter().map(|name| name.parse().unwrap()).collect();
            NoDefaultBranch::of(Sender::Git, &jobsets).map(|found| found.proposed)
        };
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(of(&["heads/a", "heads/main", "heads/master"]), some("main"));
        assert_eq!(of(&["heads/a", "heads/master"]), some("master"));
        assert_eq!(of(&["heads/topic/a"]), some("topic/a"));
        assert_eq!(of(&["heads/a", "heads/b"]), some("BRANCH"));
        // What somebody pushed is not to be typed into a shell.
        assert_eq!(of(&["heads/a;b"]), some("BRANCH"));
        assert_eq!(of(&["heads/$(b)"]), some("BRANCH"));
        // Nothing was pushed yet.
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["tags/v1", "pull/7"]), None);
    }

    #[test]
    fn the_hint_names_what_mends_it() {
        let of = |forge| NoDefaultBranch { proposed: "main".to_owned(), forge };
        let text = of(None).to_string();
        assert!(
            text.ends_with("\nhint: in the repository, `git symbolic-ref HEAD refs/heads/main`"),
            "{text}"
        );
        for kind in ForgeKind::ALL {
            let hint = of(Some(kind)).hint();
            assert!(hint.starts_with("make `main` the default branch"), "{hint}");
            assert!(hint.ends_with(kind.default_branch_setting()), "{hint}");
        }
    }
}
