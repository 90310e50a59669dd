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
pub mod derivation;
pub mod derivation_hash;
pub mod digest;
pub mod hash;
pub mod nar;
pub mod nix;
pub mod protocol;
mod store;
pub mod store_path;
pub mod tree;
mod twin;

pub use ansi::{keep_colours, strip_ansi};
pub use aterm::AtermError;
pub use config::{Remote, StoreConfig, StoreConfigError};
pub use derivation::{Derivation, DerivationOutput};
pub use derivation_hash::{DerivationHash, DerivationHashError, Finished};
pub use digest::{Digest, DigestError, HashAlgorithm, HashFormat};
pub use hash::{HashError, NarHash};
pub use nar::NarError;
pub use nix::{
    Confinement, EvalError, EvalFailure, EvalRequest, Exit, NixProgram, NixProgramError, NixVersion,
};
pub use protocol::{
    BuildEvent, BuildOptions, BuildResult, BuildStatus, Closer, ConnectError, Connection, Copied,
    CopyError, PathInfo, ProtocolError,
};
pub use store::{Store, StoreError};
pub use store_path::{DerivationPath, StoreDir, StorePath, StorePathError};
pub use twin::TwinError;
