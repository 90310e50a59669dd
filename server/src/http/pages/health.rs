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
use crate::pages::links;
use crate::pages::marks::Mark;
use crate::pages::moment::Moment;
use crate::pages::places;
use crate::pages::renderer::View;
use crate::statuses::outbox::OpenStatuses;

/// How many waiting runs and deliveries are counted.
const COUNTED: u32 = 1_000;

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

/// Says what forges are still to be told. A limit of a forge shows here: then the next is due later.
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
