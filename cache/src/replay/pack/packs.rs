//! Reads packs.
//!
//! Opening one reads its index; the rest is read by position when it is asked for. Nothing is believed: lengths are
//! those of the files themselves, and memory that cannot be had is an error.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zstd::bulk::Decompressor;

use super::index::{Damage, Frame, Index, Part, Place, Record, Unread};
use super::{CONTENTS, INDEX, PackError, TRANSCRIPTS, record};
use crate::digest::Digest;
use crate::replay::transcript::Transcript;

/// The most transcripts of a pack that are looked at for the same given things: the newest.
const NEWEST: usize = 64;
/// The most bytes of them.
const LOOKED_AT: u32 = 64 << 20;
/// The most bytes, and the most frames, that are kept unpacked: what is asked for together lies together.
const RECENT_BYTES: usize = 64 << 20;
const RECENT: usize = 64;
/// The most reasons that are kept.
const REASONS: usize = 100;
/// The largest index: some twenty million contents.
const LARGEST_INDEX: u64 = 1 << 30;

/// A transcript, and the directory that has it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) transcript: Rc<Transcript>,
    /// The directory's number among those given.
    pub(crate) source: usize,
}

/// Reads packs of several directories; those named first are asked first.
pub(crate) struct Packs {
    packs: Vec<Pack>,
    recent: Mutex<VecDeque<Recent>>,
    /// Those not in use. Making one takes longer than unpacking a small frame.
    decompressors: Mutex<Vec<Decompressor<'static>>>,
    refused: Mutex<Vec<PackError>>,
}

struct Pack {
    /// The directory's number among those given.
    source: usize,
    index: Index,
    contents: Stored,
    transcripts: Stored,
}

/// A file with frames.
struct Stored {
    path: PathBuf,
    file: File,
    length: u64,
}

/// A frame that was unpacked lately: its pack, file and number.
struct Recent {
    key: (usize, Part, u32),
    bytes: Arc<Vec<u8>>,
}

/// A content that another pack takes over.
pub(super) struct Taken {
    pub(super) plain: Vec<u8>,
    /// Its frame as it stands in the file, if nothing else is in that.
    pub(super) packed: Option<Vec<u8>>,
}

impl Packs {
    /// Opens what is there. What is damaged or foreign is left out whole, with a reason: doubt runs the command.
    pub(crate) fn open(directories: &[PathBuf]) -> (Packs, Vec<PackError>) {
        let mut packs = Vec::new();
        let mut refused = Vec::new();
        for (source, directory) in directories.iter().enumerate() {
            match Pack::open(source, directory) {
                Ok(pack) => packs.push(pack),
                Err(reason) => refused.push(reason),
            }
        }
        let packs = Packs {
            packs,
            recent: Mutex::default(),
            decompressors: Mutex::default(),
            refused: Mutex::default(),
        };
        (packs, refused)
    }

    /// Returns the transcripts for what a command is given: by directory, and the newest of each first.
    ///
    /// Those that are damaged or break a rule are as if they were not there; [`Packs::refused`] has the reasons.
    pub(crate) fn transcripts(&self, given: &Digest) -> Vec<Found> {
        let mut found = Vec::new();
        let mut known: Vec<Digest> = Vec::new();
        for (number, pack) in self.packs.iter().enumerate() {
            let mut left = LOOKED_AT;
            for record in pack.index.transcripts(given).rev().take(NEWEST) {
                if known.contains(&record.own) {
                    continue;
                }
                // The first is within this: no frame of transcripts is larger.
                let Some(less) = left.checked_sub(record.place.size) else { break };
                left = less;
                match self.transcript(number, pack, &record) {
                    Ok(transcript) => {
                        known.push(record.own);
                        let transcript = Rc::new(transcript);
                        found.push(Found { transcript, source: pack.source });
                    }
                    Err(reason) => self.refuse(reason),
                }
            }
        }
        found
    }

    /// Returns a file's contents, which have that digest.
    pub(crate) fn content(&self, digest: &Digest) -> Result<Vec<u8>, PackError> {
        self.first(digest, |number, pack, place| self.read_content(number, pack, digest, place))
    }

    #[cfg(test)]
    pub(crate) fn has_content(&self, digest: &Digest) -> bool {
        self.packs.iter().any(|pack| pack.index.content(digest).is_some())
    }

