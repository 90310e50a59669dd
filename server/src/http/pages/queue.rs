//! `GET /queue`: what is carried out, and what waits and why.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::format::{Format, answer};
use super::live::{Topic, live};
use super::rows::{Link, RunRow};
use crate::clock::Timestamp;
use crate::database::DatabaseError;
use crate::http::App;
use crate::http::table::{Needs, Refused, Table};
use crate::http::visitor::Visitor;
use crate::pages::links;
use crate::pages::moment::duration;
use crate::pages::renderer::View;
use crate::projects::Project;
use crate::runs::Run;
use crate::runs::state::RunState;

/// How many waiting runs are listed.
const LISTED: usize = 100;
/// How many are looked through for those that the visitor may see.
const LOOKED_THROUGH: u32 = 1_000;
/// How many earlier runs tell how long one takes.
const EARLIER: u32 = 12;

pub(super) fn routes(table: Table) -> Table {
    table.get("/queue", Needs::Visitor, queue).get("/queue.json", Needs::Visitor, queue)
}

/// A run that is carried out.
#[derive(Serialize)]
struct Running {
    run: RunRow,
    /// How long such runs took.
    usual: Option<String>,
}

/// A run that waits.
#[derive(Serialize)]
struct Waiting {
    run: RunRow,
    /// What it waits for: `jobset`, `slot` or `approval`.
    kind: &'static str,
    why: String,
    blocker: Option<Link>,
}

#[derive(Serialize)]
struct QueuePage {
    running: Vec<Running>,
    waiting: Vec<Waiting>,
    more: usize,
}

async fn queue(
    State(app): State<App>,
    visitor: Visitor,
    format: Format,
) -> Result<Response, Refused> {
    let now = Timestamp::now();
    let projects = app.readable(&visitor).await?;
    let find = |run: &Run| projects.iter().find(|project| project.id == run.project);
    let all = app.database.running().await?;
    let mut running = Vec::new();
    for (run, project) in all.iter().filter_map(|run| Some((run, find(run)?))) {
        let usual = usual(&durations(&app, run).await?);
        running.push(Running { run: RunRow::new(&project.name, run, now), usual });
    }
    let mut queued = app.database.queued(LOOKED_THROUGH).await?;
    queued.extend(app.database.unapproved(LOOKED_THROUGH).await?);
    let mut waiting: Vec<Waiting> = queued
        .iter()
        .filter_map(|run| Some((run, find(run)?)))
        .map(|(run, project)| waits(run, project, &all, now))
        .collect();
    let more = waiting.len().saturating_sub(LISTED);
    waiting.truncate(LISTED);
    let view = View {
        title: "Queue".to_owned(),
        path: "/queue".to_owned(),
        json: "/queue.json".to_owned(),
        section: "queue",
        live: Some(live(&app, Topic::of(&projects), "").await?),
        page: QueuePage { running, waiting, more },
    };
    answer(&app, format, "queue", view).await
}

/// Says what a run waits for.
fn waits(run: &Run, project: &Project, running: &[Run], now: Timestamp) -> Waiting {
    let is_blocker = |other: &&Run| other.project == run.project && other.jobset == run.jobset;
    let blocker = running.iter().find(is_blocker);
    let (kind, why, blocker) = match (run.state, blocker) {
        (RunState::Unapproved, _) => {
            ("approval", format!("somebody has to approve {}", run.commit), None)
        }
        (_, Some(other)) => {
            let id = other.id.number();
            let link = Link::new(format!("#{id}"), links::run(id));
            ("jobset", format!("runs of {} do not overlap", run.jobset), Some(link))
        }
        (_, None) => ("slot", "all workers are at work".to_owned(), None),
    };
    Waiting { run: RunRow::new(&project.name, run, now), kind, why, blocker }
}

/// Returns how long earlier runs of the same branch or pull request took that had a verdict, in seconds.
async fn durations(app: &App, run: &Run) -> Result<Vec<f64>, DatabaseError> {
    let before =
        app.database.runs_of_jobset(run.project, &run.jobset, Some(run.id), EARLIER).await?;
    let took = before.into_iter().filter(|run| {
        matches!(run.state, RunState::Succeeded | RunState::Failed | RunState::Errored)
    });
    let took = took.filter_map(|run| {
        let millis = run.ended_at?.millis().saturating_sub(run.started_at?.millis());
        Some(std::time::Duration::from_millis(u64::try_from(millis).ok()?).as_secs_f64())
    });
    Ok(took.collect())
}

/// Says how long runs took: from when to when the middle half of them, so that one that was odd does not count.
fn usual(durations: &[f64]) -> Option<String> {
    let mut sorted = durations.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = match sorted.len() {
        0..3 => return None,
        many => (sorted[many / 4], sorted[many - 1 - many / 4]),
    };
    let (low, high) = (duration(low), duration(high));
    Some(if low == high { low } else { format!("{low} to {high}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_time_is_that_of_the_middle_half() {
        assert_eq!(usual(&[60.0, 70.0]), None);
        assert_eq!(usual(&[60.0, 60.0, 60.0]).unwrap(), "1 min 0 s");
        assert_eq!(usual(&[1.0, 100.0, 70.0, 80.0, 9_000.0]).unwrap(), "1 min 10 s to 1 min 40 s");
    }
}
