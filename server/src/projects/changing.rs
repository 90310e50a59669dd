//! Changes what is built of a project. The next look acts upon it.

use super::{Merge, ProjectId};
use crate::clock::Timestamp;
use crate::database::{Database, DatabaseError};
use crate::schedule::Schedule;

/// What is to be changed; nothing stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProjectSettings {
    /// What of pull requests is built.
    pub merge: Option<Merge>,
    /// Which tags are built, if any.
    pub tags: Option<Option<String>>,
    /// When the default branch is built anew, if it is.
    pub schedule: Option<Option<Schedule>>,
}

impl Database {
    /// Changes a project. What is listed at this moment may be listed as it was chosen before, and is listed anew.
    pub async fn change_project(
        &self,
        id: ProjectId,
        settings: ProjectSettings,
    ) -> Result<(), DatabaseError> {
        let ProjectSettings { merge, tags, schedule } = settings;
        let slot = schedule.flatten().map(|schedule| schedule.slot(Timestamp::now()));
        self.write(move |connection| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE projects SET heads_noted = heads_noted + 1,
                         merge = COALESCE($2, merge),
                         tags = CASE WHEN $3 = 1 THEN $4 ELSE tags END,
                         tags_noted = CASE WHEN $3 = 1 THEN 0 ELSE tags_noted END,
                         schedule = CASE WHEN $5 = 1 THEN $6 ELSE schedule END,
                         scheduled = COALESCE($7, scheduled)
                     WHERE id = $1",
                )
                .bind(id.0)
                .bind(merge.map(Merge::name))
                .bind(i64::from(tags.is_some()))
                .bind(tags.flatten())
                .bind(i64::from(schedule.is_some()))
                .bind(schedule.flatten().map(|schedule| schedule.to_string()))
                .bind(slot)
                .execute(&mut *connection)
                .await?;
                Ok(())
            })
        })
        .await
    }
}
