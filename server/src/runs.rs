//! Runs: which commits of which jobsets are to be built, who does it, and how it ended.
//!
//! Whoever carries out a run holds it by a lease, which ends by itself if nothing is heard of the holder any more.

mod leases;
mod listing;
pub mod putting_off;
mod scheduled;
pub mod state;

use levain_actions::git::CommitId;
use levain_actions::status::{self, SummaryPhase, SummaryText};
use levain_evaluator::JobsetName;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::approvals::{first_state, void};
use crate::approve::Trust;
use crate::clock::Timestamp;
use crate::database::{Database, DatabaseError};
use crate::points::Point;
use crate::projects::{ProjectError, ProjectId, random};
use crate::reconcile::{Head, Heads, changes, left};
use crate::roles::Role;
use crate::statuses::{Outbox, hand_over, not_shown, tell_state};
pub use leases::LEASE;
pub use listing::HeadRun;
use putting_off::again;
use state::{RunEvent, RunState, Verdict};

/// The number of a run in the database. Later runs have higher numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub(crate) i64);

impl RunId {
    /// Takes the number of a run that there may be.
    pub fn from_number(number: i64) -> Self {
        Self(number)
    }

    /// Returns the number.
    pub fn number(self) -> i64 {
        self.0
    }
}

/// What goes before what, of runs that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Somebody asked for it and is waiting.
    Asked,
    /// A pull request, or what a merge queue tries: somebody waits for it.
    PullRequest,
    /// A branch or tag.
    Branch,
    /// Its time has come, and nobody waits for it.
    Scheduled,
}

impl Rank {
    fn number(self) -> i64 {
        match self {
            Self::Asked => 0,
            Self::PullRequest => 1,
            Self::Branch => 2,
            Self::Scheduled => 3,
        }
    }

    fn of(jobset: &JobsetName) -> Self {
        // A default branch that is called like a queue's goes a little earlier than it should, no more.
        match Role::of(jobset, None) {
            Role::PullRequest(_) | Role::MergeQueue => Self::PullRequest,
            Role::DefaultBranch | Role::Branch | Role::Tag => Self::Branch,
        }
    }
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its number.
    pub id: RunId,
    /// Its project.
    pub project: ProjectId,
    /// Its jobset.
    pub jobset: JobsetName,
    /// The author's commit.
    pub commit: CommitId,
    /// Whose it is.
    pub trust: Trust,
    /// The number at the forge of who wrote the pull request, if it is one and that is known.
    pub author: Option<u64>,
    /// The branch that it is merged with to be built, if it is.
    pub base: Option<String>,
    /// The commit of that branch, once it was begun.
    pub base_commit: Option<CommitId>,
    /// Where it stands.
    pub state: RunState,
    /// Whether its time had come, and nothing else happened.
    pub is_scheduled: bool,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// How often it was begun, save by servers that left it to others.
    pub attempts: u32,
    /// How often something that was away kept it from being carried out.
    pub put_off: u32,
    /// When it is tried again after that; its summary has the reason.
    pub put_off_until: Option<Timestamp>,
    /// When it was begun last.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// What is to be told in a line at the end, or why it was put off.
    pub summary: Option<String>,
}

impl Run {
    /// Returns what is to be told of it in a line: what it came to, or when it is tried again and why.
    pub fn line(&self) -> Option<String> {
        let why = self.summary.as_deref()?;
        Some(self.put_off_until.map_or_else(|| why.to_owned(), |until| again(until, why)))
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How it counts.
    pub verdict: Verdict,
    /// What is to be told in a line.
    pub summary: String,
    /// The whole report, as JSON.
    pub report: Option<String>,
    /// What the reader of the result should know besides.
    pub notices: Vec<String>,
    /// What is to be told about it; nothing if the line says all.
    pub told: Option<Box<Told>>,
    /// What is to be told where there is room for more than a line.
    pub details: Box<status::Details>,
}

/// What is to be told about the end of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// How the jobset fares as a whole.
    pub phase: SummaryPhase,
    /// In numbers.
    pub text: SummaryText,
}

