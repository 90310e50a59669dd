//! One jobset from reference to result: lock, shadow, evaluate, plan, build, act.
//!
//! No HTTP server and no database: what has to be remembered lies in files
//! below the repository's git directory ([`state`]). Start at [`run::run`].

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
pub mod jobset;
mod plan;
mod pointers;
mod post_build;
pub mod progress;
pub mod project;
pub mod report;
pub mod repositories;
mod roots;
pub mod run;
mod shadowing;
pub mod state;
mod statuses;
pub mod store_references;
mod success;
