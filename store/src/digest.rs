//! Hashes of the four algorithms that Nix knows, in every spelling that it reads and writes.
//!
//! [`NarHash`](crate::NarHash) is the narrower type for the one hash that stores record. Start at
//! [`Digest::of`] and [`Digest::parse`].

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER, HEXLOWER_PERMISSIVE};
use md5::Md5;
use sha1::Sha1;
use sha2::Digest as _;

use crate::base32;

/// A hash algorithm that Nix accepts without experimental features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashAlgorithm {
    /// MD5, 16 bytes.
    Md5,
    /// SHA-1, 20 bytes.
    Sha1,
    /// SHA-256, 32 bytes.
    Sha256,
    /// SHA-512, 64 bytes.
    Sha512,
}

/// How the bytes of a hash are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashFormat {
    /// Hexadecimal, lower case.
    Base16,
    /// Nix's base 32.
    Nix32,
    /// Base 64 with padding.
    Base64,
    /// The algorithm, a dash, and base 64 (`sha256-…`).
    Sri,
}

/// A hash and its algorithm.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: HashAlgorithm,
    bytes: Vec<u8>,
}

/// A text that is no hash, or not the hash that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// The algorithm's name is unknown.
    #[error("unknown hash algorithm `{name}`\nhint: expected `md5`, `sha1`, `sha256` or `sha512`")]
    Algorithm {
        /// The name as it was given.
        name: String,
    },
    /// The format's name is unknown.
    #[error(
        "unknown hash format `{name}`\nhint: expected `base16`, `nix32`, `base32`, `base64` or `sri`"
    )]
    Format {
        /// The name as it was given.
        name: String,
    },
    /// Neither the text nor the caller names the algorithm.
    #[error("hash `{text}` does not include a type, nor is the type otherwise known from context")]
    NoAlgorithm {
        /// The text as it was given.
        text: String,
    },
    /// The text names another algorithm than the caller.
    #[error("hash `{text}` should have type `{expected}`")]
    OtherAlgorithm {
        /// The text as it was given.
        text: String,
        /// What the caller asked for.
        expected: HashAlgorithm,
    },
    /// The number of digits fits no format.
    #[error("hash `{text}` has wrong length for hash algorithm `{algorithm}`")]
    Length {
        /// The text as it was given.
        text: String,
        /// The algorithm that fixes the lengths.
        algorithm: HashAlgorithm,
    },
    /// The length is right, a digit is not.
    #[error("hash `{text}` has digits that its format does not know")]
    Digits {
        /// The text as it was given.
        text: String,
    },
}