impl Ended {
    /// Describes an end that has no report.
    pub fn new(verdict: Verdict, summary: impl Into<String>) -> Self {
        Self {
            verdict,
            summary: summary.into(),
            report: None,
            notices: Vec::new(),
            told: None,
            details: Box::default(),
        }
    }
}

/// What is kept of a run besides the run itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// The whole report, as JSON.
    pub report: Option<String>,
    /// What the reader of the result should know besides.
    pub notices: Vec<String>,
}

/// Whoever carries out runs: one process of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner(String);

impl Owner {
    /// Names an owner; no two at work at the same time may have the same name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Returns the name.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Names an owner as nobody else is named.
    pub fn unique() -> Result<Self, ProjectError> {
        Ok(Self(format!("{}-{}", std::process::id(), random::<16>()?)))
    }
}

const COLUMNS: &str = "id, project, jobset, commit_id, state, created_at, attempts, summary,
    started_at, ended_at, trust, author, base, base_commit, rank, put_off, put_off_until";

fn run(row: &AnyRow) -> Result<Run, DatabaseError> {
    let content = |what, found: String| DatabaseError::Content { table: "runs", what, found };
    let jobset: String = row.try_get(2)?;
    let commit: String = row.try_get(3)?;
    let state: String = row.try_get(4)?;
    let found = RunState::ALL.into_iter().find(|known| known.name() == state);
    Ok(Run {
        id: RunId(row.try_get(0)?),
        project: ProjectId(row.try_get(1)?),
        jobset: jobset.parse().map_err(|_unnamed| content("jobset", jobset))?,
        commit: commit.parse().map_err(|_unnamed| content("commit", commit))?,
        trust: Trust::named(&row.try_get::<String, _>(10)?),
        author: row.try_get::<Option<i64>, _>(11)?.and_then(|number| number.try_into().ok()),
        base: row.try_get(12)?,
        base_commit: match row.try_get::<Option<String>, _>(13)? {
            Some(text) => Some(text.parse().map_err(|_unnamed| content("base_commit", text))?),
            None => None,
        },
        state: found.ok_or_else(|| content("state", state))?,
        is_scheduled: row.try_get::<i64, _>(14)? == Rank::Scheduled.number(),
        created_at: Timestamp::from_millis(row.try_get(5)?),
        attempts: u32::try_from(row.try_get::<i64, _>(6)?).unwrap_or(u32::MAX),
        put_off: u32::try_from(row.try_get::<i64, _>(15)?).unwrap_or(u32::MAX),
        put_off_until: row.try_get::<Option<i64>, _>(16)?.map(Timestamp::from_millis),
        summary: row.try_get(7)?,
        started_at: row.try_get::<Option<i64>, _>(8)?.map(Timestamp::from_millis),
        ended_at: row.try_get::<Option<i64>, _>(9)?.map(Timestamp::from_millis),
    })
}

/// What the heads of a project were noted last by: whoever lists them anew has to know it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastNote(i64);

/// What taking note of heads came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// Runs that were queued.
    pub queued: Vec<RunId>,
    /// Runs that are of no use any more, with whoever carried them out still to be stopped.
    pub stopped: Vec<RunId>,
    /// Jobsets that are gone.
    pub gone: Vec<JobsetName>,
}

impl Database {
    /// Returns what has to be known before the heads of a project are listed.
    pub async fn last_note(&self, project: ProjectId) -> Result<LastNote, DatabaseError> {
        let row = sqlx::query("SELECT heads_noted FROM projects WHERE id = $1")
            .bind(project.0)
            .fetch_one(self.readers())
            .await?;
        Ok(LastNote(row.try_get(0)?))
    }

