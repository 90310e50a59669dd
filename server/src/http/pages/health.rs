//! `GET /health`: whether the server can do its work, for people. `/healthz` is for programs.

use std::time::Instant;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::format::{Format, answer};
use super::rows::Link;
use crate::clock::Timestamp;
use crate::deliveries::DeliveryState;
use crate::http::App;
use crate::http::table::{Needs, Refused, Table};
use crate::http::visitor::Visitor;
use crate::pages::links;
use crate::pages::marks::Mark;
use crate::pages::moment::Moment;
use crate::pages::renderer::View;

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

#[derive(Serialize)]
struct HealthPage {
    version: &'static str,
    checks: Vec<Check>,
    looks: Vec<Look>,
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
                "{} under way, {} queued",
                running.iter().filter(|run| is_seen(run.project)).count(),
                queued.iter().filter(|run| is_seen(run.project)).count()
            ),
        },
        Check {
            mark: if failed > 0 { error } else { good },
            name: "Deliveries",
            found: format!("{waiting} waiting, {failed} failed of the last {}", delivered.count()),
        },
    ];
    let looks = projects.iter().map(|project| Look {
        project: Link::new(&project.name, links::project(&project.name)),
        mark: if project.look_failed.is_some() { error } else { good },
        when: project.looked_at.map(|time| Moment::new(time, now)),
        failed: project.look_failed.clone(),
    });
    let view = View {
        title: "Health".to_owned(),
        path: "/health".to_owned(),
        json: "/health.json".to_owned(),
        section: "health",
        live: None,
        page: HealthPage { version: env!("CARGO_PKG_VERSION"), checks, looks: looks.collect() },
    };
    answer(&app, format, "health", &view)
}
