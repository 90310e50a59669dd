//! What becomes of a commit's statuses when the pull request that told them leaves the commit: it is closed, or moves on.
//!
//! Whatever has the word from then on says again where it stands, though its run may be the older one and may have been
//! silent, because it was outranked. Its verdict is read off what is kept of the run. Start at [`hand_over`].

use levain_actions::git::CommitId;
use levain_actions::status::{JobPhase, JobText, SummaryPhase, SummaryText, seconds};
use levain_engine::report::Counters;
use levain_evaluator::JobsetName;
use levain_statuses::summary_text;
use sqlx::{AnyConnection, Row};

use super::decide::Budget;
use super::details;
use super::precedence::who_speaks;
use super::{Happening, Outbox, Said, Speaker, speaker, tell, tell_summary};
use crate::clock::Timestamp;
use crate::database::DatabaseError;
use crate::pages::kept_report::{Job, JobStatus, KeptReport};
use crate::pages::places;
use crate::projects::ProjectId;
use crate::roles::Role;
use crate::runs::state::{RunState, Verdict};
use crate::runs::{Ended, RunId, Told};

/// How many jobs that failed a summary names. It is cut to a line besides.
const NAMED: usize = 20;

/// Has whatever has the word at a commit now say where it stands, if what told something there has left it.
///
/// In the transaction in which that leaves. If nothing is left at the commit, what was told stays.
pub(crate) async fn hand_over(
    connection: &mut AnyConnection,
    outbox: Outbox,
    project: ProjectId,
    commit: CommitId,
) -> Result<(), DatabaseError> {
    if outbox == Outbox::Closed {
        return Ok(());
    }
    let left = left(connection, project, commit).await?;
    if left.is_empty() {
        return Ok(());
    }
    let Some(run) = who_speaks(connection, project, commit).await? else { return Ok(()) };
    let Some(speaker) = speaker(connection, run).await? else { return Ok(()) };
    let speaker = Speaker { takes_over: true, ..speaker };
    let kept = kept(connection, run).await?;
    let now = Timestamp::now();
    if left.iter().any(|(job, _)| job.is_none())
        && let Some(said) = kept.said()
    {
        tell_summary(connection, &speaker, said, Budget::DEFAULT, now).await?;
    }
    for (job, context) in left {
        let Some(name) = job else { continue };
        let Some(job) = kept.report.as_ref().and_then(|report| report.job(&name)) else { continue };
        let Some(phase) = phase_of_job(job.status) else { continue };
        let subject = speaker.subject();
        match speaker.telling.job(&speaker.home, &subject, phase, &job_text(job)) {
            Ok(status) => {
                let status = status.named(&context).with_details(details::of_job(job));
                tell(connection, &speaker, Some(&name), &status, Budget::DEFAULT, now).await?;
            }
            Err(error) => {
                tracing::warn!(run = run.number(), %error, "cannot word a status");
            }
        }
    }
    Ok(())
}

/// Returns whether the word is handed over when something leaves a commit.
///
/// What a pull request or a merge queue told was about a merge that is not asked for any more. What a branch or a tag told
/// was about the commit alone, and stays true.
fn hands_over(role: Role) -> bool {
    match role {
        Role::PullRequest(_) | Role::MergeQueue => true,
        Role::DefaultBranch | Role::Branch | Role::Tag => false,
    }
}