    /// Takes out the reasons why transcripts were passed over so far, the first hundred of them.
    pub(crate) fn refused(&self) -> Vec<PackError> {
        std::mem::take(&mut *lock(&self.refused))
    }

    /// Returns a content together with its compressed form.
    pub(super) fn take(&self, digest: &Digest) -> Result<Taken, PackError> {
        self.first(digest, |number, pack, place| {
            let frame = pack.frame(Part::Contents, place.frame)?;
            if !place.fills(frame) {
                let plain = self.read_content(number, pack, digest, place)?;
                return Ok(Taken { plain, packed: None });
            }
            let packed = pack.contents.read(frame)?;
            let plain = self.unpack(&pack.contents, place.frame, frame, &packed)?;
            check_content(&pack.contents, digest, &plain)?;
            Ok(Taken { plain, packed: Some(packed) })
        })
    }

    /// Asks one pack after the other. The first reason is given if none has it whole.
    fn first<T>(
        &self,
        digest: &Digest,
        read: impl Fn(usize, &Pack, Place) -> Result<T, PackError>,
    ) -> Result<T, PackError> {
        let mut reason = None;
        for (number, pack) in self.packs.iter().enumerate() {
            let Some(place) = pack.index.content(digest) else { continue };
            match read(number, pack, place) {
                Ok(found) => return Ok(found),
                Err(error) => reason = reason.or(Some(error)),
            }
        }
        Err(reason.unwrap_or(PackError::Absent(*digest)))
    }

    fn read_content(
        &self,
        number: usize,
        pack: &Pack,
        digest: &Digest,
        place: Place,
    ) -> Result<Vec<u8>, PackError> {
        let frame = pack.frame(Part::Contents, place.frame)?;
        let bytes = if place.fills(frame) {
            let packed = pack.contents.read(frame)?;
            self.unpack(&pack.contents, place.frame, frame, &packed)?
        } else {
            let whole = self.unpacked(number, pack, Part::Contents, place.frame)?;
            let part = place.of(&whole).ok_or(Damage::Outside);
            part.map_err(PackError::damaged(&pack.contents.path))?.to_vec()
        };
        check_content(&pack.contents, digest, &bytes)?;
        Ok(bytes)
    }

    fn transcript(
        &self,
        number: usize,
        pack: &Pack,
        record: &Record,
    ) -> Result<Transcript, PackError> {
        let stored = &pack.transcripts;
        let whole = self.unpacked(number, pack, Part::Transcripts, record.place.frame)?;
        let part = record.place.of(&whole).ok_or(Damage::Outside);
        let bytes = part.map_err(PackError::damaged(&stored.path))?;
        if Digest::of(bytes) != record.own {
            return Err(PackError::damaged(&stored.path)(Damage::Transcript(record.own)));
        }
        record::decode(bytes)
            .map_err(|fault| PackError::Transcript { path: Some(stored.path.clone()), fault })
    }

    /// Returns a frame that several things share.
    fn unpacked(
        &self,
        number: usize,
        pack: &Pack,
        part: Part,
        frame_number: u32,
    ) -> Result<Arc<Vec<u8>>, PackError> {
        let key = (number, part, frame_number);
        let mut recent = lock(&self.recent);
        if let Some(at) = recent.iter().position(|recent| recent.key == key)
            && let Some(found) = recent.remove(at)
        {
            let bytes = Arc::clone(&found.bytes);
            recent.push_front(found);
            return Ok(bytes);
        }
        drop(recent);
        let frame = pack.frame(part, frame_number)?;
        let stored = pack.part(part);
        let packed = stored.read(frame)?;
        let bytes = Arc::new(self.unpack(stored, frame_number, frame, &packed)?);
        let mut recent = lock(&self.recent);
        recent.push_front(Recent { key, bytes: Arc::clone(&bytes) });
        let mut room = RECENT_BYTES;
        let fits = |recent: &&Recent| {
            let left = room.checked_sub(recent.bytes.len());
            room = left.unwrap_or(0);
            left.is_some()
        };
        let count = recent.iter().take(RECENT).take_while(fits).count();
        recent.truncate(count);
        Ok(bytes)
    }

