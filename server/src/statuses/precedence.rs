//! Whose word counts where several branches, pull requests and tags are at one commit.
//!
//! A status has one name for all of them, and branch protection waits for that name. So it must not turn green while one of
//! those that say something about a merge is not green. `docs/decisions/0036-the-most-cautious-run-has-the-word.md` says
//! why. Start at [`word`], the decision; what it decides about is read by [`word_at`].

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

/// Who speaks; what comes later has the word among those that are equally cautious.
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

/// A head, by how much it has to say.
///
/// Of two pull requests, the one into the default branch has more to say, else the older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    voice: Voice,
    is_into_default: bool,
    age: Option<Reverse<u64>>,
}

impl Rank {
    fn of(role: Role, trust: Trust, base: Option<&str>, default_branch: Option<&str>) -> Self {
        let plain = |voice| Self { voice, is_into_default: false, age: None };
        match role {
            Role::PullRequest(number) => Self {
                voice: match trust {
                    Trust::Fork => Voice::Stranger,
                    Trust::Branch | Trust::Own => Voice::PullRequest,
                },
                is_into_default: base.is_some() && base == default_branch,
                age: Some(Reverse(number)),
            },
            Role::Tag => plain(Voice::Tag),
            Role::DefaultBranch | Role::Branch => plain(Voice::Branch),
            Role::MergeQueue => plain(Voice::MergeQueue),
        }
    }
}

/// How much the newest run of a head keeps the head's commit from being called good; what comes later has the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Caution {
    /// It succeeded.
    Well,
    /// Nobody knows yet.
    Open,
    /// It failed, or somebody stopped it: else whoever may stop it could have another turn the check green.
    Bad,
}

impl Caution {
    fn of(state: Option<RunState>) -> Self {
        match state {
            // What was superseded while its head is still there gets another run in the same transaction.
            None
            | Some(
                RunState::Unapproved | RunState::Queued | RunState::Running | RunState::Superseded,
            ) => Self::Open,
            Some(RunState::Succeeded) => Self::Well,
            Some(
                RunState::Failed | RunState::Conflict | RunState::Errored | RunState::Cancelled,
            ) => Self::Bad,
        }
    }
}

/// A head at a commit, and the newest run of it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// How much it has to say.
    pub rank: Rank,
    /// The newest run, and where that stands.
    pub newest: Option<(RunId, RunState)>,
    /// Whether the commit is good only if this is.
    pub counts: bool,
}

impl At {
    /// Describes a head.
    pub fn new(
        jobset: &JobsetName,
        trust: Trust,
        base: Option<&str>,
        default_branch: Option<&str>,
        newest: Option<(RunId, RunState)>,
    ) -> Self {
        let role = Role::of(jobset, default_branch);
        let rank = Rank::of(role, trust, base, default_branch);
        let counts = match rank.voice {
            Voice::PullRequest | Voice::MergeQueue => true,
            Voice::Branch => role == Role::DefaultBranch,
            Voice::Stranger | Voice::Tag => false,
        };
        Self { rank, newest, counts }
    }

    /// Returns whether it has nothing to say, and keeps nobody from it: what a merge queue tried and somebody stopped.
    fn is_silent(&self) -> bool {
        self.rank.voice == Voice::MergeQueue
            && self.newest.is_some_and(|(_, state)| state == RunState::Cancelled)
    }

    /// Returns its newest run.
    pub fn run(&self) -> Option<RunId> {
        self.newest.map(|(run, _)| run)
    }
}

/// Who has the word at a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// The run; nothing if there is none of what has the word, or nothing at the commit.
    pub run: Option<RunId>,
    /// Whether something that counts is there: then nobody else says anything.
    pub counts: bool,
    /// Those that are heard: those that count, if there are any. What has the word is first.
    pub heard: Vec<At>,
}

/// Decides who has the word at a commit: the worst of what counts there, so that the commit is good only if all of them are.
///
/// What counts are pull requests of the project's own, what merge queues try, and the default branch. Of equally bad ones,
/// and where nothing counts, the highest rank has the word, and of equals the newest run. A head that has no run says
/// nothing, and keeps the weaker ones from it.
pub fn word(heads: &[At]) -> Word {
    let heard = heads.iter().copied().filter(|head| !head.is_silent());
    let mut heard: Vec<At> = heard.collect();
    let counts = heard.iter().any(|head| head.counts);
    heard.retain(|head| head.counts == counts);
    let key = |head: &At| {
        let caution = if counts {
            let state = head.newest.map(|(_, state)| state);
            (Caution::of(state), head.newest.is_some())
        } else {
            (Caution::Well, true)
        };
        Reverse((caution, head.rank, head.run()))
    };
    heard.sort_by_key(key);
    Word { run: heard.first().and_then(At::run), counts, heard }
}

