//! `GET /healthz`: whether the server is alive. `GET /readyz`: whether it takes deliveries.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;

use super::App;
use super::table::{Needs, Table};

/// How long the database may take.
const LIMIT: Duration = Duration::from_secs(5);

pub(super) fn routes(table: Table) -> Table {
    table.get("/healthz", Needs::Nothing, health).get("/readyz", Needs::Nothing, ready)
}

async fn health(State(app): State<App>) -> (StatusCode, &'static str) {
    match tokio::time::timeout(LIMIT, app.database.ping()).await {
        Ok(Ok(())) => (StatusCode::OK, "ok\n"),
        Ok(Err(error)) => {
            tracing::error!(%error, "the database does not answer");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n")
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer in time\n"),
    }
}

async fn ready(State(app): State<App>) -> (StatusCode, &'static str) {
    match tokio::time::timeout(LIMIT, app.database.try_write()).await {
        Ok(Ok(())) => (StatusCode::OK, "ready\n"),
        Ok(Err(error)) => {
            tracing::error!(%error, "nothing can be written to the database");
            (StatusCode::SERVICE_UNAVAILABLE, "nothing can be written to the database\n")
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database is not written in time\n"),
    }
}
