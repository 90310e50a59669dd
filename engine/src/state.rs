//! What levain remembers about a repository, in files below its git directory.
//!
//! ```text
//! lock                 held by the one levain that may write
//! evaluations/ID.json  evaluations, by everything they depend on
//! successes/DRV.json   which base derivations have succeeded, and how
//! keys/KEY.json        what went into a key, to explain why another differs
//! dropped/ID.json      until when caches were dropped by hand
//! project/NAME.json    facts about the project that no limit removes
//! signing-key          what entries are signed with; secret
//! kept/ID.json         which outputs a jobset keeps
//! outputs/NAME         links that keep them from garbage collection
//! roots/NAME           links that keep caches from garbage collection
//! logs/DRV.TIME.log    the log of a build, by when it began, in milliseconds since 1970
//! statuses/COMMIT.json what a forge was told about a commit
//! ```
//!
//! `evaluations`, `keys` and `logs` can be deleted at any time without
//! loss. Reading is [`State`]; only a [`StateWriter`] writes, and read-only
//! mode has none.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use levain_actions::git::{LockError, RunLock};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;

use crate::hold::{Holds, IsNew, Lent};

/// What was remembered.
#[derive(Clone, Debug)]
pub struct State {
    dir: PathBuf,
}

/// The right to add to what is remembered; holding it means holding the lock.
#[derive(Debug)]
pub struct StateWriter {
    state: State,
    lent: Lent,
}

/// A file below the state directory could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The operating system refused.
    #[error("cannot {action} `{}`: {source}\nhint: {}", path.display(), hint(source))]
    Io {
        /// What was tried: `read`, `write` …
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another levain holds the lock.
    #[error(transparent)]
    Lock(#[from] LockError),
}

fn hint(error: &io::Error) -> &'static str {
    let kind = error.kind();
    if matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        "free some space on that disk, then start levain again; nothing is lost"
    } else if kind == io::ErrorKind::PermissionDenied {
        "levain must be able to write there; check its owner"
    } else {
        "look at that path, then start levain again"
    }
}

/// A kind of remembered value: one directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Evaluations.
    Evaluations,
    /// Successes of base derivations.
    Successes,
    /// Key documents.
    Keys,
    /// Caches that were dropped by hand.
    Dropped,
    /// Which outputs a jobset keeps.
    Kept,
    /// Facts about the project: a few, that nothing else can tell.
    Project,
}

/// The file of the lock.
const LOCK: &str = "lock";

/// Every kind.
const KINDS: [Kind; 6] =
    [Kind::Evaluations, Kind::Successes, Kind::Keys, Kind::Dropped, Kind::Kept, Kind::Project];

impl Kind {
    fn directory(self) -> &'static str {
        match self {
            Self::Evaluations => "evaluations",
            Self::Successes => "successes",
            Self::Keys => "keys",
            Self::Dropped => "dropped",
            Self::Kept => "kept",
            Self::Project => "project",
        }
    }
}

impl State {
    /// Returns the state kept in `git_dir`.
    pub fn of(git_dir: &Path) -> Self {
        Self { dir: git_dir.join("levain") }
    }

    /// Returns the directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the directory of the links that keep caches alive.
    pub fn roots(&self) -> PathBuf {
        self.dir.join("roots")
    }

    /// Returns the directory of the links that keep outputs alive.
    pub(crate) fn output_roots(&self) -> PathBuf {
        self.dir.join("outputs")
    }

    /// Returns the directories of links that an evaluation sees.
    pub(crate) fn links(&self) -> Vec<PathBuf> {
        vec![self.roots(), self.output_roots()]
    }

    /// Returns the file of the key that entries are signed with.
    pub(crate) fn signing_key(&self) -> PathBuf {
        self.dir.join("signing-key")
    }

    /// Returns the directory of build logs.
    pub fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// Returns the directory of what forges were told.
    pub fn statuses(&self) -> PathBuf {
        self.dir.join("statuses")
    }

    fn path(&self, kind: Kind, name: &str) -> PathBuf {
        self.dir.join(kind.directory()).join(format!("{name}.json"))
    }

