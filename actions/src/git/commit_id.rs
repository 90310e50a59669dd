//! The name of a commit, parsed once at the edge.

use std::fmt;
use std::str::FromStr;

use git2::Oid;
use serde::{Deserialize, Serialize};

/// The name of a commit: 40 hexadecimal digits.
///
/// Says nothing about whether any repository has that commit; [`super::Repository::commit`] does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(Oid);

/// A text that is not the full name of a commit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a commit: expected 40 hexadecimal digits")]
pub struct CommitIdError {
    /// The text as it came.
    pub text: String,
}

impl CommitId {
    pub(crate) fn new(id: Oid) -> Self {
        Self(id)
    }

    pub(crate) fn oid(self) -> Oid {
        self.0
    }

    /// Returns the first 12 digits, for people.
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(12);
        text
    }
}

impl FromStr for CommitId {
    type Err = CommitIdError;

    fn from_str(text: &str) -> Result<Self, CommitIdError> {
        let invalid = || CommitIdError { text: text.to_owned() };
        // libgit2 pads short names with zeros, which would invent a commit.
        if text.len() != 40 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        Oid::from_str(text).map(Self).ok().ok_or_else(invalid)
    }
}

impl TryFrom<String> for CommitId {
    type Error = CommitIdError;

    fn try_from(text: String) -> Result<Self, CommitIdError> {
        text.parse()
    }
}

impl From<CommitId> for String {
    fn from(id: CommitId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CommitId({})", self.0)
    }
}