    /// Takes note of the heads that a project has now: all of them. Queues runs for those that are new, and ends those
    /// that are about older commits.
    ///
    /// Nothing if others were noted after `last`: which of the two are newer, nobody knows. Doing so once more changes
    /// nothing.
    pub async fn note_heads(
        &self,
        project: ProjectId,
        last: LastNote,
        now: Heads,
    ) -> Result<Option<Noted>, DatabaseError> {
        let points = self.points().clone();
        let outbox = self.outbox();
        self.write_and_tell(move |connection| {
            Box::pin(async move {
                let row = sqlx::query("SELECT tags_noted FROM projects WHERE id = $1")
                    .bind(project.0)
                    .fetch_optional(&mut *connection)
                    .await?;
                let Some(row) = row else { return Ok(None) };
                let knows_tags = row.try_get::<i64, _>(0)? == 1;
                let done = sqlx::query(
                    "UPDATE projects SET heads_noted = heads_noted + 1,
                         tags_noted = CASE WHEN tags IS NULL THEN 0 ELSE 1 END
                     WHERE id = $1 AND heads_noted = $2",
                )
                .bind(project.0)
                .bind(last.0)
                .execute(&mut *connection)
                .await?;
                if done.rows_affected() == 0 {
                    return Ok(None);
                }
                points.pass(Point::NoteBegun);
                let before = heads(connection, project).await?;
                let changes = changes(&before, &now);
                let left = left(&before, &now);
                let mut noted = Noted::default();
                for (jobset, head) in changes.moved {
                    noted.stopped.extend(end_all(connection, outbox, project, &jobset).await?);
                    points.pass(Point::OlderRunsEnded);
                    void(connection, project, &jobset).await?;
                    note_head(connection, project, &jobset, &head).await?;
                    points.pass(Point::HeadNoted);
                    // Releases that were there before anybody wanted tags built.
                    if !knows_tags && Role::of(&jobset, None) == Role::Tag {
                        continue;
                    }
                    let rank = Rank::of(&jobset);
                    let queued = queue(connection, outbox, project, &jobset, &head, rank);
                    noted.queued.push(queued.await?);
                    points.pass(Point::RunQueued);
                }
                for jobset in changes.gone.into_keys() {
                    noted.stopped.extend(end_all(connection, outbox, project, &jobset).await?);
                    void(connection, project, &jobset).await?;
                    sqlx::query("DELETE FROM heads WHERE project = $1 AND jobset = $2")
                        .bind(project.0)
                        .bind(jobset.as_str().to_owned())
                        .execute(&mut *connection)
                        .await?;
                    noted.gone.push(jobset);
                    points.pass(Point::HeadForgotten);
                }
                for commit in left {
                    hand_over(connection, outbox, project, commit).await?;
                }
                Ok(Some(noted))
            })
        })
        .await
    }

    /// Returns the heads that a project had when they were noted last.
    pub async fn heads(&self, project: ProjectId) -> Result<Heads, DatabaseError> {
        heads(&mut *self.readers().acquire().await?, project).await
    }

    /// Queues a run of a jobset's head once more, because somebody asks for it; nothing if there is no such jobset.
    ///
    /// A run of it that is not over yet is that run. If that was put off, it waits no longer.
    pub async fn run_again(
        &self,
        project: ProjectId,
        jobset: JobsetName,
    ) -> Result<Option<RunId>, DatabaseError> {
        let outbox = self.outbox();
        self.write_and_tell(move |connection| {
            Box::pin(async move {
                let Some(head) = head_of(connection, project, &jobset).await? else {
                    return Ok(None);
                };
                match under_way(connection, project, &jobset).await? {
                    Some(run) => {
                        hurry(connection, run).await?;
                        Ok(Some(run))
                    }
                    None => {
                        let rank = Rank::Asked;
                        queue(connection, outbox, project, &jobset, &head, rank).await.map(Some)
                    }
                }
            })
        })
        .await
    }

    /// Stops a run; returns whether it was not over yet.
    pub async fn cancel_run(&self, id: RunId) -> Result<bool, DatabaseError> {
        let outbox = self.outbox();
        self.write_and_tell(move |connection| {
            Box::pin(async move { end(connection, outbox, id, RunEvent::Cancelled).await })
        })
        .await
    }

    /// Returns a run.
    pub async fn run(&self, id: RunId) -> Result<Option<Run>, DatabaseError> {
        let text = sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM runs WHERE id = $1"));
        let row = sqlx::query(text).bind(id.0).fetch_optional(self.readers()).await?;
        row.as_ref().map(run).transpose()
    }

