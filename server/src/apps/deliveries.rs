//! What forges deliver for the repositories of an App: kept as it comes, and handed on to the project that it is about.
//!
//! Nothing is read of a delivery before it is kept. A project is found by its repository's number, and among the projects
//! of the App that signed: whoever holds the secret of one App can say nothing about the projects of another.

use levain_actions::forge::webhook::Sender;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::AppId;
use crate::clock::Timestamp;
use crate::database::{Database, DatabaseError};
use crate::deliveries::{DeliveryId, Kept};
use crate::points::Point;
use crate::projects::{ProjectId, sender_of};
use crate::secret::digest;

/// A delivery for an App that has just been received, and was signed well.
#[derive(Clone, Debug)]
pub struct NewAppDelivery {
    /// The App.
    pub app: AppId,
    /// What tells it from others of the App.
    pub key: String,
    /// When it came.
    pub received_at: Timestamp,
    /// The header that names the event, if it has one.
    pub event: Option<String>,
    /// What it says.
    pub body: Vec<u8>,
}

/// A delivery for an App that nobody has read yet.
#[derive(Clone, Debug)]
pub struct WaitingAppDelivery {
    /// Its number.
    pub id: DeliveryId,
    /// The App.
    pub app: AppId,
    /// Who delivered it.
    pub sender: Sender,
    /// The header that names the event, if it had one.
    pub event: Option<String>,
    /// What it says.
    pub body: Vec<u8>,
}

/// What becomes of a delivery for an App.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandedOn {
    /// It is about a project.
    To(ProjectId),
    /// It was acted upon.
    Acted(String),
    /// It calls for nothing: why.
    Ignored(String),
    /// It says nothing that can be read: why.
    Failed(String),
}

/// A delivery for an App that was about no project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherDelivery {
    /// Its number.
    pub id: DeliveryId,
    /// When it came.
    pub received_at: Timestamp,
    /// The header that names the event, if it had one.
    pub event: Option<String>,
    /// What became of it: `waiting`, `acted`, `ignored` or `failed`.
    pub state: String,
    /// Why.
    pub outcome: Option<String>,
}

fn waiting(row: &AnyRow) -> Result<WaitingAppDelivery, DatabaseError> {
    Ok(WaitingAppDelivery {
        id: DeliveryId(row.try_get(0)?),
        app: AppId(row.try_get(1)?),
        sender: sender_of(row.try_get(2)?)?,
        event: row.try_get(3)?,
        body: row.try_get(4)?,
    })
}

