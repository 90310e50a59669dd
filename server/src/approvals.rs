//! Approvals of commits of forks, in the database: who approved what, and until when that counts.
//!
//! All that happens to an approval happens in one transaction with what it means for runs, and after whoever notes the
//! project's heads at the same moment, or before: see [`Database::approve`]. What is decided is in [`crate::approve`];
//! whether a run may begin is asked once more by the statement that begins it.

use levain_actions::git::CommitId;
use levain_evaluator::JobsetName;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::approve::{
    APPROVAL, Admission, Approval, Approver, NotApproved, Way, admission, decide,
};
use crate::clock::Timestamp;
use crate::database::{Database, DatabaseError};
use crate::projects::{ProjectId, PullRequests};
use crate::reconcile::Head;
use crate::runs::state::{RunEvent, RunState};
use crate::runs::{RunId, head_of};
use crate::statuses::tell_state;

/// Holds in a statement about `runs AS waiting`, `$1` being the present: the run needs no approval, or has one.
pub(crate) const MAY_BEGIN: &str = "(
    waiting.trust <> 'fork'
    OR EXISTS (
        SELECT 1 FROM projects
        WHERE projects.id = waiting.project AND projects.pull_requests = 'all'
    )
    OR EXISTS (
        SELECT 1 FROM approvals JOIN projects ON projects.id = approvals.project
        WHERE approvals.project = waiting.project AND projects.pull_requests = 'approved'
            AND approvals.jobset = waiting.jobset AND approvals.commit_id = waiting.commit_id
            AND approvals.voided_at IS NULL AND approvals.expires_at > $1
    )
)";

/// Somebody who may do so approves a commit.
#[derive(Clone, Debug)]
pub struct NewApproval {
    /// The project.
    pub project: ProjectId,
    /// The pull request.
    pub pull_request: u64,
    /// The commit, which must be its head.
    pub commit: CommitId,
    /// Who approves it.
    pub approver: Approver,
    /// When.
    pub now: Timestamp,
}

/// What approving a commit came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approved {
    /// The runs that waited for it.
    pub runs: Vec<RunId>,
    /// Until when they may begin.
    pub expires_at: Timestamp,
}

impl Database {
    /// Approves a commit of a pull request, if that is its head: runs of it wait for nobody any more.
    pub async fn approve(
        &self,
        new: NewApproval,
    ) -> Result<Result<Approved, NotApproved>, DatabaseError> {
        let outbox = self.outbox();
        self.write_and_tell(move |connection| {
            Box::pin(async move {
                // Whoever notes heads changes this row as well, so one of the two is done before the other begins.
                let row = sqlx::query(
                    "UPDATE projects SET heads_noted = heads_noted WHERE id = $1
                     RETURNING pull_requests",
                )
                .bind(new.project.0)
                .fetch_optional(&mut *connection)
                .await?;
                let number = new.pull_request;
                let Some(row) = row else {
                    return Ok(Err(NotApproved::NoPullRequest { number }));
                };
                let choice = PullRequests::read(row.try_get(0)?)?;
                let jobset = JobsetName::pull_request(number);
                let head = head_of(connection, new.project, &jobset).await?;
                if let Err(refused) = decide(number, head.as_ref(), choice, new.commit) {
                    return Ok(Err(refused));
                }
                let expires_at = new.now.after(APPROVAL);
                sqlx::query(
                    "INSERT INTO approvals
                         (project, jobset, commit_id, way, approver, approved_at, expires_at)
                     VALUES ($1, $2, $3, $4, $5, $6, $7)",
                )
                .bind(new.project.0)
                .bind(jobset.as_str().to_owned())
                .bind(new.commit.to_string())
                .bind(new.approver.way.name())
                .bind(new.approver.name)
                .bind(new.now.millis())
                .bind(expires_at.millis())
                .execute(&mut *connection)
                .await?;
                let rows = sqlx::query(
                    "UPDATE runs SET state = $4
                     WHERE project = $1 AND jobset = $2 AND commit_id = $3 AND state = 'unapproved'
                     RETURNING id",
                )
                .bind(new.project.0)
                .bind(jobset.as_str().to_owned())
                .bind(new.commit.to_string())
                .bind(RunState::Unapproved.after(RunEvent::Approved).name())
                .fetch_all(&mut *connection)
                .await?;
                let runs: Result<Vec<RunId>, sqlx::Error> =
                    rows.iter().map(|row| Ok(RunId(row.try_get(0)?))).collect();
                let runs = runs?;
                for run in &runs {
                    tell_state(connection, outbox, *run, RunState::Queued).await?;
                }
                Ok(Ok(Approved { runs, expires_at }))
            })
        })
        .await
    }

