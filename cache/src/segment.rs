//! The archive: the content of a set's files, cut into parts that stay the same from build to build.
//!
//! Each part is a tar archive of plain files, compressed with zstd. Names, sizes and order must be
//! those of the manifest; links, directories, modes and times are the manifest's alone, so that an
//! archive has nothing to say about where or how anything is written.
//!
//! A part's bytes depend only on the files in it, and [`plan`] cuts by name and size alone. So an
//! unchanged part can be copied from the cache that the build started from, and equal parts of
//! several caches are equal files, which Nix can store once.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::manifest::{Content, Entry};
use crate::relative::RelativePath;
use crate::time::{self, Time};

/// From this size on a part may end; a file of this size is a part of its own.
const LEAST: u64 = 4 << 20;
/// At this size a part ends.
const MOST: u64 = 16 << 20;
/// One name in so many ends a part that is large enough.
const CUT: u8 = 8;
/// Largest window that a decoder must hold in memory, as a power of two.
const WINDOW_LOG: u32 = 27;
/// A tar block.
const BLOCK: u64 = 512;
/// A tar header's room for a name.
const SHORT_NAME: usize = 100;

/// Why a part of an archive was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The system refused.
    #[error("cannot {action} `{}`", .path.display())]
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

/// A file of a part, and where it goes.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// The manifest's entry.
    pub entry: &'a Entry,
    /// The manifest's content.
    pub content: &'a Content,
    /// Where to write it; nowhere if it is only checked.
    pub to: Option<PathBuf>,
    /// The time it gets.
    pub modified: Time,
}

/// Reads a part, checks all of it, and writes the files that are wanted.
pub(crate) fn unpack(from: &Path, stored: u64, files: &[Wanted<'_>]) -> Result<(), SegmentError> {
    let file = File::open(from).map_err(SegmentError::on("open", from))?;
    let mut decoder = zstd::Decoder::with_buffer(BufReader::with_capacity(
        1 << 17,
        file.take(stored.saturating_add(1)),
    ))
    .map_err(SegmentError::Damaged)?;
    decoder.window_log_max(WINDOW_LOG).map_err(SegmentError::Damaged)?;
    // What the manifest says bounds what is read, whatever the compressed data would grow to.
    let mut archive = tar::Archive::new(decoder.take(size(files)));
    let mut entries = archive.entries().map_err(SegmentError::Damaged)?.raw(true);
    let mut buffer = vec![0; 1 << 17];
    for wanted in files {
        let mut entry = next(&mut entries, &wanted.entry.path)?;
        let mut name = entry.header().path_bytes().into_owned();
        if entry.header().entry_type() == tar::EntryType::GNULongName {
            name = long_name(&mut entry)?;
            entry = next(&mut entries, &wanted.entry.path)?;
        }
        check(&entry, &name, wanted)?;
        copy(&mut entry, wanted, &mut buffer)?;
    }
    if let Some(entry) = entries.next() {
        let entry = entry.map_err(SegmentError::Damaged)?;
        let found = describe(entry.header().entry_type(), &entry.header().path_bytes());
        return Err(SegmentError::Foreign { found, wanted: "no more files".to_owned() });
    }
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(SegmentError::Damaged)?;
    let mut decoder = rest.into_inner();
    // The end of the compressed data carries its checksum, which is read with the last byte.
    if decoder.read(&mut buffer[..1]).map_err(SegmentError::Damaged)? > 0 {
        return Err(SegmentError::Long);
    }
    Ok(())
}

/// Returns the most that a part with these files can have, uncompressed.
fn size(files: &[Wanted<'_>]) -> u64 {
    let blocks = |bytes: u64| bytes.div_ceil(BLOCK).saturating_mul(BLOCK);
    let ends = 2 * BLOCK;
    files.iter().fold(ends, |sum, wanted| {
        let name = wanted.entry.path.bytes().len();
        let long = if name > SHORT_NAME { BLOCK + blocks(name as u64 + 1) } else { 0 };
        sum.saturating_add(BLOCK + long).saturating_add(blocks(wanted.content.size))
    })
}

fn next<'a, R: Read>(
    entries: &mut tar::Entries<'a, R>,
    wanted: &RelativePath,
) -> Result<tar::Entry<'a, R>, SegmentError> {
    match entries.next() {
        Some(entry) => entry.map_err(SegmentError::Damaged),
        None => Err(SegmentError::Foreign {
            found: "nothing more".to_owned(),
            wanted: format!("{wanted:?}"),
        }),
    }
}

fn long_name<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Vec<u8>, SegmentError> {
    // A name is at most 4096 bytes, whatever the header claims; a longer one will not compare equal.
    let mut name = Vec::new();
    entry.take(4097).read_to_end(&mut name).map_err(SegmentError::Damaged)?;
    if name.last() == Some(&0) {
        name.pop();
    }
    Ok(name)
}

fn check<R: Read>(
    entry: &tar::Entry<'_, R>,
    name: &[u8],
    wanted: &Wanted<'_>,
) -> Result<(), SegmentError> {
    let kind = entry.header().entry_type();
    let size = entry.header().size().map_err(SegmentError::Damaged)?;
    if kind == tar::EntryType::Regular
        && name == wanted.entry.path.bytes()
        && size == wanted.content.size
    {
        return Ok(());
    }
    Err(SegmentError::Foreign {
        found: format!("{} of {size} bytes", describe(kind, name)),
        wanted: format!("the file {:?} of {} bytes", wanted.entry.path, wanted.content.size),
    })
}

fn describe(kind: tar::EntryType, name: &[u8]) -> String {
    let names = [
        (kind.is_file(), "the file"),
        (kind.is_hard_link(), "the hard link"),
        (kind.is_symlink(), "the symbolic link"),
        (kind.is_character_special() || kind.is_block_special(), "the device"),
        (kind.is_fifo(), "the named pipe"),
        (kind.is_dir(), "the directory"),
    ];
    let known = names.iter().find(|(is, _)| *is);
    let kind = known.map_or("the special entry", |(_, name)| name);
    format!("{kind} `{}`", String::from_utf8_lossy(name).escape_debug())
}

fn copy<R: Read>(
    entry: &mut tar::Entry<'_, R>,
    wanted: &Wanted<'_>,
    buffer: &mut [u8],
) -> Result<(), SegmentError> {
    use std::os::unix::fs::PermissionsExt as _;
    let to = wanted.to.as_deref();
    let error = |action| SegmentError::on(action, to.unwrap_or(Path::new("")));
    let mut file = match to {
        Some(to) => Some(File::create_new(to).map_err(error("create"))?),
        None => None,
    };
    let mut hasher = blake3::Hasher::new();
    let mut bytes = 0;
    loop {
        let read = entry.read(buffer).map_err(SegmentError::Damaged)?;
        if read == 0 {
            break;
        }
        bytes += read as u64;
        hasher.update(&buffer[..read]);
        if let Some(file) = &mut file {
            file.write_all(&buffer[..read]).map_err(error("write"))?;
        }
    }
    if bytes != wanted.content.size || Digest::from_hasher(&hasher) != wanted.content.digest {
        return Err(SegmentError::Content(wanted.entry.path.clone()));
    }
    if let Some(file) = &file {
        let permissions = std::fs::Permissions::from_mode(wanted.entry.mode);
        file.set_permissions(permissions).map_err(error("set the mode of"))?;
        // An access time of zero lets `persist` see which files were read.
        time::set_open(file, Time::ZERO, wanted.modified).map_err(error("set the time of"))?;
    }
    Ok(())
}
