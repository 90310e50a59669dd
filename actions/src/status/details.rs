//! What is said with a status where a forge has room for more than a line.

use serde::{Deserialize, Serialize};

use crate::forge::Masks;

/// The most notes on lines that are said at once. Forges take no more in one request.
pub const MOST_NOTES: usize = 50;

/// The longest text that is said, in bytes. Forges count bytes, and take a little more.
pub const TEXT_LIMIT: usize = 60_000;

/// What is said besides a line. Only [`Details::masked`] makes one with a text, so that none is without its masks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Details {
    /// A text, as Markdown.
    text: String,
    /// What is to be seen at lines of files.
    notes: Vec<Note>,
    /// Whether somebody is asked to approve the commit.
    asks_approval: bool,
}

impl Details {
    /// Returns a text and notes without what `masks` hide, cut to what forges take.
    pub fn masked(text: &str, notes: Vec<Note>, masks: &Masks) -> Self {
        let mask = |text: String| masks.apply(&text).into_owned();
        let masked = notes.into_iter().map(|note| Note {
            path: mask(note.path),
            line: note.line,
            message: mask(note.message),
        });
        // Half a secret is not recognised any more, so it is cut afterwards.
        let text = cut(&masks.apply(text), TEXT_LIMIT).to_owned();
        Self { text, notes: masked.collect(), asks_approval: false }
    }

    /// Takes out what other masks hide as well.
    #[must_use]
    pub fn without(self, masks: &Masks) -> Self {
        let asks_approval = self.asks_approval;
        Self { asks_approval, ..Self::masked(&self.text, self.notes, masks) }
    }

    /// Has somebody be asked to approve the commit.
    #[must_use]
    pub fn asking_approval(self) -> Self {
        Self { asks_approval: true, ..self }
    }

    /// Returns the text, as Markdown.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns what is to be seen at lines of files.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Returns whether somebody is asked to approve the commit.
    pub fn asks_approval(&self) -> bool {
        self.asks_approval
    }
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
