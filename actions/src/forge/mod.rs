//! The forges: which there are, how to reach their interfaces, and what each wants to be sent.
//!
//! This folder is the only place in the Rust code that names a forge. It sends nothing: it turns a
//! [`Status`](crate::status::Status) into a request and reads what an answer means; the sending is
//! [`StatusClient`](crate::status::StatusClient)'s. Start at [`ForgeConfig`].

mod app;
mod check;
mod checkout;
mod config;
mod covered;
mod git;
mod gitea;
mod github;
mod gitlab;
mod http;
mod limits;
mod masks;
mod merge_queue;
mod people;
mod pull_request;
mod questions;
mod reach;
mod record;
mod reference;
mod remote;
mod searched;
mod shown_status;
mod sign_in;
mod tls;
mod token;
pub mod webhook;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode, Url};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use app::{
    AppError, AppKey, AppKeyError, AppLogin, Granted, Installed, KnownGrant, MadeApp, Manifest,
    ManifestForm, Reach, SPARE, made, manifest_form,
};
pub use check::{Check, ShownCheck, Standing};
pub use checkout::{CheckedOut, pull_request_of};
pub use config::{ForgeConfig, ForgeError};
pub use covered::{Covered, Secrets, TooManySecrets};
pub use limits::{Limit, LimitListener, Limits};
pub use masks::Masks;
pub use merge_queue::is_merge_queue;
pub use people::{Account, Comment, DescribedRepository, Right};
pub use pull_request::{
    OpenPullRequests, Origin, PullRequest, UnreadableList, UnreadablePullRequest,
};
pub use questions::{QuestionError, Questions};
pub use reach::{ReachError, answer_to_get, answer_to_post};
pub use reference::{ReferenceError, Source, source};
pub use remote::{
    RemoteRepository, address_of_remote, place_of_remote, renamed, repository_from_remote,
};
pub use sign_in::{Departure, SignIn, SignInError, is_at};
pub use token::{Token, TokenError};

pub(crate) use check::{check_request, checks_url, read_checks, standing};
pub(crate) use config::Endpoint;
pub(crate) use http::{client, headers, read, read_within, send};
pub(crate) use shown_status::{ShownStatus, is_shown};
use tls::tls_config;

use crate::git::Login;
use crate::status::{State, Status};

/// A kind of forge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ForgeKind {
    /// github.com, or GitHub Enterprise Server.
    GitHub,
    /// gitlab.com, or a GitLab of one's own.
    GitLab,
    /// A Gitea.
    Gitea,
    /// A Forgejo: a fork of Gitea that still speaks its interface.
    Forgejo,
}

impl ForgeKind {
    /// Every kind, in the order in which messages list them.
    pub const ALL: [Self; 4] = [Self::GitHub, Self::GitLab, Self::Gitea, Self::Forgejo];

    /// Returns the kind's name as it is written in a declaration.
    pub fn name(self) -> &'static str {
        self.record().name
    }

    /// Returns the kind of forge behind a remote's URL, for the few public hosts that tell.
    pub fn of_remote(url: &str) -> Option<Self> {
        let host = remote::host(url)?;
        Self::ALL.into_iter().find(|kind| kind.record().public_host == host)
    }

    /// Returns the rights that a token needs to post a status, for a hint.
    pub fn token_rights(self) -> &'static str {
        self.record().token_rights
    }

    /// Returns where people say which branch of a repository is the default, for a hint.
    pub fn default_branch_setting(self) -> &'static str {
        self.record().default_branch_setting
    }

    /// Returns the address of the web pages that everybody means by it.
    pub fn public_url(self) -> String {
        format!("https://{}", self.record().public_host)
    }

    /// Returns whether programs can be Apps there.
    pub fn has_apps(self) -> bool {
        self.record().apps.is_some()
    }

    /// Returns how git proves itself with a token at the web server that a repository is on; nothing if `url` leads
    /// to none.
    pub fn git_login(self, url: &str, token_file: PathBuf) -> Option<Login> {
        Login::new(url, self.record().git_user, token_file)
    }
}

impl fmt::Display for ForgeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ForgeKind {
    type Err = ForgeError;

    fn from_str(text: &str) -> Result<Self, ForgeError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| ForgeError::UnknownKind { found: text.to_owned() })
    }
}

