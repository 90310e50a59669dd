//! Where things are in a cache output.
//!
//! ```text
//! levain-cache              the format's name and version
//! NAME/manifest.zst         what the set holds and what it was made from
//! NAME/references           store paths that the files mention, as plain text for Nix to find
//! NAME/archive/ID.tar.zst   the files' content, in parts
//! ```

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::manifest::{FORMAT, Manifest, Problem};
use crate::refusal::Refusal;
use crate::set_name::SetName;

const MARK: &str = "levain-cache";
/// The largest manifest accepted, uncompressed: some millions of files.
const MANIFEST: u64 = 1 << 30;

/// The name of the file with the store paths.
pub(crate) const REFERENCES: &str = "references";
/// The name of the directory with the archive's parts.
pub(crate) const ARCHIVE: &str = "archive";
/// The name of the manifest's file.
pub(crate) const MANIFEST_FILE: &str = "manifest.zst";

/// Returns the file that says that this is a cache.
pub(crate) fn mark(cache: &Path) -> PathBuf {
    cache.join(MARK)
}

/// Returns what that file holds.
pub(crate) fn mark_text() -> String {
    format!("{MARK} {FORMAT}\n")
}

/// Opens a file of a cache: a pipe would wait for ever, and a link read whatever it leads to.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    if path.symlink_metadata()?.is_file() {
        File::open(path)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no plain file"))
    }
}

/// Checks that this is a cache of a format that can be read.
pub(crate) fn check_mark(cache: &Path) -> Result<(), Refusal> {
    match cache.symlink_metadata() {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Refusal::Absent(cache.to_path_buf()));
        }
        Err(error) => return Err(Refusal::on("look at", cache)(error)),
    }
    let foreign = || Refusal::NotACache(cache.to_path_buf());
    let mut text = String::new();
    let read = open(&mark(cache)).and_then(|file| file.take(100).read_to_string(&mut text));
    if read.is_err() {
        return Err(foreign());
    }
    if text == mark_text() {
        return Ok(());
    }
    let version = text.strip_prefix(MARK).and_then(|rest| rest.strip_prefix(' '));
    match version.map(|version| version.trim_end().parse::<u32>()) {
        Some(Ok(version)) if version > FORMAT => {
            Err(Refusal::Newer { path: cache.to_path_buf(), found: version.to_string() })
        }
        Some(Ok(version)) => {
            Err(Refusal::Older { path: cache.to_path_buf(), found: version.to_string() })
        }
        Some(Err(_)) | None => Err(foreign()),
    }
}

/// Reads a set's manifest.
pub fn manifest(cache: &Path, set: &SetName) -> Result<Manifest, Refusal> {
    check_mark(cache)?;
    let path = cache.join(set.as_str()).join(MANIFEST_FILE);
    let file = match open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Refusal::NoSet(cache.to_path_buf()));
        }
        Err(error) => return Err(Refusal::on("open", &path)(error)),
    };
    let mut bytes = Vec::new();
    zstd::Decoder::new(file)
        .and_then(|decoder| decoder.take(MANIFEST).read_to_end(&mut bytes))
        .map_err(Refusal::Damaged)?;
    Manifest::decode(&bytes).map_err(|error| {
        if let Problem::Newer { found } = error.problem {
            return Refusal::Newer { path: cache.to_path_buf(), found };
        }
        Refusal::Manifest(error)
    })
}

/// Lists the sets of a cache, in order.
pub fn sets(cache: &Path) -> Result<Vec<SetName>, Refusal> {
    check_mark(cache)?;
    let error = || Refusal::on("list", cache);
    let mut sets = Vec::new();
    for entry in std::fs::read_dir(cache).map_err(error())? {
        let name = entry.map_err(error())?.file_name();
        sets.extend(name.to_str().and_then(|name| name.parse().ok()));
    }
    sets.sort();
    Ok(sets)
}
