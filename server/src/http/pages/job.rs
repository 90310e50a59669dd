//! `GET /runs/ID/jobs/JOB`: why a job was built, from which cache, what came of it, and how it went in earlier runs.

use axum::extract::{Path, State};
use axum::response::Response;
use levain_evaluator::names::Named;
use serde::Serialize;

use super::format::{Format, answer, asked, twin};
use super::jobs::{JobRow, short};
use super::rows::{Link, RunRow};
use super::run::details;
use crate::clock::Timestamp;
use crate::http::App;
use crate::http::table::{Needs, OfRun, Refused, Table};
use crate::pages::kept_report::{Cache, FailedDependency, Job, JobStatus, KeptReport};
use crate::pages::moment::Moment;
use crate::pages::renderer::View;
use crate::pages::{links, reproduce};
use crate::projects::Project;
use crate::rights::Right;
use crate::runs::Run;

/// How many earlier runs are looked through.
const EARLIER: u32 = 8;

pub(super) fn routes(table: Table) -> Table {
    table.get("/runs/{run}/jobs/{job}", Needs::Run(Right::Read), job)
}

/// A cache that the build was given.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CacheRow {
    path: String,
    nar_hash: String,
    origin: String,
    shadow: String,
    commit: String,
    made: Moment,
    depth: u32,
}

#[derive(Serialize)]
struct Output {
    name: String,
    path: String,
}

/// The same job in an earlier run.
#[derive(Serialize)]
struct Earlier {
    run: Link,
    commit: String,
    when: Moment,
    job: JobRow,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JobPage {
    run: RunRow,
    job: JobRow,
    name: Option<String>,
    system: Option<String>,
    why: String,
    why_detail: Option<String>,
    caches: Vec<CacheRow>,
    /// What the build said about restoring and persisting, line by line.
    cache_sets: Vec<String>,
    audit: Option<String>,
    began: Option<Moment>,
    base_derivation: Option<String>,
    built_derivation: Option<String>,
    outputs: Vec<Output>,
    key: Option<String>,
    pointer: Option<String>,
    pointer_moved: bool,
    error: Option<String>,
    last_lines: Option<String>,
    dependencies: Vec<FailedDependency>,
    log_href: Option<String>,
    raw_log: Option<String>,
    reproduce: Option<String>,
    is_default_branch: bool,
    earlier: Vec<Earlier>,
}

/// Finds the job that the last part of an address names.
pub(super) fn named<'r>(report: &'r KeptReport, last: &str) -> Result<(Format, &'r Job), Refused> {
    let mut found = asked(last).filter_map(|(format, name)| Some((format, report.job(name)?)));
    found.next().ok_or(Refused::Nothing)
}

async fn job(
    State(app): State<App>,
    OfRun(run, project): OfRun,
    Path((_, last)): Path<(String, String)>,
) -> Result<Response, Refused> {
    let id = run.id.number();
    let (report, _) = details(&app, run.id, &project).await?;
    let report = report.ok_or(Refused::Nothing)?;
    let (format, job) = named(&report, &last)?;
    let before =
        app.database.reports_of_jobset(run.project, &run.jobset, Some(run.id), EARLIER).await?;
    let now = Timestamp::now();
    let (name, address) = (job.attr_path.clone(), project.url.clone());
    let earlier = move |(run, text): (Run, String)| {
        let report = KeptReport::read(&text)?.without_places(&address);
        let number = run.id.number();
        Some(Earlier {
            run: Link::new(format!("#{number}"), links::run(number)),
            commit: short(&run.commit.to_string()),
            when: Moment::new(run.ended_at.unwrap_or(run.created_at), now),
            job: JobRow::new(number, report.job(&name)?),
        })
    };
    let earlier = app.aside(move || before.into_iter().filter_map(earlier).collect()).await?;
    let path = links::job(id, &job.attr_path);
    let view = View {
        title: format!("{} · {id} · {}", job.attr_path, project.name),
        json: twin(&path),
        section: "projects",
        live: None,
        page: JobPage { earlier, ..page(&project, &run, &report, job, now) },
        path,
    };
    answer(&app, format, "job", view).await
}

