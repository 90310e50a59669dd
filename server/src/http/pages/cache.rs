//! `GET /projects/NAME/cache`: where the pointers of a branch point, job by job, as its newest report says.

use axum::extract::{Query, State};
use axum::response::Response;
use levain_evaluator::JobsetName;
use serde::{Deserialize, Serialize};

use super::format::{Format, answer, twin};
use super::jobs::JobRow;
use super::rows::{Link, RunRow};
use crate::clock::Timestamp;
use crate::http::App;
use crate::http::table::{Needs, OfProject, Refused, Table};
use crate::pages::kept_report::KeptReport;
use crate::pages::links;
use crate::pages::renderer::View;
use crate::rights::Right;
use crate::runs::Run;

/// How many reports are looked through for who moved a pointer.
const EARLIER: u32 = 10;
/// How many pointers are listed.
const LISTED: usize = 100;

pub(super) fn routes(table: Table) -> Table {
    let needs = Needs::Project(Right::Read);
    table.get("/projects/{project}/cache", needs, cache).get(
        "/projects/{project}/cache.json",
        needs,
        cache,
    )
}

#[derive(Debug, Default, Deserialize)]
struct Asked {
    jobset: Option<String>,
}

/// Where a job's pointer points.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PointerRow {
    job: JobRow,
    path: String,
    key: Option<String>,
    /// Incremental builds behind it, if the run that made it says so.
    depth: Option<u32>,
    audit: Option<String>,
    /// The run that moved it there, if it is among the last ones.
    made_by: Option<Link>,
    made_of: Option<String>,
}

#[derive(Serialize)]
struct CachePage {
    project: Link,
    jobset: String,
    run: Option<RunRow>,
    pointers: Vec<PointerRow>,
    more: usize,
}

async fn cache(
    State(app): State<App>,
    OfProject(project): OfProject,
    format: Format,
    Query(asked): Query<Asked>,
) -> Result<Response, Refused> {
    let named = asked.jobset.map(|text| text.parse::<JobsetName>());
    let jobset = match (named, &project.default_branch) {
        (Some(Ok(jobset)), _) => jobset,
        (Some(Err(_)), _) => return Err(Refused::Nothing),
        (None, name) => JobsetName::branch(name.as_deref().unwrap_or("main")),
    };
    let reports = app.database.reports_of_jobset(project.id, &jobset, None, EARLIER).await?;
    let (newest, mut pointers) = app
        .aside(move || {
            let read = |(run, text): (Run, String)| Some((run, KeptReport::read(&text)?));
            let reports: Vec<(Run, KeptReport)> = reports.into_iter().filter_map(read).collect();
            let pointers = pointers(&reports);
            (reports.into_iter().next().map(|(run, _)| run), pointers)
        })
        .await?;
    let more = pointers.len().saturating_sub(LISTED);
    pointers.truncate(LISTED);
    let now = Timestamp::now();
    let path = format!("{}/cache", links::project(&project.name));
    let view = View {
        title: format!("Caches · {}", project.name),
        json: twin(&path),
        section: "projects",
        live: None,
        page: CachePage {
            project: Link::new(&project.name, links::project(&project.name)),
            jobset: jobset.to_string(),
            run: newest.map(|run| RunRow::new(&project.name, &run, now)),
            pointers,
            more,
        },
        path,
    };
    answer(&app, format, "cache", view).await
}

/// Reads pointers off the newest report, and who moved them there off it and those before.
fn pointers(reports: &[(Run, KeptReport)]) -> Vec<PointerRow> {
    let Some((newest, report)) = reports.first() else { return Vec::new() };
    let jobs = report.jobs.iter().filter_map(|job| Some((job, job.pointer.as_ref()?)));
    jobs.map(|(job, pointer)| {
        let moved = reports.iter().find_map(|(run, report)| {
            let job = report.job(&job.attr_path)?;
            let moved = job.pointer.as_ref()?;
            (moved.moved && moved.path == pointer.path).then_some((run, job))
        });
        let id = moved.map(|(run, _)| run.id.number());
        PointerRow {
            job: JobRow::new(newest.id.number(), job),
            path: pointer.path.clone(),
            key: job.key.clone(),
            depth: moved
                .map(|(_, job)| job.caches.iter().map(|cache| cache.depth + 1).max().unwrap_or(0)),
            audit: job.audit.clone(),
            made_by: id.map(|id| Link::new(format!("#{id}"), links::run(id))),
            made_of: moved.map(|(run, _)| run.commit.to_string()),
        }
    })
    .collect()
}
