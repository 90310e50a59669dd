//! The name of a set: what `persist` and `restore` call the files they keep together.

use std::fmt;
use std::str::FromStr;

/// Longest name accepted, so that it also serves as part of file names.
const LONGEST: usize = 100;

/// A set's name: letters, digits, `-`, `_` and `.`, not starting with a dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SetName(String);

/// Why a text is no [`SetName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no name for a set\nhint: use letters, digits, `-`, `_` and `.`, such as `cargo-target`"
)]
pub struct SetNameError(String);

impl SetName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SetName {
    type Err = SetNameError;

    fn from_str(text: &str) -> Result<SetName, SetNameError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        // The format line has the one name in every cache; the other ending marks what is half written.
        let reserved = text == "levain-cache" || text.ends_with(".partial");
        if text.is_empty() || text.len() > LONGEST || text.starts_with('.') || reserved {
            return Err(SetNameError(text.to_owned()));
        }
        if text.bytes().all(plain) {
            Ok(SetName(text.to_owned()))
        } else {
            Err(SetNameError(text.to_owned()))
        }
    }
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for good in ["a", "cargo-target", "x.y_z"] {
            assert_eq!(good.parse::<SetName>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", ".a", "a/b", "a b", "\u{e4}", "levain-cache"] {
            assert!(bad.parse::<SetName>().is_err(), "{bad}");
        }
    }
}
