//! Open pull requests, as the forges list them: their heads, and whose repository these are in.
//!
//! That is read here, from the forge's answer and from nothing that a delivery says. Repositories are compared by their
//! numbers, for names change hands. Whatever is not known to be the project's own is a fork's.

use reqwest::Url;
use serde::de::DeserializeOwned;

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

/// Something in a list of pull requests that is none.
#[derive(Debug, thiserror::Error)]
pub enum UnreadablePullRequest {
    /// It is not what that forge answers.
    #[error("not a list of pull requests: {0}")]
    Body(#[from] serde_json::Error),
    /// The head is no commit.
    #[error("the head of pull request {number} is no commit")]
    Head {
        /// The pull request.
        number: u64,
    },
}

/// How a forge lists its open pull requests.
pub(super) struct PullRequests {
    /// Where the list is: the path below the interface, and what is asked for.
    pub(super) list: fn(&super::Endpoint) -> Url,
    /// How many a page has at most.
    pub(super) page_size: usize,
    /// Reads a page.
    pub(super) read: fn(&[u8]) -> Result<Vec<PullRequest>, UnreadablePullRequest>,
}

/// A pull request as a forge lists it, not checked yet.
pub(super) struct Listed {
    pub(super) number: u64,
    pub(super) head: String,
    pub(super) base: Option<String>,
    pub(super) origin: Origin,
    pub(super) author: Option<u64>,
}

/// Reads a list, each element by `pull_request`.
pub(super) fn read_list<T: DeserializeOwned>(
    body: &[u8],
    pull_request: impl Fn(T) -> Listed,
) -> Result<Vec<PullRequest>, UnreadablePullRequest> {
    let list: Vec<T> = serde_json::from_slice(body)?;
    list.into_iter()
        .map(|element| {
            let Listed { number, head, base, origin, author } = pull_request(element);
            let base = base.filter(|name| !name.is_empty());
            match head.parse() {
                Ok(head) if number > 0 => Ok(PullRequest { number, head, base, origin, author }),
                Ok(_) | Err(_) => Err(UnreadablePullRequest::Head { number }),
            }
        })
        .collect()
}

/// Adds what is asked for to an address.
pub(super) fn asking(mut url: Url, pairs: &[(&str, &str)]) -> Url {
    url.query_pairs_mut().extend_pairs(pairs);
    url
}
