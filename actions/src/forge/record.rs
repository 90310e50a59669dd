//! What levain knows about one kind of forge, as one value.
//!
//! Each forge is a file with such a value, and a line in [`ForgeKind::record`]. Nothing else in levain tells forges
//! apart.

use reqwest::{StatusCode, Url};

use super::app::Apps;
use super::check::Checks;
use super::people::People;
use super::pull_request::PullRequests;
use super::shown_status::ShownStatuses;
use super::sign_in::SigningIn;
use super::webhook::Webhooks;
use super::{Endpoint, ForgeKind, StatusRequest, gitea, github, gitlab};
use crate::status::Status;

/// A kind of forge.
pub(super) struct Forge {
    /// Its name, as it is written in a declaration.
    pub(super) name: &'static str,
    /// The host that everybody means by it.
    pub(super) public_host: &'static str,
    /// Its interface at the public host, if that is not where it is elsewhere.
    pub(super) public_api: Option<&'static str>,
    /// Where its interface is, below the address of its web pages.
    pub(super) api_path: &'static str,
    /// How it names repositories, for a message.
    pub(super) repository_names: &'static str,
    /// Whether there are groups within groups, and numbers that stand for a repository.
    pub(super) has_groups: bool,
    /// The headers of each request, without the secret one.
    pub(super) headers: &'static [(&'static str, &'static str)],
    /// The header that carries the token.
    pub(super) token_header: &'static str,
    /// What stands before the token in that header.
    pub(super) token_prefix: &'static str,
    /// What a token must be allowed to do to post a status.
    pub(super) token_rights: &'static str,
    /// Where people say which branch is the default: the settings of a repository, one below the other.
    pub(super) default_branch_setting: &'static str,
    /// The user name that git shows it together with a token.
    pub(super) git_user: &'static str,
    /// How it lists open pull requests.
    pub(super) pull_requests: PullRequests,
    /// The ref with the head of a pull request.
    pub(super) pull_request_ref: fn(u64) -> String,
    /// Where a pull request can be read.
    pub(super) pull_request: fn(&Endpoint, u64) -> Url,
    /// What it calls the state of a pull request that may still change.
    pub(super) open_states: &'static [&'static str],
    /// What it calls the state of one that is closed or merged.
    pub(super) closed_states: &'static [&'static str],
    /// The request that posts a status.
    pub(super) status_request: fn(&Endpoint, &Status) -> StatusRequest,
    /// Whether a refusal means that the forge already shows this very status.
    pub(super) shows_it_already: fn(&Status, StatusCode, &str) -> bool,
    /// How people sign in with their accounts.
    pub(super) signing_in: SigningIn,
    /// How it is asked about people.
    pub(super) people: People,
    /// How it lists the statuses of a commit.
    pub(super) shown_statuses: ShownStatuses,
    /// What it sends.
    pub(super) webhooks: Webhooks,
    /// How it deals with Apps, if it has any.
    pub(super) apps: Option<&'static Apps>,
    /// How it shows what Apps report, if it does.
    pub(super) checks: Option<&'static Checks>,
}

impl ForgeKind {
    /// Returns what is known about it.
    pub(super) fn record(self) -> &'static Forge {
        match self {
            Self::GitHub => &github::FORGE,
            Self::GitLab => &gitlab::FORGE,
            Self::Gitea => &gitea::GITEA,
            Self::Forgejo => &gitea::FORGEJO,
        }
    }
}
