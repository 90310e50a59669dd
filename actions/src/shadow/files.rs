//! The names of the two files that a shadow commit adds.

/// The paths of the cache pointer and of the original commit's name in a shadow commit's tree.
///
/// Both are relative, plain (no `..`, no empty part, no `.git`), and neither lies inside the other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ShadowFiles {
    pointer: String,
    commit: String,
}

/// Why a pair of paths cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShadowFilesError {
    /// Not a plain relative path.
    #[error(
        "`{path}` cannot name a file of the shadow branch: {why}\nhint: a plain relative path like `cache.nix`"
    )]
    Path {
        /// The path as given.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },

    /// The two paths are equal, or one is the directory of the other.
    #[error("`{pointer}` and `{commit}` cannot both be files of the shadow branch")]
    Clash {
        /// The path of the cache pointer.
        pointer: String,
        /// The path of the original commit's name.
        commit: String,
    },
}

impl ShadowFiles {
    /// Checks a pair of paths.
    pub fn new(
        pointer: impl Into<String>,
        commit: impl Into<String>,
    ) -> Result<Self, ShadowFilesError> {
        let (pointer, commit) = (pointer.into(), commit.into());
        for path in [&pointer, &commit] {
            if let Some(why) = fault(path) {
                return Err(ShadowFilesError::Path { path: path.clone(), why });
            }
        }
        let inside = |path: &str, directory: &str| {
            path.strip_prefix(directory)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if inside(&pointer, &commit) || inside(&commit, &pointer) {
            return Err(ShadowFilesError::Clash { pointer, commit });
        }
        Ok(Self { pointer, commit })
    }

    /// Returns the path of the cache pointer.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// Returns the path of the file with the original commit's name.
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// Tells whether a path in the tree is one of the two.
    pub fn contains(&self, path: &[u8]) -> bool {
        path == self.pointer.as_bytes() || path == self.commit.as_bytes()
    }
}

impl Default for ShadowFiles {
    /// Returns `cache.nix` and `commit.txt`.
    fn default() -> Self {
        Self { pointer: "cache.nix".to_owned(), commit: "commit.txt".to_owned() }
    }
}

fn fault(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("it is empty");
    }
    if path.starts_with('/') {
        return Some("it is absolute");
    }
    if path.contains(['\0', '\n', '\\']) {
        return Some("it has a character that git or other systems do not take");
    }
    path.split('/').find_map(|part| match part {
        "" => Some("it has an empty part"),
        "." | ".." => Some("it has a `.` or `..`"),
        part if part.eq_ignore_ascii_case(".git") => Some("`.git` belongs to git"),
        _ => None,
    })
}
