//! Stub.

pub mod forge;
pub mod git;
pub mod shadow;
pub mod status;
pub mod template;
