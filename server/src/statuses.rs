//! Statuses: what forges are to show on commits, kept until they do.
//!
//! Whatever happens to a run is told by rows that are written with it, so neither is lost without the other. There is one
//! row for each name of a status on a commit; news takes the place of what was not sent yet. Start at [`tell_run`] for
//! what is told, at [`decide`] for what becomes of it, and at [`messenger`] for who sends it.

pub mod decide;
pub mod details;
mod handover;
mod kept;
pub mod messenger;
pub mod outbox;
pub mod precedence;
mod retold;
mod sending;
pub mod voice;
pub mod wording;

use std::collections::BTreeSet;

use levain_actions::git::CommitId;
use levain_actions::status::{Details, Status, SummaryPhase, SummaryText, folded};
use levain_evaluator::JobsetName;
use sqlx::{AnyConnection, Row};

use crate::clock::Timestamp;
use crate::database::{Database, DatabaseError};
use crate::pages::run_url;
use crate::projects::{ProjectId, sender_of};
use crate::runs::putting_off::again;
use crate::runs::state::{RunState, Verdict};
use crate::runs::{Ended, Owner, RunId};
use decide::{Budget, Course, News, Source, Standing, admits_job, weigh};
pub(crate) use handover::hand_over;
use handover::{settle, tell_jobs};
pub(crate) use kept::not_shown;
pub use kept::{KeptStatus, Sending};
pub use sending::{Claimed, SENDING_LEASE, StatusId};
use wording::{Home, Subject, Telling};

/// How often it is tried to write a row that another server writes at the same moment.
const TRIES: u32 = 10;

/// Where the pages are that statuses link to.
const PAGES_URL: &str = "pages-url";

/// Whether what happens is to be told to forges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outbox {
    /// It is kept until it is told.
    Open,
    /// It is not: the server is in read-only mode.
    Closed,
}

/// Something that happens to a run as a whole.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Happening<'a> {
    /// It waits until somebody approves its commit.
    Unapproved,
    /// It waits to be carried out.
    Queued,
    /// It waits to be tried again, because of something that is away.
    PutOff {
        /// Until when.
        until: Timestamp,
        /// The reason, in words.
        why: &'a str,
    },
    /// Somebody carries it out.
    Begun,
    /// It has a result.
    Ended(&'a Ended),
    /// It was begun too often.
    Lost {
        /// The reason, in words.
        why: &'a str,
    },
    /// Somebody stopped it.
    Cancelled,
    /// There is a newer commit, or none any more.
    Superseded,
}

impl Happening<'_> {
    /// Describes the state that a run comes to from outside; nothing for those that it comes to by being carried out.
    pub(crate) fn of(state: RunState) -> Option<Self> {
        match state {
            RunState::Unapproved => Some(Self::Unapproved),
            RunState::Queued => Some(Self::Queued),
            RunState::Running => Some(Self::Begun),
            RunState::Cancelled => Some(Self::Cancelled),
            RunState::Superseded => Some(Self::Superseded),
            RunState::Succeeded | RunState::Failed | RunState::Errored | RunState::Conflict => None,
        }
    }

    /// Returns what is to be said about it.
    fn worded(self) -> (SummaryPhase, SummaryText) {
        let because = |why: &str| SummaryText { error: Some(why.to_owned()), ..Default::default() };
        match self {
            Self::Unapproved => (SummaryPhase::Unapproved, SummaryText::default()),
            Self::Queued => (SummaryPhase::Queued, SummaryText::default()),
            Self::PutOff { until, why } => (SummaryPhase::Queued, because(&again(until, why))),
            Self::Begun => (SummaryPhase::Pending, SummaryText::default()),
            Self::Ended(ended) => match (&ended.told, ended.verdict) {
                (Some(told), _) => (told.phase, told.text.clone()),
                (None, Verdict::Succeeded) => (SummaryPhase::Success, SummaryText::default()),
                (None, Verdict::Failed | Verdict::Conflict) => {
                    (SummaryPhase::Failure, because(&ended.summary))
                }
                (None, Verdict::Errored) => (SummaryPhase::Error, because(&ended.summary)),
            },
            Self::Lost { why } => (SummaryPhase::Error, because(why)),
            Self::Cancelled => (SummaryPhase::Cancelled, SummaryText::default()),
            Self::Superseded => (
                SummaryPhase::Cancelled,
                because("its branch or pull request has moved on, or is closed"),
            ),
        }
    }

    /// Returns what is to be said about it where there is room.
    fn details(self) -> Details {
        match self {
            Self::Unapproved => details::of_unapproved(),
            Self::Ended(ended) => (*ended.details).clone(),
            Self::Queued
            | Self::PutOff { .. }
            | Self::Begun
            | Self::Lost { .. }
            | Self::Cancelled
            | Self::Superseded => Details::default(),
        }
    }
}

