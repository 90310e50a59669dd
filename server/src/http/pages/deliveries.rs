//! `GET /deliveries`: what was delivered, what became of each and why, and a form to have it acted upon once more.
//!
//! What a delivery says is shown to those who may write to its project: forges put into it whatever they know.

use axum::extract::{Path, State};
use axum::response::{Redirect, Response};
use serde::Serialize;

use super::format::{Format, answer, asked, twin};
use super::rows::Link;
use crate::clock::Timestamp;
use crate::deliveries::{Delivery, DeliveryId};
use crate::http::App;
use crate::http::table::{Needs, OfProject, Refused, Table};
use crate::http::visitor::Visitor;
use crate::pages::links;
use crate::pages::marks::{self, Mark};
use crate::pages::moment::Moment;
use crate::pages::places;
use crate::pages::renderer::View;
use crate::projects::Project;
use crate::rights::Right;

/// How many deliveries are listed.
const LISTED: u32 = 60;
/// How much of what a delivery says is shown, in characters.
const SHOWN: usize = 30_000;

pub(super) fn routes(table: Table) -> Table {
    let (read, write) = (Needs::Project(Right::Read), Needs::Project(Right::Write));
    table
        .get("/deliveries", Needs::Visitor, all)
        .get("/deliveries.json", Needs::Visitor, all)
        .get("/projects/{project}/deliveries", read, of_project)
        .get("/projects/{project}/deliveries.json", read, of_project)
        .get("/projects/{project}/deliveries/{delivery}", write, delivery)
        .post("/projects/{project}/deliveries/{delivery}/replay", write, replay)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeliveryRow {
    id: i64,
    /// Where it is shown whole, for those who may see that.
    href: Option<String>,
    project: Link,
    mark: Mark,
    event: Option<String>,
    key: String,
    received: Moment,
    outcome: Option<String>,
    repeats: u64,
    conflicts: u64,
    /// Where a form has it acted upon once more, for those who may.
    replay: Option<String>,
}

impl DeliveryRow {
    fn new(project: &Project, delivery: &Delivery, may_act: bool, now: Timestamp) -> Self {
        let id = delivery.id.number();
        let href = links::delivery(&project.name, id);
        Self {
            id,
            project: Link::new(&project.name, links::project(&project.name)),
            mark: marks::of_delivery(delivery.state),
            event: delivery.event.clone(),
            key: delivery.key.clone(),
            received: Moment::new(delivery.received_at, now),
            outcome: places::some(delivery.outcome.as_ref()),
            repeats: delivery.repeats,
            conflicts: delivery.conflicts,
            replay: may_act.then(|| format!("{href}/replay")),
            href: may_act.then_some(href),
        }
    }
}

#[derive(Serialize)]
struct DeliveriesPage {
    project: Option<Link>,
    deliveries: Vec<DeliveryRow>,
}

async fn all(
    State(app): State<App>,
    visitor: Visitor,
    format: Format,
) -> Result<Response, Refused> {
    let projects = app.readable(&visitor).await?;
    let delivered = app.database.last_deliveries(None, LISTED).await?;
    list(&app, &visitor, format, None, &projects, delivered).await
}

async fn of_project(
    State(app): State<App>,
    OfProject(project): OfProject,
    visitor: Visitor,
    format: Format,
) -> Result<Response, Refused> {
    let delivered = app.database.last_deliveries(Some(project.id), LISTED).await?;
    let link = Link::new(&project.name, links::project(&project.name));
    list(&app, &visitor, format, Some(link), &[project], delivered).await
}

async fn list(
    app: &App,
    visitor: &Visitor,
    format: Format,
    of: Option<Link>,
    projects: &[Project],
    delivered: Vec<Delivery>,
) -> Result<Response, Refused> {
    let now = Timestamp::now();
    let mut deliveries = Vec::new();
    for delivery in &delivered {
        let Some(project) = projects.iter().find(|project| project.id == delivery.project) else {
            continue;
        };
        let may_act = app.rights.of(visitor, Some(project)).await >= Right::Write;
        deliveries.push(DeliveryRow::new(project, delivery, may_act, now));
    }
    let path = of.as_ref().map_or("/deliveries".to_owned(), |of| format!("{}/deliveries", of.href));
    let view = View {
        title: "Deliveries".to_owned(),
        json: twin(&path),
        section: "deliveries",
        live: None,
        page: DeliveriesPage { project: of, deliveries },
        path,
    };
    answer(app, format, "deliveries", view).await
}

#[derive(Serialize)]
struct DeliveryPage {
    delivery: DeliveryRow,
    body: String,
    /// How many bytes it has.
    bytes: usize,
}

async fn find(app: &App, project: &Project, id: i64) -> Result<Delivery, Refused> {
    let delivery = app.database.delivery(DeliveryId::from_number(id)).await?;
    delivery.filter(|delivery| delivery.project == project.id).ok_or(Refused::Nothing)
}

async fn delivery(
    State(app): State<App>,
    OfProject(project): OfProject,
    Path((_, last)): Path<(String, String)>,
) -> Result<Response, Refused> {
    let mut named = asked(&last).filter_map(|(format, text)| Some((format, text.parse().ok()?)));
    let (format, id) = named.next().ok_or(Refused::Nothing)?;
    let delivery = find(&app, &project, id).await?;
    let row = DeliveryRow::new(&project, &delivery, true, Timestamp::now());
    let path = links::delivery(&project.name, id);
    let view = View {
        title: format!("Delivery {id} · {}", project.name),
        json: twin(&path),
        section: "deliveries",
        live: None,
        page: DeliveryPage {
            delivery: row,
            body: String::from_utf8_lossy(&delivery.body).chars().take(SHOWN).collect(),
            bytes: delivery.body.len(),
        },
        path,
    };
    answer(&app, format, "delivery", view).await
}

async fn replay(
    State(app): State<App>,
    OfProject(project): OfProject,
    Path((_, id)): Path<(String, i64)>,
) -> Result<Redirect, Refused> {
    let delivery = find(&app, &project, id).await?;
    app.database.replay_delivery(delivery.id).await?;
    app.arrived.notify_one();
    Ok(Redirect::to(&links::delivery(&project.name, id)))
}
