//! `GET /projects/NAME/heads/BRANCH` and `GET /projects/NAME/tags/TAG`: the runs of a branch or tag.

use axum::extract::{Path, Query, State};
use axum::response::Response;
use levain_evaluator::JobsetName;
use serde::{Deserialize, Serialize};

use super::format::{answer, asked, twin};
use super::live::{Topic, live};
use super::rows::{Link, RunRow};
use crate::clock::Timestamp;
use crate::http::App;
use crate::http::table::{Needs, OfProject, Refused, Table};
use crate::pages::links;
use crate::pages::renderer::View;
use crate::projects::Project;
use crate::rights::Right;
use crate::runs::RunId;

/// How many runs are listed.
const RUNS: u32 = 50;

pub(super) fn routes(table: Table) -> Table {
    table.get("/projects/{project}/heads/{*branch}", Needs::Project(Right::Read), branch).get(
        "/projects/{project}/tags/{*tag}",
        Needs::Project(Right::Read),
        tag,
    )
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    /// The run before which runs are listed.
    before: Option<i64>,
}

#[derive(Serialize)]
struct JobsetPage {
    project: Link,
    name: String,
    runs: Vec<RunRow>,
    older: Option<String>,
}

async fn branch(
    State(app): State<App>,
    OfProject(project): OfProject,
    Path((_, last)): Path<(String, String)>,
    Query(asked_for): Query<Asked>,
) -> Result<Response, Refused> {
    jobset(app, project, &last, asked_for, JobsetName::branch).await
}

async fn tag(
    State(app): State<App>,
    OfProject(project): OfProject,
    Path((_, last)): Path<(String, String)>,
    Query(asked_for): Query<Asked>,
) -> Result<Response, Refused> {
    jobset(app, project, &last, asked_for, JobsetName::tag).await
}

async fn jobset(
    app: App,
    project: Project,
    last: &str,
    asked_for: Asked,
    named: fn(&str) -> JobsetName,
) -> Result<Response, Refused> {
    let before = asked_for.before.map(RunId::from_number);
    for (format, name) in asked(last) {
        let jobset = named(name);
        let runs = app.database.runs_of_jobset(project.id, &jobset, before, RUNS).await?;
        if runs.is_empty() && before.is_none() {
            continue;
        }
        let path = links::jobset(&project.name, &jobset);
        let is_full = runs.len() == RUNS as usize;
        let oldest = runs.last().filter(|_| is_full).map(|run| run.id.number());
        let now = Timestamp::now();
        let view = View {
            title: format!("{name} · {}", project.name),
            json: twin(&path),
            section: "projects",
            live: Some(
                live(&app, Topic::Project(project.id), &links::project(&project.name)).await?,
            ),
            page: JobsetPage {
                project: Link::new(&project.name, links::project(&project.name)),
                name: name.to_owned(),
                runs: runs.iter().map(|run| RunRow::new(&project.name, run, now)).collect(),
                older: oldest.map(|oldest| format!("{path}?before={oldest}")),
            },
            path,
        };
        return answer(&app, format, "jobset", view).await;
    }
    Err(Refused::Nothing)
}
