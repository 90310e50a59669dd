//! `GET /`: what needs somebody, then the projects with their last runs.

use axum::extract::{Query, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::format::{Format, answer};
use super::live::{Topic, live};
use super::rows::{Link, RunMark, RunRow};
use crate::clock::Timestamp;
use crate::deliveries::DeliveryState;
use crate::http::App;
use crate::http::table::{Needs, Refused, Table};
use crate::http::visitor::Visitor;
use crate::pages::links;
use crate::pages::marks::{self, Mark};
use crate::pages::moment::Moment;
use crate::pages::places;
use crate::pages::renderer::View;
use crate::projects::Project;
use crate::rights::Right;
use crate::runs::Run;
use crate::runs::state::RunState;

/// How many projects are on a page.
const PROJECTS: usize = 15;
/// How many runs of a project are marked.
const MARKS: u32 = 20;
/// How many things of a kind are said to need somebody.
const MOST_NEEDS: usize = 8;
/// How many deliveries and waiting runs are looked through for those that need somebody.
const LOOKED_THROUGH: u32 = 200;
/// How long a run may wait, or a delivery, before somebody should look, in milliseconds.
const PATIENCE: i64 = 60 * 60 * 1_000;

pub(super) fn routes(table: Table) -> Table {
    table.get("/", Needs::Visitor, overview).get("/.json", Needs::Visitor, overview)
}

#[derive(Debug, Default, Deserialize)]
struct Asked {
    q: Option<String>,
    page: Option<usize>,
}

/// Something that needs somebody.
#[derive(Serialize)]
struct Need {
    mark: Mark,
    what: Link,
    why: String,
    when: Moment,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProjectRow {
    name: Link,
    default_branch: Option<RunRow>,
    /// The oldest first, as time goes from left to right.
    runs: Vec<RunMark>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Overview {
    needs: Vec<Need>,
    projects: Vec<ProjectRow>,
    /// How many there are.
    total: usize,
    query: String,
    previous: Option<String>,
    next: Option<String>,
}

async fn overview(
    State(app): State<App>,
    visitor: Visitor,
    format: Format,
    Query(asked): Query<Asked>,
) -> Result<Response, Refused> {
    let now = Timestamp::now();
    let all = app.readable(&visitor).await?;
    let is_readable = |run: &Run| all.iter().any(|project| project.id == run.project);
    let mut newest = app.database.default_branch_runs().await?;
    newest.retain(is_readable);
    let needs = needs(&app, &visitor, &all, &newest, now).await?;
    let query = asked.q.unwrap_or_default().trim().to_owned();
    let wanted = query.to_lowercase();
    let found: Vec<&Project> =
        all.iter().filter(|project| project.name.to_lowercase().contains(&wanted)).collect();
    let total = found.len();
    let page = asked.page.unwrap_or(1).max(1);
    let first = (page - 1).saturating_mul(PROJECTS);
    let mut projects = Vec::new();
    for project in found.into_iter().skip(first).take(PROJECTS) {
        let mut runs = app.database.runs(project.id, MARKS).await?;
        runs.reverse();
        let of_default = newest.iter().find(|run| run.project == project.id);
        projects.push(ProjectRow {
            name: Link::new(&project.name, links::project(&project.name)),
            default_branch: of_default.map(|run| RunRow::new(&project.name, run, now)),
            runs: runs.iter().map(RunMark::new).collect(),
        });
    }
    let to = |page: usize| format!("/?q={}&page={page}", links::segment(&query));
    let view = View {
        title: "Projects".to_owned(),
        path: "/".to_owned(),
        json: "/.json".to_owned(),
        section: "projects",
        live: Some(live(&app, Topic::of(&all), "").await?),
        page: Overview {
            needs,
            projects,
            total,
            previous: (page > 1).then(|| to(page - 1)),
            next: (first.saturating_add(PROJECTS) < total).then(|| to(page + 1)),
            query,
        },
    };
    answer(&app, format, "overview", view).await
}

async fn needs(
    app: &App,
    visitor: &Visitor,
    projects: &[Project],
    newest: &[Run],
    now: Timestamp,
) -> Result<Vec<Need>, Refused> {
    let name = |run: &Run| {
        let project = projects.iter().find(|project| project.id == run.project);
        project.map(|project| project.name.clone()).unwrap_or_default()
    };
    let find = |id| projects.iter().find(|project| project.id == id);
    let mut needs: Vec<Need> = Vec::new();
    let is_broken = |run: &&Run| run.state != RunState::Succeeded;
    for run in newest.iter().filter(is_broken).take(MOST_NEEDS) {
        let row = RunRow::new(&name(run), run, now);
        needs.push(Need {
            mark: row.mark,
            what: Link::new(format!("{} {}", row.project.text, row.jobset.text), row.href),
            why: row.summary.unwrap_or_else(|| row.mark.word.to_owned()),
            when: row.when,
        });
    }
    let unapproved = app.database.unapproved(LOOKED_THROUGH).await?;
    let unapproved = unapproved.iter().filter(|run| find(run.project).is_some());
    for run in unapproved.take(MOST_NEEDS) {
        let row = RunRow::new(&name(run), run, now);
        needs.push(Need {
            mark: row.mark,
            what: Link::new(format!("{} {}", row.project.text, row.jobset.text), row.jobset.href),
            why: format!("somebody has to approve {}", row.short_commit),
            when: row.when,
        });
    }
    let unseen =
        projects.iter().filter_map(|project| Some((project, project.look_failed.as_ref()?)));
    for (project, why) in unseen.take(MOST_NEEDS) {
        needs.push(Need {
            mark: Mark { class: "error", word: "cannot be looked at" },
            what: Link::new(&project.name, links::project(&project.name)),
            why: places::text(why.lines().next().unwrap_or_default()),
            when: Moment::new(project.looked_at.unwrap_or(now), now),
        });
    }
    for project in projects.iter().filter(|project| project.default_branch.is_none()) {
        if let Some(wrong) = app.database.no_default_branch(project).await? {
            needs.push(Need {
                mark: Mark { class: "error", word: "no default branch" },
                what: Link::new(&project.name, links::project(&project.name)),
                why: wrong.found().to_owned(),
                when: Moment::new(project.looked_at.unwrap_or(now), now),
            });
        }
    }
    let is_late = |since: Timestamp| now.millis() - since.millis() > PATIENCE;
    let waiting = app.database.queued(LOOKED_THROUGH).await?;
    let waiting = waiting.iter().filter(|run| find(run.project).is_some());
    for run in waiting.filter(|run| is_late(run.created_at)).take(MOST_NEEDS) {
        let row = RunRow::new(&name(run), run, now);
        needs.push(Need {
            mark: row.mark,
            what: Link::new(format!("{} {}", row.project.text, row.jobset.text), row.href),
            why: "has waited for over an hour".to_owned(),
            when: row.when,
        });
    }
    let delivered = app.database.last_deliveries(None, LOOKED_THROUGH).await?;
    let troubled = delivered.iter().filter(|delivery| match delivery.state {
        DeliveryState::Failed => true,
        DeliveryState::Waiting => is_late(delivery.received_at),
        DeliveryState::Acted | DeliveryState::Ignored => false,
    });
    let of_projects = troubled.filter_map(|delivery| Some((delivery, find(delivery.project)?)));
    for (delivery, project) in of_projects.take(MOST_NEEDS) {
        let number = delivery.id.number();
        let name = &project.name;
        // Only those who may write to the project see all of it.
        let href = match app.rights.of(visitor, Some(project)).await >= Right::Write {
            true => links::delivery(name, number),
            false => links::deliveries(name),
        };
        let outcome = places::some(delivery.outcome.as_ref());
        needs.push(Need {
            mark: marks::of_delivery(delivery.state),
            what: Link::new(format!("delivery {number} of {name}"), href),
            why: outcome.unwrap_or_else(|| "has waited for over an hour".to_owned()),
            when: Moment::new(delivery.received_at, now),
        });
    }
    Ok(needs)
}
