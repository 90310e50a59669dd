//! What levain does to the outside: shadow branches in git, statuses on forges, and their texts.
//!
//! Knows nothing of evaluation, planning or HTTP serving. Start at [`shadow`] or [`status`].

pub mod forge;
pub mod git;
pub mod pull_requests;
pub mod shadow;
pub mod status;
pub mod template;
