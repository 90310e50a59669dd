//! A transcript's bytes, and what one must be like to be used.
//!
//! The bytes are those that postcard gives for [`Transcript`]. They are read one entry at a time, and each is checked
//! before the next takes memory: an entry of nothing takes a byte here and hundreds when read.
//!
//! The rules are about what can be written down. Whether a transcript may be done in a build, and where, is for others.

use std::collections::HashMap;
use std::path::PathBuf;

use serde::de::DeserializeOwned;

use crate::replay::transcript::{
    Done, Kind, Names, PathBytes, Read, Said, Seen, Time, Transcript, When,
};

/// The most bytes of a transcript.
pub(super) const MOST_BYTES: usize = 64 << 20;
/// The most things seen and done, names left out, and pieces said and read, of a transcript together.
const MOST_ENTRIES: u64 = 1 << 20;
/// The most bytes of anything but what was said.
const ENTRY: usize = 4 << 20;
/// The longest path.
const PATH: usize = 4096;
/// The longest name in a directory.
const NAME: usize = 255;
/// The longest text of a symbolic link, as the kernel's own limit.
const TARGET: usize = 4095;
/// The longest name that people call a command.
const CALLED: usize = 4096;
/// Linux has no descriptors beyond this unless it is told to.
const DESCRIPTORS: i32 = 1 << 20;
/// No command takes longer than a year.
const LONGEST: u64 = 366 * 24 * 60 * 60 * 1_000_000;

/// What is wrong with a transcript.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// Bytes that are no transcript's.
    #[error("its bytes cannot be read: {0}")]
    Encoding(#[from] postcard::Error),
    /// Bytes after the end.
    #[error("it goes on after its end")]
    Trailing,
    /// Too large to be kept.
    #[error("it has more than {MOST_BYTES} bytes")]
    Large,
    /// Too many entries to be kept.
    #[error("it has more than {MOST_ENTRIES} entries")]
    Many,
    /// A path that is relative, not normalised, too long or empty.
    #[error("`{}` is no absolute path in its shortest form", .0.display())]
    Path(PathBuf),
    /// A name that cannot be in a directory.
    #[error("`{}` is no name of a file", .0.display())]
    Name(PathBuf),
    /// A link's text that Linux does not have.
    #[error("`{}` is a link to nothing that can be named", .0.display())]
    Target(PathBuf),
    /// Bits beyond a mode's.
    #[error("`{}` has mode {mode:o}, beyond 7777", .path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u16,
    },
    /// A length that no file has.
    #[error("`{}` is too long for a file", .0.display())]
    Size(PathBuf),
    /// A time that is none.
    #[error("`{}` has a time that is none", .0.display())]
    Time(PathBuf),
    /// Something seen of a file that files of its kind do not have.
    #[error("`{}` is said to be what it cannot be", .0.display())]
    Kind(PathBuf),
    /// Two results for one path.
    #[error("`{}` is done twice", .0.display())]
    Twice(PathBuf),
    /// A result in something that is no directory.
    #[error("`{}` is done in something that is no directory", .0.display())]
    Parent(PathBuf),
    /// A descriptor or a place in a file that is none.
    #[error("descriptor {0} or its place is none")]
    Descriptor(i32),
    /// A name that is too long.
    #[error("its name is too long")]
    Called,
    /// A time that nothing takes.
    #[error("it took {0} microseconds")]
    Duration(u64),
}

/// Returns a transcript's bytes, if they can be read again.
pub(super) fn encode(transcript: &Transcript) -> Result<Vec<u8>, Fault> {
    let bytes = postcard::to_stdvec(transcript)?;
    decode(&bytes)?;
    Ok(bytes)
}

