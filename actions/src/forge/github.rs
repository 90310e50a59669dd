//! GitHub: its commit statuses, its deliveries and its Apps.
//!
//! Check runs say more than statuses, but only an App may post them; a status works with any token.

mod app;
mod checks;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::json;

use super::people::{Account, Comment, DescribedRepository, People, Right, last_number, named};
use super::pull_request::{
    Author, Listed, OpenPullRequests, Origin, PullRequests, UnreadableList, asking, read_list,
};
use super::record::Forge;
use super::shown_status::{ShownStatus, ShownStatuses, read_shown};
use super::sign_in::SigningIn;
use super::webhook::{
    Actor, Button, Hint, Ignored, Repository, SignatureError, UnreadableDelivery, WebhookDelivery,
    WebhookSecret, Webhooks, branch_or_tag, field, hmac_of_body, parse, reference, short_text,
    whole_number,
};
use super::{Endpoint, ForgeKind, StatusRequest};
use crate::status::{State, Status};

/// GitHub.
pub(super) const FORGE: Forge = Forge {
    name: "github",
    public_host: "github.com",
    public_api: Some("https://api.github.com"),
    api_path: "/api/v3",
    repository_names: "`owner/name`",
    has_groups: false,
    headers: &[("accept", "application/vnd.github+json"), ("x-github-api-version", "2022-11-28")],
    token_header: "authorization",
    token_prefix: "Bearer ",
    token_rights: "`repo:status` (classic token) or `Commit statuses: write` (fine-grained token, App)",
    default_branch_setting: "Settings, General, Default branch",
    git_user: "x-access-token",
    pull_requests: PullRequests {
        list: |endpoint| {
            let (owner, name) = endpoint.owner_and_name();
            let url = endpoint.url(&["repos", owner, name, "pulls"]);
            asking(url, &[("state", "open"), ("per_page", "100")])
        },
        page_size: 100,
        read: read_pull_requests,
    },
    pull_request_ref: |number| format!("refs/pull/{number}/head"),
    pull_request: |endpoint, number| {
        let (owner, name) = endpoint.owner_and_name();
        endpoint.url(&["repos", owner, name, "pulls", &number.to_string()])
    },
    open_states: &["open"],
    closed_states: &["closed"],
    status_request,
    shows_it_already: |_, _, _| false,
    signing_in: SigningIn {
        authorize: &["login", "oauth", "authorize"],
        token: &["login", "oauth", "access_token"],
        // Who somebody is, everybody may ask.
        scopes: &[],
        prefix: "Bearer ",
        read: |body| serde_json::from_slice(body).ok(),
    },
    people: People {
        comment: |endpoint, _, comment| {
            let (owner, name) = endpoint.owner_and_name();
            endpoint.url(&["repos", owner, name, "issues", "comments", &comment.to_string()])
        },
        comments: |endpoint, number, page| {
            let (owner, name) = endpoint.owner_and_name();
            let number = number.to_string();
            let url = endpoint.url(&["repos", owner, name, "issues", &number, "comments"]);
            asking(url, &[("per_page", "100"), ("page", &page.to_string())])
        },
        read_comment,
        right: |endpoint, account| {
            let (owner, name) = endpoint.owner_and_name();
            let login = account.login.as_str();
            endpoint.url(&["repos", owner, name, "collaborators", login, "permission"])
        },
        read_right,
        repository: |endpoint| {
            let (owner, name) = endpoint.owner_and_name();
            endpoint.url(&["repos", owner, name])
        },
        numbered: |endpoint, number| endpoint.url(&["repositories", &number.to_string()]),
        read_repository,
    },
    shown_statuses: ShownStatuses {
        list: |endpoint, status| {
            let (owner, name) = endpoint.owner_and_name();
            let url = endpoint.url(&["repos", owner, name, "commits", status.commit(), "statuses"]);
            asking(url, &[("per_page", "100")])
        },
        page_size: 100,
        read: |body| {
            read_shown(body, |shown: Shown| ShownStatus {
                id: shown.id,
                context: shown.context,
                state: shown.state,
                description: shown.description,
                target_url: shown.target_url,
            })
        },
    },
    webhooks: Webhooks { verify, event: "x-github-event", key: "x-github-delivery", read },
    apps: Some(&app::APPS),
    checks: Some(&checks::CHECKS),
};

