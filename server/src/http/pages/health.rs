//! `GET /health`: whether the server can do its work, for people. `/healthz` is for programs.

use std::time::Instant;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::format::{Format, answer};
use super::rows::Link;
use crate::clock::Timestamp;
use crate::deliveries::DeliveryState;
use crate::doctor::{Finding, Severity};
use crate::http::App;
use crate::http::table::{Needs, Refused, Table};
use crate::http::visitor::Visitor;
use crate::logins::{LoginLimit, Standing};
use crate::pages::links;
use crate::pages::marks::Mark;
use crate::pages::moment::{Moment, between, iso};
use crate::pages::places;
use crate::pages::renderer::View;
use crate::projects::Project;
use crate::statuses::outbox::OpenStatuses;

/// How many waiting runs and deliveries are counted.
const COUNTED: u32 = 1_000;
/// How many projects are named that share a limit.
const MOST_NAMED: usize = 8;

pub(super) fn routes(table: Table) -> Table {
    table.get("/health", Needs::Visitor, health).get("/health.json", Needs::Visitor, health)
}

/// Something that was checked.
#[derive(Serialize)]
struct Check {
    mark: Mark,
    name: &'static str,
    found: String,
}

/// When a project was looked at.
#[derive(Serialize)]
struct Look {
    project: Link,
    mark: Mark,
    when: Option<Moment>,
    failed: Option<String>,
}

/// How many requests a forge takes still, from all projects with one login.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LimitRow {
    mark: Mark,
    forge: String,
    login: &'static str,
    found: String,
    projects: Vec<Link>,
    more: usize,
    limit: Option<u64>,
    remaining: Option<u64>,
    resets_at: Option<String>,
    silent_until: Option<String>,
    waits_until: Option<String>,
}

/// What the doctor says, as a row.
#[derive(Serialize)]
struct Told {
    mark: Mark,
    check: String,
    found: String,
    fix: Option<String>,
}

#[derive(Serialize)]
struct HealthPage {
    version: &'static str,
    checks: Vec<Check>,
    looks: Vec<Look>,
    /// What forges said of their limits to this server, to those who may see a project that they count for.
    limits: Vec<LimitRow>,
    /// What the doctor says, to the operator.
    findings: Vec<Told>,
}

async fn health(
    State(app): State<App>,
    visitor: Visitor,
    format: Format,
) -> Result<Response, Refused> {
    let now = Timestamp::now();
    let started = Instant::now();
    app.database.ping().await?;
    let took = started.elapsed().as_secs_f64();
    let projects = app.readable(&visitor).await?;
    let is_seen = |id| projects.iter().any(|project| project.id == id);
    let running = app.database.running().await?;
    let queued = app.database.queued(COUNTED).await?;
    let unapproved = app.database.unapproved(COUNTED).await?;
    let outbox = app.database.open_statuses().await?;
    let outbox = outbox.iter().filter(|open| is_seen(open.project));
    let delivered = app.database.last_deliveries(None, COUNTED).await?;
    let delivered = delivered.iter().filter(|delivery| is_seen(delivery.project));
    let count = |state| delivered.clone().filter(|delivery| delivery.state == state).count();
    let (waiting, failed) = (count(DeliveryState::Waiting), count(DeliveryState::Failed));
    let good = Mark { class: "good", word: "good" };
    let error = Mark { class: "error", word: "look at it" };
    let checks = vec![
        Check {
            mark: good,
            name: "Database",
            found: format!("answers in {:.1} ms", took * 1_000.0),
        },
        Check {
            mark: good,
            name: "Runs",
            found: format!(
                "{} under way, {} queued, {} wait to be approved",
                running.iter().filter(|run| is_seen(run.project)).count(),
                queued.iter().filter(|run| is_seen(run.project)).count(),
                unapproved.iter().filter(|run| is_seen(run.project)).count()
            ),
        },
        Check {
            mark: if failed > 0 { error } else { good },
            name: "Deliveries",
            found: format!("{waiting} waiting, {failed} failed of the last {}", delivered.count()),
        },
        statuses(outbox, now),
    ];
    let held = app.database.held_projects(now).await?;
    let limits = app.forges.logins.limits(&projects);
    let limits = limits.iter().filter_map(|limit| {
        Some(LimitRow::new(limit, limit.standing(&held, now)?, &projects, now))
    });
    let limits = limits.collect();
    let looks = projects.iter().map(|project| Look {
        project: Link::new(&project.name, links::project(&project.name)),
        mark: if project.look_failed.is_some() { error } else { good },
        when: project.looked_at.map(|time| Moment::new(time, now)),
        failed: places::some(project.look_failed.as_ref()),
    });
    let findings = match &visitor {
        Visitor::Person(person) if person.is_operator() => app.database.examine(now).await?,
        Visitor::Person(_) | Visitor::Local | Visitor::Nobody | Visitor::Program(_) => Vec::new(),
    };
    let view = View {
        title: "Health".to_owned(),
        path: "/health".to_owned(),
        json: "/health.json".to_owned(),
        section: "health",
        live: None,
        page: HealthPage {
            version: env!("CARGO_PKG_VERSION"),
            checks,
            looks: looks.collect(),
            limits,
            findings: findings.into_iter().map(Told::new).collect(),
        },
    };
    answer(&app, format, "health", view).await
}

