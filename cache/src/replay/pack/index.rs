//! The index of a pack: which frame of which file holds what.
//!
//! ```text
//! "levain-pack 1\n"
//! counts            4 × u32: frames of contents, contents, frames of transcripts, transcripts
//! frames            u64 end in the file, u32 bytes when unpacked; first those of contents, then those of transcripts
//! contents          by digest: digest, u32 frame, u32 offset when unpacked, u32 size
//! transcripts       by what was given, older ones first: digest of what was given, digest of the transcript's bytes,
//!                   u32 frame, u32 offset when unpacked, u32 size
//! end               digest of everything before
//! ```
//!
//! Numbers are little-endian. Records have one size, so that an index is searched as it stands in the file: opening a
//! pack builds no table. [`Index::read`] checks everything that the searches rely on.

use std::ops::Range;

use super::FORMAT;
use crate::digest::Digest;

const HEAD: &[u8] = b"levain-pack ";
const DIGEST: usize = 32;
const COUNTS: usize = 16;
const FRAME: usize = 12;
const PLACE: usize = 12;
const CONTENT: usize = DIGEST + PLACE;
const TRANSCRIPT: usize = 2 * DIGEST + PLACE;
/// zstd gives at most 128 KiB for a block, which has at least four bytes.
const RATIO: u64 = 1 << 15;
/// The largest frame of transcripts, in bytes.
const TRANSCRIPTS_FRAME: u32 = 64 << 20;
/// The largest frame that contents may share, in bytes: reading one of them unpacks all of it.
const SHARED_FRAME: u32 = 4 << 20;

/// What is wrong with a file of a pack.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Damage {
    /// The index's hash does not fit.
    #[error("it was cut short or changed")]
    Changed,
    /// Frames leave bytes out, lie outside the file, or claim what cannot be.
    #[error("its frames do not fit the files")]
    Frames,
    /// Something is not in a frame.
    #[error("an entry is outside its frame")]
    Outside,
    /// Contents share a frame that is too large to be unpacked for each.
    #[error("contents share a frame of more than {SHARED_FRAME} bytes")]
    Shared,
    /// The order that searches rely on is not kept.
    #[error("its entries are out of order or given twice")]
    Order,
    /// A frame cannot be unpacked.
    #[error("frame {number} cannot be unpacked: {source}")]
    Packed {
        /// The frame.
        number: u32,
        /// What zstd said.
        #[source]
        source: std::io::Error,
    },
    /// A frame unpacks to another length than the index says.
    #[error("frame {0} has another length than the index says")]
    Length(u32),
    /// A content is not the one that the index says.
    #[error("it holds something else for {0}")]
    Content(Digest),
    /// A transcript is not the one that the index says.
    #[error("it holds something else for the transcript {0}")]
    Transcript(Digest),
}

/// Why bytes are no index.
#[derive(Debug)]
pub(super) enum Unread {
    /// Something else.
    Foreign,
    /// Of a later version, which is given.
    Newer(String),
    /// An index that must not be used.
    Damaged(Damage),
}

/// A frame's place in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Where it starts in the file.
    pub(super) start: u64,
    /// Its length there.
    pub(super) stored: u64,
    /// Its length when unpacked.
    pub(super) plain: u32,
}

/// A frame, and the part of it when unpacked that holds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) frame: u32,
    pub(super) offset: u32,
    pub(super) size: u32,
}

impl Place {
    /// Whether nothing else is in a frame.
    pub(super) fn fills(self, frame: Frame) -> bool {
        self.offset == 0 && self.size == frame.plain
    }

    /// Returns that part of the unpacked frame.
    pub(super) fn of(self, frame: &[u8]) -> Option<&[u8]> {
        let offset = usize::try_from(self.offset).ok()?;
        let size = usize::try_from(self.size).ok()?;
        frame.get(offset..offset.checked_add(size)?)
    }
}

/// A transcript's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// What its command was given.
    pub(super) given: Digest,
    /// The digest of its bytes.
    pub(super) own: Digest,
    pub(super) place: Place,
}

/// One of the two files with frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Contents,
    Transcripts,
}

/// An index that was read and checked. Ranges are those of its tables in the bytes.
pub(super) struct Index {
    bytes: Vec<u8>,
    content_frames: Range<usize>,
    contents: Range<usize>,
    transcript_frames: Range<usize>,
    transcripts: Range<usize>,
}

