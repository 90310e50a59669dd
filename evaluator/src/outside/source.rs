//! What an evaluation may be given besides files: trees from elsewhere, and what the store knows.
//!
//! Files alone can answer neither where a repository's commits are nor what a store object refers
//! to; whoever starts an evaluation may know. Start at [`Fetcher`].

use std::rc::Rc;

use levain_store::tree::Tree;

use crate::lang::io::{Fetch, FetchValue, IoError};

/// Brings trees from elsewhere without writing them anywhere.
pub trait Fetcher {
    /// Returns the tree that is asked for, or nothing if it is none of this fetcher's.
    fn fetch(&self, request: &Fetch) -> Result<Option<FetchedTree>, IoError>;
}

/// A tree from elsewhere.
pub struct FetchedTree {
    /// Its files.
    pub tree: Rc<dyn Tree>,
    /// What else is known about it (`rev`, `revCount`, `lastModified` …), but not its hash.
    pub attributes: Vec<(String, FetchValue)>,
}

/// Knows what objects of the store refer to.
pub trait References {
    /// Returns the whole paths that the store object at a whole path refers to; nothing if there is
    /// no such object. Not being able to tell is an error: results must not depend on that.
    fn references(&self, path: &str) -> Result<Option<Vec<String>>, IoError>;
}

/// Knows nothing, and has nothing.
pub(super) struct Nothing;

impl Fetcher for Nothing {
    fn fetch(&self, _request: &Fetch) -> Result<Option<FetchedTree>, IoError> {
        Ok(None)
    }
}

impl References for Nothing {
    fn references(&self, _path: &str) -> Result<Option<Vec<String>>, IoError> {
        Ok(None)
    }
}
