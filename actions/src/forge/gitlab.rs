//! GitLab: its commit statuses, which are jobs of an "external" stage and follow its state machine, and its deliveries.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::json;

use super::people::{Account, Comment, DescribedRepository, People, Right};
use super::pull_request::{
    Author, Listed, OpenPullRequests, Origin, PullRequests, UnreadableList, asking, read_list,
};
use super::record::Forge;
use super::shown_status::{ShownStatus, ShownStatuses, read_shown};
use super::sign_in::SigningIn;
use super::webhook::{
    Actor, Hint, Ignored, RepositoryId, SignatureError, UnreadableDelivery, WebhookDelivery,
    WebhookSecret, Webhooks, field, parse, reference, short_text, standard_webhook, token,
    whole_number,
};
use super::{Endpoint, ForgeKind, StatusRequest};
use crate::status::{State, Status};

/// GitLab.
pub(super) const FORGE: Forge = Forge {
    name: "gitlab",
    public_host: "gitlab.com",
    public_api: None,
    api_path: "/api/v4",
    repository_names: "`group/name` or the project's number",
    has_groups: true,
    headers: &[("accept", "application/json")],
    token_header: "private-token",
    token_prefix: "",
    token_rights: "scope `api` and the role Developer or higher",
    default_branch_setting: "Settings, Repository, Branch defaults",
    git_user: "oauth2",
    pull_requests: PullRequests {
        list: |endpoint| {
            let url = endpoint.url(&["projects", &endpoint.repository, "merge_requests"]);
            asking(url, &[("state", "opened"), ("per_page", "100")])
        },
        page_size: 100,
        read: read_pull_requests,
    },
    pull_request_ref: |number| format!("refs/merge-requests/{number}/head"),
    pull_request: |endpoint, number| {
        let number = number.to_string();
        endpoint.url(&["projects", &endpoint.repository, "merge_requests", &number])
    },
    // Locked is one that is being merged.
    open_states: &["opened", "locked"],
    closed_states: &["closed", "merged"],
    status_request,
    shows_it_already,
    signing_in: SigningIn {
        authorize: &["oauth", "authorize"],
        token: &["oauth", "token"],
        scopes: &["read_user"],
        prefix: "Bearer ",
        read: |body| {
            let Person { id, username } = serde_json::from_slice(body).ok()?;
            Some(Account { id, login: username })
        },
    },
    people: People {
        comment: |endpoint, number, comment| {
            let (number, comment) = (number.to_string(), comment.to_string());
            let request = ["merge_requests", number.as_str(), "notes", comment.as_str()];
            endpoint.url(&[&["projects", endpoint.repository.as_str()][..], &request].concat())
        },
        comments: |endpoint, number, page| {
            let number = number.to_string();
            let request = ["merge_requests", number.as_str(), "notes"];
            let url =
                endpoint.url(&[&["projects", endpoint.repository.as_str()][..], &request].concat());
            asking(url, &[("per_page", "100"), ("page", &page.to_string())])
        },
        read_comment,
        // With what comes from the groups above.
        right: |endpoint, account| {
            let id = account.id.to_string();
            endpoint.url(&["projects", &endpoint.repository, "members", "all", &id])
        },
        read_right,
        repository: |endpoint| endpoint.url(&["projects", &endpoint.repository]),
        numbered: |endpoint, number| endpoint.url(&["projects", &number.to_string()]),
        read_repository,
    },
    shown_statuses: ShownStatuses {
        // The newest of each name.
        list: |endpoint, status| {
            let url = endpoint.url(&[
                "projects",
                &endpoint.repository,
                "repository",
                "commits",
                status.commit(),
                "statuses",
            ]);
            asking(url, &[("name", status.context()), ("per_page", "100")])
        },
        page_size: 100,
        read: |body| {
            read_shown(body, |shown: Shown| ShownStatus {
                id: shown.id,
                context: shown.name,
                state: shown.status,
                description: shown.description,
                target_url: shown.target_url,
            })
        },
    },
    webhooks: Webhooks { verify, event: "x-gitlab-event", key: "idempotency-key", read },
    apps: None,
    checks: None,
};

/// `POST /api/v4/projects/ID/statuses/SHA`, with the project's path as one encoded segment.
fn status_request(endpoint: &Endpoint, status: &Status) -> StatusRequest {
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
        method: reqwest::Method::POST,
        url: endpoint.url(&["projects", &endpoint.repository, "statuses", status.commit()]),
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
        State::Skipped => "skipped",
    }
}

/// Returns the state to send in place of one that GitLab does not take: "skipped" came with 17.5, and
/// cannot follow "running".
///
/// "canceled" is as grey, and no success either.
pub(super) fn instead_of(state: State, code: u16, message: &str) -> Option<State> {
    let reasons = ["does not have a valid value", "Cannot transition status via :skip "];
    let refused = code == 400 && reasons.iter().any(|reason| message.contains(reason));
    (refused && state == State::Skipped).then_some(State::Cancelled)
}

/// Returns whether a 400 is only the refusal to enter a state twice.
///
/// The message reads `Cannot transition status via :enqueue from :pending (…)`. Going back from
/// a final state to a passing one is refused alike, and is as harmless: the result is there. But
/// when the forge shows *another result* than ours, the status was not delivered.
fn shows_it_already(status: &Status, code: StatusCode, message: &str) -> bool {
    if code != StatusCode::BAD_REQUEST || !message.contains("Cannot transition status") {
        return false;
    }
    let shown = message.split_once(" from :").map(|(_, rest)| {
        rest.split(|c: char| !c.is_ascii_alphabetic() && c != '_').next().unwrap_or_default()
    });
    match (status.state(), shown) {
        (State::Pending | State::Running, _) | (_, None) => true,
        (
            State::Success | State::Failure | State::Error | State::Cancelled | State::Skipped,
            Some(shown),
        ) => shown == state(status.state()),
    }
}

