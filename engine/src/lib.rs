//! One jobset from reference to result: lock, shadow, evaluate, plan, build, act.
//!
//! No HTTP server and no database: what has to be remembered lies in files below the repository's git directory
//! ([`state`]), and where whoever runs it wants ([`records`]). Start at [`run::open`].

mod aggregate;
pub mod audit;
mod build;
pub mod caches;
pub mod cancel;
mod candidates;
pub mod choose;
mod connections;
pub mod declaration;
mod digest;
mod dropped;
pub mod eval;
mod evaluations;
pub mod event;
mod exposure;
pub mod hold;
mod inputs;
pub mod jobset;
mod kept;
pub mod local_paths;
mod owed;
mod plan;
mod pointers;
mod post_build;
pub mod project;
pub mod records;
pub mod report;
pub mod repositories;
mod restored;
mod roots;
pub mod run;
mod shadow_contents;
mod shadowing;
pub mod signing;
pub mod state;
pub mod statuses;
pub mod store_references;
mod success;

pub use build::{BuildLimits, Class, Scheduler, Standing};

#[cfg(test)]
mod testing;
