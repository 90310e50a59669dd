//! Whether what a build made depends on where its own outputs are.
//!
//! Every build of an incremental job has output paths of its own, and no build tool notices that they
//! differ from the last build's. Writing the new path over the old one in restored files is not
//! enough: a checksum, an archive or an instruction made from the old path stays as it was. So a set
//! with such a path in it is not restored unless the job asks for that.
//!
//! Finds the hash of an output's path, or eight digits of it in a row, as bytes, in capitals, as
//! hexadecimal digits, base 64, UTF-16, UTF-32 and lists of numbers; three groups of four digits near
//! each other, as in instructions with 32-bit constants; and all of these inside gzip, zlib, zip and
//! zstd. Does not find what was only computed from the path, nor what is encrypted or compressed in
//! other ways; `docs/incremental-jobs.md` says so.

mod numbers;
mod packed;

use std::collections::HashMap;

use crate::relative::RelativePath;

pub(crate) use packed::Markers;

/// Digits of a hash that are enough to know it: 40 bits.
const PIECE: usize = 8;
/// Digits in a constant of 32 bits.
const WORD: usize = 4;
/// So many different words must be near each other: one alone may be there by chance.
const WORDS: usize = 3;
/// How near, in bytes.
const NEAR: usize = 192;

/// How a file holds an own path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// As it is, or a piece of it.
    Plain,
    /// In its own name, or as the target of a link.
    Name,
    /// Written in another alphabet, or in pieces.
    Encoded,
    /// Inside compressed data.
    Compressed,
    /// Perhaps: this program cannot look into the file.
    Opaque,
}

impl Form {
    /// All forms with the words that manifests have for them.
    const WORDS: [(Form, &'static str); 5] = [
        (Form::Plain, "plain"),
        (Form::Name, "name"),
        (Form::Encoded, "encoded"),
        (Form::Compressed, "compressed"),
        (Form::Opaque, "opaque"),
    ];

    /// Returns the manifest's word.
    pub(crate) fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(form, _)| *form == self).map_or("plain", |(_, word)| word)
    }

    /// Reads the manifest's word.
    pub(crate) fn parse(text: &[u8]) -> Option<Form> {
        Self::WORDS.iter().find(|(_, word)| word.as_bytes() == text).map(|(form, _)| *form)
    }
}

/// A place where an own path was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// The output that it names; empty if that is not known.
    pub output: String,
    /// How.
    pub form: Form,
}

/// Why a set is in doubt: the first file with an own path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The file.
    pub path: RelativePath,
    /// What it holds.
    pub own: Own,
    /// Whether the set was kept all the same, because the job allows it.
    pub kept: bool,
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Doubt { path, own: Own { output, form }, .. } = self;
        let how = match form {
            Form::Plain | Form::Name => "",
            Form::Encoded => " in pieces or encoded",
            Form::Compressed => " inside compressed data",
            Form::Opaque => {
                return write!(
                    f,
                    "{path:?} is compressed in a way that hides whether it names the build's own output, whose path differs in every build"
                );
            }
        };
        let output = output.escape_debug();
        write!(
            f,
            "{path:?} names the build's own output `{output}`{how}, and that path differs in every build"
        )
    }
}

/// What to do with a set that holds own paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnPathRule {
    /// It is neither kept nor restored: what was made from such a path cannot be put right.
    Refuse,
    /// It is restored, with the new paths written over the old ones.
    Rewrite,
}

/// A text to find, after its first eight bytes.
#[derive(Debug)]
struct Pattern {
    rest: Vec<u8>,
    output: usize,
    form: Form,
}

/// A search for the paths of a build's outputs.
#[derive(Debug, Default)]
pub(crate) struct OwnPaths {
    names: Vec<String>,
    patterns: HashMap<u64, Vec<Pattern>>,
    words: HashMap<u32, Vec<(usize, usize)>>,
    /// Rules out most windows without a look at the tables.
    filter: Filter,
    word_filter: Filter,
}

/// A set of numbers that may say yes wrongly, and never no.
#[derive(Debug)]
struct Filter(Vec<bool>);

impl Default for Filter {
    fn default() -> Self {
        Self(vec![false; 1 << 16])
    }
}

