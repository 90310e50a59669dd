//! Asks a forge whether it shows a status already. Only reads.
//!
//! For whoever was interrupted between sending a status and hearing what became of it.

use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::HeaderMap;

use super::retry::asked_wait;
use super::{State, Status, shorten};
use crate::forge::{
    self, Check, Endpoint, ForgeConfig, ForgeError, Masks, ShownCheck, Standing, Token,
};

/// How many pages of statuses are read. A forge has at most 1,000 of one name on a commit.
const PAGES: u32 = 20;
/// How much of a page is read.
const PAGE_LIMIT: usize = 4 << 20;
/// How much of a refusal is shown.
const EXCERPT_LIMIT: usize = 200;
/// How long to wait when a forge limits the rate without saying for how long.
const UNSAID_WAIT: Duration = Duration::from_secs(60);

/// Reads the statuses of one repository.
#[derive(Debug)]
pub struct StatusReader {
    endpoint: Endpoint,
    headers: HeaderMap,
    masks: Masks,
    http: reqwest::Client,
}

/// Why it is not known what a forge shows.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Asking later may help.
    #[error("cannot read which statuses `{repository}` has: {message}")]
    Passing {
        /// The repository.
        repository: String,
        /// What happened.
        message: String,
        /// How long the forge asks to wait.
        wait: Option<Duration>,
    },
    /// The forge does not tell, or not in a form that levain knows.
    #[error("cannot read which statuses `{repository}` has: {message}")]
    Lasting {
        /// The repository.
        repository: String,
        /// What it said.
        message: String,
    },
}

impl StatusReader {
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

    /// Returns whether the forge shows just this status under its name.
    pub async fn shows(&self, status: &Status) -> Result<bool, ReadError> {
        let mut request = forge::status_request(&self.endpoint, status);
        forge::mask(&self.masks, &mut request.body);
        // Some forges get another word where they do not know this one.
        let other = (status.state() == State::Skipped).then(|| {
            forge::status_request(&self.endpoint, &status.clone().with_state(State::Cancelled))
        });
        for number in 1..=PAGES {
            // The address of the next page is made here: one that is answered could lead the token elsewhere.
            let url = forge::shown_statuses_url(&self.endpoint, status, number);
            let list = self.page(url).await?;
            let context = status.context();
            if let Some(is_shown) = forge::is_shown(&list, context, &request) {
                let is_other =
                    other.as_ref().and_then(|other| forge::is_shown(&list, context, other));
                return Ok(is_shown || is_other == Some(true));
            }
            if list.len() < forge::shown_page_size(self.endpoint.kind) {
                break;
            }
        }
        Ok(false)
    }

    /// Returns what the forge shows of a check that an App made.
    pub async fn stands(&self, check: &Check, app: u64) -> Result<Standing, ReadError> {
        let Some(mut request) = forge::check_request(&self.endpoint, check) else {
            return Ok(Standing::Missing);
        };
        forge::mask(&self.masks, &mut request.body);
        let mut found: Vec<ShownCheck> = Vec::new();
        for number in 1..=PAGES {
            let list = forge::checks_url(&self.endpoint, &check.status, app, number);
            let Some((url, page_size)) = list else { break };
            let body = self.body(url).await?;
            let list = forge::read_checks(&self.endpoint, &body)
                .map_err(|error| self.lasting(error.to_string()))?;
            let count = list.len();
            found.extend(list.into_iter().filter(|shown| shown.run == check.run));
            if count < page_size {
                break;
            }
        }
        Ok(forge::standing(&found, check, &request.body))
    }

    async fn page(&self, url: reqwest::Url) -> Result<Vec<forge::ShownStatus>, ReadError> {
        let body = self.body(url).await?;
        forge::read_shown_statuses(self.endpoint.kind, &body)
            .map_err(|error| self.lasting(error.to_string()))
    }

    async fn body(&self, url: reqwest::Url) -> Result<Vec<u8>, ReadError> {
        let request = self.http.get(url).headers(self.headers.clone());
        let unreachable =
            |error: reqwest::Error| self.passing(error.without_url().to_string(), None);
        let response = forge::send(&self.endpoint, request).await.map_err(unreachable)?;
        let (code, headers) = (response.status(), response.headers().clone());
        let body = forge::read_within(response, PAGE_LIMIT).await.map_err(unreachable)?;
        if code == StatusCode::OK {
            return Ok(body);
        }
        // Masked before it is cut: half a token is not recognised any more.
        let said = String::from_utf8_lossy(&body);
        let message = shorten(&self.masks.apply(&said), EXCERPT_LIMIT);
        let message = format!("answered {}: {message}", code.as_u16());
        if forge::is_rate_limit(code, &headers, &message) {
            let wait = asked_wait(&headers, SystemTime::now()).unwrap_or(UNSAID_WAIT);
            return Err(self.passing(message, Some(wait)));
        }
        if code.is_server_error() || code == StatusCode::REQUEST_TIMEOUT {
            return Err(self.passing(message, None));
        }
        Err(self.lasting(message))
    }

    fn passing(&self, message: String, wait: Option<Duration>) -> ReadError {
        ReadError::Passing { repository: self.endpoint.repository.clone(), message, wait }
    }

    fn lasting(&self, message: String) -> ReadError {
        ReadError::Lasting { repository: self.endpoint.repository.clone(), message }
    }
}
