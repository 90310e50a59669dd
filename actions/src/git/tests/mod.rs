//! Tests against real git in temporary directories.

mod lock;
mod merging;
mod overlay;
mod provenance;
mod references;
mod remote;
mod repository;
mod sources;
mod tree;
