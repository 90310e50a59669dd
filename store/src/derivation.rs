//! A derivation: everything that a build may depend on.
//!
//! Plain data; reading and writing `.drv` files is in [`crate::aterm`].

use std::collections::{BTreeMap, BTreeSet};

use crate::store_path::{DerivationPath, StorePath};

/// A derivation, as a `.drv` file holds it.
///
/// Builder, arguments and environment are bytes, because Nix strings are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Derivation {
    /// The outputs by name.
    pub outputs: BTreeMap<String, DerivationOutput>,
    /// The derivations whose outputs are inputs, each with the names of those outputs.
    pub input_derivations: BTreeMap<DerivationPath, BTreeSet<String>>,
    /// The store objects that are inputs as they are.
    pub input_sources: BTreeSet<StorePath>,
    /// The system to build on (`x86_64-linux`).
    pub system: String,
    /// The program that makes the outputs.
    pub builder: Vec<u8>,
    /// The arguments of the builder.
    pub args: Vec<Vec<u8>>,
    /// The environment of the builder.
    pub env: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// One output of a derivation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DerivationOutput {
    /// The output path; `None` if it is known only after the build.
    pub path: Option<StorePath>,
    /// The hash algorithm of a fixed output (`r:sha256`), or empty.
    pub hash_algorithm: String,
    /// The base-16 hash of a fixed output, or empty.
    pub hash: String,
}

impl Derivation {
    /// Returns the value of the variable `name`, if the builder gets it.
    pub fn env(&self, name: &str) -> Option<&[u8]> {
        self.env.get(name.as_bytes()).map(Vec::as_slice)
    }

    /// Returns whether the content of its output is fixed in advance.
    pub fn is_fixed_output(&self) -> bool {
        self.outputs.values().any(|output| !output.hash.is_empty())
    }
}
