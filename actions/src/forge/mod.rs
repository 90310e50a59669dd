//! The forges: which there are, how to reach their interfaces, and what each wants to be sent.
//!
//! This folder is the only place in the Rust code that names a forge. It sends nothing: it turns a
//! [`Status`](crate::status::Status) into a request and reads what an answer means; the sending is
//! [`StatusClient`](crate::status::StatusClient)'s. Start at [`ForgeConfig`].

mod config;
mod gitea;
mod github;
mod gitlab;
mod remote;
mod tls;
mod token;

use std::fmt;
use std::str::FromStr;

use reqwest::header::HeaderMap;
use reqwest::{StatusCode, Url};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use config::{ForgeConfig, ForgeError};
pub use remote::{RemoteRepository, repository_from_remote};
pub use token::{Token, TokenError, mask};

pub(crate) use config::Endpoint;
pub(crate) use tls::tls_config;

use crate::status::Status;

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
        match self {
            Self::GitHub => "github",
            Self::GitLab => "gitlab",
            Self::Gitea => "gitea",
            Self::Forgejo => "forgejo",
        }
    }

    /// Returns the kind of forge behind a remote's URL, for the few public hosts that tell.
    pub fn of_remote(url: &str) -> Option<Self> {
        match remote::host(url)?.as_str() {
            "github.com" => Some(Self::GitHub),
            "gitlab.com" => Some(Self::GitLab),
            "gitea.com" => Some(Self::Gitea),
            "codeberg.org" => Some(Self::Forgejo),
            _ => None,
        }
    }

    /// Returns the rights that a token needs to post a status, for a hint.
    pub fn token_rights(self) -> &'static str {
        match self {
            Self::GitHub => github::TOKEN_RIGHTS,
            Self::GitLab => gitlab::TOKEN_RIGHTS,
            Self::Gitea | Self::Forgejo => gitea::TOKEN_RIGHTS,
        }
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
    let pull = format!("refs/pull/{number}/head");
    let merge_request = format!("refs/merge-requests/{number}/head");
    match kind {
        Some(ForgeKind::GitHub | ForgeKind::Gitea | ForgeKind::Forgejo) => vec![pull],
        Some(ForgeKind::GitLab) => vec![merge_request],
        None => vec![pull, merge_request],
    }
}

/// One request that posts a status. The method is POST and the body JSON, on every forge.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StatusRequest {
    /// Where to.
    pub(crate) url: Url,
    /// The forge's own headers, without the secret one.
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    /// The header that carries the token.
    pub(crate) token_header: &'static str,
    /// What stands before the token in that header.
    pub(crate) token_prefix: &'static str,
    /// What is posted.
    pub(crate) body: Value,
}

/// Turns a status into the request that its forge wants.
pub(crate) fn status_request(endpoint: &Endpoint, status: &Status) -> StatusRequest {
    match endpoint.kind {
        ForgeKind::GitHub => github::status_request(endpoint, status),
        ForgeKind::GitLab => gitlab::status_request(endpoint, status),
        ForgeKind::Gitea | ForgeKind::Forgejo => gitea::status_request(endpoint, status),
    }
}

/// Returns whether a refusal means that the forge already shows this very status.
pub(crate) fn shows_it_already(
    kind: ForgeKind,
    status: &Status,
    code: StatusCode,
    message: &str,
) -> bool {
    match kind {
        ForgeKind::GitLab => gitlab::shows_it_already(status, code, message),
        ForgeKind::GitHub | ForgeKind::Gitea | ForgeKind::Forgejo => false,
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
