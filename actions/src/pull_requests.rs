//! Asks a forge which pull requests are open. Only reads.
//!
//! Start at [`PullRequestReader`]. What each forge answers is in [`crate::forge`].

use std::collections::BTreeMap;

use reqwest::header::HeaderMap;
use reqwest::{StatusCode, Url};

use crate::forge::{self, Endpoint, ForgeConfig, ForgeError, ForgeKind, Masks, Token};
use crate::status::shorten;

pub use crate::forge::{
    OpenPullRequests, Origin, PullRequest, UnreadableList, UnreadablePullRequest,
};

/// How much of a page is read. A page of a hundred has a few megabytes.
const PAGE_LIMIT: usize = 32 << 20;
/// How many pages are asked for.
const PAGES: u32 = 50;
/// How much of a refusal is shown.
const EXCERPT_LIMIT: usize = 200;

/// Lists the open pull requests of one repository.
#[derive(Debug)]
pub struct PullRequestReader {
    endpoint: Endpoint,
    headers: HeaderMap,
    masks: Masks,
    http: reqwest::Client,
}

/// Why a list could not be had. Then nothing is known: not that there are none.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// There was no answer.
    #[error("cannot reach `{url}`: {source}")]
    Unreachable {
        /// The interface's URL.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The forge refused.
    #[error(
        "{kind} answered {status} when it was asked for the pull requests of `{repository}`: {message}{}",
        hint(*.status)
    )]
    Refused {
        /// The forge.
        kind: ForgeKind,
        /// The HTTP status.
        status: u16,
        /// The repository.
        repository: String,
        /// What it said.
        message: String,
    },
    /// The answer cannot be read.
    #[error("`{url}` answered {source}")]
    Unreadable {
        /// The interface's URL.
        url: String,
        /// What is wrong.
        #[source]
        source: UnreadableList,
    },
    /// A page is too long.
    #[error("a page of the pull requests of `{repository}` has more than {PAGE_LIMIT} bytes")]
    TooLong {
        /// The repository.
        repository: String,
    },
    /// There is no end to them.
    #[error("the pull requests of `{repository}` have more than {PAGES} pages")]
    TooMany {
        /// The repository.
        repository: String,
    },
}

/// Returns what to do about a refusal, on a line of its own, if anything but to wait.
fn hint(status: u16) -> &'static str {
    match status {
        300..=399 => {
            "\nhint: the repository may have another name by now, which a project with a token follows"
        }
        401 => {
            "\nhint: the token may have been revoked or have expired; write a new one to its file"
        }
        403 | 404 => "\nhint: the token must be allowed to read pull requests",
        _ => "",
    }
}

impl PullRequestReader {
    /// Makes a reader; asks the forge nothing yet.
    pub fn new(config: &ForgeConfig, token: &Token) -> Result<Self, ForgeError> {
        let endpoint = config.endpoint()?;
        Ok(Self {
            http: forge::client(&endpoint)?,
            headers: forge::headers(endpoint.kind, token),
            masks: Masks::new([token]),
            endpoint,
        })
    }

    /// Returns the open pull requests, by number: all of them, or an error.
    pub async fn open(&self) -> Result<OpenPullRequests, ListError> {
        let mut found: BTreeMap<u64, PullRequest> = BTreeMap::new();
        let mut unreadable = Vec::new();
        for number in 1..=PAGES {
            // The address of the next page is made here: one that is answered could lead the token elsewhere.
            let url = forge::pull_requests_url(&self.endpoint, number);
            let mut page = self.page(url).await?;
            let listed = std::mem::take(&mut page.pull_requests);
            let count = listed.described.len() + listed.unreadable.len();
            found.extend(listed.described.into_iter().map(|pull| (pull.number, pull)));
            unreadable.extend(listed.unreadable);
            let seen = found.len() + unreadable.len();
            if !page.is_followed(count, seen, forge::page_size(self.endpoint.kind)) {
                return Ok(OpenPullRequests {
                    described: found.into_values().collect(),
                    unreadable,
                });
            }
        }
        Err(ListError::TooMany { repository: self.endpoint.repository.clone() })
    }

    async fn page(&self, url: Url) -> Result<Page, ListError> {
        let base = || self.endpoint.base.to_string();
        let unreachable = |error: reqwest::Error| ListError::Unreachable {
            url: base(),
            source: error.without_url(),
        };
        let request = self.http.get(url).headers(self.headers.clone());
        let response = forge::send(&self.endpoint, request).await.map_err(unreachable)?;
        let (code, headers) = (response.status(), response.headers().clone());
        let body = forge::read_within(response, PAGE_LIMIT).await.map_err(unreachable)?;
        let repository = || self.endpoint.repository.clone();
        if body.len() > PAGE_LIMIT {
            return Err(ListError::TooLong { repository: repository() });
        }
        if code != StatusCode::OK {
            let (kind, status, repository) = (self.endpoint.kind, code.as_u16(), repository());
            // Masked before it is cut: half a token is not recognised any more.
            let said = String::from_utf8_lossy(&body);
            let message = match said.trim() {
                "" => "no reason was given".to_owned(),
                said => shorten(&self.masks.apply(said), EXCERPT_LIMIT),
            };
            return Err(ListError::Refused { kind, status, repository, message });
        }
        let pull_requests = forge::read_pull_requests(self.endpoint.kind, &body)
            .map_err(|source| ListError::Unreadable { url: base(), source })?;
        let text = |name: &str| headers.get(name)?.to_str().ok().map(str::to_owned);
        let total = text("x-total-count").and_then(|text| text.parse().ok());
        Ok(Page { pull_requests, link: text("link"), total })
    }
}

/// One page of a list.
struct Page {
    pull_requests: OpenPullRequests,
    /// What the forge says about other pages.
    link: Option<String>,
    /// How many there are on all pages, if it says so.
    total: Option<usize>,
}

impl Page {
    /// Returns whether there is another page, after one with `count` and `seen` so far.
    ///
    /// A forge may have shorter pages than it was asked for, so a short page is the last one only if nothing says
    /// otherwise.
    fn is_followed(&self, count: usize, seen: usize, page_size: usize) -> bool {
        let links_on = self.link.as_ref().map(|link| link.contains("rel=\"next\""));
        let has_more = self.total.map(|total| total > seen);
        match (links_on, has_more) {
            _ if count == 0 => false,
            (Some(true), _) | (_, Some(true)) => true,
            (Some(false), _) | (_, Some(false)) => false,
            (None, None) => count >= page_size,
        }
    }
}

#[cfg(test)]
mod tests;
