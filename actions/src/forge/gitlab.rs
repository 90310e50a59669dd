//! GitLab's commit statuses, which are jobs of an "external" stage and follow its state machine.

use reqwest::StatusCode;
use serde_json::json;

use super::{Endpoint, StatusRequest};
use crate::status::{State, Status};

/// What a token must be allowed to do.
pub(super) const TOKEN_RIGHTS: &str = "scope `api` and the role Developer or higher";

/// `POST /api/v4/projects/ID/statuses/SHA`, with the project's path as one encoded segment.
pub(super) fn status_request(endpoint: &Endpoint, status: &Status) -> StatusRequest {
    let mut body = json!({
        "state": state(status.state()),
        "name": status.context(),
        "description": status.description(),
    });
    if let Some(name) = status.git_ref() {
        // GitLab means the short name, of a branch or a tag.
        let short = name.strip_prefix("refs/heads/").or_else(|| name.strip_prefix("refs/tags/"));
        body["ref"] = short.unwrap_or(name).into();
    }
    if let Some(url) = status.target_url() {
        body["target_url"] = url.into();
    }
    StatusRequest {
        url: endpoint.url(&["projects", &endpoint.repository, "statuses", status.commit()]),
        headers: vec![("accept", "application/json")],
        token_header: "private-token",
        token_prefix: "",
        body,
    }
}

/// There is no "error" here, and "canceled" has one l.
fn state(state: State) -> &'static str {
    match state {
        State::Pending => "pending",
        State::Running => "running",
        State::Success => "success",
        State::Failure | State::Error => "failed",
        State::Cancelled => "canceled",
    }
}

/// Returns whether a 400 is only the refusal to enter a state twice.
///
/// The message reads `Cannot transition status via :enqueue from :pending (…)`. Going back from
/// a final state to a passing one is refused alike, and is as harmless: the result is there. But
/// when the forge shows *another result* than ours, the status was not delivered.
pub(super) fn shows_it_already(status: &Status, code: StatusCode, message: &str) -> bool {
    if code != StatusCode::BAD_REQUEST || !message.contains("Cannot transition status") {
        return false;
    }
    let shown = message.split_once(" from :").map(|(_, rest)| {
        rest.split(|c: char| !c.is_ascii_alphabetic() && c != '_').next().unwrap_or_default()
    });
    match (status.state(), shown) {
        (State::Pending | State::Running, _) | (_, None) => true,
        (State::Success | State::Failure | State::Error | State::Cancelled, Some(shown)) => {
            shown == state(status.state())
        }
    }
}
