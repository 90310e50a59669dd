//! What forges are still to be told, counted: for those who ask whether it goes on.

use sqlx::Row;

use crate::clock::Timestamp;
use crate::database::{Database, DatabaseError};
use crate::projects::ProjectId;

/// The statuses of a project that its forge does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenStatuses {
    /// The project.
    pub project: ProjectId,
    /// How many are to be sent.
    pub due: i64,
    /// How many the forge refused for good.
    pub refused: i64,
    /// When the next one may be sent; later than now if the forge asked for that.
    pub next: Option<Timestamp>,
}

impl Database {
    /// Returns the projects whose statuses wait because their forge asked for that or is down, each with until when.
    pub async fn held_projects(
        &self,
        now: Timestamp,
    ) -> Result<Vec<(ProjectId, Timestamp)>, DatabaseError> {
        let rows =
            sqlx::query("SELECT id, held_until FROM projects WHERE held_until > $1 ORDER BY id")
                .bind(now.millis())
                .fetch_all(self.readers())
                .await?;
        let held = rows
            .iter()
            .map(|row| Ok((ProjectId(row.try_get(0)?), Timestamp::from_millis(row.try_get(1)?))));
        held.collect()
    }

    /// Counts what forges are still to be told, by project. Reads only rows that are open.
    pub async fn open_statuses(&self) -> Result<Vec<OpenStatuses>, DatabaseError> {
        let rows = sqlx::query(
            "SELECT project, COUNT(*), 0, MIN(not_before) FROM statuses WHERE sending = 'due' GROUP BY project
             UNION ALL
             SELECT project, 0, COUNT(*), NULL FROM statuses WHERE sending = 'refused' GROUP BY project",
        )
        .fetch_all(self.readers())
        .await?;
        let open = rows.iter().map(|row| {
            let next = row.try_get::<Option<i64>, _>(3)?.map(Timestamp::from_millis);
            Ok(OpenStatuses {
                project: ProjectId(row.try_get(0)?),
                due: row.try_get(1)?,
                refused: row.try_get(2)?,
                next,
            })
        });
        open.collect()
    }
}
