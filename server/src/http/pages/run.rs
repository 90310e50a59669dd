//! `GET /runs/ID`: how a run ended, where its time went, what fails and how to repeat it, and the rest.

use axum::extract::{Query, State};
use axum::response::Response;
use levain_evaluator::JobsetName;
use serde::{Deserialize, Serialize};

use super::format::{Format, answer, twin};
use super::jobs::{Failure, JobRow};
use super::live::{Topic, live};
use super::rows::{Link, RunRow};
use crate::clock::Timestamp;
use crate::http::App;
use crate::http::permissions::Permissions;
use crate::http::table::{Needs, OfRun, Refused, Table};
use crate::http::visitor::Visitor;
use crate::pages::kept_report::{Evaluation, JobStatus, KeptReport, Lie, Seconds, Undelivered};
use crate::pages::marks::{self, Mark};
use crate::pages::moment::{self, Moment};
use crate::pages::renderer::View;
use crate::pages::{ansi, links, places};
use crate::projects::Project;
use crate::rights::Right;
use crate::runs::{Details, Run, RunId};

/// How many failures are shown with the end of their logs.
const FAILURES: usize = 8;
/// How many jobs of a kind are listed without being asked for.
const LISTED: usize = 20;
/// How many are listed at all.
const MOST_LISTED: usize = 10_000;
/// How many notices are shown.
const NOTICES: usize = 50;

pub(super) fn routes(table: Table) -> Table {
    table.get("/runs/{run}", Needs::Run(Right::Read), run)
}

#[derive(Debug, Default, Deserialize)]
struct Asked {
    /// Whether all jobs are to be listed.
    all: Option<String>,
}

/// A part of the time that a run took.
#[derive(Serialize)]
struct Stage {
    class: &'static str,
    name: &'static str,
    took: String,
    seconds: f64,
    /// Where its bar begins and how long it is, in thousandths.
    from: u32,
    width: u32,
}

