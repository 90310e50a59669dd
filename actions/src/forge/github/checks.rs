//! Check runs: a text, notes at lines, and a button.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::forge::check::{Check, Checks, ShownCheck};
use crate::forge::pull_request::asking;
use crate::status::{MOST_NOTES, State, TEXT_LIMIT, cut, shorten};

pub(super) const CHECKS: Checks = Checks {
    make: |endpoint| {
        let (owner, name) = endpoint.owner_and_name();
        endpoint.url(&["repos", owner, name, "check-runs"])
    },
    update: |endpoint, id| {
        let (owner, name) = endpoint.owner_and_name();
        endpoint.url(&["repos", owner, name, "check-runs", &id.to_string()])
    },
    body,
    list: |endpoint, status, app| {
        let (owner, name) = endpoint.owner_and_name();
        let url = endpoint.url(&["repos", owner, name, "commits", status.commit(), "check-runs"]);
        let app = app.to_string();
        asking(
            url,
            &[
                ("check_name", status.context()),
                ("app_id", &app),
                ("filter", "all"),
                ("per_page", "100"),
            ],
        )
    },
    page_size: 100,
    read,
};

/// The longest message at a line. The forge takes 64 KiB, and nobody reads them there.
const MESSAGE_LIMIT: usize = 4_000;
/// The longest path that is named.
const PATH_LIMIT: usize = 400;

/// What is said of a status. `skipped` counts as a success where a check is required, so what was skipped stays open; an
/// error of levain's own has no word, and must not be taken for the author's.
fn body(check: &Check, is_new: bool) -> Value {
    let status = &check.status;
    let details = status.details();
    let (word, conclusion) = match status.state() {
        State::Pending if details.asks_approval() => ("completed", Some("action_required")),
        State::Pending | State::Skipped => ("queued", None),
        State::Running => ("in_progress", None),
        State::Success => ("completed", Some("success")),
        State::Failure => ("completed", Some("failure")),
        State::Error | State::Cancelled => ("completed", Some("cancelled")),
    };
    let title = match status.description() {
        "" => status.context(),
        description => description,
    };
    let text = match details.text().trim() {
        "" => title,
        text => cut(text, TEXT_LIMIT),
    };
    let notes = details.notes().iter().take(MOST_NOTES).map(|note| {
        json!({
            "path": cut(&note.path, PATH_LIMIT),
            "start_line": note.line.max(1),
            "end_line": note.line.max(1),
            "annotation_level": "failure",
            "message": cut(&note.message, MESSAGE_LIMIT),
        })
    });
    let mut output = json!({ "title": title, "summary": text });
    // They are added to those that are there, so only what ends has them.
    if conclusion.is_some() {
        output["annotations"] = notes.collect();
    }
    let mut body = json!({ "status": word, "output": output });
    if is_new {
        body["name"] = status.context().into();
        body["head_sha"] = status.commit().into();
        body["external_id"] = check.run.as_str().into();
    }
    if let Some(conclusion) = conclusion {
        body["conclusion"] = conclusion.into();
    }
    if let Some(url) = status.target_url() {
        body["details_url"] = url.into();
    }
    if details.asks_approval() {
        body["actions"] = json!([{
            "label": "Approve",
            "description": shorten("Build this commit, and no other", 40),
            "identifier": APPROVE,
        }]);
    }
    body
}

/// What the button is called that approves a commit.
pub(super) const APPROVE: &str = "approve";

/// A list of check runs.
#[derive(Deserialize)]
struct Listed {
    check_runs: Vec<Shown>,
}

#[derive(Deserialize)]
struct Shown {
    id: u64,
    external_id: Option<String>,
    status: String,
    conclusion: Option<String>,
    output: Output,
}

#[derive(Deserialize)]
struct Output {
    title: Option<String>,
}

fn read(body: &[u8]) -> Result<Vec<ShownCheck>, serde_json::Error> {
    let listed: Listed = serde_json::from_slice(body)?;
    let shown = |shown: Shown| ShownCheck {
        id: shown.id,
        run: shown.external_id.unwrap_or_default(),
        has_ended: shown.status == "completed",
        state: (shown.status, shown.conclusion),
        title: shown.output.title.unwrap_or_default(),
    };
    Ok(listed.check_runs.into_iter().map(shown).collect())
}
