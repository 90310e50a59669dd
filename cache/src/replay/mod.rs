//! Skips commands of a build that would do again exactly what they did before.
//!
//! Every program that a build runs becomes a *transcript*: what it was given, what it saw, what it did. Before a program
//! starts, transcripts of the same given things are looked for; if everything that one saw is as it was, what it did is
//! done and the program is not run. `ARCHITECTURE.md` says why that equals running it. Start at [`replay`].

mod account;
mod clock;
mod command;
mod compare;
mod doing;
mod ending;
mod explain;
mod given;
mod grounds;
mod own;
mod pack;
mod paths;
mod program;
mod reason;
mod recorder;
mod run;
mod transcript;
mod world;

pub use explain::{CommandFate, ExplainError, ExplainedCommand, Explanation};
pub use run::{ReplayError, Replayed, Request, replay};

/// Where in a cache the pack is.
pub const PACK: &str = "replay";
