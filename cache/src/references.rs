//! Finds the store paths that a file's bytes mention.
//!
//! Only paths written in full count (`/nix/store/HASH-NAME`): inside a build nothing lists the paths
//! that a bare hash could stand for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::build_outputs::BuildOutput;
use crate::own_paths::{Own, OwnPaths};

/// Nix's base 32 digits.
const DIGITS: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";
/// Digits in a store path's hash.
pub(crate) const HASH: usize = 32;
/// Longest name of a store path.
const NAME: usize = 211;

/// Returns the length that a mention can have, beyond the store's directory.
pub(crate) const LONGEST: usize = HASH + 1 + NAME;

/// A fast search for one text.
#[derive(Debug)]
pub(crate) struct Needle {
    text: Vec<u8>,
    skip: [usize; 256],
}

impl Needle {
    /// Prepares the search.
    pub(crate) fn new(text: &[u8]) -> Needle {
        let mut skip = [text.len().max(1); 256];
        for (at, &byte) in text.iter().enumerate().take(text.len().saturating_sub(1)) {
            skip[usize::from(byte)] = text.len() - 1 - at;
        }
        Needle { text: text.to_vec(), skip }
    }

    /// Returns where the text next occurs, from that position on.
    pub(crate) fn find(&self, within: &[u8], from: usize) -> Option<usize> {
        let last = self.text.len().checked_sub(1)?;
        let mut end = from.checked_add(last)?;
        while let Some(&byte) = within.get(end) {
            if byte == self.text[last] && within[end - last..end] == self.text[..last] {
                return Some(end - last);
            }
            end += self.skip[usize::from(byte)];
        }
        None
    }
}

/// The base names of store paths, one per hash.
///
/// In a binary a name has no certain end, so the shortest reading of several is kept; only the hash
/// matters to Nix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mentions {
    names: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first of the build's own outputs that is mentioned; these are not among the names.
    own: Option<Own>,
}

impl Mentions {
    /// Adds a base name (`HASH-NAME`).
    pub fn add(&mut self, base: &[u8]) {
        let (hash, name) = base.split_at(HASH.min(base.len()));
        let known = self.names.entry(hash.to_vec()).or_insert_with(|| name.to_vec());
        if (name.len(), name) < (known.len(), known.as_slice()) {
            *known = name.to_vec();
        }
    }

    /// Notes that one of the build's own outputs is mentioned.
    pub fn add_own(&mut self, own: Own) {
        self.own.get_or_insert(own);
    }

    /// Returns the first of the build's own outputs that is mentioned.
    pub fn own(&self) -> Option<&Own> {
        self.own.as_ref()
    }

    /// Returns the base names in order.
    pub fn names(&self) -> impl Iterator<Item = Vec<u8>> {
        self.names.iter().map(|(hash, name)| [hash.as_slice(), name].concat())
    }

    /// Returns where each hash stands in the order of [`Mentions::names`].
    pub fn position(&self, base: &[u8]) -> Option<usize> {
        let hash = base.get(..HASH)?;
        self.names
            .contains_key(hash)
            .then(|| self.names.keys().take_while(|known| known.as_slice() < hash).count())
    }

    /// Says whether nothing was mentioned.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.own.is_none()
    }
}

/// Where the store is, and which of its paths never count.
#[derive(Debug)]
pub(crate) struct StoreScan {
    store: PathBuf,
    needle: Needle,
    ignored: Vec<Vec<u8>>,
    own: OwnPaths,
}

impl StoreScan {
    /// Prepares a search for paths of the store in that directory. Some paths never count, and that
    /// of the build's own outputs is only noted.
    pub(crate) fn new(store: &Path, ignored: &[&Path], outputs: &[BuildOutput]) -> StoreScan {
        use std::os::unix::ffi::OsStrExt as _;
        let mut prefix = store.as_os_str().as_bytes().to_vec();
        prefix.push(b'/');
        let needle = Needle::new(&prefix);
        let store = store.to_path_buf();
        let scan = StoreScan { store, needle, ignored: Vec::new(), own: OwnPaths::default() };
        let of = |output: &BuildOutput| scan.hash_of(&output.path);
        let mut ignored: Vec<_> = ignored.iter().filter_map(|path| scan.hash_of(path)).collect();
        ignored.extend(outputs.iter().filter_map(of));
        let hashes = outputs.iter().filter_map(|output| Some((output.name.as_str(), of(output)?)));
        let own = OwnPaths::new(hashes);
        StoreScan { ignored, own, ..scan }
    }

