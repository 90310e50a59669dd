//! Gitea's commit statuses, and Forgejo's, which are the same.

use serde_json::json;

use super::{Endpoint, StatusRequest};
use crate::status::{State, Status};

/// What a token must be allowed to do.
pub(super) const TOKEN_RIGHTS: &str = "`write:repository`";

/// `POST /api/v1/repos/OWNER/NAME/statuses/SHA`.
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
        headers: vec![("accept", "application/json")],
        token_header: "authorization",
        token_prefix: "token ",
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
