//! Writes a pack.
//!
//! Small contents share frames, which halves what they take: files that a build makes resemble each other. Others have
//! frames of their own, so that reading one unpacks no other, and another pack can take it over as it stands.
//!
//! Transcripts share larger frames. Those of compilers name the same headers again and again, and that of a `make` names
//! what those of the programs that it started name: by themselves they would take ten times as much.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use zstd::bulk::Compressor;

use super::index::{Place, Record, Tables};
use super::packs::{Packs, Taken};
use super::{CONTENTS, INDEX, PackError, TRANSCRIPTS, record};
use crate::digest::Digest;
use crate::replay::transcript::Transcript;
use crate::threads;

/// Contents smaller than this share a frame.
const SMALL: usize = 16 << 10;
/// A frame of small contents ends at this size.
const CONTENTS_FRAME: usize = 128 << 10;
/// A frame of transcripts ends at this size.
const TRANSCRIPTS_FRAME: usize = 2 << 20;
/// Transcripts from this size on share frames of their own kind: few are ever looked up.
const LARGE_TRANSCRIPT: usize = 512 << 10;
/// Such a frame ends at this size.
const LARGE_TRANSCRIPTS_FRAME: usize = 32 << 20;
/// How far back, as a power of two, equal bytes are looked for in one.
const WINDOW: u32 = 25;
/// Frames wait until they have so many bytes, and are then compressed on all processors.
const BATCH: usize = 16 << 20;
/// Fast: a build waits for it.
const LEVEL: i32 = 3;
/// The frame of what is not yet in one.
const OPEN: u32 = u32::MAX;

/// Writes a pack into a directory.
pub(crate) struct Packer {
    directory: PathBuf,
    contents: Shelf,
    small_contents: Group,
    transcripts: Shelf,
    small_transcripts: Group,
    large_transcripts: Group,
    /// What each command was given, with the digest of its transcript, and when that was last added.
    records: HashMap<(Digest, Digest), usize>,
    /// How often a transcript was added.
    added: usize,
}

impl Packer {
    /// Begins a pack in a directory that does not exist, or is empty.
    pub(crate) fn create(directory: &Path) -> Result<Packer, PackError> {
        match fs::create_dir(directory) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => check_empty(directory)?,
            Err(error) => return Err(PackError::on("create", directory)(error)),
        }
        Ok(Packer {
            directory: directory.to_path_buf(),
            contents: Shelf::create(directory.join(CONTENTS))?,
            small_contents: Group::new(CONTENTS_FRAME, Form::Plain),
            transcripts: Shelf::create(directory.join(TRANSCRIPTS))?,
            small_transcripts: Group::new(TRANSCRIPTS_FRAME, Form::Plain),
            large_transcripts: Group::new(LARGE_TRANSCRIPTS_FRAME, Form::Wide),
            records: HashMap::new(),
            added: 0,
        })
    }

    pub(crate) fn has_content(&self, digest: &Digest) -> bool {
        self.contents.places.contains_key(digest)
    }

    /// Adds a file's contents; equal ones are kept once. With a digest that is not theirs they cannot be read again.
    pub(crate) fn add_content(&mut self, digest: &Digest, bytes: &[u8]) -> Result<(), PackError> {
        if self.has_content(digest) {
            return Ok(());
        }
        if bytes.len() < SMALL {
            self.contents.put_shared(&mut self.small_contents, *digest, bytes)
        } else {
            self.contents.put_alone(*digest, bytes)
        }
    }

    /// Takes a content over from packs that are read, and checks it.
    ///
    /// One with a frame of its own is copied as it is compressed. A small one shares its frame with others, which may
    /// not be wanted any more, so it is compressed anew with those that are.
    pub(crate) fn take_content(&mut self, digest: &Digest, from: &Packs) -> Result<(), PackError> {
        if self.has_content(digest) {
            return Ok(());
        }
        let Taken { plain, packed } = from.take(digest)?;
        match packed {
            Some(packed) if plain.len() >= SMALL => {
                let size = self.contents.size(&plain)?;
                self.contents.put_packed(*digest, packed, size)
            }
            Some(_) | None => self.add_content(digest, &plain),
        }
    }

    /// Adds a transcript for what its command was given. It is newer than those that were added before it.
    pub(crate) fn add_transcript(
        &mut self,
        given: Digest,
        transcript: &Transcript,
    ) -> Result<(), PackError> {
        let bytes = record::encode(transcript)
            .map_err(|fault| PackError::Transcript { path: None, fault })?;
        let own = Digest::of(&bytes);
        if !self.transcripts.places.contains_key(&own) {
            let small = bytes.len() < LARGE_TRANSCRIPT;
            let group =
                if small { &mut self.small_transcripts } else { &mut self.large_transcripts };
            self.transcripts.put_shared(group, own, &bytes)?;
        }
        self.added += 1;
        self.records.insert((given, own), self.added);
        Ok(())
    }

    /// Writes the index. Without it there is no pack.
    pub(crate) fn finish(mut self) -> Result<(), PackError> {
        self.contents.close(&mut self.small_contents)?;
        self.contents.flush()?;
        self.transcripts.close(&mut self.small_transcripts)?;
        self.transcripts.close(&mut self.large_transcripts)?;
        self.transcripts.flush()?;
        let mut contents: Vec<(Digest, Place)> = self.contents.places.into_iter().collect();
        contents.sort_unstable_by_key(|(digest, _)| *digest);
        let mut order: Vec<(Digest, usize, Digest)> =
            self.records.into_iter().map(|((given, own), added)| (given, added, own)).collect();
        order.sort_unstable();
        let places = &self.transcripts.places;
        let record = |(given, _, own)| places.get(&own).map(|&place| Record { given, own, place });
        let transcripts: Vec<Record> = order.into_iter().filter_map(record).collect();
        let tables = Tables {
            content_frames: &self.contents.frames,
            contents: &contents,
            transcript_frames: &self.transcripts.frames,
            transcripts: &transcripts,
        };
        let path = self.directory.join(INDEX);
        let bytes = tables
            .encode()
            .ok_or_else(|| PackError::Large { path: path.clone(), what: "so many entries" })?;
        let mut file = File::create_new(&path).map_err(PackError::on("create", &path))?;
        file.write_all(&bytes).map_err(PackError::on("write", &path))
    }
}

