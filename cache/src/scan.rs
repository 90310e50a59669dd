//! Reads trees: what is there, and what the files hold.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::own_paths::Markers;
use crate::references::{Mentions, StoreScan};
use crate::relative::RelativePath;
use crate::time::Time;

/// Names that start so are this program's own and belong to no tree.
pub(crate) const OWN: &[u8] = b".levain-cache";

/// Read at once when hashing.
const WINDOW: usize = 1 << 20;

/// Something found in a tree.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Where, below the tree's directory.
    pub path: RelativePath,
    /// What it is.
    pub kind: FoundKind,
    /// Its permission bits.
    pub mode: u32,
    /// Bytes, for a file.
    pub size: u64,
    /// What tells this very file from any other, and from itself after a change.
    pub stamp: Stamp,
    /// When it was last read, as far as the file system keeps that.
    pub accessed: Time,
    /// The device and whether the file has other names.
    pub device: u64,
    /// Number of names.
    pub names: u64,
}

/// What is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FoundKind {
    /// A directory.
    Directory,
    /// A file.
    File,
    /// A symbolic link, and what it says.
    Link(Vec<u8>),
    /// A device, socket or named pipe.
    Special(&'static str),
}

/// What tells a file from any other, and from itself after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The file system's number for it.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// When its content last changed, as far as no program set that time.
    pub modified: Time,
    /// When anything about it last changed: a tool that writes in place and then sets the time back
    /// does not escape this one.
    pub changed: Time,
}

/// Something that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{}`", .path.display())]
pub struct ScanError {
    /// What was tried.
    pub action: &'static str,
    /// On what.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl ScanError {
    /// Returns a conversion for an action on a path.
    pub fn on(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ScanError {
        let path = path.to_path_buf();
        move |source| ScanError { action, path, source }
    }
}

impl Stamp {
    /// Reads the stamp from what the system says.
    pub fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: Time::modified(metadata),
            changed: Time::changed(metadata),
        }
    }
}

impl Found {
    /// Looks at one place without following a link; none if nothing is there.
    pub(crate) fn at(tree: &Path, path: RelativePath) -> Result<Option<Found>, ScanError> {
        let place = path.under(tree);
        match place.symlink_metadata() {
            Ok(metadata) => Found::new(path, &place, &metadata).map(Some),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(ScanError::on("look at", &place)(error)),
        }
    }

    fn new(path: RelativePath, place: &Path, metadata: &Metadata) -> Result<Found, ScanError> {
        let kind = metadata.file_type();
        let kind = if kind.is_dir() {
            FoundKind::Directory
        } else if kind.is_file() {
            FoundKind::File
        } else if kind.is_symlink() {
            let target = std::fs::read_link(place).map_err(ScanError::on("read", place))?;
            FoundKind::Link(target.into_os_string().into_vec())
        } else if kind.is_fifo() {
            FoundKind::Special("a named pipe")
        } else if kind.is_socket() {
            FoundKind::Special("a socket")
        } else {
            FoundKind::Special("a device")
        };
        Ok(Found {
            path,
            kind,
            mode: metadata.mode() & 0o777,
            size: metadata.size(),
            stamp: Stamp::of(metadata),
            accessed: Time::accessed(metadata),
            device: metadata.dev(),
            names: metadata.nlink(),
        })
    }
}

/// Lists everything below a place of the tree, without the place itself, in no certain order.
pub(crate) fn walk(
    tree: &Path,
    place: &RelativePath,
    skip: &dyn Fn(&RelativePath) -> bool,
    found: &mut Vec<Found>,
) -> Result<(), ScanError> {
    let directory = place.under(tree);
    let read = ScanError::on;
    for entry in std::fs::read_dir(&directory).map_err(read("list", &directory))? {
        let entry = entry.map_err(read("list", &directory))?;
        let name = entry.file_name();
        let path = place.child(name.as_bytes());
        if name.as_bytes().starts_with(OWN) || skip(&path) {
            continue;
        }
        let at = entry.path();
        let metadata = entry.metadata().map_err(read("look at", &at))?;
        let here = Found::new(path.clone(), &at, &metadata)?;
        let deeper = here.kind == FoundKind::Directory;
        found.push(here);
        if deeper {
            walk(tree, &path, skip, found)?;
        }
    }
    Ok(())
}

/// Hashes a file, and collects what it mentions if asked to.
pub(crate) fn read_content(
    place: &Path,
    size: u64,
    scan: Option<&StoreScan>,
) -> Result<(Digest, Mentions), ScanError> {
    let mut mentions = Mentions::default();
    let mut file = File::open(place).map_err(ScanError::on("open", place))?;
    let mut hasher = blake3::Hasher::new();
    let reach = scan.map_or(0, StoreScan::reach);
    let window = WINDOW.min(usize::try_from(size).unwrap_or(WINDOW).max(512) + 1);
    let mut buffer = vec![0; window + reach];
    let mut held = 0;
    let mut total = 0;
    let mut ended = false;
    let mut markers = Markers::default();
    // Where the buffer begins in the file.
    let mut start = 0;
    while !ended {
        let room = buffer.len() - held;
        let read = file.read(&mut buffer[held..]).map_err(ScanError::on("read", place))?;
        hasher.update(&buffer[held..held + read]);
        held += read;
        total += read as u64;
        // There was room for one byte more than the file is said to have, so nothing comes after.
        ended = read == 0 || (total == size && read < room);
        let Some(scan) = scan else {
            held = 0;
            continue;
        };
        if ended {
            scan.collect(&buffer[..held], held, &mut mentions);
            markers.collect(&buffer[..held], start, held);
        } else if held == buffer.len() {
            // Whatever starts in the last stretch may go on in the next window.
            let whole = held - reach;
            scan.collect(&buffer[..held], whole, &mut mentions);
            markers.collect(&buffer[..held], start, whole);
            start += whole as u64;
            buffer.copy_within(whole..held, 0);
            held = reach;
        }
    }
    if let Some(scan) = scan.filter(|scan| !scan.own().is_empty() && !markers.is_empty())
        && mentions.own().is_none()
        && let Some(own) = markers.find(place, scan.own()).map_err(ScanError::on("read", place))?
    {
        mentions.add_own(own);
    }
    Ok((Digest::from_hasher(&hasher), mentions))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mention_across_windows_is_found_once() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("f");
        let base = format!("{}-x", "a".repeat(32));
        let scan = StoreScan::new(Path::new("/nix/store"), &[], &[]);
        for shift in 0..60 {
            let mut bytes = vec![b'.'; WINDOW - 30 + shift];
            bytes.extend_from_slice(format!("/nix/store/{base}").as_bytes());
            bytes.resize(2 * WINDOW + 17, b'.');
            let at = bytes.iter().rposition(|&byte| byte == b'x').unwrap();
            bytes[at + 1] = b' ';
            std::fs::write(&place, &bytes).unwrap();
            let (digest, found) = read_content(&place, bytes.len() as u64, Some(&scan)).unwrap();
            assert_eq!(digest, Digest::of(&bytes));
            assert_eq!(found.names().collect::<Vec<_>>(), [base.as_bytes()]);
            assert_eq!(read_content(&place, 3, None).unwrap().0, digest);
        }
    }
}
