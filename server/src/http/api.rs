//! `GET /api/v1/…`: projects, runs and the queue as JSON.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

use super::App;
use super::forecast::Forecast;
use super::table::{Needs, OfProject, OfRun, Refused, Table};
use super::visitor::Visitor;
use serde::Serialize;
use serde_json::json;

use crate::clock::Timestamp;
use crate::pages::eta::ShownEstimate;
use crate::pages::slots::Slots;
use crate::rights::Right;
use crate::runs::Run;
use crate::shown;

/// How many runs are listed.
const LISTED: u32 = 100;
/// How many are looked through for those that the visitor may see.
const LOOKED_THROUGH: u32 = 1_000;

pub(super) fn routes(table: Table) -> Table {
    table
        .get("/api/v1/visitor", Needs::Visitor, whoever)
        .get("/api/v1/projects", Needs::Visitor, projects)
        .get("/api/v1/projects/{project}/runs", Needs::Project(Right::Read), runs)
        .get("/api/v1/queue", Needs::Visitor, queue)
        .get("/api/v1/runs/{run}", Needs::Run(Right::Read), run)
}

/// Tells whoever asks who they are here.
async fn whoever(visitor: Visitor) -> Response {
    let (kind, name) = match &visitor {
        Visitor::Nobody => ("nobody", None),
        Visitor::Local => ("local", None),
        Visitor::Person(person) if person.is_operator() => ("operator", None),
        Visitor::Person(person) => ("person", Some(person.name())),
        Visitor::Program(token) => ("program", Some(token.name.as_str())),
    };
    Json(json!({ "kind": kind, "name": name })).into_response()
}

async fn projects(State(app): State<App>, visitor: Visitor) -> Result<Response, Refused> {
    let projects = app.readable(&visitor).await?;
    let shown = projects.iter().map(shown::ShownProject::new);
    let shown: Vec<_> = shown.map(shown::ShownProject::without_places).collect();
    Ok(Json(shown).into_response())
}

async fn runs(State(app): State<App>, OfProject(project): OfProject) -> Result<Response, Refused> {
    let runs = app.database.runs(project.id, LISTED).await?;
    let shown = runs.iter().map(|run| shown::ShownRun::new(&project.name, run));
    let shown: Vec<_> = shown.map(|run| run.without_places(&project.url)).collect();
    Ok(Json(shown).into_response())
}

/// A run that is under way or waits.
#[derive(Serialize)]
struct Queued {
    run: shown::ShownRun,
    eta: Option<ShownEstimate>,
}

/// Tells what is under way, and what waits for its turn.
async fn queue(State(app): State<App>, visitor: Visitor) -> Result<Response, Refused> {
    let projects = app.readable(&visitor).await?;
    let running = app.database.running().await?;
    let queued = app.database.queued(LOOKED_THROUGH).await?;
    let forecast = Forecast::of(&app, &running, &queued, Timestamp::now()).await?;
    let shown = |run: &Run| {
        let project = projects.iter().find(|project| project.id == run.project)?;
        let eta = forecast.of_run(run.id).map(ShownEstimate::from);
        let run = shown::ShownRun::new(&project.name, run).without_places(&project.url);
        Some(Queued { run, eta })
    };
    let all = |runs: &[Run]| runs.iter().filter_map(shown).collect::<Vec<_>>();
    let (running, mut waiting) = (all(&running), all(&queued));
    waiting.truncate(LISTED as usize);
    let mut live = app.live.runs();
    live.retain(|id, _| running.iter().any(|shown| shown.run.id == id.number()));
    let slots = Slots::of(&live);
    Ok(Json(json!({ "running": running, "waiting": waiting, "slots": slots })).into_response())
}

async fn run(State(app): State<App>, OfRun(run, project): OfRun) -> Result<Response, Refused> {
    let details = app.database.run_details(run.id).await?.ok_or(Refused::Nothing)?;
    let live = app.live.run(run.id);
    let made = app.aside(move || {
        let shown = shown::ShownRun::new(&project.name, &run).with(details);
        Json(shown::ShownRun { live, ..shown }.without_places(&project.url)).into_response()
    });
    made.await
}
