//! The cache pointer file: which cache each job of an evaluation may start from.
//!
//! Plain data, read without evaluating it. A file that is not plain data is a [`PointerError`]; a
//! bad entry in a good file is only that job's [`EntryError`], so that one broken entry does not
//! cost the other jobs their caches. Whether a path exists is not looked at here.
//! Start at [`Pointer::parse`].

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use levain_store::{HashError, NarHash, StoreDir, StorePath, StorePathError};
use serde::{Deserialize, Serialize};

use crate::attr_path::{AttrPath, AttrPathError};
use crate::key::{Key, KeyError};
use crate::names::{JobName, JobsetName, JobsetNameError};
use crate::nix_data::{Data, DataError};

/// The first line of every pointer file with entries.
const HEAD: &str =
    "# Written by levain. Plain data: which cache each job of this evaluation may start from.\n";

/// The content of a cache pointer file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pointer {
    /// `null`: no job has a cache.
    Null,
    /// One store path for every job, without what would be needed to judge it. Written by hand;
    /// levain never uses it, see [`BARE_PATH_REASON`].
    Path(String),
    /// An entry per job, under its attribute path in Nix's notation.
    Entries(BTreeMap<JobName, Result<Entry, EntryError>>),
}

/// Why levain does not use [`Pointer::Path`].
pub const BARE_PATH_REASON: &str =
    "the pointer is one store path, without a NAR hash and a key to check it by";

/// What a pointer says about the cache of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The content-addressed copy of a cache output.
    pub path: StorePath,
    /// Its NAR hash.
    pub nar_hash: NarHash,
    /// The key of the build that made it.
    pub key: Key,
    /// The number of incremental builds since the last clean one.
    pub depth: u32,
    /// The original commit whose build made it, 40 hexadecimal digits.
    pub commit: String,
    /// When, in seconds since 1970.
    pub time: u64,
    /// The trust in the jobset that made it.
    pub tier: Tier,
    /// Who made it, signed. Nothing for an entry that nobody signed.
    pub maker: Option<Maker>,
    /// Why this evaluation does not use the entry; `lib.cache` then gives null.
    pub unused: Option<String>,
}

/// Who made a cache, and the signature that says so. Whether it is right is not looked at here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maker {
    /// The jobset whose build made it.
    pub jobset: JobsetName,
    /// The job there.
    pub job: JobName,
    /// The signature of all this: `NAME:BASE64`.
    pub signature: String,
}

/// How far a jobset is trusted; the first is trusted most.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// The project's default branch.
    DefaultBranch,
    /// Another branch of the project's own repository.
    Branch,
    /// A pull request from the project's own repository.
    PullRequest,
    /// A pull request from a fork.
    #[default]
    Fork,
}

/// Why a pointer file cannot be used at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PointerError {
    /// It is not plain data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// It is another kind of value.
    #[error(
        "expected null, a store path or an attribute set of entries, found {found}\nhint: write `null` to start without caches"
    )]
    Kind {
        /// The kind of value.
        found: &'static str,
    },
    /// Its only value is a text that is no store path.
    #[error("the pointer is not a store path\nhint: write `null` to start without caches")]
    Path(#[source] StorePathError),
}

