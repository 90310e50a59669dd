//! What is said with a status where a forge has room for more than a line.

use serde::{Deserialize, Serialize};

/// The most notes on lines that are said at once. Forges take no more in one request.
pub const MOST_NOTES: usize = 50;

/// The longest text that is said, in bytes. Forges count bytes, and take a little more.
pub const TEXT_LIMIT: usize = 60_000;

/// What is said besides a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Details {
    /// A text, as Markdown.
    pub text: String,
    /// What is to be seen at lines of files.
    pub notes: Vec<Note>,
    /// Whether somebody is asked to approve the commit.
    pub asks_approval: bool,
}

/// Something about a line of a file of the commit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Note {
    /// The file, from the root of the repository.
    pub path: String,
    /// The line, from 1 on.
    pub line: u32,
    /// What.
    pub message: String,
}

/// Cuts a text to a number of bytes, between two characters.
pub fn cut(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    let mut end = limit;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("häuser", 6), "häuse");
        assert_eq!(cut("häuser", 2), "h");
        assert_eq!(cut("häuser", 7), "häuser");
        assert_eq!(cut("ä", 1), "");
        assert_eq!(cut("", 0), "");
    }
}
