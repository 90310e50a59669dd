//! Walks a tree of real files and writes it as a NAR, leaving out what a filter refuses.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use levain_store::NarHash;
use levain_store::nar::{Encoder, NarHasher};

use crate::lang::io::{AddError, FileType, FilterError, IoError};
use crate::lang::value::NixPath;

/// Says for a file below the root, with its type, whether it is taken.
pub(super) type Filter<'a> = dyn FnMut(&NixPath, FileType) -> Result<bool, FilterError> + 'a;

/// Returns the hash of the NAR of a tree.
pub(super) fn hash(root: &NixPath, filter: Option<&mut Filter<'_>>) -> Result<NarHash, AddError> {
    let mut walk = Walk { encoder: Encoder::hashing(), filter };
    walk.object(root)?;
    Ok(walk.encoder.finish_hash().0)
}

/// Returns a file's path as the operating system wants it.
pub(super) fn host(path: &NixPath) -> PathBuf {
    PathBuf::from(std::ffi::OsStr::from_bytes(path.bytes()))
}

/// Turns the system's error into that of the trait.
pub(super) fn failed(path: &Path, error: &io::Error) -> IoError {
    let path = path.display().to_string();
    if is_missing(error) {
        IoError::NotFound { path }
    } else {
        IoError::Failed { path, message: error.to_string() }
    }
}

/// Returns whether the system said that there is no such file.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Returns the type of a directory entry or file, itself if it is a link.
pub(super) fn type_of(kind: std::fs::FileType) -> FileType {
    if kind.is_file() {
        FileType::Regular
    } else if kind.is_dir() {
        FileType::Directory
    } else if kind.is_symlink() {
        FileType::Symlink
    } else {
        FileType::Unknown
    }
}

/// Returns the names in a directory with their types, in the order of their bytes.
#[expect(clippy::disallowed_methods, reason = "the one implementation for real files")]
pub(super) fn entries(path: &Path) -> io::Result<Vec<(Vec<u8>, FileType)>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        entries.push((entry.file_name().as_bytes().to_vec(), type_of(entry.file_type()?)));
    }
    entries.sort();
    Ok(entries)
}

struct Walk<'a, 'b> {
    encoder: Encoder<NarHasher>,
    filter: Option<&'a mut Filter<'b>>,
}

impl Walk<'_, '_> {
    #[expect(clippy::disallowed_methods, reason = "the one implementation for real files")]
    fn object(&mut self, path: &NixPath) -> Result<(), AddError> {
        let place = host(path);
        let read = |error: io::Error| AddError::Io(failed(&place, &error));
        let metadata = std::fs::symlink_metadata(&place).map_err(read)?;
        match type_of(metadata.file_type()) {
            FileType::Regular => {
                let contents = std::fs::read(&place).map_err(read)?;
                let executable = metadata.permissions().mode() & 0o100 != 0;
                self.encoder.file(executable, &contents).map_err(read)
            }
            FileType::Symlink => {
                let target = std::fs::read_link(&place).map_err(read)?;
                self.encoder.symlink(target.as_os_str().as_bytes()).map_err(read)
            }
            FileType::Directory => {
                self.encoder.begin_directory().map_err(read)?;
                for (name, kind) in entries(&place).map_err(read)? {
                    let below = path.join(&name);
                    if !self.takes(&below, kind)? {
                        continue;
                    }
                    self.encoder.begin_entry(&name).map_err(read)?;
                    self.object(&below)?;
                    self.encoder.end_entry().map_err(read)?;
                }
                self.encoder.end_directory().map_err(read)
            }
            FileType::Unknown => Err(AddError::Io(IoError::Failed {
                path: place.display().to_string(),
                message: "it is neither a file, a directory nor a symlink".to_owned(),
            })),
        }
    }

    fn takes(&mut self, path: &NixPath, kind: FileType) -> Result<bool, AddError> {
        match &mut self.filter {
            None => Ok(true),
            Some(filter) => filter(path, kind).map_err(|FilterError| AddError::Filter),
        }
    }
}

/// Returns the type of a file, itself if it is a link; nothing if it does not exist.
#[expect(clippy::disallowed_methods, reason = "the one implementation for real files")]
pub(super) fn kind(path: &Path) -> io::Result<Option<FileType>> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(type_of(metadata.file_type()))),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
