//! `GET /projects/NAME`: the default branch, pull requests and branches with their newest runs, and the last runs of all.

use axum::extract::State;
use axum::response::Response;
use levain_evaluator::names::Named;
use serde::Serialize;

use super::format::{Format, answer, twin};
use super::live::{Topic, live};
use super::rows::{Link, RunRow};
use crate::clock::Timestamp;
use crate::http::App;
use crate::http::table::{Needs, OfProject, Refused, Table};
use crate::pages::links;
use crate::pages::moment::Moment;
use crate::pages::renderer::View;
use crate::rights::Right;
use crate::runs::HeadRun;

/// How many runs are listed.
const RUNS: u32 = 30;
/// How many branches, and how many pull requests, are listed.
const MOST_HEADS: usize = 60;

pub(super) fn routes(table: Table) -> Table {
    table.get("/projects/{project}", Needs::Project(Right::Read), project)
}

/// A branch or pull request.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HeadRow {
    name: Link,
    commit: String,
    short_commit: String,
    run: Option<RunRow>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProjectPage {
    name: String,
    href: String,
    forge: &'static str,
    /// Without a password.
    url: String,
    builds_pull_requests: &'static str,
    looked_at: Option<Moment>,
    look_failed: Option<String>,
    default_branch: Option<HeadRow>,
    pull_requests: Vec<HeadRow>,
    branches: Vec<HeadRow>,
    /// How many branches and pull requests are not listed.
    more_heads: usize,
    runs: Vec<RunRow>,
}

async fn project(
    State(app): State<App>,
    OfProject(project): OfProject,
    format: Format,
) -> Result<Response, Refused> {
    let now = Timestamp::now();
    let heads = app.database.heads_with_runs(project.id).await?;
    let runs = app.database.runs(project.id, RUNS).await?;
    let row = |head: &HeadRun| {
        let commit = head.commit.to_string();
        let text = match head.jobset.named() {
            Named::Branch(name) => name.to_owned(),
            Named::PullRequest(number) => format!("#{number}"),
        };
        HeadRow {
            name: Link::new(text, links::jobset(&project.name, &head.jobset)),
            short_commit: commit.chars().take(12).collect(),
            commit,
            run: head.run.as_ref().map(|run| RunRow::new(&project.name, run, now)),
        }
    };
    let is_default = |head: &&HeadRun| match head.jobset.named() {
        Named::Branch(name) => project.default_branch.as_deref() == Some(name),
        Named::PullRequest(_) => false,
    };
    let is_pull_request = |head: &&HeadRun| matches!(head.jobset.named(), Named::PullRequest(_));
    let mut pull_requests: Vec<&HeadRun> = heads.iter().filter(is_pull_request).collect();
    // The newest first: numbers go up.
    pull_requests.sort_by_key(|head| match head.jobset.named() {
        Named::PullRequest(number) => std::cmp::Reverse(number),
        Named::Branch(_) => std::cmp::Reverse(0),
    });
    let branches: Vec<&HeadRun> =
        heads.iter().filter(|head| !is_pull_request(head) && !is_default(head)).collect();
    let more_heads =
        pull_requests.len().saturating_sub(MOST_HEADS) + branches.len().saturating_sub(MOST_HEADS);
    let path = links::project(&project.name);
    let view = View {
        title: project.name.clone(),
        json: twin(&path),
        section: "projects",
        live: Some(live(&app, Topic::Project(project.id), &path).await?),
        page: ProjectPage {
            href: path.clone(),
            forge: project.sender.name(),
            url: levain_actions::git::masked(&project.url),
            builds_pull_requests: project.pull_requests.name(),
            looked_at: project.looked_at.map(|time| Moment::new(time, now)),
            look_failed: project.look_failed.clone(),
            default_branch: heads.iter().find(is_default).map(row),
            pull_requests: pull_requests.into_iter().take(MOST_HEADS).map(row).collect(),
            branches: branches.into_iter().take(MOST_HEADS).map(row).collect(),
            more_heads,
            runs: runs.iter().map(|run| RunRow::new(&project.name, run, now)).collect(),
            name: project.name.clone(),
        },
        path,
    };
    answer(&app, format, "project", &view)
}
