//! Who carries out a run: one holder at a time, by a lease that ends by itself.
//!
//! A run that is stopped has its holder until that has let go of it, and as long nobody begins another of its jobset:
//! on another server, too, what is stopped takes a moment to end.

use std::time::Duration;

use levain_evaluator::JobsetName;
use sqlx::{AnyConnection, Row};

use super::putting_off::{given_up, wait};
use super::state::{MOST_ATTEMPTS, RunEvent, RunState, Verdict};
use super::{COLUMNS, Ended, Owner, Run, RunId, run};
use crate::approvals::MAY_BEGIN;
use crate::clock::Timestamp;
use crate::database::{Database, DatabaseError};
use crate::identity::IS_THE_PROJECTS;
use crate::points::Point;
use crate::projects::ProjectId;
use crate::statuses::{Happening, tell_run};

/// How long a holder is believed to be at work without being heard of.
pub const LEASE: Duration = Duration::from_secs(30);

/// Bytes of the longest report that is kept.
const LONGEST_REPORT: usize = 4 << 20;

impl Database {
    /// Takes the run that is next, of a jobset of which nobody holds one and that is not `busy`; nothing if there is none.
    ///
    /// The commit of its base is fixed then, and stays if the run is begun once more. Who takes a run that they lost before
    /// did not go down with it, so that counts for nothing.
    pub async fn claim_run(
        &self,
        owner: Owner,
        now: Timestamp,
        busy: &[(ProjectId, JobsetName)],
    ) -> Result<Option<Run>, DatabaseError> {
        let outbox = self.outbox();
        let busy = busy.to_vec();
        let points = self.points().clone();
        let claimed = self
            .write_and_tell(move |connection| {
                Box::pin(async move {
                    let free: String = (0..busy.len())
                        .map(|index| {
                            let (project, jobset) = (4 + 2 * index, 5 + 2 * index);
                            format!(
                                " AND NOT (waiting.project = ${project} AND waiting.jobset = ${jobset})"
                            )
                        })
                        .collect();
                    // The state is asked for twice: another server may have taken it meanwhile.
                    let text = sqlx::AssertSqlSafe(format!(
                        "UPDATE runs SET state = 'running', begun = begun + 1, owner = $3, leased_until = $2,
                         started_at = $1, put_off_until = NULL, summary = NULL,
                         attempts = attempts
                             + CASE WHEN lost_by LIKE '%<' || $3 || '>%' THEN 0 ELSE 1 END,
                         lost_by = REPLACE(lost_by, '<' || $3 || '>', ''),
                         base_commit = COALESCE(base_commit, (
                             SELECT heads.commit_id FROM heads
                             WHERE heads.project = runs.project
                                 AND heads.jobset = 'heads/' || runs.base
                         ))
                     WHERE state = 'queued' AND id = (
                         SELECT waiting.id FROM runs AS waiting
                         WHERE waiting.state = 'queued'{free} AND {MAY_BEGIN} AND {IS_THE_PROJECTS}
                             AND (waiting.put_off_until IS NULL OR waiting.put_off_until <= $1)
                             AND NOT EXISTS (
                             SELECT 1 FROM runs AS other
                             WHERE other.project = waiting.project
                                 AND other.jobset = waiting.jobset AND other.owner IS NOT NULL
                         )
                         ORDER BY waiting.rank, waiting.id LIMIT 1
                     )
                     RETURNING {COLUMNS}"
                    ));
                    let mut query = sqlx::query(text)
                        .bind(now.millis())
                        .bind(now.after(LEASE).millis())
                        .bind(owner.0);
                    for (project, jobset) in busy {
                        query = query.bind(project.0).bind(jobset.as_str().to_owned());
                    }
                    let row = query.fetch_optional(&mut *connection).await?;
                    if row.is_some() {
                        points.pass(Point::RunTaken);
                    }
                    let claimed = row.as_ref().map(run).transpose()?;
                    if let Some(run) = &claimed {
                        tell_run(connection, outbox, run.id, Happening::Begun).await?;
                    }
                    Ok(claimed)
                })
            })
            .await;
        match claimed {
            // Another server began one at the same moment.
            Err(DatabaseError::Statement(sqlx::Error::Database(error)))
                if error.is_unique_violation() =>
            {
                Ok(None)
            }
            claimed => claimed,
        }
    }