    /// Returns the store's directory.
    pub(crate) fn store(&self) -> &Path {
        &self.store
    }

    /// Returns the search for the build's own outputs.
    pub(crate) fn own(&self) -> &OwnPaths {
        &self.own
    }

    /// Returns the hash part of a path in the store.
    pub(crate) fn hash_of(&self, path: &Path) -> Option<Vec<u8>> {
        use std::os::unix::ffi::OsStrExt as _;
        let base = path.strip_prefix(&self.store).ok()?.components().next()?;
        mention(base.as_os_str().as_bytes()).map(|base| base[..HASH].to_vec())
    }

    /// Returns the length after which a mention that starts has also ended.
    pub(crate) fn reach(&self) -> usize {
        self.needle.text.len() + LONGEST
    }

    /// Adds what is mentioned by text that starts before `until`.
    pub(crate) fn collect(&self, bytes: &[u8], until: usize, into: &mut Mentions) {
        if into.own.is_none() {
            into.own = self.own.find(bytes);
        }
        let mut from = 0;
        while let Some(at) = self.needle.find(bytes, from) {
            if at >= until {
                return;
            }
            from = at + self.needle.text.len();
            let Some(base) = mention(&bytes[from..]) else {
                continue;
            };
            if !self.ignored.iter().any(|hash| base.starts_with(hash)) {
                into.add(base);
            }
        }
    }
}

/// Returns the store path's base name that the bytes start with.
pub(crate) fn mention(bytes: &[u8]) -> Option<&[u8]> {
    let (hash, rest) = bytes.split_at_checked(HASH)?;
    if !hash.iter().all(|digit| DIGITS.contains(digit)) || rest.first() != Some(&b'-') {
        return None;
    }
    let plain = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+-._?=".contains(byte);
    let name = rest[1..].iter().take(NAME).take_while(plain).count();
    (name > 0).then(|| &bytes[..HASH + 1 + name])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "0123456789abcdfghijklmnpqrsvwxyz";
    const B: &str = "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz";

    fn names(text: &str, ignored: &[&Path]) -> Vec<String> {
        let scan = StoreScan::new(Path::new("/nix/store"), ignored, &[]);
        let mut found = Mentions::default();
        scan.collect(text.as_bytes(), text.len(), &mut found);
        found.names().map(|name| String::from_utf8(name).unwrap()).collect()
    }

    #[test]
    fn finds_paths_and_keeps_the_shortest_reading() {
        let text = format!("x/nix/store/{A}-gcc-12.2/bin:/nix/store/{B}-fooBAR /nix/store/{B}-foo");
        assert_eq!(names(&text, &[]), [format!("{A}-gcc-12.2"), format!("{B}-foo")]);
    }

    #[test]
    fn what_is_no_path_or_ignored_does_not_count() {
        let path = format!("/nix/store/{A}-x");
        assert_eq!(names(&path, &[Path::new(&path)]), [""; 0]);
        assert_eq!(names(&format!("/nix/store/{}e-x", &A[1..]), &[]), [""; 0]);
        assert_eq!(names(&format!("/nix/store/{A}"), &[]), [""; 0]);
        assert_eq!(names(&format!("/nix/store/{A}-"), &[]), [""; 0]);
        assert_eq!(names("/nix/store/", &[]), [""; 0]);
    }

    proptest! {
        #[test]
        fn the_needle_is_found_where_it_is(text in "[ab]{1,4}", within in "[ab]{0,40}", from in 0_usize..50) {
            let expected = within.get(from..).and_then(|rest| rest.find(&text)).map(|at| at + from);
            prop_assert_eq!(Needle::new(text.as_bytes()).find(within.as_bytes(), from), expected);
        }
    }
}