/// `POST /repos/OWNER/NAME/statuses/SHA`.
fn status_request(endpoint: &Endpoint, status: &Status) -> StatusRequest {
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
        method: Method::POST,
        url: endpoint.url(&["repos", owner, name, "statuses", status.commit()]),
        body,
    }
}

/// There is neither "running" nor "cancelled" here. What was skipped stays open: any word for an
/// end either counts as a success or is shown as a failure.
fn state(state: State) -> &'static str {
    match state {
        State::Pending | State::Running | State::Skipped => "pending",
        State::Success => "success",
        State::Failure => "failure",
        State::Error | State::Cancelled => "error",
    }
}

/// A status, as it is listed.
#[derive(Deserialize)]
struct Shown {
    id: u64,
    context: String,
    state: String,
    description: Option<String>,
    target_url: Option<String>,
}

/// A pull request, as it is listed.
#[derive(Deserialize)]
struct Pull {
    number: u64,
    /// Not there any more if the account was deleted.
    user: Option<Author>,
    head: Side,
    base: Side,
}

#[derive(Deserialize)]
struct Side {
    sha: String,
    #[serde(rename = "ref")]
    branch: Option<String>,
    /// Not there any more if the fork was deleted.
    repo: Option<Numbered>,
}

#[derive(Deserialize)]
struct Numbered {
    id: i64,
}

fn read_pull_requests(body: &[u8]) -> Result<OpenPullRequests, UnreadableList> {
    read_list(body, |pull: Pull| {
        let number = |side: Option<Numbered>| side.map(|repository| repository.id);
        let origin = Origin::of(number(pull.head.repo), number(pull.base.repo));
        Listed {
            number: pull.number,
            head: pull.head.sha,
            base: pull.base.branch,
            origin,
            author: pull.user.map(|user| user.id),
        }
    })
}

/// A comment, as it is read again.
#[derive(Deserialize)]
struct Written {
    user: Account,
    body: String,
    issue_url: String,
}

fn read_comment(body: &[u8]) -> Option<Comment> {
    let Written { user, body, issue_url } = serde_json::from_slice(body).ok()?;
    Some(Comment { author: user, text: body, pull_request: Some(last_number(&issue_url)?) })
}

/// What somebody may do. "Maintain" is called "write" here, and "triage" is called "read".
#[derive(Deserialize)]
struct Permitted {
    permission: String,
    user: Account,
}

fn read_right(body: &[u8]) -> Option<(u64, Right)> {
    let Permitted { permission, user } = serde_json::from_slice(body).ok()?;
    Some((user.id, named(&permission)))
}

/// A repository may be private, or visible to a company's people only.
#[derive(Deserialize)]
struct Described {
    id: u64,
    full_name: String,
    private: bool,
    visibility: Option<String>,
}

fn read_repository(body: &[u8]) -> Option<DescribedRepository> {
    let Described { id, full_name, private, visibility } = serde_json::from_slice(body).ok()?;
    let is_public = !private && visibility.is_none_or(|visibility| visibility == "public");
    Some(DescribedRepository { number: id, path: full_name, is_public })
}

fn verify(headers: &HeaderMap, body: &[u8], secret: &WebhookSecret) -> Result<(), SignatureError> {
    hmac_of_body(headers, "x-hub-signature-256", "sha256=", body, secret)
}

/// What levain reads of all events.
#[derive(Deserialize)]
struct Body {
    action: Option<String>,
    number: Option<u64>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    ref_type: Option<String>,
    merge_group: Option<MergeGroup>,
    issue: Option<Issue>,
    comment: Option<Actor>,
    check_run: Option<Check>,
    check_suite: Option<Check>,
    requested_action: Option<Pressed>,
    repository: Option<Repository>,
    sender: Option<Sender>,
    installation: Option<Actor>,
}

