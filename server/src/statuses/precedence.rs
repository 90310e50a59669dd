//! Whose word counts where several branches, pull requests and tags are at one commit.
//!
//! A status has one name for all of them, and branch protection waits for that name. So it must not turn green by what says
//! less about a merge than another does. `docs/decisions/0036-the-stronger-run-has-the-word.md` says why.

use std::cmp::Reverse;

use levain_actions::git::CommitId;
use levain_evaluator::JobsetName;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::approve::Trust;
use crate::database::DatabaseError;
use crate::projects::ProjectId;
use crate::roles::Role;
use crate::runs::RunId;
use crate::runs::state::RunState;

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

/// A head, by how much it has to say.
///
/// Of two pull requests, the one into the default branch has the word, else the older one: whoever opens another for the
/// same commit must not overrule what the first one says.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    voice: Voice,
    is_into_default: bool,
    age: Option<Reverse<u64>>,
}

impl Rank {
    fn of(
        jobset: &JobsetName,
        trust: Trust,
        base: Option<&str>,
        default_branch: Option<&str>,
    ) -> Self {
        let voice = Voice::of(jobset, trust, default_branch);
        match Role::of(jobset, default_branch) {
            Role::PullRequest(number) => Self {
                voice,
                is_into_default: base.is_some() && base == default_branch,
                age: Some(Reverse(number)),
            },
            Role::Tag | Role::DefaultBranch | Role::Branch | Role::MergeQueue => {
                Self { voice, is_into_default: false, age: None }
            }
        }
    }

    /// Returns whether it has nothing to say, and keeps nobody from it, when its newest run is in a state.
    fn is_silent(&self, state: Option<String>) -> bool {
        self.voice == Voice::MergeQueue && state.as_deref() == Some(RunState::Cancelled.name())
    }
}

/// Returns whether something else that is at the commit of a run has the word.
///
/// What a merge queue tried and somebody stopped has nothing to say, and keeps nobody from it. A pull request that was
/// stopped keeps the word: else whoever may stop it could have its branch, built alone, turn the check green.
pub(super) async fn is_outranked(
    connection: &mut AnyConnection,
    run: RunId,
) -> Result<bool, DatabaseError> {
    let rows = sqlx::query(
        "SELECT runs.jobset, runs.trust, runs.base, heads.jobset, heads.trust, heads.base,
             projects.default_branch,
             (SELECT state FROM runs AS others WHERE others.project = heads.project
                 AND others.jobset = heads.jobset ORDER BY others.id DESC LIMIT 1)
         FROM runs JOIN projects ON projects.id = runs.project
             JOIN heads ON heads.project = runs.project AND heads.commit_id = runs.commit_id
                 AND heads.jobset <> runs.jobset
         WHERE runs.id = $1",
    )
    .bind(run.number())
    .fetch_all(&mut *connection)
    .await?;
    for row in rows {
        let default: Option<String> = row.try_get(6)?;
        let other = rank(&row, 3, default.as_deref())?;
        if other.is_silent(row.try_get(7)?) {
            continue;
        }
        if rank(&row, 0, default.as_deref())? < other {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns the run that has the word at a commit, if anything there has one.
pub(super) async fn who_speaks(
    connection: &mut AnyConnection,
    project: ProjectId,
    commit: CommitId,
) -> Result<Option<RunId>, DatabaseError> {
    let rows = sqlx::query(
        "SELECT heads.jobset, heads.trust, heads.base, projects.default_branch, runs.id, runs.state
         FROM heads JOIN projects ON projects.id = heads.project
             LEFT JOIN runs ON runs.id = (
                 SELECT MAX(newest.id) FROM runs AS newest WHERE newest.project = heads.project
                     AND newest.jobset = heads.jobset AND newest.commit_id = heads.commit_id
             )
         WHERE heads.project = $1 AND heads.commit_id = $2",
    )
    .bind(project.0)
    .bind(commit.to_string())
    .fetch_all(&mut *connection)
    .await?;
    let mut candidates = Vec::new();
    for row in rows {
        let default: Option<String> = row.try_get(3)?;
        let rank = rank(&row, 0, default.as_deref())?;
        if !rank.is_silent(row.try_get(5)?) {
            candidates.push((rank, row.try_get::<Option<i64>, _>(4)?.map(RunId)));
        }
    }
    Ok(strongest(candidates))
}

/// Decides whose run has the word: that of the highest rank, and of equals the newest. One that has none says nothing, and
/// keeps the weaker ones from it.
fn strongest(candidates: Vec<(Rank, Option<RunId>)>) -> Option<RunId> {
    candidates.into_iter().max().and_then(|(_, run)| run)
}

/// Reads a rank: the name, the trust and the base from a column on.
fn rank(row: &AnyRow, column: usize, default: Option<&str>) -> Result<Rank, DatabaseError> {
    let text: String = row.try_get(column)?;
    let trust: String = row.try_get(column + 1)?;
    let base: Option<String> = row.try_get(column + 2)?;
    let jobset = text.parse().map_err(|_unnamed| DatabaseError::Content {
        table: "heads",
        what: "jobset",
        found: text,
    })?;
    Ok(Rank::of(&jobset, Trust::named(&trust), base.as_deref(), default))
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

    #[test]
    fn of_two_pull_requests_the_one_into_the_default_branch_or_else_the_older_has_the_word() {
        let rank = |jobset: &str, trust, base: Option<&str>| {
            Rank::of(&jobset.parse().unwrap(), trust, base, Some("main"))
        };
        let order = [
            rank("pull/1", Trust::Fork, Some("main")),
            rank("heads/topic", Trust::Branch, None),
            // Built as its head: into which branch is not known.
            rank("pull/8", Trust::Own, None),
            rank("pull/5", Trust::Own, Some("release")),
            rank("pull/9", Trust::Own, Some("main")),
            rank("pull/7", Trust::Own, Some("main")),
        ];
        assert!(order.is_sorted() && order.windows(2).all(|pair| pair[0] != pair[1]), "{order:?}");
        let branch = |name| rank(name, Trust::Branch, None);
        assert_eq!(branch("heads/a"), branch("heads/main"), "the newest run of both");
    }

    #[test]
    fn of_what_is_left_at_a_commit_the_strongest_has_the_word_and_of_equals_the_newest() {
        let rank =
            |jobset: &str| Rank::of(&jobset.parse().unwrap(), Trust::Own, None, Some("main"));
        let of = |list: &[(&str, Option<i64>)]| {
            strongest(list.iter().map(|(jobset, run)| (rank(jobset), run.map(RunId))).collect())
        };
        let (tag, branch, other) =
            (("tags/v1", Some(9)), ("heads/a", Some(1)), ("heads/b", Some(2)));
        assert_eq!(of(&[tag, branch]), Some(RunId(1)));
        assert_eq!(of(&[other, branch, tag]), Some(RunId(2)));
        assert_eq!(of(&[branch, ("pull/7", None)]), None);
        assert_eq!(of(&[]), None);
        let stopped = || Some(RunState::Cancelled.name().to_owned());
        assert!(rank("heads/gh-readonly-queue/main/pr-7-x").is_silent(stopped()));
        assert!(!rank("heads/gh-readonly-queue/main/pr-7-x").is_silent(None));
        assert!(!rank("pull/7").is_silent(stopped()));
    }
}
