//! A temporary repository on top of another one, for work that must leave no trace there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use levain_store::scratch::Scratch;

use super::{GitError, Repository};

/// A temporary repository that sees all objects of another one and writes none into it.
///
/// It begins without refs, and is removed when dropped. It has an (empty) work tree, since Nix 2.8 asks less of
/// references to such a repository than to a bare one.
#[derive(Debug)]
pub struct Overlay {
    /// The repository; everything written through it stays in it.
    pub repository: Repository,
    /// Holds it; removed when dropped.
    pub directory: OverlayDirectory,
}

/// The directory of an [`Overlay`], for whoever keeps its repository elsewhere.
#[derive(Debug)]
pub struct OverlayDirectory {
    _scratch: Scratch,
}

impl Overlay {
    /// Gives the temporary repository the refs that `other` has at this moment.
    pub fn copy_references(&self, other: &Repository) -> Result<(), GitError> {
        let mut lines = String::new();
        for (name, id) in other.references("refs/")? {
            lines.push_str(&format!("{id} {name}\n"));
        }
        let packed = self.repository.git_dir().join("packed-refs");
        std::fs::write(&packed, lines).map_err(reading("write", &packed))
    }
}

impl Repository {
    /// Makes a temporary repository that shares the objects of this one.
    pub fn overlay(&self) -> Result<Overlay, GitError> {
        let scratch = Scratch::new("overlay").map_err(|source| GitError::File {
            doing: "make a directory in",
            path: std::env::temp_dir(),
            source,
        })?;
        // Nix and git see the path with its symbolic links resolved.
        let root = scratch.path().canonicalize().map_err(reading("resolve", scratch.path()))?;
        let root = root.join("repository");
        std::fs::create_dir(&root).map_err(reading("make", &root))?;
        let mut options = git2::RepositoryInitOptions::new();
        options.external_template(false);
        let opened = |source| GitError::Open { path: root.clone(), source };
        let made = git2::Repository::init_opts(&root, &options).map_err(opened)?;
        let git_dir = made.path().to_owned();
        drop(made);

        let mut lines = Vec::new();
        for objects in self.object_directories()? {
            lines.extend_from_slice(objects.as_os_str().as_encoded_bytes());
            lines.push(b'\n');
        }
        let info = git_dir.join("objects/info");
        std::fs::create_dir_all(&info).map_err(reading("make", &info))?;
        let alternates = info.join("alternates");
        std::fs::write(&alternates, lines).map_err(reading("write", &alternates))?;

        // Without it, git would miss the parents that a shallow clone does not have.
        let shallow = self.git_dir().join("shallow");
        if shallow.exists() {
            std::fs::copy(&shallow, git_dir.join("shallow")).map_err(reading("copy", &shallow))?;
        }

        // Only now: libgit2 reads the alternates once, when it opens a repository.
        let inner = git2::Repository::open(&root).map_err(opened)?;
        Ok(Overlay {
            repository: Repository { inner, conduct: self.conduct.clone() },
            directory: OverlayDirectory { _scratch: scratch },
        })
    }

    /// Returns the directories of objects that this repository reads, its alternates included.
    ///
    /// They are all listed, for git follows alternates of alternates no deeper than five.
    fn object_directories(&self) -> Result<Vec<PathBuf>, GitError> {
        let own = self.git_dir().join("objects");
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        let mut waiting = vec![own];
        while let Some(next) = waiting.pop() {
            // Git passes over alternates that are gone, and so do we.
            let Ok(directory) = next.canonicalize() else {
                continue;
            };
            if !seen.insert(directory.clone()) {
                continue;
            }
            let list = directory.join("info/alternates");
            match std::fs::read(&list) {
                Ok(content) => waiting.extend(alternates(&directory, &content)),
                Err(source) if source.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(reading("read", &list)(source)),
            }
            found.push(directory);
        }
        Ok(found)
    }
}

/// Parses a list of alternates; relative ones begin at the directory of objects that the list belongs to.
fn alternates<'a>(objects: &'a Path, content: &'a [u8]) -> impl Iterator<Item = PathBuf> + 'a {
    use std::os::unix::ffi::OsStrExt;
    content
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty() && !line.starts_with(b"#"))
        .map(|line| objects.join(std::ffi::OsStr::from_bytes(line)))
}

fn reading(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> GitError {
    let path = path.to_owned();
    move |source| GitError::File { doing, path, source }
}
