//! Where a content-addressed object lies: its path follows from its content, name and references.
//!
//! Used to check what Nix answers, and to know a path before asking. Start at [`make_source_path`];
//! the outputs of derivations are in [`crate::derivation_hash`].

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use crate::base32;
use crate::digest::{Digest, HashAlgorithm, HashFormat};
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
    make_store_path(dir, with_references("source", dir, references), &hash.to_base16(), name)
}

/// Returns the path of the file named `name` with the content `text`, which refers to `references`; they
/// are given in ascending order, each once.
///
/// Nix calls the method `text`. Derivations and what `builtins.toFile` writes lie there.
pub fn make_text_path<'r>(
    dir: &StoreDir,
    name: &str,
    text: &[u8],
    references: impl IntoIterator<Item = &'r StorePath>,
) -> Result<StorePath, StorePathError> {
    let hash = Digest::of(HashAlgorithm::Sha256, text).encode(HashFormat::Base16);
    make_store_path(dir, with_references("text", dir, references), &hash, name)
}

/// Returns the path of the fixed output named `name`, without references. `hash` is that of the NAR if
/// `recursive`, else that of the file's content.
pub fn make_fixed_output_path(
    dir: &StoreDir,
    name: &str,
    recursive: bool,
    hash: &Digest,
) -> Result<StorePath, StorePathError> {
    let base16 = hash.encode(HashFormat::Base16);
    if recursive && hash.algorithm() == HashAlgorithm::Sha256 {
        return make_store_path(dir, "source", &base16, name);
    }
    let method = if recursive { "r:" } else { "" };
    let inner = format!("fixed:out:{method}{}:{base16}:", hash.algorithm());
    let inner = Digest::of(HashAlgorithm::Sha256, inner.as_bytes()).encode(HashFormat::Base16);
    make_store_path(dir, "output:out", &inner, name)
}

/// Returns what stands for the path of the output `output` in its own derivation until that path is
/// known (`builtins.placeholder`).
///
/// Nobody has checked the name when this is asked, so it is any bytes.
pub fn placeholder(output: impl AsRef<[u8]>) -> String {
    let text = [b"nix-output:", output.as_ref()].concat();
    format!("/{}", base32::encode(&Sha256::digest(text)))
}

/// Returns the path whose digest is taken over `kind`, a base-16 SHA-256, the store and the name.
pub(crate) fn make_store_path(
    dir: &StoreDir,
    kind: impl AsRef<[u8]>,
    hash: &str,
    name: &str,
) -> Result<StorePath, StorePathError> {
    let mut fingerprint = Sha256::new_with_prefix(kind);
    for part in [":sha256:", hash, ":", dir.as_str(), ":", name] {
        fingerprint.update(part);
    }
    StorePath::new(fold(fingerprint.finalize().into()), name)
}

fn with_references<'r>(
    kind: &str,
    dir: &StoreDir,
    references: impl IntoIterator<Item = &'r StorePath>,
) -> Vec<u8> {
    let mut kind = kind.as_bytes().to_vec();
    for reference in references {
        kind.push(b':');
        dir.write(reference, &mut kind);
    }
    kind
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

#[cfg(test)]
mod tests {
    use super::*;

    fn dir() -> StoreDir {
        StoreDir::default()
    }

    // What `nix-instantiate --eval` of Nix 2.8 says to the expressions in the comments.
    #[test]
    fn agrees_with_nix() {
        // builtins.toFile "foo" "bar"
        let path = make_text_path(&dir(), "foo", b"bar", &BTreeSet::new()).unwrap();
        assert_eq!(path.to_string(), "vxjiwkjkn7x4079qvh1jkl5pn05j2aw0-foo");
        // builtins.placeholder "out"
        assert_eq!(placeholder("out"), "/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9");
    }

    // `(derivation { name = "foo"; builder = "/b"; system = "s"; outputHash = …; }).outPath`
    #[test]
    fn places_fixed_outputs() {
        for (algorithm, recursive, expected) in FIXED {
            let hash = Digest::of(algorithm, b"");
            let path = make_fixed_output_path(&dir(), "foo", recursive, &hash).unwrap();
            assert_eq!(path.to_string(), expected, "{algorithm} {recursive}");
        }
    }

    const FIXED: [(HashAlgorithm, bool, &str); 4] = [
        (HashAlgorithm::Sha256, true, "s749mivd211akvgw0bnfvhakhicf48y4-foo"),
        (HashAlgorithm::Sha256, false, "254159y72qk9fyp9xm5vjs7s1dj735l9-foo"),
        (HashAlgorithm::Sha1, true, "jywr6i3kwqyz4q4sr98iz8a5v9c6s6l0-foo"),
        (HashAlgorithm::Md5, false, "kja41kxslqpndqaq0xsmlciixfv2r008-foo"),
    ];
}
