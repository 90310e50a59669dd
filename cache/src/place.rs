//! Moves what was unpacked to where it belongs: everything, or nothing.
//!
//! Nothing is followed: where the set has a directory, only a real directory will do. Whatever is
//! replaced is first moved aside, so that a failure half way can be undone.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::manifest::{Entry, EntryKind};
use crate::refusal::Refusal;
use crate::relative::RelativePath;
use crate::scan::{Found, FoundKind, ScanError};
use crate::time::{self, Time};

/// Finds which entries are to be left out because a source stands there, and refuses a set that has
/// something in its way.
pub(crate) fn check(
    into: &Path,
    entries: &[Entry],
    is_source: &dyn Fn(&RelativePath) -> bool,
) -> Result<HashSet<RelativePath>, Refusal> {
    let mut kept = HashSet::new();
    let mut absent: HashSet<&RelativePath> = HashSet::new();
    for entry in entries {
        let free = entry.path.parent().is_some_and(|parent| absent.contains(&parent));
        let there = if free { None } else { at(into, &entry.path)? };
        let directory = entry.kind == EntryKind::Directory;
        let in_the_way = |what| Err(Refusal::InTheWay { path: entry.path.clone(), what });
        match there.map(|found| found.kind) {
            None if directory => {
                absent.insert(&entry.path);
            }
            None => {}
            Some(FoundKind::Directory) if directory => {}
            Some(FoundKind::Directory) => return in_the_way("a directory"),
            Some(FoundKind::Link(_)) if directory => return in_the_way("a symbolic link"),
            Some(FoundKind::File | FoundKind::Special(_)) if directory => {
                return in_the_way("a file");
            }
            Some(_) if is_source(&entry.path) => {
                kept.insert(entry.path.clone());
            }
            Some(FoundKind::File | FoundKind::Link(_) | FoundKind::Special(_)) => {}
        }
    }
    Ok(kept)
}

/// Refuses a path that leads through a link: what is behind it is not the set's.
pub(crate) fn check_parents(into: &Path, path: &RelativePath) -> Result<(), Refusal> {
    let mut parent = path.parent();
    while let Some(path) = parent.filter(|parent| !parent.is_root()) {
        if let Some(Found { kind: FoundKind::Link(_), .. }) = at(into, &path)? {
            return Err(Refusal::InTheWay { path, what: "a symbolic link" });
        }
        parent = path.parent();
    }
    Ok(())
}

fn at(into: &Path, path: &RelativePath) -> Result<Option<Found>, Refusal> {
    Found::at(into, path.clone()).map_err(Refusal::from)
}

impl From<ScanError> for Refusal {
    fn from(ScanError { action, path, source }: ScanError) -> Refusal {
        Refusal::Io { action, path, source }
    }
}

/// What has been moved so far, and how to take it back.
#[derive(Debug)]
pub(crate) struct Journal {
    aside: PathBuf,
    steps: Vec<Step>,
    /// When the directories last changed from which, or to which, something is moved.
    before: HashMap<PathBuf, Time>,
}

#[derive(Debug)]
enum Step {
    Placed { from: PathBuf, to: PathBuf },
    SetAside { from: PathBuf, to: PathBuf },
}

impl Journal {
    /// Starts a journal that keeps what is replaced in that directory, which exists and is empty.
    pub(crate) fn new(aside: PathBuf) -> Journal {
        Journal { aside, steps: Vec::new(), before: HashMap::new() }
    }

    /// Moves something out of the tree.
    pub(crate) fn set_aside(&mut self, place: &Path) -> io::Result<()> {
        self.note(place)?;
        let to = self.aside.join(self.steps.len().to_string());
        std::fs::rename(place, &to)?;
        self.steps.push(Step::SetAside { from: place.to_path_buf(), to });
        Ok(())
    }

    /// Moves something unpacked to its place, and what stands there aside.
    pub(crate) fn place(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.note(to)?;
        match to.symlink_metadata() {
            Ok(_) => self.set_aside(to)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        std::fs::rename(from, to)?;
        self.steps.push(Step::Placed { from: from.to_path_buf(), to: to.to_path_buf() });
        Ok(())
    }

    /// Notes when the directory of that place last changed.
    fn note(&mut self, place: &Path) -> io::Result<()> {
        if let Some(parent) = place.parent().filter(|parent| !self.before.contains_key(*parent)) {
            let modified = Time::modified(&parent.symlink_metadata()?);
            self.before.insert(parent.to_path_buf(), modified);
        }
        Ok(())
    }

    /// Takes everything back, the last step first.
    pub(crate) fn undo(self) -> io::Result<()> {
        for step in self.steps.into_iter().rev() {
            match step {
                Step::Placed { from, to } => std::fs::rename(to, from)?,
                Step::SetAside { from, to } => std::fs::rename(to, from)?,
            }
        }
        // Those that came with the set are gone again.
        for (place, modified) in self.before.iter().filter(|(place, _)| place.exists()) {
            time::set_modified(place, *modified)?;
        }
        Ok(())
    }
}

/// Moves everything unpacked to its place, a whole directory at once where there is none yet.
/// Returns what was moved by itself.
pub(crate) fn place(
    journal: &mut Journal,
    staged: &Path,
    into: &Path,
    entries: &[Entry],
    left_out: &HashSet<RelativePath>,
) -> io::Result<Vec<RelativePath>> {
    let mut alone = Vec::new();
    let mut whole: HashSet<&RelativePath> = HashSet::new();
    for entry in entries {
        let moved = entry.path.parent().is_some_and(|parent| whole.contains(&parent));
        let directory = entry.kind == EntryKind::Directory;
        if moved {
            if directory {
                whole.insert(&entry.path);
            }
            continue;
        }
        if left_out.contains(&entry.path) {
            continue;
        }
        let to = entry.path.under(into);
        if directory && to.symlink_metadata().is_ok() {
            continue;
        }
        journal.place(&entry.path.under(staged), &to)?;
        if directory {
            whole.insert(&entry.path);
        } else {
            alone.push(entry.path.clone());
        }
    }
    Ok(alone)
}
