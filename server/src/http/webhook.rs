//! `POST /hooks/ID`: keeps a delivery, and says so only then.
//!
//! Nothing of the body is read here. What it says is found out later, from the database, so that no forge waits for it.
//! Whoever is refused is told no more than that: not whether there is such a project.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use levain_actions::forge::webhook::{self, Sender};
use ring::hmac;
use serde_json::json;

use super::App;
use super::incoming::Incoming;
use super::table::{Needs, Table};
use crate::apps::deliveries::NewAppDelivery;
use crate::clock::Timestamp;
use crate::counters::Counted;
use crate::deliveries::{Kept, NewDelivery};
use crate::points::Point;
use crate::projects::Receiver;

/// Stands in for a project that there is not, so that the answer takes as long. Keeps nothing of what is sent.
pub(super) struct Stranger(hmac::Key);

impl Stranger {
    pub(super) fn new() -> Self {
        // What it is does not matter: nothing is ever compared with it.
        Self(hmac::Key::new(hmac::HMAC_SHA256, &[0; 32]))
    }
}

pub(super) fn routes(table: Table) -> Table {
    table.post("/hooks/{hook}", Needs::Signature, receive)
}

async fn receive(State(app): State<App>, Path(hook): Path<String>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let headers = parts.headers;
    let incoming = match Incoming::new(&headers, body, app.limits.body) {
        Ok(incoming) => incoming,
        Err(refused) => return refused.into_response(),
    };
    // Nothing is called so, and PostgreSQL refuses to look.
    let hook = hook.replace('\0', "");
    let hooked = match app.database.hooked(&hook).await {
        Ok(hooked) => hooked,
        Err(error) => {
            tracing::error!(%error, "cannot look for the project of a delivery");
            return unavailable();
        }
    };
    let Some(hooked) = hooked else {
        let mut signed = hmac::Context::with_key(&app.stranger.0);
        app.database.counters().count(Counted::DeliveryRefused);
        let discarded = incoming.discard(|part| signed.update(part)).await;
        tracing::debug!(tag = signed.sign().as_ref().len(), "a delivery for no project");
        return match discarded {
            Ok(()) => StatusCode::UNAUTHORIZED.into_response(),
            Err(refused) => refused.into_response(),
        };
    };
    let (body, _room) = match incoming.read(&app.room).await {
        Ok(read) => read,
        Err(refused) => return refused.into_response(),
    };
    if let Err(error) = webhook::verify(hooked.sender, &headers, &body, &hooked.secrets) {
        app.database.counters().count(Counted::DeliveryRefused);
        tracing::debug!(%error, "a delivery is refused");
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let is_json =
        headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|kind| {
            kind.split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .eq_ignore_ascii_case("application/json")
        });
    if !is_json && hooked.sender != Sender::Git {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    let event = headers.get(hooked.sender.event_header()).and_then(|value| value.to_str().ok());
    let key = webhook::delivery_key(hooked.sender, &headers, &body);
    let (received_at, event) = (Timestamp::now(), event.map(str::to_owned));
    app.database.points().pass(Point::DeliveryReceived);
    let kept = match hooked.receiver {
        Receiver::Project(project) => {
            let new = NewDelivery { project, key, received_at, event, body };
            app.database.keep_delivery(new).await
        }
        // Which project it is about, nobody has read yet.
        Receiver::App(of) => {
            let new = NewAppDelivery { app: of, key, received_at, event, body };
            app.database.keep_app_delivery(new).await
        }
    };
    app.database.points().pass(Point::DeliveryKept);
    app.database.counters().count(match &kept {
        Ok(Kept::New(_)) => Counted::DeliveryKept,
        Ok(Kept::Again(_)) => Counted::DeliveryAgain,
        Ok(Kept::Conflict(_)) => Counted::DeliveryConflict,
        Err(_) => Counted::DeliveryFailed,
    });
    match kept {
        Ok(Kept::New(id)) => {
            tracing::info!(delivery = id.number(), receiver = ?hooked.receiver, "delivered");
            app.arrived.notify_one();
            (StatusCode::ACCEPTED, Json(json!({ "delivery": id.number() }))).into_response()
        }
        Ok(Kept::Again(id)) => {
            let answer = json!({ "delivery": id.number(), "again": true });
            (StatusCode::OK, Json(answer)).into_response()
        }
        Ok(Kept::Conflict(id)) => {
            tracing::warn!(delivery = id.number(), "another body under the same key");
            let answer = json!({ "delivery": id.number(), "again": true });
            (StatusCode::OK, Json(answer)).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "a delivery cannot be kept");
            unavailable()
        }
    }
}

/// The forge may try again; levain looks by itself as well.
fn unavailable() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "30")]).into_response()
}