impl HashAlgorithm {
    /// Returns the number of bytes of a hash.
    pub const fn size(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// Returns the name, as Nix writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

impl fmt::Display for HashAlgorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for HashAlgorithm {
    type Err = DigestError;

    fn from_str(name: &str) -> Result<Self, DigestError> {
        match name {
            "md5" => Ok(Self::Md5),
            "sha1" => Ok(Self::Sha1),
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            _ => Err(DigestError::Algorithm { name: name.to_owned() }),
        }
    }
}

impl FromStr for HashFormat {
    type Err = DigestError;

    fn from_str(name: &str) -> Result<Self, DigestError> {
        match name {
            "base16" => Ok(Self::Base16),
            "nix32" | "base32" => Ok(Self::Nix32),
            "base64" => Ok(Self::Base64),
            "sri" => Ok(Self::Sri),
            _ => Err(DigestError::Format { name: name.to_owned() }),
        }
    }
}

impl Digest {
    /// Returns the hash of `bytes`.
    pub fn of(algorithm: HashAlgorithm, bytes: &[u8]) -> Self {
        let bytes = match algorithm {
            HashAlgorithm::Md5 => Md5::digest(bytes).to_vec(),
            HashAlgorithm::Sha1 => Sha1::digest(bytes).to_vec(),
            HashAlgorithm::Sha256 => sha2::Sha256::digest(bytes).to_vec(),
            HashAlgorithm::Sha512 => sha2::Sha512::digest(bytes).to_vec(),
        };
        Self { algorithm, bytes }
    }

    /// Returns the hash whose bytes are all 0, which Nix takes for an empty `outputHash`.
    pub fn zero(algorithm: HashAlgorithm) -> Self {
        Self { algorithm, bytes: vec![0; algorithm.size()] }
    }

    /// Reads a hash: SRI, `ALGORITHM:DIGITS`, or the digits alone if `algorithm` is known.
    pub fn parse(text: &str, algorithm: Option<HashAlgorithm>) -> Result<Self, DigestError> {
        let (named, digits, sri) = if let Some((name, digits)) = text.split_once(':') {
            (Some(name), digits, false)
        } else if let Some((name, digits)) = text.split_once('-') {
            (Some(name), digits, true)
        } else {
            (None, text, false)
        };
        let known = match (named.map(str::parse).transpose()?, algorithm) {
            (Some(named), Some(expected)) if named != expected => {
                return Err(DigestError::OtherAlgorithm { text: text.to_owned(), expected });
            }
            (Some(known), _) | (None, Some(known)) => known,
            (None, None) => return Err(DigestError::NoAlgorithm { text: text.to_owned() }),
        };
        Self::decode(text, digits, known, sri)
    }

    fn decode(
        text: &str,
        digits: &str,
        algorithm: HashAlgorithm,
        sri: bool,
    ) -> Result<Self, DigestError> {
        let size = algorithm.size();
        let wrong_digits = || DigestError::Digits { text: text.to_owned() };
        let bytes = if !sri && digits.len() == size * 2 {
            HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()
        } else if !sri && digits.len() == base32::encoded_len(size) {
            decode_base32(digits, algorithm)
        } else if sri || digits.len() == BASE64.encode_len(size) {
            decode_base64(digits)
        } else {
            return Err(DigestError::Length { text: text.to_owned(), algorithm });
        };
        let bytes = bytes.ok_or_else(wrong_digits)?;
        if bytes.len() == size {
            Ok(Self { algorithm, bytes })
        } else {
            Err(DigestError::Length { text: text.to_owned(), algorithm })
        }
    }

    /// Returns the algorithm.
    pub const fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the hash as text; only [`HashFormat::Sri`] names the algorithm.
    pub fn encode(&self, format: HashFormat) -> String {
        match format {
            HashFormat::Base16 => HEXLOWER.encode(&self.bytes),
            HashFormat::Nix32 => base32::encode(&self.bytes),
            HashFormat::Base64 => BASE64.encode(&self.bytes),
            HashFormat::Sri => format!("{}-{}", self.algorithm, BASE64.encode(&self.bytes)),
        }
    }
}

/// Reads base 64 as generously as Nix does: what follows the first `=` and superfluous bits do not count.
fn decode_base64(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.split('=').next()?;
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0u32, 0);
    for digit in digits.bytes().filter(|digit| *digit != b'\n') {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

fn decode_base32(digits: &str, algorithm: HashAlgorithm) -> Option<Vec<u8>> {
    match algorithm {
        HashAlgorithm::Md5 => base32::decode::<16>(digits).map(Vec::from),
        HashAlgorithm::Sha1 => base32::decode::<20>(digits).map(Vec::from),
        HashAlgorithm::Sha256 => base32::decode::<32>(digits).map(Vec::from),
        HashAlgorithm::Sha512 => base32::decode::<64>(digits).map(Vec::from),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(algorithm: HashAlgorithm, text: &[u8]) -> String {
        Digest::of(algorithm, text).encode(HashFormat::Base16)
    }

    #[test]
    fn knows_published_digests() {
        let text =
            b"12345678901234567890123456789012345678901234567890123456789012345678901234567890";
        for (algorithm, input, expected) in [
            (HashAlgorithm::Md5, &b""[..], "d41d8cd98f00b204e9800998ecf8427e"),
            (HashAlgorithm::Md5, b"message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            (HashAlgorithm::Md5, text, "57edf4a22be3c955ac49da2e2107b67a"),
            (HashAlgorithm::Sha1, b"", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            (HashAlgorithm::Sha1, b"abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (
                HashAlgorithm::Sha1,
                b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
            ),
            (
                HashAlgorithm::Sha256,
                b"abc",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (
                HashAlgorithm::Sha512,
                b"abc",
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            ),
        ] {
            assert_eq!(hex(algorithm, input), expected, "{algorithm}");
        }
    }

    #[test]
    fn pads_at_every_length() {
        // The lengths around a block are where padding goes wrong.
        let digests: std::collections::BTreeSet<_> =
            (0..130).map(|n| hex(HashAlgorithm::Md5, &vec![b'a'; n])).collect();
        assert_eq!(digests.len(), 130);
        assert_eq!(hex(HashAlgorithm::Md5, &[b'a'; 56]), "3b0c8ac703f828b04c6c197006d17218");
        assert_eq!(hex(HashAlgorithm::Md5, &[b'a'; 64]), "014842d480b571495a4a0363793f7367");
        assert_eq!(
            hex(HashAlgorithm::Sha1, &[b'a'; 64]),
            "0098ba824b5c16427bd7a1122a5a442a25ec644d"
        );
    }

    #[test]
    fn says_what_is_wrong() {
        let parse = |text, algorithm| Digest::parse(text, algorithm).unwrap_err();
        assert!(matches!(parse("", None), DigestError::NoAlgorithm { .. }));
        assert!(
            matches!(parse("sha3:00", None), DigestError::Algorithm { name } if name == "sha3")
        );
        assert!(matches!(
            parse("md5:d41d8cd98f00b204e9800998ecf8427e", Some(HashAlgorithm::Sha1)),
            DigestError::OtherAlgorithm { expected: HashAlgorithm::Sha1, .. }
        ));
        assert!(matches!(parse("md5:00", None), DigestError::Length { .. }));
        assert!(matches!(parse("md5-AA==", None), DigestError::Length { .. }));
        let generous = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV";
        let empty = Digest::of(HashAlgorithm::Sha256, b"");
        assert_eq!(Digest::parse(generous, None), Ok(empty));
        assert!(matches!(
            parse("md5:x41d8cd98f00b204e9800998ecf8427e", None),
            DigestError::Digits { .. }
        ));
    }

    proptest! {
        #[test]
        fn round_trips(bytes: Vec<u8>, which in 0usize..4) {
            let algorithm = [
                HashAlgorithm::Md5, HashAlgorithm::Sha1, HashAlgorithm::Sha256, HashAlgorithm::Sha512,
            ][which];
            let digest = Digest::of(algorithm, &bytes);
            prop_assert_eq!(Digest::parse(&digest.encode(HashFormat::Sri), None), Ok(digest.clone()));
            for format in [HashFormat::Base16, HashFormat::Nix32, HashFormat::Base64] {
                let text = digest.encode(format);
                prop_assert_eq!(Digest::parse(&text, Some(algorithm)), Ok(digest.clone()));
                let text = format!("{algorithm}:{text}");
                prop_assert_eq!(Digest::parse(&text, None), Ok(digest.clone()));
            }
        }

        #[test]
        fn never_panics(text: String) {
            let _parsed = Digest::parse(&text, None);
            let _parsed = Digest::parse(&text, Some(HashAlgorithm::Sha256));
        }
    }
}
