//! Keeps what a build made for the next build of the same job, inside builds of Nix.
//!
//! A *cache output* holds named *sets* of files. [`persist`] writes a set after a successful build;
//! [`restore`] puts it back at the start of the next and gives every source the time that makes the
//! tool see exactly what changed. The rules, and why they are what they are, stand in
//! `docs/cache-format.md`.
//!
//! Knows nothing of Nix but the look of store paths; runs no programs; uses no network, no
//! configuration and no home directory.

mod build_outputs;
mod digest;
pub mod glob;
pub mod gone;
mod layout;
mod links;
mod manifest;
mod own_paths;
mod persist;
mod place;
mod references;
mod refusal;
mod relative;
pub mod replay;
mod restore;
mod scan;
mod segment;
mod set_name;
mod sources;
pub mod state;
mod text;
mod threads;
mod time;

pub use build_outputs::{BuildOutput, NamedOutput};
pub use digest::Digest;
pub use layout::{manifest, sets};
pub use manifest::{
    Content, Entry, EntryKind, Manifest, ManifestError, Problem, Segment, Source, SourceKind,
};
pub use own_paths::{Doubt, Form, Own, OwnPathRule};
pub use persist::Request as PersistRequest;
pub use persist::{Budget, BudgetRule, MissingRule, PersistError, Persisted, Pruned, persist};
pub use references::Mentions;
pub use refusal::Refusal;
pub use relative::{PathError, RelativePath};
pub use restore::Request as RestoreRequest;
pub use restore::{ExtraRule, Outcome, PlaceRule, RestoreError, Restored, restore};
pub use scan::ScanError;
pub use segment::SegmentError;
pub use set_name::{SetName, SetNameError};
pub use time::Time;
