//! Tests against real git in temporary directories.

mod lock;
mod overlay;
mod references;
mod remote;
mod repository;
mod sources;
mod tree;
