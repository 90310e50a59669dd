//! Caches that people drop on a page or through the interface: what `levain cache drop` and `levain cache allow` remember.
//!
//! The shadow branch keeps its entry until the next run: nothing starts from it, because the mark says so.
//!
//! A server in read-only mode changes none of it. What runs remember is what all servers with the same database go by
//! (`docs/decisions/0034-servers-share-what-runs-remember.md`), so a drop would have others build clean.

use levain_engine::records::{Jobsets, Mark};
use levain_evaluator::{JobName, JobsetName};

use super::rows;
use crate::clock::Timestamp;
use crate::database::{Database, DatabaseError};
use crate::statuses::Outbox;

/// The right to change which caches are used.
#[derive(Clone, Copy)]
pub struct MarkWriter<'d> {
    database: &'d Database,
}

impl Database {
    /// Returns the right to change which caches are used; in read-only mode there is none.
    pub fn mark_writer(&self) -> Option<MarkWriter<'_>> {
        (self.outbox() == Outbox::Open).then_some(MarkWriter { database: self })
    }

    /// Returns which caches of the repository at `url` are not used any more.
    pub async fn cache_marks(&self, url: &str) -> Result<Vec<Mark>, DatabaseError> {
        match self.known_repository(url).await? {
            Some(repository) => rows::marks(self.readers(), repository).await,
            None => Ok(Vec::new()),
        }
    }
}

impl MarkWriter<'_> {
    /// Has nothing start any more from what was recorded of a job at the repository at `url`, by one jobset or by any.
    ///
    /// Incremental successes are forgotten, so that the next run builds it; all in one transaction. Returns how many.
    pub async fn drop_caches(
        &self,
        url: &str,
        jobset: Option<JobsetName>,
        job: JobName,
        now: Timestamp,
    ) -> Result<usize, DatabaseError> {
        let repository = self.database.repository(url).await?;
        let now = u64::try_from(now.millis() / 1_000).unwrap_or_default();
        let work = self.database.write(move |connection| {
            Box::pin(async move {
                // The clock of another server may be ahead.
                let newest = rows::newest(connection, repository, &job).await?;
                let time = now.max(newest.unwrap_or_default());
                let forgotten =
                    rows::forget(connection, repository, jobset.as_ref(), Some(&job), u64::MAX)
                        .await?;
                let jobset = jobset.map_or(Jobsets::All, Jobsets::One);
                let mark = Mark::Until { jobset, job: Some(job), time };
                rows::put_mark(connection, repository, &mark).await?;
                Ok(forgotten)
            })
        });
        work.await
    }

    /// Lets a job use caches again that an audit kept from it, on all jobsets. Returns whether it was kept from any.
    pub async fn allow_caches(&self, url: &str, job: JobName) -> Result<bool, DatabaseError> {
        let known = self.database.known_repository(url).await?;
        let Some(repository) = known else { return Ok(false) };
        let work = self.database.write(move |connection| {
            Box::pin(async move { rows::allow(connection, repository, &job).await })
        });
        work.await
    }
}
