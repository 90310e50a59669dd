//! Stub.

pub mod git;
pub mod shadow;
