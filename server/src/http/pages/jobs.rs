//! Jobs as parts of models.

use serde::Serialize;

use crate::pages::kept_report::{FailedDependency, Job, JobStatus, KeptReport};
use crate::pages::marks::{self, Mark};
use crate::pages::{links, moment, reproduce};
use crate::runs::Run;

use super::rows::Link;

/// How many lines of a failure's log are shown on the page of its run.
const LAST_LINES: usize = 15;
/// How long each of them, and an error, may be there, in characters.
const LONGEST_LINE: usize = 400;
/// How many lines of an error are shown there.
const ERROR_LINES: usize = 12;

/// A job as one row of a list.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JobRow {
    pub(super) name: Link,
    pub(super) mark: Mark,
    /// Why it is as it is, in a few words.
    pub(super) note: Option<String>,
    pub(super) took: Option<String>,
}

impl JobRow {
    pub(super) fn new(run: i64, job: &Job) -> Self {
        Self {
            name: Link::new(&job.attr_path, links::job(run, &job.attr_path)),
            mark: marks::of_job(job.status),
            note: note(job),
            took: (job.seconds > 0.0).then(|| moment::duration(job.seconds)),
        }
    }
}

/// Says in a few words why a job is as it is.
fn note(job: &Job) -> Option<String> {
    let first_line = |text: &String| text.lines().next().unwrap_or_default().to_owned();
    match job.status {
        JobStatus::Fresh => {
            job.unchanged_since.as_ref().map(|commit| format!("unchanged since {}", short(commit)))
        }
        JobStatus::Incremental => {
            job.caches.first().map(|cache| format!("from the cache of {}", short(&cache.commit)))
        }
        JobStatus::Clean | JobStatus::Waiting => job.reason.clone(),
        JobStatus::Skipped => job.skipped.as_ref().map(first_line),
        JobStatus::Building => None,
        JobStatus::Failed | JobStatus::Error | JobStatus::Cancelled | JobStatus::Unknown => {
            job.error.as_ref().map(first_line)
        }
    }
}

/// Returns the first characters of a commit.
pub(super) fn short(commit: &str) -> String {
    commit.chars().take(12).collect()
}

/// A job that needs somebody.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Failure {
    pub(super) job: JobRow,
    pub(super) error: Option<String>,
    /// The end of the log, with its colours.
    pub(super) last_lines: Option<String>,
    pub(super) dependencies: Vec<FailedDependency>,
    /// Its log, from the end on.
    pub(super) log_href: Option<String>,
    pub(super) reproduce: Option<String>,
}

impl Failure {
    pub(super) fn new(url: &str, run: &Run, report: &KeptReport, job: &Job) -> Self {
        let number = run.id.number();
        let skipped = job.last_lines.len().saturating_sub(LAST_LINES);
        let lines: Vec<String> =
            job.last_lines.iter().skip(skipped).map(|line| cut(line)).collect();
        Self {
            job: JobRow::new(number, job),
            error: job.error.as_ref().map(|error| {
                error.lines().take(ERROR_LINES).map(cut).collect::<Vec<_>>().join("\n")
            }),
            last_lines: (!lines.is_empty()).then(|| lines.join("\n")),
            dependencies: job.failed_dependencies.iter().take(LAST_LINES).cloned().collect(),
            log_href: job
                .log
                .is_some()
                .then(|| format!("{}?end", links::log(number, &job.attr_path))),
            reproduce: reproduce::command(url, run, report, job),
        }
    }
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(LONGEST_LINE) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line.to_owned(),
    }
}
