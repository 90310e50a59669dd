//! Percent coding as Nix does it in URLs: which characters stay, and no broken escape.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str};

/// What is escaped everywhere: all but letters, digits and `-._~`.
pub(crate) const COMPONENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What is escaped in the names of files and refs.
pub(crate) const SLASHED: &AsciiSet = &COMPONENT.remove(b'/');
/// What Nix escapes in the path of a flake reference.
pub(crate) const PATH: &AsciiSet = &SLASHED.remove(b':').remove(b'@');
/// What Nix escapes in the query of one.
pub(crate) const QUERY: &AsciiSet = &PATH.remove(b'?');

/// Resolves escapes; nothing when a `%` begins none, which the library would leave as it is.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let is_escape = |rest: &str| {
        rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    text.split('%').skip(1).all(is_escape).then(|| percent_decode_str(text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_have_two_digits() {
        assert_eq!(decode("a%20b%2fc%2F").as_deref(), Some(&b"a b/c/"[..]));
        assert_eq!(decode("%ff%00").as_deref(), Some(&b"\xff\0"[..]));
        assert_eq!(decode("").as_deref(), Some(&b""[..]));
        for broken in ["%", "a%2", "%zz", "%%20", "%2", "%+5", "%2é"] {
            assert_eq!(decode(broken), None, "{broken}");
        }
    }
}