/// A run, with all that its statuses need.
struct Speaker {
    project: ProjectId,
    source: Source,
    jobset: JobsetName,
    commit: CommitId,
    home: Home,
    telling: Telling,
    page: Option<String>,
    /// Whether an App speaks: it has room for more than a line.
    is_app: bool,
}

/// Whose word gives way to who speaks, however old their runs are.
#[derive(Clone, Copy, Debug)]
enum Way<'a> {
    /// That of these runs: they have left the commit, or were stopped. Of others the newer run is heard.
    These(&'a BTreeSet<RunId>),
    /// Everybody's.
    All,
}

impl Way<'_> {
    fn is_made_by(self, run: RunId) -> bool {
        match self {
            Self::These(runs) => runs.contains(&run),
            Self::All => true,
        }
    }
}

impl Speaker {
    /// Returns what it speaks about.
    fn subject(&self) -> Subject<'_> {
        let (jobset, commit) = (&self.jobset, self.commit);
        Subject { run: self.source.run, jobset, commit, page: self.page.clone() }
    }
}

/// Reads who speaks; nothing if the project has no forge, or no token for it.
async fn speaker(
    connection: &mut AnyConnection,
    run: RunId,
) -> Result<Option<Speaker>, DatabaseError> {
    let row = sqlx::query(
        "SELECT runs.project, runs.jobset, runs.commit_id, runs.begun, projects.name,
             projects.forge, projects.url, projects.token_file, projects.telling, projects.app,
             (SELECT value FROM settings WHERE name = $2)
         FROM runs JOIN projects ON projects.id = runs.project WHERE runs.id = $1",
    )
    .bind(run.number())
    .bind(PAGES_URL)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let content = |what, found: String| DatabaseError::Content { table: "runs", what, found };
    let (jobset, commit): (String, String) = (row.try_get(1)?, row.try_get(2)?);
    let home =
        Home { name: row.try_get(4)?, sender: sender_of(row.try_get(5)?)?, url: row.try_get(6)? };
    let telling = telling(row.try_get(8)?)?;
    let token_file: Option<String> = row.try_get(7)?;
    let app: Option<i64> = row.try_get(9)?;
    if (token_file.is_none() && app.is_none()) || telling.forge(&home).is_none() {
        return Ok(None);
    }
    let pages: Option<String> = row.try_get(10)?;
    let attempt = u32::try_from(row.try_get::<i64, _>(3)?).unwrap_or(u32::MAX);
    Ok(Some(Speaker {
        project: ProjectId(row.try_get(0)?),
        source: Source { run, attempt },
        jobset: jobset.parse().map_err(|_unnamed| content("jobset", jobset))?,
        commit: commit.parse().map_err(|_unnamed| content("commit", commit))?,
        home,
        telling,
        page: pages.map(|url| run_url(&url, run.number())),
        is_app: app.is_some(),
    }))
}

/// Reads what a project's declaration said last.
fn telling(text: Option<String>) -> Result<Telling, DatabaseError> {
    match text {
        None => Ok(Telling::default()),
        Some(text) => match serde_json::from_str(&text) {
            Ok(telling) => Ok(telling),
            Err(_) => {
                Err(DatabaseError::Content { table: "projects", what: "telling", found: text })
            }
        },
    }
}