impl Filter {
    fn at(key: u64) -> usize {
        usize::from((key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u16)
    }

    fn add(&mut self, key: u64) {
        self.0[Self::at(key)] = true;
    }

    fn may_have(&self, key: u64) -> bool {
        self.0[Self::at(key)]
    }
}

impl OwnPaths {
    /// Prepares a search for outputs with these names and hashes.
    pub(crate) fn new<'a>(outputs: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> OwnPaths {
        let mut own = OwnPaths::default();
        for (name, hash) in outputs {
            let output = own.names.len();
            own.names.push(name.to_owned());
            for piece in hash.windows(PIECE) {
                own.add(piece, output, Form::Plain);
                own.add(&piece.to_ascii_uppercase(), output, Form::Encoded);
                let hex: String = piece.iter().map(|byte| format!("{byte:02x}")).collect();
                own.add(hex.as_bytes(), output, Form::Encoded);
                own.add(hex.to_ascii_uppercase().as_bytes(), output, Form::Encoded);
            }
            // Three bytes are four letters: wherever the hash begins, some groups fit.
            for group in hash.windows(9) {
                own.add(&base64(group), output, Form::Encoded);
            }
            for (at, word) in hash.windows(WORD).enumerate() {
                let key = u32_of(word);
                own.words.entry(key).or_default().push((output, at));
                own.word_filter.add(u64::from(key));
            }
        }
        own
    }

    fn add(&mut self, text: &[u8], output: usize, form: Form) {
        let (first, rest) = text.split_at(PIECE.min(text.len()));
        let key = u64_of(first);
        self.filter.add(key);
        let pattern = Pattern { rest: rest.to_vec(), output, form };
        self.patterns.entry(key).or_default().push(pattern);
    }

    /// Says whether there is nothing to find.
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Looks for an own path in bytes, not inside compressed data.
    pub(crate) fn find(&self, bytes: &[u8]) -> Option<Own> {
        if self.is_empty() {
            return None;
        }
        let plain = self.texts(bytes).or_else(|| self.word_groups(bytes));
        plain.or_else(|| {
            // Letters of two or four bytes have zeros between; lists of numbers have none.
            let squeezed = if bytes.contains(&0) {
                bytes.iter().copied().filter(|&byte| byte != 0).collect()
            } else {
                numbers::bytes(bytes)
            };
            self.texts(&squeezed).map(|own| Own { form: Form::Encoded, ..own })
        })
    }

    fn own(&self, output: usize, form: Form) -> Option<Own> {
        self.names.get(output).map(|name| Own { output: name.clone(), form })
    }

    fn texts(&self, bytes: &[u8]) -> Option<Own> {
        let mut found = None;
        runs(bytes, u8::is_ascii_alphanumeric, PIECE, |from, run| {
            for (at, window) in run.windows(PIECE).enumerate() {
                let key = u64_of(window);
                if !self.filter.may_have(key) {
                    continue;
                }
                let after = &bytes[from + at + PIECE..];
                let patterns = self.patterns.get(&key).into_iter().flatten();
                if let Some(pattern) = { patterns }.find(|known| after.starts_with(&known.rest)) {
                    found = self.own(pattern.output, pattern.form);
                    return true;
                }
            }
            false
        });
        found
    }

    /// Finds several groups of four digits near each other.
    fn word_groups(&self, bytes: &[u8]) -> Option<Own> {
        let mut recent: Vec<(usize, usize, usize)> = Vec::new();
        let mut found = None;
        let lower = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        runs(bytes, lower, WORD, |from, run| {
            for (at, window) in run.windows(WORD).enumerate() {
                let key = u32_of(window);
                if !self.word_filter.may_have(u64::from(key)) {
                    continue;
                }
                let here = from + at;
                recent.retain(|(place, _, _)| here - place <= NEAR);
                for &(output, digit) in self.words.get(&key).into_iter().flatten() {
                    recent.push((here, output, digit));
                    if apart(&recent, output) >= WORDS {
                        found = self.own(output, Form::Encoded);
                        return true;
                    }
                }
            }
            false
        });
        found
    }
}

/// Counts the words of an output that do not overlap, neither in the file nor in the hash.
fn apart(recent: &[(usize, usize, usize)], output: usize) -> usize {
    let mut chosen: Vec<(usize, usize)> = Vec::new();
    for &(place, of, digit) in recent {
        let far = |a: usize, b: usize| a.abs_diff(b) >= WORD;
        if of == output && chosen.iter().all(|&(p, d)| far(p, place) && far(d, digit)) {
            chosen.push((place, digit));
        }
    }
    chosen.len()
}

/// Calls for each longest run of at least so many bytes of a class, until that returns true.
fn runs(
    bytes: &[u8],
    class: impl Fn(&u8) -> bool,
    least: usize,
    mut each: impl FnMut(usize, &[u8]) -> bool,
) {
    // A run that is long enough covers one of these places.
    let mut at = least - 1;
    while let Some(byte) = bytes.get(at) {
        if !class(byte) {
            at += least;
            continue;
        }
        let before = bytes[..at].iter().rev().take_while(|byte| class(byte)).count();
        let after = bytes[at..].iter().take_while(|byte| class(byte)).count();
        let run = &bytes[at - before..at + after];
        if run.len() >= least && each(at - before, run) {
            return;
        }
        at += after + least;
    }
}