/// Reads a transcript from bytes that anybody may have made.
pub(super) fn decode(bytes: &[u8]) -> Result<Transcript, Fault> {
    if bytes.len() > MOST_BYTES {
        return Err(Fault::Large);
    }
    let mut reader = Reader { rest: bytes, entries: MOST_ENTRIES };
    let mut seen: Vec<Seen> = Vec::new();
    let count = reader.count()?;
    for _ in 0..count {
        let entry = reader.one(ENTRY)?;
        reader.check_seen(&entry, count)?;
        seen.push(entry);
    }
    let mut done: Vec<Done> = Vec::new();
    for _ in 0..reader.count()? {
        let entry = reader.one(ENTRY)?;
        check_done(&entry)?;
        done.push(entry);
    }
    check_order(&done)?;
    let mut said: Vec<Said> = Vec::new();
    for _ in 0..reader.count()? {
        let entry: Said = reader.one(MOST_BYTES)?;
        check_descriptor(entry.descriptor, 0)?;
        said.push(entry);
    }
    let mut read: Vec<Read> = Vec::new();
    for _ in 0..reader.count()? {
        let entry: Read = reader.one(ENTRY)?;
        check_descriptor(entry.descriptor, entry.position)?;
        read.push(entry);
    }
    let reads_nothing = reader.one(ENTRY)?;
    let (code, micros, name) = (reader.one(ENTRY)?, reader.one(ENTRY)?, reader.one(ENTRY)?);
    if !reader.rest.is_empty() {
        return Err(Fault::Trailing);
    }
    let transcript = Transcript { seen, done, said, read, reads_nothing, code, micros, name };
    if transcript.micros > LONGEST {
        return Err(Fault::Duration(transcript.micros));
    }
    if transcript.name.len() > CALLED {
        return Err(Fault::Called);
    }
    Ok(transcript)
}

struct Reader<'a> {
    rest: &'a [u8],
    /// How many entries there may still be.
    entries: u64,
}

impl Reader<'_> {
    /// Reads one value of at most so many bytes.
    fn one<T: DeserializeOwned>(&mut self, most: usize) -> Result<T, Fault> {
        let window = &self.rest[..self.rest.len().min(most)];
        let (value, unread) = postcard::take_from_bytes(window)?;
        self.rest = &self.rest[window.len() - unread.len()..];
        Ok(value)
    }

    /// Reads how many entries follow.
    fn count(&mut self) -> Result<u64, Fault> {
        let count = self.one(ENTRY)?;
        self.spend(count)?;
        Ok(count)
    }

    fn spend(&mut self, count: u64) -> Result<(), Fault> {
        self.entries = self.entries.checked_sub(count).ok_or(Fault::Many)?;
        Ok(())
    }

    fn check_seen(&mut self, seen: &Seen, count: u64) -> Result<(), Fault> {
        let Seen { path, kind, mode, size, when, content, names, target } = seen;
        check_path(path)?;
        if let Some(mode) = mode {
            check_mode(path, *mode)?;
        }
        if size.is_some_and(|size| i64::try_from(size).is_err()) {
            return Err(Fault::Size(shown(path)));
        }
        match when {
            Some(When::At(_, nanos)) => check_nanos(path, *nanos)?,
            Some(When::Place(place)) if u64::from(*place) >= count => {
                return Err(Fault::Time(shown(path)));
            }
            Some(When::Before | When::Place(_)) | None => {}
        }
        if let Some(Names { without, digest: _ }) = names {
            self.spend(u64::try_from(without.len()).unwrap_or(u64::MAX))?;
            for name in without {
                if !is_name(name) {
                    return Err(Fault::Name(shown(name)));
                }
            }
        }
        if let Some(target) = target {
            check_target(path, target)?;
        }
        let there = mode.is_some() || size.is_some() || when.is_some();
        let (file, directory, link) = (content.is_some(), names.is_some(), target.is_some());
        let fits = match kind {
            Kind::Absent => !there && !file && !directory && !link,
            Kind::File => !directory && !link,
            Kind::Directory => !file && !link,
            Kind::Link => !file && !directory,
            Kind::Other => !file && !directory && !link,
        };
        if fits { Ok(()) } else { Err(Fault::Kind(shown(path))) }
    }
}

