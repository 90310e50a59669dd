//! `GET /projects/NAME/pull/NUMBER`: whether it may be merged, and what it changes about the jobs of its base.

use axum::extract::{Path, State};
use axum::response::Response;
use levain_evaluator::JobsetName;
use serde::Serialize;

use super::format::{answer, asked, twin};
use super::jobs::{Failure, JobRow};
use super::live::{Topic, live};
use super::rows::{Link, RunRow};
use crate::clock::Timestamp;
use crate::http::App;
use crate::http::table::{Needs, OfProject, Refused, Table};
use crate::http::visitor::Visitor;
use crate::pages::comparison::{Answer, Comparison, MayMerge, compare, may_merge};
use crate::pages::kept_report::KeptReport;
use crate::pages::links;
use crate::pages::marks::Mark;
use crate::pages::renderer::View;
use crate::projects::Project;
use crate::rights::Right;
use crate::runs::Run;
use crate::runs::state::RunState;

/// How many runs are listed.
const RUNS: u32 = 20;
/// How many newly failing jobs are shown with the end of their logs.
const FAILURES: usize = 8;
/// How many jobs of a kind are listed.
const LISTED: usize = 30;

pub(super) fn routes(table: Table) -> Table {
    table.get("/projects/{project}/pull/{number}", Needs::Project(Right::Read), pull_request)
}