/// Tells that a run came to a state from outside, in the transaction in which it does.
pub(crate) async fn tell_state(
    connection: &mut AnyConnection,
    outbox: Outbox,
    run: RunId,
    state: RunState,
) -> Result<(), DatabaseError> {
    match Happening::of(state) {
        Some(happening) => tell_run(connection, outbox, run, happening).await,
        None => Ok(()),
    }
}

/// Tells where a run as a whole stands, in the transaction in which it comes to stand there.
pub(crate) async fn tell_run(
    connection: &mut AnyConnection,
    outbox: Outbox,
    run: RunId,
    happening: Happening<'_>,
) -> Result<(), DatabaseError> {
    if outbox == Outbox::Closed {
        return Ok(());
    }
    let Some(speaker) = speaker(connection, run).await? else { return Ok(()) };
    let said = Said::of(happening);
    settle(connection, &speaker, said, Budget::DEFAULT, Timestamp::now()).await
}

/// What is said of a run as a whole.
#[derive(Clone)]
struct Said {
    phase: SummaryPhase,
    text: SummaryText,
    details: Details,
}

impl Said {
    fn of(happening: Happening<'_>) -> Self {
        let (phase, text) = happening.worded();
        Self { phase, text, details: happening.details() }
    }
}

/// News about one status.
struct Message<'a> {
    speaker: &'a Speaker,
    job: Option<&'a str>,
    status: &'a Status,
    way: Way<'a>,
    /// Whether something else has the word: then a run ends what it said before, and says nothing new.
    is_outranked: bool,
    budget: Budget,
    now: Timestamp,
}

/// Takes note of news about one status.
async fn tell(connection: &mut AnyConnection, message: &Message<'_>) -> Result<(), DatabaseError> {
    for _ in 0..TRIES {
        if try_to_tell(connection, message).await? {
            return Ok(());
        }
    }
    Err(DatabaseError::Commit { message: "others write the same status all the time".to_owned() })
}

/// Takes note of news about one status; returns whether that is done: not if another server wrote the same meanwhile.
async fn try_to_tell(
    connection: &mut AnyConnection,
    message: &Message<'_>,
) -> Result<bool, DatabaseError> {
    let &Message { speaker, job, status, way, is_outranked, budget, now } = message;
    let without;
    let status = match speaker.is_app {
        true => status,
        false => {
            without = status.clone().with_details(Details::default());
            &without
        }
    };
    let slot = folded(status.context());
    let standing = standing(connection, speaker, &slot, status, way).await?;
    let known = standing.as_ref().map(|(_, standing, _)| *standing);
    if is_outranked && known.is_none_or(|known| known.source.run != speaker.source.run) {
        return Ok(true);
    }
    if known.is_none()
        && job.is_some()
        && !admits_job(status.state(), jobs_taken(connection, speaker).await?, budget)
    {
        return Ok(true);
    }
    let is_same = standing.as_ref().is_some_and(|(_, _, is_same)| *is_same);
    let news = News { source: speaker.source, state: status.state(), is_same };
    let (sending, at) = match weigh(known, news, budget, now) {
        Course::Ignore => return Ok(true),
        Course::Adopt => ("shown", now),
        Course::Send { at } => ("due", at),
    };
    let is_new_run = known.is_some_and(|known| known.source.run != speaker.source.run);
    match standing {
        None => insert(connection, speaker, job, status, &slot, at).await,
        Some((row, _, _)) => {
            update(connection, speaker, status, row, (sending, at), is_new_run).await
        }
    }
}

/// What tells a row's content from others: its number, and that of what it is to show.
type Version = (i64, i64);