    /// Tells that a run is still carried out; returns whether it is still to be.
    pub async fn renew_run(
        &self,
        id: RunId,
        owner: Owner,
        now: Timestamp,
    ) -> Result<bool, DatabaseError> {
        let points = self.points().clone();
        self.write(move |connection| {
            Box::pin(async move {
                let done = sqlx::query(
                    "UPDATE runs SET leased_until = $3
                     WHERE id = $1 AND owner = $2 AND state = 'running'",
                )
                .bind(id.0)
                .bind(owner.0)
                .bind(now.after(LEASE).millis())
                .execute(&mut *connection)
                .await?;
                points.pass(Point::LeaseRenewed);
                Ok(done.rows_affected() == 1)
            })
        })
        .await
    }

    /// Tells how a run ended; returns whether that counts: not if it was stopped, or given to somebody else.
    pub async fn end_run(
        &self,
        id: RunId,
        owner: Owner,
        ended: Ended,
    ) -> Result<bool, DatabaseError> {
        let Ended { verdict, summary, report, mut notices, told, details } = ended;
        let told = Ended { told, details, ..Ended::new(verdict, summary.clone()) };
        let report = report.filter(|report| {
            let fits = report.len() <= LONGEST_REPORT;
            if !fits {
                notices.push(format!("the report is not kept: it has {} bytes", report.len()));
            }
            fits
        });
        let notices = serde_json::Value::from(notices).to_string();
        let points = self.points().clone();
        let outbox = self.outbox();
        self.write_and_tell(move |connection| {
            Box::pin(async move {
                let done = sqlx::query(
                    "UPDATE runs SET state = $3, summary = $4, ended_at = $5, report = $6,
                         notices = $7, owner = NULL, leased_until = NULL
                     WHERE id = $1 AND owner = $2 AND state = 'running'",
                )
                .bind(id.0)
                .bind(owner.0.clone())
                .bind(RunState::Running.after(RunEvent::Ended(verdict)).name())
                .bind(summary)
                .bind(Timestamp::now().millis())
                .bind(report)
                .bind(notices)
                .execute(&mut *connection)
                .await?;
                points.pass(Point::RunEnding);
                let counts = done.rows_affected() == 1;
                match counts {
                    true => tell_run(connection, outbox, id, Happening::Ended(&told)).await?,
                    false => let_go(connection, id, owner).await?,
                }
                Ok(counts)
            })
        })
        .await
    }

    /// Leaves a run to others, as if it had not been begun; returns whether it was still to be carried out.
    pub async fn give_back_run(&self, id: RunId, owner: Owner) -> Result<bool, DatabaseError> {
        let points = self.points().clone();
        self.write(move |connection| {
            Box::pin(async move {
                let done = sqlx::query(
                    "UPDATE runs SET state = $3, attempts = attempts - 1, owner = NULL,
                         leased_until = NULL, started_at = NULL
                     WHERE id = $1 AND owner = $2 AND state = 'running'",
                )
                .bind(id.0)
                .bind(owner.0.clone())
                .bind(RunState::Running.after(RunEvent::GivenBack).name())
                .execute(&mut *connection)
                .await?;
                points.pass(Point::RunGivenBack);
                let counts = done.rows_affected() == 1;
                if !counts {
                    let_go(connection, id, owner).await?;
                }
                Ok(counts)
            })
        })
        .await
    }

    /// Has a run wait until it is tried again, because of something that is away, or ends it if that took too long.
    ///
    /// It was not begun too often by that. Returns what became of it; nothing if it was not to be carried out any more.
    pub async fn put_off_run(
        &self,
        id: RunId,
        owner: Owner,
        why: String,
        waits: &'static [Duration],
        now: Timestamp,
    ) -> Result<Option<RunState>, DatabaseError> {
        let points = self.points().clone();
        let outbox = self.outbox();
        self.write_and_tell(move |connection| {
            Box::pin(async move {
                // So that nobody else changes it before it is written.
                let row = sqlx::query(
                    "UPDATE runs SET put_off = put_off + 1
                     WHERE id = $1 AND owner = $2 AND state = 'running' RETURNING put_off",
                )
                .bind(id.0)
                .bind(owner.0.clone())
                .fetch_optional(&mut *connection)
                .await?;
                let Some(row) = row else {
                    let_go(connection, id, owner).await?;
                    return Ok(None);
                };
                let before = row.try_get::<i64, _>(0)?.saturating_sub(1);
                let before = u32::try_from(before).unwrap_or(u32::MAX);
                let until = wait(waits, before).map(|wait| now.after(wait));
                let again = until.is_some();
                let state = RunState::Running.after(RunEvent::PutOff { again });
                let summary = if again { why.clone() } else { given_up(before, &why) };
                sqlx::query(
                    "UPDATE runs SET state = $2, summary = $3, put_off_until = $4, ended_at = $5,
                         attempts = attempts - $6, owner = NULL, leased_until = NULL,
                         started_at = CASE WHEN $6 = 1 THEN NULL ELSE started_at END
                     WHERE id = $1",
                )
                .bind(id.0)
                .bind(state.name())
                .bind(summary.clone())
                .bind(until.map(Timestamp::millis))
                .bind((!again).then(|| Timestamp::now().millis()))
                .bind(i64::from(again))
                .execute(&mut *connection)
                .await?;
                points.pass(Point::RunPutOff);
                match until {
                    Some(until) => {
                        let happening = Happening::PutOff { until, why: &why };
                        tell_run(connection, outbox, id, happening).await?;
                    }
                    None => {
                        let ended = Ended::new(Verdict::Errored, summary);
                        tell_run(connection, outbox, id, Happening::Ended(&ended)).await?;
                    }
                }
                Ok(Some(state))
            })
        })
        .await
    }