/// Returns what was told at a commit by runs of pull requests and merge queues that are not there any more: jobs, or nothing
/// for the run as a whole, and the names of the statuses.
async fn left(
    connection: &mut AnyConnection,
    project: ProjectId,
    commit: CommitId,
) -> Result<Vec<(Option<String>, String)>, DatabaseError> {
    let rows = sqlx::query(
        "SELECT statuses.job, statuses.context, runs.jobset, projects.default_branch
         FROM statuses JOIN runs ON runs.id = statuses.run
             JOIN projects ON projects.id = runs.project
         WHERE statuses.project = $1 AND statuses.commit_id = $2 AND NOT EXISTS (
             SELECT 1 FROM heads WHERE heads.project = runs.project
                 AND heads.jobset = runs.jobset AND heads.commit_id = runs.commit_id
         )
         ORDER BY statuses.id",
    )
    .bind(project.0)
    .bind(commit.to_string())
    .fetch_all(&mut *connection)
    .await?;
    let mut left = Vec::new();
    for row in rows {
        let jobset = jobset(row.try_get(2)?)?;
        let default: Option<String> = row.try_get(3)?;
        if hands_over(Role::of(&jobset, default.as_deref())) {
            left.push((row.try_get(0)?, row.try_get(1)?));
        }
    }
    Ok(left)
}

fn jobset(text: String) -> Result<JobsetName, DatabaseError> {
    let content = |found| DatabaseError::Content { table: "runs", what: "jobset", found };
    text.parse().map_err(|_unnamed| content(text))
}

/// What is kept of a run.
struct Kept {
    state: RunState,
    summary: String,
    report: Option<KeptReport>,
}

async fn kept(connection: &mut AnyConnection, run: RunId) -> Result<Kept, DatabaseError> {
    let row = sqlx::query("SELECT state, summary, report FROM runs WHERE id = $1")
        .bind(run.number())
        .fetch_one(&mut *connection)
        .await?;
    let report: Option<String> = row.try_get(2)?;
    let text: String = row.try_get(0)?;
    let state = RunState::ALL.into_iter().find(|known| known.name() == text);
    let content = |found| DatabaseError::Content { table: "runs", what: "state", found };
    Ok(Kept {
        state: state.ok_or_else(|| content(text))?,
        summary: row.try_get::<Option<String>, _>(1)?.unwrap_or_default(),
        report: report.as_deref().and_then(KeptReport::read),
    })
}

impl Kept {
    /// Returns what is said of the run as a whole.
    fn said(&self) -> Option<Said> {
        let happening = Happening::of(self.state);
        let ended = self.ended();
        let happening = happening.or(ended.as_ref().map(Happening::Ended))?;
        let (phase, text) = happening.worded();
        Some(Said { phase, text, details: happening.details() })
    }

    /// Returns how it ended, if it was carried out to an end.
    fn ended(&self) -> Option<Ended> {
        let verdict = match self.state {
            RunState::Succeeded => Verdict::Succeeded,
            RunState::Failed => Verdict::Failed,
            RunState::Errored => Verdict::Errored,
            RunState::Conflict => Verdict::Conflict,
            RunState::Unapproved
            | RunState::Queued
            | RunState::Running
            | RunState::Cancelled
            | RunState::Superseded => return None,
        };
        let ended = Ended::new(verdict, self.summary.clone());
        Some(match &self.report {
            Some(report) => Ended {
                told: Some(Box::new(told(report))),
                details: Box::new(details::of_run(report, None)),
                ..ended
            },
            None => Ended { details: Box::new(details::of_error(&self.summary)), ..ended },
        })
    }
}

/// Returns what is told about the end of a run with this report.
fn told(report: &KeptReport) -> Told {
    let count = |wanted| report.jobs.iter().filter(|job| job.status == wanted).count();
    let counters = Counters {
        fresh: count(JobStatus::Fresh),
        incremental: count(JobStatus::Incremental),
        clean: count(JobStatus::Clean),
        failed: count(JobStatus::Failed),
        errors: count(JobStatus::Error),
        cancelled: count(JobStatus::Cancelled),
        skipped: count(JobStatus::Skipped),
    };
    // What could not be evaluated is for the author to mend.
    let is_authors = |job: &Job| job.status == JobStatus::Error && job.base_drv_path.is_none();
    let phase = if counters.cancelled > 0 {
        SummaryPhase::Cancelled
    } else if counters.failed > 0 || report.jobs.iter().any(is_authors) {
        SummaryPhase::Failure
    } else if counters.errors > 0 {
        SummaryPhase::Error
    } else if counters.is_vacuous() {
        SummaryPhase::Skipped
    } else {
        SummaryPhase::Success
    };
    let bad = report.jobs.iter().filter(|job| job.status.is_bad());
    let names: Vec<&str> = bad.map(|job| job.attr_path.as_str()).take(NAMED).collect();
    let failing = (!names.is_empty()).then(|| names.join(", "));
    Told { phase, text: SummaryText { failing, ..summary_text(report.jobs.len(), counters) } }
}