impl Told {
    fn new(finding: Finding) -> Self {
        let mark = match finding.severity {
            Severity::Good => Mark { class: "good", word: "good" },
            Severity::Doubtful => Mark { class: "ask", word: "doubtful" },
            Severity::Bad => Mark { class: "bad", word: "bad" },
        };
        Self { mark, check: finding.check, found: finding.found, fix: finding.fix }
    }
}

impl LimitRow {
    fn new(limit: &LoginLimit, standing: Standing, projects: &[Project], now: Timestamp) -> Self {
        let named = projects.iter().filter(|project| limit.projects.contains(&project.id));
        let named = named.map(|project| Link::new(&project.name, links::project(&project.name)));
        let (mark, found) = stands(&standing, now);
        Self {
            mark,
            forge: limit.forge.clone(),
            login: limit.login.words(),
            found,
            projects: named.take(MOST_NAMED).collect(),
            more: limit.projects.len().saturating_sub(MOST_NAMED),
            limit: standing.limit,
            remaining: standing.left,
            resets_at: standing.resets_at.map(iso),
            silent_until: standing.silent_until.map(iso),
            waits_until: standing.waits_until.map(iso),
        }
    }
}

/// Says how a limit stands.
fn stands(standing: &Standing, now: Timestamp) -> (Mark, String) {
    let until = |time| between(now, time);
    let mut parts = Vec::new();
    parts.extend(match (standing.left, standing.limit) {
        (Some(left), Some(limit)) => Some(format!("{left} of {limit} requests left")),
        (Some(left), None) => Some(format!("{left} requests left")),
        (None, Some(limit)) => Some(format!("at most {limit} requests")),
        (None, None) => None,
    });
    parts.extend(standing.resets_at.map(|time| format!("reset in {}", until(time))));
    let silence =
        standing.silent_until.map(|time| format!("the forge asks for silence for {}", until(time)));
    parts.extend(silence);
    parts.extend(standing.waits_until.map(|time| format!("statuses wait for {}", until(time))));
    let mark = match (standing.silent_until.or(standing.waits_until), standing.left) {
        (Some(_), _) => Mark { class: "wait", word: "waits" },
        (None, Some(0)) => Mark { class: "ask", word: "used up" },
        (None, Some(_) | None) => Mark { class: "good", word: "good" },
    };
    if parts.is_empty() {
        parts.push("nothing is counted now".to_owned());
    }
    (mark, parts.join(", "))
}

/// Says what forges are still to be told. A limit of a forge shows here as well: then the next is due later.
fn statuses<'a>(open: impl Iterator<Item = &'a OpenStatuses>, now: Timestamp) -> Check {
    let (mut due, mut refused, mut next) = (0, 0, None);
    for open in open {
        due += open.due;
        refused += open.refused;
        next = next.into_iter().chain(open.next).min();
    }
    let later = next.map(|time| time.millis() - now.millis()).filter(|millis| *millis > 1_000);
    let when = match later {
        Some(millis) => format!(", the next in {} s", millis / 1_000),
        None => String::new(),
    };
    let mark = match refused {
        0 => Mark { class: "good", word: "good" },
        _ => Mark { class: "error", word: "look at it" },
    };
    Check { mark, name: "Statuses", found: format!("{due} to be sent{when}, {refused} refused") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projects::ProjectId;

    #[test]
    fn limits_say_what_is_left_and_whether_levain_waits() {
        let now = Timestamp::from_millis(1_000_000);
        let later = |seconds: u64| Some(now.after(std::time::Duration::from_secs(seconds)));
        let nothing = Standing {
            limit: None,
            left: None,
            resets_at: None,
            silent_until: None,
            waits_until: None,
        };
        let counted =
            Standing { limit: Some(5_000), left: Some(12), resets_at: later(90), ..nothing };
        let found = |standing: Standing| {
            let (mark, found) = stands(&standing, now);
            (mark.class, found)
        };
        let left = "12 of 5000 requests left, reset in 1 min 30 s";
        assert_eq!(found(counted), ("good", left.to_owned()));
        let none = Standing { left: Some(0), ..counted };
        assert_eq!(found(none).0, "ask");
        let silent = Standing { silent_until: later(90), waits_until: later(120), ..none };
        let expected = "0 of 5000 requests left, reset in 1 min 30 s, the forge asks for silence for 1 min 30 s, statuses wait for 2 min 0 s";
        assert_eq!(found(silent), ("wait", expected.to_owned()));
        let waits = Standing { waits_until: later(30), ..nothing };
        assert_eq!(found(waits), ("wait", "statuses wait for 30 s".to_owned()));
        assert_eq!(found(nothing), ("good", "nothing is counted now".to_owned()));
    }

    #[test]
    fn statuses_are_counted_over_projects_and_the_first_one_counts() {
        let now = Timestamp::now();
        let open = |due, refused, next| OpenStatuses { project: ProjectId(1), due, refused, next };
        let found = |open: &[OpenStatuses]| statuses(open.iter(), now);
        assert_eq!(found(&[]).found, "0 to be sent, 0 refused");
        let in_seconds =
            |seconds: i64| Some(Timestamp::from_millis(now.millis() + seconds * 1_000));
        let two = [open(2, 0, in_seconds(90)), open(1, 3, in_seconds(30))];
        assert_eq!(found(&two).found, "3 to be sent, the next in 30 s, 3 refused");
        assert_eq!(found(&two).mark.class, "error");
        assert_eq!(found(&[open(1, 0, in_seconds(-5))]).found, "1 to be sent, 0 refused");
    }
}
