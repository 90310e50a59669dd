//! Pieces that the bodies of several forges have in common.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{RepositoryId, UnreadableDelivery};
use crate::forge::ForgeKind;

/// Bytes of the longest name that is taken from a delivery.
const LONGEST_TEXT: usize = 1024;

/// A repository, as all forges but GitLab send it.
#[derive(Deserialize)]
pub(in crate::forge) struct Repository {
    id: u64,
    full_name: String,
}

impl From<Repository> for RepositoryId {
    fn from(repository: Repository) -> Self {
        Self { id: repository.id, full_name: repository.full_name }
    }
}

/// Somebody, or something, with a number.
#[derive(Deserialize)]
pub(in crate::forge) struct Actor {
    pub(in crate::forge) id: u64,
}

/// Reads a body; what is not asked for is left out while it is read.
pub(in crate::forge) fn parse<T: DeserializeOwned>(
    kind: ForgeKind,
    event: &str,
    body: &[u8],
) -> Result<T, UnreadableDelivery> {
    serde_json::from_slice(body).map_err(|source| UnreadableDelivery::Body {
        kind,
        event: short_text(event),
        source,
    })
}

/// Returns a part of the body that must be there.
pub(in crate::forge) fn field<T>(
    value: Option<T>,
    field: &'static str,
) -> Result<T, UnreadableDelivery> {
    value.ok_or(UnreadableDelivery::Field { field })
}

/// Returns a number that counts from 1.
pub(in crate::forge) fn whole_number(
    value: Option<u64>,
    name: &'static str,
) -> Result<u64, UnreadableDelivery> {
    field(value.filter(|number| *number > 0), name)
}

/// Returns the full name of a ref, if git would take it.
pub(in crate::forge) fn reference(
    value: Option<String>,
    name: &'static str,
) -> Result<String, UnreadableDelivery> {
    let is_reference = |text: &String| {
        text.len() <= LONGEST_TEXT
            && text.starts_with("refs/")
            && git2::Reference::is_valid_name(text)
    };
    field(value.filter(is_reference), name)
}

/// Returns the full name of a ref that is told by its short name and its type.
pub(in crate::forge) fn branch_or_tag(
    short: Option<String>,
    kind: Option<&str>,
) -> Result<String, UnreadableDelivery> {
    let short = field(short, "ref")?;
    let directory = match kind {
        Some("branch") => "heads",
        Some("tag") => "tags",
        Some(_) | None => return Err(UnreadableDelivery::Field { field: "ref_type" }),
    };
    let full = match short.starts_with("refs/") {
        true => short,
        false => format!("refs/{directory}/{short}"),
    };
    reference(Some(full), "ref")
}

/// Returns a text from outside for a message: not longer than is of use.
pub(in crate::forge) fn short_text(text: &str) -> String {
    crate::status::shorten(text, 100)
}
