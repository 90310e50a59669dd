//! What somebody may do with a project: the forge's words for it, which are levain's as well.
//!
//! Who may read sees runs and their logs; who may write approves, cancels and re-runs; who may administer changes
//! settings.

pub use levain_actions::forge::Right;
