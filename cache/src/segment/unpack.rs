//! Reads a part of the archive: everything is checked against the manifest, then written.
//!
//! The parts are tar archives, but this is no reader of tar archives: it knows which file comes next,
//! and anything else ends the reading.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufReader, Read, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::SegmentError;
use crate::digest::Digest;
use crate::layout;
use crate::manifest::{Content, Entry};
use crate::scan::Stamp;
use crate::threads;
use crate::time::{self, Time};

/// Largest window that a decoder must hold in memory, as a power of two.
const WINDOW_LOG: u32 = 27;
/// A tar block.
const BLOCK: usize = 512;
/// A tar header's room for a name.
const SHORT_NAME: usize = 100;
/// The longest name that is looked at: the longest path, and the zero byte that ends it.
const LONG_NAME: u64 = 4097;
/// Zero blocks at the end of a tar archive.
const ENDS: usize = 2;
/// A file of this size is written while it is read.
const LARGE: u64 = 1 << 20;
/// So many bytes of smaller files are held before several threads write them.
const HELD: u64 = 4 << 20;

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

/// Who writes the small files of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writers {
    /// The thread that reads, since others read other parts.
    Reader,
    /// All processors, since there is no other part.
    All,
}

/// Reads a part, checks all of it, and writes the files that are wanted; returns, for each file in
/// order, what stands there now.
pub(crate) fn unpack(
    from: &Path,
    stored: u64,
    files: &[Wanted<'_>],
    writers: Writers,
) -> Result<Vec<Option<Stamp>>, SegmentError> {
    let file = layout::open(from).map_err(SegmentError::on("open", from))?;
    let input = BufReader::with_capacity(1 << 17, file.take(stored.saturating_add(1)));
    let mut decoder = zstd::Decoder::with_buffer(input).map_err(SegmentError::Damaged)?;
    decoder.window_log_max(WINDOW_LOG).map_err(SegmentError::Damaged)?;
    // What the manifest says bounds what is read, whatever the compressed data would grow to.
    let mut archive = Archive(decoder.take(size(files)));
    let mut stamps = Vec::with_capacity(files.len());
    let mut held: Vec<(&Wanted<'_>, Vec<u8>)> = Vec::new();
    let mut bytes = 0;
    for wanted in files {
        archive.header(wanted)?;
        let size = wanted.content.size;
        let large = size >= LARGE;
        if !large {
            held.push((wanted, archive.content(size)?));
            bytes += size;
        }
        if large || bytes >= HELD || writers == Writers::Reader {
            stamps.extend(threads::each(&held, |(wanted, content)| put(wanted, content))?);
            held.clear();
            bytes = 0;
        }
        if large {
            stamps.push(archive.copy(wanted)?);
        }
    }
    archive.end()?;
    let mut decoder = archive.0.into_inner();
    // The end of the compressed data carries its checksum, which is read with the last byte.
    if decoder.read(&mut [0]).map_err(SegmentError::Damaged)? > 0 {
        return Err(SegmentError::Long);
    }
    stamps.extend(threads::each(&held, |(wanted, content)| put(wanted, content))?);
    Ok(stamps)
}

/// Returns the most that a part with these files can have, uncompressed.
fn size(files: &[Wanted<'_>]) -> u64 {
    let block = BLOCK as u64;
    files.iter().fold(ENDS as u64 * block, |sum, wanted| {
        let name = wanted.entry.path.bytes().len();
        let long = if name > SHORT_NAME { block + blocks(name as u64 + 1) } else { 0 };
        sum.saturating_add(block + long).saturating_add(blocks(wanted.content.size))
    })
}

/// Returns the length with what fills the last block.
fn blocks(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK as u64).saturating_mul(BLOCK as u64)
}

/// What is left of an archive.
struct Archive<R>(R);

impl<R: Read> Archive<R> {
    /// Reads the next file's header, which must be that of the file wanted.
    fn header(&mut self, wanted: &Wanted<'_>) -> Result<(), SegmentError> {
        let mut header = self.block()?;
        let mut name = header.path_bytes().into_owned();
        if header.entry_type() == tar::EntryType::GNULongName {
            let size = header.size().map_err(SegmentError::Damaged)?;
            // What is longer is no name of ours, and will not compare equal.
            name = self.content(size.min(LONG_NAME))?;
            if name.last() == Some(&0) {
                name.pop();
            }
            header = self.block()?;
        }
        let foreign = |found| {
            let (path, size) = (&wanted.entry.path, wanted.content.size);
            SegmentError::Foreign { found, wanted: format!("the file {path:?} of {size} bytes") }
        };
        if is_zero(header.as_bytes()) {
            return Err(foreign("nothing more".to_owned()));
        }
        let kind = header.entry_type();
        let size = header.size().map_err(SegmentError::Damaged)?;
        let same_name = name == wanted.entry.path.bytes();
        if kind == tar::EntryType::Regular && same_name && size == wanted.content.size {
            return Ok(());
        }
        Err(foreign(format!("{} of {size} bytes", describe(kind, &name))))
    }

    /// Reads a block that is a header, or nothing but zeros.
    fn block(&mut self) -> Result<tar::Header, SegmentError> {
        let mut header = tar::Header::new_old();
        self.0.read_exact(header.as_mut_bytes()).map_err(SegmentError::Damaged)?;
        let bytes = header.as_bytes();
        if is_zero(bytes) {
            return Ok(header);
        }
        // The sum counts its own eight bytes as blanks.
        let others = bytes[..148].iter().chain(&bytes[156..]).map(|&byte| u32::from(byte));
        let sum = others.sum::<u32>() + 8 * u32::from(b' ');
        if header.cksum().map_err(SegmentError::Damaged)? != sum {
            let error = io::Error::new(io::ErrorKind::InvalidData, "a header has another sum");
            return Err(SegmentError::Damaged(error));
        }
        Ok(header)
    }

    /// Reads content to its last block's end. The caller has bounded the size.
    fn content(&mut self, size: u64) -> Result<Vec<u8>, SegmentError> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let mut content = vec![0; size.next_multiple_of(BLOCK)];
        self.0.read_exact(&mut content).map_err(SegmentError::Damaged)?;
        content.truncate(size);
        Ok(content)
    }

    /// Writes a file while it is read.
    fn copy(&mut self, wanted: &Wanted<'_>) -> Result<Option<Stamp>, SegmentError> {
        let to = wanted.to.as_deref();
        let mut file = to.map(|to| Ok((create(wanted, to)?, to))).transpose()?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 1 << 17];
        let size = wanted.content.size;
        let mut left = size;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let piece = &mut buffer[..most];
            self.0.read_exact(piece).map_err(SegmentError::Damaged)?;
            hasher.update(piece);
            if let Some((file, to)) = &mut file {
                file.write_all(piece).map_err(SegmentError::on("write", to))?;
            }
            left -= most as u64;
        }
        // What fills the last block.
        let fill = usize::try_from(blocks(size) - size).unwrap_or(0);
        self.0.read_exact(&mut buffer[..fill]).map_err(SegmentError::Damaged)?;
        if Digest::from_hasher(&hasher) != wanted.content.digest {
            return Err(SegmentError::Content(wanted.entry.path.clone()));
        }
        file.map(|(file, to)| finish(wanted, &file, to)).transpose()
    }

    /// Reads the blocks after the last file.
    fn end(&mut self) -> Result<(), SegmentError> {
        for _ in 0..ENDS {
            let header = self.block()?;
            if !is_zero(header.as_bytes()) {
                let found = describe(header.entry_type(), &header.path_bytes());
                return Err(SegmentError::Foreign { found, wanted: "no more files".to_owned() });
            }
        }
        Ok(())
    }
}

