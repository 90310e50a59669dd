//! What is kept of a run, worded as the run would tell it: for a run that gets the word when nothing happens to it.
//!
//! Its verdict and those of its jobs are read off its kept report. Who gets the word, and when, `handover.rs` tells.

use levain_actions::forge::Masks;
use levain_actions::status::{JobPhase, JobText, SummaryText, seconds};
use levain_engine::report::Counters;
use levain_statuses::summary_text;
use sqlx::{AnyConnection, Row};

use super::precedence::state;
use super::{Happening, Said, details};
use crate::clock::Timestamp;
use crate::database::DatabaseError;
use crate::pages::kept_report::{Job, JobStatus, KeptReport};
use crate::pages::places;
use crate::runs::state::{RunState, Verdict};
use crate::runs::{Ended, RunId, Told};

/// How many jobs that failed a summary names. It is cut to a line besides.
const NAMED: usize = 20;

/// What is kept of a run.
pub(super) struct Kept {
    state: RunState,
    summary: String,
    /// Until when it waits because something was away.
    put_off_until: Option<Timestamp>,
    report: Option<KeptReport>,
}

/// Reads what is kept of a run.
pub(super) async fn kept(
    connection: &mut AnyConnection,
    run: RunId,
) -> Result<Kept, DatabaseError> {
    let row = sqlx::query("SELECT state, summary, put_off_until, report FROM runs WHERE id = $1")
        .bind(run.number())
        .fetch_one(&mut *connection)
        .await?;
    let report: Option<String> = row.try_get(3)?;
    Ok(Kept {
        state: state(row.try_get(0)?)?,
        summary: row.try_get::<Option<String>, _>(1)?.unwrap_or_default(),
        put_off_until: row.try_get::<Option<i64>, _>(2)?.map(Timestamp::from_millis),
        report: report.as_deref().and_then(KeptReport::read),
    })
}

impl Kept {
    /// Returns what is said of the run as a whole.
    pub(super) fn said(&self) -> Option<Said> {
        let put_off = match (self.state, self.put_off_until) {
            (RunState::Queued, Some(until)) => {
                Some(Happening::PutOff { until, why: &self.summary })
            }
            _ => None,
        };
        let ended = self.ended();
        let happening = put_off
            .or_else(|| Happening::of(self.state))
            .or(ended.as_ref().map(Happening::Ended))?;
        Some(Said::of(happening))
    }

    /// Returns what it tells about a job; nothing if it is not over, or has no report or no such job.
    pub(super) fn job(&self, name: &str) -> Option<&Job> {
        self.report.as_ref().and_then(|report| report.job(name))
    }

    /// Returns what is known of a job by it.
    pub(super) fn says_of(&self, name: &str) -> JobWord {
        if !self.state.is_end() {
            return JobWord::Open;
        }
        match (&self.report, self.job(name).map(|job| job.status)) {
            (Some(_), Some(status)) if status.is_bad() => JobWord::Bad,
            (Some(_), Some(status)) if status.is_good() => JobWord::Well,
            (Some(_), Some(_)) => JobWord::Unbuilt,
            // There is no such job.
            (Some(_), None) => JobWord::None,
            (None, _) if self.state == RunState::Succeeded => JobWord::None,
            // It did not come so far, or somebody stopped it.
            (None, _) => JobWord::Open,
        }
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
        // What is kept of a run went through its masks.
        let masked = Masks::default();
        let ended = Ended::new(verdict, self.summary.clone());
        Some(match &self.report {
            Some(report) => Ended {
                told: Some(Box::new(told(report))),
                details: Box::new(details::of_run(report, None, &masked)),
                ..ended
            },
            None => Ended { details: Box::new(details::of_error(&self.summary, &masked)), ..ended },
        })
    }
}

/// What a run tells about one of its jobs; what comes later has the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum JobWord {
    /// It has no such job.
    None,
    /// The job is fine.
    Well,
    /// It was skipped or stopped.
    Unbuilt,
    /// Nobody knows yet, or can know.
    Open,
    /// It failed.
    Bad,
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
    let phase = counters.phase(report.jobs.iter().any(is_authors));
    let bad = report.jobs.iter().filter(|job| job.status.is_bad());
    let names: Vec<&str> = bad.map(|job| job.attr_path.as_str()).take(NAMED).collect();
    let failing = (!names.is_empty()).then(|| names.join(", "));
    Told { phase, text: SummaryText { failing, ..summary_text(report.jobs.len(), counters) } }
}

/// Returns what is told of a job that ended so.
pub(super) fn phase_of_job(status: JobStatus) -> Option<JobPhase> {
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
pub(super) fn job_text(job: &Job) -> JobText {
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

    use levain_actions::status::SummaryPhase;

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
            let summary = "a sentence".to_owned();
            let kept = Kept { state, summary, put_off_until: None, report: None };
            let said = kept.said().unwrap();
            let is_over = state.is_end();
            assert_eq!(said.phase.state().is_final(), is_over, "{state:?}");
        }
    }
    #[test]
    fn what_was_put_off_says_until_when() {
        let put_off_until = Some(Timestamp::from_millis(0));
        let summary = "the forge is away".to_owned();
        let kept = Kept { state: RunState::Queued, summary, put_off_until, report: None };
        let said = kept.said().unwrap();
        assert_eq!(said.phase, SummaryPhase::Queued);
        assert!(said.text.error.unwrap().ends_with("because the forge is away"));
    }

    #[test]
    fn a_job_is_known_only_by_the_report_of_a_run_that_is_over() {
        let kept =
            |state, report| Kept { state, summary: String::new(), put_off_until: None, report };
        let all = || Some(report(&["clean", "failed", "skipped", "cancelled", "error"]));
        let of = |kept: Kept| {
            let names = ["job0", "job1", "job2", "job3", "job4", "other"];
            names.map(|name| kept.says_of(name))
        };
        use JobWord::{Bad, None as Nothing, Open, Unbuilt, Well};
        let known = [Well, Bad, Unbuilt, Unbuilt, Bad, Nothing];
        assert_eq!(of(kept(RunState::Failed, all())), known);
        assert_eq!(of(kept(RunState::Running, all())), [Open; 6]);
        assert_eq!(of(kept(RunState::Errored, None)), [Open; 6]);
        assert_eq!(of(kept(RunState::Succeeded, None)), [Nothing; 6], "its report was too long");
    }
}