    /// Returns the approvals of a pull request, the newest first, those that do not count any more included.
    pub async fn approvals(
        &self,
        project: ProjectId,
        pull_request: u64,
    ) -> Result<Vec<Approval>, DatabaseError> {
        let rows = sqlx::query(
            "SELECT jobset, commit_id, way, approver, approved_at, expires_at, voided_at
             FROM approvals WHERE project = $1 AND jobset = $2 ORDER BY id DESC",
        )
        .bind(project.0)
        .bind(JobsetName::pull_request(pull_request).as_str().to_owned())
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(|row| approval(pull_request, row)).collect()
    }

    /// Has those queued runs wait whose approval does not count any more, and those waiting for one run that have it;
    /// returns how many runs changed.
    pub async fn review_approvals(&self, now: Timestamp) -> Result<u64, DatabaseError> {
        let outbox = self.outbox();
        self.write_and_tell(move |connection| {
            Box::pin(async move {
                let mut changed = 0;
                for (from, event, condition) in [
                    (RunState::Queued, RunEvent::Unapproved, format!("NOT {MAY_BEGIN}")),
                    (RunState::Unapproved, RunEvent::Approved, MAY_BEGIN.to_owned()),
                ] {
                    // The state is part of the text: an index of some states is used only so.
                    let (name, state) = (from.name(), from.after(event));
                    let text = sqlx::AssertSqlSafe(format!(
                        "UPDATE runs SET state = $2 WHERE state = '{name}' AND id IN (
                             SELECT waiting.id FROM runs AS waiting
                             WHERE waiting.state = '{name}' AND {condition}
                         )
                         RETURNING id"
                    ));
                    let rows = sqlx::query(text)
                        .bind(now.millis())
                        .bind(state.name())
                        .fetch_all(&mut *connection)
                        .await?;
                    for row in rows {
                        tell_state(connection, outbox, RunId(row.try_get(0)?), state).await?;
                        changed += 1;
                    }
                }
                Ok(changed)
            })
        })
        .await
    }
}

fn approval(pull_request: u64, row: &AnyRow) -> Result<Approval, DatabaseError> {
    let content = |what, found: String| DatabaseError::Content { table: "approvals", what, found };
    let (commit, way): (String, String) = (row.try_get(1)?, row.try_get(2)?);
    let known = Way::ALL.into_iter().find(|known| known.name() == way);
    let way = known.ok_or_else(|| content("way", way))?;
    Ok(Approval {
        pull_request,
        commit: commit.parse().map_err(|_unnamed| content("commit", commit))?,
        approver: Approver { way, name: row.try_get(3)? },
        approved_at: Timestamp::from_millis(row.try_get(4)?),
        expires_at: Timestamp::from_millis(row.try_get(5)?),
        voided_at: row.try_get::<Option<i64>, _>(6)?.map(Timestamp::from_millis),
    })
}

/// Ends all approvals of a jobset: it has another commit, or is gone.
pub(crate) async fn void(
    connection: &mut AnyConnection,
    project: ProjectId,
    jobset: &JobsetName,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "UPDATE approvals SET voided_at = $3
         WHERE project = $1 AND jobset = $2 AND voided_at IS NULL",
    )
    .bind(project.0)
    .bind(jobset.as_str().to_owned())
    .bind(Timestamp::now().millis())
    .execute(&mut *connection)
    .await?;
    Ok(())
}

/// Returns the state in which a run of a head begins to wait: for its turn, or for somebody to approve it.
pub(crate) async fn first_state(
    connection: &mut AnyConnection,
    project: ProjectId,
    jobset: &JobsetName,
    head: &Head,
    now: Timestamp,
) -> Result<RunState, DatabaseError> {
    let row = sqlx::query("SELECT pull_requests FROM projects WHERE id = $1")
        .bind(project.0)
        .fetch_one(&mut *connection)
        .await?;
    match admission(head.trust, PullRequests::read(row.try_get(0)?)?) {
        Admission::AtOnce => return Ok(RunState::Queued),
        Admission::OnApproval | Admission::Never => {}
    }
    let found = sqlx::query(
        "SELECT 1 FROM approvals WHERE project = $1 AND jobset = $2 AND commit_id = $3
         AND voided_at IS NULL AND expires_at > $4 LIMIT 1",
    )
    .bind(project.0)
    .bind(jobset.as_str().to_owned())
    .bind(head.commit.to_string())
    .bind(now.millis())
    .fetch_optional(&mut *connection)
    .await?;
    match found {
        Some(_) => Ok(RunState::Queued),
        None => Ok(RunState::Queued.after(RunEvent::Unapproved)),
    }
}
