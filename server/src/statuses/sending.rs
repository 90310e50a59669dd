//! Which statuses are sent next, by whom, and what became of that: one sender of each at a time, by a lease.

use std::time::Duration;

use levain_actions::status::Status;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::decide::{Sent, hold, wait_after};
use super::kept;
use crate::clock::Timestamp;
use crate::database::{Database, DatabaseError};
use crate::projects::ProjectId;
use crate::runs::{Owner, RunId};

/// How long a sender is believed to be at work.
pub const SENDING_LEASE: Duration = Duration::from_secs(50);

/// How many statuses of one project may be under way before no more of it are begun.
const OF_ONE_PROJECT: i64 = 4;

/// The number of a status in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatusId(i64);

/// A status that is to be sent now.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Its number.
    pub id: StatusId,
    /// Its project.
    pub project: ProjectId,
    /// What is sent.
    pub status: Status,
    /// Whether the forge may show it already: whoever sent it last did not hear what became of it.
    pub in_doubt: bool,
    /// How often sending failed.
    pub failures: u32,
    /// The run that says so.
    pub run: RunId,
    /// The forge's number for the check that this updates, if the run has one that is still open.
    pub check: Option<u64>,
}

fn claimed(row: &AnyRow) -> Result<Claimed, DatabaseError> {
    let (commit, context): (String, String) = (row.try_get(2)?, row.try_get(3)?);
    let (state, description): (String, String) = (row.try_get(4)?, row.try_get(5)?);
    let (target_url, git_ref): (Option<String>, Option<String>) =
        (row.try_get(6)?, row.try_get(7)?);
    let wrong = |error: &dyn std::fmt::Display| DatabaseError::Content {
        table: "statuses",
        what: "status",
        found: error.to_string(),
    };
    let status = Status::new(&commit, &context, kept::state(state)?, &description)
        .map_err(|error| wrong(&error))?;
    let status = match target_url {
        Some(url) => status.with_target_url(&url).map_err(|error| wrong(&error))?,
        None => status,
    };
    let status = match git_ref {
        Some(name) => status.with_git_ref(&name),
        None => status,
    };
    let status = status.with_details(kept::details(row.try_get(10)?)?);
    let check: Option<i64> = row.try_get(12)?;
    let is_open = row.try_get::<i64, _>(13)? != 0;
    Ok(Claimed {
        id: StatusId(row.try_get(0)?),
        project: ProjectId(row.try_get(1)?),
        status,
        in_doubt: row.try_get::<i64, _>(8)? != 0,
        failures: u32::try_from(row.try_get::<i64, _>(9)?).unwrap_or(u32::MAX),
        run: RunId(row.try_get(11)?),
        check: check.filter(|_| is_open).and_then(|id| u64::try_from(id).ok()),
    })
}

impl Database {
    /// Takes statuses that are to be sent by now, at most `limit`.
    pub async fn claim_statuses(
        &self,
        owner: Owner,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Claimed>, DatabaseError> {
        self.write(move |connection| {
            Box::pin(async move {
                // The state is asked for twice: another server may have taken one meanwhile.
                let rows = sqlx::query(
                    "UPDATE statuses SET sending = 'under-way', owner = $1, leased_until = $2,
                         told_at = $3, sent_sequence = sequence, writes = writes + 1
                     WHERE sending = 'due' AND id IN (
                         SELECT waiting.id FROM statuses AS waiting
                         JOIN projects ON projects.id = waiting.project
                         WHERE waiting.sending = 'due' AND waiting.not_before <= $3
                             AND projects.held_until <= $3
                             AND projects.other_repository IS NULL
                             AND (
                                 SELECT COUNT(*) FROM statuses AS other
                                 WHERE other.project = waiting.project
                                     AND other.sending = 'under-way'
                             ) < $4
                         ORDER BY waiting.not_before, waiting.id LIMIT $5
                     )
                     RETURNING id, project, commit_id, context, state, description, target_url,
                         git_ref, in_doubt, failures, details, run, check_id, check_open",
                )
                .bind(owner.as_str().to_owned())
                .bind(now.after(SENDING_LEASE).millis())
                .bind(now.millis())
                .bind(OF_ONE_PROJECT)
                .bind(i64::from(limit))
                .fetch_all(&mut *connection)
                .await?;
                rows.iter().map(claimed).collect()
            })
        })
        .await
    }

    /// Takes note of what became of a status that `owner` sent; nothing if it is not its sender any more.
    pub async fn status_sent(
        &self,
        claimed: &Claimed,
        owner: Owner,
        sent: Sent,
        now: Timestamp,
    ) -> Result<(), DatabaseError> {
        let (id, project, failures) = (claimed.id, claimed.project, claimed.failures);
        let run = claimed.run;
        self.write(move |connection| {
            Box::pin(async move {
                match sent {
                    Sent::Shown => shown(connection, id, project, owner, now).await,
                    Sent::Check { id: check, is_open } => {
                        note_check(connection, id, &owner, run, (check, is_open)).await?;
                        shown(connection, id, project, owner, now).await
                    }
                    Sent::Refused { why } => refused(connection, id, owner, why).await,
                    Sent::Later { why, wait, may_be_shown } => {
                        let own = wait_after(failures.saturating_add(1), wait);
                        let until =
                            Until { status: now.after(own), project: now.after(hold(own, wait)) };
                        later(connection, (id, project), owner, why, until, may_be_shown).await
                    }
                }
            })
        })
        .await
    }

    /// Takes statuses away from senders that have not been heard of: nobody knows whether the forge shows them.
    pub async fn take_lost_statuses(&self, now: Timestamp) -> Result<u64, DatabaseError> {
        self.write(move |connection| {
            Box::pin(async move {
                let done = sqlx::query(
                    "UPDATE statuses SET sending = 'due', in_doubt = 1, owner = NULL,
                         leased_until = NULL
                     WHERE sending = 'under-way' AND leased_until < $1",
                )
                .bind(now.millis())
                .execute(&mut *connection)
                .await?;
                Ok(done.rows_affected())
            })
        })
        .await
    }

    /// Returns when the next status is to be sent, if one waits.
    pub async fn next_status_at(&self) -> Result<Option<Timestamp>, DatabaseError> {
        let row = sqlx::query(
            "SELECT MIN(CASE WHEN projects.held_until > statuses.not_before
                 THEN projects.held_until ELSE statuses.not_before END)
             FROM statuses JOIN projects ON projects.id = statuses.project
             WHERE statuses.sending = 'due'",
        )
        .fetch_one(self.readers())
        .await?;
        Ok(row.try_get::<Option<i64>, _>(0)?.map(Timestamp::from_millis))
    }
}

