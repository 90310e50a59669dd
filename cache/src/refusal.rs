//! Why a set is not restored. The build then starts clean; it is never wrong.

use std::io;
use std::path::{Path, PathBuf};

use crate::manifest::ManifestError;
use crate::own_paths::Doubt;
use crate::relative::RelativePath;
use crate::segment::SegmentError;

/// Why a set is not restored.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The build was given none.
    #[error("no cache was given")]
    NoCache,
    /// The path given does not exist.
    #[error("`{}` does not exist", .0.display())]
    Absent(PathBuf),
    /// The cache has other sets only.
    #[error("`{}` has no such set", .0.display())]
    NoSet(PathBuf),
    /// Something else than a cache.
    #[error("`{}` was not made by levain-cache", .0.display())]
    NotACache(PathBuf),
    /// Made by a later version.
    #[error("`{}` has format {found}, newer than this version reads", .path.display())]
    Newer {
        /// The cache.
        path: PathBuf,
        /// Its format.
        found: String,
    },
    /// Made by an earlier version.
    #[error("`{}` has format {found}, older than this version reads", .path.display())]
    Older {
        /// The cache.
        path: PathBuf,
        /// Its format.
        found: String,
    },
    /// The manifest cannot be used.
    #[error("the manifest cannot be used: {0}")]
    Manifest(#[from] ManifestError),
    /// The manifest's compressed form cannot be read.
    #[error("the manifest is damaged: {0}")]
    Damaged(io::Error),
    /// The archive cannot be used.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The user's own key differs.
    #[error("it was made with key `{recorded}`, this build has `{here}`")]
    Key {
        /// The set's.
        recorded: String,
        /// This build's.
        here: String,
    },
    /// The build is at another place, which most tools' outputs mention.
    #[error("it was made in `{recorded}`, this build is in `{}`\nhint: build at the same place every time, or say `--relocatable` if the tool records no absolute paths", .here.display())]
    Moved {
        /// Where it was made.
        recorded: String,
        /// Where this build is.
        here: PathBuf,
    },
    /// What the build has unpacked beside the sources differs.
    #[error("what stands beside the sources in `{}` is not what it was, and no time can be set there\nhint: make the directory above the sources' directory, and build in it by name", .0.display())]
    Beside(PathBuf),
    /// A new source may be found before another one.
    #[error("the new source {0:?} may hide another, which the tool does not notice")]
    Hiding(RelativePath),
    /// Files name an output of the build that made the set, and this build has none to put there.
    #[error(
        "its files name the output `{name}` as `{recorded}`, and this build's is not like that"
    )]
    Output {
        /// The output.
        name: String,
        /// What they call it.
        recorded: String,
    },
    /// Files hold a path of the build that made the set, which the present build does not have.
    #[error("{0}; `allowOwnPaths` in the job's settings would restore it all the same")]
    OwnPath(Doubt),
    /// The same, in a set that does not say where.
    #[error("its files name outputs of the build that made it")]
    Unsaid,
    /// A definition file differs.
    #[error("the definition file {path:?} is {how}")]
    Definition {
        /// The file.
        path: RelativePath,
        /// New, changed or gone.
        how: &'static str,
    },
    /// A source is gone, and the tool would go on using what was made from it.
    #[error("the source {first:?} is gone{}", and_more(*count))]
    Gone {
        /// The first.
        first: RelativePath,
        /// How many are gone.
        count: usize,
    },
    /// Sources may be gone behind a link, and the tool would go on using what was made from them.
    #[error("the link {0:?} to a directory is changed, new or gone")]
    Relinked(RelativePath),
    /// A changed link leaves the sources, so nothing tells the tool that what it finds there is new.
    #[error("the changed link {0:?} leads out of the sources, where no time can be set")]
    SourceLink(RelativePath),
    /// A link that must not be made.
    #[error(
        "the link {path:?} leads out of the tree, to `{target}`\nhint: allow it with `--outside-link` if the target is the same in every build"
    )]
    Link {
        /// The link.
        path: RelativePath,
        /// What it says.
        target: String,
    },
    /// More bytes than allowed.
    #[error(
        "it has {size} bytes, the budget is {budget}\nhint: raise `--budget` if that is intended"
    )]
    Large {
        /// Its size.
        size: u64,
        /// What is allowed.
        budget: u64,
    },
    /// More files than allowed.
    #[error("it has {count} entries, at most {most} are accepted")]
    Many {
        /// How many it has.
        count: usize,
        /// What is allowed.
        most: usize,
    },
    /// Something that cannot be replaced is where a file or directory of the set belongs.
    #[error("{what} is in the way at {path:?}")]
    InTheWay {
        /// Where.
        path: RelativePath,
        /// What.
        what: &'static str,
    },
    /// The clock runs before the files' times.
    #[error("the clock is before the times of the files in the cache, so nothing would look newer")]
    Clock,
    /// The system refused.
    #[error("cannot {action} `{}`: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Refusal {
    /// Returns a conversion for an action on a path.
    pub fn on(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Refusal {
        let path = path.to_path_buf();
        move |source| Refusal::Io { action, path, source }
    }

    /// Says whether something is wrong with the cache or the machine, rather than that this build
    /// has no use for the cache.
    pub fn is_fault(&self) -> bool {
        match self {
            Refusal::NoCache
            | Refusal::Absent(_)
            | Refusal::NoSet(_)
            | Refusal::Older { .. }
            | Refusal::Key { .. }
            | Refusal::Moved { .. }
            | Refusal::Beside(_)
            | Refusal::Hiding(_)
            | Refusal::Output { .. }
            | Refusal::OwnPath(_)
            | Refusal::Unsaid
            | Refusal::Definition { .. }
            | Refusal::Gone { .. }
            | Refusal::Relinked(_)
            | Refusal::SourceLink(_) => false,
            Refusal::NotACache(_)
            | Refusal::Newer { .. }
            | Refusal::Manifest(_)
            | Refusal::Damaged(_)
            | Refusal::Segment(_)
            | Refusal::Link { .. }
            | Refusal::Large { .. }
            | Refusal::Many { .. }
            | Refusal::InTheWay { .. }
            | Refusal::Clock
            | Refusal::Io { .. } => true,
        }
    }
}

fn and_more(count: usize) -> String {
    if count > 1 { format!(", and {} more", count - 1) } else { String::new() }
}
