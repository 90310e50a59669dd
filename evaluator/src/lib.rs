//! Turns a locked jobset and a cache pointer into jobs.
//!
//! The result depends on these two and on nothing else. Knows no git, no forge, no network and no
//! database; builds nothing. Nix is reached through `levain-store` only.
//!
//! Start at [`JobEvaluator`], which finds the jobs of a [`LockedFlakeRef`]; [`Pointer`] reads and
//! writes the file that names their caches, and [`key::compute`] says whether a cache fits.

pub mod attr_path;
pub mod embedded;
pub mod evaluate;
pub mod flake_ref;
pub mod inputs;
pub mod key;
pub mod lang;
pub mod likeness;
mod mask;
pub mod names;
pub mod nix_data;
pub mod outside;
mod percent;
pub mod pointer;

pub use attr_path::{AttrPath, AttrPathError};
pub use evaluate::{
    EvaluateError, EvaluatedJob, Evaluation, JobDerivation, JobError, JobErrorKind, JobEvaluator,
    JobsOutput, Limits, LockFileState, NixEvaluator, Request,
};
pub use flake_ref::{FlakeLocation, FlakeUrl, LockedFlakeRef, LockedFlakeRefError};
pub use inputs::{LockedInput, Origin};
pub use key::{Key, KeyChange, KeyDocument, KeyError, KeyOptions};
pub use names::{JobName, JobsetName, JobsetNameError};
pub use nix_data::{Data, DataError};
pub use pointer::{Entry, EntryError, Maker, Pointer, PointerError, Tier};
