//! Keeps secrets out of long texts that are read part by part, such as logs.
//!
//! Every byte of a secret becomes an asterisk, so that all other bytes stay where they are: places in the text, which
//! others count, lead to the same bytes as before. A secret may be split over two parts, and two may overlap.
//! [`Masks`](super::Masks) is for short texts that are shown as a whole.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use super::searched::Searched;

/// How much is read at a time.
const PART: usize = 64 << 10;

/// Secrets, in all forms in which they are looked for. Its `Debug` shows none.
#[derive(Clone, Default)]
pub struct Secrets(Option<Arc<Searched>>);

impl Secrets {
    /// Prepares to look for some secrets. None is looked for if they are too many to be.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Result<Self, TooManySecrets> {
        let searched = Searched::new(secrets).map_err(TooManySecrets)?;
        Ok(Self(searched.map(Arc::new)))
    }

    /// Covers every secret in a text, and what may be the beginning or end of one where a line of it or the text is cut.
    ///
    /// What is between the letters of a secret, such as a change of colour or the end of a line, stays.
    pub fn cover(&self, text: &mut [u8]) {
        let Some(searched) = &self.0 else { return };
        let marks = searched.find(text);
        for (byte, is_secret) in text.iter_mut().zip(marks.is_secret) {
            if is_secret {
                *byte = b'*';
            }
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({} forms)", self.0.as_ref().map_or(0, |searched| searched.count()))
    }
}

/// There are too many secrets to look for.
#[derive(Debug, thiserror::Error)]
#[error("cannot look for so many secrets: {0}")]
pub struct TooManySecrets(#[source] aho_corasick::BuildError);

/// Reads what another reader reads, with all secrets covered.
#[derive(Debug)]
pub struct Covered<R> {
    inner: R,
    secrets: Secrets,
    /// What was read: `context` bytes that were passed on, and then what may still be part of a secret.
    raw: Vec<u8>,
    context: usize,
    /// What can be passed on, `taken` bytes of which are.
    ready: Vec<u8>,
    taken: usize,
    is_over: bool,
}

impl<R: Read> Covered<R> {
    /// Reads from `inner`, which begins where no secret is under way.
    pub fn new(inner: R, secrets: Secrets) -> Self {
        let (raw, ready) = (Vec::new(), Vec::new());
        Self { inner, secrets, raw, context: 0, ready, taken: 0, is_over: false }
    }

    /// Reads on, and decides what can be passed on.
    fn fill(&mut self) -> io::Result<()> {
        let before = self.raw.len();
        self.raw.resize(before + PART, 0);
        let read = self.inner.read(&mut self.raw[before..]);
        self.raw.truncate(before + read.as_ref().copied().unwrap_or(0));
        self.is_over = read? == 0;
        let decided = match (&self.secrets.0, self.is_over) {
            (None, _) | (_, true) => self.raw.len(),
            // A secret that has a byte before has ended by what was read.
            (Some(searched), false) => searched.decided(&self.raw).max(self.context),
        };
        if decided == self.context {
            return Ok(());
        }
        let mut covered = self.raw.clone();
        self.secrets.cover(&mut covered);
        self.ready.clear();
        self.ready.extend_from_slice(&covered[self.context..decided]);
        self.taken = 0;
        // A secret that has one of the bytes to come may have begun among these.
        let searched = self.secrets.0.as_ref();
        let forgotten = searched.map_or(decided, |searched| searched.needed(&self.raw, decided));
        self.raw.drain(..forgotten);
        self.context = decided - forgotten;
        Ok(())
    }
}

impl<R: Read> Read for Covered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.ready.len() && !self.is_over {
            self.fill()?;
        }
        let count = (&self.ready[self.taken..]).read(buffer)?;
        self.taken += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "ghs_S3cretS3cret!x";

    /// Reads a text in parts of these lengths, over and over.
    struct Parts<'a>(&'a [u8], Vec<usize>, usize);

    impl Read for Parts<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = self.1[self.2 % self.1.len()].min(buffer.len());
            self.2 += 1;
            let count = most.min(self.0.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn read(text: &str, parts: &[usize], secrets: &Secrets) -> String {
        let parts = Parts(text.as_bytes(), parts.to_vec(), 0);
        let mut read = String::new();
        Covered::new(parts, secrets.clone()).read_to_string(&mut read).unwrap();
        read
    }

    #[test]
    fn a_secret_is_covered_wherever_it_is_split() {
        let secrets = Secrets::new([TOKEN]).unwrap();
        let text = format!("before {TOKEN}{TOKEN} and\n{TOKEN}");
        let expected = text.replace(TOKEN, &"*".repeat(TOKEN.len()));
        for first in 1..text.len() {
            for second in [1, 7, 1_000] {
                assert_eq!(read(&text, &[first, second], &secrets), expected, "{first} {second}");
            }
        }
        assert!(format!("{secrets:?}").starts_with("Secrets("));
    }

    #[test]
    fn secrets_that_overlap_leave_nothing() {
        let secrets = Secrets::new(["abcdefgh", "efghijkl", "abababab"]).unwrap();
        assert_eq!(read("x abcdefghijkl y", &[3], &secrets), "x ************ y");
        assert_eq!(read("x abababababab y", &[5], &secrets), "x ************ y");
    }

    #[test]
    fn the_beginning_of_a_secret_at_the_end_is_covered() {
        let secrets = Secrets::new([TOKEN]).unwrap();
        // A log that grows is read while a line of it is half written.
        let begun = format!("token {}", &TOKEN[..12]);
        assert_eq!(read(&begun, &[4], &secrets), "token ************");
        assert_eq!(read("token ghs_", &[4], &secrets), "token ghs_");
    }

    #[test]
    fn a_secret_is_covered_whatever_is_between_its_letters_and_however_it_is_split() {
        let secrets = Secrets::new([TOKEN]).unwrap();
        let text =
            format!("a \u{1b}[1m{}\u{1b}[0m{} b\n{}\nc", &TOKEN[..9], &TOKEN[9..], &TOKEN[..10]);
        let expected = format!(
            "a \u{1b}[1m{}\u{1b}[0m{} b\n{}\nc",
            "*".repeat(9),
            "*".repeat(TOKEN.len() - 9),
            "*".repeat(10)
        );
        let filler = "x".repeat(200);
        for first in 1..text.len() {
            let read = read(&format!("{text}{filler}{text}"), &[first, 3, 150], &secrets);
            assert_eq!(read, format!("{expected}{filler}{expected}"), "{first}");
        }
    }

    #[test]
    fn long_texts_are_covered_as_short_ones_are() {
        let secrets = Secrets::new([TOKEN, "another one of the secrets"]).unwrap();
        let filler: String = (0..30_000).map(|number| format!("{number} ")).collect();
        let text = format!("{filler}{TOKEN}{filler}another one of the secrets{filler}");
        let mut whole = text.clone().into_bytes();
        secrets.cover(&mut whole);
        let whole = String::from_utf8(whole).unwrap();
        assert!(!whole.contains("S3cret") && !whole.contains("another"));
        assert_eq!(whole.len(), text.len());
        assert_eq!(read(&text, &[PART, 3, 70_000], &secrets), whole);
    }

    #[test]
    fn without_secrets_everything_is_passed_on() {
        assert_eq!(read("as it is", &[3], &Secrets::default()), "as it is");
        assert_eq!(read("", &[3], &Secrets::new([TOKEN]).unwrap()), "");
    }
}
