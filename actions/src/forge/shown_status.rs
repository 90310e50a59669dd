//! Statuses that a forge shows on a commit, as it lists them.
//!
//! They are read when nobody knows whether a status got through. Start at [`is_shown`].

use reqwest::Url;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Endpoint, StatusRequest};
use crate::status::Status;

/// A status, in the forge's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShownStatus {
    /// The forge's number for it: later ones have higher numbers.
    pub(super) id: u64,
    /// Its name.
    pub(super) context: String,
    /// The forge's word for its state.
    pub(super) state: String,
    /// Its text.
    pub(super) description: Option<String>,
    /// What it links to.
    pub(super) target_url: Option<String>,
}

/// How a forge lists the statuses of a commit.
pub(super) struct ShownStatuses {
    /// Where the list is that has the status of that name.
    pub(super) list: fn(&Endpoint, &Status) -> Url,
    /// How many a page has at most.
    pub(super) page_size: usize,
    /// Reads a page.
    pub(super) read: fn(&[u8]) -> Result<Vec<ShownStatus>, serde_json::Error>,
}

/// Reads a list, each element by `shown`.
pub(super) fn read_shown<T: DeserializeOwned>(
    body: &[u8],
    shown: fn(T) -> ShownStatus,
) -> Result<Vec<ShownStatus>, serde_json::Error> {
    let list: Vec<T> = serde_json::from_slice(body)?;
    Ok(list.into_iter().map(shown).collect())
}

/// Returns whether the newest status of that name is the one that the request would post; nothing if none of the list
/// has that name.
pub(crate) fn is_shown(
    list: &[ShownStatus],
    context: &str,
    request: &StatusRequest,
) -> Option<bool> {
    let newest = list
        .iter()
        .filter(|shown| shown.context.to_lowercase() == context.to_lowercase())
        .max_by_key(|shown| shown.id)?;
    let wanted = |name: &str| request.body.get(name).and_then(Value::as_str).unwrap_or_default();
    let text = |text: &Option<String>| text.as_deref().unwrap_or_default().trim().to_owned();
    Some(
        newest.state == wanted("state")
            && text(&newest.description) == wanted("description").trim()
            && text(&newest.target_url) == wanted("target_url").trim(),
    )
}
