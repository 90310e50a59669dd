//! Whether two copies of the project's tree differ in the shadow branch's two files alone.
//!
//! A shadow derivation's sources are other store paths than its base derivation's, if only because
//! these two files are in them. Anything else that differs is not the shadow branch's doing.

use std::fs;
use std::io;
use std::path::Path;

use levain_actions::shadow::MOST_POINTER;
use levain_store::compare::{CompareError, Counterparts, differ_only};

/// One of the two files.
struct File {
    /// Its path in the tree.
    path: String,
    /// What the base evaluation may have there.
    base: Vec<Vec<u8>>,
    /// What the shadow commit has there.
    shadow: Vec<u8>,
}

/// The two files of a shadow commit.
#[derive(Default)]
pub(crate) struct ShadowContents(Vec<File>);

impl ShadowContents {
    /// Adds a file: its path, what the base evaluation may have there, and what the shadow commit has.
    pub(crate) fn with(mut self, path: &str, base: Vec<Vec<u8>>, shadow: Vec<u8>) -> Self {
        self.0.push(File { path: path.to_owned(), base, shadow });
        self
    }

    /// Says whether the tree or file at `shadow` is that at `base`, but for the two files.
    pub(crate) fn differ_alone(&self, base: &Path, shadow: &Path) -> Result<bool, CompareError> {
        differ_only(base, shadow, &Counterparts::default(), &mut |difference| {
            let [base, shadow] =
                [base, shadow].map(|root| match difference.path.as_os_str().is_empty() {
                    true => root.to_owned(),
                    false => root.join(&difference.path),
                });
            self.are_ours(&difference.path, &base, &shadow)
        })
    }

    /// Says whether what differs at a path below both roots is one of the two files, or a directory of them.
    fn are_ours(&self, path: &Path, base: &Path, shadow: &Path) -> Result<bool, CompareError> {
        let Ok(metadata) = shadow.symlink_metadata() else { return Ok(false) };
        let is_new = base.symlink_metadata().is_err();
        if metadata.is_dir() {
            // One that the two files alone need.
            let mut names = Vec::new();
            for entry in fs::read_dir(shadow).map_err(reading(shadow))? {
                names.push(entry.map_err(reading(shadow))?.file_name());
            }
            if !is_new || names.is_empty() {
                return Ok(false);
            }
            for name in names {
                if !self.are_ours(&path.join(&name), &base.join(&name), &shadow.join(&name))? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        let found = content(shadow)?;
        let before = if is_new { None } else { content(base)? };
        Ok(self.0.iter().any(|file| {
            // The root of a source may be any directory of the tree, or the file itself.
            let is_there = Path::new(&file.path).ends_with(path) || path.as_os_str().is_empty();
            let was_there = is_new || before.as_ref().is_some_and(|text| file.base.contains(text));
            is_there && was_there && found.as_ref() == Some(&file.shadow)
        }))
    }
}

/// Returns the content of a plain file of a pointer's size.
fn content(path: &Path) -> Result<Option<Vec<u8>>, CompareError> {
    let metadata = path.symlink_metadata().map_err(reading(path))?;
    if !metadata.is_file() || metadata.len() > MOST_POINTER as u64 {
        return Ok(None);
    }
    fs::read(path).map(Some).map_err(reading(path))
}

fn reading(path: &Path) -> impl FnOnce(io::Error) -> CompareError {
    let path = path.to_owned();
    move |source| CompareError { path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const COMMIT: &str = "0123456789012345678901234567890123456789\n";

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    fn contents(pointer: &str) -> ShadowContents {
        ShadowContents::default().with(pointer, vec![b"null\n".to_vec()], b"{ }\n".to_vec()).with(
            "commit.txt",
            vec![b"".to_vec()],
            COMMIT.into(),
        )
    }

    fn alone(pointer: &str, base: &[(&str, &str)], shadow: &[(&str, &str)]) -> bool {
        let (base, shadow) = (tree(base), tree(shadow));
        contents(pointer).differ_alone(base.path(), shadow.path()).unwrap()
    }

    #[test]
    fn the_two_files_may_differ_and_nothing_else() {
        let base = [("cache.nix", "null\n"), ("commit.txt", ""), ("a", "a"), ("evil/a", "evil")];
        let shadow =
            [("cache.nix", "{ }\n"), ("commit.txt", COMMIT), ("a", "a"), ("evil/a", "evil")];
        assert!(alone("cache.nix", &base, &shadow));
        assert!(alone("cache.nix", &base, &base));
        // New in the shadow commit, with the directory that one needs.
        assert!(alone("cache.nix", &base[2..], &shadow));
        assert!(alone("ci/cache.nix", &[("a", "a")], &[("a", "a"), ("ci/cache.nix", "{ }\n")]));
        // The source may be the directory that one is in.
        assert!(alone("ci/cache.nix", &[("cache.nix", "null\n")], &[("cache.nix", "{ }\n")]));

        let mut cases = vec![
            // Another part of the tree, another filter, another kind.
            vec![("a", "evil")],
            vec![("a", "a"), ("b", "b")],
            vec![],
            // Files of these names with any other content.
            vec![("a", "a"), ("cache.nix", "{ evil }\n")],
            vec![("a", "a"), ("commit.txt", "")],
            vec![("a", "a"), ("sub/commit.txt", COMMIT)],
            vec![("a", "a"), ("cache.nix", COMMIT)],
        ];
        for shadow in cases.drain(..) {
            assert!(!alone("cache.nix", &[("a", "a")], &shadow), "{shadow:?}");
        }
        assert!(!alone("cache.nix", &[("commit.txt", "mode")], &[("commit.txt", COMMIT)]));
        assert!(!alone("cache.nix", &base, &base[1..]));

        let linked = tree(&[("a", "a")]);
        symlink("/etc/passwd", linked.path().join("commit.txt")).unwrap();
        let plain = tree(&[("a", "a")]);
        assert!(!contents("cache.nix").differ_alone(plain.path(), linked.path()).unwrap());
    }
}
