//! The secret that a forge knows us by, and keeping it out of everything that is shown.

use std::fmt;
use std::path::{Path, PathBuf};

/// A forge's access token.
///
/// It has no `Display`, its `Debug` shows nothing, and it is not serialisable: the only ways out
/// are the header of a request and [`Token::expose`].
#[derive(Clone)]
pub struct Token(String);

/// Why there is no usable token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read the forge token from `{}`\nhint: the file holds the token and nothing else, and the user running levain must be able to read it", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is nothing in it.
    #[error(
        "the forge token from {origin} is empty\nhint: store the token there, or configure no token to post no statuses"
    )]
    Empty {
        /// Where the token came from.
        origin: String,
    },
    /// It holds characters that no forge puts into a token.
    #[error(
        "the forge token from {origin} holds blanks, line breaks or characters outside of ASCII\nhint: the token must stand there alone, on one line"
    )]
    Malformed {
        /// Where the token came from.
        origin: String,
    },
}

impl Token {
    /// Reads a token from a file that holds nothing else; one line break at its end is dropped.
    pub fn from_file(path: &Path) -> Result<Self, TokenError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| TokenError::Read { path: path.to_owned(), source })?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        Self::checked(text, || format!("`{}`", path.display()))
    }

    /// Takes a token as it is, from an environment variable for instance.
    pub fn from_value(text: &str) -> Result<Self, TokenError> {
        Self::checked(text, || "the environment".to_owned())
    }

    /// The length of a token is not checked: forges change it (it varies on some today).
    fn checked(text: &str, origin: impl Fn() -> String) -> Result<Self, TokenError> {
        if text.is_empty() {
            return Err(TokenError::Empty { origin: origin() });
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Malformed { origin: origin() });
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the secret, for the header of a request or a credential helper's environment.
    ///
    /// Never for an argument list, a URL or a log.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_end_in_one_line_break() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        for text in ["s3cret", "s3cret\n", "s3cret\r\n"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(Token::from_file(&path).unwrap().expose(), "s3cret");
        }
    }

    #[test]
    fn files_without_a_token_are_refused_and_not_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        for text in ["", "\n", "s3cret\n\n", "s3cret s3cret", "s3crét"] {
            std::fs::write(&path, text).unwrap();
            let error = Token::from_file(&path).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(shown.contains("token"), "{shown}");
            assert!(!shown.contains("s3cr"), "{shown}");
        }
        let missing = Token::from_file(&directory.path().join("none")).unwrap_err();
        assert!(missing.to_string().contains("/none`"), "{missing}");
    }
}