/// Returns the refs under which a forge offers the head of a pull request, most likely first.
///
/// Without a kind, every spelling is returned: the caller asks the remote which one exists.
pub fn pull_request_refs(kind: Option<ForgeKind>, number: u64) -> Vec<String> {
    let kinds = match kind {
        Some(kind) => vec![kind],
        None => ForgeKind::ALL.to_vec(),
    };
    let mut refs: Vec<String> = Vec::new();
    for kind in kinds {
        let name = (kind.record().pull_request_ref)(number);
        if !refs.contains(&name) {
            refs.push(name);
        }
    }
    refs
}

/// One request that reports a status. The body is JSON, on every forge.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StatusRequest {
    /// The method. Statuses are posted.
    pub(crate) method: Method,
    /// Where to.
    pub(crate) url: Url,
    /// What is posted.
    pub(crate) body: Value,
}

/// Turns a status into the request that its forge wants.
pub(crate) fn status_request(endpoint: &Endpoint, status: &Status) -> StatusRequest {
    (endpoint.kind.record().status_request)(endpoint, status)
}

/// Returns where a page of the open pull requests is. The method is GET.
pub(crate) fn pull_requests_url(endpoint: &Endpoint, page: u32) -> Url {
    let pull_requests = &endpoint.kind.record().pull_requests;
    let url = (pull_requests.list)(endpoint);
    pull_request::asking(url, &[("page", &page.to_string())])
}

/// Returns how many pull requests a page has at most.
pub(crate) fn page_size(kind: ForgeKind) -> usize {
    kind.record().pull_requests.page_size
}

/// Reads a page of pull requests.
pub(crate) fn read_pull_requests(
    kind: ForgeKind,
    body: &[u8],
) -> Result<OpenPullRequests, UnreadableList> {
    (kind.record().pull_requests.read)(body)
}

/// Returns where a page of the statuses is that have a status's commit and name. The method is GET.
pub(crate) fn shown_statuses_url(endpoint: &Endpoint, status: &Status, page: u32) -> Url {
    let url = (endpoint.kind.record().shown_statuses.list)(endpoint, status);
    pull_request::asking(url, &[("page", &page.to_string())])
}

/// Returns how many statuses a page has at most.
pub(crate) fn shown_page_size(kind: ForgeKind) -> usize {
    kind.record().shown_statuses.page_size
}

/// Reads a page of statuses.
pub(crate) fn read_shown_statuses(
    kind: ForgeKind,
    body: &[u8],
) -> Result<Vec<ShownStatus>, serde_json::Error> {
    (kind.record().shown_statuses.read)(body)
}

/// Takes secrets out of what is posted: a build may have printed one.
pub(crate) fn mask(masks: &Masks, body: &mut Value) {
    match body {
        Value::String(text) => *text = masks.apply(text).into_owned(),
        Value::Array(items) => items.iter_mut().for_each(|item| mask(masks, item)),
        Value::Object(fields) => fields.values_mut().for_each(|field| mask(masks, field)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Returns whether a refusal means that the forge already shows this very status.
pub(crate) fn shows_it_already(
    kind: ForgeKind,
    status: &Status,
    code: StatusCode,
    message: &str,
) -> bool {
    (kind.record().shows_it_already)(status, code, message)
}

/// Returns the state to send in place of `state`, if a refusal says that this forge does not know it.
pub(crate) fn instead_of(kind: ForgeKind, state: State, code: u16, message: &str) -> Option<State> {
    match kind {
        ForgeKind::GitLab => gitlab::instead_of(state, code, message),
        ForgeKind::GitHub | ForgeKind::Gitea | ForgeKind::Forgejo => None,
    }
}

/// Returns whether an answer says "not now" rather than "no".
///
/// 429 says so everywhere. A 403 is a matter of rights unless headers or message say otherwise:
/// the remaining count is sent with every answer, so only a count of zero tells.
pub(crate) fn is_rate_limit(code: StatusCode, headers: &HeaderMap, message: &str) -> bool {
    if code == StatusCode::TOO_MANY_REQUESTS {
        return true;
    }
    code == StatusCode::FORBIDDEN
        && (headers.contains_key("retry-after")
            || ["x-ratelimit-remaining", "ratelimit-remaining"]
                .iter()
                .any(|name| headers.get(*name).is_some_and(|value| value == "0"))
            || message.to_ascii_lowercase().contains("rate limit"))
}

#[cfg(test)]
mod tests;
