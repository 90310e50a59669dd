//! A build's log as it is kept: beginning and end of it, in bounded space.
//!
//! The beginning goes to the file as it comes; once that is full, the end waits in memory until the
//! build has ended. Nix keeps the whole log, so nothing is lost.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use levain_store::{DerivationPath, counted};
use serde::Deserialize;

/// The most of a log's end that waits in memory.
const MOST_TAIL: u64 = 1 << 20;

/// How much is kept of logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LogLimits {
    /// The most bytes of a line; what follows is left out.
    pub line_bytes: u32,
    /// The most bytes of a log; what is between its beginning and its end is left out.
    pub log_bytes: u64,
    /// The most bytes of all logs together; the oldest are removed.
    pub total_bytes: u64,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { line_bytes: 16 << 10, log_bytes: 16 << 20, total_bytes: 1 << 30 }
    }
}

/// How many bytes of a derivation's name are part of a log's: file names have a limit.
const MOST_NAME: usize = 200;

/// Makes the file for the log of a derivation. A log that is there already is never written over.
pub(super) fn new_file(
    directory: &Path,
    derivation: &DerivationPath,
) -> io::Result<(PathBuf, File)> {
    let name = derivation.to_string();
    let name = &name[..name.len().min(MOST_NAME)];
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    for number in 0..1_000 {
        let path = directory.join(format!("{name}.{}.log", now + number));
        match File::create_new(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// A log that is being written.
#[derive(Debug)]
pub(super) struct KeptLog<W: Write> {
    file: W,
    head_left: u64,
    tail: VecDeque<String>,
    tail_bytes: u64,
    tail_limit: u64,
    /// Bytes that came after the beginning and are not in the tail any more.
    left_out: u64,
    written: u64,
}

impl<W: Write> KeptLog<W> {
    pub(super) fn new(file: W, limit: u64) -> Self {
        let tail_limit = (limit / 4).min(MOST_TAIL);
        Self {
            file,
            head_left: limit - tail_limit,
            tail: VecDeque::new(),
            tail_bytes: 0,
            tail_limit,
            left_out: 0,
            written: 0,
        }
    }

    /// Adds a line.
    pub(super) fn add(&mut self, line: &str) -> io::Result<()> {
        let length = line.len() as u64 + 1;
        if length <= self.head_left && self.tail.is_empty() && self.left_out == 0 {
            self.head_left -= length;
            self.written += length;
            // In one piece: whoever follows it sees whole lines.
            return self.file.write_all(format!("{line}\n").as_bytes());
        }
        self.tail.push_back(line.to_owned());
        self.tail_bytes += length;
        while self.tail_bytes > self.tail_limit
            && let Some(first) = self.tail.pop_front()
        {
            let length = first.len() as u64 + 1;
            self.tail_bytes -= length;
            self.left_out += length;
        }
        Ok(())
    }

    /// Writes the end of the log; returns how many bytes are kept and how many were left out.
    pub(super) fn finish(mut self) -> io::Result<(u64, u64)> {
        if self.left_out > 0 {
            let left_out = counted(self.left_out, "byte");
            writeln!(self.file, "[levain: {left_out} left out here; `nix log` shows them]")?;
        }
        for line in &self.tail {
            writeln!(self.file, "{line}")?;
        }
        self.file.flush()?;
        Ok((self.written + self.tail_bytes, self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(limit: u64, lines: &[&str]) -> (String, u64) {
        let mut file = Vec::new();
        let mut log = KeptLog::new(&mut file, limit);
        for line in lines {
            log.add(line).unwrap();
        }
        let (bytes, left_out) = log.finish().unwrap();
        assert!(bytes <= limit);
        (String::from_utf8(file).unwrap(), left_out)
    }

    #[test]
    fn a_short_log_is_kept_whole() {
        assert_eq!(kept(100, &["one", "", "two"]), ("one\n\ntwo\n".into(), 0));
        // As long as allowed: the last line was in the tail, but nothing is missing.
        assert_eq!(kept(8, &["one", "two"]).1, 4, "a tail of 2 bytes holds no line");
        assert_eq!(kept(16, &["abc", "def", "ghi", "jkl"]), ("abc\ndef\nghi\njkl\n".into(), 0));
    }

    #[test]
    fn of_a_long_log_beginning_and_end_are_kept() {
        let lines: Vec<String> = (100..200).map(|number| number.to_string()).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let (text, left_out) = kept(40, &lines);
        assert_eq!(
            text,
            "100\n101\n102\n103\n104\n105\n106\n[levain: 364 bytes left out here; `nix log` shows them]\n198\n199\n"
        );
        assert_eq!(left_out, 91 * 4);
    }

    #[test]
    fn order_is_kept_when_a_short_line_would_still_fit() {
        let (text, _) = kept(16, &["0123456789abc", "x", "y", "z"]);
        assert!(text.ends_with("y\nz\n"), "{text}");
        assert!(!text.contains("x\n["), "{text}");
    }

    #[test]
    fn without_room_nothing_is_kept() {
        let (text, left_out) = kept(0, &["one"]);
        assert_eq!((text.lines().count(), left_out), (1, 4));
    }
}
