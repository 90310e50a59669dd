//! Runs that nobody asked for: default branches whose time has come.

use levain_evaluator::JobsetName;
use sqlx::AnyConnection;

use super::{Rank, RunId, head_of, queue, under_way};
use crate::clock::Timestamp;
use crate::database::{Database, DatabaseError};
use crate::projects::{Project, ProjectId};
use crate::schedule::Schedule;
use crate::statuses::Outbox;

impl Database {
    /// Queues a run of each default branch whose time has come: one, however many times have passed.
    ///
    /// A run of it that is not over yet is that run. Where nobody knows the branch yet, its time comes when somebody does.
    pub async fn queue_scheduled(&self, now: Timestamp) -> Result<Vec<RunId>, DatabaseError> {
        let mut queued = Vec::new();
        for Project { id, schedule, scheduled, default_branch, .. } in self.projects().await? {
            let (Some(schedule), Some(branch)) = (schedule, default_branch) else { continue };
            if schedule.slot(now) > scheduled {
                queued.extend(self.queue_at(id, schedule, now, branch).await?);
            }
        }
        Ok(queued)
    }

    async fn queue_at(
        &self,
        project: ProjectId,
        schedule: Schedule,
        now: Timestamp,
        branch: String,
    ) -> Result<Option<RunId>, DatabaseError> {
        let outbox = self.outbox();
        self.write_and_tell(move |connection| {
            Box::pin(async move {
                let jobset = JobsetName::branch(&branch);
                queue_once(connection, outbox, project, schedule, now, &jobset).await
            })
        })
        .await
    }
}

async fn queue_once(
    connection: &mut AnyConnection,
    outbox: Outbox,
    project: ProjectId,
    schedule: Schedule,
    now: Timestamp,
    jobset: &JobsetName,
) -> Result<Option<RunId>, DatabaseError> {
    let Some(head) = head_of(connection, project, jobset).await? else { return Ok(None) };
    // Another server may have done so, and the operator may have changed the schedule.
    let done = sqlx::query(
        "UPDATE projects SET scheduled = $2 WHERE id = $1 AND scheduled < $2 AND schedule = $3",
    )
    .bind(project.number())
    .bind(schedule.slot(now))
    .bind(schedule.to_string())
    .execute(&mut *connection)
    .await?;
    if done.rows_affected() == 0 || under_way(connection, project, jobset).await?.is_some() {
        return Ok(None);
    }
    queue(connection, outbox, project, jobset, &head, Rank::Scheduled).await.map(Some)
}
