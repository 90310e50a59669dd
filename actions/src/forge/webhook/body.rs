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
    let unreadable = |source| UnreadableDelivery::Body { kind, event: short_text(event), source };
    if has_nul(body) {
        // No forge sends one, and not everything can keep it.
        return Err(unreadable(serde::de::Error::custom("a text with a NUL in it")));
    }
    serde_json::from_slice(body).map_err(unreadable)
}

/// Returns whether a JSON document has a NUL in a text: it can only be written as an escape.
fn has_nul(body: &[u8]) -> bool {
    body.windows(6).enumerate().any(|(at, window)| {
        // A backslash before it would be what is escaped.
        let before = || body[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
        window == br"\u0000" && before() % 2 == 0
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

#[cfg(test)]
mod tests {
    use super::has_nul;

    #[test]
    fn a_nul_is_told_from_the_text_of_its_escape() {
        for (body, expected) in [
            (r#"{"a": "x\u0000y"}"#, true),
            (r#"{"a": "x\\\u0000y"}"#, true),
            (r#"{"a": "x\\u0000y"}"#, false),
            (r#"{"a": "u0000"}"#, false),
            (r#"{"a": "\u0001"}"#, false),
        ] {
            assert_eq!(has_nul(body.as_bytes()), expected, "{body}");
        }
    }
}