    /// Returns what is kept of a run besides itself.
    pub async fn run_details(&self, id: RunId) -> Result<Option<Details>, DatabaseError> {
        let row = sqlx::query("SELECT report, notices FROM runs WHERE id = $1")
            .bind(id.0)
            .fetch_optional(self.readers())
            .await?;
        let Some(mut details) = row.as_ref().map(details).transpose()? else { return Ok(None) };
        details.notices.extend(self.statuses_of_run(id).await?.iter().filter_map(not_shown));
        Ok(Some(details))
    }

    /// Returns the runs of a project, the newest first, at most `limit`.
    pub async fn runs(&self, project: ProjectId, limit: u32) -> Result<Vec<Run>, DatabaseError> {
        let text = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM runs WHERE project = $1 ORDER BY id DESC LIMIT $2"
        ));
        let rows = sqlx::query(text)
            .bind(project.0)
            .bind(i64::from(limit))
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(run).collect()
    }

    /// Returns the runs of all projects, the newest first, at most `limit`.
    pub async fn last_runs(&self, limit: u32) -> Result<Vec<Run>, DatabaseError> {
        let text =
            sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM runs ORDER BY id DESC LIMIT $1"));
        let rows = sqlx::query(text).bind(i64::from(limit)).fetch_all(self.readers()).await?;
        rows.iter().map(run).collect()
    }
}

/// Reads what is kept of a run besides itself.
fn details(row: &AnyRow) -> Result<Details, DatabaseError> {
    let notices: Option<String> = row.try_get(1)?;
    let notices = match notices {
        None => Vec::new(),
        Some(text) => match serde_json::from_str(&text) {
            Ok(notices) => notices,
            Err(_) => {
                return Err(DatabaseError::Content { table: "runs", what: "notices", found: text });
            }
        },
    };
    Ok(Details { report: row.try_get(0)?, notices })
}

async fn heads(connection: &mut AnyConnection, project: ProjectId) -> Result<Heads, DatabaseError> {
    let rows =
        sqlx::query("SELECT jobset, commit_id, trust, author, base FROM heads WHERE project = $1")
            .bind(project.0)
            .fetch_all(&mut *connection)
            .await?;
    rows.iter().map(head).collect()
}

/// Returns the head of a jobset.
pub(crate) async fn head_of(
    connection: &mut AnyConnection,
    project: ProjectId,
    jobset: &JobsetName,
) -> Result<Option<Head>, DatabaseError> {
    let row = sqlx::query(
        "SELECT jobset, commit_id, trust, author, base FROM heads
         WHERE project = $1 AND jobset = $2",
    )
    .bind(project.0)
    .bind(jobset.as_str().to_owned())
    .fetch_optional(&mut *connection)
    .await?;
    Ok(row.as_ref().map(head).transpose()?.map(|(_, head)| head))
}

fn head(row: &AnyRow) -> Result<(JobsetName, Head), DatabaseError> {
    let content = |what, found: String| DatabaseError::Content { table: "heads", what, found };
    let (jobset, commit): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    let commit = commit.parse().map_err(|_unnamed| content("commit", commit))?;
    let trust = Trust::named(&row.try_get::<String, _>(2)?);
    let jobset = jobset.parse().map_err(|_unnamed| content("jobset", jobset))?;
    let author = row.try_get::<Option<i64>, _>(3)?.and_then(|number| number.try_into().ok());
    Ok((jobset, Head { commit, trust, author, base: row.try_get(4)? }))
}

async fn note_head(
    connection: &mut AnyConnection,
    project: ProjectId,
    jobset: &JobsetName,
    head: &Head,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO heads (project, jobset, commit_id, seen_at, trust, author, base)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (project, jobset)
         DO UPDATE SET commit_id = excluded.commit_id, seen_at = excluded.seen_at,
             trust = excluded.trust, author = excluded.author, base = excluded.base",
    )
    .bind(project.0)
    .bind(jobset.as_str().to_owned())
    .bind(head.commit.to_string())
    .bind(Timestamp::now().millis())
    .bind(head.trust.name())
    .bind(head.author.and_then(|number| i64::try_from(number).ok()))
    .bind(head.base.clone())
    .execute(&mut *connection)
    .await?;
    Ok(())
}

