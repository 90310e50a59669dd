//! `GET /projects/NAME`: the default branch, pull requests, what the merge queue tries, and branches, with their newest
//! runs, and the last runs of all.

use axum::extract::State;
use axum::response::Response;
use levain_evaluator::names::Named;
use serde::Serialize;

use super::format::{Format, answer, twin};
use super::live::{Topic, live};
use super::rows::{Link, NoDefault, RunRow};
use crate::clock::Timestamp;
use crate::http::App;
use crate::http::table::{Needs, OfProject, Refused, Table};
use crate::http::visitor::Visitor;
use crate::identity::OtherRepository;
use crate::pages::gain::{self, Gain};
use crate::pages::kept_report::KeptReport;
use crate::pages::links;
use crate::pages::moment::{Moment, duration};
use crate::pages::places;
use crate::pages::renderer::View;
use crate::rights::Right;
use crate::roles::Role;
use crate::runs::HeadRun;

/// How many runs are listed.
const RUNS: u32 = 30;
/// How many reports are read to see what caches save.
const REPORTS: u32 = 12;
/// How wide a bar is at most: the units of the drawing.
const WIDEST: f64 = 1_000.0;
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

/// What the caches saved a run.
#[derive(Serialize)]
struct GainRow {
    run: Link,
    incremental: String,
    clean: String,
    /// How long the bars are.
    short: String,
    long: String,
}

/// What caches saved in the last runs.
#[derive(Serialize)]
struct Gains {
    incremental: String,
    clean: String,
    rows: Vec<GainRow>,
}

impl Gains {
    fn new(reports: &[(i64, KeptReport)]) -> Option<Self> {
        let gains = gain::gains(reports);
        let sum = |of: fn(&Gain) -> f64| gains.iter().map(of).sum::<f64>();
        let most = gains.iter().map(|gain| gain.clean.max(gain.incremental)).fold(0.0, f64::max);
        let bar = |seconds: f64| format!("{:.0}", seconds / most * WIDEST);
        let rows = gains.iter().map(|gain| GainRow {
            run: Link::new(format!("#{}", gain.run), links::run(gain.run)),
            incremental: duration(gain.incremental),
            clean: duration(gain.clean),
            short: bar(gain.incremental),
            long: bar(gain.clean),
        });
        let (incremental, clean) = (sum(|gain| gain.incremental), sum(|gain| gain.clean));
        (!gains.is_empty()).then(|| Self {
            incremental: duration(incremental),
            clean: duration(clean),
            rows: rows.collect(),
        })
    }
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
    other_repository: Option<Other>,
    no_default_branch: Option<NoDefault>,
    default_branch: Option<HeadRow>,
    pull_requests: Vec<HeadRow>,
    merge_queue: Vec<HeadRow>,
    branches: Vec<HeadRow>,
    tags: Vec<HeadRow>,
    /// How many branches and pull requests are not listed.
    more_heads: usize,
    /// What incremental builds saved, if any was compared.
    gains: Option<Gains>,
    runs: Vec<RunRow>,
}

/// Another repository that has the name of the project's.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Other {
    known: u64,
    number: u64,
    /// Whether whoever asks may make it the project's.
    may_confirm: bool,
}

/// The heads of a project by what they are to it.
#[derive(Default)]
struct Sorted<'a> {
    default_branch: Option<&'a HeadRun>,
    pull_requests: Vec<&'a HeadRun>,
    merge_queue: Vec<&'a HeadRun>,
    branches: Vec<&'a HeadRun>,
    tags: Vec<&'a HeadRun>,
}

impl<'a> Sorted<'a> {
    fn new(heads: &'a [HeadRun], default_branch: Option<&str>) -> Self {
        let mut sorted = Self::default();
        let mut pull_requests = Vec::new();
        for head in heads {
            match Role::of(&head.jobset, default_branch) {
                Role::DefaultBranch => sorted.default_branch = Some(head),
                Role::PullRequest(number) => pull_requests.push((number, head)),
                Role::MergeQueue => sorted.merge_queue.push(head),
                Role::Branch => sorted.branches.push(head),
                // One that was there before the project built any has no run.
                Role::Tag if head.run.is_none() => {}
                Role::Tag => sorted.tags.push(head),
            }
        }
        // The newest first: numbers go up.
        pull_requests.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        sorted.pull_requests = pull_requests.into_iter().map(|(_, head)| head).collect();
        sorted
    }

    /// Counts those that are not listed.
    fn not_listed(&self) -> usize {
        let lists = [&self.pull_requests, &self.merge_queue, &self.branches, &self.tags];
        lists.iter().map(|list| list.len().saturating_sub(MOST_HEADS)).sum()
    }
}

async fn project(
    State(app): State<App>,
    visitor: Visitor,
    OfProject(project): OfProject,
    format: Format,
) -> Result<Response, Refused> {
    let now = Timestamp::now();
    let heads = app.database.heads_with_runs(project.id).await?;
    let no_default_branch = app.database.no_default_branch(&project).await?;
    let runs = app.database.runs(project.id, RUNS).await?;
    let reports = match runs.last() {
        Some(oldest) => app.database.reports_of_project(project.id, oldest.id, REPORTS).await?,
        None => Vec::new(),
    };
    let gains = app.aside(move || {
        let read = |(run, text): &(i64, String)| Some((*run, KeptReport::read(text)?));
        let reports: Vec<(i64, KeptReport)> = reports.iter().filter_map(read).collect();
        Gains::new(&reports)
    });
    let gains = gains.await?;
    let row = |head: &HeadRun| {
        let commit = head.commit.to_string();
        let text = match head.jobset.named() {
            Named::Branch(name) => name.to_owned(),
            Named::PullRequest(number) => format!("#{number}"),
            Named::Tag(name) => name.to_owned(),
        };
        HeadRow {
            name: Link::new(text, links::jobset(&project.name, &head.jobset)),
            short_commit: commit.chars().take(12).collect(),
            commit,
            run: head.run.as_ref().map(|run| RunRow::new(&project.name, run, now)),
        }
    };
    let sorted = Sorted::new(&heads, project.default_branch.as_deref());
    let more_heads = sorted.not_listed();
    let rows = |heads: Vec<&HeadRun>| heads.into_iter().take(MOST_HEADS).map(row).collect();
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
            look_failed: places::some(project.look_failed.as_ref()),
            other_repository: OtherRepository::of(&project).map(|other| Other {
                known: other.known,
                number: other.other,
                may_confirm: visitor.is_operator(),
            }),
            no_default_branch: no_default_branch.map(NoDefault::new),
            default_branch: sorted.default_branch.map(row),
            pull_requests: rows(sorted.pull_requests),
            merge_queue: rows(sorted.merge_queue),
            branches: rows(sorted.branches),
            tags: rows(sorted.tags),
            more_heads,
            gains,
            runs: runs.iter().map(|run| RunRow::new(&project.name, run, now)).collect(),
            name: project.name.clone(),
        },
        path,
    };
    answer(&app, format, "project", view).await
}
