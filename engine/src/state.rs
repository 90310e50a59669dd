//! What levain remembers about a repository, in files below its git directory.
//!
//! ```text
//! lock                 held by the one levain that may write
//! evaluations/ID.json  evaluations, by everything they depend on
//! successes/DRV.json   which base derivations have succeeded, and how
//! keys/KEY.json        what went into a key, to explain why another differs
//! dropped/ID.json      until when caches were dropped by hand
//! roots/NAME           links that keep caches from garbage collection
//! logs/DRV.log         the last build log of a derivation
//! ```
//!
//! `evaluations`, `keys` and `logs` can be deleted at any time without
//! loss. Reading is [`State`]; only a [`StateWriter`] writes, and read-only
//! mode has none.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use levain_actions::git::{LockError, RunLock};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;

/// What was remembered.
#[derive(Clone, Debug)]
pub struct State {
    dir: PathBuf,
}

/// The right to add to what is remembered; holding it means holding the lock.
#[derive(Debug)]
pub struct StateWriter {
    state: State,
    lock: RunLock,
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
}

/// Every kind.
const KINDS: [Kind; 4] = [Kind::Evaluations, Kind::Successes, Kind::Keys, Kind::Dropped];

impl Kind {
    fn directory(self) -> &'static str {
        match self {
            Self::Evaluations => "evaluations",
            Self::Successes => "successes",
            Self::Keys => "keys",
            Self::Dropped => "dropped",
        }
    }
}

impl State {
    /// Returns the state kept in `git_dir`.
    pub fn of(git_dir: &Path) -> Self {
        Self { dir: git_dir.join("levain") }
    }

    /// Returns the directory of the links that keep caches alive.
    pub fn roots(&self) -> PathBuf {
        self.dir.join("roots")
    }

    /// Returns the directory of build logs.
    pub fn logs(&self) -> PathBuf {
        self.dir.join("logs")
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

    /// Takes the lock; an error if another levain works on this repository.
    pub fn lock(&self) -> Result<StateWriter, StateError> {
        for dir in [&self.dir, &self.roots(), &self.logs()] {
            create_dir(dir)?;
        }
        for kind in KINDS {
            create_dir(&self.dir.join(kind.directory()))?;
        }
        let lock = RunLock::acquire(&self.dir.join("lock"))?;
        Ok(StateWriter { state: self.clone(), lock })
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
        &self.lock
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

    /// Removes the oldest evaluations and logs beyond `keep` of each, and
    /// temporary files of a killed levain.
    pub fn tidy(&self, keep: usize) {
        for dir in [self.state.dir.join(Kind::Evaluations.directory()), self.state.logs()] {
            keep_newest(&dir, keep);
        }
        for kind in KINDS {
            remove_temporary(&self.state.dir.join(kind.directory()));
        }
        if let Some(git_dir) = self.state.dir.parent() {
            remove_unfinished(&git_dir.join("objects"));
        }
    }
}

fn keep_newest(dir: &Path, keep: usize) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let entries: Vec<_> = entries.flatten().collect();
    if entries.len() <= keep {
        return;
    }
    let mut files: Vec<_> = entries
        .iter()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    files.sort();
    for (_, path) in files.iter().take(files.len().saturating_sub(keep)) {
        remove_quietly(path);
    }
}

fn remove_temporary(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(b".tmp") {
            remove_quietly(&entry.path());
        }
    }
}

/// No program takes this long to write one object.
const WRITTEN: Duration = Duration::from_secs(60);

/// Removes objects that a killed levain did not finish writing: libgit2 gives
/// them a name by which `git gc` does not know them. Another program may be
/// writing one right now, so young ones stay.
fn remove_unfinished(objects: &Path) {
    let Ok(entries) = fs::read_dir(objects) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(b"tmp_object_git2_") {
            continue;
        }
        let changed = entry.metadata().and_then(|metadata| metadata.modified()).ok();
        if changed.and_then(|time| time.elapsed().ok()).is_some_and(|age| age > WRITTEN) {
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
