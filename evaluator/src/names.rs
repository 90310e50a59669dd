//! What jobsets and jobs are called: texts that cannot be taken for each other.
//!
//! Whether there is such a jobset or job is another question. Start at [`JobsetName`] and [`JobName`].

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::AttrPath;

/// The name of a jobset: `heads/BRANCH`, `pull/NUMBER` or `tags/TAG`.
///
/// A branch called `pull/7` is `heads/pull/7`: no branch can pose as a pull request, nor as a tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobsetName(String);

/// A text that is not the name of a jobset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no jobset\nhint: a branch is `heads/BRANCH`, a pull request `pull/NUMBER`, a tag `tags/TAG`"
)]
pub struct JobsetNameError {
    /// The text.
    pub text: String,
}

/// What a jobset is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named<'a> {
    /// The branch of that name.
    Branch(&'a str),
    /// The pull request of that number.
    PullRequest(u64),
    /// The tag of that name.
    Tag(&'a str),
}

impl JobsetName {
    /// Returns the name of a branch's jobset.
    pub fn branch(name: &str) -> Self {
        Self(format!("heads/{name}"))
    }

    /// Returns the name of a pull request's jobset.
    pub fn pull_request(number: u64) -> Self {
        Self(format!("pull/{number}"))
    }

    /// Returns the name of a tag's jobset.
    pub fn tag(name: &str) -> Self {
        Self(format!("tags/{name}"))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns what it is the name of.
    pub fn named(&self) -> Named<'_> {
        // Whatever is neither is a branch: the name was checked when it was made.
        match (number_in(&self.0), self.0.strip_prefix("tags/")) {
            (Some(number), _) => Named::PullRequest(number),
            (None, Some(tag)) => Named::Tag(tag),
            (None, None) => Named::Branch(self.0.strip_prefix("heads/").unwrap_or_default()),
        }
    }
}

fn number_in(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("pull/")?;
    // One spelling for each number: the one that `pull_request` gives.
    let number: u64 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

impl FromStr for JobsetName {
    type Err = JobsetNameError;

    fn from_str(text: &str) -> Result<Self, JobsetNameError> {
        let kinds = ["heads/", "tags/"];
        let mut names = kinds.iter().filter_map(|kind| text.strip_prefix(kind));
        if names.any(|name| !name.is_empty()) || number_in(text).is_some() {
            Ok(Self(text.to_owned()))
        } else {
            Err(JobsetNameError { text: text.to_owned() })
        }
    }
}

impl TryFrom<String> for JobsetName {
    type Error = JobsetNameError;

    fn try_from(text: String) -> Result<Self, JobsetNameError> {
        text.parse()
    }
}

impl From<JobsetName> for String {
    fn from(name: JobsetName) -> Self {
        name.0
    }
}

/// The name of a job in its jobset: its attribute path as text.
///
/// Names that were written down by others need not be attribute paths; then no job has them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobName(String);

impl JobName {
    /// Takes a name as it was written down.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for JobName {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<&AttrPath> for JobName {
    fn from(path: &AttrPath) -> Self {
        Self(path.to_string())
    }
}

impl From<JobName> for String {
    fn from(name: JobName) -> Self {
        name.0
    }
}

// Maps of names are asked with texts that come from outside.
impl Borrow<str> for JobName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for JobsetName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<&str> for JobName {
    fn eq(&self, text: &&str) -> bool {
        self.0 == *text
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for JobsetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobsets_are_branches_and_pull_requests() {
        for (text, named) in [
            ("heads/main", Named::Branch("main")),
            ("heads/a/b", Named::Branch("a/b")),
            ("heads/pull/7", Named::Branch("pull/7")),
            ("pull/7", Named::PullRequest(7)),
            ("pull/0", Named::PullRequest(0)),
            ("tags/v1", Named::Tag("v1")),
            ("tags/a/b", Named::Tag("a/b")),
            ("heads/tags/v1", Named::Branch("tags/v1")),
        ] {
            let name: JobsetName = text.parse().unwrap();
            assert_eq!((name.named(), name.as_str()), (named, text));
            let made = match named {
                Named::Branch(branch) => JobsetName::branch(branch),
                Named::PullRequest(number) => JobsetName::pull_request(number),
                Named::Tag(tag) => JobsetName::tag(tag),
            };
            assert_eq!(made, name);
            assert_eq!(serde_json::to_value(&name).unwrap(), text);
        }
        for text in [
            "",
            "main",
            "heads/",
            "pull/",
            "pull/07",
            "pull/7/head",
            "pull/+7",
            "pull/x",
            "tags/",
            "tag/v1",
        ] {
            assert!(text.parse::<JobsetName>().is_err(), "{text}");
            assert!(serde_json::from_value::<JobsetName>(text.into()).is_err(), "{text}");
        }
    }
}
