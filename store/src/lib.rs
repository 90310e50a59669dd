//! Nix data types, and the one place that talks to Nix.
//!
//! The types (store paths, hashes, derivations, NARs) are pure. A [`Store`] knows where the files
//! are; [`Store::connect`] gives a [`Connection`], which builds and answers questions through Nix's
//! worker protocol; a [`NixProgram`] evaluates. All of it blocks, and nothing here knows flakes,
//! jobs, git or forges.
//!
//! Start at [`Store`] and [`StorePath`].

mod ansi;
pub mod aterm;
pub mod base32;
pub mod compare;
pub mod config;
pub mod content_address;
mod counted;
pub mod derivation;
pub mod derivation_hash;
pub mod digest;
pub mod hash;
pub mod machines;
pub mod nar;
pub mod nix;
pub mod protocol;
pub mod scratch;
mod store;
pub mod store_path;
pub mod tree;
mod twin;
mod visible;

pub use ansi::strip_ansi;
pub use aterm::AtermError;
pub use config::{Remote, StoreConfig, StoreConfigError};
pub use counted::{Count, counted};
pub use derivation::{Derivation, DerivationOutput, UnknownOutputs};
pub use derivation_hash::{DerivationHash, DerivationHashError, Finished};
pub use digest::{Digest, DigestError, HashAlgorithm, HashFormat};
pub use hash::{HashError, NarHash};
pub use nar::NarError;
pub use nix::{
    AllowedPath, BuildSettings, BuildSettingsError, CommitView, Confinement, Deadline,
    DecliningHook, DirectProtocol, EvalError, EvalFailure, EvalRequest, EvalSession, Exceeded,
    Exit, FetchRequest, Network, NixProgram, NixProgramError, NixVersion, ProcessLimits, Refusal,
    SessionError, ShowError, ShownCommit,
};
pub use protocol::{
    BuildEvent, BuildOptions, BuildResult, BuildStatus, Closer, ConnectError, Connection, Copied,
    CopyError, Missing, PathInfo, ProtocolError,
};
pub use store::{Store, StoreError};
pub use store_path::{DerivationPath, StoreDir, StorePath, StorePathError};
pub use twin::TwinError;
pub use visible::{is_hidden, visible, visible_json, visible_line, visible_name};