/// Returns the newest run of a jobset that is not over yet.
async fn under_way(
    connection: &mut AnyConnection,
    project: ProjectId,
    jobset: &JobsetName,
) -> Result<Option<RunId>, DatabaseError> {
    let row = sqlx::query(
        "SELECT id FROM runs WHERE project = $1 AND jobset = $2
         AND state IN ('unapproved', 'queued', 'running') ORDER BY id DESC LIMIT 1",
    )
    .bind(project.0)
    .bind(jobset.as_str().to_owned())
    .fetch_optional(&mut *connection)
    .await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?.map(RunId))
}

/// Has a run that was put off be tried again at once, as if it had not been.
async fn hurry(connection: &mut AnyConnection, id: RunId) -> Result<(), DatabaseError> {
    sqlx::query(
        "UPDATE runs SET put_off = 0, put_off_until = NULL, summary = NULL, rank = $2
         WHERE id = $1 AND state = 'queued' AND put_off_until IS NOT NULL",
    )
    .bind(id.0)
    .bind(Rank::Asked.number())
    .execute(&mut *connection)
    .await?;
    Ok(())
}

/// Adds a run of a head, which waits for its turn or to be approved.
async fn queue(
    connection: &mut AnyConnection,
    outbox: Outbox,
    project: ProjectId,
    jobset: &JobsetName,
    head: &Head,
    rank: Rank,
) -> Result<RunId, DatabaseError> {
    let now = Timestamp::now();
    let state = first_state(connection, project, jobset, head, now).await?;
    let row = sqlx::query(
        "INSERT INTO runs (project, jobset, commit_id, state, rank, created_at, trust, author, base)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id",
    )
    .bind(project.0)
    .bind(jobset.as_str().to_owned())
    .bind(head.commit.to_string())
    .bind(state.name())
    .bind(rank.number())
    .bind(now.millis())
    .bind(head.trust.name())
    .bind(head.author.and_then(|number| i64::try_from(number).ok()))
    .bind(head.base.clone())
    .fetch_one(&mut *connection)
    .await?;
    let id = RunId(row.try_get(0)?);
    tell_state(connection, outbox, id, state).await?;
    Ok(id)
}

/// Ends the runs of a jobset that are not over; returns those that somebody carried out, and has to let go of.
async fn end_all(
    connection: &mut AnyConnection,
    outbox: Outbox,
    project: ProjectId,
    jobset: &JobsetName,
) -> Result<Vec<RunId>, DatabaseError> {
    let rows = sqlx::query(
        "SELECT id, state FROM runs
         WHERE project = $1 AND jobset = $2 AND state IN ('unapproved', 'queued', 'running')",
    )
    .bind(project.0)
    .bind(jobset.as_str().to_owned())
    .fetch_all(&mut *connection)
    .await?;
    let mut stopped = Vec::new();
    for row in rows {
        let id = RunId(row.try_get(0)?);
        if end(connection, outbox, id, RunEvent::Superseded).await?
            && row.try_get::<String, _>(1)? == RunState::Running.name()
        {
            stopped.push(id);
        }
    }
    Ok(stopped)
}

async fn end(
    connection: &mut AnyConnection,
    outbox: Outbox,
    id: RunId,
    event: RunEvent,
) -> Result<bool, DatabaseError> {
    let done = sqlx::query(
        "UPDATE runs SET state = $2, ended_at = $3
         WHERE id = $1 AND state IN ('unapproved', 'queued', 'running')",
    )
    .bind(id.0)
    .bind(RunState::Running.after(event).name())
    .bind(Timestamp::now().millis())
    .execute(&mut *connection)
    .await?;
    let is_ended = done.rows_affected() == 1;
    if is_ended {
        tell_state(connection, outbox, id, RunState::Running.after(event)).await?;
    }
    Ok(is_ended)
}
