//! A log file as a page shows it: a window of lines at a time, however long it is.
//!
//! [`Index`] knows where every 512th line begins, so that any line is found without reading what is before it. Logs grow
//! while they are shown: the index grows with them. Lines are numbered from 1. Nothing here knows where logs are; a path
//! comes from what a server looked up, never from a request.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use levain_actions::forge::{Covered, Secrets};
use serde::Serialize;

use super::ansi;

/// Every how many lines the index has a place.
const STEP: u64 = 512;
/// How much of a line is read, in bytes; the rest is skipped.
const LONGEST: usize = 16 << 10;
/// How much before a place is read to know whether a secret is under way there.
pub const LONGEST_SECRET: u64 = 8 << 10;
/// How many phases are remembered.
const MOST_PHASES: usize = 64;
/// How many indexes are remembered.
const MOST_INDEXES: usize = 32;
/// How much of the beginning and of the end of what was read tells whether it is still the same file.
const PRINT: u64 = 512;

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number.
    pub number: u64,
    /// What it says, without its end and cut if it is long.
    pub text: String,
}

/// Where a phase of a build begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Phase {
    /// Its first line.
    pub line: u64,
    /// Its name.
    pub name: String,
}

/// A log, in which secrets are covered.
#[derive(Debug)]
pub struct LogFile {
    file: File,
    secrets: Secrets,
}

/// Where the lines of a file are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// Where the lines 1, 513, 1025 and so on begin.
    places: Vec<u64>,
    /// How many lines have an end.
    whole_lines: u64,
    /// Where the last of them ends.
    whole_bytes: u64,
    /// How long the file was.
    bytes: u64,
    phases: Vec<Phase>,
    print: Vec<u8>,
}

