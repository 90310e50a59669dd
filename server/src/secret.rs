//! Secrets that the server gives out: in a cookie, in a link, as a token. It keeps their hashes only.

use data_encoding::HEXLOWER;
use ring::digest::SHA256;

use crate::projects::{ProjectError, random};

/// A secret that was just made. It is shown once, to whom it is for.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Makes one that nobody can guess.
    pub fn new() -> Result<Self, ProjectError> {
        random::<32>().map(Self)
    }

    /// Returns the text.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns what is kept of it.
    pub fn hash(&self) -> Hash {
        Hash::of(&self.0)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What is kept of a secret: enough to recognise it, and of no use to whoever reads the database.
///
/// The secrets are random and long, so one round of a plain hash cannot be undone by guessing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hash(String);

impl Hash {
    /// Returns the hash of a text that somebody brings.
    pub fn of(text: &str) -> Self {
        Self(digest(text.as_bytes()))
    }

    /// Returns the text.
    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

/// Returns the SHA-256 of something, as text.
pub(crate) fn digest(bytes: &[u8]) -> String {
    HEXLOWER.encode(ring::digest::digest(&SHA256, bytes).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_itself_nowhere() {
        let (one, other) = (Secret::new().unwrap(), Secret::new().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.expose().len(), 64);
        assert!(!format!("{one:?} {:?}", one.hash()).contains(one.expose()));
        assert_eq!(one.hash(), Hash::of(one.expose()));
    }
}
