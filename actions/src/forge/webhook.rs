//! What forges send on their own account: whether it is theirs, what it is called, and where it says to look.
//!
//! A delivery is a hint and never a fact: whatever it names is read again from the forge before anything happens. So
//! only names are taken from it, nothing that says how far somebody is to be trusted. Start at [`read`].

mod body;
mod signature;

use std::fmt;
use std::str::FromStr;

use reqwest::header::HeaderMap;
use sha2::{Digest, Sha256};

use super::{Account, ForgeError, ForgeKind, git};
use crate::git::CommitId;

pub(super) use body::{
    Actor, Repository, branch_or_tag, field, parse, reference, short_text, whole_number,
};
pub use signature::{SignatureError, WebhookSecret, WebhookSecretError};
pub(super) use signature::{hmac_of_body, standard_webhook, token};

/// Bytes of the longest delivery key that is taken from a header.
const LONGEST_KEY: usize = 200;

/// What a delivery says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookDelivery {
    /// The repository that it is about, if it is about one.
    pub repository: Option<RepositoryId>,
    /// The number of whoever caused it.
    pub sender: Option<u64>,
    /// The number of the GitHub App's installation that it came through.
    pub installation: Option<u64>,
    /// Where to look.
    pub hint: Hint,
}

/// How a forge calls a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryId {
    /// Its number, which stays when it is renamed.
    pub id: u64,
    /// Its path, `owner/name`, at the time of the delivery.
    pub full_name: String,
}

/// Where a delivery says that something may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// A ref came, moved or went.
    Ref {
        /// Its full name.
        reference: String,
    },
    /// Refs came, moved or went, and it does not say which.
    Refs,
    /// A pull request came, moved, went, or changed what it is to be merged into.
    PullRequest {
        /// Its number.
        number: u64,
    },
    /// Somebody wrote under a pull request.
    Comment {
        /// The pull request's number.
        pull_request: u64,
        /// The comment's number, by which it can be read again.
        comment: u64,
    },
    /// Somebody asks at the forge for results once more.
    Rerun {
        /// For this commit.
        commit: CommitId,
        /// Who, by their number and the name that they have now.
        by: Option<Account>,
    },
    /// Somebody pressed a button that levain offered.
    Button {
        /// At a check of this commit.
        commit: CommitId,
        /// The button.
        button: Button,
        /// Who, by their number and the name that they have now.
        by: Option<Account>,
    },
    /// What a GitHub App may see changed.
    Installation,
    /// The repository itself changed: its name, its default branch, who sees it.
    Repository,
    /// The forge tries whether anybody listens.
    Ping,
    /// Nothing that levain acts upon.
    Nothing {
        /// Why not.
        why: Ignored,
    },
}

/// A button that levain offers at a forge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Button {
    /// To approve the commit.
    Approve,
    /// One of that name, which levain does not offer.
    Unknown(String),
}

/// Why a delivery calls for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// The kind of event does not concern levain.
    Event(String),
    /// What happened does not concern levain, though other events of that kind do.
    Action(String),
    /// The comment is not under a pull request.
    NoPullRequest,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Gitea 1.23 delivers each status so, among them those that levain itself has posted.
            Self::Event(name) if name.is_empty() => {
                f.write_str("what has no name, such as a status, does not concern levain")
            }
            Self::Event(name) => write!(f, "events `{name}` do not concern levain"),
            Self::Action(name) => write!(f, "`{name}` changes nothing that is built"),
            Self::NoPullRequest => f.write_str("it is not under a pull request"),
        }
    }
}

/// A delivery that is signed well but says nothing that can be read.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableDelivery {
    /// No header says what it is.
    #[error("the header `{header}` is missing, which names the event")]
    NoEvent {
        /// The header.
        header: &'static str,
    },
    /// The body is not what that forge sends.
    #[error("the body is not what {kind} sends with a `{event}`: {source}")]
    Body {
        /// The forge.
        kind: ForgeKind,
        /// The event.
        event: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Something is not there, or is not what it should be.
    #[error("the body has no usable `{field}`")]
    Field {
        /// Its name.
        field: &'static str,
    },
}

/// Who delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    /// A forge.
    Forge(ForgeKind),
    /// A hook of a repository without one.
    Git,
}

impl Sender {
    /// Who is assumed to deliver where it is not known and makes no difference.
    pub const DEFAULT: Self = Self::Forge(ForgeKind::GitHub);

    /// Returns its name: that of the forge's kind, or `git`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forge(kind) => kind.name(),
            Self::Git => "git",
        }
    }

    /// Returns the header that names the event.
    pub fn event_header(self) -> &'static str {
        self.webhooks().event
    }

    fn webhooks(self) -> &'static Webhooks {
        match self {
            Self::Forge(kind) => &kind.record().webhooks,
            Self::Git => &git::WEBHOOKS,
        }
    }
}

impl FromStr for Sender {
    type Err = ForgeError;

    fn from_str(text: &str) -> Result<Self, ForgeError> {
        if text == "git" { Ok(Self::Git) } else { text.parse().map(Self::Forge) }
    }
}

/// How a forge's deliveries are told apart and read.
pub(super) struct Webhooks {
    /// Tells whether a secret made what the headers show.
    pub(super) verify: fn(&HeaderMap, &[u8], &WebhookSecret) -> Result<(), SignatureError>,
    /// The header that names the event.
    pub(super) event: &'static str,
    /// The header that is the same whenever the same thing is delivered again.
    pub(super) key: &'static str,
    /// Reads the body of an event.
    pub(super) read: fn(&str, &[u8]) -> Result<WebhookDelivery, UnreadableDelivery>,
}

/// Tells whether one of the secrets made what the headers show for this very body.
///
/// With several secrets, each is tried: while one is exchanged for another both are in use.
pub fn verify(
    sender: Sender,
    headers: &HeaderMap,
    body: &[u8],
    secrets: &[WebhookSecret],
) -> Result<(), SignatureError> {
    let mut result = Err(SignatureError::NoSecret);
    for secret in secrets {
        // All are tried whatever the first says, so that the time tells nothing.
        let one = (sender.webhooks().verify)(headers, body, secret);
        if result.is_err() {
            result = one;
        }
    }
    result
}

/// Returns what tells a delivery from others: the same for one that is sent again.
///
/// Without a usable header it is the hash of the body.
pub fn delivery_key(sender: Sender, headers: &HeaderMap, body: &[u8]) -> String {
    let header = headers.get(sender.webhooks().key).and_then(|value| value.to_str().ok());
    let is_key = |text: &&str| {
        (1..=LONGEST_KEY).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match header.filter(is_key) {
        Some(key) => key.to_owned(),
        None => format!("sha256:{}", data_encoding::HEXLOWER.encode(&Sha256::digest(body))),
    }
}

/// Reads a delivery, which must have been verified before.
pub fn read(
    sender: Sender,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<WebhookDelivery, UnreadableDelivery> {
    let webhooks = sender.webhooks();
    let event = headers.get(webhooks.event).and_then(|value| value.to_str().ok());
    let event = match (sender, event) {
        (_, Some(event)) => event,
        // There is only one.
        (Sender::Git, None) => "push",
        (Sender::Forge(_), None) => {
            return Err(UnreadableDelivery::NoEvent { header: webhooks.event });
        }
    };
    (webhooks.read)(event, body)
}

#[cfg(test)]
mod tests;