impl Index {
    /// Reads a file, as far as it is not known already.
    pub fn read(file: &File, known: Option<&Self>) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let mut index = match known {
            Some(known)
                if known.whole_bytes <= length
                    && known.print == print(file, known.whole_bytes)? =>
            {
                known.clone()
            }
            Some(_) | None => Self::default(),
        };
        if index.bytes == length && index.bytes > 0 {
            return Ok(index);
        }
        let mut reader =
            at(file, index.whole_bytes)?.take(length.saturating_sub(index.whole_bytes));
        let mut line = Vec::new();
        loop {
            let read = read_line(&mut reader, &mut line)?;
            if read.bytes == 0 || !read.is_whole {
                break;
            }
            index.add(&line, read.bytes);
        }
        index.bytes = length;
        index.print = print(file, index.whole_bytes)?;
        Ok(index)
    }

    fn add(&mut self, line: &[u8], bytes: u64) {
        if self.whole_lines.is_multiple_of(STEP) {
            self.places.push(self.whole_bytes);
        }
        self.whole_lines += 1;
        self.whole_bytes += bytes;
        if self.phases.len() < MOST_PHASES
            && let Some(name) = phase(line)
        {
            self.phases.push(Phase { line: self.whole_lines, name });
        }
    }

    /// Returns how many lines there are; the last need not have an end.
    pub fn lines(&self) -> u64 {
        self.whole_lines + u64::from(self.bytes > self.whole_bytes)
    }

    /// Returns how many lines have an end: those that do not change any more.
    pub fn whole_lines(&self) -> u64 {
        self.whole_lines
    }

    /// Returns the length of the file, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns where phases of the build begin.
    pub fn phases(&self, log: &LogFile) -> Vec<Phase> {
        let covered = |phase: &Phase| {
            let mut name = phase.name.clone().into_bytes();
            log.secrets.cover(&mut name);
            Phase { line: phase.line, name: String::from_utf8_lossy(&name).into_owned() }
        };
        self.phases.iter().map(covered).collect()
    }

    /// Goes to a line; returns a reader of what follows.
    fn seek<'f>(&self, log: &'f LogFile, line: u64) -> io::Result<impl BufRead + use<'f>> {
        let before = line.saturating_sub(1);
        let step = usize::try_from(before / STEP).unwrap_or(usize::MAX);
        let step = step.min(self.places.len().saturating_sub(1));
        let place = self.places.get(step).copied().unwrap_or(0);
        // A secret may go on over the end of a line, as where base64 is broken into lines.
        let before_it = place.min(LONGEST_SECRET);
        let from = place - before_it;
        let rest = at(&log.file, from)?.take(self.bytes.saturating_sub(from));
        let mut reader = BufReader::new(Covered::new(rest, log.secrets.clone()));
        io::copy(&mut reader.by_ref().take(before_it), &mut io::sink())?;
        let mut skipped = Vec::new();
        for _ in (step as u64 * STEP)..before {
            if read_line(&mut reader, &mut skipped)?.bytes == 0 {
                break;
            }
        }
        Ok(reader)
    }

    /// Returns lines from `first` on, at most so many and at most so many bytes, but at least one if there is one.
    pub fn window(
        &self,
        log: &LogFile,
        first: u64,
        lines: u64,
        bytes: usize,
    ) -> io::Result<Vec<Line>> {
        let first = first.max(1);
        let mut found = Vec::new();
        if first > self.lines() {
            return Ok(found);
        }
        let mut reader = self.seek(log, first)?;
        let (mut line, mut taken) = (Vec::new(), 0);
        for number in first..first.saturating_add(lines).min(self.lines() + 1) {
            if read_line(&mut reader, &mut line)?.bytes == 0 {
                break;
            }
            taken += line.len();
            if taken > bytes && !found.is_empty() {
                break;
            }
            found.push(Line { number, text: String::from_utf8_lossy(&line).into_owned() });
        }
        Ok(found)
    }

    /// Returns lines up to `last`, as [`Index::window`] does.
    pub fn window_before(
        &self,
        log: &LogFile,
        last: u64,
        lines: u64,
        bytes: usize,
    ) -> io::Result<Vec<Line>> {
        let last = last.min(self.lines());
        let first = last.saturating_sub(lines.saturating_sub(1)).max(1);
        let mut found = self.window(log, first, last.saturating_sub(first) + 1, usize::MAX)?;
        let mut taken = 0;
        let from = found.iter().rposition(|line| {
            taken += line.text.len();
            taken > bytes
        });
        found.drain(..from.map_or(0, |from| (from + 1).min(found.len() - 1)));
        Ok(found)
    }

    /// Returns the next line from `from` on in a direction that is wanted.
    pub fn find(
        &self,
        log: &LogFile,
        from: u64,
        direction: Direction,
        wanted: &Wanted,
    ) -> io::Result<Option<u64>> {
        match direction {
            Direction::Forward => self.find_between(log, from.max(1), self.lines(), wanted, true),
            Direction::Back => {
                let mut last = from.min(self.lines());
                while last > 0 {
                    let first = (last - 1) / STEP * STEP + 1;
                    if let Some(line) = self.find_between(log, first, last, wanted, false)? {
                        return Ok(Some(line));
                    }
                    last = first - 1;
                }
                Ok(None)
            }
        }
    }

    /// Returns the first or the last line between two, both included, that is wanted.
    fn find_between(
        &self,
        log: &LogFile,
        first: u64,
        last: u64,
        wanted: &Wanted,
        is_first: bool,
    ) -> io::Result<Option<u64>> {
        let mut found = None;
        if first > last {
            return Ok(found);
        }
        let mut reader = self.seek(log, first)?;
        let mut line = Vec::new();
        for number in first..=last {
            if read_line(&mut reader, &mut line)?.bytes == 0 {
                break;
            }
            if wanted.is_in(&line) {
                found = Some(number);
                if is_first {
                    break;
                }
            }
        }
        Ok(found)
    }
}

/// Which way to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the end.
    Forward,
    /// To the beginning.
    Back,
}

/// What is looked for in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A text, in whatever case.
    Text(String),
    /// What looks like an error.
    Error,
}

