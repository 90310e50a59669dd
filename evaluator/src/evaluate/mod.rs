//! Evaluation: from a locked flake to its jobs.
//!
//! [`JobEvaluator`] is the whole contract; [`NixEvaluator`] is the implementation that asks the `nix`
//! program. One broken job never fails an evaluation: it has its own [`JobError`], and
//! [`EvaluateError`] is left for what concerns the flake as a whole.

mod answers;
mod bisect;
mod derivations;
mod document;
mod fetched;
mod fetching;
mod interview;
mod limits;
mod message;
mod nix;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use levain_store::{DerivationPath, Exceeded, NarHash, StoreDir, StorePath};
use serde::{Deserialize, Serialize};

use crate::attr_path::AttrPath;
use crate::flake_ref::LockedFlakeRef;
use crate::inputs::LockedInput;
use crate::key::KeyOptions;
use crate::names::JobName;
use crate::pointer::Tier;

pub use document::DocumentError;
pub use limits::{Resources, Wishes};
pub use nix::{NixEvaluator, WithoutSandbox};

/// Finds the jobs of locked flakes.
///
/// Pure: equal requests give equal evaluations, on any machine and at any time. Implementations
/// block.
pub trait JobEvaluator: Send + Sync {
    /// Returns a text that changes whenever the answers might, for callers that keep them.
    fn identity(&self) -> String;

    /// Returns the jobs of a flake, with one error for each attribute that has one.
    fn evaluate(&self, request: &Request) -> Result<Evaluation, EvaluateError>;

    /// Returns the flake output `levainProject`, or nothing when there is none.
    fn declaration(
        &self,
        flake: &LockedFlakeRef,
        limits: &Limits,
    ) -> Result<Option<serde_json::Value>, EvaluateError>;
}

/// What to evaluate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The flake.
    pub flake: LockedFlakeRef,
    /// The system whose `checks` and `packages` count, where a flake names no jobs.
    pub system: String,
    /// Only the jobs at and below these paths; all when there is none.
    pub only: Option<Vec<AttrPath>>,
    /// The flake outputs whose jobs count, each one of [`OUTPUTS`]; those that name jobs when there is
    /// none.
    pub outputs: Option<Vec<String>>,
    /// What the flake may do.
    pub limits: Limits,
}

/// What a flake may do while it is evaluated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Whether it may build derivations and read what they made.
    pub allow_import_from_derivation: bool,
    /// Directories of links to store paths that are in use, see [`levain_store::ShownCommit::links`].
    pub links: Vec<PathBuf>,
    /// Inputs that are fetched before, with the operator's credentials: those of somebody who may
    /// have them.
    pub inputs: Vec<LockedInput>,
    /// The other inputs of the same lock file: the evaluation has to fetch them by itself.
    pub withheld: Vec<LockedInput>,
    /// How much less than the operator allows it may take.
    pub wishes: Wishes,
    /// What tells the project from others of this machine: the directory of its state. Without it nothing is remembered
    /// of what was fetched.
    pub project: Option<PathBuf>,
    /// How far the commit is trusted.
    pub tier: Tier,
}

/// The jobs of a flake.
///
/// As JSON it has everything but the repository's location, so that two clones of one commit give
/// the same text; what is read from JSON has an empty location.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "document::EvaluationText", try_from = "document::EvaluationText")]
pub struct Evaluation {
    /// The flake, with the NAR hash of its tree.
    pub flake: LockedFlakeRef,
    /// The directory of the store in which the derivations are.
    pub store_dir: StoreDir,
    /// The whole store path of the flake's tree.
    pub source: String,
    /// The flake output that names the jobs.
    pub output: JobsOutput,
    /// The jobs, sorted by attribute path, no two with the same.
    pub jobs: Vec<EvaluatedJob>,
}

/// The flake output that names the jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum JobsOutput {
    /// `levainJobs`; attribute paths begin inside it.
    LevainJobs,
    /// `hydraJobs`; attribute paths begin inside it.
    HydraJobs,
    /// `checks` and `packages` of one system; attribute paths begin with these words.
    ChecksAndPackages,
    /// The outputs that the request names; attribute paths begin with their names.
    Declared,
}

/// The flake outputs in which jobs can be found, if a request names them.
pub const OUTPUTS: [&str; 10] = [
    "checks",
    "darwinConfigurations",
    "devShells",
    "formatter",
    "homeConfigurations",
    "hydraJobs",
    "legacyPackages",
    "levainJobs",
    "nixosConfigurations",
    "packages",
];

/// An attribute path, and what was found there.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluatedJob {
    /// The attribute path, see [`JobsOutput`] for where it begins.
    pub attr_path: AttrPath,
    /// The derivation, or why there is none.
    pub outcome: Result<JobDerivation, JobError>,
}