impl Index {
    /// Checks an index against itself and the lengths of the two other files.
    pub(super) fn read(
        bytes: Vec<u8>,
        contents_length: u64,
        transcripts_length: u64,
    ) -> Result<Index, Unread> {
        let damaged = |damage| move || Unread::Damaged(damage);
        let start = head(&bytes)?;
        let body = bytes.len().checked_sub(DIGEST).ok_or_else(damaged(Damage::Changed))?;
        let counts = bytes[..body].get(start..start + COUNTS);
        let mut counts = counts.ok_or_else(damaged(Damage::Changed))?.chunks_exact(4).map(u32_of);
        if Digest::of(&bytes[..body]).bytes() != &bytes[body..] {
            return Err(Unread::Damaged(Damage::Changed));
        }
        let mut end = start + COUNTS;
        let mut table = |size: usize| {
            let count = usize::try_from(counts.next()?).ok()?;
            let range = end..end.checked_add(count.checked_mul(size)?)?;
            end = range.end;
            Some(range)
        };
        let tables = (table(FRAME), table(CONTENT), table(FRAME), table(TRANSCRIPT));
        let (Some(content_frames), Some(contents), Some(transcript_frames), Some(transcripts)) =
            tables
        else {
            return Err(Unread::Damaged(Damage::Changed));
        };
        if end != body {
            return Err(Unread::Damaged(Damage::Changed));
        }
        let index = Index { bytes, content_frames, contents, transcript_frames, transcripts };
        index.check_frames(Part::Contents, contents_length, u32::MAX).map_err(Unread::Damaged)?;
        index
            .check_frames(Part::Transcripts, transcripts_length, TRANSCRIPTS_FRAME)
            .map_err(Unread::Damaged)?;
        index.check_entries().map_err(Unread::Damaged)?;
        Ok(index)
    }

    fn check_frames(&self, part: Part, length: u64, most: u32) -> Result<(), Damage> {
        let mut last = 0;
        for record in self.bytes[self.frames(part)].chunks_exact(FRAME) {
            let end = u64_of(&record[..8]);
            let plain = u32_of(&record[8..]);
            let stored = end.checked_sub(last).ok_or(Damage::Frames)?;
            let wide = u64::from(plain);
            // Memory and time for a frame stay within what the file's own size allows.
            if plain > most || wide / RATIO > stored || stored > wide + wide / 64 + 4096 {
                return Err(Damage::Frames);
            }
            last = end;
        }
        if last == length { Ok(()) } else { Err(Damage::Frames) }
    }

    fn check_entries(&self) -> Result<(), Damage> {
        let mut last: Option<&[u8]> = None;
        for record in self.bytes[self.contents.clone()].chunks_exact(CONTENT) {
            let digest = &record[..DIGEST];
            if last.is_some_and(|last| last >= digest) {
                return Err(Damage::Order);
            }
            last = Some(digest);
            self.check_place(Part::Contents, &record[DIGEST..])?;
        }
        last = None;
        for record in self.bytes[self.transcripts.clone()].chunks_exact(TRANSCRIPT) {
            let given = &record[..DIGEST];
            if last.is_some_and(|last| last > given) {
                return Err(Damage::Order);
            }
            last = Some(given);
            self.check_place(Part::Transcripts, &record[2 * DIGEST..])?;
        }
        Ok(())
    }

    fn check_place(&self, part: Part, bytes: &[u8]) -> Result<(), Damage> {
        let place = place_of(bytes);
        let frame = self.frame(part, place.frame).ok_or(Damage::Outside)?;
        let end = place.offset.checked_add(place.size);
        if end.is_none_or(|end| end > frame.plain) {
            return Err(Damage::Outside);
        }
        if part == Part::Contents && !place.fills(frame) && frame.plain > SHARED_FRAME {
            return Err(Damage::Shared);
        }
        Ok(())
    }

    fn frames(&self, part: Part) -> Range<usize> {
        match part {
            Part::Contents => self.content_frames.clone(),
            Part::Transcripts => self.transcript_frames.clone(),
        }
    }

    /// Returns where a frame is.
    pub(super) fn frame(&self, part: Part, number: u32) -> Option<Frame> {
        let number = usize::try_from(number).ok()?;
        let table = &self.bytes[self.frames(part)];
        let record = table.chunks_exact(FRAME).nth(number)?;
        let before = number.checked_sub(1).and_then(|before| table.chunks_exact(FRAME).nth(before));
        let start = before.map_or(0, |before| u64_of(&before[..8]));
        let stored = u64_of(&record[..8]).checked_sub(start)?;
        Some(Frame { start, stored, plain: u32_of(&record[8..]) })
    }

