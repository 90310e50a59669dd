//! Whose word counts where several branches, pull requests and tags are at one commit.
//!
//! A status has one name for all of them, and branch protection waits for that name. So it must not turn green by what says
//! less about a merge than another does. `docs/decisions/0036-the-stronger-run-has-the-word.md` says why.

use levain_evaluator::JobsetName;
use sqlx::{AnyConnection, Row};

use crate::approve::Trust;
use crate::database::DatabaseError;
use crate::roles::Role;
use crate::runs::RunId;

/// Who speaks; what comes later has the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Voice {
    /// A fork's pull request: a stranger, who may point it at any commit of the project.
    Stranger,
    /// A tag.
    Tag,
    /// A branch, built as it is.
    Branch,
    /// A pull request of the project's own, built as what merging it would give.
    PullRequest,
    /// What a merge queue is about to merge.
    MergeQueue,
}

impl Voice {
    fn of(jobset: &JobsetName, trust: Trust, default_branch: Option<&str>) -> Self {
        match Role::of(jobset, default_branch) {
            Role::PullRequest(_) => match trust {
                Trust::Fork => Self::Stranger,
                Trust::Branch | Trust::Own => Self::PullRequest,
            },
            Role::Tag => Self::Tag,
            Role::DefaultBranch | Role::Branch => Self::Branch,
            Role::MergeQueue => Self::MergeQueue,
        }
    }
}

/// Returns whether something else that is at the commit of a run has the word.
pub(super) async fn is_outranked(
    connection: &mut AnyConnection,
    run: RunId,
) -> Result<bool, DatabaseError> {
    let rows = sqlx::query(
        "SELECT runs.jobset, runs.trust, heads.jobset, heads.trust, projects.default_branch
         FROM runs JOIN projects ON projects.id = runs.project
             JOIN heads ON heads.project = runs.project AND heads.commit_id = runs.commit_id
                 AND heads.jobset <> runs.jobset
         WHERE runs.id = $1",
    )
    .bind(run.number())
    .fetch_all(&mut *connection)
    .await?;
    for row in rows {
        let default: Option<String> = row.try_get(4)?;
        let voice = |column: usize| {
            let text: String = row.try_get(column)?;
            let trust: String = row.try_get(column + 1)?;
            let jobset = text.parse().map_err(|_unnamed| DatabaseError::Content {
                table: "heads",
                what: "jobset",
                found: text,
            })?;
            Ok::<_, DatabaseError>(Voice::of(&jobset, Trust::named(&trust), default.as_deref()))
        };
        if voice(0)? < voice(2)? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_more_about_a_merge_has_the_word() {
        let voice =
            |jobset: &str, trust| Voice::of(&jobset.parse().unwrap(), trust, Some("staging"));
        let order = [
            voice("pull/9", Trust::Fork),
            voice("tags/v1", Trust::Branch),
            voice("heads/topic", Trust::Branch),
            voice("pull/7", Trust::Own),
            voice("heads/gh-readonly-queue/main/pr-7-x", Trust::Branch),
        ];
        assert!(order.is_sorted() && order.windows(2).all(|pair| pair[0] != pair[1]));
        // A default branch that is called like a queue's is a branch.
        assert_eq!(voice("heads/staging", Trust::Branch), Voice::Branch);
    }
}
