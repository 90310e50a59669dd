//! `GET /metrics`: the server in numbers, for Prometheus. Answered to this machine's own users.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::App;
use super::table::{Needs, Refused, Table};
use super::visitor::Visitor;
use crate::clock::Timestamp;
use crate::metrics;

/// What Prometheus calls its text.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn routes(table: Table) -> Table {
    table.get("/metrics", Needs::Visitor, metrics)
}

async fn metrics(State(app): State<App>, visitor: Visitor) -> Result<Response, Refused> {
    // How much there is to do is nobody else's business.
    if visitor != Visitor::Local {
        return Err(Refused::Nothing);
    }
    let (now, database) = (Timestamp::now(), &app.database);
    let limits = app.forges.logins.limits(&database.projects().await?);
    let limits = metrics::of_limits(&limits, &database.held_projects(now).await?, now);
    let text = database.metrics().await? + &limits;
    Ok(([(CONTENT_TYPE, TEXT)], text).into_response())
}