async fn standing(
    connection: &mut AnyConnection,
    speaker: &Speaker,
    slot: &str,
    status: &Status,
    way: Way<'_>,
) -> Result<Option<(Version, Standing, bool)>, DatabaseError> {
    let row = sqlx::query(
        "SELECT id, sequence, run, attempt, state, writes, told_at, sending, context, description,
             target_url, git_ref, details
         FROM statuses WHERE project = $1 AND commit_id = $2 AND slot = $3",
    )
    .bind(speaker.project.0)
    .bind(status.commit().to_owned())
    .bind(slot.to_owned())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let number = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
    let state = kept::state(row.try_get(4)?)?;
    let run = RunId(row.try_get(2)?);
    let standing = Standing {
        source: Source { run, attempt: number(row.try_get(3)?) },
        state,
        writes: number(row.try_get(5)?),
        told_at: row.try_get::<Option<i64>, _>(6)?.map(Timestamp::from_millis),
        is_shown: Sending::read(row.try_get(7)?)? == Sending::Shown,
        gives_way: way.is_made_by(run),
    };
    let is_same = state == status.state()
        && row.try_get::<String, _>(8)? == status.context()
        && row.try_get::<String, _>(9)? == status.description()
        && row.try_get::<Option<String>, _>(10)?.as_deref() == status.target_url()
        && row.try_get::<Option<String>, _>(11)?.as_deref() == status.git_ref()
        && row.try_get::<Option<String>, _>(12)? == kept::written(status.details())?;
    Ok(Some(((row.try_get(0)?, row.try_get(1)?), standing, is_same)))
}

/// Counts the jobs that have statuses which are this run's, or have to be put right by it.
async fn jobs_taken(
    connection: &mut AnyConnection,
    speaker: &Speaker,
) -> Result<u32, DatabaseError> {
    let row = sqlx::query(
        "SELECT COUNT(*) FROM statuses WHERE project = $1 AND commit_id = $2 AND job IS NOT NULL
         AND (run = $3 OR state <> 'success')",
    )
    .bind(speaker.project.0)
    .bind(speaker.commit.to_string())
    .bind(speaker.source.run.number())
    .fetch_one(&mut *connection)
    .await?;
    Ok(u32::try_from(row.try_get::<i64, _>(0)?).unwrap_or(u32::MAX))
}

