//! Dropping caches, and letting jobs use them again: as `levain cache drop` and `levain cache allow` do.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Form, Json};
use levain_evaluator::{JobName, JobsetName};
use serde::Deserialize;
use serde_json::json;

use super::App;
use super::acting::to;
use super::table::{Needs, OfProject, Refused, Table};
use super::visitor::Visitor;
use crate::clock::Timestamp;
use crate::pages::links;
use crate::projects::Project;
use crate::rights::Right;

/// How long the name of a job may be that is noted.
const LONGEST_NAME: usize = 1_000;

pub(super) fn routes(table: Table) -> Table {
    let write = Needs::Project(Right::Write);
    table
        .post("/api/v1/projects/{project}/cache/drop", write, drop_cache)
        .post("/api/v1/projects/{project}/cache/allow", write, allow)
        .post("/projects/{project}/cache/drop", write, drop_form)
        .post("/projects/{project}/cache/allow", write, allow_form)
}

/// Whose caches.
#[derive(Deserialize)]
struct Asked {
    job: String,
    /// On every jobset, if absent.
    jobset: Option<JobsetName>,
}

/// Where on a page somebody pressed a button.
#[derive(Deserialize)]
struct Pressed {
    job: String,
    /// The page's jobset.
    jobset: JobsetName,
    #[serde(default)]
    from: From,
}

/// Where caches are dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum From {
    /// On the page's jobset.
    #[default]
    Jobset,
    /// On all.
    All,
}

/// Takes a job's name as whoever asks wrote it.
fn named(text: &str) -> Result<JobName, Refused> {
    // PostgreSQL keeps no NUL, and no job is called so.
    let is_name = !text.is_empty() && text.len() <= LONGEST_NAME && !text.contains('\0');
    if is_name { Ok(JobName::from(text)) } else { Err(Refused::Nothing) }
}

async fn dropped(
    app: &App,
    visitor: &Visitor,
    project: &Project,
    jobset: Option<JobsetName>,
    job: &str,
) -> Result<usize, Refused> {
    let writer = app.database.mark_writer().ok_or(Refused::ReadOnly)?;
    let job = named(job)?;
    let (name, place) = (job.to_string(), jobset.as_ref().map(ToString::to_string));
    let dropped = writer.drop_caches(&project.url, jobset, job, Timestamp::now());
    let forgotten = dropped.await?;
    let by = visitor.approver().name;
    tracing::info!(project = project.name, job = name, jobset = place, forgotten, by, "dropped");
    Ok(forgotten)
}

async fn drop_cache(
    State(app): State<App>,
    visitor: Visitor,
    OfProject(project): OfProject,
    Json(Asked { job, jobset }): Json<Asked>,
) -> Result<Response, Refused> {
    let forgotten = dropped(&app, &visitor, &project, jobset, &job).await?;
    Ok(Json(json!({ "forgotten": forgotten })).into_response())
}

async fn drop_form(
    State(app): State<App>,
    visitor: Visitor,
    OfProject(project): OfProject,
    Form(Pressed { job, jobset, from }): Form<Pressed>,
) -> Result<Response, Refused> {
    let place = match from {
        From::Jobset => Some(jobset.clone()),
        From::All => None,
    };
    dropped(&app, &visitor, &project, place, &job).await?;
    Ok(to(&links::caches(&project.name, &jobset)))
}

async fn allowed(
    app: &App,
    visitor: &Visitor,
    project: &Project,
    job: &str,
) -> Result<bool, Refused> {
    let writer = app.database.mark_writer().ok_or(Refused::ReadOnly)?;
    let job = named(job)?;
    let name = job.to_string();
    let was_off = writer.allow_caches(&project.url, job).await?;
    let by = visitor.approver().name;
    tracing::info!(project = project.name, job = name, was_off, by, "may use caches");
    Ok(was_off)
}

/// Which job may use caches.
#[derive(Deserialize)]
struct AskedJob {
    job: String,
}

async fn allow(
    State(app): State<App>,
    visitor: Visitor,
    OfProject(project): OfProject,
    Json(AskedJob { job }): Json<AskedJob>,
) -> Result<Response, Refused> {
    let was_off = allowed(&app, &visitor, &project, &job).await?;
    Ok(Json(json!({ "wasOff": was_off })).into_response())
}

async fn allow_form(
    State(app): State<App>,
    visitor: Visitor,
    OfProject(project): OfProject,
    Form(Pressed { job, jobset, .. }): Form<Pressed>,
) -> Result<Response, Refused> {
    allowed(&app, &visitor, &project, &job).await?;
    Ok(to(&links::caches(&project.name, &jobset)))
}