fn page(project: &Project, run: &Run, report: &KeptReport, job: &Job, now: Timestamp) -> JobPage {
    let id = run.id.number();
    let of_unix = |seconds: u64| {
        let millis = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000);
        Moment::new(Timestamp::from_millis(millis), now)
    };
    let cache = |cache: &Cache| CacheRow {
        path: cache.path.clone(),
        nar_hash: cache.nar_hash.clone(),
        origin: origin(&cache.origin),
        shadow: cache.jobset.clone(),
        commit: cache.commit.clone(),
        made: of_unix(cache.time),
        depth: cache.depth,
    };
    let has_log = job.log.is_some();
    let log = links::log(id, &job.attr_path);
    let output =
        |(name, path): (&String, &String)| Output { name: name.clone(), path: path.clone() };
    JobPage {
        run: RunRow::new(&project.name, run, now),
        job: JobRow::new(id, job),
        name: job.name.clone(),
        system: job.system.clone(),
        why: why(job),
        why_detail: job.reason_detail.clone().filter(|_| !job.status.is_bad()),
        caches: job.caches.iter().map(cache).collect(),
        cache_sets: job.cache_sets.clone(),
        audit: job.audit.clone(),
        began: job.started_at.map(of_unix),
        base_derivation: job.base_drv_path.clone(),
        built_derivation: job
            .built_drv_path
            .clone()
            .filter(|_| job.built_drv_path != job.base_drv_path),
        outputs: job.outputs.iter().map(output).collect(),
        key: job.key.clone(),
        pointer: job.pointer.as_ref().map(|pointer| pointer.path.clone()),
        pointer_moved: job.pointer.as_ref().is_some_and(|pointer| pointer.moved),
        error: job.error.clone(),
        last_lines: (!job.last_lines.is_empty()).then(|| job.last_lines.join("\n")),
        dependencies: job.failed_dependencies.clone(),
        raw_log: has_log.then(|| format!("{log}.txt")),
        log_href: has_log.then_some(log),
        reproduce: reproduce::command(&project.url, run, report, job),
        is_default_branch: match run.jobset.named() {
            Named::Branch(name) => project.default_branch.as_deref() == Some(name),
            Named::PullRequest(_) | Named::Tag(_) => false,
        },
        earlier: Vec::new(),
    }
}

/// Says why a job was built as it was, in one sentence.
fn why(job: &Job) -> String {
    match job.status {
        JobStatus::Fresh => match &job.unchanged_since {
            Some(commit) => format!("It was not built: unchanged since {}.", short(commit)),
            None => "It was not built: nothing changed.".to_owned(),
        },
        JobStatus::Incremental => "It was built from a cache.".to_owned(),
        JobStatus::Skipped => {
            let why = job.skipped.as_deref().unwrap_or("no machine can build it");
            format!("It was skipped: {why}.")
        }
        JobStatus::Clean => match job.reason.as_deref() {
            Some(reason) => format!("It was built without a cache: {}.", explained(reason)),
            None => "It was built clean.".to_owned(),
        },
        JobStatus::Failed => match job.caches.is_empty() {
            true => "Its clean build failed.".to_owned(),
            false => "Its build from a cache failed.".to_owned(),
        },
        JobStatus::Error => "It could not be built.".to_owned(),
        JobStatus::Cancelled => "It was stopped.".to_owned(),
        JobStatus::Building => "It is being built.".to_owned(),
        JobStatus::Waiting => match job.reason.as_deref() {
            Some(reason) => format!("It waits {reason}."),
            None => "It waits.".to_owned(),
        },
        JobStatus::Unknown => "A newer levain wrote its report.".to_owned(),
    }
}

/// Explains a reason why no cache was used.
fn explained(reason: &str) -> String {
    match reason {
        "first-build" => "none was recorded yet",
        "key-changed" => "something other than the project's own sources changed",
        "expired" => "the last one is too old",
        "missing" => "the last one is gone and cannot be downloaded",
        "rejected" => "the entry cannot be relied on",
        "depth-limit" => "so many builds in a row started from one that this one must not",
        "disabled" => "the project's policy wants it clean",
        "untrusted" => "the last one was made by somebody whom this build must not trust",
        "shadow-differs" => "with the cache the flake gives another derivation",
        "cache-in-output" => "an output that users get would refer to it",
        "not-restored" => "it was given one and restored nothing from it",
        "failed-with-cache" => "with its cache it failed, so it was built once more without",
        other => return other.to_owned(),
    }
    .to_owned()
}

/// Says where an entry was found.
fn origin(origin: &str) -> String {
    match origin {
        "own" => "this branch's own",
        "ancestor" => "the nearest ancestor's",
        "shared" => "the project's newest with the same key",
        other => other,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_of_the_engine_is_explained() {
        use levain_engine::choose::Reason;
        for reason in [
            Reason::FirstBuild,
            Reason::KeyChanged,
            Reason::Expired,
            Reason::Missing,
            Reason::Rejected,
            Reason::DepthLimit,
            Reason::Disabled,
            Reason::Untrusted,
            Reason::ShadowDiffers,
            Reason::CacheInOutput,
            Reason::NotRestored,
        ] {
            assert_ne!(explained(reason.name()), reason.name());
        }
    }
}
