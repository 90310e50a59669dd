//! The build's own outputs: whether a text names one.

use aho_corasick::AhoCorasick;

/// How many characters of an output's hash name it: programs cut paths.
const ENOUGH: usize = 10;

/// The hashes of the build's own outputs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Own(Option<AhoCorasick>);

impl Own {
    /// Takes the names of outputs in the store: a hash, and a name.
    pub(crate) fn new<'a>(
        names: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, aho_corasick::BuildError> {
        let hash = |name: &'a [u8]| name.split(|byte| *byte == b'-').next().unwrap_or_default();
        let parts: Vec<&[u8]> =
            names.into_iter().flat_map(|name| hash(name).windows(ENOUGH)).collect();
        if parts.is_empty() {
            return Ok(Self(None));
        }
        AhoCorasick::new(parts).map(|found| Self(Some(found)))
    }

    /// Returns whether a text has so much of the hash of an output that it names it.
    pub(crate) fn is_in(&self, text: &[u8]) -> bool {
        self.0.as_ref().is_some_and(|parts| parts.is_match(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_hash_is_enough() {
        let own = Own::new([b"0123456789abcdfghijklmnpqrsvwxyz-app".as_slice()]).unwrap();
        for (text, expected) in [
            ("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-app/bin", true),
            ("x 789abcdfgh", true),
            ("x 789abcdfg", false),
            ("qrsvwxyz-app", false),
            ("pqrsvwxyz-app", false),
            ("mnpqrsvwxyz", true),
        ] {
            assert_eq!(own.is_in(text.as_bytes()), expected, "{text}");
        }
        assert!(!Own::default().is_in(b"x"));
    }
}