/// What lines have that tell of errors, in small letters.
const ERRORS: [&str; 10] = [
    "error:",
    "error[",
    "fatal:",
    "failed",
    "failure",
    "panicked at",
    "traceback (most recent",
    "undefined reference",
    "assertion ",
    "command not found",
];

impl Wanted {
    /// Looks for a text.
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_lowercase())
    }

    fn is_in(&self, line: &[u8]) -> bool {
        let text = String::from_utf8_lossy(line);
        let text = ansi::plain(&text).to_lowercase();
        match self {
            Self::Text(wanted) => text.contains(wanted.as_str()),
            Self::Error => ERRORS.iter().any(|error| text.contains(error)),
        }
    }
}

/// Returns the phase that begins with a line.
fn phase(line: &[u8]) -> Option<String> {
    let name = line.strip_prefix(b"Running phase: ").or_else(|| line.strip_prefix(b"phase "))?;
    let name = String::from_utf8_lossy(&name[..name.len().min(80)]).trim().to_owned();
    let is_name =
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    is_name.then_some(name)
}

fn at(file: &File, place: u64) -> io::Result<BufReader<&File>> {
    let mut reader = BufReader::with_capacity(64 << 10, file);
    reader.seek(SeekFrom::Start(place))?;
    Ok(reader)
}

/// Returns what tells a file from another up to a place.
fn print(file: &File, end: u64) -> io::Result<Vec<u8>> {
    let mut print = Vec::new();
    at(file, 0)?.take(end.min(PRINT)).read_to_end(&mut print)?;
    at(file, end.saturating_sub(PRINT))?.take(end.min(PRINT)).read_to_end(&mut print)?;
    Ok(print)
}

/// What was read of a line.
struct ReadLine {
    /// With its end.
    bytes: u64,
    /// Whether it has an end.
    is_whole: bool,
}

/// Reads a line into `line`, without its end and at most [`LONGEST`] bytes of it.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<ReadLine> {
    line.clear();
    let mut read = ReadLine { bytes: 0, is_whole: false };
    while !read.is_whole {
        let part = reader.fill_buf()?;
        if part.is_empty() {
            break;
        }
        let end = memchr::memchr(b'\n', part);
        let text = &part[..end.unwrap_or(part.len())];
        line.extend_from_slice(&text[..text.len().min(LONGEST - line.len())]);
        let used = end.map_or(part.len(), |end| end + 1);
        read.is_whole = end.is_some();
        read.bytes += used as u64;
        reader.consume(used);
    }
    Ok(read)
}

/// An index and what it is of, the one that was asked for last first.
type Recent = VecDeque<(PathBuf, Arc<Index>)>;

/// The indexes of the files that were shown last. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Indexes(Arc<Mutex<Recent>>);