/// The derivation of a job.
///
/// Made by [`JobDerivation::new`] only: name, system and outputs are what the derivation's own file
/// says. A flake chooses the derivation, and says `levain` and `description`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct JobDerivation {
    /// The derivation's name.
    pub name: String,
    /// The system that it is built on.
    pub system: String,
    /// The derivation.
    pub derivation: DerivationPath,
    /// The output paths by output name.
    pub outputs: BTreeMap<String, StorePath>,
    /// What the job says about its key.
    pub levain: KeyOptions,
    /// `meta.description`, if it has one.
    pub description: Option<String>,
    /// The attribute paths of the jobs that it is an aggregate of; none for all other jobs.
    pub constituents: Vec<JobName>,
    /// What of the job could not be read and is left out, for people.
    pub doubts: Vec<String>,
}

/// Why an attribute gives no job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    /// What kind of error it is.
    #[serde(flatten)]
    pub kind: JobErrorKind,
    /// The message for people, which may have several lines and ends with a hint if there is one.
    pub message: String,
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for JobError {}

impl JobError {
    /// Returns whether the same flake gives the same error at any time, and on any machine.
    pub fn is_lasting(&self) -> bool {
        match self.kind {
            JobErrorKind::Machine
            | JobErrorKind::Limit
            | JobErrorKind::Fetch
            | JobErrorKind::FailedImport
            | JobErrorKind::NoSuchDerivation
            | JobErrorKind::Missing => false,
            JobErrorKind::Evaluation
            | JobErrorKind::NotADerivation { .. }
            | JobErrorKind::TooDeep
            | JobErrorKind::TooMany
            | JobErrorKind::Repeated
            | JobErrorKind::SameName
            | JobErrorKind::ImportFromDerivation
            | JobErrorKind::Constituents
            | JobErrorKind::ContentAddressed
            | JobErrorKind::Impure
            | JobErrorKind::UnknownOutputs => true,
        }
    }
}

/// The kinds of errors that an attribute can have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum JobErrorKind {
    /// Its evaluation fails; the message is Nix's.
    Evaluation,
    /// It is something else than a derivation.
    NotADerivation {
        /// What it is: `a string`.
        found: String,
    },
    /// Attribute sets nest deeper than 16.
    TooDeep,
    /// There are too many attributes.
    TooMany,
    /// The attribute set stands in itself.
    Repeated,
    /// Several attributes are shown by this name.
    SameName,
    /// It needs something to be built during evaluation, which is not allowed.
    ImportFromDerivation,
    /// A limit was reached: it says nothing about the job on another machine.
    Limit,
    /// Something could not be fetched: it may be another time.
    Fetch,
    /// It needs something that was built during evaluation, and could not be.
    FailedImport,
    /// Its evaluation fails, and perhaps not on another machine or at another time.
    Machine,
    /// It was asked for, and there is no such attribute.
    Missing,
    /// It is an aggregate of jobs that do not exist.
    Constituents,
    /// Its `drvPath` is not the path of a derivation in the store.
    NoSuchDerivation,
    /// It is a content-addressed derivation.
    ContentAddressed,
    /// It is an impure derivation.
    Impure,
    /// Its output paths are not known before it is built, for another reason.
    UnknownOutputs,
}