#[derive(Deserialize)]
struct MergeGroup {
    head_ref: Option<String>,
}

#[derive(Deserialize)]
struct Issue {
    number: u64,
    /// There only if it is one.
    pull_request: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Check {
    head_sha: String,
}

#[derive(Deserialize)]
struct Pressed {
    identifier: String,
}

/// Who did it. The name is for asking what they may do; the number tells whether it is still theirs.
#[derive(Deserialize)]
struct Sender {
    id: u64,
    login: Option<String>,
}

fn read(event: &str, body: &[u8]) -> Result<WebhookDelivery, UnreadableDelivery> {
    const KNOWN: &[&str] = &[
        "check_run",
        "check_suite",
        "create",
        "delete",
        "installation",
        "installation_repositories",
        "issue_comment",
        "merge_group",
        "ping",
        "pull_request",
        "push",
        "repository",
    ];
    if !KNOWN.contains(&event) {
        // Its body may have fields of the same names with other meanings.
        let hint = Hint::Nothing { why: Ignored::Event(short_text(event)) };
        return Ok(WebhookDelivery { repository: None, sender: None, installation: None, hint });
    }
    let mut body: Body = parse(ForgeKind::GitHub, event, body)?;
    let repository = body.repository.take().map(Into::into);
    let sender = body.sender.as_ref().map(|sender| sender.id);
    let installation = body.installation.take().map(|installation| installation.id);
    Ok(WebhookDelivery { repository, sender, installation, hint: hint(event, body)? })
}

fn hint(event: &str, body: Body) -> Result<Hint, UnreadableDelivery> {
    let action = body.action.as_deref().unwrap_or_default();
    Ok(match (event, action) {
        ("ping", _) => Hint::Ping,
        ("push", _) => Hint::Ref { reference: reference(body.reference, "ref")? },
        ("create" | "delete", _) => {
            Hint::Ref { reference: branch_or_tag(body.reference, body.ref_type.as_deref())? }
        }
        ("merge_group", "checks_requested" | "destroyed") => {
            let group = field(body.merge_group, "merge_group")?;
            Hint::Ref { reference: reference(group.head_ref, "merge_group.head_ref")? }
        }
        (
            "pull_request",
            "opened" | "synchronize" | "reopened" | "closed" | "edited" | "ready_for_review"
            | "converted_to_draft",
        ) => Hint::PullRequest { number: whole_number(body.number, "number")? },
        ("issue_comment", "created") => {
            let issue = field(body.issue, "issue")?;
            if issue.pull_request.is_none() {
                return Ok(Hint::Nothing { why: Ignored::NoPullRequest });
            }
            Hint::Comment {
                pull_request: whole_number(Some(issue.number), "issue.number")?,
                comment: field(body.comment, "comment")?.id,
            }
        }
        ("check_run", "rerequested") => Hint::Rerun {
            commit: commit(&field(body.check_run, "check_run")?)?,
            by: by(body.sender),
        },
        ("check_run", "requested_action") => Hint::Button {
            commit: commit(&field(body.check_run, "check_run")?)?,
            button: match field(body.requested_action, "requested_action")?.identifier.as_str() {
                checks::APPROVE => Button::Approve,
                other => Button::Unknown(short_text(other)),
            },
            by: by(body.sender),
        },
        ("check_suite", "rerequested") => Hint::Rerun {
            commit: commit(&field(body.check_suite, "check_suite")?)?,
            by: by(body.sender),
        },
        ("installation" | "installation_repositories", _) => Hint::Installation,
        (
            "repository",
            "edited" | "renamed" | "transferred" | "privatized" | "publicized" | "deleted"
            | "archived" | "unarchived",
        ) => Hint::Repository,
        (_, action) => Hint::Nothing { why: Ignored::Action(short_text(action)) },
    })
}

fn by(sender: Option<Sender>) -> Option<Account> {
    let Sender { id, login } = sender?;
    Some(Account { id, login: login? })
}

fn commit(check: &Check) -> Result<crate::git::CommitId, UnreadableDelivery> {
    field(check.head_sha.parse().ok(), "head_sha")
}
