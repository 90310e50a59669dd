//! Gitea, and Forgejo, which speaks the same: commit statuses and deliveries.

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
    Actor, Hint, Ignored, Repository, SignatureError, UnreadableDelivery, WebhookDelivery,
    WebhookSecret, Webhooks, branch_or_tag, field, hmac_of_body, parse, reference, short_text,
    whole_number,
};
use super::{Endpoint, ForgeKind, StatusRequest};
use crate::status::{State, Status};

/// Gitea.
pub(super) const GITEA: Forge = Forge {
    name: "gitea",
    public_host: "gitea.com",
    public_api: None,
    api_path: "/api/v1",
    repository_names: "`owner/name`",
    has_groups: false,
    headers: &[("accept", "application/json")],
    token_header: "authorization",
    token_prefix: "token ",
    token_rights: "`write:repository`",
    default_branch_setting: "Settings, Branches, Default branch",
    // Any name does: the token says whose it is.
    git_user: "levain",
    pull_requests: PullRequests {
        list: |endpoint| {
            let (owner, name) = endpoint.owner_and_name();
            let url = endpoint.url(&["repos", owner, name, "pulls"]);
            asking(url, &[("state", "open"), ("limit", "50")])
        },
        page_size: 50,
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
        scopes: &["read:user"],
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
            asking(url, &[("limit", "100"), ("page", &page.to_string())])
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
        // The newest first.
        list: |endpoint, status| {
            let (owner, name) = endpoint.owner_and_name();
            let url = endpoint.url(&["repos", owner, name, "commits", status.commit(), "statuses"]);
            asking(url, &[("limit", "50")])
        },
        page_size: 50,
        read: |body| {
            read_shown(body, |shown: Shown| ShownStatus {
                id: shown.id,
                context: shown.context,
                state: shown.status,
                description: shown.description,
                target_url: shown.target_url,
            })
        },
    },
    webhooks: Webhooks { verify, event: "x-gitea-event", key: "x-gitea-delivery", read },
    apps: None,
    checks: None,
};

/// Forgejo, which sends Gitea's headers as well as its own.
pub(super) const FORGEJO: Forge = Forge { name: "forgejo", public_host: "codeberg.org", ..GITEA };

/// `POST /api/v1/repos/OWNER/NAME/statuses/SHA`.
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
        method: reqwest::Method::POST,
        url: endpoint.url(&["repos", owner, name, "statuses", status.commit()]),
        body,
    }
}

/// There is neither "running" nor "cancelled" here. Newer versions have "skipped", but count it as a
/// success where a status is required: so what was skipped stays open.
fn state(state: State) -> &'static str {
    match state {
        State::Pending | State::Running | State::Skipped => "pending",
        State::Success => "success",
        State::Failure => "failure",
        State::Error | State::Cancelled => "error",
    }
}

/// A status, as it is listed: the state has another name than in what is posted.
#[derive(Deserialize)]
struct Shown {
    id: u64,
    context: String,
    status: String,
    description: Option<String>,
    target_url: Option<String>,
}

/// A pull request, as it is listed.
#[derive(Deserialize)]
struct Pull {
    number: u64,
    user: Option<Author>,
    head: Side,
    base: Side,
}

#[derive(Deserialize)]
struct Side {
    sha: String,
    #[serde(rename = "ref")]
    branch: Option<String>,
    /// The branch's name as well. Empty if there is none, as for what was pushed to `refs/for/`.
    label: Option<String>,
    /// Not a number of any repository if the fork was deleted.
    repo_id: Option<i64>,
}