fn check_done(done: &Done) -> Result<(), Fault> {
    match done {
        Done::Remove { path } => check_result(path),
        Done::Directory { path, mode } => {
            check_result(path)?;
            check_mode(path, *mode)
        }
        Done::File { path, mode, content: _, time } => {
            check_result(path)?;
            check_mode(path, *mode)?;
            check_time(path, time)
        }
        Done::Time { path, time } => {
            check_result(path)?;
            check_time(path, time)
        }
        Done::Link { path, target } => {
            check_result(path)?;
            check_target(path, target)
        }
    }
}

fn check_time(path: &PathBytes, time: &Time) -> Result<(), Fault> {
    match time {
        Time::Then => Ok(()),
        Time::At(_, nanos) => check_nanos(path, *nanos),
        Time::Like(other) | Time::With(other) => check_path(other),
    }
}

/// Checks that no path is done twice, and nothing in what the transcript itself makes a file or link.
///
/// A link would lead whatever is done in it out of where it may be done.
fn check_order(done: &[Done]) -> Result<(), Fault> {
    let mut places: HashMap<&[u8], (usize, &Done)> = HashMap::with_capacity(done.len());
    let is_time = |entry: &Done| matches!(entry, Done::Time { .. });
    for (at, entry) in done.iter().enumerate().filter(|(_, entry)| !is_time(entry)) {
        if places.insert(entry.path(), (at, entry)).is_some() {
            return Err(Fault::Twice(shown(entry.path())));
        }
    }
    for (at, entry) in done.iter().enumerate() {
        let path = entry.path();
        let parents = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/');
        for (end, _) in parents {
            let Some((before, parent)) = places.get(&path[..end]) else { continue };
            let fits = match (parent, entry) {
                (Done::Directory { .. } | Done::Time { .. }, _)
                | (Done::Remove { .. }, Done::Remove { .. }) => true,
                // A directory is emptied before something else takes its place.
                (Done::File { .. } | Done::Link { .. }, Done::Remove { .. }) => at < *before,
                (
                    Done::Remove { .. } | Done::File { .. } | Done::Link { .. },
                    Done::Directory { .. }
                    | Done::File { .. }
                    | Done::Link { .. }
                    | Done::Time { .. },
                ) => false,
            };
            if !fits {
                return Err(Fault::Parent(shown(path)));
            }
        }
    }
    Ok(())
}

fn check_path(path: &PathBytes) -> Result<(), Fault> {
    let parts = path.strip_prefix(b"/").filter(|_| path.len() <= PATH);
    let fits = parts
        .is_some_and(|parts| parts.is_empty() || parts.split(|&byte| byte == b'/').all(is_name));
    if fits { Ok(()) } else { Err(Fault::Path(shown(path))) }
}

/// The root is there before every build, and after.
fn check_result(path: &PathBytes) -> Result<(), Fault> {
    if path == b"/" { Err(Fault::Path(shown(path))) } else { check_path(path) }
}

fn is_name(name: impl AsRef<[u8]>) -> bool {
    let name = name.as_ref();
    !matches!(name, b"" | b"." | b"..")
        && name.len() <= NAME
        && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}

fn check_target(path: &PathBytes, target: &[u8]) -> Result<(), Fault> {
    if target.is_empty() || target.len() > TARGET || target.contains(&0) {
        return Err(Fault::Target(shown(path)));
    }
    Ok(())
}

fn check_mode(path: &PathBytes, mode: u16) -> Result<(), Fault> {
    if mode > 0o7777 { Err(Fault::Mode { path: shown(path), mode }) } else { Ok(()) }
}

fn check_nanos(path: &PathBytes, nanos: u32) -> Result<(), Fault> {
    if nanos < 1_000_000_000 { Ok(()) } else { Err(Fault::Time(shown(path))) }
}

fn check_descriptor(descriptor: i32, position: u64) -> Result<(), Fault> {
    if (0..DESCRIPTORS).contains(&descriptor) && i64::try_from(position).is_ok() {
        return Ok(());
    }
    Err(Fault::Descriptor(descriptor))
}

/// The bytes as a path to be shown, cut: a hostile one may have megabytes.
fn shown(path: &[u8]) -> PathBuf {
    let bytes = path[..path.len().min(PATH)].to_vec();
    PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes))
}