fn u64_of(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |key, &byte| key << 8 | u64::from(byte))
}

fn u32_of(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |key, &byte| key << 8 | u32::from(byte))
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letters = |group: &[u8]| {
        let bits = u32_of(group);
        [18, 12, 6, 0].map(|shift| LETTERS[(bits >> shift & 63) as usize])
    };
    bytes.chunks_exact(3).flat_map(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HASH_TEXT: &str = "3ygw493yzidkiia6rawrpjvizib6yjiw";

    fn search() -> OwnPaths {
        OwnPaths::new([("out", HASH_TEXT.as_bytes().to_vec())])
    }

    fn form(bytes: &[u8]) -> Option<Form> {
        search().find(bytes).map(|own| own.form)
    }

    #[test]
    fn every_form_is_found() {
        let hash = HASH_TEXT.as_bytes();
        assert_eq!(form(hash), Some(Form::Plain));
        assert_eq!(form(format!("x/{HASH_TEXT}-app").as_bytes()), Some(Form::Plain));
        for at in 0..=hash.len() - PIECE {
            let piece = [b"\x48\xb8", &hash[at..at + PIECE], b"\x48\x89"].concat();
            assert_eq!(form(&piece), Some(Form::Plain), "{at}");
        }
        assert_eq!(form(&hash.to_ascii_uppercase()), Some(Form::Encoded));
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(form(hex.as_bytes()), Some(Form::Encoded));
        let wide: Vec<u8> = hash.iter().flat_map(|&byte| [byte, 0]).collect();
        assert_eq!(form(&wide), Some(Form::Encoded));
        let wider: Vec<u8> = hash.iter().flat_map(|&byte| [0, 0, 0, byte]).collect();
        assert_eq!(form(&wider), Some(Form::Encoded));
        for before in ["", "a", "ab", "abc"] {
            let text = format!("{before}/nix/store/{HASH_TEXT}-app");
            let padded = format!("{text:width$}", width = text.len().div_ceil(3) * 3);
            assert_eq!(form(&base64(padded.as_bytes())), Some(Form::Encoded), "{before}");
        }
        for list in [
            hash.iter().map(|byte| format!("{byte}, ")).collect::<String>(),
            hash.iter().map(|byte| format!("0x{byte:x},\n  ")).collect(),
            hash.iter().map(|byte| format!("\\x{byte:02x}")).collect(),
            hash.iter().map(|byte| format!("\\{byte:o}")).collect(),
            hash.iter().map(|byte| format!("\\u{byte:04x}")).collect(),
            format!("\tmovabsq\t${}, %rax", u64::from_le_bytes(hash[3..11].try_into().unwrap())),
        ] {
            assert_eq!(form(list.as_bytes()), Some(Form::Encoded), "{list}");
        }
        // As a compiler for 32 bits writes them.
        let stores: Vec<u8> =
            hash.chunks(4).flat_map(|word| [b"\xc7\x44\x24\x08", word].concat()).collect();
        assert_eq!(form(&stores), Some(Form::Encoded));
    }

    #[test]
    fn what_is_no_own_path_is_not_found() {
        for text in [
            "",
            "3ygw493",
            "/nix/store/ablk6g9lk56hvq85fm8pk0bvwp6z8zim-app",
            "int main(void) { return 0; }",
            "3ygw 3ygw 3ygw 3ygw",
        ] {
            assert_eq!(form(text.as_bytes()), None, "{text}");
        }
        assert_eq!(OwnPaths::new([]).find(HASH_TEXT.as_bytes()), None);
    }

    proptest! {
        #[test]
        fn it_is_found_wherever_it_lies(before in "\\PC{0,40}", after in "\\PC{0,40}") {
            let text = format!("{before}{HASH_TEXT}{after}");
            prop_assert_eq!(form(text.as_bytes()), Some(Form::Plain));
        }

        #[test]
        fn runs_are_what_they_seem(text in "[a ]{0,40}") {
            let mut found = Vec::new();
            runs(text.as_bytes(), u8::is_ascii_alphabetic, 3, |_, run| {
                found.push(String::from_utf8(run.to_vec()).unwrap());
                false
            });
            let expected: Vec<_> = text.split(' ').filter(|run| run.len() >= 3).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
