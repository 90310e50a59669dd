//! `GET /projects/NAME/runs.atom` and `badge.svg`: how a project fares, for readers of feeds and for its front page.

use axum::extract::State;
use axum::http::HeaderName;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use levain_evaluator::JobsetName;
use serde::Serialize;

use super::rows::RunRow;
use crate::clock::Timestamp;
use crate::http::App;
use crate::http::table::{Needs, OfProject, Refused, Table};
use crate::pages::marks::{self, Mark};
use crate::pages::moment::iso;
use crate::pages::renderer::View;
use crate::pages::{links, run_url};
use crate::rights::Right;
use crate::runs::Run;
use crate::runs::state::RunState;

/// How many runs a feed has.
const ENTRIES: u32 = 30;
/// How many runs are looked through for one with a verdict.
const LOOKED_THROUGH: u32 = 20;

pub(super) fn routes(table: Table) -> Table {
    let needs = Needs::Project(Right::Read);
    table.get("/projects/{project}/runs.atom", needs, feed).get(
        "/projects/{project}/badge.svg",
        needs,
        badge,
    )
}

#[derive(Serialize)]
struct Entry {
    url: String,
    title: String,
    updated: String,
    summary: Option<String>,
}

#[derive(Serialize)]
struct Feed {
    /// The address of the project's page.
    url: String,
    /// The address of the feed.
    own: String,
    updated: String,
    entries: Vec<Entry>,
}

async fn feed(State(app): State<App>, OfProject(project): OfProject) -> Result<Response, Refused> {
    let runs = app.database.runs(project.id, ENTRIES).await?;
    let now = Timestamp::now();
    let changed = |run: &Run| run.ended_at.or(run.started_at).unwrap_or(run.created_at);
    let entries = runs.iter().map(|run| {
        let row = RunRow::new(&project.name, run, now);
        Entry {
            url: run_url(&app.public_url, row.id),
            title: format!("{} {}: #{} {}", project.name, row.jobset.text, row.id, row.mark.word),
            updated: iso(changed(run)),
            summary: row.summary,
        }
    });
    let newest = runs.iter().map(changed).max().unwrap_or(Timestamp::from_millis(0));
    let path = links::project(&project.name);
    let view = View {
        title: format!("Runs of {}", project.name),
        path: format!("{path}/runs.atom"),
        json: format!("{path}.json"),
        section: "projects",
        live: None,
        page: Feed {
            url: format!("{}{path}", app.public_url),
            own: format!("{}{path}/runs.atom", app.public_url),
            updated: iso(newest),
            entries: entries.collect(),
        },
    };
    let text = app.renderer.page("atom", &view)?;
    Ok(([(CONTENT_TYPE, "application/atom+xml; charset=utf-8")], text).into_response())
}

#[derive(Serialize)]
struct Badge {
    word: &'static str,
    colour: &'static str,
    /// In pixels.
    width: usize,
    whole: usize,
    middle: usize,
}

/// How wide a character of a badge is, about, and the word before the state.
const CHARACTER: usize = 7;
const LABEL: usize = 48;

async fn badge(State(app): State<App>, OfProject(project): OfProject) -> Result<Response, Refused> {
    let runs = match &project.default_branch {
        Some(name) => {
            let jobset = JobsetName::branch(name);
            app.database.runs_of_jobset(project.id, &jobset, None, LOOKED_THROUGH).await?
        }
        None => Vec::new(),
    };
    let has_verdict = |run: &&Run| {
        matches!(run.state, RunState::Succeeded | RunState::Failed | RunState::Errored)
    };
    let newest = runs.iter().find(has_verdict);
    let mark =
        newest.map_or(Mark { class: "off", word: "unknown" }, |run| marks::of_run(run.state));
    let colour = match mark.class {
        "good" => "#17703a",
        "bad" => "#b3261e",
        "error" => "#8a5300",
        _ => "#59606b",
    };
    let width = mark.word.len() * CHARACTER + 12;
    let view = View {
        title: project.name.clone(),
        path: String::new(),
        json: String::new(),
        section: "",
        live: None,
        page: Badge {
            word: mark.word,
            colour,
            width,
            whole: LABEL + width,
            middle: LABEL + width / 2,
        },
    };
    let text = app.renderer.page("badge", &view)?;
    // Pages of others show it, if everybody may see it.
    let (kept, shown_by) = match project.is_public {
        true => ("no-cache", "cross-origin"),
        false => ("no-store", "same-origin"),
    };
    let headers = [
        (CONTENT_TYPE, "image/svg+xml"),
        (CACHE_CONTROL, kept),
        (HeaderName::from_static("cross-origin-resource-policy"), shown_by),
    ];
    Ok((headers, text).into_response())
}
