//! Which files an evaluation may read.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The part of the file system that is visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// All that the user can read.
    Everything,
    /// These files and directories, and what lies below them.
    Below(Vec<PathBuf>),
}

impl Access {
    /// Returns whether a path may be read, after following the symbolic links on the way to it.
    ///
    /// The last part is not followed: a link may be looked at where its target may not.
    pub(super) fn allows(&self, path: &Path) -> io::Result<bool> {
        let Self::Below(roots) = self else { return Ok(true) };
        let place = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => real_path(parent)?.join(name),
            (None, _) | (_, None) => PathBuf::from("/"),
        };
        Ok(roots.iter().any(|root| is_below(&place, root)))
    }

    /// Returns whether the target of a path may be read, after following all symbolic links.
    pub fn allows_target(&self, path: &Path) -> io::Result<bool> {
        let Self::Below(roots) = self else { return Ok(true) };
        let place = real_path(path)?;
        Ok(roots.iter().any(|root| is_below(&place, root)))
    }

    /// Lets one more file or directory be read.
    pub(super) fn open(&mut self, root: &Path) -> io::Result<()> {
        if let Self::Below(roots) = self {
            roots.push(real_path(root)?);
        }
        Ok(())
    }

    /// Follows the roots' own symbolic links once, so that later comparisons are of real paths.
    pub fn resolved(self) -> io::Result<Self> {
        match self {
            Self::Everything => Ok(Self::Everything),
            Self::Below(roots) => {
                Ok(Self::Below(roots.iter().map(|root| real_path(root)).collect::<Result<_, _>>()?))
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one implementation for real files")]
fn real_path(path: &Path) -> io::Result<PathBuf> {
    std::fs::canonicalize(path)
}

fn is_below(path: &Path, root: &Path) -> bool {
    let (path, root) = (path.as_os_str().as_bytes(), root.as_os_str().as_bytes());
    match path.strip_prefix(root) {
        Some([] | [b'/', ..]) => true,
        Some(_) => root == b"/",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test's own files")]
    fn links_do_not_lead_outside() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("inside");
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(dir.path().join("secret"), "x").unwrap();
        std::fs::write(dir.path().join("inside-not"), "x").unwrap();
        std::os::unix::fs::symlink("../secret", inside.join("link")).unwrap();
        std::os::unix::fs::symlink("..", inside.join("up")).unwrap();
        let access = Access::Below(vec![inside.clone()]).resolved().unwrap();
        assert!(access.allows(&inside).unwrap());
        assert!(access.allows(&inside.join("link")).unwrap(), "the link itself is inside");
        assert!(!access.allows_target(&inside.join("link")).unwrap(), "its target is not");
        assert!(!access.allows(&inside.join("up/secret")).unwrap());
        assert!(!access.allows(&dir.path().join("inside-not")).unwrap());
    }
}
