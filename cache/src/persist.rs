//! Keeps what a successful build made, for the next build to start from.
//!
//! What stood there before the tool started is a source and is never kept, wherever it stands. The
//! same files, sources and words give the same bytes.

mod collect;
mod prune;
mod write;

use std::path::PathBuf;

use crate::build_outputs::BuildOutput;
use crate::glob::Glob;
use crate::own_paths::{Doubt, OwnPathRule};
use crate::refusal::Refusal;
use crate::relative::RelativePath;
use crate::scan::ScanError;
use crate::segment::SegmentError;
use crate::set_name::SetName;
use crate::state::StateError;

pub use prune::Pruned;
pub use write::persist;

/// What to keep, and where.
#[derive(Debug)]
pub struct Request {
    /// The set.
    pub set: SetName,
    /// What to keep: files and directories, below `into` or absolute.
    pub paths: Vec<PathBuf>,
    /// The sources' directory, absolute.
    pub source: PathBuf,
    /// The outputs' directory, absolute.
    pub into: PathBuf,
    /// Where `restore` and `persist` of a build meet.
    pub state: PathBuf,
    /// The cache output to write to.
    pub to: PathBuf,
    /// Nix's store directory.
    pub store: PathBuf,
    /// This build's own outputs, which the cache must not refer to.
    pub outputs: Vec<BuildOutput>,
    /// Must be the same on restore.
    pub key: Option<String>,
    /// What the next build is told about where the set comes from.
    pub origin: Vec<(String, String)>,
    /// Most bytes to keep, if there is a limit.
    pub budget: Option<Budget>,
    /// What to do about a path that does not exist.
    pub missing: MissingRule,
    /// Paths that are neither sources nor outputs.
    pub exclude: Vec<Glob>,
    /// Places outside that links may lead to.
    pub outside_links: Vec<PathBuf>,
    /// How hard to compress.
    pub level: i32,
    /// What to do if the build's own outputs are named.
    pub own_paths: OwnPathRule,
}

/// How large a set may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Most bytes to keep, before compression.
    pub most: u64,
    /// What becomes of a larger set.
    pub rule: BudgetRule,
}

/// What becomes of a set that is larger than its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetRule {
    /// Nothing is kept. Many tools never look whether what they made is still there.
    Drop,
    /// What no build has used for longest is left out: the tool makes again what is missing.
    Prune,
}

/// What to do about a path that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingRule {
    /// It is an error: the name may be wrong.
    Refuse,
    /// The tool does not always make it.
    Allow,
}

/// What was kept.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Persisted {
    /// Files, with all their names.
    pub files: usize,
    /// Bytes, before compression.
    pub bytes: u64,
    /// Bytes in the cache.
    pub stored: u64,
    /// Bytes in the cache that were taken over from the one that the build started from.
    pub reused: u64,
    /// Sources recorded.
    pub sources: usize,
    /// Whether the sources were recorded only now, because `restore` was not called.
    pub late: bool,
    /// The budget, if the set is larger, so that nothing was kept.
    pub dropped: Option<u64>,
    /// Where one of the build's own outputs is named; unless that is allowed, nothing was kept.
    pub doubt: Option<Doubt>,
    /// What was left out to stay within the budget.
    pub pruned: Pruned,
    /// Files left out because they would make the cache refer to the one the build started from.
    pub clinging: Vec<RelativePath>,
}

/// Why nothing was kept.
#[derive(Debug, thiserror::Error)]
pub enum PersistError {
    /// The system refused.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// What `restore` recorded cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The archive cannot be written.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The cache that the build started from cannot be read any more.
    #[error("cannot read the cache that this build started from")]
    Previous(#[source] Box<Refusal>),
    /// A path to keep does not exist.
    #[error("`{}` does not exist in `{}`\nhint: check the name, or say `--optional` if the tool does not always make it", .path.display(), .into.display())]
    Missing {
        /// The path.
        path: PathBuf,
        /// Where it was looked for.
        into: PathBuf,
    },
    /// A path to keep is somewhere else.
    #[error("`{}` is not in `{}`\nhint: name the directory that holds it with `--into`", .path.display(), .into.display())]
    Outside {
        /// The path.
        path: PathBuf,
        /// Where it ought to be.
        into: PathBuf,
    },
    /// Something that is neither file nor directory nor link.
    #[error(
        "{path:?} is {what}, which cannot be kept\nhint: remove it before `persist`, or leave it out with `--exclude`"
    )]
    Special {
        /// Where.
        path: RelativePath,
        /// What.
        what: &'static str,
    },
    /// A link that `restore` would refuse.
    #[error(
        "the link {path:?} leads out of the tree, to `{target}`\nhint: allow it with `--outside-link` if the target is the same in every build, or leave it out with `--exclude`"
    )]
    Link {
        /// The link.
        path: RelativePath,
        /// What it says.
        target: String,
    },
    /// The directories are not those given to `restore`.
    #[error("`restore` was given {what} `{}`, now it is `{}`\nhint: give both commands the same directories", .before.display(), .now.display())]
    Elsewhere {
        /// Source or into.
        what: &'static str,
        /// What `restore` was given.
        before: PathBuf,
        /// What `persist` is given.
        now: PathBuf,
    },
    /// The output exists and is no cache.
    #[error("`{}` exists and is no cache\nhint: name a path of its own with `--to`, such as the output `cache`", .0.display())]
    NotACache(PathBuf),
    /// The manifest mentions the cache that the build started from.
    #[error("file names, the key or the origin mention `{}`, the cache that this build started from\nhint: leave such files out with `--exclude`, for otherwise every cache would keep all older ones alive", .0.display())]
    Clinging(PathBuf),
}
