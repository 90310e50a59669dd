//! Store paths: the directory of the store, the name of an object in it, and derivation paths.
//!
//! Pure values; nothing here looks at a disk. A [`StorePath`] does not know its directory: parse and
//! print whole paths with [`StoreDir`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::base32;

/// The longest name that Nix accepts.
const MAX_NAME: usize = 211;
/// The digits of a digest in base 32.
const DIGITS: usize = base32::encoded_len(20);

/// The directory of a store, as it is written in store paths (`/nix/store`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreDir(String);

/// The name of an object in a store: a digest and a name (`HASH-hello-2.12`).
///
/// Kept as it is written, because writing and comparing is what is done most with store paths. The order
/// is the one in which Nix writes sets of them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StorePath(String);

/// The store path of a derivation; its name ends in `.drv`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DerivationPath(StorePath);

/// A text that is no store path, or not the kind of store path that is needed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorePathError {
    /// The store directory is relative, not normalised, or `/` itself.
    #[error(
        "`{dir}` cannot be a store directory\nhint: use an absolute path without a slash at its end, as `/nix/store`"
    )]
    Dir {
        /// The directory as it was given.
        dir: String,
    },
    /// The path lies outside the store.
    #[error("`{path}` is not in the store `{dir}`")]
    Outside {
        /// The path as it was given.
        path: String,
        /// The store that was expected.
        dir: StoreDir,
    },
    /// The path goes on below an object of the store.
    #[error("`{path}` is inside a store path\nhint: give `{object}` itself", object = path.rsplit_once('/').map_or("the object", |split| split.0))]
    Inside {
        /// The path as it was given.
        path: String,
    },
    /// The base name does not begin with 32 digits of base 32 and a dash.
    #[error("`{base_name}` does not begin with a store hash of 32 digits and a dash")]
    Digest {
        /// The base name as it was given.
        base_name: String,
    },
    /// The part after the dash is not a name that Nix accepts.
    #[error("`{name}` cannot be the name of a store path: {reason}")]
    Name {
        /// The name as it was given.
        name: String,
        /// The rule that it breaks.
        reason: NameRule,
    },
    /// The path does not end in `.drv`.
    #[error("`{path}` is not a derivation: its name does not end in `.drv`")]
    NotDerivation {
        /// The store path.
        path: StorePath,
    },
}

/// A rule for the name of a store path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameRule {
    /// A name has at least one character.
    #[error("it is empty")]
    Empty,
    /// A name has at most 211 characters.
    #[error("it has more than {MAX_NAME} characters")]
    TooLong,
    /// `.` and `..` are refused, alone or before a dash.
    #[error("`.` and `..` may not be all of it, nor come before a dash at its beginning")]
    Dots,
    /// Only some ASCII characters are allowed.
    #[error("`{}` is not one of letters, digits and `+-._?=`", .0.escape_default())]
    Character(char),
}

impl StoreDir {
    /// Returns the store directory `dir`, which is absolute and normalised.
    pub fn new(dir: impl Into<String>) -> Result<Self, StorePathError> {
        let dir = dir.into();
        let normal = dir.strip_prefix('/').is_some_and(|rest| {
            rest.split('/').all(|part| !matches!(part, "" | "." | "..")) && !rest.contains('\0')
        });
        if normal { Ok(Self(dir)) } else { Err(StorePathError::Dir { dir }) }
    }

    /// Returns the directory as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Parses a whole store path (`/nix/store/HASH-name`); rejects anything below it.
    pub fn parse(&self, path: &str) -> Result<StorePath, StorePathError> {
        let outside = || StorePathError::Outside { path: path.to_owned(), dir: self.clone() };
        let base_name = path.strip_prefix(&self.0).and_then(|rest| rest.strip_prefix('/'));
        let base_name = base_name.ok_or_else(outside)?;
        if base_name.contains('/') {
            return Err(StorePathError::Inside { path: path.to_owned() });
        }
        base_name.parse()
    }

    /// Parses a whole store path that ends in `.drv`.
    pub fn parse_derivation(&self, path: &str) -> Result<DerivationPath, StorePathError> {
        self.parse(path)?.try_into()
    }

    /// Returns the whole path, as Nix writes it.
    pub fn display(&self, path: &StorePath) -> String {
        [self.0.as_str(), "/", path.0.as_str()].concat()
    }

    /// Appends the whole path to a text.
    pub(crate) fn write(&self, path: &StorePath, text: &mut Vec<u8>) {
        text.extend_from_slice(self.0.as_bytes());
        text.push(b'/');
        text.extend_from_slice(path.0.as_bytes());
    }
}

