//! Paths inside a tree: relative, without `.` or `..`, any bytes a file name may have.
//!
//! Everything that a cache names is one of these, so that nothing in a cache can point elsewhere.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Longest path accepted, as the kernel's own limit.
const LONGEST_PATH: usize = 4096;
/// Longest file name accepted, as the usual file systems' limit.
const LONGEST_NAME: usize = 255;

/// A path inside a tree. Ordered by bytes, so that a directory precedes what it holds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelativePath(Vec<u8>);

/// Why some bytes are no [`RelativePath`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing at all.
    #[error("the path is empty")]
    Empty,
    /// Starts at the root directory.
    #[error("the path is absolute")]
    Absolute,
    /// Has `.`, `..` or nothing between two slashes.
    #[error("the path has an empty component, `.` or `..`")]
    Component,
    /// Has a byte that no file name can have.
    #[error("the path has a zero byte")]
    Zero,
    /// Longer than the kernel allows.
    #[error("the path or one of its names is too long")]
    Long,
}

impl RelativePath {
    /// Returns the tree's own directory, written `.`.
    pub fn root() -> RelativePath {
        RelativePath(b".".to_vec())
    }

    /// Says whether this is the tree's own directory.
    pub fn is_root(&self) -> bool {
        self.0 == b"."
    }

    /// Checks bytes from outside; the tree's own directory is not accepted.
    pub fn parse(bytes: &[u8]) -> Result<RelativePath, PathError> {
        if bytes.is_empty() {
            return Err(PathError::Empty);
        }
        if bytes.starts_with(b"/") {
            return Err(PathError::Absolute);
        }
        if bytes.len() > LONGEST_PATH {
            return Err(PathError::Long);
        }
        for name in bytes.split(|&byte| byte == b'/') {
            if name.is_empty() || name == b"." || name == b".." {
                return Err(PathError::Component);
            }
            if name.contains(&0) {
                return Err(PathError::Zero);
            }
            if name.len() > LONGEST_NAME {
                return Err(PathError::Long);
            }
        }
        Ok(RelativePath(bytes.to_vec()))
    }

    /// Checks bytes from outside, where `.` means the tree's own directory.
    pub fn parse_or_root(bytes: &[u8]) -> Result<RelativePath, PathError> {
        if bytes == b"." { Ok(RelativePath::root()) } else { RelativePath::parse(bytes) }
    }

    /// Returns the path as it is written.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the path as the system wants it.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Returns where this is, in the tree at that place.
    pub fn under(&self, tree: &Path) -> PathBuf {
        if self.is_root() { tree.to_path_buf() } else { tree.join(self.as_path()) }
    }

    /// Returns the names from the top; none for the tree's own directory.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        let bytes: &[u8] = if self.is_root() { &[] } else { &self.0 };
        bytes.split(|&byte| byte == b'/').filter(|name| !name.is_empty())
    }

    /// Returns the last name.
    pub fn name(&self) -> &[u8] {
        self.0.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
    }

    /// Returns the directory that holds this, unless this is the tree's own directory.
    pub fn parent(&self) -> Option<RelativePath> {
        if self.is_root() {
            return None;
        }
        match self.0.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => Some(RelativePath(self.0[..slash].to_vec())),
            None => Some(RelativePath::root()),
        }
    }

    /// Returns the path of that name in this directory.
    #[must_use]
    pub fn child(&self, name: &[u8]) -> RelativePath {
        if self.is_root() {
            return RelativePath(name.to_vec());
        }
        let mut bytes = self.0.clone();
        bytes.push(b'/');
        bytes.extend_from_slice(name);
        RelativePath(bytes)
    }

    /// Says whether this is that directory or lies somewhere in it.
    pub fn within(&self, directory: &RelativePath) -> bool {
        directory.is_root()
            || self == directory
            || (self.0.starts_with(&directory.0) && self.0.get(directory.0.len()) == Some(&b'/'))
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names are anybody's bytes and the message goes to a log that is read line by line.
        write!(f, "{}", String::from_utf8_lossy(&self.0).escape_debug())
    }
}

impl fmt::Debug for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_paths_are_accepted() {
        for good in ["a", "a/b", "...", "a b/\u{e4}", ".hidden/x"] {
            assert_eq!(RelativePath::parse(good.as_bytes()).unwrap().bytes(), good.as_bytes());
        }
        for bad in ["", "/", "/a", ".", "..", "a/..", "a//b", "a/", "./a", "a/./b", "a\0"] {
            assert!(RelativePath::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert_eq!(RelativePath::parse(&[b'a'; 256]), Err(PathError::Long));
        assert_eq!(RelativePath::parse(&b"a/".repeat(2049)), Err(PathError::Long));
    }

    #[test]
    fn within_compares_whole_names() {
        let path = |text: &str| RelativePath::parse(text.as_bytes()).unwrap();
        assert!(path("a/b").within(&path("a")));
        assert!(path("a").within(&RelativePath::root()));
        assert!(!path("ab").within(&path("a")));
        assert_eq!(path("a/b/c").parent().unwrap(), path("a/b"));
        assert_eq!(path("a").parent().unwrap(), RelativePath::root());
        assert_eq!(RelativePath::root().child(b"x"), path("x"));
    }
}
