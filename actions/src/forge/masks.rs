//! Keeps secrets out of texts, also in the forms in which programs pass them on.
//!
//! Not a guarantee against somebody who wants to show a secret that they know; it catches what
//! programs print by accident: headers, URLs, dumps. Start at [`Masks`].

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Token;
use super::searched::{Marks, Searched};

/// What stands in the place of a secret.
const SHOWN: &str = "[token]";

/// Shorter secrets are not looked for: they would be found everywhere, and protect nothing.
const SHORTEST: usize = 6;

/// What URLs have as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The forms of secrets that are taken out of texts. Its `Debug` shows none.
#[derive(Clone, Default)]
pub struct Masks(Looked);

#[derive(Clone, Default)]
enum Looked {
    #[default]
    ForNothing,
    For(Arc<Searched>),
    /// They are too many to look for: nothing is shown.
    Away,
}

impl Masks {
    /// Prepares the forms of some secrets.
    pub fn new<'a>(tokens: impl IntoIterator<Item = &'a Token>) -> Self {
        Self::of_texts(tokens.into_iter().map(Token::expose))
    }

    /// Prepares the forms of secrets that are no tokens as well.
    pub fn of_texts<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        Self(match Searched::new(secrets) {
            Ok(None) => Looked::ForNothing,
            Ok(Some(searched)) => Looked::For(Arc::new(searched)),
            Err(error) => {
                tracing::warn!(%error, "texts are not shown: there are too many secrets");
                Looked::Away
            }
        })
    }

    /// Returns a text without the secrets, nor what may be the beginning or the end of one where a line of it or
    /// the text is cut.
    pub fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let searched = match &self.0 {
            Looked::ForNothing => return Cow::Borrowed(text),
            Looked::Away => return Cow::Borrowed(SHOWN),
            Looked::For(searched) => searched,
        };
        let marks = searched.find(text.as_bytes());
        if marks.ranges.is_empty() {
            return Cow::Borrowed(text);
        }
        let merged = merged(marks.ranges);
        Cow::Owned(shown(text.as_bytes(), 0..text.len(), &merged, &marks.is_secret))
    }

    /// Returns the lines of a text without the secrets, each as [`Masks::apply`] has it in the whole text: a secret may be
    /// broken over several. Each line stays one, though it may have line breaks itself.
    pub fn apply_to_lines(&self, lines: &[&str]) -> Vec<String> {
        let searched = match &self.0 {
            Looked::ForNothing => return lines.iter().map(|line| (*line).to_owned()).collect(),
            Looked::Away => return lines.iter().map(|_| SHOWN.to_owned()).collect(),
            Looked::For(searched) => searched,
        };
        let text = lines.join("\n");
        let Marks { is_secret, ranges } = searched.find(text.as_bytes());
        let (merged, mut at) = (merged(ranges), 0);
        let each = lines.iter().map(|line| {
            let range = at..at + line.len();
            at = range.end + 1;
            shown(text.as_bytes(), range, &merged, &is_secret)
        });
        each.collect()
    }
}

impl fmt::Debug for Masks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Looked::ForNothing => f.write_str("Masks(0 forms)"),
            Looked::For(searched) => write!(f, "Masks({} forms)", searched.count()),
            Looked::Away => f.write_str("Masks(too many forms)"),
        }
    }
}

/// Joins ranges that overlap.
fn merged(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_by_key(|range| (range.start, range.end));
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            Some(_) | None => merged.push(range),
        }
    }
    merged
}