fn phase_of_job(status: JobStatus) -> Option<JobPhase> {
    match status {
        JobStatus::Fresh => Some(JobPhase::Fresh),
        JobStatus::Incremental => Some(JobPhase::Incremental),
        JobStatus::Clean => Some(JobPhase::Clean),
        JobStatus::Failed => Some(JobPhase::Failure),
        JobStatus::Error => Some(JobPhase::Error),
        JobStatus::Cancelled => Some(JobPhase::Cancelled),
        JobStatus::Skipped => Some(JobPhase::Skipped),
        JobStatus::Building | JobStatus::Waiting | JobStatus::Unknown => None,
    }
}

/// Returns what a job's texts are made of, as far as it is kept.
fn job_text(job: &Job) -> JobText {
    let short = |commit: &str| commit.chars().take(12).collect::<String>();
    let cache = job.caches.first();
    let took = std::time::Duration::try_from_secs_f64(job.seconds).unwrap_or_default();
    JobText {
        job: job.attr_path.clone(),
        cache: cache.map(|cache| cache.path.clone()),
        cache_commit: cache.map(|cache| short(&cache.commit)),
        since: job.unchanged_since.as_deref().map(short),
        seconds: job.started_at.map(|_| seconds(took)),
        reason: job.skipped.clone().or_else(|| job.reason.clone()),
        error: job.error.as_ref().and_then(|error| error.lines().next()).map(places::text),
        ..JobText::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(statuses: &[&str]) -> KeptReport {
        let jobs = statuses.iter().enumerate().map(|(number, status)| {
            let base = (*status != "error").then_some("/nix/store/x.drv");
            json!({ "attrPath": format!("job{number}"), "status": status, "baseDrvPath": base })
        });
        KeptReport::read(&json!({ "jobs": jobs.collect::<Vec<_>>() }).to_string()).unwrap()
    }

    #[test]
    fn a_report_tells_what_its_run_told() {
        for (statuses, phase, failing) in [
            (&["fresh", "clean"][..], SummaryPhase::Success, None),
            (&["skipped"], SummaryPhase::Skipped, None),
            (&["fresh", "failed", "failed"], SummaryPhase::Failure, Some("job1, job2")),
            // It has no derivation: it could not be evaluated.
            (&["error"], SummaryPhase::Failure, Some("job0")),
            (&["failed", "cancelled"], SummaryPhase::Cancelled, Some("job0")),
        ] {
            let told = told(&report(statuses));
            assert_eq!(
                (told.phase, told.text.failing.as_deref()),
                (phase, failing),
                "{statuses:?}"
            );
            assert_eq!(told.text.jobs, statuses.len());
        }
        let mut elsewhere = report(&["error"]);
        elsewhere.jobs[0].base_drv_path = Some("/nix/store/x.drv".to_owned());
        assert_eq!(told(&elsewhere).phase, SummaryPhase::Error);
    }

    #[test]
    fn every_state_has_something_to_say() {
        for state in RunState::ALL {
            let kept = Kept { state, summary: "a sentence".to_owned(), report: None };
            let said = kept.said().unwrap();
            let is_over = state.is_end();
            assert_eq!(said.phase.state().is_final(), is_over, "{state:?}");
        }
    }
}
