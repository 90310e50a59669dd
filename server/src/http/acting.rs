//! What somebody who may do so changes: approvals, cancelled runs, runs once more.
//!
//! Each is one function for the interface and for the forms of pages: `/api/v1/…` answers JSON, a form is sent back to
//! the page that it is about.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Form, Json};
use levain_actions::git::CommitId;
use levain_evaluator::JobsetName;
use levain_evaluator::names::Named;
use serde::Deserialize;
use serde_json::json;

use super::App;
use super::table::{Needs, OfProject, OfRun, Refused, Table};
use super::visitor::Visitor;
use crate::approvals::{Approved, NewApproval};
use crate::approve::NotApproved;
use crate::clock::Timestamp;
use crate::pages::links;
use crate::projects::Project;
use crate::rights::Right;
use crate::runs::state::RunState;
use crate::runs::{Run, RunId};

pub(super) fn routes(table: Table) -> Table {
    let write = Needs::Project(Right::Write);
    table
        .post("/api/v1/projects/{project}/pulls/{number}/approve", write, approve)
        .post("/api/v1/runs/{run}/cancel", Needs::RunOrAuthor, cancel)
        .post("/api/v1/runs/{run}/again", Needs::RunOrAuthor, again)
        .post("/projects/{project}/pull/{number}/approve", write, approve_form)
        .post("/runs/{run}/cancel", Needs::RunOrAuthor, cancel_form)
        .post("/runs/{run}/again", Needs::RunOrAuthor, again_form)
        .post("/projects/{project}/confirm", Needs::Operator, confirm_form)
}

/// Which commit.
#[derive(Deserialize)]
struct Asked {
    commit: CommitId,
}

/// The parameters of a path with a pull request.
#[derive(Deserialize)]
struct Pull {
    number: u64,
}

/// Something cannot be done as things are.
fn conflict(text: &str) -> Response {
    (StatusCode::CONFLICT, Json(json!({ "error": text }))).into_response()
}

async fn approved(
    app: &App,
    visitor: &Visitor,
    project: &Project,
    pull_request: u64,
    commit: CommitId,
) -> Result<Result<Approved, NotApproved>, Refused> {
    let approver = visitor.approver();
    let name = approver.name.clone();
    let new =
        NewApproval { project: project.id, pull_request, commit, approver, now: Timestamp::now() };
    let approved = app.database.approve(new).await?;
    if approved.is_ok() {
        tracing::info!(project = project.name, pull_request, %commit, by = name, "approved");
        app.acted.queued.notify_one();
    }
    Ok(approved)
}

async fn approve(
    State(app): State<App>,
    visitor: Visitor,
    OfProject(project): OfProject,
    Path(Pull { number }): Path<Pull>,
    Json(Asked { commit }): Json<Asked>,
) -> Result<Response, Refused> {
    Ok(match approved(&app, &visitor, &project, number, commit).await? {
        Ok(approved) => {
            let runs: Vec<i64> = approved.runs.iter().map(|run| run.number()).collect();
            let expires_at = approved.expires_at.millis();
            Json(json!({ "runs": runs, "expiresAt": expires_at })).into_response()
        }
        Err(refused) => conflict(&refused.to_string()),
    })
}

async fn approve_form(
    State(app): State<App>,
    visitor: Visitor,
    OfProject(project): OfProject,
    Path(Pull { number }): Path<Pull>,
    Form(Asked { commit }): Form<Asked>,
) -> Result<Response, Refused> {
    Ok(match approved(&app, &visitor, &project, number, commit).await? {
        Ok(_) => to(&links::jobset(&project.name, &JobsetName::pull_request(number))),
        Err(refused) => (StatusCode::CONFLICT, format!("{refused}\n")).into_response(),
    })
}

async fn cancelled(app: &App, visitor: &Visitor, run: &Run) -> Result<bool, Refused> {
    let cancelled = app.database.cancel_run(run.id).await?;
    if cancelled {
        let by = visitor.approver().name;
        tracing::info!(run = run.id.number(), by, "cancelled");
        app.acted.changed.send_replace(());
    }
    Ok(cancelled)
}

async fn cancel(
    State(app): State<App>,
    visitor: Visitor,
    OfRun(run, _): OfRun,
) -> Result<Response, Refused> {
    Ok(match cancelled(&app, &visitor, &run).await? {
        true => Json(json!({ "run": run.id.number(), "state": RunState::Cancelled.name() }))
            .into_response(),
        false => conflict(&format!("run {} is over", run.id.number())),
    })
}

async fn cancel_form(
    State(app): State<App>,
    visitor: Visitor,
    OfRun(run, _): OfRun,
) -> Result<Response, Refused> {
    // One that was over already is as well as cancelled.
    cancelled(&app, &visitor, &run).await?;
    Ok(to(&links::run(run.id.number())))
}

/// Queues a run of the jobset's newest commit; returns it with its state.
async fn once_more(app: &App, run: &Run) -> Result<Option<Run>, Refused> {
    let Some(id) = app.database.run_again(run.project, run.jobset.clone()).await? else {
        return Ok(None);
    };
    app.acted.queued.notify_one();
    Ok(app.database.run(id).await?)
}

async fn again(State(app): State<App>, OfRun(run, _): OfRun) -> Result<Response, Refused> {
    Ok(match once_more(&app, &run).await? {
        Some(next) => {
            Json(json!({ "run": next.id.number(), "state": next.state.name() })).into_response()
        }
        None => conflict(&format!("{} is gone", named(&run))),
    })
}

async fn again_form(State(app): State<App>, OfRun(run, _): OfRun) -> Result<Response, Refused> {
    let next: Option<RunId> = once_more(&app, &run).await?.map(|next| next.id);
    Ok(to(&links::run(next.unwrap_or(run.id).number())))
}

/// Which repository.
#[derive(Deserialize)]
struct Confirmed {
    number: u64,
}

/// Makes what has the name of a project's repository the project's.
async fn confirm_form(
    State(app): State<App>,
    visitor: Visitor,
    Path(name): Path<String>,
    Form(Confirmed { number }): Form<Confirmed>,
) -> Result<Response, Refused> {
    let project = app.database.project_named(&name).await?.ok_or(Refused::Nothing)?;
    if !app.database.confirm_repository(project.id, number).await? {
        let why = format!("repository {number} does not have the name of this project's\n");
        return Ok((StatusCode::CONFLICT, why).into_response());
    }
    let by = visitor.approver().name;
    tracing::info!(project = project.name, number, by, "another repository is the project's");
    app.arrived.notify_one();
    app.acted.queued.notify_one();
    Ok(to(&links::project(&project.name)))
}

fn named(run: &Run) -> String {
    match run.jobset.named() {
        Named::Branch(name) => format!("branch `{name}`"),
        Named::PullRequest(number) => format!("pull request {number}"),
        Named::Tag(name) => format!("tag `{name}`"),
    }
}

pub(super) fn to(place: &str) -> Response {
    Redirect::to(place).into_response()
}