/// A status, as it is listed.
#[derive(Deserialize)]
struct Shown {
    id: u64,
    name: String,
    status: String,
    description: Option<String>,
    target_url: Option<String>,
}

/// A merge request, as it is listed.
#[derive(Deserialize)]
struct ListedRequest {
    iid: u64,
    author: Option<Author>,
    sha: String,
    /// Not there any more if the fork was deleted.
    source_project_id: Option<i64>,
    target_project_id: Option<i64>,
    target_branch: Option<String>,
}

fn read_pull_requests(body: &[u8]) -> Result<OpenPullRequests, UnreadableList> {
    read_list(body, |request: ListedRequest| {
        let origin = Origin::of(request.source_project_id, request.target_project_id);
        Listed {
            number: request.iid,
            head: request.sha,
            base: request.target_branch,
            origin,
            author: request.author.map(|author| author.id),
        }
    })
}

/// A comment, as it is read again.
#[derive(Deserialize)]
struct Written {
    author: Person,
    body: String,
    /// Whether the forge itself wrote it, about something that its author did.
    system: bool,
}

/// Somebody, whose name is called otherwise than elsewhere.
#[derive(Deserialize)]
struct Person {
    id: u64,
    username: String,
}

fn read_comment(body: &[u8]) -> Option<Comment> {
    let Written { author, body, system } = serde_json::from_slice(body).ok()?;
    let author = Account { id: author.id, login: author.username };
    (!system).then_some(Comment { author, text: body, pull_request: None })
}

/// Somebody who belongs to a project.
#[derive(Deserialize)]
struct Member {
    id: u64,
    state: String,
    access_level: u32,
}

/// A guest may see a private project's issues, but not its code.
fn read_right(body: &[u8]) -> Option<(u64, Right)> {
    let Member { id, state, access_level } = serde_json::from_slice(body).ok()?;
    let right = match access_level {
        _ if state != "active" => Right::None,
        40.. => Right::Admin,
        30.. => Right::Write,
        20.. => Right::Read,
        _ => Right::None,
    };
    Some((id, right))
}

/// A project may be private, or visible to those only who sign in.
#[derive(Deserialize)]
struct Described {
    id: u64,
    path_with_namespace: String,
    visibility: String,
}

fn read_repository(body: &[u8]) -> Option<DescribedRepository> {
    let Described { id, path_with_namespace, visibility } = serde_json::from_slice(body).ok()?;
    let is_public = visibility == "public";
    Some(DescribedRepository { number: id, path: path_with_namespace, is_public })
}

/// A signature counts where there is one; older versions send the secret itself.
fn verify(headers: &HeaderMap, body: &[u8], secret: &WebhookSecret) -> Result<(), SignatureError> {
    match headers.contains_key("webhook-signature") {
        true => standard_webhook(headers, body, secret),
        false => token(headers, "x-gitlab-token", secret),
    }
}

/// What levain reads of all events.
#[derive(Deserialize)]
struct Body {
    #[serde(rename = "ref")]
    reference: Option<String>,
    project: Option<Project>,
    /// In deliveries about pushes.
    user_id: Option<u64>,
    /// In all others.
    user: Option<Actor>,
    object_attributes: Option<Attributes>,
    merge_request: Option<MergeRequest>,
}

#[derive(Deserialize)]
struct Project {
    id: u64,
    path_with_namespace: String,
}

#[derive(Deserialize)]
struct Attributes {
    id: Option<u64>,
    iid: Option<u64>,
    action: Option<String>,
    noteable_type: Option<String>,
}

#[derive(Deserialize)]
struct MergeRequest {
    iid: u64,
}

fn read(event: &str, body: &[u8]) -> Result<WebhookDelivery, UnreadableDelivery> {
    const KNOWN: &[&str] = &["Push Hook", "Tag Push Hook", "Merge Request Hook", "Note Hook"];
    if !KNOWN.contains(&event) {
        let hint = Hint::Nothing { why: Ignored::Event(short_text(event)) };
        return Ok(WebhookDelivery { repository: None, sender: None, installation: None, hint });
    }
    let mut body: Body = parse(ForgeKind::GitLab, event, body)?;
    let repository = body
        .project
        .take()
        .map(|project| RepositoryId { id: project.id, full_name: project.path_with_namespace });
    let sender = body.user_id.or(body.user.as_ref().map(|user| user.id));
    Ok(WebhookDelivery { repository, sender, installation: None, hint: hint(event, body)? })
}

fn hint(event: &str, body: Body) -> Result<Hint, UnreadableDelivery> {
    if matches!(event, "Push Hook" | "Tag Push Hook") {
        return Ok(Hint::Ref { reference: reference(body.reference, "ref")? });
    }
    let attributes = field(body.object_attributes, "object_attributes")?;
    if event == "Note Hook" {
        return match (attributes.noteable_type.as_deref(), body.merge_request) {
            (Some("MergeRequest"), Some(request)) => Ok(Hint::Comment {
                pull_request: whole_number(Some(request.iid), "merge_request.iid")?,
                comment: whole_number(attributes.id, "object_attributes.id")?,
            }),
            (Some(_) | None, _) => Ok(Hint::Nothing { why: Ignored::NoPullRequest }),
        };
    }
    match attributes.action.as_deref().unwrap_or_default() {
        // An update may be new commits, another target or a new title: the forge tells which.
        "open" | "update" | "reopen" | "close" | "merge" => {
            Ok(Hint::PullRequest { number: whole_number(attributes.iid, "object_attributes.iid")? })
        }
        action => Ok(Hint::Nothing { why: Ignored::Action(short_text(action)) }),
    }
}