fn read_pull_requests(body: &[u8]) -> Result<OpenPullRequests, UnreadableList> {
    read_list(body, |pull: Pull| {
        // Whoever may read can push to `refs/for/`, and such a pull request is told to come from the repository itself.
        // Only one from a branch does, and its branch is named twice.
        let branch = pull.head.branch.filter(|branch| !branch.is_empty());
        let origin = match branch.is_some() && branch == pull.head.label {
            true => Origin::of(pull.head.repo_id, pull.base.repo_id),
            false => Origin::Fork,
        };
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
    /// Empty under an issue.
    pull_request_url: String,
}

fn read_comment(body: &[u8]) -> Option<Comment> {
    let Written { user, body, pull_request_url } = serde_json::from_slice(body).ok()?;
    let number = last_number(&pull_request_url)?;
    Some(Comment { author: user, text: body, pull_request: Some(number) })
}

/// What somebody may do. Only who administers the repository may ask for others.
#[derive(Deserialize)]
struct Permitted {
    permission: String,
    user: Account,
}

fn read_right(body: &[u8]) -> Option<(u64, Right)> {
    let Permitted { permission, user } = serde_json::from_slice(body).ok()?;
    Some((user.id, named(&permission)))
}

/// A repository may be private, or visible to those only who sign in.
#[derive(Deserialize)]
struct Described {
    id: u64,
    full_name: String,
    private: bool,
    #[serde(default)]
    internal: bool,
}

fn read_repository(body: &[u8]) -> Option<DescribedRepository> {
    let Described { id, full_name, private, internal } = serde_json::from_slice(body).ok()?;
    let is_public = !private && !internal;
    Some(DescribedRepository { number: id, path: full_name, is_public })
}

/// It signs as GitHub does, under names of its own, and sends an empty signature if it has no secret.
fn verify(headers: &HeaderMap, body: &[u8], secret: &WebhookSecret) -> Result<(), SignatureError> {
    hmac_of_body(headers, "x-gitea-signature", "", body, secret)
}

/// What levain reads of all events.
#[derive(Deserialize)]
struct Body {
    action: Option<String>,
    number: Option<u64>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    ref_type: Option<String>,
    is_pull: Option<bool>,
    issue: Option<Issue>,
    comment: Option<Actor>,
    repository: Option<Repository>,
    sender: Option<Actor>,
}

#[derive(Deserialize)]
struct Issue {
    number: u64,
}

fn read(event: &str, body: &[u8]) -> Result<WebhookDelivery, UnreadableDelivery> {
    const KNOWN: &[&str] =
        &["create", "delete", "issue_comment", "pull_request", "push", "repository"];
    if !KNOWN.contains(&event) {
        let hint = Hint::Nothing { why: Ignored::Event(short_text(event)) };
        return Ok(WebhookDelivery { repository: None, sender: None, installation: None, hint });
    }
    let mut body: Body = parse(ForgeKind::Gitea, event, body)?;
    let repository = body.repository.take().map(Into::into);
    let sender = body.sender.take().map(|sender| sender.id);
    Ok(WebhookDelivery { repository, sender, installation: None, hint: hint(event, body)? })
}

fn hint(event: &str, body: Body) -> Result<Hint, UnreadableDelivery> {
    Ok(match (event, body.action.as_deref().unwrap_or_default()) {
        ("push", _) => Hint::Ref { reference: reference(body.reference, "ref")? },
        ("create" | "delete", _) => {
            Hint::Ref { reference: branch_or_tag(body.reference, body.ref_type.as_deref())? }
        }
        // With one d more than at GitHub, in some versions without.
        (
            "pull_request",
            "opened" | "synchronized" | "synchronize" | "reopened" | "closed" | "edited",
        ) => Hint::PullRequest { number: whole_number(body.number, "number")? },
        ("issue_comment", "created") => {
            if body.is_pull != Some(true) {
                return Ok(Hint::Nothing { why: Ignored::NoPullRequest });
            }
            let number = body.issue.map(|issue| issue.number);
            Hint::Comment {
                pull_request: whole_number(number, "issue.number")?,
                comment: field(body.comment, "comment")?.id,
            }
        }
        ("repository", "created" | "deleted") => Hint::Repository,
        (_, action) => Hint::Nothing { why: Ignored::Action(short_text(action)) },
    })
}
