//! What forges deliver, kept until it is old: what it was, and what became of it.

use std::collections::BTreeMap;
use std::time::Duration;

use levain_actions::forge::webhook::Sender;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::clock::Timestamp;
use crate::database::{Database, DatabaseError};
use crate::points::Point;
use crate::projects::{ProjectId, sender_of};

/// How long a delivery is kept.
pub const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The number of a delivery in the database. Later deliveries have higher numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(pub(crate) i64);

impl DeliveryId {
    /// Takes the number of a delivery that there may be.
    pub fn from_number(number: i64) -> Self {
        Self(number)
    }

    /// Returns the number.
    pub fn number(self) -> i64 {
        self.0
    }
}

/// A delivery that has just been received, and was signed well.
#[derive(Clone, Debug)]
pub struct NewDelivery {
    /// The project.
    pub project: ProjectId,
    /// What tells it from others of the project.
    pub key: String,
    /// When it came.
    pub received_at: Timestamp,
    /// The header that names the event, if it has one.
    pub event: Option<String>,
    /// What it says.
    pub body: Vec<u8>,
}

/// What keeping a delivery came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is new.
    New(DeliveryId),
    /// It was there.
    Again(DeliveryId),
    /// Another was there under its key, and stays.
    Conflict(DeliveryId),
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// Nothing yet.
    Waiting,
    /// It was acted upon.
    Acted,
    /// It called for nothing.
    Ignored,
    /// It could not be acted upon.
    Failed,
}

impl DeliveryState {
    const ALL: [Self; 4] = [Self::Waiting, Self::Acted, Self::Ignored, Self::Failed];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Acted => "acted",
            Self::Ignored => "ignored",
            Self::Failed => "failed",
        }
    }

    fn read(text: &str) -> Result<Self, DatabaseError> {
        Self::ALL.into_iter().find(|state| state.name() == text).ok_or_else(|| {
            DatabaseError::Content { table: "deliveries", what: "state", found: text.to_owned() }
        })
    }
}

/// A delivery that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its number.
    pub id: DeliveryId,
    /// The project.
    pub project: ProjectId,
    /// Who delivered it.
    pub sender: Sender,
    /// What tells it from others of the project.
    pub key: String,
    /// When it came.
    pub received_at: Timestamp,
    /// The header that names the event, if it had one.
    pub event: Option<String>,
    /// What it says.
    pub body: Vec<u8>,
    /// What became of it.
    pub state: DeliveryState,
    /// Why.
    pub outcome: Option<String>,
    /// How often it came again.
    pub repeats: u64,
    /// How often something else came under its key.
    pub conflicts: u64,
}

const COLUMNS: &str = "deliveries.id, deliveries.project, projects.forge, deliveries.key,
    deliveries.received_at, deliveries.event, deliveries.state, deliveries.outcome, deliveries.repeats,
    deliveries.conflicts";
const PLACES: &str = "deliveries JOIN projects ON projects.id = deliveries.project";
const BODIES: &str = "JOIN delivery_bodies ON delivery_bodies.delivery = deliveries.id";

/// Reads [`COLUMNS`]; what a delivery says is not among them.
fn listed(row: &AnyRow) -> Result<Delivery, DatabaseError> {
    let count = |column| Ok::<_, sqlx::Error>(row.try_get::<i64, _>(column)?.unsigned_abs());
    Ok(Delivery {
        id: DeliveryId(row.try_get(0)?),
        project: ProjectId(row.try_get(1)?),
        sender: sender_of(row.try_get(2)?)?,
        key: row.try_get(3)?,
        received_at: Timestamp::from_millis(row.try_get(4)?),
        event: row.try_get(5)?,
        body: Vec::new(),
        state: DeliveryState::read(row.try_get(6)?)?,
        outcome: row.try_get(7)?,
        repeats: count(8)?,
        conflicts: count(9)?,
    })
}

