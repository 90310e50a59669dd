//! One jobset from reference to result: lock, shadow, evaluate, plan, build, act.
//!
//! No HTTP server and no database: what has to be remembered lies in files
//! below the repository's git directory ([`state`]). Start at [`run::run`].

pub mod build;
pub mod caches;
pub mod cancel;
pub mod candidates;
pub mod choose;
pub mod declaration;
mod digest;
pub mod eval;
pub mod evaluations;
pub mod jobset;
pub mod plan;
pub mod pointers;
pub mod post_build;
pub mod progress;
pub mod project;
pub mod report;
pub mod roots;
pub mod run;
pub mod shadowing;
pub mod state;
pub mod statuses;
pub mod success;
