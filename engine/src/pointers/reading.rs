//! Reads the pointers that shadow branches record.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use levain_actions::git::{CommitId, GitError, Repository};
use levain_actions::shadow::{self, Shadow, ShadowFiles};
use levain_evaluator::pointer::{Entry, EntryError, Pointer};
use levain_evaluator::{JobName, JobsetName};
use levain_store::StoreDir;
use serde::{Deserialize, Serialize};

use crate::signing::{Distrust, Keyring};

/// The entries of one pointer file, by job. Good ones are signed by a key that is trusted here:
/// nobody else's gets any further than [`Layout::entries`].
pub(crate) type Entries = BTreeMap<JobName, Result<Entry, Unusable>>;

/// Why an entry of a good pointer file cannot be used by anyone here.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unusable {
    /// It is not an entry.
    #[error(transparent)]
    Malformed(#[from] EntryError),
    /// It says something, but nobody who is trusted says so.
    #[error("{why}")]
    Untrusted {
        /// What it says.
        entry: Box<Entry>,
        /// Why that is not believed.
        why: Distrust,
    },
}

/// What a shadow ref is called below the prefix of them all: the name of its jobset, as long as
/// `shadow.ref` adds nothing to that.
///
/// Tells people where an entry stands. Who made it is what its signature says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShadowName(String);

impl ShadowName {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the jobset of that name, if the text is one.
    pub(crate) fn jobset(&self) -> Option<JobsetName> {
        self.0.parse().ok()
    }
}

impl From<JobsetName> for ShadowName {
    fn from(jobset: JobsetName) -> Self {
        Self(jobset.into())
    }
}

impl fmt::Display for ShadowName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A shadow branch as found in the repository.
#[derive(Debug)]
pub struct FoundBranch {
    /// Its ref.
    pub reference: String,
    /// What its ref is called.
    pub name: ShadowName,
    /// What the ref points at, which may be anything.
    pub head: CommitId,
    /// The newest shadow commit; `None` if the ref points at something else.
    pub shadow: Option<Shadow>,
    /// Its pointer file, or why that is rejected as a whole.
    pub entries: Result<Entries, String>,
}

/// How shadow branches of a project are named and read.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Names of the two files.
    pub files: ShadowFiles,
    /// What all shadow refs start with.
    pub prefix: String,
    /// The store that pointers name paths of.
    pub store_dir: StoreDir,
    /// Whose entries are believed.
    pub keys: Arc<Keyring>,
    /// What commits say: that never changes, and a run comes back to the same few.
    read: Arc<Mutex<BTreeMap<CommitId, Content>>>,
}

/// What a commit of a shadow branch says.
type Content = (Option<Shadow>, Result<Entries, String>);

impl Layout {
    /// Reads shadow branches below `prefix`.
    pub fn new(files: ShadowFiles, prefix: String, store_dir: StoreDir, keys: Keyring) -> Self {
        Self { files, prefix, store_dir, keys: Arc::new(keys), read: Arc::default() }
    }

    /// Reads the pointer file of one shadow commit.
    pub fn entries(&self, shadow: &Shadow) -> Result<Entries, String> {
        let Some(text) = &shadow.pointer else {
            return Err(format!("`{}` is missing", self.files.pointer()));
        };
        match Pointer::parse(&self.store_dir, text) {
            Ok(Pointer::Null) => Ok(Entries::new()),
            Ok(Pointer::Entries(entries)) => {
                Ok(entries.into_iter().map(|(job, entry)| (job, self.vouched(entry))).collect())
            }
            Ok(Pointer::Path(path)) => {
                Err(format!("`{}` names `{path}` without a key or NAR hash", self.files.pointer()))
            }
            Err(error) => Err(format!("`{}`: {error}", self.files.pointer())),
        }
    }

    fn vouched(&self, entry: Result<Entry, EntryError>) -> Result<Entry, Unusable> {
        let entry = entry?;
        match self.keys.verify(&self.store_dir, &entry) {
            Ok(()) => Ok(entry),
            Err(why) => Err(Unusable::Untrusted { entry: Box::new(entry), why }),
        }
    }

    /// Reads the shadow branch at `reference`, if there is one.
    pub fn read(
        &self,
        repository: &Repository,
        reference: &str,
    ) -> Result<Option<FoundBranch>, GitError> {
        self.read_below(repository, &self.prefix, reference)
    }

    fn read_below(
        &self,
        repository: &Repository,
        prefix: &str,
        reference: &str,
    ) -> Result<Option<FoundBranch>, GitError> {
        let Some(head) = repository.target(reference)? else { return Ok(None) };
        let (shadow, entries) = self.content(repository, head);
        Ok(Some(FoundBranch {
            reference: reference.to_owned(),
            name: ShadowName(reference.strip_prefix(prefix).unwrap_or(reference).to_owned()),
            head,
            shadow,
            entries,
        }))
    }

    fn content(&self, repository: &Repository, head: CommitId) -> Content {
        let mut known = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(content) = known.get(&head) {
            return content.clone();
        }
        match shadow::read(repository, head, &self.files) {
            Ok(shadow) => {
                let entries = self.entries(&shadow);
                known.entry(head).or_insert((Some(shadow), entries)).clone()
            }
            // The next try may succeed.
            Err(error) => (None, Err(error.to_string())),
        }
    }

    /// Reads all shadow branches below `prefix`.
    pub fn read_all(
        &self,
        repository: &Repository,
        prefix: &str,
    ) -> Result<Vec<FoundBranch>, GitError> {
        let mut found = Vec::new();
        for (reference, _) in repository.targets(prefix)? {
            found.extend(self.read_below(repository, prefix, &reference)?);
        }
        Ok(found)
    }
}