fn check_empty(directory: &Path) -> Result<(), PackError> {
    let occupied = || PackError::Occupied(directory.to_path_buf());
    let found = directory.symlink_metadata().map_err(PackError::on("look at", directory))?;
    if !found.is_dir() {
        return Err(occupied());
    }
    let mut entries = fs::read_dir(directory).map_err(PackError::on("list", directory))?;
    if entries.next().is_some() { Err(occupied()) } else { Ok(()) }
}

/// One of the two files with frames, as it is written.
struct Shelf {
    path: PathBuf,
    file: File,
    /// Where everything is, by its digest.
    places: HashMap<Digest, Place>,
    /// Frames to be written after those that were, and the sum of their bytes.
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
    /// Where each frame that was written ends, and its length when unpacked.
    frames: Vec<(u64, u32)>,
}

/// What shares a frame that is being filled.
struct Group {
    members: Vec<Digest>,
    bytes: Vec<u8>,
    /// When the frame ends.
    full: usize,
    form: Form,
}

impl Group {
    fn new(full: usize, form: Form) -> Group {
        Group { members: Vec::new(), bytes: Vec::new(), full, form }
    }
}

/// A frame to be written.
struct Waiting {
    bytes: Vec<u8>,
    /// Its length when unpacked.
    size: u32,
    form: Form,
}

/// What is done with bytes before they are written.
#[derive(Clone, Copy)]
enum Form {
    /// They are compressed.
    Plain,
    /// They are compressed as what repeats itself far apart.
    Wide,
    /// They are compressed already.
    Packed,
}

impl Shelf {
    fn create(path: PathBuf) -> Result<Shelf, PackError> {
        let file = File::create_new(&path).map_err(PackError::on("create", &path))?;
        Ok(Shelf {
            path,
            file,
            places: HashMap::new(),
            waiting: Vec::new(),
            waiting_bytes: 0,
            frames: Vec::new(),
        })
    }

