//! Attribute paths: where a job stands in its flake output.
//!
//! A list of names, not a dotted string: names may contain dots and blanks. Text is Nix's own
//! notation, `x86_64-linux."dotted.name"`. Start at [`AttrPath`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::nix_data::{is_plain_name, quote_string};

/// A path of attribute names, from the outside in.
///
/// The empty path names the flake output itself; it can be printed (as the empty text) but not
/// parsed, because no job stands there.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttrPath(Vec<String>);

/// Why a text is not an attribute path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttrPathError {
    /// There is no name at all.
    #[error("an attribute path is empty\nhint: name at least one attribute, like `hello`")]
    Empty,
    /// Two dots in a row, or a dot at one end.
    #[error(
        "attribute path `{text}` has an empty name\nhint: an attribute whose name is empty is written `\"\"`"
    )]
    EmptyName {
        /// The whole text.
        text: String,
    },
    /// A quote that is not closed, or text right behind a closing one.
    #[error(
        "attribute path `{text}` has a misplaced `\"` at byte {offset}\nhint: quote whole names only, like `x86_64-linux.\"dotted.name\"`"
    )]
    Quote {
        /// The whole text.
        text: String,
        /// Where, in bytes.
        offset: usize,
    },
    /// A character that needs quotes.
    #[error(
        "attribute path `{text}` has the character {found:?} outside quotes\nhint: quote the name, like `x86_64-linux.\"odd name\"`"
    )]
    NeedsQuotes {
        /// The whole text.
        text: String,
        /// The character.
        found: char,
    },
}

impl AttrPath {
    /// Returns the path made of these names.
    pub fn new(names: Vec<String>) -> Self {
        Self(names)
    }

    /// Returns the empty path, which names the output itself.
    pub fn root() -> Self {
        Self(Vec::new())
    }

    /// Returns the names, from the outside in.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Returns whether this is the empty path.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the path of the attribute `name` inside this one.
    #[must_use]
    pub fn child(&self, name: impl Into<String>) -> Self {
        let mut names = self.0.clone();
        names.push(name.into());
        Self(names)
    }

    /// Returns whether `other` is this path or stands somewhere inside it.
    pub fn is_prefix_of(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }
}

impl From<Vec<String>> for AttrPath {
    fn from(names: Vec<String>) -> Self {
        Self(names)
    }
}

impl fmt::Display for AttrPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            if is_plain_name(name) {
                f.write_str(name)?;
            } else {
                f.write_str(&quote_string(name))?;
            }
        }
        Ok(())
    }
}

impl FromStr for AttrPath {
    type Err = AttrPathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(AttrPathError::Empty);
        }
        let mut names = Vec::new();
        let mut rest = text;
        loop {
            let (name, after) = match rest.strip_prefix('"') {
                Some(inside) => quoted_name(text, inside)?,
                None => bare_name(text, rest)?,
            };
            names.push(name);
            rest = match after.strip_prefix('.') {
                Some(next) => next,
                None if after.is_empty() => return Ok(Self(names)),
                None => {
                    let offset = text.len() - after.len();
                    return Err(AttrPathError::Quote { text: text.to_owned(), offset });
                }
            };
        }
    }
}

/// Reads the inside of a quoted name up to its closing quote.
fn quoted_name<'a>(text: &str, inside: &'a str) -> Result<(String, &'a str), AttrPathError> {
    let mut name = String::new();
    let mut characters = inside.char_indices();
    while let Some((offset, character)) = characters.next() {
        match character {
            '"' => return Ok((name, &inside[offset + 1..])),
            '\\' => match characters.next() {
                Some((_, 'n')) => name.push('\n'),
                Some((_, 'r')) => name.push('\r'),
                Some((_, 't')) => name.push('\t'),
                Some((_, other)) => name.push(other),
                None => break,
            },
            other => name.push(other),
        }
    }
    Err(AttrPathError::Quote { text: text.to_owned(), offset: text.len() - inside.len() - 1 })
}

/// Reads a name without quotes: everything up to the next dot.
///
/// Wider than what [`fmt::Display`] leaves unquoted, so that `3d-model` can be typed as it is.
fn bare_name<'a>(text: &str, rest: &'a str) -> Result<(String, &'a str), AttrPathError> {
    let end = rest.find('.').unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    if name.is_empty() {
        return Err(AttrPathError::EmptyName { text: text.to_owned() });
    }
    if let Some(found) = name.chars().find(|c| {
        c.is_whitespace() || c.is_control() || matches!(c, '"' | '\\' | '$' | '{' | '}' | '#')
    }) {
        return Err(match found {
            '"' => AttrPathError::Quote {
                text: text.to_owned(),
                offset: text.len() - rest.len() + name.find('"').unwrap_or(0),
            },
            other => AttrPathError::NeedsQuotes { text: text.to_owned(), found: other },
        });
    }
    Ok((name.to_owned(), after))
}

impl Serialize for AttrPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AttrPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(names: &[&str]) -> AttrPath {
        AttrPath::new(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn prints_nix_notation() {
        assert_eq!(path(&["x86_64-linux", "a.b"]).to_string(), "x86_64-linux.\"a.b\"");
        assert_eq!(path(&["if", "3d", "a b", ""]).to_string(), "\"if\".\"3d\".\"a b\".\"\"");
        assert_eq!(path(&["a${b}\"c"]).to_string(), r#""a\${b}\"c""#);
    }

    #[test]
    fn reads_nix_notation_and_what_people_type() {
        assert_eq!("x86_64-linux.\"a.b\".c".parse(), Ok(path(&["x86_64-linux", "a.b", "c"])));
        assert_eq!("x86_64-linux.3d".parse(), Ok(path(&["x86_64-linux", "3d"])));
        assert_eq!("\"\"".parse(), Ok(path(&[""])));
    }

    #[test]
    fn refuses_leftovers() {
        for text in ["", ".", "a.", ".a", "a..b", "\"a", "\"a\"b", "a\"b\"", "a b", "${a}"] {
            assert!(text.parse::<AttrPath>().is_err(), "{text}");
        }
    }

    #[test]
    fn knows_what_stands_inside() {
        assert!(path(&["a"]).is_prefix_of(&path(&["a", "b"])));
        assert!(!path(&["a"]).is_prefix_of(&path(&["ab"])));
        assert!(AttrPath::root().is_prefix_of(&path(&["a"])));
        assert_eq!(AttrPath::root().child("a").child("b"), path(&["a", "b"]));
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(names in prop::collection::vec(any::<String>(), 1..5)) {
            let path = AttrPath::new(names);
            prop_assert_eq!(path.to_string().parse(), Ok(path));
        }

        #[test]
        fn parsing_never_panics(text in any::<String>()) {
            if let Ok(path) = text.parse::<AttrPath>() {
                prop_assert_eq!(path.to_string().parse(), Ok(path));
            }
        }
    }
}