impl Default for StoreDir {
    fn default() -> Self {
        Self("/nix/store".to_owned())
    }
}

impl fmt::Display for StoreDir {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl StorePath {
    /// Returns the store path with this digest and name.
    pub fn new(digest: [u8; 20], name: impl Into<String>) -> Result<Self, StorePathError> {
        let name = name.into();
        match check_name(&name) {
            Ok(()) => Ok(Self([base32::encode(&digest).as_str(), "-", name.as_str()].concat())),
            Err(reason) => Err(StorePathError::Name { name, reason }),
        }
    }

    /// Returns the digest in base 32: the 32 characters that Nix looks for when it scans for
    /// references.
    pub fn hash_part(&self) -> &str {
        &self.0[..DIGITS]
    }

    /// Returns the name, without the digest.
    pub fn name(&self) -> &str {
        &self.0[DIGITS + 1..]
    }

    /// Returns whether the name ends in `.drv`.
    pub fn is_derivation(&self) -> bool {
        self.0.ends_with(".drv")
    }
}

/// Which bytes may stand in a name.
const ALLOWED: [bool; 256] = {
    let mut allowed = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        let is_mark = matches!(byte, b'+' | b'-' | b'.' | b'_' | b'?' | b'=');
        allowed[byte as usize] = is_mark || byte.is_ascii_alphanumeric();
        byte += 1;
    }
    allowed
};

/// Checks a name by the rules of Nix 2.26. Nix 2.8 refuses every leading dot; what it refuses in
/// addition it will say itself.
fn check_name(name: &str) -> Result<(), NameRule> {
    if name.is_empty() {
        return Err(NameRule::Empty);
    }
    if let Some(place) = name.bytes().position(|byte| !ALLOWED[usize::from(byte)])
        && let Some(character) = name[place..].chars().next()
    {
        return Err(NameRule::Character(character));
    }
    if name.len() > MAX_NAME {
        return Err(NameRule::TooLong);
    }
    let first = name.split_once('-').map_or(name, |(first, _)| first);
    if matches!(first, "." | "..") { Err(NameRule::Dots) } else { Ok(()) }
}

impl FromStr for StorePath {
    type Err = StorePathError;

    fn from_str(base_name: &str) -> Result<Self, StorePathError> {
        let split = base_name.split_at_checked(DIGITS);
        let name = split.filter(|(digits, _)| base32::is_text(digits));
        let name = name.and_then(|(_, rest)| rest.strip_prefix('-'));
        let Some(name) = name else {
            return Err(StorePathError::Digest { base_name: base_name.to_owned() });
        };
        match check_name(name) {
            Ok(()) => Ok(Self(base_name.to_owned())),
            Err(reason) => Err(StorePathError::Name { name: name.to_owned(), reason }),
        }
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for StorePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "StorePath({self})")
    }
}

impl TryFrom<String> for StorePath {
    type Error = StorePathError;

    fn try_from(text: String) -> Result<Self, StorePathError> {
        text.parse()
    }
}

impl From<StorePath> for String {
    fn from(path: StorePath) -> Self {
        path.0
    }
}

impl DerivationPath {
    /// Returns the store path.
    pub const fn as_store_path(&self) -> &StorePath {
        &self.0
    }

    /// Returns the name without the digest and without `.drv`.
    pub fn name(&self) -> &str {
        self.0.name().strip_suffix(".drv").unwrap_or(self.0.name())
    }
}

impl TryFrom<StorePath> for DerivationPath {
    type Error = StorePathError;

    fn try_from(path: StorePath) -> Result<Self, StorePathError> {
        if path.is_derivation() {
            Ok(Self(path))
        } else {
            Err(StorePathError::NotDerivation { path })
        }
    }
}

impl From<DerivationPath> for StorePath {
    fn from(path: DerivationPath) -> Self {
        path.0
    }
}

impl AsRef<StorePath> for DerivationPath {
    fn as_ref(&self) -> &StorePath {
        &self.0
    }
}

impl FromStr for DerivationPath {
    type Err = StorePathError;

    fn from_str(base_name: &str) -> Result<Self, StorePathError> {
        base_name.parse::<StorePath>()?.try_into()
    }
}

impl fmt::Display for DerivationPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Debug for DerivationPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DerivationPath({self})")
    }
}

impl TryFrom<String> for DerivationPath {
    type Error = StorePathError;

    fn try_from(text: String) -> Result<Self, StorePathError> {
        text.parse()
    }
}

impl From<DerivationPath> for String {
    fn from(path: DerivationPath) -> Self {
        path.to_string()
    }
}

#[cfg(test)]
mod tests;