/// Reads [`COLUMNS`] and, after them, the body.
fn delivery(row: &AnyRow) -> Result<Delivery, DatabaseError> {
    Ok(Delivery { body: row.try_get(10)?, ..listed(row)? })
}

impl Database {
    /// Keeps a delivery. When this returns, it cannot be lost any more.
    pub async fn keep_delivery(&self, new: NewDelivery) -> Result<Kept, DatabaseError> {
        let points = self.points().clone();
        self.write(move |connection| {
            Box::pin(async move {
                let row = sqlx::query(
                    "INSERT INTO deliveries (project, key, received_at, event, state)
                     VALUES ($1, $2, $3, $4, 'waiting')
                     ON CONFLICT (project, key) DO NOTHING
                     RETURNING id",
                )
                .bind(new.project.0)
                .bind(new.key.clone())
                .bind(new.received_at.millis())
                .bind(new.event)
                .fetch_optional(&mut *connection)
                .await?;
                if let Some(row) = row {
                    let id: i64 = row.try_get(0)?;
                    sqlx::query("INSERT INTO delivery_bodies (delivery, body) VALUES ($1, $2)")
                        .bind(id)
                        .bind(new.body)
                        .execute(&mut *connection)
                        .await?;
                    points.pass(Point::DeliveryInserted);
                    return Ok(Kept::New(DeliveryId(id)));
                }
                let row = sqlx::query(
                    "SELECT deliveries.id, delivery_bodies.body
                     FROM deliveries JOIN delivery_bodies ON delivery_bodies.delivery = deliveries.id
                     WHERE deliveries.project = $1 AND deliveries.key = $2",
                )
                .bind(new.project.0)
                .bind(new.key)
                .fetch_one(&mut *connection)
                .await?;
                let id: i64 = row.try_get(0)?;
                let is_same = row.try_get::<Vec<u8>, _>(1)? == new.body;
                let counted = match is_same {
                    true => "UPDATE deliveries SET repeats = repeats + 1 WHERE id = $1",
                    false => "UPDATE deliveries SET conflicts = conflicts + 1 WHERE id = $1",
                };
                sqlx::query(counted).bind(id).execute(&mut *connection).await?;
                points.pass(Point::DeliveryCounted);
                Ok(match is_same {
                    true => Kept::Again(DeliveryId(id)),
                    false => Kept::Conflict(DeliveryId(id)),
                })
            })
        })
        .await
    }

