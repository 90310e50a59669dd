//! Which files and repositories of this machine a lock file may name.
//!
//! The Nix that fetches inputs reads whatever the operator can read, so it is not asked for anything
//! else. Start at [`AllowedPath::allows`].

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

/// A file, or a directory with everything below it, that inputs may come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedPath(PathBuf);

/// A relative path that was to be allowed.
#[derive(Debug, thiserror::Error)]
#[error("expected an absolute path")]
pub struct RelativePath;

impl FromStr for AllowedPath {
    type Err = RelativePath;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // An empty path allows nothing. What a relative one allows would depend on where levain starts.
        if text.is_empty() || Path::new(text).is_absolute() {
            Ok(Self(std::path::absolute(text).unwrap_or_default()))
        } else {
            Err(RelativePath)
        }
    }
}

impl AllowedPath {
    /// Returns whether a path leads to something below this one, as it is written and with all symbolic
    /// links followed. What does not exist is allowed nowhere.
    pub fn allows(&self, path: &Path) -> bool {
        let resolved = |path: &Path| fs::canonicalize(path).ok();
        let (Some(own), Some(real)) = (resolved(&self.0), resolved(path)) else { return false };
        let is_written_below = lies_below(&self.0, path) || lies_below(&own, path);
        is_written_below && lies_below(&own, &real)
    }
}

/// Returns whether a path is written as one below a directory, or that directory itself.
fn lies_below(directory: &Path, path: &Path) -> bool {
    let goes_up = path.components().any(|component| component == Component::ParentDir);
    directory.is_absolute() && path.starts_with(directory) && !goes_up
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_path_is_written_below_a_directory() {
        let below = |directory: &str, path: &str| lies_below(Path::new(directory), Path::new(path));
        assert!(below("/a/b", "/a/b") && below("/a/b", "/a/b/c") && below("/a/b/", "/a//b/./c"));
        for path in ["/a", "/a/bc", "/a/b/../c", "/a/b/c/../d", "a/b/c", "/"] {
            assert!(!below("/a/b", path), "{path}");
        }
        assert!(!below("", "/a") && !below("a", "a/b"));
    }

    #[test]
    fn links_do_not_lead_out_of_it() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        for name in ["inside/dep", "outside/dep"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        symlink(at("outside"), at("inside/link")).unwrap();
        symlink("dep", at("inside/near")).unwrap();
        symlink(at("inside"), at("name")).unwrap();
        let allowed =
            |directory: &Path| -> AllowedPath { directory.to_str().unwrap().parse().unwrap() };
        let inside = allowed(&at("inside"));
        for path in ["inside", "inside/dep", "inside/near"] {
            assert!(inside.allows(&at(path)), "{path}");
        }
        for path in
            ["inside/link/dep", "inside/../outside/dep", "outside/dep", "inside/none", "name/dep"]
        {
            assert!(!inside.allows(&at(path)), "{path}");
        }
        // By the name that the operator gives, and by the real one.
        assert!(allowed(&at("name")).allows(&at("name/dep")));
        assert!(allowed(&at("name")).allows(&at("inside/dep")));
        assert!(!allowed(Path::new("")).allows(&at("inside")));
    }
}