fn is_zero(block: &[u8]) -> bool {
    block.iter().all(|&byte| byte == 0)
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

/// Checks a file that was read, and writes it.
fn put(wanted: &Wanted<'_>, content: &[u8]) -> Result<Option<Stamp>, SegmentError> {
    if Digest::of(content) != wanted.content.digest {
        return Err(SegmentError::Content(wanted.entry.path.clone()));
    }
    let Some(to) = &wanted.to else { return Ok(None) };
    let mut file = create(wanted, to)?;
    file.write_all(content).map_err(SegmentError::on("write", to))?;
    finish(wanted, &file, to).map(Some)
}

fn create(wanted: &Wanted<'_>, to: &Path) -> Result<File, SegmentError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(wanted.entry.mode);
    options.open(to).map_err(SegmentError::on("create", to))
}

/// Gives a file that was written its mode and times.
fn finish(wanted: &Wanted<'_>, file: &File, to: &Path) -> Result<Stamp, SegmentError> {
    // An access time of zero lets `persist` see which files were read.
    time::set_open(file, Time::ZERO, wanted.modified)
        .map_err(SegmentError::on("set the time of", to))?;
    // Read back, because a file system may keep less of a time than was asked for.
    let found = file.metadata().map_err(SegmentError::on("look at", to))?;
    // Some of the mode's bits may not be given to new files here.
    if found.mode() & 0o777 != wanted.entry.mode {
        file.set_permissions(Permissions::from_mode(wanted.entry.mode))
            .map_err(SegmentError::on("set the mode of", to))?;
        // Which is a change, too.
        let found = file.metadata().map_err(SegmentError::on("look at", to))?;
        return Ok(Stamp::of(&found));
    }
    Ok(Stamp::of(&found))
}