/// Why a flake as a whole has no jobs.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// There is no sandbox, and nobody vouches for the commit.
    #[error(
        "pull requests, and commits that nobody vouches for, are evaluated in a sandbox, and `bwrap` is not on the PATH\nhint: install bubblewrap, or pass `--unconfined` if you trust the author"
    )]
    NoSandbox,
    /// There is no `flake.nix`.
    #[error(
        "no `flake.nix` in commit {} of `{}`\nhint: {}", .flake.revision, .flake.location.display(), instead_of_flake(.below)
    )]
    NotAFlake {
        /// The flake.
        flake: Box<LockedFlakeRef>,
        /// The directories that have one.
        below: Vec<String>,
    },
    /// The flake itself cannot be evaluated.
    #[error(
        "cannot evaluate commit {} of `{}`: {}", .flake.revision, .flake.location.display(), hinted(.message)
    )]
    FlakeFailed {
        /// The flake.
        flake: Box<LockedFlakeRef>,
        /// Nix's message.
        message: String,
    },
    /// The lock file does not say which inputs to take.
    #[error(
        "the lock file of commit {} of `{}` is {state}: {message}\nhint: run `nix flake lock`, commit `flake.lock`", .flake.revision, .flake.location.display()
    )]
    LockFile {
        /// The flake.
        flake: Box<LockedFlakeRef>,
        /// What is wrong with it.
        state: LockFileState,
        /// Nix's message.
        message: String,
    },
    /// The tree is not the one that was asked for.
    #[error(
        "the tree of `{flake}` has the NAR hash `{found}`, expected `{expected}`\nhint: leave `narHash` out if the commit is what counts"
    )]
    NarHashMismatch {
        /// The flake.
        flake: Box<LockedFlakeRef>,
        /// The hash that was asked for.
        expected: NarHash,
        /// The hash that the tree has.
        found: NarHash,
    },
    /// The output that names the jobs is something else.
    #[error(
        "flake output `{output}`: expected an attribute set, found {found}\nhint: write `{output} = {{ NAME = derivation; }};`"
    )]
    OutputNotAnAttributeSet {
        /// The output's name.
        output: String,
        /// What it is: `a list`.
        found: String,
    },
    /// No output names a job.
    #[error(
        "the flake has no jobs; looked at {}\nhint: add the flake output `levainJobs`", backticked(.tried)
    )]
    NoJobs {
        /// The outputs that were looked at.
        tried: Vec<String>,
    },
    /// A limit was reached.
    #[error(transparent)]
    Limit(#[from] Exceeded),
    /// There are too many jobs.
    #[error(
        "the flake has {found} jobs, more than the {limit} that it may have\nhint: raise the limit with `--evaluation-jobs N`, and `evaluation.maxJobs` in `levainProject` if that is lower"
    )]
    TooManyJobs {
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// Nix could not be started, or ended for a reason that has nothing to do with the flake.
    #[error("cannot ask nix")]
    NixProgram(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store does not say what the evaluation has put there.
    #[error("cannot read the derivations of the jobs")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer is not what the question was for.
    #[error(
        "cannot read the answer of the evaluation: {what}\nhint: this is a bug in levain, or a version of Nix that it does not know"
    )]
    Unreadable {
        /// What is wrong with it.
        what: String,
    },
}

impl EvaluateError {
    /// Returns whether the flake is to blame, as far as can be told, and not this machine.
    pub fn is_the_flakes(&self) -> bool {
        match self {
            Self::NotAFlake { .. }
            | Self::LockFile { .. }
            | Self::NarHashMismatch { .. }
            | Self::OutputNotAnAttributeSet { .. }
            | Self::NoJobs { .. } => true,
            Self::FlakeFailed { message, .. } => !message::may_be_the_machines(message),
            Self::Limit(_)
            | Self::TooManyJobs { .. }
            | Self::NixProgram(_)
            | Self::NoSandbox
            | Self::Store(_)
            | Self::Unreadable { .. } => false,
        }
    }

    /// Returns whether it makes sense to try once more later: something is away that an evaluation fetches from.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::FlakeFailed { message, .. } => message::is_outage(message),
            Self::NoSandbox
            | Self::NotAFlake { .. }
            | Self::LockFile { .. }
            | Self::NarHashMismatch { .. }
            | Self::OutputNotAnAttributeSet { .. }
            | Self::NoJobs { .. }
            | Self::Limit(_)
            | Self::TooManyJobs { .. }
            | Self::NixProgram(_)
            | Self::Store(_)
            | Self::Unreadable { .. } => false,
        }
    }

    /// Returns the error in a line for those who know the commit: without it, without where the
    /// repository lies on this machine, and without a hint.
    pub fn brief(&self) -> String {
        let text = match self {
            Self::NotAFlake { .. } => "there is no `flake.nix`".to_owned(),
            Self::FlakeFailed { message, .. } => format!("cannot be evaluated: {message}"),
            Self::LockFile { state, .. } => format!("the lock file is {state}"),
            Self::NarHashMismatch { found, expected, .. } => {
                format!("the tree has the NAR hash `{found}`, expected `{expected}`")
            }
            Self::OutputNotAnAttributeSet { .. }
            | Self::NoJobs { .. }
            | Self::Limit(_)
            | Self::TooManyJobs { .. }
            | Self::NixProgram(_)
            | Self::NoSandbox
            | Self::Store(_)
            | Self::Unreadable { .. } => self.to_string(),
        };
        text.lines().next().unwrap_or_default().to_owned()
    }
}

/// What is wrong with a lock file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockFileState {
    /// There is none, and the flake has inputs.
    Missing,
    /// It does not fit the inputs in `flake.nix`.
    Stale,
}

impl fmt::Display for LockFileState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Stale => "out of date",
        })
    }
}

/// Returns the message, with a hint if it has none.
fn hinted(message: &str) -> String {
    // Elsewhere, Nix has nothing to complain of.
    if message.contains("\nhint: ") || message::names_the_machine(message) {
        return message.to_owned();
    }
    format!("{message}\nhint: `nix flake show` in a checkout of that commit shows the same")
}

fn instead_of_flake(below: &[String]) -> String {
    match below.first() {
        None => "add and commit a `flake.nix`".to_owned(),
        Some(directory) => format!(
            "flakes in directories (`dir=`) are not supported: `{directory}/flake.nix` has to be used by a `flake.nix` at the root"
        ),
    }
}

fn backticked(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