    /// Returns what is remembered under `name`.
    ///
    /// A file that cannot be understood (another version's, or damaged) counts
    /// as absent: everything here can be found out again.
    pub fn load<T: DeserializeOwned>(&self, kind: Kind, name: &str) -> Option<T> {
        let path = self.path(kind, name);
        let bytes = fs::read(&path).ok()?;
        match serde_json::from_slice(&bytes) {
            Ok(value) => Some(value),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "ignoring an unreadable file");
                None
            }
        }
    }

    /// Returns all that is remembered of one kind, in no particular order.
    pub fn load_all<T: DeserializeOwned>(&self, kind: Kind) -> Vec<(String, T)> {
        let Ok(entries) = fs::read_dir(self.dir.join(kind.directory())) else { return Vec::new() };
        entries
            .filter_map(|entry| {
                let name = entry.ok()?.file_name().into_string().ok()?;
                let name = name.strip_suffix(".json")?.to_owned();
                let value = self.load(kind, &name)?;
                Some((name, value))
            })
            .collect()
    }

    /// Returns whether nobody has taken or given back the lock since a time; not if nobody ever took it.
    pub(crate) fn is_unused_since(&self, time: SystemTime) -> bool {
        let metadata = fs::metadata(self.dir.join(LOCK));
        metadata.and_then(|metadata| metadata.modified()).is_ok_and(|used| used < time)
    }

    /// Takes the lock; an error if another levain works on this repository.
    pub fn lock(&self) -> Result<StateWriter, StateError> {
        self.lend(&Holds::default()).map(|(writer, _)| writer)
    }

    /// Takes the lock, or a part in it if this process has it; an error if another levain works on this
    /// repository.
    pub(crate) fn lend(&self, holds: &Holds) -> Result<(StateWriter, IsNew), StateError> {
        for dir in [&self.dir, &self.roots(), &self.output_roots(), &self.logs()] {
            create_dir(dir)?;
        }
        for kind in KINDS {
            create_dir(&self.dir.join(kind.directory()))?;
        }
        let (lent, is_new) = holds.lend(&self.dir.join(LOCK))?;
        if is_new == IsNew::Yes {
            // Only who holds the lock writes there, and nobody else does: whoever did was killed.
            for kind in KINDS {
                remove_unfinished(&self.dir.join(kind.directory()), ".tmp", Duration::ZERO);
            }
        }
        Ok((StateWriter { state: self.clone(), lent }, is_new))
    }
}

fn create_dir(dir: &Path) -> Result<(), StateError> {
    fs::create_dir_all(dir).map_err(|source| StateError::Io {
        action: "create",
        path: dir.to_owned(),
        source,
    })
}

impl StateWriter {
    /// Returns the state that this may write.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Returns the proof that no other levain writes.
    pub fn run_lock(&self) -> &RunLock {
        self.lent.run_lock()
    }

    /// Returns what this run shares with others of this process on the same repository.
    pub(crate) fn lent(&self) -> &Lent {
        &self.lent
    }

    /// Remembers `value` under `name`; whoever reads sees the old or the new
    /// value, never a part.
    pub fn store<T: Serialize>(&self, kind: Kind, name: &str, value: &T) -> Result<(), StateError> {
        let path = self.state.path(kind, name);
        let failed = |source| StateError::Io { action: "write", path: path.clone(), source };
        let dir = self.state.dir.join(kind.directory());
        let mut file = NamedTempFile::new_in(&dir).map_err(failed)?;
        let bytes = serde_json::to_vec(value).map_err(|error| failed(error.into()))?;
        file.write_all(&bytes).map_err(failed)?;
        file.persist(&path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    /// Forgets what is remembered under `name`.
    pub fn forget(&self, kind: Kind, name: &str) -> Result<(), StateError> {
        let path = self.state.path(kind, name);
        match fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(StateError::Io { action: "remove", path, source }),
        }
    }

    /// Forgets all that is remembered of one kind.
    pub fn forget_all(&self, kind: Kind) -> Result<(), StateError> {
        let path = self.state.dir.join(kind.directory());
        let failed = |source| StateError::Io { action: "remove", path: path.clone(), source };
        for entry in fs::read_dir(&path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".json")) {
                self.forget(kind, name)?;
            }
        }
        Ok(())
    }

    /// Removes the oldest evaluations, logs and statuses beyond `keep` of each, those
    /// logs beyond `log_bytes`, and temporary files of a killed levain.
    pub fn tidy(&self, keep: usize, log_bytes: u64) {
        let evaluations = self.state.dir.join(Kind::Evaluations.directory());
        for (dir, bytes) in [
            (evaluations, u64::MAX),
            (self.state.logs(), log_bytes),
            (self.state.statuses(), u64::MAX),
        ] {
            keep_newest(&dir, keep, bytes);
        }
        for kind in KINDS {
            remove_unfinished(&self.state.dir.join(kind.directory()), ".tmp", WRITTEN);
        }
        remove_unfinished(&self.state.statuses(), ".tmp", WRITTEN);
        // A key that a killed levain did not finish to write.
        remove_unfinished(&self.state.dir, ".tmp", WRITTEN);
        if let Some(git_dir) = self.state.dir.parent() {
            let objects = git_dir.join("objects");
            remove_unfinished(&objects, "tmp_object_git2_", WRITTEN);
            // Packs that a killed `git fetch` did not finish; no collection runs in a mirror.
            remove_unfinished(&objects.join("pack"), "tmp_", RECEIVED);
        }
    }
}