    /// Returns where a content is.
    pub(super) fn content(&self, digest: &Digest) -> Option<Place> {
        let (table, _) = self.bytes[self.contents.clone()].as_chunks::<CONTENT>();
        let at = table.binary_search_by(|record| record[..DIGEST].cmp(digest.bytes())).ok()?;
        Some(place_of(&table[at][DIGEST..]))
    }

    /// Returns the transcripts for what a command is given, older ones first.
    pub(super) fn transcripts(
        &self,
        given: &Digest,
    ) -> impl DoubleEndedIterator<Item = Record> + use<'_> {
        let (table, _) = self.bytes[self.transcripts.clone()].as_chunks::<TRANSCRIPT>();
        let first = table.partition_point(|record| record[..DIGEST] < given.bytes()[..]);
        let count = table[first..].partition_point(|record| record[..DIGEST] == given.bytes()[..]);
        table[first..first + count].iter().map(|record| Record {
            given: digest_of(&record[..DIGEST]),
            own: digest_of(&record[DIGEST..2 * DIGEST]),
            place: place_of(&record[2 * DIGEST..]),
        })
    }
}

/// Checks the first line, and returns where it ends.
fn head(bytes: &[u8]) -> Result<usize, Unread> {
    let rest = bytes.strip_prefix(HEAD).ok_or(Unread::Foreign)?;
    let digits = rest.iter().take(10).position(|&byte| byte == b'\n').ok_or(Unread::Foreign)?;
    let version = str::from_utf8(&rest[..digits]).ok().and_then(|text| text.parse::<u32>().ok());
    match version {
        Some(FORMAT) => Ok(HEAD.len() + digits + 1),
        Some(other) if other > FORMAT => Err(Unread::Newer(other.to_string())),
        Some(_) | None => Err(Unread::Foreign),
    }
}

/// What an index is written from.
pub(super) struct Tables<'a> {
    /// Where each frame ends, and its length when unpacked.
    pub(super) content_frames: &'a [(u64, u32)],
    /// In order of their digests.
    pub(super) contents: &'a [(Digest, Place)],
    pub(super) transcript_frames: &'a [(u64, u32)],
    /// In order of what was given, older ones first.
    pub(super) transcripts: &'a [Record],
}

impl Tables<'_> {
    /// Returns an index's bytes; none if there are more entries than it can count.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        out.extend_from_slice(HEAD);
        out.extend_from_slice(format!("{FORMAT}\n").as_bytes());
        for count in [
            self.content_frames.len(),
            self.contents.len(),
            self.transcript_frames.len(),
            self.transcripts.len(),
        ] {
            out.extend_from_slice(&u32::try_from(count).ok()?.to_le_bytes());
        }
        put_frames(&mut out, self.content_frames);
        for (digest, place) in self.contents {
            out.extend_from_slice(digest.bytes());
            put_place(&mut out, *place);
        }
        put_frames(&mut out, self.transcript_frames);
        for record in self.transcripts {
            out.extend_from_slice(record.given.bytes());
            out.extend_from_slice(record.own.bytes());
            put_place(&mut out, record.place);
        }
        let end = Digest::of(&out);
        out.extend_from_slice(end.bytes());
        Some(out)
    }
}

fn put_frames(out: &mut Vec<u8>, frames: &[(u64, u32)]) {
    for (end, plain) in frames {
        out.extend_from_slice(&end.to_le_bytes());
        out.extend_from_slice(&plain.to_le_bytes());
    }
}

fn put_place(out: &mut Vec<u8>, place: Place) {
    for number in [place.frame, place.offset, place.size] {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

// Of records that have been cut to their size.

fn u32_of(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u32::from(byte))
}

fn u64_of(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

fn place_of(bytes: &[u8]) -> Place {
    Place { frame: u32_of(&bytes[..4]), offset: u32_of(&bytes[4..8]), size: u32_of(&bytes[8..12]) }
}

fn digest_of(bytes: &[u8]) -> Digest {
    let mut own = [0; DIGEST];
    own.copy_from_slice(bytes);
    Digest::from_bytes(own)
}
