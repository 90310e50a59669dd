//! Open pull requests, as the forges list them: their heads, and whose repository these are in.
//!
//! That is read here, from the forge's answer and from nothing that a delivery says. Repositories are compared by their
//! numbers, for names change hands. Whatever is not known to be the project's own is a fork's.

use reqwest::Url;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::git::CommitId;

/// An open pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    /// Its number.
    pub number: u64,
    /// Its newest commit.
    pub head: CommitId,
    /// The branch that it is to be merged into, without `refs/heads/`.
    pub base: Option<String>,
    /// Where the head is.
    pub origin: Origin,
    /// The number of its author, if there still is one.
    pub author: Option<u64>,
}

/// Whose repository a pull request's commits are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The project's own: its author may push there.
    Own,
    /// Another one, or one that is gone, or nobody says.
    Fork,
}

impl Origin {
    /// Compares two repositories by their numbers.
    pub(super) fn of(head: Option<i64>, base: Option<i64>) -> Self {
        match (head, base) {
            (Some(head), Some(base)) if head == base && head > 0 => Self::Own,
            (Some(_) | None, Some(_) | None) => Self::Fork,
        }
    }
}

/// The author of a pull request, as all forges send it.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
pub(super) struct Author {
    /// The number.
    pub(super) id: u64,
}

/// What a forge lists as open.
#[derive(Debug, Default)]
pub struct OpenPullRequests {
    /// Those that it describes.
    pub described: Vec<PullRequest>,
    /// The others. They are open all the same.
    pub unreadable: Vec<UnreadablePullRequest>,
}

/// An open pull request that the forge does not describe as it does others.
///
/// Gitea lists one whose fork cannot be opened as `null`, or without its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadablePullRequest {
    /// Its number, if at least that can be read.
    pub number: Option<u64>,
    /// What is wrong.
    pub why: String,
}

/// Something that is no list of pull requests.
#[derive(Debug, thiserror::Error)]
#[error("not a list of pull requests: {0}")]
pub struct UnreadableList(#[from] serde_json::Error);

/// How a forge lists its open pull requests.
pub(super) struct PullRequests {
    /// Where the list is: the path below the interface, and what is asked for.
    pub(super) list: fn(&super::Endpoint) -> Url,
    /// How many a page has at most.
    pub(super) page_size: usize,
    /// Reads a page.
    pub(super) read: fn(&[u8]) -> Result<OpenPullRequests, UnreadableList>,
}

/// A pull request as a forge lists it, not checked yet.
pub(super) struct Listed {
    pub(super) number: u64,
    pub(super) head: String,
    pub(super) base: Option<String>,
    pub(super) origin: Origin,
    pub(super) author: Option<u64>,
}

/// Reads a list, each element by `pull_request`: one that cannot be read does not hide the others.
pub(super) fn read_list<T: DeserializeOwned>(
    body: &[u8],
    pull_request: impl Fn(T) -> Listed,
) -> Result<OpenPullRequests, UnreadableList> {
    let list: Vec<Value> = serde_json::from_slice(body)?;
    let mut open = OpenPullRequests::default();
    for element in list {
        match read_element(element, &pull_request) {
            Ok(described) => open.described.push(described),
            Err(unreadable) => open.unreadable.push(unreadable),
        }
    }
    Ok(open)
}

fn read_element<T: DeserializeOwned>(
    element: Value,
    pull_request: impl Fn(T) -> Listed,
) -> Result<PullRequest, UnreadablePullRequest> {
    // GitLab counts its own way beside `id`.
    let number = element.get("iid").or_else(|| element.get("number")).and_then(Value::as_u64);
    let number = number.filter(|number| *number > 0);
    let unreadable = |why: String| UnreadablePullRequest { number, why };
    let element = serde_json::from_value(element).map_err(|error| unreadable(error.to_string()))?;
    let Listed { number: listed, head, base, origin, author } = pull_request(element);
    if number != Some(listed) {
        return Err(unreadable("it has no number".to_owned()));
    }
    let head = head.parse().map_err(|_no_commit| unreadable("its head is no commit".to_owned()))?;
    let base = base.filter(|name| !name.is_empty());
    Ok(PullRequest { number: listed, head, base, origin, author })
}

/// Adds what is asked for to an address.
pub(super) fn asking(mut url: Url, pairs: &[(&str, &str)]) -> Url {
    url.query_pairs_mut().extend_pairs(pairs);
    url
}