    /// Returns a delivery.
    pub async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, DatabaseError> {
        let text = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS}, delivery_bodies.body FROM {PLACES} {BODIES} WHERE deliveries.id = $1"
        ));
        let row = sqlx::query(text).bind(id.0).fetch_optional(self.readers()).await?;
        row.as_ref().map(delivery).transpose()
    }

    /// Returns the projects that something was delivered for, and nothing became of it yet.
    pub async fn delivered_projects(&self) -> Result<Vec<ProjectId>, DatabaseError> {
        let rows = sqlx::query("SELECT DISTINCT project FROM deliveries WHERE state = 'waiting'")
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(|row| Ok(ProjectId(row.try_get(0)?))).collect()
    }

    /// Returns the deliveries of a project, or of all, the newest first, at most `limit`; without their bodies.
    pub async fn last_deliveries(
        &self,
        project: Option<ProjectId>,
        limit: u32,
    ) -> Result<Vec<Delivery>, DatabaseError> {
        let text = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM {PLACES} WHERE $1 = 0 OR deliveries.project = $1
             ORDER BY deliveries.id DESC LIMIT $2"
        ));
        let rows = sqlx::query(text)
            .bind(project.map_or(0, |project| project.0))
            .bind(i64::from(limit))
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(listed).collect()
    }

    /// Returns the next delivery of a project that waits, after another one.
    pub async fn next_delivery(
        &self,
        project: ProjectId,
        after: Option<DeliveryId>,
    ) -> Result<Option<Delivery>, DatabaseError> {
        let text = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS}, delivery_bodies.body FROM {PLACES} {BODIES}
             WHERE deliveries.state = 'waiting' AND deliveries.project = $1
             AND deliveries.id > $2 ORDER BY deliveries.id LIMIT 1"
        ));
        let row = sqlx::query(text)
            .bind(project.0)
            .bind(after.map_or(0, DeliveryId::number))
            .fetch_optional(self.readers())
            .await?;
        row.as_ref().map(delivery).transpose()
    }

    /// Returns what waits to be acted upon, the oldest first, at most `limit`.
    pub async fn waiting_deliveries(&self, limit: u32) -> Result<Vec<Delivery>, DatabaseError> {
        let text = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS}, delivery_bodies.body FROM {PLACES} {BODIES}
             WHERE deliveries.state = 'waiting' ORDER BY deliveries.id LIMIT $1"
        ));
        let rows = sqlx::query(text).bind(i64::from(limit)).fetch_all(self.readers()).await?;
        rows.iter().map(delivery).collect()
    }

    /// Notes what became of a delivery that waited; returns whether it did.
    pub async fn settle_delivery(
        &self,
        id: DeliveryId,
        state: DeliveryState,
        outcome: String,
    ) -> Result<bool, DatabaseError> {
        Ok(self.settle_deliveries(vec![(id, state, outcome)]).await? == 1)
    }

    /// Notes what became of deliveries, each with the reason; returns how many of them waited.
    pub async fn settle_deliveries(
        &self,
        settled: Vec<(DeliveryId, DeliveryState, String)>,
    ) -> Result<u64, DatabaseError> {
        // Hundreds that came at once have one reason, and whoever writes beside them waits for one statement.
        let mut alike: BTreeMap<(&'static str, String), Vec<i64>> = BTreeMap::new();
        for (id, state, outcome) in settled {
            alike.entry((state.name(), outcome)).or_default().push(id.0);
        }
        let points = self.points().clone();
        self.write(move |connection| {
            Box::pin(async move {
                let mut count = 0;
                for ((state, outcome), ids) in alike {
                    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
                    let text = format!(
                        "UPDATE deliveries SET state = $1, outcome = $2, settled_at = $3
                         WHERE state = 'waiting' AND id IN ({})",
                        ids.join(", ")
                    );
                    let done = sqlx::query(sqlx::AssertSqlSafe(text))
                        .bind(state)
                        .bind(outcome)
                        .bind(Timestamp::now().millis())
                        // Hardly ever the same text again.
                        .persistent(false)
                        .execute(&mut *connection)
                        .await?;
                    count += done.rows_affected();
                    points.pass(Point::DeliverySettled);
                }
                Ok(count)
            })
        })
        .await
    }

    /// Has a delivery acted upon once more; returns whether there is one.
    pub async fn replay_delivery(&self, id: DeliveryId) -> Result<bool, DatabaseError> {
        self.write(move |connection| {
            Box::pin(async move {
                let done = sqlx::query(
                    "UPDATE deliveries SET state = 'waiting', outcome = NULL, settled_at = NULL
                     WHERE id = $1",
                )
                .bind(id.0)
                .execute(&mut *connection)
                .await?;
                Ok(done.rows_affected() == 1)
            })
        })
        .await
    }

    /// Forgets settled deliveries that came before a time; returns how many there were.
    ///
    /// The newest stays, however old: a file would give its number to the next one.
    pub async fn forget_deliveries(&self, before: Timestamp) -> Result<u64, DatabaseError> {
        let points = self.points().clone();
        self.write(move |connection| {
            Box::pin(async move {
                let done = sqlx::query(
                    "DELETE FROM deliveries WHERE received_at < $1 AND state <> 'waiting'
                     AND id < (SELECT MAX(id) FROM deliveries)",
                )
                .bind(before.millis())
                .execute(&mut *connection)
                .await?;
                points.pass(Point::DeliveriesDeleted);
                Ok(done.rows_affected())
            })
        })
        .await
    }
}