/// Returns a part of a text without the secrets, which are in `ranges`.
fn shown(text: &[u8], part: Range<usize>, ranges: &[Range<usize>], is_secret: &[bool]) -> String {
    let (mut shown, mut at) = (Vec::with_capacity(part.len()), part.start);
    for range in ranges {
        let range = range.start.max(part.start)..range.end.min(part.end);
        if range.is_empty() {
            continue;
        }
        shown.extend_from_slice(&text[at..range.start]);
        shown.extend_from_slice(SHOWN.as_bytes());
        // Colours that change within it count for what follows.
        shown.extend(range.clone().filter(|place| !is_secret[*place]).map(|place| text[place]));
        at = range.end;
    }
    shown.extend_from_slice(&text[at..part.end]);
    String::from_utf8_lossy(&shown).into_owned()
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
    fn colours_and_cuts_show_no_part_of_a_token() {
        const TOKEN: &str = "ghp_0123456789abcdefghijklmnopqrstuvWXYZ";
        let masks = Masks::new([&Token::from_value(TOKEN).unwrap()]);
        let (half, rest) = TOKEN.split_at(20);
        for between in ["\u{1b}[0m", "\u{1b}]0;x\u{7}", "\u{9b}1m", "\0", "\u{1b}(B", "\r\n"] {
            let masked = masks.apply(&format!("a {half}{between}{rest} b")).into_owned();
            assert_eq!(masked, format!("a [token]{between} b"), "{between:?}");
        }
        for length in [8, 20, TOKEN.len() - 1] {
            let part = &TOKEN[..length];
            for after in ["", "…", "\nnext", "\u{1b}[0m\n", " [12 bytes of this line left out]"] {
                let masked = masks.apply(&format!("a {part}{after}")).into_owned();
                assert_eq!(masked, format!("a [token]{after}"));
            }
            let within = format!("a {part} b");
            assert_eq!(masks.apply(&within), within);
        }
        assert_eq!(masks.apply("a ghp_012"), "a ghp_012");
    }

    #[test]
    fn the_end_of_a_token_is_masked_where_a_line_begins() {
        const TOKEN: &str = "ghp_0123456789abcdefghijklmnopqrstuvWXYZ";
        let masks = Masks::new([&Token::from_value(TOKEN).unwrap()]);
        // Nix has the builder's `cr TOKEN`, with a carriage return in the token, begin with the rest of it.
        for length in [8, 20, TOKEN.len() - 1] {
            let part = &TOKEN[TOKEN.len() - length..];
            for before in ["", "a\n", "a\r", "a\n\u{1b}[0m"] {
                let masked = masks.apply(&format!("{before}{part} b")).into_owned();
                assert_eq!(masked, format!("{before}[token] b"));
            }
            let within = format!("a {part} b");
            assert_eq!(masks.apply(&within), within);
        }
        assert_eq!(masks.apply("tuvWXYZ"), "tuvWXYZ");
    }

    #[test]
    fn a_token_that_is_broken_over_lines_is_masked_in_each() {
        const TOKEN: &str = "ghp_0123456789abcdefghijklmnopqrstuvWXYZ";
        let masks = Masks::new([&Token::from_value(TOKEN).unwrap()]);
        let lines = ["a ghp_0123", "4567\u{1b}[0m89", "abcdefghijklmnopqrstuvWXYZ b\nc", "d"];
        let masked = masks.apply_to_lines(&lines);
        assert_eq!(masked, ["a [token]", "[token]\u{1b}[0m", "[token] b\nc", "d"]);
        assert_eq!(masks.apply_to_lines(&[]), [""; 0]);
        assert_eq!(Masks::default().apply_to_lines(&lines), lines);
    }

    #[test]
    fn base64_that_is_broken_into_lines_is_masked() {
        let token = Token::from_value(&"S3cret-t0ken".repeat(20)).unwrap();
        let masks = Masks::new([&token]);
        let before = "machine git.example.org password ";
        let encoded = BASE64.encode(format!("{before}{}\n", token.expose()).as_bytes());
        for width in [9, 64, 76] {
            let lines: Vec<&str> = encoded
                .as_bytes()
                .chunks(width)
                .map(|line| str::from_utf8(line).unwrap())
                .collect();
            for end in ["\n", "\r\n"] {
                let masked = masks.apply(&lines.join(end)).replace(['\r', '\n'], "");
                assert!(masked.len() < before.len() * 4 / 3 + 24, "{width}: {masked}");
            }
        }
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