/// Reads what is at a commit, and decides who has the word there.
pub(super) async fn word_at(
    connection: &mut AnyConnection,
    project: ProjectId,
    commit: CommitId,
) -> Result<Word, DatabaseError> {
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
    let heads: Result<Vec<At>, DatabaseError> = rows.iter().map(at).collect();
    Ok(word(&heads?))
}

fn at(row: &AnyRow) -> Result<At, DatabaseError> {
    let text: String = row.try_get(0)?;
    let trust: String = row.try_get(1)?;
    let base: Option<String> = row.try_get(2)?;
    let default: Option<String> = row.try_get(3)?;
    let newest = match row.try_get::<Option<i64>, _>(4)? {
        Some(run) => Some((RunId(run), state(row.try_get(5)?)?)),
        None => None,
    };
    let jobset = text.parse().map_err(|_unnamed| DatabaseError::Content {
        table: "heads",
        what: "jobset",
        found: text,
    })?;
    Ok(At::new(&jobset, Trust::named(&trust), base.as_deref(), default.as_deref(), newest))
}

/// Reads the state of a run.
pub(super) fn state(text: String) -> Result<RunState, DatabaseError> {
    let state = RunState::ALL.into_iter().find(|known| known.name() == text);
    state.ok_or(DatabaseError::Content { table: "runs", what: "state", found: text })
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: &str = "heads/gh-readonly-queue/main/pr-7-x";

    /// A head, its base and the state of its newest run.
    type Here = (&'static str, Trust, Option<&'static str>, Option<(i64, RunState)>);

    fn at((jobset, trust, base, newest): Here) -> At {
        let newest = newest.map(|(run, state)| (RunId(run), state));
        At::new(&jobset.parse().unwrap(), trust, base, Some("main"), newest)
    }

    fn own(jobset: &'static str, run: i64, state: RunState) -> Here {
        (jobset, Trust::Own, None, Some((run, state)))
    }

    fn said(heads: &[Here]) -> Option<i64> {
        let heads: Vec<At> = heads.iter().copied().map(at).collect();
        word(&heads).run.map(RunId::number)
    }

    /// Returns all orders of a list.
    fn orders<T: Clone>(list: &[T]) -> Vec<Vec<T>> {
        if list.is_empty() {
            return vec![Vec::new()];
        }
        let mut all = Vec::new();
        for index in 0..list.len() {
            let mut rest = list.to_vec();
            let first = rest.remove(index);
            all.extend(orders(&rest).into_iter().map(|rest| [vec![first.clone()], rest].concat()));
        }
        all
    }

    #[test]
    fn ranks_are_in_the_order_of_what_says_more_about_a_merge() {
        let rank = |jobset: &str, trust, base: Option<&str>| {
            At::new(&jobset.parse().unwrap(), trust, base, Some("main"), None).rank
        };
        let order = [
            rank("pull/1", Trust::Fork, Some("main")),
            rank("tags/v1", Trust::Branch, None),
            rank("heads/topic", Trust::Branch, None),
            // Built as its head: into which branch is not known.
            rank("pull/8", Trust::Own, None),
            rank("pull/5", Trust::Own, Some("release")),
            rank("pull/9", Trust::Own, Some("main")),
            rank("pull/7", Trust::Own, Some("main")),
            rank(QUEUE, Trust::Branch, None),
        ];
        assert!(order.is_sorted() && order.windows(2).all(|pair| pair[0] != pair[1]), "{order:?}");
        let branch = |name| rank(name, Trust::Branch, None);
        assert_eq!(branch("heads/a"), branch("heads/main"), "the newest run of both");
    }

    #[test]
    fn what_counts_are_own_pull_requests_merge_queues_and_the_default_branch() {
        let counts = |jobset: &str, trust, default| {
            At::new(&jobset.parse().unwrap(), trust, None, default, None).counts
        };
        for (jobset, trust, default, expected) in [
            ("pull/7", Trust::Own, Some("main"), true),
            ("pull/7", Trust::Branch, Some("main"), true),
            ("pull/7", Trust::Fork, Some("main"), false),
            (QUEUE, Trust::Branch, Some("main"), true),
            ("heads/main", Trust::Branch, Some("main"), true),
            ("heads/main", Trust::Branch, None, false),
            ("heads/topic", Trust::Branch, Some("main"), false),
            // A default branch that is called like a queue's is the default branch.
            ("heads/staging", Trust::Branch, Some("staging"), true),
            ("tags/main", Trust::Branch, Some("main"), false),
        ] {
            assert_eq!(counts(jobset, trust, default), expected, "{jobset} {trust:?} {default:?}");
        }
    }

    #[test]
    fn a_commit_is_good_only_if_everything_that_counts_there_is() {
        let heads = ["pull/7", "pull/8", "heads/main", QUEUE];
        for states in RunState::ALL.into_iter().flat_map(|a| RunState::ALL.map(|b| (a, b))) {
            for (first, second) in heads.iter().flat_map(|a| heads.map(|b| (*a, b))) {
                if first == second {
                    continue;
                }
                let here = [own(first, 1, states.0), own(second, 2, states.1)];
                // Whatever does not count, well as it may be, changes nothing.
                let others = [
                    own("heads/topic", 8, RunState::Succeeded),
                    ("pull/9", Trust::Fork, None, Some((9, RunState::Succeeded))),
                ];
                let list: Vec<At> = here.into_iter().chain(others).map(at).collect();
                let silent =
                    |(name, state): (&str, RunState)| name == QUEUE && state == RunState::Cancelled;
                let counting: Vec<RunState> = [(first, states.0), (second, states.1)]
                    .into_iter()
                    .filter(|one| !silent(*one))
                    .map(|(_, state)| state)
                    .collect();
                let word = word(&list);
                let context = format!("{here:?} {word:?}");
                let speaks = list.iter().find(|head| head.run() == word.run).unwrap();
                let state = speaks.newest.unwrap().1;
                let all_are_well = counting.iter().all(|one| *one == RunState::Succeeded);
                assert_eq!(state == RunState::Succeeded, all_are_well, "{context}");
                let worst = counting.iter().map(|one| Caution::of(Some(*one))).max().unwrap();
                assert_eq!(Caution::of(Some(state)), worst, "{context}");
                assert!(word.counts && speaks.counts, "{context}");
            }
        }
    }

    #[test]
    fn the_worst_has_the_word_and_of_equals_the_highest_rank_in_whatever_order_they_come() {
        use RunState::{
            Cancelled, Conflict, Errored, Failed, Queued, Running, Succeeded, Unapproved,
        };
        let none = |jobset| (jobset, Trust::Own, None, None);
        let into = |base, run, state| ("pull/9", Trust::Own, Some(base), Some((run, state)));
        let fork = |run, state| ("pull/6", Trust::Fork, Some("main"), Some((run, state)));
        for (heads, expected) in [
            // A pull request from the default branch, which is broken, into another one.
            (vec![own("heads/main", 1, Failed), own("pull/7", 2, Succeeded)], Some(1)),
            // Two pull requests of one commit.
            (vec![own("pull/7", 1, Succeeded), own("pull/8", 2, Failed)], Some(2)),
            // What is called like a merge queue's.
            (vec![own("heads/trying", 3, Succeeded), own("pull/7", 2, Conflict)], Some(2)),
            (vec![own("pull/7", 1, Succeeded), own("pull/8", 2, Queued)], Some(2)),
            (vec![own("pull/7", 1, Running), own("pull/8", 2, Errored)], Some(2)),
            (vec![own("pull/7", 1, Succeeded), own("pull/8", 2, Cancelled)], Some(2)),
            (vec![own("pull/7", 1, Succeeded), own("pull/8", 2, Succeeded)], Some(1)),
            (vec![own("pull/7", 2, Failed), own("pull/8", 1, Cancelled)], Some(2)),
            (vec![own("pull/7", 1, Queued), own("pull/8", 2, Running)], Some(1)),
            (vec![own("pull/7", 1, Failed), into("main", 2, Failed)], Some(2)),
            (vec![own("pull/7", 1, Failed), into("next", 2, Failed)], Some(1)),
            (vec![own(QUEUE, 1, Succeeded), own("pull/7", 2, Succeeded)], Some(1)),
            // Stopped, a merge queue says nothing.
            (vec![own(QUEUE, 2, Cancelled), own("pull/7", 1, Succeeded)], Some(1)),
            (vec![own(QUEUE, 2, Cancelled), own("heads/topic", 1, Failed)], Some(1)),
            (vec![own(QUEUE, 2, Cancelled)], None),
            // Strangers, branches and tags do not overrule what counts, and are not asked.
            (vec![fork(3, Failed), own("pull/7", 1, Succeeded)], Some(1)),
            (vec![own("heads/topic", 3, Failed), own("heads/main", 1, Succeeded)], Some(1)),
            (vec![own("tags/v1", 3, Failed), own("heads/main", 1, Running)], Some(1)),
            // Nothing counts: by rank, whatever became of them, and of equals the newest.
            (vec![fork(3, Failed), own("heads/topic", 1, Succeeded)], Some(1)),
            (vec![own("tags/v1", 9, Failed), own("heads/a", 1, Unapproved)], Some(1)),
            (
                vec![own("heads/a", 1, Failed), own("heads/b", 2, Succeeded), none("tags/v1")],
                Some(2),
            ),
            (vec![own("tags/v1", 9, Failed), none("heads/a")], None),
            // What counts and has no run keeps the others from calling the commit good.
            (vec![own("pull/7", 1, Succeeded), none("pull/8")], None),
            (vec![own("pull/8", 1, Queued), none("pull/7")], Some(1)),
            (vec![own("pull/8", 1, Failed), none("pull/7")], Some(1)),
            (vec![], None),
        ] {
            for order in orders(&heads) {
                assert_eq!(said(&order), expected, "{order:?}");
            }
        }
    }
}
