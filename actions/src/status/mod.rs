//! The status action: tells the forge, on the original commit, how each job and the jobset fare.
//!
//! [`Status`] is what is said, [`Texts`] how it is worded, [`StatusClient`] the only thing that can
//! say it, and [`Outbox`] what a jobset's statuses are handed to. Without a client nothing is ever
//! sent: read-only mode makes none. What the forges want is in [`crate::forge`].

mod client;
mod contexts;
mod delivery;
mod details;
mod outbox;
mod posted;
mod reader;
mod retry;
mod texts;

pub use client::StatusClient;
pub use contexts::distinct;
pub use delivery::{Delivered, DeliveryError, Remedy};
pub use details::{Details, MOST_NOTES, Note, TEXT_LIMIT, cut};
pub use outbox::{Outbox, StatusSink, UndeliveredStatus};
pub use posted::{Posted, Weight};
pub use reader::{ReadError, StatusReader};
pub(crate) use retry::asked_wait;
pub use retry::{Clock, RetryPolicy, SystemClock};
pub use texts::{
    JobPhase, JobText, StatusTexts, SummaryPhase, SummaryText, Texts, TextsError, seconds,
};

use levain_store::visible_line;
use serde::{Deserialize, Serialize};

/// The longest description that every forge takes, in characters.
pub const DESCRIPTION_LIMIT: usize = 140;

/// The longest context that every forge takes, in characters.
pub const CONTEXT_LIMIT: usize = 100;

/// How a job or a jobset fares. Each forge has its own words for these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It waits.
    Pending,
    /// It is being evaluated or built.
    Running,
    /// It is done, and all is well.
    Success,
    /// It is done, and the author has something to mend.
    Failure,
    /// levain or its machine failed: not the author's fault.
    Error,
    /// Someone or something newer stopped it.
    Cancelled,
    /// It was not done, and nothing is wrong with it. Never a success: what a forge requires would
    /// be met by what nobody built. To forges without a word for it, it still waits.
    Skipped,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Running,
        Self::Success,
        Self::Failure,
        Self::Error,
        Self::Cancelled,
        Self::Skipped,
    ];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }

    /// Returns whether nothing more is to come.
    pub fn is_final(self) -> bool {
        match self {
            Self::Pending | Self::Running => false,
            Self::Success | Self::Failure | Self::Error | Self::Cancelled | Self::Skipped => true,
        }
    }
}

/// One status on one commit, within the limits that every forge has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    commit: String,
    context: String,
    state: State,
    description: String,
    target_url: Option<String>,
    git_ref: Option<String>,
    details: Details,
}

/// Why something is not a status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidStatus {
    /// The commit is not a full commit id.
    #[error("`{found}` is not a commit, expected 40 or 64 hexadecimal digits")]
    Commit {
        /// What was found.
        found: String,
    },
    /// The context has no name.
    #[error("the context of a status is empty")]
    EmptyContext,
    /// The link cannot be followed.
    #[error("`{found}` is not a link, expected an http or https URL without user and password")]
    TargetUrl {
        /// What was found.
        found: String,
    },
}

impl Status {
    /// Makes a status on the original commit; context and description are shortened as needed.
    pub fn new(
        commit: &str,
        context: &str,
        state: State,
        description: &str,
    ) -> Result<Self, InvalidStatus> {
        let hex = commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !hex || !matches!(commit.len(), 40 | 64) {
            return Err(InvalidStatus::Commit { found: commit.to_owned() });
        }
        let context = shorten_context(context);
        if context.is_empty() {
            return Err(InvalidStatus::EmptyContext);
        }
        Ok(Self {
            commit: commit.to_ascii_lowercase(),
            context,
            state,
            description: shorten(description, DESCRIPTION_LIMIT),
            target_url: None,
            git_ref: None,
            details: Details::default(),
        })
    }

    /// Returns the same status with another state.
    #[must_use]
    pub(crate) fn with_state(self, state: State) -> Self {
        Self { state, ..self }
    }

    /// Gives the status another name, one of [`distinct`].
    #[must_use]
    pub fn named(self, context: &str) -> Self {
        Self { context: shorten_context(context), ..self }
    }

    /// Adds the page that the status links to.
    pub fn with_target_url(mut self, url: &str) -> Result<Self, InvalidStatus> {
        let followable = reqwest::Url::parse(url).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.username().is_empty()
                && url.password().is_none()
        });
        if !followable {
            return Err(InvalidStatus::TargetUrl { found: url.to_owned() });
        }
        self.target_url = Some(url.to_owned());
        Ok(self)
    }

    /// Adds the branch, as `refs/heads/…` or by its short name. Only some forges want it.
    #[must_use]
    pub fn with_git_ref(mut self, name: &str) -> Self {
        self.git_ref = Some(name.to_owned());
        self
    }

    /// Adds what is said where there is room. Only Apps say it.
    #[must_use]
    pub fn with_details(self, details: Details) -> Self {
        Self { details, ..self }
    }

    /// Returns what is said where there is room.
    pub fn details(&self) -> &Details {
        &self.details
    }

    /// Returns whether a check run with this has ended, so that what follows is a new one.
    pub fn ends_check(&self) -> bool {
        match self.state {
            State::Pending => self.details.asks_approval(),
            State::Running | State::Skipped => false,
            State::Success | State::Failure | State::Error | State::Cancelled => true,
        }
    }

    /// Returns the original commit, in lower case.
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// Returns the status's name, under which it replaces an earlier one.
    pub fn context(&self) -> &str {
        &self.context
    }

    /// Returns how it fares.
    pub fn state(&self) -> State {
        self.state
    }

    /// Returns the text, of at most [`DESCRIPTION_LIMIT`] characters.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Returns the page that it links to.
    pub fn target_url(&self) -> Option<&str> {
        self.target_url.as_deref()
    }

    /// Returns the branch.
    pub fn git_ref(&self) -> Option<&str> {
        self.git_ref.as_deref()
    }
}

/// Returns what names of statuses have in common that a forge takes for the same.
pub fn folded(context: &str) -> String {
    contexts::folded(context)
}

/// Puts a text on one line and cuts it to a number of characters, with "…" as the last of them.
///
/// Characters, not bytes: a cut never falls inside one, and "ü" does not count twice.
pub fn shorten(text: &str, limit: usize) -> String {
    let line = one_line(text);
    if line.chars().count() <= limit {
        return line;
    }
    let kept: String = line.chars().take(limit.saturating_sub(1)).collect();
    if limit == 0 { String::new() } else { format!("{}…", kept.trim_end()) }
}

/// Cuts a context to [`CONTEXT_LIMIT`] characters.
///
/// Jobs often differ only at the end of a long name, and two statuses with one context would
/// overwrite each other: so a cut context ends in a hash of the whole one. The hash (FNV-1a) is
/// part of what users name in their branch protection, so it must stay the same for ever.
fn shorten_context(text: &str) -> String {
    let line = one_line(text);
    if line.chars().count() <= CONTEXT_LIMIT {
        return line;
    }
    let hash = line
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{}{hash:08x}", shorten(&line, CONTEXT_LIMIT - 8))
}

fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    visible_line(&line).into_owned()
}

#[cfg(test)]
pub(crate) mod tests;