impl Indexes {
    /// Opens a file, of which secrets are not shown, and brings its index up to date. Reads much at the first time: not
    /// for a thread that must not wait.
    pub fn open(&self, path: &Path, secrets: Secrets) -> io::Result<(LogFile, Arc<Index>)> {
        let file = open_regular(path)?;
        let known =
            self.lock().iter().find(|(of, _)| of == path).map(|(_, index)| Arc::clone(index));
        let index = Arc::new(Index::read(&file, known.as_deref())?);
        let mut all = self.lock();
        all.retain(|(of, _)| of != path);
        all.push_front((path.to_owned(), Arc::clone(&index)));
        all.truncate(MOST_INDEXES);
        drop(all);
        Ok((LogFile { file, secrets }, index))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Recent> {
        // Whoever panicked left a list behind that is as good as any.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a file from a place on, with secrets covered: also the rest of one that begins before.
pub fn rest_of(mut file: File, after: u64, secrets: Secrets) -> io::Result<impl Read> {
    let before = after.min(LONGEST_SECRET);
    file.seek(SeekFrom::Start(after - before))?;
    let mut rest = Covered::new(file, secrets);
    io::copy(&mut rest.by_ref().take(before), &mut io::sink())?;
    Ok(rest)
}

/// Opens a file that is one: neither a link that somebody put there, nor a pipe that nobody writes to.
pub fn open_regular(path: &Path) -> io::Result<File> {
    if !std::fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    File::open(path)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(text: &[u8]) -> LogFile {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        LogFile { file, secrets: Secrets::default() }
    }

    fn texts(lines: &[Line]) -> Vec<(u64, &str)> {
        lines.iter().map(|line| (line.number, line.text.as_str())).collect()
    }

    #[test]
    fn a_secret_is_covered_wherever_somebody_begins_to_read() {
        const SECRET: &str = "ghs_S3cretS3cret";
        let text = format!("{}token {SECRET} end\n", "x".repeat(9_000));
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let covered = text.replace(SECRET, &"*".repeat(SECRET.len()));
        for after in (0..20).chain(8_990..text.len() + 3) {
            let secrets = Secrets::new([SECRET]).unwrap();
            let rest = rest_of(file.try_clone().unwrap(), after as u64, secrets);
            let rest = std::io::read_to_string(rest.unwrap()).unwrap();
            assert_eq!(rest, covered.get(after..).unwrap_or_default(), "{after}");
        }
    }

    #[test]
    fn any_window_of_many_lines() {
        let text: String = (1..=5_000).map(|n| format!("line {n}\n")).collect();
        let file = file(text.as_bytes());
        let index = Index::read(&file.file, None).unwrap();
        assert_eq!((index.lines(), index.bytes()), (5_000, text.len() as u64));
        for first in [1, 2, 511, 512, 513, 514, 1_024, 1_025, 4_999, 5_000] {
            let window = index.window(&file, first, 3, 1_000).unwrap();
            let expected: Vec<u64> = (first..=5_000).take(3).collect();
            assert_eq!(window.iter().map(|line| line.number).collect::<Vec<_>>(), expected);
            assert!(window.iter().all(|line| line.text == format!("line {}", line.number)));
            let window = index.window_before(&file, first, 3, 1_000).unwrap();
            let expected: Vec<u64> = (first.saturating_sub(2).max(1)..=first).collect();
            assert_eq!(window.iter().map(|line| line.number).collect::<Vec<_>>(), expected);
        }
        assert!(index.window(&file, 5_001, 3, 1_000).unwrap().is_empty());
        assert_eq!(index.window(&file, 0, 1, 0).unwrap().len(), 1, "at least one line");
        assert_eq!(index.window(&file, 10, 100, 16).unwrap().len(), 2);
        assert_eq!(
            texts(&index.window_before(&file, 9_999, 100, 18).unwrap()),
            [(4_999, "line 4999"), (5_000, "line 5000")]
        );
    }

    #[test]
    fn a_log_that_grows_is_read_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        let indexes = Indexes::default();
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("one\nRunning phase: buildPhase\nthr");
        let (log, index) = indexes.open(&path, Secrets::default()).unwrap();
        assert_eq!((index.lines(), index.whole_lines()), (3, 2));
        assert_eq!(index.phases(&log), [Phase { line: 2, name: "buildPhase".into() }]);
        assert_eq!(texts(&index.window(&log, 3, 9, 99).unwrap()), [(3, "thr")]);
        write("one\nRunning phase: buildPhase\nthree\nfour\n");
        let (log, index) = indexes.open(&path, Secrets::default()).unwrap();
        assert_eq!((index.lines(), index.whole_lines()), (4, 4));
        assert_eq!(texts(&index.window(&log, 3, 9, 99).unwrap()), [(3, "three"), (4, "four")]);
        // Another log of the same name.
        write("ONE\nRunning phase: buildPhase\nthree\nfour\nfive\n");
        let (log, index) = indexes.open(&path, Secrets::default()).unwrap();
        assert_eq!(texts(&index.window(&log, 1, 1, 99).unwrap()), [(1, "ONE")]);
        write("");
        assert_eq!(indexes.open(&path, Secrets::default()).unwrap().1.lines(), 0);
    }

    #[test]
    fn a_line_without_end_takes_no_more_than_its_share() {
        let mut text = vec![b'x'; LONGEST * 5];
        text.extend_from_slice(b"\nlast\xff\r\n");
        let file = file(&text);
        let index = Index::read(&file.file, None).unwrap();
        let window = index.window(&file, 1, 9, usize::MAX).unwrap();
        assert_eq!(window[0].text.len(), LONGEST);
        assert_eq!(window[1].text, "last\u{fffd}\r");
    }

    #[test]
    fn finding_in_both_directions() {
        let mut text: String = (1..=2_000).map(|n| format!("line {n}\n")).collect();
        text.push_str("\u{1b}[31mErr\u{1b}[0mor: too much\n");
        let file = file(text.as_bytes());
        let index = Index::read(&file.file, None).unwrap();
        let find =
            |from, direction, wanted: &Wanted| index.find(&file, from, direction, wanted).unwrap();
        let (forward, back) = (Direction::Forward, Direction::Back);
        assert_eq!(find(1, forward, &Wanted::Error), Some(2_001));
        assert_eq!(find(2_000, back, &Wanted::Error), None);
        assert_eq!(find(1, forward, &Wanted::text("LINE 77")), Some(77));
        assert_eq!(find(78, forward, &Wanted::text("line 77")), Some(770));
        assert_eq!(find(2_001, back, &Wanted::text("line 77")), Some(779));
        assert_eq!(find(769, back, &Wanted::text("line 77")), Some(77));
        assert_eq!(find(9_999, forward, &Wanted::Error), None);
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        for path in [link.as_path(), directory.path(), Path::new("/dev/zero")] {
            assert!(open_regular(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn secrets_are_neither_shown_nor_found_and_lines_stay_where_they_are() {
        const SECRET: &str = "ghs_S3cretS3cret";
        // One line is cut in the middle of a secret.
        let long = format!("{}{SECRET}", "x".repeat(LONGEST - 5));
        let text = format!("one\ntoken {SECRET}.\n{long}\nlast\n");
        let open = file(text.as_bytes());
        let log = LogFile { secrets: Secrets::new([SECRET]).unwrap(), ..open };
        let index = Index::read(&log.file, None).unwrap();
        let window = index.window(&log, 1, 9, usize::MAX).unwrap();
        assert_eq!(window[1].text, format!("token {}.", "*".repeat(SECRET.len())));
        assert!(window[2].text.ends_with("x*****"), "{}", window[2].text);
        assert_eq!((window[3].number, window[3].text.as_str()), (4, "last"));
        let find = |text: &str| {
            let wanted = Wanted::text(text);
            index.find(&log, 1, Direction::Forward, &wanted).unwrap()
        };
        // Else its letters could be guessed one by one.
        assert_eq!((find("token g"), find("ghs_S3"), find("last")), (None, None, Some(4)));
    }

    #[test]
    fn a_secret_that_is_broken_into_lines_is_covered_from_whichever_line_on() {
        const SECRET: &str = "ghs_S3cretS3cretghs_S3cretS3cret";
        let (first, second) = SECRET.split_at(13);
        let before = usize::try_from(STEP).unwrap() - 1;
        let text = format!("{}{first}\n{second} end\n", "line\n".repeat(before));
        let log = LogFile { secrets: Secrets::new([SECRET]).unwrap(), ..file(text.as_bytes()) };
        let index = Index::read(&log.file, None).unwrap();
        for from in [STEP - 1, STEP, STEP + 1] {
            let last = index.window(&log, from, 9, usize::MAX).unwrap().pop().unwrap();
            let covered = format!("{} end", "*".repeat(second.len()));
            assert_eq!((last.number, last.text), (STEP + 1, covered), "{from}");
        }
    }
}