/// The jobs that ended alike.
#[derive(Serialize)]
struct Group {
    mark: Mark,
    count: usize,
    jobs: Vec<JobRow>,
    /// How many are not listed.
    more: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RunPage {
    run: RunRow,
    /// What it is merged with to be built.
    base: Option<BaseRow>,
    created: Moment,
    started: Option<Moment>,
    ended: Option<Moment>,
    mode: Option<String>,
    counts: Vec<Count>,
    timeline: Vec<Stage>,
    total: Option<String>,
    failures: Vec<Failure>,
    more_failures: Vec<JobRow>,
    groups: Vec<Group>,
    lies: Vec<Lie>,
    undelivered: Vec<Undelivered>,
    withheld: Vec<String>,
    notices: Vec<String>,
    evaluations: Vec<Evaluation>,
    has_report: bool,
    /// Whether whoever looks may stop it or have it repeated.
    may_act: bool,
    all: Option<String>,
    previous: Option<Link>,
}

/// What a pull request is merged with.
#[derive(Serialize)]
struct BaseRow {
    branch: Link,
    /// Nothing before it was begun.
    commit: Option<String>,
}

/// How many jobs ended in a way.
#[derive(Serialize)]
struct Count {
    mark: Mark,
    count: usize,
}

/// Reads what is kept of a run besides itself.
pub(super) async fn details(
    app: &App,
    id: RunId,
    project: &Project,
) -> Result<(Option<KeptReport>, Vec<String>), Refused> {
    let Details { report, notices } =
        app.database.run_details(id).await?.ok_or(Refused::Nothing)?;
    let (live, address) = (app.live.run(id), project.url.clone());
    app.aside(move || {
        let kept = report.as_deref().and_then(KeptReport::read);
        let report = kept.or_else(|| live.as_ref().map(KeptReport::of_live));
        let notices = notices.iter().map(|notice| places::text(notice)).collect();
        (report.map(|report| report.without_places(&address)), notices)
    })
    .await
}

async fn run(
    State(app): State<App>,
    OfRun(run, project): OfRun,
    visitor: Visitor,
    format: Format,
    Query(asked): Query<Asked>,
) -> Result<Response, Refused> {
    let id = run.id.number();
    let (report, notices) = details(&app, run.id, &project).await?;
    let before =
        app.database.runs_of_jobset(run.project, &run.jobset, Some(run.id), 1).await?.pop();
    let path = links::run(id);
    let row = RunRow::new(&project.name, &run, Timestamp::now());
    let listed = if asked.all.is_some() { MOST_LISTED } else { LISTED };
    let rest = {
        let (project, run) = (project.clone(), run.clone());
        app.aside(move || page(&project, &run, report, notices, listed)).await?
    };
    let page = RunPage {
        may_act: app.rights.of(&visitor, Some(&project)).await >= Right::Write
            || Permissions::is_author(&visitor, &project, run.author),
        previous: before
            .map(|run| Link::new(format!("#{}", run.id.number()), links::run(run.id.number()))),
        ..rest
    };
    let view = View {
        title: format!("{} {} · {} · {}", row.id, row.mark.word, row.jobset.text, project.name),
        json: twin(&path),
        section: "projects",
        live: match run.state.is_end() {
            true => None,
            false => Some(live(&app, Topic::Run(run.id), &path).await?),
        },
        page,
        path,
    };
    answer(&app, format, "run", view).await
}

fn page(
    project: &Project,
    run: &Run,
    report: Option<KeptReport>,
    mut notices: Vec<String>,
    listed: usize,
) -> RunPage {
    let now = Timestamp::now();
    notices.truncate(NOTICES);
    let notices = notices.iter().map(|notice| ansi::plain(notice)).collect();
    let has_report = report.is_some();
    let report = report.unwrap_or_default();
    let number = run.id.number();
    let (mut failures, mut more_failures, mut groups, mut counts) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut all = None;
    for status in JobStatus::ALL {
        let mut jobs = report.jobs.iter().filter(|job| job.status == status);
        let count = jobs.clone().count();
        if count == 0 {
            continue;
        }
        let mark = marks::of_job(status);
        counts.push(Count { mark, count });
        if status.is_bad() {
            let room = FAILURES.saturating_sub(failures.len());
            failures.extend(
                jobs.by_ref().take(room).map(|job| Failure::new(&project.url, run, &report, job)),
            );
            more_failures.extend(jobs.take(listed).map(|job| JobRow::new(number, job)));
            continue;
        }
        let more = count.saturating_sub(listed);
        if more > 0 {
            all = Some(format!("{}?all", links::run(number)));
        }
        let jobs = jobs.take(listed).map(|job| JobRow::new(number, job)).collect();
        groups.push(Group { mark, count, jobs, more });
    }
    RunPage {
        run: RunRow::new(&project.name, run, now),
        base: run.base.as_ref().map(|branch| BaseRow {
            branch: Link::new(branch, links::jobset(&project.name, &JobsetName::branch(branch))),
            commit: run.base_commit.map(|commit| commit.to_string()),
        }),
        created: Moment::new(run.created_at, now),
        started: run.started_at.map(|time| Moment::new(time, now)),
        ended: run.ended_at.map(|time| Moment::new(time, now)),
        mode: (!report.mode.is_empty()).then(|| report.mode.clone()),
        counts,
        timeline: timeline(&report.seconds),
        total: has_report.then(|| moment::duration(report.seconds.total)),
        failures,
        more_failures,
        groups,
        lies: report.lies,
        undelivered: report.undelivered,
        withheld: report.withheld,
        notices,
        evaluations: report.evaluations,
        has_report,
        may_act: false,
        all,
        previous: None,
    }
}

/// Lays out the parts of a run's time one behind the other.
fn timeline(seconds: &Seconds) -> Vec<Stage> {
    let parts = [
        ("t1", "git", seconds.git),
        ("t2", "evaluate", seconds.evaluate_base),
        ("t3", "evaluate shadow", seconds.evaluate_shadow),
        ("t4", "plan", seconds.plan),
        ("t5", "build", seconds.build),
        ("t6", "keep results", seconds.post_build),
        ("t7", "statuses", seconds.statuses),
    ];
    let is_part = |seconds: f64| seconds.is_finite() && seconds > 0.0;
    let sum: f64 = parts.iter().map(|part| part.2).filter(|part| is_part(*part)).sum();
    let mut before = 0.0;
    let mut stages = Vec::new();
    for (class, name, seconds) in parts.into_iter().filter(|part| is_part(part.2)) {
        let place = |seconds: f64| (seconds / sum * 1_000.0).round() as u32;
        let from = place(before);
        before += seconds;
        let width = (place(before) - from).max(2);
        stages.push(Stage { class, name, took: moment::duration(seconds), seconds, from, width });
    }
    stages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_follow_each_other_and_fill_the_line() {
        let seconds =
            Seconds { git: 1.0, build: 8.0, post_build: 1.0, plan: 0.000_1, ..Seconds::default() };
        let stages = timeline(&seconds);
        let bars: Vec<_> =
            stages.iter().map(|stage| (stage.name, stage.from, stage.width)).collect();
        assert_eq!(
            bars,
            [("git", 0, 100), ("plan", 100, 2), ("build", 100, 800), ("keep results", 900, 100)]
        );
        assert!(timeline(&Seconds::default()).is_empty());
        assert!(
            timeline(&Seconds { git: f64::NAN, build: f64::INFINITY, ..Seconds::default() })
                .is_empty()
        );
    }
}