    /// Takes runs away from those that have not been heard of: they wait again, or end if that happened too often.
    ///
    /// Whoever comes back undoes a loss, but not an end: so a loss that ends a run is one only after a second lease.
    pub async fn take_lost_runs(&self, now: Timestamp) -> Result<Vec<RunId>, DatabaseError> {
        let points = self.points().clone();
        let outbox = self.outbox();
        self.write_and_tell(move |connection| {
            Box::pin(async move {
                let rows = sqlx::query(
                    "SELECT id, attempts, state, owner, leased_until FROM runs
                     WHERE owner IS NOT NULL AND leased_until < $1",
                )
                .bind(now.millis())
                .fetch_all(&mut *connection)
                .await?;
                let mut lost = Vec::new();
                for row in rows {
                    let id: i64 = row.try_get(0)?;
                    let (owner, leased_until): (String, i64) = (row.try_get(3)?, row.try_get(4)?);
                    points.pass(Point::LostRunFound);
                    // Another server may have renewed or taken it since it was read: it is taken as it was read, or not.
                    if row.try_get::<String, _>(2)? != RunState::Running.name() {
                        sqlx::query(
                            "UPDATE runs SET owner = NULL, leased_until = NULL
                             WHERE id = $1 AND owner = $2 AND leased_until = $3
                                 AND state <> 'running'",
                        )
                        .bind(id)
                        .bind(owner)
                        .bind(leased_until)
                        .execute(&mut *connection)
                        .await?;
                        continue;
                    }
                    let attempts = u32::try_from(row.try_get::<i64, _>(1)?).unwrap_or(u32::MAX);
                    let state = RunState::Running.after(RunEvent::Lost { attempts });
                    if state.is_end() && leased_until >= now.before(LEASE).millis() {
                        continue;
                    }
                    let summary = state.is_end().then(|| {
                        format!(
                            "it was begun {MOST_ATTEMPTS} times and never ended: each time the server was not heard of again (its log may tell why)"
                        )
                    });
                    let ended_at = state.is_end().then(|| Timestamp::now().millis());
                    let done = sqlx::query(
                        "UPDATE runs SET state = $2, summary = $3, ended_at = $4, owner = NULL,
                             leased_until = NULL, lost_by = COALESCE(lost_by, '') || '<' || $5 || '>'
                         WHERE id = $1 AND owner = $5 AND leased_until = $6 AND state = 'running'",
                    )
                    .bind(id)
                    .bind(state.name())
                    .bind(summary.clone())
                    .bind(ended_at)
                    .bind(owner)
                    .bind(leased_until)
                    .execute(&mut *connection)
                    .await?;
                    if done.rows_affected() == 0 {
                        continue;
                    }
                    if let Some(why) = &summary {
                        tell_run(connection, outbox, RunId(id), Happening::Lost { why }).await?;
                    }
                    lost.push(RunId(id));
                    points.pass(Point::LostRunTaken);
                }
                Ok(lost)
            })
        })
        .await
    }
}

/// Lets go of a run that is over, or that was given to others. Whoever says so did not go down with it, so that it was
/// begun counts for nothing.
async fn let_go(
    connection: &mut AnyConnection,
    id: RunId,
    owner: Owner,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "UPDATE runs SET attempts = attempts - 1, lost_by = REPLACE(lost_by, '<' || $2 || '>', '')
         WHERE id = $1 AND state IN ('unapproved', 'queued', 'running')
             AND lost_by LIKE '%<' || $2 || '>%'",
    )
    .bind(id.0)
    .bind(owner.0.clone())
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "UPDATE runs SET owner = NULL, leased_until = NULL
         WHERE id = $1 AND owner = $2 AND state <> 'running'",
    )
    .bind(id.0)
    .bind(owner.0)
    .execute(&mut *connection)
    .await?;
    Ok(())
}
