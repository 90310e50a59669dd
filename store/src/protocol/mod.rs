//! A client of Nix's worker protocol: the daemon's socket, or a child `nix-daemon --stdio`.
//!
//! One [`Connection`] answers one question after the other, and blocks. It speaks protocol 1.34
//! (Nix 2.8) and 1.35, which every later Nix accepts. The layers, from below: `wire` (integers and
//! strings), `frames` (what the daemon says while it works), `handshake`, `operations` (one question
//! and one answer), `build` and `copy`.

mod build;
mod connection;
mod copy;
mod elsewhere;
mod error;
mod frames;
mod handshake;
mod operations;
mod reason;
mod wire;

pub use build::{BuildEvent, BuildResult, BuildStatus};
pub use connection::{Closer, Connection};
pub use copy::{Copied, CopyError};
pub use error::{ConnectError, ProtocolError};
pub use operations::{BuildOptions, Missing, PathInfo};

#[cfg(test)]
mod tests;
