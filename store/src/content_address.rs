//! Where a content-addressed object lies: its path follows from its content, name and references.
//!
//! Used to check what Nix answers, and to know a path before asking. Start at [`make_source_path`].

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::hash::NarHash;
use crate::store_path::{StoreDir, StorePath, StorePathError};

/// Returns the path of the object named `name` whose NAR has the SHA-256 `hash`, and which refers to
/// `references` (itself not among them).
///
/// Nix calls the method `fixed:r:sha256`. Sources, and copies made by
/// [`Connection::copy_content_addressed`](crate::Connection::copy_content_addressed), lie there.
pub fn make_source_path(
    dir: &StoreDir,
    name: &str,
    hash: &NarHash,
    references: &BTreeSet<StorePath>,
) -> Result<StorePath, StorePathError> {
    let mut kind = "source".to_owned();
    for reference in references {
        kind.push(':');
        kind.push_str(&dir.display(reference));
    }
    let fingerprint = format!("{kind}:sha256:{}:{dir}:{name}", hash.to_base16());
    StorePath::new(fold(Sha256::digest(fingerprint.as_bytes()).into()), name)
}

/// Returns the `ca` field that Nix records for such an object (`fixed:r:sha256:BASE32`).
pub fn content_address(hash: &NarHash) -> String {
    format!("fixed:r:sha256:{}", hash.to_base32())
}

/// Shortens a SHA-256 to the 160 bits of a store path, as Nix does.
fn fold(hash: [u8; 32]) -> [u8; 20] {
    let mut digest = [0; 20];
    for (index, byte) in hash.into_iter().enumerate() {
        digest[index % 20] ^= byte;
    }
    digest
}
