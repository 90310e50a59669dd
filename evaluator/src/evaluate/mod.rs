//! Evaluation: from a locked flake to its jobs.
//!
//! [`Evaluator`] is the whole contract; [`NixEvaluator`] is the implementation that asks the `nix`
//! program. One broken job never fails an evaluation: it has its own [`JobError`], and
//! [`EvaluateError`] is left for what concerns the flake as a whole.

mod bisect;
mod document;
mod message;
mod nix;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use levain_store::{DerivationPath, NarHash, StoreDir, StorePath};
use serde::{Deserialize, Serialize};

use crate::attr_path::AttrPath;
use crate::flake_ref::LockedFlakeRef;
use crate::key::KeyOptions;

pub use document::DocumentError;
pub use nix::NixEvaluator;

/// Finds the jobs of locked flakes.
///
/// Pure: equal requests give equal evaluations, on any machine and at any time. Implementations
/// block.
pub trait Evaluator: Send + Sync {
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
    /// What the flake may do.
    pub limits: Limits,
}

/// What a flake may do while it is evaluated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Whether it may build derivations and read what they made.
    pub allow_import_from_derivation: bool,
    /// Directories that it may read beside the flake's repository: where that one borrows its
    /// objects from, for instance.
    pub readable: Vec<PathBuf>,
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
}

/// An attribute path, and what was found there.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluatedJob {
    /// The attribute path, see [`JobsOutput`] for where it begins.
    pub attr_path: AttrPath,
    /// The derivation, or why there is none.
    pub outcome: Result<JobDerivation, JobError>,
}

/// The derivation of a job.
#[derive(Debug, Clone, PartialEq)]
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
    /// It needs something to be built during evaluation, which is not allowed or failed.
    ImportFromDerivation,
    /// It was asked for, and there is no such attribute.
    Missing,
    /// Its `levain` attribute is not what levain reads.
    Options,
    /// Its output paths are not known before it is built.
    UnknownOutputs,
}

/// Why a flake as a whole has no jobs.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// There is no `flake.nix`.
    #[error(
        "no `flake.nix` in commit {} of `{}`\nhint: add and commit a `flake.nix`", .flake.revision, .flake.location.display()
    )]
    NotAFlake {
        /// The flake.
        flake: Box<LockedFlakeRef>,
    },
    /// The flake itself cannot be evaluated.
    #[error(
        "cannot evaluate commit {} of `{}`: {message}\nhint: `nix flake show` in a checkout of that commit shows the same", .flake.revision, .flake.location.display()
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
    /// Nix could not be started, or ended for a reason that has nothing to do with the flake.
    #[error("cannot ask nix")]
    NixProgram(#[source] Box<dyn std::error::Error + Send + Sync>),
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
            | Self::NixProgram(_)
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

fn backticked(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
