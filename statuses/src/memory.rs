//! Remembers from run to run what a forge was told about a commit.
//!
//! Statuses are delivered after the lock is given up, so these files are written without it: each is
//! replaced as a whole, and all that two levains can do to each other is to tell a forge twice.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use levain_actions::git::CommitId;
use levain_actions::status::Posted;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

/// What is remembered of one commit.
#[derive(Debug)]
pub(crate) struct Memory {
    path: PathBuf,
    forge: String,
    is_there: Mutex<bool>,
}

#[derive(Serialize, Deserialize)]
struct Document {
    /// Which repository of which forge: a declaration may come to name another.
    forge: String,
    posted: Posted,
}

impl Memory {
    /// Returns what is remembered in `directory` of `commit` at `forge`.
    pub(crate) fn open(directory: &Path, commit: CommitId, forge: String) -> (Self, Posted) {
        let path = directory.join(format!("{commit}.json"));
        let read = fs::read(&path);
        let is_there = Mutex::new(read.is_ok());
        let document = read.ok().and_then(|bytes| serde_json::from_slice::<Document>(&bytes).ok());
        let posted = document.filter(|document| document.forge == forge);
        let posted = posted.map(|document| document.posted).unwrap_or_default();
        (Self { path, forge, is_there }, posted)
    }

    /// Forgets it before something is sent: a levain that is killed meanwhile does not know what the
    /// forge shows.
    pub(crate) fn forget(&self) {
        let mut is_there = self.is_there.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if std::mem::take(&mut *is_there)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!(%error, path = %self.path.display(), "cannot forget statuses");
        }
    }

    /// Remembers what was delivered.
    pub(crate) fn keep(&self, posted: Posted) {
        let document = Document { forge: self.forge.clone(), posted };
        if let Err(error) = self.write(&document) {
            tracing::warn!(%error, path = %self.path.display(), "cannot remember statuses");
        }
    }

    fn write(&self, document: &Document) -> std::io::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let mut file = NamedTempFile::new_in(directory)?;
        file.write_all(&serde_json::to_vec(document)?)?;
        file.persist(&self.path)?;
        Ok(())
    }
}