impl Database {
    /// Keeps a delivery for an App. When this returns, it cannot be lost any more.
    pub async fn keep_app_delivery(&self, new: NewAppDelivery) -> Result<Kept, DatabaseError> {
        let points = self.points().clone();
        let digest = digest(&new.body);
        self.write(move |connection| {
            Box::pin(async move {
                let row = sqlx::query(
                    "INSERT INTO app_deliveries (app, key, received_at, event, body, digest, state)
                     VALUES ($1, $2, $3, $4, $5, $6, 'waiting')
                     ON CONFLICT (app, key) DO NOTHING
                     RETURNING id",
                )
                .bind(new.app.0)
                .bind(new.key.clone())
                .bind(new.received_at.millis())
                .bind(new.event)
                .bind(new.body)
                .bind(digest.clone())
                .fetch_optional(&mut *connection)
                .await?;
                if let Some(row) = row {
                    points.pass(Point::DeliveryInserted);
                    return Ok(Kept::New(DeliveryId(row.try_get(0)?)));
                }
                let row = sqlx::query(
                    "SELECT id, digest FROM app_deliveries WHERE app = $1 AND key = $2",
                )
                .bind(new.app.0)
                .bind(new.key)
                .fetch_one(&mut *connection)
                .await?;
                let id: i64 = row.try_get(0)?;
                let is_same = row.try_get::<String, _>(1)? == digest;
                let counted = match is_same {
                    true => "UPDATE app_deliveries SET repeats = repeats + 1 WHERE id = $1",
                    false => "UPDATE app_deliveries SET conflicts = conflicts + 1 WHERE id = $1",
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

    /// Returns the oldest delivery for an App that nobody has read yet.
    pub async fn next_app_delivery(&self) -> Result<Option<WaitingAppDelivery>, DatabaseError> {
        let row = sqlx::query(
            "SELECT app_deliveries.id, app_deliveries.app, apps.forge, app_deliveries.event,
                 app_deliveries.body
             FROM app_deliveries JOIN apps ON apps.id = app_deliveries.app
             WHERE app_deliveries.state = 'waiting' ORDER BY app_deliveries.id LIMIT 1",
        )
        .fetch_optional(self.readers())
        .await?;
        row.as_ref().map(waiting).transpose()
    }

    /// Returns the project of an App whose repository has that number.
    pub async fn project_of_repository(
        &self,
        app: AppId,
        repository: u64,
    ) -> Result<Option<ProjectId>, DatabaseError> {
        let Ok(repository) = i64::try_from(repository) else { return Ok(None) };
        let row = sqlx::query(
            "SELECT id FROM projects WHERE app = $1 AND repository = $2 ORDER BY id LIMIT 1",
        )
        .bind(app.0)
        .bind(repository)
        .fetch_optional(self.readers())
        .await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?.map(ProjectId))
    }

    /// Hands a delivery on, or settles it; in one transaction, and nothing if somebody else has done so.
    pub async fn hand_on(&self, id: DeliveryId, to: HandedOn) -> Result<(), DatabaseError> {
        let points = self.points().clone();
        let (state, outcome, project) = match to {
            HandedOn::To(project) => ("handed-on", None, Some(project)),
            HandedOn::Acted(what) => ("acted", Some(what), None),
            HandedOn::Ignored(why) => ("ignored", Some(why), None),
            HandedOn::Failed(why) => ("failed", Some(why), None),
        };
        self.write(move |connection| {
            Box::pin(async move {
                let done = sqlx::query(
                    "UPDATE app_deliveries SET state = $2, outcome = $3, settled_at = $4
                     WHERE id = $1 AND state = 'waiting'",
                )
                .bind(id.0)
                .bind(state)
                .bind(outcome)
                .bind(Timestamp::now().millis())
                .execute(&mut *connection)
                .await?;
                let Some(project) = project.filter(|_| done.rows_affected() == 1) else {
                    return Ok(());
                };
                let row = sqlx::query(
                    "INSERT INTO deliveries (project, key, received_at, event, state)
                     SELECT projects.id, app_deliveries.key, app_deliveries.received_at,
                         app_deliveries.event, 'waiting'
                     FROM app_deliveries JOIN projects ON projects.id = $2
                     WHERE app_deliveries.id = $1
                     ON CONFLICT (project, key) DO NOTHING
                     RETURNING id",
                )
                .bind(id.0)
                .bind(project.0)
                .fetch_optional(&mut *connection)
                .await?;
                if let Some(row) = row {
                    sqlx::query(
                        "INSERT INTO delivery_bodies (delivery, body)
                         SELECT $2, body FROM app_deliveries WHERE id = $1",
                    )
                    .bind(id.0)
                    .bind(row.try_get::<i64, _>(0)?)
                    .execute(&mut *connection)
                    .await?;
                }
                sqlx::query("UPDATE app_deliveries SET body = $2 WHERE id = $1")
                    .bind(id.0)
                    .bind(Vec::<u8>::new())
                    .execute(&mut *connection)
                    .await?;
                points.pass(Point::DeliverySettled);
                Ok(())
            })
        })
        .await
    }

    /// Returns the deliveries for an App that were about no project, the newest first, at most `limit`.
    pub async fn other_deliveries(
        &self,
        app: AppId,
        limit: u32,
    ) -> Result<Vec<OtherDelivery>, DatabaseError> {
        let rows = sqlx::query(
            "SELECT id, received_at, event, state, outcome FROM app_deliveries
             WHERE app = $1 AND state <> 'handed-on' ORDER BY id DESC LIMIT $2",
        )
        .bind(app.0)
        .bind(i64::from(limit))
        .fetch_all(self.readers())
        .await?;
        let other = |row: &AnyRow| {
            Ok(OtherDelivery {
                id: DeliveryId(row.try_get(0)?),
                received_at: Timestamp::from_millis(row.try_get(1)?),
                event: row.try_get(2)?,
                state: row.try_get(3)?,
                outcome: row.try_get(4)?,
            })
        };
        rows.iter().map(other).collect()
    }

    /// Forgets deliveries for Apps that came before a time and were read.
    pub async fn forget_app_deliveries(&self, before: Timestamp) -> Result<u64, DatabaseError> {
        self.write(move |connection| {
            Box::pin(async move {
                let done = sqlx::query(
                    "DELETE FROM app_deliveries WHERE received_at < $1 AND state <> 'waiting'",
                )
                .bind(before.millis())
                .execute(&mut *connection)
                .await?;
                Ok(done.rows_affected())
            })
        })
        .await
    }
}
