//! Keeps secrets out of texts, also in the forms in which programs pass them on.
//!
//! Not a guarantee against somebody who wants to show a secret that they know; it catches what
//! programs print by accident: headers, URLs, dumps. Start at [`Masks`].

use std::borrow::Cow;
use std::fmt;

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Token;

/// What stands in the place of a secret.
const SHOWN: &str = "[token]";

/// Shorter secrets are not looked for: they would be found everywhere, and protect nothing.
pub(super) const SHORTEST: usize = 6;

/// What URLs have as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The forms of secrets that are taken out of texts. Its `Debug` shows none.
#[derive(Clone, Default)]
pub struct Masks {
    /// Longest first, for one may be part of another.
    forms: Vec<String>,
}

impl Masks {
    /// Prepares the forms of some secrets.
    pub fn new<'a>(tokens: impl IntoIterator<Item = &'a Token>) -> Self {
        Self { forms: all_forms(tokens.into_iter().map(Token::expose)) }
    }

    /// Prepares the forms of secrets that are no tokens as well.
    pub fn of_texts<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        Self { forms: all_forms(secrets) }
    }

    /// Returns a text without the secrets.
    pub fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for form in &self.forms {
            if text.contains(form.as_str()) {
                text = Cow::Owned(text.replace(form.as_str(), SHOWN));
            }
        }
        text
    }
}

impl fmt::Debug for Masks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Masks({} forms)", self.forms.len())
    }
}

/// Returns all forms of some secrets that are long enough to be looked for, the longest first.
pub(super) fn all_forms<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut forms: Vec<String> =
        secrets.into_iter().filter(|secret| secret.len() >= SHORTEST).flat_map(forms).collect();
    forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    forms.dedup();
    forms
}

/// Returns a secret as it is, percent-encoded, in hexadecimal and in base64.
fn forms(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    let mut forms = vec![secret.to_owned(), HEXLOWER.encode(bytes), HEXUPPER.encode(bytes)];
    for encoded in [percent_encoded(secret, false), percent_encoded(secret, true)] {
        if encoded != secret {
            forms.push(encoded);
        }
    }
    for encoding in [BASE64_NOPAD, BASE64URL_NOPAD] {
        // Base64 writes three bytes as four letters, so there are three ways to meet a secret within
        // a longer text. Letters that depend on its neighbours are left out.
        for before in 0..3 {
            let padded: Vec<u8> =
                std::iter::repeat_n(0, before).chain(bytes.iter().copied()).collect();
            let letters = encoding.encode(&padded);
            let first = (before * 8).div_ceil(6);
            let last = padded.len() * 8 / 6;
            forms.push(letters[first..last].to_owned());
        }
    }
    forms
}

fn percent_encoded(secret: &str, lower: bool) -> String {
    utf8_percent_encode(secret, UNRESERVED)
        .map(|piece| match piece.starts_with('%') && lower {
            true => piece.to_ascii_lowercase(),
            false => piece.to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;

    use super::*;

    #[test]
    fn a_token_is_masked_in_all_its_forms() {
        let token = Token::from_value("a+b/c=d?").unwrap();
        let masks = Masks::new([&token]);
        for text in [
            "a+b/c=d?",
            "a%2Bb%2Fc%3Dd%3F",
            "a%2bb%2fc%3dd%3f",
            "612b622f633d643f",
            "612B622F633D643F",
        ] {
            assert_eq!(masks.apply(&format!("x {text} y")), "x [token] y");
        }
        assert_eq!(format!("{token:?} {masks:?}"), "Token(…) Masks(9 forms)");
    }

    #[test]
    fn base64_is_masked_wherever_the_token_begins_and_ends() {
        let token = Token::from_value("ghs_S3cretS3cret!").unwrap();
        let masks = Masks::new([&token]);
        for before in ["", "u", "u:", "us:", "token"] {
            for after in ["", "\n", "ab", "abc"] {
                let encoded =
                    BASE64.encode(format!("{before}{}{after}", token.expose()).as_bytes());
                let masked = masks.apply(&encoded);
                assert!(masked.contains("[token]"), "{before:?} {after:?}: {masked}");
                // At most the letters that also depend on the neighbours are left around it.
                let left = masked.replace("[token]", "").len();
                assert!(left <= (before.len() + after.len()).div_ceil(3) * 4 + 6, "{masked}");
            }
        }
    }

    #[test]
    fn what_is_too_short_to_be_a_secret_masks_nothing() {
        let token = Token::from_value("t").unwrap();
        assert_eq!(Masks::new([&token]).apply("status"), "status");
    }
}
