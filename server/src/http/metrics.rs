//! `GET /metrics`: the server in numbers, for Prometheus. Answered to this machine's own users.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::App;
use super::table::{Needs, Refused, Table};
use super::visitor::Visitor;

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
    let text = app.database.metrics().await?;
    Ok(([(CONTENT_TYPE, TEXT)], text).into_response())
}
