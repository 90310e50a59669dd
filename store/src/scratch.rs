//! Temporary directories that do not outlive levain for long, however it ends.
//!
//! Each holds a lock file that its owner keeps locked. The kernel unlocks it when the owner ends, so
//! the next levain knows which directories nobody needs. Start at [`Scratch`] and [`sweep`].

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Pid;
use tempfile::TempDir;

/// The lock file. Nothing without one is ever removed but [`UNFINISHED`] and [`GONE`] directories.
const LOCK: &str = ".levain-scratch";
/// What the names of all such directories begin with.
const PREFIX: &str = "levain-";
/// What the name of one begins with that is not locked yet; the number of its maker follows.
const UNFINISHED: &str = ".levain-new-";
/// What the name of one begins with that is being removed.
const GONE: &str = ".levain-gone-";
/// Making one takes a moment; after this time its maker is gone.
const MADE: Duration = Duration::from_secs(3600);
/// How often it is tried again to make one.
const MAKINGS: u32 = 3;
/// How often it is tried to remove one that somebody still writes to.
const REMOVALS: u32 = 50;

/// A temporary directory, removed when dropped, or else by a later [`sweep`].
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Makes a directory in the system's place for temporary files; `purpose` becomes part of its name.
    pub fn new(purpose: &str) -> io::Result<Self> {
        Self::below(&std::env::temp_dir(), purpose)
    }

    fn below(place: &Path, purpose: &str) -> io::Result<Self> {
        // A levain that sees other processes than we do may take us for gone.
        let mut made = Self::make(place, purpose);
        for _ in 0..MAKINGS {
            made = match made {
                Err(error) if error.kind() == ErrorKind::NotFound => Self::make(place, purpose),
                made => return made,
            };
        }
        made
    }

    fn make(place: &Path, purpose: &str) -> io::Result<Self> {
        let prefix = format!("{UNFINISHED}{}-", std::process::id());
        let made = tempfile::Builder::new().prefix(&prefix).tempdir_in(place)?;
        let lock = File::create_new(made.path().join(LOCK))?;
        lock.lock()?;
        // Gets its name only now: nobody ever sees it unlocked.
        let path = rename(made, place, purpose)?;
        Ok(Self { path, _lock: lock })
    }

    /// Returns the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the directory to be removed by the next [`sweep`], and returns it.
    pub fn leave(self) -> PathBuf {
        let mut this = self;
        std::mem::take(&mut this.path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            remove(&self.path);
        }
    }
}

fn rename(made: TempDir, place: &Path, purpose: &str) -> io::Result<PathBuf> {
    let suffix = made.path().file_name().unwrap_or_default().to_string_lossy();
    let suffix = suffix.strip_prefix(UNFINISHED).unwrap_or(&suffix);
    let path = place.join(format!("{PREFIX}{purpose}-{suffix}"));
    fs::rename(made.path(), &path)?;
    // Nothing is left for it to remove.
    let _gone = made.keep();
    Ok(path)
}

/// Returns the system's place for temporary files.
pub fn place() -> PathBuf {
    std::env::temp_dir()
}

/// Removes the directories that ended levains left in the system's place for temporary files.
pub fn sweep() {
    sweep_below(&std::env::temp_dir());
}

fn sweep_below(place: &Path) {
    let Ok(entries) = fs::read_dir(place) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        let begins = |prefix: &str| name.starts_with(prefix.as_bytes());
        let (unfinished, gone) = (begins(UNFINISHED), begins(GONE));
        if !unfinished && !gone && !begins(PREFIX) {
            continue;
        }
        // Of the entry itself: a link leads to what others own.
        let Ok(metadata) = entry.metadata() else { continue };
        if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
            continue;
        }
        let path = entry.path();
        let dead = match unfinished {
            true => {
                let old = metadata
                    .modified()
                    .is_ok_and(|time| time.elapsed().is_ok_and(|age| age > MADE));
                old || maker(name).is_some_and(is_gone)
            }
            false => gone || is_dead(&path),
        };
        if dead {
            remove(&path);
        }
    }
}

/// Returns which process makes an unfinished directory.
fn maker(name: &[u8]) -> Option<Pid> {
    let rest = std::str::from_utf8(name).ok()?.strip_prefix(UNFINISHED)?;
    let (number, _) = rest.split_once('-')?;
    Pid::from_raw(number.parse().ok().filter(|number| *number > 0)?)
}

fn is_gone(process: Pid) -> bool {
    rustix::process::test_kill_process(process) == Err(rustix::io::Errno::SRCH)
}

/// Returns whether a directory is one of ours whose owner has ended.
fn is_dead(path: &Path) -> bool {
    File::open(path.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok())
}

/// Removes a directory; if that is interrupted, the next [`sweep`] goes on.
///
/// The lock file goes with the rest, and maybe first. So the name says beforehand that nobody needs it.
/// What a killed owner had running may still write there for a moment.
fn remove(path: &Path) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let gone = match name.starts_with(GONE) {
        true => path.to_owned(),
        false => path.with_file_name(format!("{GONE}{name}")),
    };
    let result = fs::rename(path, &gone).and_then(|()| {
        let mut left = REMOVALS;
        loop {
            match fs::remove_dir_all(&gone) {
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty && left > 0 => {
                    left -= 1;
                    std::thread::sleep(Duration::from_millis(10));
                }
                result => break result,
            }
        }
    });
    if let Err(error) = result {
        tracing::debug!(path = %path.display(), %error, "cannot remove");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(place: &Path) -> Vec<String> {
        let entries = fs::read_dir(place).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn only_what_an_ended_owner_left_is_swept() {
        let place = tempfile::tempdir().unwrap();
        let place = place.path();
        let used = Scratch::below(place, "used").unwrap();
        let left = Scratch::below(place, "left").unwrap().leave();
        fs::create_dir(place.join("levain-mine")).unwrap();
        fs::write(place.join("levain-file"), "").unwrap();
        fs::create_dir(place.join("other")).unwrap();
        fs::write(place.join("other").join(LOCK), "").unwrap();
        std::os::unix::fs::symlink("other", place.join("levain-link")).unwrap();
        fs::create_dir(place.join(".levain-new-young")).unwrap();
        // Whoever removed it was stopped when the lock file was removed already.
        fs::create_dir_all(place.join(".levain-gone-levain-x/y")).unwrap();
        // So was whoever made it; a process has no such number on Linux.
        fs::create_dir(place.join(format!(".levain-new-{}-x", i32::MAX))).unwrap();
        let mine = format!(".levain-new-{}-x", std::process::id());
        fs::create_dir(place.join(&mine)).unwrap();
        assert!(left.exists());
        sweep_below(place);
        let used_name = used.path().file_name().unwrap().to_str().unwrap().to_owned();
        let mut expected = vec![
            &mine,
            ".levain-new-young",
            "levain-file",
            "levain-link",
            "levain-mine",
            "other",
            &used_name,
        ];
        expected.sort_unstable();
        assert_eq!(names(place), expected);
        drop(used);
        assert!(!names(place).contains(&used_name));
    }
}
