//! Whether an address is reached, and what it says: the questions of somebody whom nobody knows.

use std::path::Path;

use reqwest::Url;

use super::config::Endpoint;
use super::http::client;
use super::{ForgeError, ForgeKind};

/// An address is not reached.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// The text is no address.
    #[error("`{0}` is no `http` or `https` address")]
    Url(String),
    /// Nothing can be asked.
    #[error(transparent)]
    Client(#[from] ForgeError),
    /// Nobody answers.
    #[error("{0}")]
    Request(#[from] reqwest::Error),
}

/// Sends an empty `POST`, and returns the status of the answer. No redirect is followed.
pub async fn answer_to_post(url: &str, ca_file: Option<&Path>) -> Result<u16, ReachError> {
    let endpoint = endpoint(url, ca_file)?;
    let answer = client(&endpoint)?.post(endpoint.base.clone()).send().await;
    Ok(answer.map_err(reqwest::Error::without_url)?.status().as_u16())
}

/// Sends a `GET`, and returns the status of the answer and the beginning of what it says. No redirect is followed.
pub async fn answer_to_get(url: &str, most: usize) -> Result<(u16, Vec<u8>), ReachError> {
    let endpoint = endpoint(url, None)?;
    let answer = client(&endpoint)?.get(endpoint.base.clone()).send().await;
    let mut answer = answer.map_err(reqwest::Error::without_url)?;
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
        let room = most.saturating_sub(body.len());
        body.extend(part.iter().take(room));
        if part.len() >= room {
            break;
        }
    }
    Ok((answer.status().as_u16(), body))
}

fn endpoint(url: &str, ca_file: Option<&Path>) -> Result<Endpoint, ReachError> {
    let parsed = Url::parse(url).ok().filter(|url| ["http", "https"].contains(&url.scheme()));
    let base = parsed.ok_or_else(|| ReachError::Url(crate::git::masked(url)))?;
    let ca_file = ca_file.map(Path::to_owned);
    // Nothing but the address and its certificates matters here.
    Ok(Endpoint { kind: ForgeKind::GitHub, base, repository: String::new(), ca_file, limits: None })
}