/// Why one entry of a pointer file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Its name is no attribute path.
    #[error("the entry's name is not an attribute path: {0}")]
    Job(#[source] AttrPathError),
    /// It is no attribute set.
    #[error("expected an attribute set, found {found}")]
    Kind {
        /// The kind of value.
        found: &'static str,
    },
    /// It has an attribute that levain does not know.
    #[error("unknown attribute `{attribute}`")]
    Unknown {
        /// The attribute's name.
        attribute: String,
    },
    /// An attribute is not there.
    #[error("attribute `{attribute}` is missing")]
    Missing {
        /// The attribute's name.
        attribute: &'static str,
    },
    /// An attribute has another type.
    #[error("attribute `{attribute}`: expected {expected}, found {found}")]
    Type {
        /// The attribute's name.
        attribute: &'static str,
        /// The kind of value that belongs there.
        expected: &'static str,
        /// The kind of value that stands there.
        found: &'static str,
    },
    /// Its path is no store path of this store.
    #[error("attribute `path`: {0}")]
    Path(#[source] StorePathError),
    /// Its NAR hash is none.
    #[error("attribute `narHash`: {0}")]
    NarHash(#[source] HashError),
    /// Its key is none.
    #[error("attribute `key`: {0}")]
    Key(#[source] KeyError),
    /// Its commit is none.
    #[error("attribute `commit`: expected 40 hexadecimal digits, found `{found}`")]
    Commit {
        /// What stands there.
        found: String,
    },
    /// Its tier is none.
    #[error("attribute `tier`: {0}")]
    Tier(#[source] TierError),
    /// Its maker is no jobset.
    #[error(
        "attribute `jobset`: expected `heads/BRANCH`, `pull/NUMBER` or `tags/TAG`, found `{found}`"
    )]
    Jobset {
        /// What stands there.
        found: String,
    },
    /// A number is too large.
    #[error("attribute `{attribute}`: {found} is too large")]
    Number {
        /// The attribute's name.
        attribute: &'static str,
        /// What stands there.
        found: u64,
    },
}

/// A text that names no tier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected `default-branch`, `branch`, `pull-request` or `fork`, found `{found}`")]
pub struct TierError {
    /// The text.
    pub found: String,
}

impl Pointer {
    /// Reads a pointer file.
    pub fn parse(dir: &StoreDir, text: &[u8]) -> Result<Self, PointerError> {
        match Data::parse(text)? {
            Data::Null => Ok(Self::Null),
            Data::String(path) => match dir.parse(&path) {
                Ok(_valid) => Ok(Self::Path(path)),
                Err(error) => Err(PointerError::Path(error)),
            },
            Data::Set(entries) => Ok(Self::Entries(
                entries
                    .into_iter()
                    .map(|(job, entry)| {
                        let entry = Entry::parse(dir, &job, entry);
                        (JobName::new(job), entry)
                    })
                    .collect(),
            )),
            other @ (Data::Bool(_) | Data::Integer(_) | Data::List(_)) => {
                Err(PointerError::Kind { found: other.kind() })
            }
        }
    }

    /// Returns the text of the file. Equal pointers have equal texts; entries that could not be
    /// read are left out.
    pub fn print(&self, dir: &StoreDir) -> String {
        match self {
            Self::Null => "null\n".to_owned(),
            Self::Path(path) => format!("{}\n", Data::from(path.as_str()).print()),
            Self::Entries(entries) => {
                let good = entries.iter().filter_map(|(job, entry)| {
                    let entry = entry.as_ref().ok()?;
                    Some((job.as_str(), entry.to_data(dir)))
                });
                format!("{HEAD}{}\n", Data::set(good).print())
            }
        }
    }
}

impl Entry {
    fn parse(dir: &StoreDir, job: &str, entry: Data) -> Result<Self, EntryError> {
        let _valid: AttrPath = job.parse().map_err(EntryError::Job)?;
        let mut fields = match entry {
            Data::Set(attributes) => Fields(attributes),
            Data::Null | Data::Bool(_) | Data::Integer(_) | Data::String(_) | Data::List(_) => {
                return Err(EntryError::Kind { found: entry.kind() });
            }
        };
        let path = dir.parse(&fields.string("path")?).map_err(EntryError::Path)?;
        let nar_hash = fields.string("narHash")?.parse().map_err(EntryError::NarHash)?;
        let key = fields.string("key")?.parse().map_err(EntryError::Key)?;
        let depth = fields.integer("depth")?;
        let commit = fields.string("commit")?;
        let time = fields.integer("time")?;
        let tier = fields.string("tier")?.parse().map_err(EntryError::Tier)?;
        let maker = match fields.0.contains_key("signature") {
            true => Some(Maker {
                jobset: fields
                    .string("jobset")?
                    .parse()
                    .map_err(|JobsetNameError { text: found }| EntryError::Jobset { found })?,
                job: JobName::new(fields.string("job")?),
                signature: fields.string("signature")?,
            }),
            false => None,
        };
        let unused = match fields.0.contains_key("unused") {
            true => Some(fields.string("unused")?),
            false => None,
        };
        if let Some(attribute) = fields.0.into_keys().next() {
            return Err(EntryError::Unknown { attribute });
        }
        let Ok(depth) = u32::try_from(depth) else {
            return Err(EntryError::Number { attribute: "depth", found: depth });
        };
        if commit.len() != 40 || !commit.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(EntryError::Commit { found: commit });
        }
        Ok(Self { path, nar_hash, key, depth, commit, time, tier, maker, unused })
    }

    fn to_data(&self, dir: &StoreDir) -> Data {
        let mut attributes = vec![
            ("path", Data::from(dir.display(&self.path))),
            ("narHash", Data::from(self.nar_hash.to_string())),
            ("key", Data::from(self.key.to_string())),
            ("depth", Data::Integer(u64::from(self.depth))),
            ("commit", Data::from(self.commit.as_str())),
            ("time", Data::Integer(self.time)),
            ("tier", Data::from(self.tier.name())),
        ];
        if let Some(maker) = &self.maker {
            attributes.extend([
                ("jobset", Data::from(maker.jobset.as_str())),
                ("job", Data::from(maker.job.as_str())),
                ("signature", Data::from(maker.signature.as_str())),
            ]);
        }
        if let Some(reason) = &self.unused {
            attributes.push(("unused", Data::from(reason.as_str())));
        }
        Data::set(attributes)
    }
}

/// The attributes of an entry that have not been read yet.
struct Fields(BTreeMap<String, Data>);

impl Fields {
    fn take(&mut self, attribute: &'static str) -> Result<Data, EntryError> {
        self.0.remove(attribute).ok_or(EntryError::Missing { attribute })
    }

    fn string(&mut self, attribute: &'static str) -> Result<String, EntryError> {
        match self.take(attribute)? {
            Data::String(text) => Ok(text),
            other @ (Data::Null
            | Data::Bool(_)
            | Data::Integer(_)
            | Data::List(_)
            | Data::Set(_)) => {
                Err(EntryError::Type { attribute, expected: "a string", found: other.kind() })
            }
        }
    }

    fn integer(&mut self, attribute: &'static str) -> Result<u64, EntryError> {
        match self.take(attribute)? {
            Data::Integer(number) => Ok(number),
            other @ (Data::Null
            | Data::Bool(_)
            | Data::String(_)
            | Data::List(_)
            | Data::Set(_)) => {
                Err(EntryError::Type { attribute, expected: "an integer", found: other.kind() })
            }
        }
    }
}

impl Tier {
    /// Returns the tier's name, as it stands in a pointer.
    pub fn name(self) -> &'static str {
        match self {
            Self::DefaultBranch => "default-branch",
            Self::Branch => "branch",
            Self::PullRequest => "pull-request",
            Self::Fork => "fork",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Tier {
    type Err = TierError;

    fn from_str(text: &str) -> Result<Self, TierError> {
        [Self::DefaultBranch, Self::Branch, Self::PullRequest, Self::Fork]
            .into_iter()
            .find(|tier| tier.name() == text)
            .ok_or_else(|| TierError { found: text.to_owned() })
    }
}

#[cfg(test)]
mod tests;
