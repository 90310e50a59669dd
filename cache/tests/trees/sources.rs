//! The sources of a build: what is there before it begins.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use filetime::FileTime;

/// A line of a script, by a number that it keeps in all states of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) id: u64,
    pub(crate) text: String,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    Data(String),
    /// A script: its first line, and the others.
    Script(String, Vec<Line>),
    /// One of the programs that were compiled for the test.
    Program(u64),
}

/// When a source was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    /// At a second since 1970, whenever the build is.
    Old(u64),
    /// While the build was prepared; the higher, the later.
    New(u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    File { text: Text, mode: u32, age: Age },
    Link(String),
    Directory,
}

/// All sources by their paths, in which no directory need be named.
pub(crate) type Sources = BTreeMap<String, Source>;

/// How long before a build what is new was prepared.
const PREPARED: Duration = Duration::from_secs(5);
const OLD: u64 = 1_000_000_000;

/// Puts sources into a directory that is not there yet. Times are as of the moment, so that two copies differ in them.
pub(crate) fn place(sources: &Sources, programs: &Path, top: &Path) {
    fs::create_dir_all(top).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - PREPARED;
    let old = FileTime::from_unix_time(i64::try_from(OLD).unwrap(), 0);
    for (path, source) in sources {
        let place = top.join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        match source {
            Source::File { text, mode, age } => {
                match text {
                    Text::Data(text) => fs::write(&place, text).unwrap(),
                    Text::Script(head, lines) => {
                        let lines: Vec<&str> =
                            lines.iter().map(|line| line.text.as_str()).collect();
                        fs::write(&place, format!("{head}\n{}\n", lines.join("\n"))).unwrap();
                    }
                    Text::Program(variant) => {
                        fs::copy(programs.join(format!("tool{variant}")), &place)
                            .map(drop)
                            .unwrap();
                    }
                }
                fs::set_permissions(&place, Permissions::from_mode(*mode)).unwrap();
                let time = match age {
                    Age::Old(second) => Duration::from_secs(OLD + second),
                    Age::New(rank) => now + Duration::from_millis(50 * rank),
                };
                filetime::set_file_mtime(&place, (UNIX_EPOCH + time).into()).unwrap();
            }
            Source::Link(target) => {
                symlink(target, &place).unwrap();
                filetime::set_symlink_file_times(&place, old, old).unwrap();
            }
            Source::Directory => fs::create_dir_all(&place).unwrap(),
        }
    }
    age_directories(top, old);
}

fn age_directories(top: &Path, old: FileTime) {
    for entry in fs::read_dir(top).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            age_directories(&entry.path(), old);
        }
    }
    filetime::set_file_mtime(top, old).unwrap();
}

/// Returns sources as a script that makes them, for whoever wants to try.
pub(crate) fn shown(sources: &Sources) -> String {
    let mut shown = String::new();
    for (path, source) in sources {
        let text = match source {
            Source::File { text: Text::Data(text), mode, age } => {
                format!("    {path} {mode:o} {age:?} {text:?}\n")
            }
            Source::File { text: Text::Program(variant), mode, age } => {
                format!("    {path} {mode:o} {age:?} program {variant}\n")
            }
            Source::File { text: Text::Script(head, lines), mode, age } => {
                let lines: String = lines
                    .iter()
                    .map(|line| format!("      | {}\n", line.text.replace('\n', "\n      |   ")))
                    .collect();
                format!("    {path} {mode:o} {age:?} {head}\n{lines}")
            }
            Source::Link(target) => format!("    {path} -> {target}\n"),
            Source::Directory => format!("    {path}/\n"),
        };
        shown.push_str(&text);
    }
    shown
}
