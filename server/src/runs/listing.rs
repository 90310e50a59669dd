//! What pages ask about runs. Each question is answered from an index, however many runs there are.

use levain_actions::git::CommitId;
use levain_evaluator::JobsetName;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{COLUMNS, Run, RunId, run};
use crate::database::{Database, DatabaseError};
use crate::projects::ProjectId;

/// A head of a project, with the newest run of its jobset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadRun {
    /// The branch or pull request.
    pub jobset: JobsetName,
    /// Its newest commit.
    pub commit: CommitId,
    /// The newest run, if there was one.
    pub run: Option<Run>,
}

/// How many heads of a project are listed.
const MOST_HEADS: i64 = 500;

impl Database {
    /// Returns the runs of a branch or pull request, the newest first, at most `limit`, and only those before `before`.
    pub async fn runs_of_jobset(
        &self,
        project: ProjectId,
        jobset: &JobsetName,
        before: Option<RunId>,
        limit: u32,
    ) -> Result<Vec<Run>, DatabaseError> {
        let text = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM runs WHERE project = $1 AND jobset = $2 AND id < $3
             ORDER BY id DESC LIMIT $4"
        ));
        let rows = sqlx::query(text)
            .bind(project.0)
            .bind(jobset.as_str())
            .bind(before.map_or(i64::MAX, RunId::number))
            .bind(i64::from(limit))
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(run).collect()
    }

    /// Returns the branches and pull requests whose head is a commit, by name, each with the number of its author.
    pub async fn heads_at(
        &self,
        project: ProjectId,
        commit: CommitId,
    ) -> Result<Vec<(JobsetName, Option<u64>)>, DatabaseError> {
        let rows = sqlx::query(
            "SELECT jobset, author FROM heads WHERE project = $1 AND commit_id = $2
             ORDER BY jobset",
        )
        .bind(project.0)
        .bind(commit.to_string())
        .fetch_all(self.readers())
        .await?;
        let head = |row: &AnyRow| {
            let jobset: String = row.try_get(0)?;
            let author: Option<i64> = row.try_get(1)?;
            let jobset = jobset.parse().map_err(|_unnamed| DatabaseError::Content {
                table: "heads",
                what: "jobset",
                found: jobset,
            })?;
            Ok((jobset, author.and_then(|number| u64::try_from(number).ok())))
        };
        rows.iter().map(head).collect()
    }

    /// Returns the newest runs of a branch or pull request that have a report, with it; only those before `before`.
    pub async fn reports_of_jobset(
        &self,
        project: ProjectId,
        jobset: &JobsetName,
        before: Option<RunId>,
        limit: u32,
    ) -> Result<Vec<(Run, String)>, DatabaseError> {
        let text = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS}, report FROM runs
             WHERE project = $1 AND jobset = $2 AND id < $3 AND report IS NOT NULL
             ORDER BY id DESC LIMIT $4"
        ));
        let rows = sqlx::query(text)
            .bind(project.0)
            .bind(jobset.as_str())
            .bind(before.map_or(i64::MAX, RunId::number))
            .bind(i64::from(limit))
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(|row| Ok((run(row)?, row.try_get("report")?))).collect()
    }

    /// Returns the newest reports of a project with their runs' numbers, down to a run.
    pub async fn reports_of_project(
        &self,
        project: ProjectId,
        down_to: RunId,
        limit: u32,
    ) -> Result<Vec<(i64, String)>, DatabaseError> {
        let rows = sqlx::query(
            "SELECT id, report FROM runs WHERE project = $1 AND id >= $2 AND report IS NOT NULL
             ORDER BY id DESC LIMIT $3",
        )
        .bind(project.0)
        .bind(down_to.number())
        .bind(i64::from(limit))
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(|row| Ok((row.try_get("id")?, row.try_get("report")?))).collect()
    }

    /// Returns the heads of a project by name, each with its newest run.
    pub async fn heads_with_runs(&self, project: ProjectId) -> Result<Vec<HeadRun>, DatabaseError> {
        let columns: Vec<String> =
            COLUMNS.split(',').map(|column| format!("runs.{}", column.trim())).collect();
        let text = sqlx::AssertSqlSafe(format!(
            "SELECT {}, heads.jobset AS head_jobset, heads.commit_id AS head_commit
             FROM heads LEFT JOIN runs ON runs.id = (
                 SELECT newest.id FROM runs AS newest
                 WHERE newest.project = heads.project AND newest.jobset = heads.jobset
                 ORDER BY newest.id DESC LIMIT 1
             )
             WHERE heads.project = $1 ORDER BY heads.jobset LIMIT $2",
            columns.join(", ")
        ));
        let rows =
            sqlx::query(text).bind(project.0).bind(MOST_HEADS).fetch_all(self.readers()).await?;
        rows.iter().map(head_run).collect()
    }

    /// Returns the newest run of each project's default branch that has a verdict.
    pub async fn default_branch_runs(&self) -> Result<Vec<Run>, DatabaseError> {
        let columns: Vec<String> =
            COLUMNS.split(',').map(|column| format!("runs.{}", column.trim())).collect();
        let text = sqlx::AssertSqlSafe(format!(
            "SELECT {} FROM projects JOIN runs ON runs.id = (
                 SELECT newest.id FROM runs AS newest
                 WHERE newest.project = projects.id
                     AND newest.jobset = 'heads/' || projects.default_branch
                     AND newest.state IN ('succeeded', 'failed', 'errored')
                 ORDER BY newest.id DESC LIMIT 1
             )
             ORDER BY runs.id DESC",
            columns.join(", ")
        ));
        let rows = sqlx::query(text).fetch_all(self.readers()).await?;
        rows.iter().map(run).collect()
    }

    /// Returns the runs that are carried out, the oldest first.
    pub async fn running(&self) -> Result<Vec<Run>, DatabaseError> {
        let text = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM runs WHERE state = 'running' ORDER BY started_at, id"
        ));
        let rows = sqlx::query(text).fetch_all(self.readers()).await?;
        rows.iter().map(run).collect()
    }

    /// Returns the runs that wait, the next first, at most `limit`.
    pub async fn queued(&self, limit: u32) -> Result<Vec<Run>, DatabaseError> {
        let text = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM runs WHERE state = 'queued' ORDER BY rank, id LIMIT $1"
        ));
        let rows = sqlx::query(text).bind(i64::from(limit)).fetch_all(self.readers()).await?;
        rows.iter().map(run).collect()
    }

    /// Returns the runs that wait for an approval, the newest first, at most `limit`.
    pub async fn unapproved(&self, limit: u32) -> Result<Vec<Run>, DatabaseError> {
        let text = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM runs WHERE state = 'unapproved' ORDER BY id DESC LIMIT $1"
        ));
        let rows = sqlx::query(text).bind(i64::from(limit)).fetch_all(self.readers()).await?;
        rows.iter().map(run).collect()
    }

    /// Returns the runs of a project that wait for an approval, the newest first, at most `limit`.
    pub async fn unapproved_of(
        &self,
        project: ProjectId,
        limit: u32,
    ) -> Result<Vec<Run>, DatabaseError> {
        let text = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM runs WHERE state = 'unapproved' AND project = $1
             ORDER BY id DESC LIMIT $2"
        ));
        let rows = sqlx::query(text)
            .bind(project.0)
            .bind(i64::from(limit))
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(run).collect()
    }

    /// Returns the newest run of a branch or pull request that has a report, with it.
    pub async fn newest_report(
        &self,
        project: ProjectId,
        jobset: &JobsetName,
    ) -> Result<Option<(Run, String)>, DatabaseError> {
        Ok(self.reports_of_jobset(project, jobset, None, 1).await?.pop())
    }
}

fn head_run(row: &AnyRow) -> Result<HeadRun, DatabaseError> {
    let content = |what, found: String| DatabaseError::Content { table: "heads", what, found };
    let (jobset, commit): (String, String) =
        (row.try_get("head_jobset")?, row.try_get("head_commit")?);
    let has_run = row.try_get::<Option<i64>, _>(0)?.is_some();
    Ok(HeadRun {
        jobset: jobset.parse().map_err(|_unnamed| content("jobset", jobset))?,
        commit: commit.parse().map_err(|_unnamed| content("commit", commit))?,
        run: has_run.then(|| run(row)).transpose()?,
    })
}