    /// Unpacks a frame, which has exactly the length that the index says.
    fn unpack(
        &self,
        stored: &Stored,
        number: u32,
        frame: Frame,
        packed: &[u8],
    ) -> Result<Vec<u8>, PackError> {
        let error = || PackError::on("unpack", &stored.path);
        let spare = lock(&self.decompressors).pop();
        let mut decompressor = match spare {
            Some(spare) => spare,
            None => Decompressor::new().map_err(error())?,
        };
        let size = usize::try_from(frame.plain).map_err(io::Error::other).map_err(error())?;
        let mut plain = buffer(size).map_err(error())?;
        let length = decompressor.decompress_to_buffer(packed, &mut plain).map_err(|source| {
            PackError::damaged(&stored.path)(Damage::Packed { number, source })
        })?;
        lock(&self.decompressors).push(decompressor);
        if u32::try_from(length) != Ok(frame.plain) {
            return Err(PackError::damaged(&stored.path)(Damage::Length(number)));
        }
        Ok(plain)
    }

    fn refuse(&self, reason: PackError) {
        let mut refused = lock(&self.refused);
        if refused.len() < REASONS {
            refused.push(reason);
        }
    }
}

impl Pack {
    fn open(source: usize, directory: &Path) -> Result<Pack, PackError> {
        let path = directory.join(INDEX);
        let index = match Stored::open(&path) {
            Ok(index) => index,
            Err(PackError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Err(PackError::Unfinished(directory.to_path_buf()));
            }
            Err(error) => return Err(error),
        };
        let contents = Stored::open(&directory.join(CONTENTS))?;
        let transcripts = Stored::open(&directory.join(TRANSCRIPTS))?;
        let bytes = index.read_whole()?;
        let index =
            Index::read(bytes, contents.length, transcripts.length).map_err(
                |unread| match unread {
                    Unread::Foreign => PackError::Foreign(path),
                    Unread::Newer(found) => PackError::Newer { path, found },
                    Unread::Damaged(damage) => PackError::Damaged { path, damage },
                },
            )?;
        Ok(Pack { source, index, contents, transcripts })
    }

    fn part(&self, part: Part) -> &Stored {
        match part {
            Part::Contents => &self.contents,
            Part::Transcripts => &self.transcripts,
        }
    }

    fn frame(&self, part: Part, number: u32) -> Result<Frame, PackError> {
        let frame = self.index.frame(part, number).ok_or(Damage::Outside);
        frame.map_err(PackError::damaged(&self.part(part).path))
    }
}

impl Stored {
    /// Opens a plain file: a link would lead elsewhere, and a pipe wait for ever.
    fn open(path: &Path) -> Result<Stored, PackError> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
        let file = options.open(path).map_err(|error| match error.raw_os_error() {
            Some(libc::ELOOP | libc::ENXIO) => PackError::NotAFile(path.to_path_buf()),
            Some(_) | None => PackError::on("open", path)(error),
        })?;
        let found = file.metadata().map_err(PackError::on("look at", path))?;
        if !found.is_file() {
            return Err(PackError::NotAFile(path.to_path_buf()));
        }
        Ok(Stored { path: path.to_path_buf(), file, length: found.len() })
    }

    fn read_whole(&self) -> Result<Vec<u8>, PackError> {
        if self.length > LARGEST_INDEX {
            let what = "as much as it has";
            return Err(PackError::Large { path: self.path.clone(), what });
        }
        self.read(Frame { start: 0, stored: self.length, plain: 0 })
    }

    /// Reads a frame as it stands in the file.
    fn read(&self, frame: Frame) -> Result<Vec<u8>, PackError> {
        let error = || PackError::on("read", &self.path);
        let size = usize::try_from(frame.stored).map_err(io::Error::other).map_err(error())?;
        let mut bytes = buffer(size).map_err(error())?;
        bytes.resize(size, 0);
        self.file.read_exact_at(&mut bytes, frame.start).map_err(error())?;
        Ok(bytes)
    }
}

/// Returns an empty buffer with that capacity, or an error where `Vec::with_capacity` would end the program.
fn buffer(size: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size)?;
    Ok(bytes)
}

fn check_content(stored: &Stored, digest: &Digest, bytes: &[u8]) -> Result<(), PackError> {
    if Digest::of(bytes) == *digest {
        return Ok(());
    }
    Err(PackError::damaged(&stored.path)(Damage::Content(*digest)))
}

/// Locks, also after another thread has panicked: what these locks guard is whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