/// Jobs that changed alike.
#[derive(Serialize)]
struct Changed {
    mark: Mark,
    what: &'static str,
    count: usize,
    jobs: Vec<JobRow>,
    more: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PullRequestPage {
    project: Link,
    number: u64,
    may_merge: MayMerge,
    mark: Mark,
    run: Option<RunRow>,
    /// The run that is compared, if it is not the newest.
    compared: Option<Link>,
    base: Option<RunRow>,
    /// The commit that somebody has to approve first.
    unapproved: Option<String>,
    /// Whether whoever looks may approve it.
    may_approve: bool,
    failures: Vec<Failure>,
    changes: Vec<Changed>,
    unchanged: usize,
    runs: Vec<RunRow>,
}

async fn pull_request(
    State(app): State<App>,
    OfProject(project): OfProject,
    visitor: Visitor,
    Path((_, last)): Path<(String, String)>,
) -> Result<Response, Refused> {
    let read = |text: &str| text.parse::<u64>().ok().filter(|number| number.to_string() == text);
    let mut named = asked(&last).filter_map(|(format, text)| Some((format, read(text)?)));
    let (format, number) = named.next().ok_or(Refused::Nothing)?;
    let jobset = JobsetName::pull_request(number);
    let runs = app.database.runs_of_jobset(project.id, &jobset, None, RUNS).await?;
    let newest = runs.first().ok_or(Refused::Nothing)?.clone();
    let reported = read_newest(&app, &project, &jobset).await?;
    // What it is to be merged into, as far as that is known.
    let base_name = newest.base.clone().or_else(|| project.default_branch.clone());
    let base = match &base_name {
        Some(name) => read_newest(&app, &project, &JobsetName::branch(name)).await?,
        None => None,
    };
    let path = links::jobset(&project.name, &jobset);
    let of = project.clone();
    let rest = app
        .aside(move || page(&of, number, &newest, &runs, reported, base_name.as_ref().zip(base)))
        .await?;
    let view = View {
        title: format!("Pull request {number} · {}", project.name),
        json: twin(&path),
        section: "projects",
        live: Some(live(&app, Topic::Project(project.id), &links::project(&project.name)).await?),
        page: PullRequestPage {
            may_approve: app.rights.of(&visitor, Some(&project)).await >= Right::Write,
            ..rest
        },
        path,
    };
    answer(&app, format, "pull_request", view).await
}

async fn read_newest(
    app: &App,
    project: &Project,
    jobset: &JobsetName,
) -> Result<Option<(Run, KeptReport)>, Refused> {
    let newest = app.database.newest_report(project.id, jobset).await?;
    let address = project.url.clone();
    let read = move |(run, text): (Run, String)| {
        Some((run, KeptReport::read(&text)?.without_places(&address)))
    };
    app.aside(move || newest.and_then(read)).await
}

fn page(
    project: &Project,
    number: u64,
    newest: &Run,
    runs: &[Run],
    reported: Option<(Run, KeptReport)>,
    base: Option<(&String, (Run, KeptReport))>,
) -> PullRequestPage {
    let now = Timestamp::now();
    let row = |run: &Run| RunRow::new(&project.name, run, now);
    let nothing = KeptReport::default();
    let (base_name, base) = base.unzip();
    let base_report = base.as_ref().map_or(&nothing, |(_, report)| report);
    let found = reported.as_ref().map(|(_, report)| compare(base_report, report));
    let is_newest = reported.as_ref().is_some_and(|(run, _)| run.id == newest.id);
    let jobs = reported.as_ref().map_or(0, |(_, report)| report.jobs.len());
    let merge = may_merge(
        Some(newest.state),
        found.as_ref().filter(|_| is_newest),
        base_name.map(String::as_str),
        jobs,
    );
    let mark = match merge.answer {
        Answer::Yes => Mark { class: "good", word: "Yes" },
        Answer::No => Mark { class: "bad", word: "No" },
        Answer::NotYet if newest.state == RunState::Unapproved => {
            Mark { class: "ask", word: "Not yet" }
        }
        Answer::NotYet => Mark { class: "busy", word: "Not yet" },
        Answer::Unknown => Mark { class: "error", word: "Nobody knows" },
    };
    let mut page = PullRequestPage {
        project: Link::new(&project.name, links::project(&project.name)),
        number,
        may_merge: merge,
        mark,
        run: Some(row(newest)),
        compared: None,
        base: base.as_ref().map(|(run, _)| row(run)),
        unapproved: (newest.state == RunState::Unapproved).then(|| newest.commit.to_string()),
        may_approve: false,
        failures: Vec::new(),
        changes: Vec::new(),
        unchanged: 0,
        runs: runs.iter().map(row).collect(),
    };
    if let (Some((run, report)), Some(found)) = (&reported, found) {
        let id = run.id.number();
        page.compared = (!is_newest).then(|| Link::new(format!("#{id}"), links::run(id)));
        let failing = found.newly_failing.iter().take(FAILURES).filter_map(|name| report.job(name));
        page.failures = failing.map(|job| Failure::new(&project.url, run, report, job)).collect();
        page.unchanged = found.unchanged;
        page.changes = changes(
            &found,
            (id, report),
            base.as_ref().map(|(run, report)| (run.id.number(), report)),
        );
    }
    page
}

/// Lists what changed, what needs somebody first.
fn changes(
    found: &Comparison,
    head: (i64, &KeptReport),
    base: Option<(i64, &KeptReport)>,
) -> Vec<Changed> {
    let bad = |word| Mark { class: "bad", word };
    let off = |word| Mark { class: "off", word };
    let good = |word| Mark { class: "good", word };
    // Those that are shown with the end of their logs are not listed once more.
    let newly_failing = found.newly_failing.get(FAILURES..).unwrap_or_default();
    [
        (bad("newly failing"), "More jobs fail that did not", newly_failing, Some(head)),
        (off("stopped"), "Nobody knows about these", &found.undecided, Some(head)),
        (bad("still failing"), "These failed already", &found.still_failing, Some(head)),
        (good("newly fixed"), "These are mended", &found.newly_fixed, Some(head)),
        (good("added"), "The base does not have these", &found.added, Some(head)),
        (off("removed"), "Only the base has these", &found.removed, base),
    ]
    .into_iter()
    .filter(|(_, _, names, of)| !names.is_empty() && of.is_some())
    .map(|(mark, what, names, of)| {
        let rows = of.into_iter().flat_map(|(id, report)| {
            let jobs = names.iter().take(LISTED).filter_map(|name| report.job(name));
            jobs.map(move |job| JobRow::new(id, job))
        });
        let more = names.len().saturating_sub(LISTED);
        Changed { mark, what, count: names.len(), jobs: rows.collect(), more }
    })
    .collect()
}
