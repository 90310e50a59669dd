//! The hash of a NAR, in the three spellings in which Nix writes it.
//!
//! Start at [`NarHash`].

use std::fmt;
use std::io;
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::base32;

/// The SHA-256 of a NAR.
///
/// [`Display`](fmt::Display) writes the form of lock files (`sha256-BASE64=`). [`FromStr`] reads that
/// form, `sha256:` with base 32 or base 16, and plain base 16 (the worker protocol).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NarHash([u8; 32]);

/// A text that is no SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a SHA-256 hash\nhint: expected `sha256-BASE64=`, or `sha256:` with 52 base-32 or 64 base-16 digits"
)]
pub struct HashError {
    /// The text as it was given.
    pub text: String,
}

impl NarHash {
    /// Returns the hash with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the hash of `bytes`, which are expected to be a NAR.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Returns the bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns 52 digits of Nix's base 32, without a prefix (narinfo, content addresses).
    pub fn to_base32(self) -> String {
        base32::encode(&self.0)
    }

    /// Returns 64 hexadecimal digits, without a prefix (the worker protocol).
    pub fn to_base16(self) -> String {
        HEXLOWER.encode(&self.0)
    }
}

impl FromStr for NarHash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        parse(text).map(Self).ok_or_else(|| HashError { text: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<[u8; 32]> {
    if let Some(base64) = text.strip_prefix("sha256-") {
        return BASE64.decode(base64.as_bytes()).ok()?.try_into().ok();
    }
    match text.strip_prefix("sha256:") {
        Some(digits) if digits.len() == base32::encoded_len(32) => base32::decode(digits),
        prefixed => {
            let digits = prefixed.unwrap_or(text);
            HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()?.try_into().ok()
        }
    }
}

impl fmt::Display for NarHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sha256-{}", BASE64.encode(&self.0))
    }
}

impl fmt::Debug for NarHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "NarHash({self})")
    }
}

impl TryFrom<String> for NarHash {
    type Error = HashError;

    fn try_from(text: String) -> Result<Self, HashError> {
        text.parse()
    }
}

impl From<NarHash> for String {
    fn from(hash: NarHash) -> Self {
        hash.to_string()
    }
}

/// Passes bytes on to another writer, and hashes and counts what went through.
pub(crate) struct HashingWriter<W> {
    inner: W,
    hasher: Sha256,
    written: u64,
}

impl<W: io::Write> HashingWriter<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, hasher: Sha256::new(), written: 0 }
    }

    /// Returns the inner writer, the hash and the number of bytes.
    pub(crate) fn finish(self) -> (W, NarHash, u64) {
        (self.inner, NarHash(self.hasher.finalize().into()), self.written)
    }
}

impl<W: io::Write> io::Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_every_spelling_of_nix() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let hash = NarHash::of(b"");
        for text in [
            hex,
            &hex.to_uppercase(),
            &format!("sha256:{hex}"),
            "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73",
            "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        ] {
            assert_eq!(text.parse(), Ok(hash), "{text}");
        }
        assert_eq!(hash.to_base16(), hex);
        assert_eq!(hash.to_string(), "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            "sha256-",
            "sha256:",
            "sha512-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
            "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU= ",
            // 52 base-32 digits without the prefix are what Nix calls ambiguous.
            "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73",
        ] {
            let error = text.parse::<NarHash>().unwrap_err();
            assert_eq!(error.text, text);
        }
    }

    proptest! {
        #[test]
        fn round_trips(bytes: [u8; 32]) {
            let hash = NarHash::from_bytes(bytes);
            prop_assert_eq!(hash.to_string().parse(), Ok(hash));
            prop_assert_eq!(hash.to_base16().parse(), Ok(hash));
            prop_assert_eq!(format!("sha256:{}", hash.to_base32()).parse(), Ok(hash));
            let json = serde_json::to_string(&hash).unwrap();
            prop_assert_eq!(serde_json::from_str::<NarHash>(&json).unwrap(), hash);
        }

        #[test]
        fn never_panics(text: String) {
            let _parsed = text.parse::<NarHash>();
            let _parsed = format!("sha256-{text}").parse::<NarHash>();
            let _parsed = format!("sha256:{text}").parse::<NarHash>();
        }
    }
}