/// Notes as what the forge shows a status. A newer run that speaks by now makes a check of its own.
async fn note_check(
    connection: &mut AnyConnection,
    id: StatusId,
    owner: &Owner,
    run: RunId,
    (check, is_open): (u64, bool),
) -> Result<(), DatabaseError> {
    sqlx::query(
        "UPDATE statuses SET check_id = $4, check_open = CASE WHEN run = $3 THEN $5 ELSE 0 END
         WHERE id = $1 AND owner = $2 AND sending = 'under-way'",
    )
    .bind(id.0)
    .bind(owner.as_str().to_owned())
    .bind(run.number())
    .bind(i64::try_from(check).unwrap_or(i64::MAX))
    .bind(i64::from(is_open))
    .execute(&mut *connection)
    .await?;
    Ok(())
}

async fn shown(
    connection: &mut AnyConnection,
    id: StatusId,
    project: ProjectId,
    owner: Owner,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "UPDATE statuses SET
             sending = CASE WHEN sequence = sent_sequence THEN 'shown' ELSE 'due' END,
             in_doubt = 0, failures = 0, last_error = NULL, owner = NULL, leased_until = NULL
         WHERE id = $1 AND owner = $2 AND sending = 'under-way'",
    )
    .bind(id.0)
    .bind(owner.as_str().to_owned())
    .execute(&mut *connection)
    .await?;
    // The forge is there again: others need not wait until they would have been tried.
    sqlx::query(
        "UPDATE statuses SET not_before = $2
         WHERE project = $1 AND sending = 'due' AND failures > 0 AND not_before > $2",
    )
    .bind(project.0)
    .bind(now.millis())
    .execute(&mut *connection)
    .await?;
    Ok(())
}

async fn refused(
    connection: &mut AnyConnection,
    id: StatusId,
    owner: Owner,
    why: String,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "UPDATE statuses SET
             sending = CASE WHEN sequence = sent_sequence THEN 'refused' ELSE 'due' END,
             in_doubt = 0, failures = failures + 1, last_error = $3, owner = NULL,
             leased_until = NULL
         WHERE id = $1 AND owner = $2 AND sending = 'under-way'",
    )
    .bind(id.0)
    .bind(owner.as_str().to_owned())
    .bind(why)
    .execute(&mut *connection)
    .await?;
    Ok(())
}

/// Until when something is left alone.
struct Until {
    /// The status.
    status: Timestamp,
    /// Everything that goes out with the same token.
    project: Timestamp,
}

async fn later(
    connection: &mut AnyConnection,
    (id, project): (StatusId, ProjectId),
    owner: Owner,
    why: String,
    until: Until,
    may_be_shown: bool,
) -> Result<(), DatabaseError> {
    let done = sqlx::query(
        "UPDATE statuses SET sending = 'due', in_doubt = $3, failures = failures + 1,
             last_error = $4, not_before = CASE WHEN sequence = sent_sequence THEN $5
                 ELSE not_before END,
             owner = NULL, leased_until = NULL
         WHERE id = $1 AND owner = $2 AND sending = 'under-way'",
    )
    .bind(id.0)
    .bind(owner.as_str().to_owned())
    .bind(i64::from(may_be_shown))
    .bind(why)
    .bind(until.status.millis())
    .execute(&mut *connection)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(());
    }
    // A limit is that of the token, and a forge that is down is so for all who have it.
    sqlx::query(
        "UPDATE projects SET held_until = $2 WHERE held_until < $2
         AND (id = $1 OR token_file = (SELECT token_file FROM projects WHERE id = $1)
             OR installation = (SELECT installation FROM projects WHERE id = $1))",
    )
    .bind(project.0)
    .bind(until.project.millis())
    .execute(&mut *connection)
    .await?;
    Ok(())
}