async fn insert(
    connection: &mut AnyConnection,
    speaker: &Speaker,
    job: Option<&str>,
    status: &Status,
    slot: &str,
    at: Timestamp,
) -> Result<bool, DatabaseError> {
    let done = sqlx::query(
        "INSERT INTO statuses (project, commit_id, slot, job, run, attempt, context, state,
             description, target_url, git_ref, sequence, sending, not_before, details)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1, 'due', $12, $13)
         ON CONFLICT (project, commit_id, slot) DO NOTHING",
    )
    .bind(speaker.project.0)
    .bind(status.commit().to_owned())
    .bind(slot.to_owned())
    .bind(job.map(str::to_owned))
    .bind(speaker.source.run.number())
    .bind(i64::from(speaker.source.attempt))
    .bind(status.context().to_owned())
    .bind(status.state().name())
    .bind(status.description().to_owned())
    .bind(status.target_url().map(str::to_owned))
    .bind(status.git_ref().map(str::to_owned))
    .bind(at.millis())
    .bind(kept::written(status.details())?)
    .execute(&mut *connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

async fn update(
    connection: &mut AnyConnection,
    speaker: &Speaker,
    status: &Status,
    (id, sequence): Version,
    (sending, at): (&'static str, Timestamp),
    is_new_run: bool,
) -> Result<bool, DatabaseError> {
    // What is under way stays so; whoever sends it finds that there is more to be sent.
    let done = sqlx::query(
        "UPDATE statuses SET run = $3, attempt = $4, context = $5, state = $6, description = $7,
             target_url = $8, git_ref = $9, sequence = sequence + 1, not_before = $10, failures = 0,
             sending = CASE WHEN sending = 'under-way' THEN sending ELSE $11 END,
             last_error = CASE WHEN sending = 'under-way' THEN last_error ELSE NULL END,
             writes = CASE WHEN $12 = 1 THEN 0 ELSE writes END, details = $13,
             check_open = CASE WHEN $12 = 1 THEN 0 ELSE check_open END
         WHERE id = $1 AND sequence = $2",
    )
    .bind(id)
    .bind(sequence)
    .bind(speaker.source.run.number())
    .bind(i64::from(speaker.source.attempt))
    .bind(status.context().to_owned())
    .bind(status.state().name())
    .bind(status.description().to_owned())
    .bind(status.target_url().map(str::to_owned))
    .bind(status.git_ref().map(str::to_owned))
    .bind(at.millis())
    .bind(sending)
    .bind(i64::from(is_new_run))
    .bind(kept::written(status.details())?)
    .execute(&mut *connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Fails unless `owner` carries out the run: whoever lost it has nothing to say any more.
async fn is_held(
    connection: &mut AnyConnection,
    run: RunId,
    owner: &Owner,
) -> Result<bool, DatabaseError> {
    let row = sqlx::query("SELECT 1 FROM runs WHERE id = $1 AND owner = $2 AND state = 'running'")
        .bind(run.number())
        .bind(owner.as_str().to_owned())
        .fetch_optional(&mut *connection)
        .await?;
    Ok(row.is_some())
}

/// What a run tells while it is carried out.
#[derive(Clone, Debug)]
pub enum Progress {
    /// Where it stands as a whole.
    Summary(SummaryPhase, SummaryText),
    /// How a job ended.
    Job {
        /// Its attribute path.
        job: String,
        /// The status.
        status: Status,
    },
}

impl Database {
    /// Keeps what a project's declaration says about statuses.
    pub async fn note_telling(
        &self,
        project: ProjectId,
        telling: Telling,
    ) -> Result<(), DatabaseError> {
        let text = serde_json::to_string(&telling)
            .map_err(|error| DatabaseError::Commit { message: error.to_string() })?;
        self.write(move |connection| {
            Box::pin(async move {
                sqlx::query("UPDATE projects SET telling = $2 WHERE id = $1")
                    .bind(project.0)
                    .bind(text)
                    .execute(&mut *connection)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// Returns what a project's declaration said last about statuses.
    pub async fn telling(&self, project: ProjectId) -> Result<Telling, DatabaseError> {
        let row = sqlx::query("SELECT telling FROM projects WHERE id = $1")
            .bind(project.0)
            .fetch_optional(self.readers())
            .await?;
        telling(row.map(|row| row.try_get(0)).transpose()?.flatten())
    }

    /// Returns the address of a run's page, if there are pages that others reach.
    pub async fn page_of_run(&self, run: RunId) -> Result<Option<String>, DatabaseError> {
        let row = sqlx::query("SELECT value FROM settings WHERE name = $1")
            .bind(PAGES_URL)
            .fetch_optional(self.readers())
            .await?;
        let url: Option<String> = row.map(|row| row.try_get(0)).transpose()?;
        Ok(url.map(|url| run_url(&url, run.number())))
    }

    /// Notes where others reach the pages; nothing if they cannot.
    pub async fn note_pages_url(&self, url: Option<String>) -> Result<(), DatabaseError> {
        self.write(move |connection| {
            Box::pin(async move {
                sqlx::query("DELETE FROM settings WHERE name = $1")
                    .bind(PAGES_URL)
                    .execute(&mut *connection)
                    .await?;
                if let Some(url) = url {
                    sqlx::query(
                        "INSERT INTO settings (name, value) VALUES ($1, $2)
                         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    )
                    .bind(PAGES_URL)
                    .bind(url)
                    .execute(&mut *connection)
                    .await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Tells what a run says while `owner` carries it out; nothing if somebody else does by now.
    pub async fn tell(
        &self,
        run: RunId,
        owner: Owner,
        progress: Vec<Progress>,
        budget: Budget,
        now: Timestamp,
    ) -> Result<(), DatabaseError> {
        if self.outbox() == Outbox::Closed {
            return Ok(());
        }
        self.write_and_tell(move |connection| {
            Box::pin(async move {
                if !is_held(connection, run, &owner).await? {
                    return Ok(());
                }
                let Some(speaker) = speaker(connection, run).await? else { return Ok(()) };
                let mut jobs = Vec::new();
                for one in progress {
                    match one {
                        Progress::Summary(phase, text) => {
                            let said = Said { phase, text, details: Details::default() };
                            settle(connection, &speaker, said, budget, now).await?;
                        }
                        Progress::Job { job, status } => jobs.push((job, status)),
                    }
                }
                tell_jobs(connection, &speaker, jobs, budget, now).await
            })
        })
        .await
    }
}