    /// Puts something into the frame of a group.
    fn put_shared(
        &mut self,
        group: &mut Group,
        digest: Digest,
        bytes: &[u8],
    ) -> Result<(), PackError> {
        if group.bytes.len() + bytes.len() > group.full {
            self.close(group)?;
        }
        let (offset, size) = (self.size(&group.bytes)?, self.size(bytes)?);
        group.bytes.extend_from_slice(bytes);
        group.members.push(digest);
        self.places.insert(digest, Place { frame: OPEN, offset, size });
        Ok(())
    }

    /// Puts something into a frame of its own.
    fn put_alone(&mut self, digest: Digest, bytes: &[u8]) -> Result<(), PackError> {
        let size = self.size(bytes)?;
        let frame = self.next()?;
        if bytes.len() < BATCH {
            self.wait(Waiting { bytes: bytes.to_vec(), size, form: Form::Plain })?;
        } else {
            self.flush()?;
            let packed = self.pack(bytes, Form::Plain)?;
            self.write(packed.as_deref().unwrap_or(bytes), size)?;
        }
        self.places.insert(digest, Place { frame, offset: 0, size });
        Ok(())
    }

    /// Puts something into a frame of its own that is already compressed.
    fn put_packed(&mut self, digest: Digest, bytes: Vec<u8>, size: u32) -> Result<(), PackError> {
        let frame = self.next()?;
        self.wait(Waiting { bytes, size, form: Form::Packed })?;
        self.places.insert(digest, Place { frame, offset: 0, size });
        Ok(())
    }

    /// Ends the frame of a group.
    fn close(&mut self, group: &mut Group) -> Result<(), PackError> {
        if group.members.is_empty() {
            return Ok(());
        }
        let frame = self.next()?;
        let size = self.size(&group.bytes)?;
        let bytes = std::mem::take(&mut group.bytes);
        self.wait(Waiting { bytes, size, form: group.form })?;
        for digest in group.members.drain(..) {
            if let Some(place) = self.places.get_mut(&digest) {
                place.frame = frame;
            }
        }
        Ok(())
    }

    /// Returns the number of the next frame.
    fn next(&self) -> Result<u32, PackError> {
        let number = u32::try_from(self.frames.len() + self.waiting.len()).ok();
        let number = number.filter(|&number| number != OPEN);
        number.ok_or_else(|| PackError::Large { path: self.path.clone(), what: "so many frames" })
    }

    fn size(&self, bytes: &[u8]) -> Result<u32, PackError> {
        u32::try_from(bytes.len())
            .ok()
            .ok_or_else(|| PackError::Large { path: self.path.clone(), what: "4 GiB in one piece" })
    }

    fn wait(&mut self, frame: Waiting) -> Result<(), PackError> {
        self.waiting_bytes += frame.bytes.len();
        self.waiting.push(frame);
        if self.waiting_bytes < BATCH { Ok(()) } else { self.flush() }
    }

    /// Compresses bytes; none if they are compressed already.
    fn pack(&self, bytes: &[u8], form: Form) -> Result<Option<Vec<u8>>, PackError> {
        let compressor = || Compressor::new(LEVEL);
        let packed = match form {
            Form::Packed => return Ok(None),
            Form::Plain => compressor().and_then(|mut plain| plain.compress(bytes)),
            Form::Wide => compressor().and_then(|mut wide| {
                wide.window_log(WINDOW)?;
                wide.long_distance_matching(true)?;
                wide.compress(bytes)
            }),
        };
        packed.map(Some).map_err(PackError::on("write", &self.path))
    }

    /// Compresses the frames that wait, and writes them in their order.
    fn flush(&mut self) -> Result<(), PackError> {
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        let packed = threads::each(&waiting, |frame| self.pack(&frame.bytes, frame.form))?;
        for (frame, packed) in waiting.iter().zip(packed) {
            self.write(packed.as_deref().unwrap_or(&frame.bytes), frame.size)?;
        }
        Ok(())
    }

    fn write(&mut self, packed: &[u8], size: u32) -> Result<(), PackError> {
        self.file.write_all(packed).map_err(PackError::on("write", &self.path))?;
        let start = self.frames.last().map_or(0, |(end, _)| *end);
        self.frames.push((start + packed.len() as u64, size));
        Ok(())
    }
}
