//! GitHub's commit statuses.
//!
//! Check runs say more, but only an App may post them; a status works with any token.

use serde_json::json;

use super::{Endpoint, StatusRequest};
use crate::status::{State, Status};

/// What a token must be allowed to do.
pub(super) const TOKEN_RIGHTS: &str =
    "`repo:status` (classic token) or `Commit statuses: write` (fine-grained token, App)";

/// `POST /repos/OWNER/NAME/statuses/SHA`.
pub(super) fn status_request(endpoint: &Endpoint, status: &Status) -> StatusRequest {
    let (owner, name) = endpoint.owner_and_name();
    let mut body = json!({
        "state": state(status.state()),
        "context": status.context(),
        "description": status.description(),
    });
    if let Some(url) = status.target_url() {
        body["target_url"] = url.into();
    }
    StatusRequest {
        url: endpoint.url(&["repos", owner, name, "statuses", status.commit()]),
        headers: vec![
            ("accept", "application/vnd.github+json"),
            ("x-github-api-version", "2022-11-28"),
        ],
        token_header: "authorization",
        token_prefix: "Bearer ",
        body,
    }
}

/// There is neither "running" nor "cancelled" here.
fn state(state: State) -> &'static str {
    match state {
        State::Pending | State::Running => "pending",
        State::Success => "success",
        State::Failure => "failure",
        State::Error | State::Cancelled => "error",
    }
}