fn keep_newest(dir: &Path, keep: usize, bytes: u64) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let mut files: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let data = entry.metadata().ok()?;
            Some((data.modified().ok()?, entry.path(), data.len()))
        })
        .collect();
    files.sort();
    let mut left = bytes;
    for (index, (_, path, length)) in files.iter().rev().enumerate() {
        match left.checked_sub(*length).filter(|_| index < keep) {
            Some(rest) => left = rest,
            None => {
                left = 0;
                remove_quietly(path);
            }
        }
    }
}

/// No program takes this long to write one object or file.
const WRITTEN: Duration = Duration::from_secs(60);

/// No program lets this long pass between two writes to one pack.
const RECEIVED: Duration = Duration::from_secs(24 * 3600);

/// Removes what a killed levain did not finish writing. To objects libgit2 gives
/// a name by which `git gc` does not know them. Another program, or another run of
/// this one, may be writing one right now, so young ones stay.
fn remove_unfinished(directory: &Path, prefix: &str, age: Duration) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()) {
            continue;
        }
        let changed = entry.metadata().and_then(|metadata| metadata.modified()).ok();
        if changed.and_then(|time| time.elapsed().ok()).is_some_and(|passed| passed >= age) {
            remove_quietly(&entry.path());
        }
    }
}

/// Removes a file that nothing needs; a failure only leaves it there.
fn remove_quietly(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::debug!(path = %path.display(), %error, "cannot remove");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_evaluations_removes_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let writer = State::of(dir.path()).lock().unwrap();
        for kind in KINDS {
            writer.store(kind, "name", &"value").unwrap();
        }
        // What a levain leaves that is killed while it makes a key.
        let unfinished = writer.state().dir.join(".tmpkey");
        fs::write(&unfinished, "secret").unwrap();
        let young = writer.state().dir.join(".tmpyoung");
        fs::write(&young, "being written").unwrap();
        let old = fs::File::options().append(true).open(&unfinished).unwrap();
        old.set_modified(std::time::SystemTime::now() - 2 * WRITTEN).unwrap();
        fs::write(writer.state().signing_key(), "key").unwrap();
        writer.tidy(0, u64::MAX);
        assert!(!unfinished.exists() && young.exists() && writer.state().signing_key().exists());
        for kind in KINDS {
            let expected = (kind != Kind::Evaluations).then(|| "value".to_owned());
            assert_eq!(writer.state().load::<String>(kind, "name"), expected, "{kind:?}");
        }
    }

    #[test]
    fn what_a_killed_levain_did_not_finish_is_gone_with_the_next_lock() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::of(dir.path());
        drop(state.lock().unwrap());
        let unfinished = state.dir.join(Kind::Project.directory()).join(".tmpx");
        fs::write(&unfinished, "a part").unwrap();
        let holds = Holds::default();
        let (first, _) = state.lend(&holds).unwrap();
        assert!(!unfinished.exists());
        // Another run of this process may be writing it.
        fs::write(&unfinished, "a part").unwrap();
        let (_second, _) = state.lend(&holds).unwrap();
        first.tidy(0, u64::MAX);
        assert!(unfinished.exists());
    }

    #[test]
    fn the_newest_files_stay_within_number_and_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let now = std::time::SystemTime::now();
        for (index, length) in [5, 100, 10, 10].into_iter().enumerate() {
            let file = fs::File::create(dir.path().join(index.to_string())).unwrap();
            file.set_len(length).unwrap();
            file.set_modified(now + Duration::from_secs(index as u64)).unwrap();
        }
        let left = || {
            let mut names: Vec<_> = fs::read_dir(dir.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names.join(" ")
        };
        keep_newest(dir.path(), 4, 125);
        assert_eq!(left(), "0 1 2 3");
        // Not even the small one that is older than one that went.
        keep_newest(dir.path(), 4, 119);
        assert_eq!(left(), "2 3");
        keep_newest(dir.path(), 1, u64::MAX);
        assert_eq!(left(), "3");
    }
}
