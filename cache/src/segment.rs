//! The archive: the content of a set's files, cut into parts that stay the same from build to build.
//!
//! Each part is a tar archive of plain files, compressed with zstd. Names, sizes and order must be
//! those of the manifest; links, directories, modes and times are the manifest's alone, so that an
//! archive has nothing to say about where or how anything is written.
//!
//! A part's bytes depend only on the files in it, and [`plan`] cuts by name and size alone. So an
//! unchanged part can be copied from the cache that the build started from, and equal parts of
//! several caches are equal files, which Nix can store once.

mod unpack;

use std::fs::File;
use std::io::{self, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::manifest::{Content, Entry};
use crate::relative::RelativePath;
use crate::time::Time;

pub(crate) use unpack::{Wanted, Writers, unpack};

/// From this size on a part may end; a file of this size is a part of its own.
const LEAST: u64 = 4 << 20;
/// At this size a part ends.
const MOST: u64 = 16 << 20;
/// One name in so many ends a part that is large enough.
const CUT: u8 = 8;

/// Why a part of an archive was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The system refused.
    #[error("cannot {action} `{}`: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file changed while it was read.
    #[error(
        "{0:?} changed while it was being kept\nhint: persist after everything that the build started has ended"
    )]
    Changing(RelativePath),
    /// The compressed data cannot be read.
    #[error("the archive is damaged: {0}")]
    Damaged(io::Error),
    /// The archive holds something else than the manifest says.
    #[error("the archive holds {found} where the manifest has {wanted}")]
    Foreign {
        /// What it holds.
        found: String,
        /// What was expected.
        wanted: String,
    },
    /// The content is not what the manifest says.
    #[error("the content of {0:?} is not what the manifest says")]
    Content(RelativePath),
    /// The archive goes on after what the manifest says.
    #[error("the archive is larger than the manifest says")]
    Long,
}

impl SegmentError {
    fn on(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SegmentError {
        let path = path.to_path_buf();
        move |source| SegmentError::Io { action, path, source }
    }
}

/// Returns the name of what turns content into a part's bytes.
pub(crate) fn compressor(level: i32) -> String {
    format!("zstd {} level {level}", zstd::zstd_safe::version_string())
}

/// Returns how many files each part holds.
pub(crate) fn plan(files: &[(&Entry, &Content)]) -> Vec<usize> {
    let mut parts = Vec::new();
    let (mut count, mut bytes) = (0, 0);
    for (entry, content) in files {
        let cut = bytes >= LEAST && Digest::of(entry.path.bytes()).bytes()[0].is_multiple_of(CUT);
        if count > 0 && (content.size >= LEAST || cut || bytes + content.size > MOST) {
            parts.push(count);
            (count, bytes) = (0, 0);
        }
        count += 1;
        bytes += content.size;
        if content.size >= LEAST {
            parts.push(count);
            (count, bytes) = (0, 0);
        }
    }
    if count > 0 {
        parts.push(count);
    }
    parts
}

/// Returns the hash of what a part holds.
pub(crate) fn id(files: &[(&Entry, &Content)]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for (entry, content) in files {
        // A zero byte cannot be in a name, so that no two lists give the same bytes.
        hasher.update(entry.path.bytes());
        hasher.update(&[0]);
        hasher.update(&content.size.to_le_bytes());
        hasher.update(content.digest.bytes());
    }
    Digest::from_hasher(&hasher)
}

/// Returns a part's file in the archive's directory.
pub(crate) fn place(archive: &Path, id: Digest) -> PathBuf {
    archive.join(format!("{id}.tar.zst"))
}

/// Writes a part, and returns its size.
pub(crate) fn write(
    to: &Path,
    tree: &Path,
    files: &[(&Entry, &Content)],
    level: i32,
) -> Result<u64, SegmentError> {
    let error = SegmentError::on;
    let file = File::create_new(to).map_err(error("create", to))?;
    let mut encoder =
        zstd::Encoder::new(BufWriter::new(file), level).map_err(error("write", to))?;
    encoder.include_checksum(true).map_err(error("write", to))?;
    let mut tar = tar::Builder::new(encoder);
    for (entry, content) in files {
        let place = entry.path.under(tree);
        let file = File::open(&place).map_err(error("open", &place))?;
        let mut header = tar::Header::new_gnu();
        header.set_size(content.size);
        header.set_mode(0o644);
        let mut limited = Counted { inner: file.take(content.size), bytes: 0 };
        tar.append_data(&mut header, entry.path.as_path(), &mut limited)
            .map_err(error("keep", &place))?;
        let after = limited.inner.get_ref().metadata().map_err(error("look at", &place))?;
        if limited.bytes != content.size || Time::modified(&after) != entry.modified {
            return Err(SegmentError::Changing(entry.path.clone()));
        }
    }
    let encoder = tar.into_inner().map_err(error("write", to))?;
    let mut writer = encoder.finish().map_err(error("write", to))?;
    writer.flush().map_err(error("write", to))?;
    Ok(writer.get_ref().metadata().map_err(error("look at", to))?.len())
}

struct Counted<R> {
    inner: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}
