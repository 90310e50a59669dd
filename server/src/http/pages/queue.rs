//! `GET /queue`: what is carried out, and what waits and why.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::format::{Format, answer};
use super::live::{Topic, live};
use super::rows::{Link, RunRow};
use crate::clock::Timestamp;
use crate::http::App;
use crate::http::forecast::Forecast;
use crate::http::table::{Needs, Refused, Table};
use crate::http::visitor::Visitor;
use crate::pages::eta::ShownEstimate;
use crate::pages::links;
use crate::pages::moment::Moment;
use crate::pages::places;
use crate::pages::renderer::View;
use crate::pages::slots::{Building, Slots, WaitingJob, doing};
use crate::projects::Project;
use crate::runs::Run;
use crate::runs::state::RunState;

/// How many waiting runs are listed.
const LISTED: usize = 100;
/// How many are looked through for those that the visitor may see.
const LOOKED_THROUGH: u32 = 1_000;

pub(super) fn routes(table: Table) -> Table {
    table.get("/queue", Needs::Visitor, queue).get("/queue.json", Needs::Visitor, queue)
}

/// A run that is carried out.
#[derive(Serialize)]
struct Running {
    run: RunRow,
    /// What it is doing, if this server carries it out, and since when.
    doing: Option<&'static str>,
    doing_since: Option<Moment>,
    /// How long it still takes, by earlier ones.
    eta: Option<ShownEstimate>,
}

/// A build that takes a slot.
#[derive(Serialize)]
struct BuildRow {
    name: String,
    derivation: String,
    since: Moment,
    heard: Moment,
    runs: Vec<Link>,
    waiting_jobs: usize,
}

/// A job whose build has not begun.
#[derive(Serialize)]
struct JobRow {
    run: Link,
    job: Link,
    kind: &'static str,
    why: String,
}

/// A run that waits.
#[derive(Serialize)]
struct Waiting {
    run: RunRow,
    /// What it waits for: `jobset`, `slot`, `approval`, or the end of an `outage`.
    kind: &'static str,
    why: String,
    blocker: Option<Link>,
    /// How long it is until it is over, by earlier ones.
    eta: Option<ShownEstimate>,
}

#[derive(Serialize)]
struct QueuePage {
    running: Vec<Running>,
    building: Vec<BuildRow>,
    more_building: usize,
    waiting_jobs: Vec<JobRow>,
    more_waiting_jobs: usize,
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
    let mut queued = app.database.queued(LOOKED_THROUGH).await?;
    // What others wait for counts, too.
    let forecast = Forecast::of(&app, &all, &queued, now).await?;
    let eta = |run: &Run| forecast.of_run(run.id).map(ShownEstimate::from);
    let seen = all.iter().filter_map(|run| Some((run, find(run)?)));
    let mut live_runs = app.live.runs();
    live_runs.retain(|id, _| all.iter().any(|run| run.id == *id && find(run).is_some()));
    let running = seen.map(|(run, project)| {
        let live_run = live_runs.get(&run.id);
        let since = live_run.and_then(|live_run| live_run.stage_since);
        Running {
            run: RunRow::new(&project.name, run, now),
            doing: live_run.and_then(|live_run| live_run.stage).map(doing),
            doing_since: since.map(|since| moment(i64::try_from(since).unwrap_or(i64::MAX), now)),
            eta: eta(run),
        }
    });
    let running = running.collect();
    let Slots { building, waiting_jobs, more_building, more_waiting_jobs } = Slots::of(&live_runs);
    let building = building.into_iter().map(|build| build_row(build, now)).collect();
    let waiting_jobs = waiting_jobs.into_iter().map(|job| job_row(job, now)).collect();
    queued.extend(app.database.unapproved(LOOKED_THROUGH).await?);
    let mut waiting: Vec<Waiting> = queued
        .iter()
        .filter_map(|run| Some((run, find(run)?)))
        .map(|(run, project)| Waiting { eta: eta(run), ..waits(run, project, &all, now) })
        .collect();
    let more = waiting.len().saturating_sub(LISTED);
    waiting.truncate(LISTED);
    let view = View {
        title: "Queue".to_owned(),
        path: "/queue".to_owned(),
        json: "/queue.json".to_owned(),
        section: "queue",
        live: Some(live(&app, Topic::of(&projects), "").await?),
        page: QueuePage {
            running,
            building,
            more_building,
            waiting_jobs,
            more_waiting_jobs,
            waiting,
            more,
        },
    };
    answer(&app, format, "queue", view).await
}

fn moment(millis: i64, now: Timestamp) -> Moment {
    Moment::new(Timestamp::from_millis(millis), now)
}

fn run_link(id: i64) -> Link {
    Link::new(format!("#{id}"), links::run(id))
}

fn build_row(build: Building, now: Timestamp) -> BuildRow {
    BuildRow {
        since: moment(build.since, now),
        heard: moment(build.heard_at, now),
        runs: build.runs.into_iter().map(run_link).collect(),
        name: build.name,
        derivation: build.derivation,
        waiting_jobs: build.waiting_jobs,
    }
}

fn job_row(job: WaitingJob, now: Timestamp) -> JobRow {
    JobRow {
        run: run_link(job.run),
        job: Link::new(job.job.as_str(), links::job(job.run, &job.job)),
        kind: job.kind,
        why: job.why(now),
    }
}

/// Says what a run waits for.
fn waits(run: &Run, project: &Project, running: &[Run], now: Timestamp) -> Waiting {
    let is_blocker = |other: &&Run| other.project == run.project && other.jobset == run.jobset;
    let blocker = running.iter().find(is_blocker);
    let (kind, why, blocker) = match (run.state, blocker) {
        (RunState::Unapproved, _) => {
            ("approval", format!("somebody has to approve {}", run.commit), None)
        }
        (_, _) if run.put_off_until.is_some() => {
            ("outage", places::some(run.line().as_ref()).unwrap_or_default(), None)
        }
        (_, Some(other)) => {
            let id = other.id.number();
            let link = Link::new(format!("#{id}"), links::run(id));
            ("jobset", format!("runs of {} do not overlap", run.jobset), Some(link))
        }
        (_, None) => ("slot", "all workers are at work".to_owned(), None),
    };
    let run = RunRow::new(&project.name, run, now);
    Waiting { run, kind, why, blocker, eta: None }
}
