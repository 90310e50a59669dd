//! Rows of statuses, for those who look at them.

use levain_actions::status::{Details, State};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::clock::Timestamp;
use crate::database::{Database, DatabaseError};
use crate::projects::ProjectId;
use crate::runs::RunId;

/// How far a status has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// It waits to be sent.
    Due,
    /// Somebody sends it.
    UnderWay,
    /// The forge shows it.
    Shown,
    /// The forge does not take it.
    Refused,
}

impl Sending {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Due, Self::UnderWay, Self::Shown, Self::Refused];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::UnderWay => "under-way",
            Self::Shown => "shown",
            Self::Refused => "refused",
        }
    }

    pub(super) fn read(text: String) -> Result<Self, DatabaseError> {
        Self::ALL.into_iter().find(|known| known.name() == text).ok_or(DatabaseError::Content {
            table: "statuses",
            what: "state of sending",
            found: text,
        })
    }
}

/// Reads the state of a status.
pub(super) fn state(text: String) -> Result<State, DatabaseError> {
    State::ALL.into_iter().find(|known| known.name() == text).ok_or(DatabaseError::Content {
        table: "statuses",
        what: "state",
        found: text,
    })
}

/// Returns what is kept of what is said besides a line; nothing if that is nothing.
pub(super) fn written(details: &Details) -> Result<Option<String>, DatabaseError> {
    if *details == Details::default() {
        return Ok(None);
    }
    let text = serde_json::to_string(details);
    text.map(Some).map_err(|error| DatabaseError::Commit { message: error.to_string() })
}

/// Reads what is said besides a line.
pub(super) fn details(text: Option<String>) -> Result<Details, DatabaseError> {
    let Some(text) = text else { return Ok(Details::default()) };
    serde_json::from_str(&text).map_err(|error| DatabaseError::Content {
        table: "statuses",
        what: "details",
        found: error.to_string(),
    })
}

/// A status, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptStatus {
    /// The run that says so.
    pub run: RunId,
    /// The author's commit.
    pub commit: String,
    /// The job; nothing for the run as a whole.
    pub job: Option<String>,
    /// Its name.
    pub context: String,
    /// Its state.
    pub state: State,
    /// Its text.
    pub description: String,
    /// What it links to.
    pub target_url: Option<String>,
    /// How far it has come.
    pub sending: Sending,
    /// When it is sent, if it waits.
    pub not_before: Timestamp,
    /// How often sending it failed.
    pub failures: u32,
    /// Why it is not shown, if so.
    pub last_error: Option<String>,
    /// How often the run's was sent.
    pub writes: u32,
}

/// Says why the forge does not show a status, if sending it failed.
pub(crate) fn not_shown(kept: &KeptStatus) -> Option<String> {
    let why = kept.last_error.as_ref()?;
    let what = match kept.sending {
        Sending::Shown => return None,
        Sending::Refused => "the forge does not take",
        Sending::Due | Sending::UnderWay => "the forge has not taken yet",
    };
    Some(format!("{what} the status `{}`: {why}", kept.context))
}

const COLUMNS: &str = "run, commit_id, job, context, state, description, target_url, sending,
    not_before, failures, last_error, writes";

fn kept(row: &AnyRow) -> Result<KeptStatus, DatabaseError> {
    let number = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
    Ok(KeptStatus {
        run: RunId(row.try_get(0)?),
        commit: row.try_get(1)?,
        job: row.try_get(2)?,
        context: row.try_get(3)?,
        state: state(row.try_get(4)?)?,
        description: row.try_get(5)?,
        target_url: row.try_get(6)?,
        sending: Sending::read(row.try_get(7)?)?,
        not_before: Timestamp::from_millis(row.try_get(8)?),
        failures: number(row.try_get(9)?),
        last_error: row.try_get(10)?,
        writes: number(row.try_get(11)?),
    })
}

impl Database {
    /// Returns the statuses that a run told last, the run's own first.
    pub async fn statuses_of_run(&self, run: RunId) -> Result<Vec<KeptStatus>, DatabaseError> {
        let text = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM statuses WHERE run = $1
             ORDER BY CASE WHEN job IS NULL THEN 0 ELSE 1 END, id"
        ));
        let rows = sqlx::query(text).bind(run.number()).fetch_all(self.readers()).await?;
        rows.iter().map(kept).collect()
    }

    /// Returns the statuses of jobs on a commit, whichever runs told them.
    pub async fn statuses_of_jobs(
        &self,
        project: ProjectId,
        commit: String,
    ) -> Result<Vec<KeptStatus>, DatabaseError> {
        let text = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM statuses
             WHERE project = $1 AND commit_id = $2 AND job IS NOT NULL ORDER BY id"
        ));
        let rows = sqlx::query(text).bind(project.0).bind(commit).fetch_all(self.readers()).await?;
        rows.iter().map(kept).collect()
    }

    /// Returns the statuses of a project that its forge does not show, and why; the newest first, at most `limit`.
    pub async fn statuses_not_shown(
        &self,
        project: ProjectId,
        limit: u32,
    ) -> Result<Vec<KeptStatus>, DatabaseError> {
        let text = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM statuses WHERE project = $1 AND sending <> 'shown'
             ORDER BY run DESC, id LIMIT $2"
        ));
        let rows = sqlx::query(text)
            .bind(project.0)
            .bind(i64::from(limit))
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(kept).collect()
    }
}
