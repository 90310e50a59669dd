//! A tree of real files, and what the operating system says when it cannot be read.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use levain_store::tree::{Node, NodeKind, Tree};

use crate::lang::io::{FileType, IoError};
use crate::lang::value::NixPath;

/// What lies at a place of the file system.
pub(super) struct HostTree {
    root: PathBuf,
}

/// An error with the file that it is about.
#[derive(Debug, thiserror::Error)]
#[error("cannot read `{}`", path.display())]
struct Named {
    path: PathBuf,
    source: io::Error,
}

impl HostTree {
    /// Makes the tree at a place; nothing is read yet.
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn place(&self, path: &[u8]) -> PathBuf {
        // Joining an empty path would add a slash, which follows a link.
        if path.is_empty() {
            return self.root.clone();
        }
        self.root.join(std::ffi::OsStr::from_bytes(path))
    }

    /// Returns the time of the newest change in the tree, in seconds since 1970.
    #[expect(clippy::disallowed_methods, reason = "the one implementation for real files")]
    pub(super) fn last_modified(&self, path: &[u8]) -> io::Result<i64> {
        let place = self.place(path);
        let metadata = std::fs::symlink_metadata(&place).map_err(|error| named(&place, error))?;
        let mut newest = metadata.mtime();
        if metadata.is_dir() {
            for (name, _) in self.entries(path)? {
                newest = newest.max(self.last_modified(&levain_store::tree::below(path, &name))?);
            }
        }
        Ok(newest)
    }
}

impl Tree for HostTree {
    #[expect(clippy::disallowed_methods, reason = "the one implementation for real files")]
    fn node(&self, path: &[u8]) -> io::Result<Option<Node>> {
        let place = self.place(path);
        match std::fs::symlink_metadata(&place) {
            Ok(metadata) => {
                let kind = kind_of(metadata.file_type());
                let executable =
                    kind == NodeKind::File && metadata.permissions().mode() & 0o100 != 0;
                Ok(Some(Node { kind, executable }))
            }
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(named(&place, error)),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the one implementation for real files")]
    fn read(&self, path: &[u8]) -> io::Result<Vec<u8>> {
        let place = self.place(path);
        let metadata = std::fs::symlink_metadata(&place).map_err(|error| named(&place, error))?;
        if metadata.is_symlink() {
            let target = std::fs::read_link(&place).map_err(|error| named(&place, error))?;
            return Ok(target.as_os_str().as_bytes().to_vec());
        }
        std::fs::read(&place).map_err(|error| named(&place, error))
    }

    fn entries(&self, path: &[u8]) -> io::Result<Vec<(Vec<u8>, NodeKind)>> {
        let place = self.place(path);
        entries(&place).map_err(|error| named(&place, error))
    }
}

fn named(path: &Path, source: io::Error) -> io::Error {
    io::Error::new(source.kind(), Named { path: path.to_owned(), source })
}

/// Returns a file's path as the operating system wants it.
pub(super) fn place(path: &NixPath) -> PathBuf {
    PathBuf::from(std::ffi::OsStr::from_bytes(path.bytes()))
}

/// Turns the system's error into that of the trait.
pub(super) fn failed(path: &Path, error: &io::Error) -> IoError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Named>());
    let (path, error) = inner.map_or((path, error), |named| (named.path.as_path(), &named.source));
    let path = path.display().to_string();
    if is_missing(error) {
        IoError::NotFound { path }
    } else {
        // The system's own words have a number behind them, which tells people nothing.
        let kind = error.kind();
        let message = if kind == io::ErrorKind::IsADirectory {
            "it is a directory".to_owned()
        } else if kind == io::ErrorKind::PermissionDenied {
            "permission denied".to_owned()
        } else {
            error.to_string()
        };
        IoError::Failed { path, message }
    }
}

/// Returns whether the system said that there is no such file.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn kind_of(kind: std::fs::FileType) -> NodeKind {
    if kind.is_file() {
        NodeKind::File
    } else if kind.is_dir() {
        NodeKind::Directory
    } else if kind.is_symlink() {
        NodeKind::Symlink
    } else {
        NodeKind::Other
    }
}

/// Returns the language's word for what is in a tree.
pub(super) fn file_type(kind: NodeKind) -> FileType {
    match kind {
        NodeKind::File => FileType::Regular,
        NodeKind::Directory => FileType::Directory,
        NodeKind::Symlink => FileType::Symlink,
        NodeKind::Other => FileType::Unknown,
    }
}

#[expect(clippy::disallowed_methods, reason = "the one implementation for real files")]
fn entries(path: &Path) -> io::Result<Vec<(Vec<u8>, NodeKind)>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        entries.push((entry.file_name().as_bytes().to_vec(), kind_of(entry.file_type()?)));
    }
    entries.sort();
    Ok(entries)
}
