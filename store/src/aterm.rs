//! Reads and writes `.drv` files (a small part of the ATerm format).
//!
//! The reader accepts exactly what Nix writes: known escapes only, and every set in ascending order.
//! So what was read is written again byte for byte, and a hash of a [`Derivation`] can be taken over
//! its text. Start at [`Derivation::parse_aterm`].

use std::collections::{BTreeMap, BTreeSet};

use crate::derivation::{Derivation, DerivationOutput};
use crate::store_path::{StoreDir, StorePath, StorePathError};

/// A `.drv` file that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("derivation cannot be read at byte {offset}: expected {expected}")]
pub struct AtermError {
    /// Where reading stopped, counted from 0.
    pub offset: usize,
    /// What should have stood there.
    pub expected: Expected,
}

/// What a `.drv` file should have had at some place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Expected {
    /// These very bytes.
    #[error("`{0}`")]
    Token(&'static str),
    /// A `,` or the end of a list.
    #[error("`,` or `]`")]
    CommaOrEnd,
    /// The end of a string before the end of the file.
    #[error("`\"` at the end of a string")]
    EndOfString,
    /// One of the escapes that Nix writes.
    #[error("one of the escapes `\\\"`, `\\\\`, `\\n`, `\\r`, `\\t`")]
    Escape,
    /// A line feed, carriage return or tab as an escape.
    #[error("control characters to be written as escapes")]
    EscapedControl,
    /// Text in UTF-8.
    #[error("UTF-8 text")]
    Utf8,
    /// Names in ascending order, each once.
    #[error("entries in ascending order, each once")]
    Ascending,
    /// A store path.
    #[error("a store path: {0}")]
    StorePath(#[source] StorePathError),
    /// The end of the file.
    #[error("the end of the file")]
    EndOfFile,
    /// The plain format; the file has the experimental one of dynamic derivations.
    #[error(
        "`Derive(`, found `DrvWithVersion(`\nhint: dynamic derivations are not supported; build without the experimental feature `dynamic-derivations`"
    )]
    PlainDerivation,
}

impl Derivation {
    /// Reads the text of a `.drv` file whose paths are in the store `dir`.
    pub fn parse_aterm(dir: &StoreDir, text: &[u8]) -> Result<Self, AtermError> {
        let mut reader = Reader { dir, text, offset: 0 };
        if text.starts_with(b"DrvWithVersion(") {
            return Err(reader.error(Expected::PlainDerivation));
        }
        reader.token("Derive(")?;
        let outputs = reader.map(Reader::output)?;
        reader.token(",")?;
        let input_derivations = reader.map(Reader::input_derivation)?;
        reader.token(",")?;
        let input_sources = reader.set(Reader::store_path)?;
        reader.token(",")?;
        let system = reader.text()?;
        reader.token(",")?;
        let builder = reader.bytes()?;
        reader.token(",")?;
        let mut args = Vec::new();
        reader.list(|reader| {
            args.push(reader.bytes()?);
            Ok(())
        })?;
        reader.token(",")?;
        let env = reader.map(|reader| {
            let name = reader.bytes()?;
            reader.token(",")?;
            Ok((name, reader.bytes()?))
        })?;
        reader.token(")")?;
        if reader.offset != text.len() {
            return Err(reader.error(Expected::EndOfFile));
        }
        Ok(Self { outputs, input_derivations, input_sources, system, builder, args, env })
    }

    /// Returns the text of a `.drv` file, with its paths in the store `dir`.
    pub fn to_aterm(&self, dir: &StoreDir) -> Vec<u8> {
        self.aterm_with(dir, &self.aterm_tail(dir))
    }

    /// Returns the text of a `.drv` file that ends like `tail`.
    pub(crate) fn aterm_with(&self, dir: &StoreDir, tail: &Tail) -> Vec<u8> {
        self.write(dir, false, tail, |text| {
            write_list(text, &self.input_derivations, |text, (path, outputs)| {
                text.push(b'(');
                write_path(text, dir, path.as_ref());
                text.push(b',');
                write_list(text, outputs, |text, name| write_string(text, name.as_bytes()));
                text.push(b')');
            });
        })
    }

    /// Returns the text over which a derivation is hashed: the list of its input derivations replaced by
    /// `inputs` and, if `masked`, its own output paths left empty.
    pub(crate) fn aterm_modulo(
        &self,
        dir: &StoreDir,
        masked: bool,
        tail: &Tail,
        inputs: &[u8],
    ) -> Vec<u8> {
        self.write(dir, masked, tail, |text| text.extend_from_slice(inputs))
    }

    fn write(
        &self,
        dir: &StoreDir,
        masked: bool,
        tail: &Tail,
        inputs: impl FnOnce(&mut Vec<u8>),
    ) -> Vec<u8> {
        let inputs_and_outputs = 128 * (self.outputs.len() + self.input_derivations.len());
        let mut text = Vec::with_capacity(tail.text.len() + inputs_and_outputs + 256);
        text.extend_from_slice(b"Derive(");
        write_list(&mut text, &self.outputs, |text, (name, output)| {
            text.push(b'(');
            write_string(text, name.as_bytes());
            text.push(b',');
            match output.path.as_ref().filter(|_| !masked) {
                Some(path) => write_path(text, dir, path),
                None => write_string(text, b""),
            }
            text.push(b',');
            write_string(text, output.hash_algorithm.as_bytes());
            text.push(b',');
            write_string(text, output.hash.as_bytes());
            text.push(b')');
        });
        text.push(b',');
        inputs(&mut text);
        let mut written = 0;
        for (place, name) in &tail.gaps {
            text.extend_from_slice(&tail.text[written..*place]);
            let value = self.env.get(name.as_bytes()).filter(|_| !masked);
            write_string(&mut text, value.map_or(b"", Vec::as_slice));
            written = *place;
        }
        text.extend_from_slice(&tail.text[written..]);
        text
    }

    /// Writes everything after the input derivations, without the values of the variables that are
    /// named after outputs.
    pub(crate) fn aterm_tail(&self, dir: &StoreDir) -> Tail {
        let mut text = Vec::with_capacity(4096);
        let mut gaps = Vec::with_capacity(self.outputs.len());
        text.push(b',');
        write_list(&mut text, &self.input_sources, |text, path| write_path(text, dir, path));
        text.push(b',');
        write_string(&mut text, self.system.as_bytes());
        text.push(b',');
        write_string(&mut text, &self.builder);
        text.push(b',');
        write_list(&mut text, &self.args, |text, arg| write_string(text, arg));
        text.push(b',');
        write_list(&mut text, &self.env, |text, (name, value)| {
            text.push(b'(');
            write_string(text, name);
            text.push(b',');
            let output = std::str::from_utf8(name).ok().filter(|n| self.outputs.contains_key(*n));
            match output {
                Some(output) => gaps.push((text.len(), output.to_owned())),
                None => write_string(text, value),
            }
            text.push(b')');
        });
        text.push(b')');
        Tail { text, gaps }
    }
}

/// Writes the list of hashes that stand for input derivations, each with the outputs that are used.
pub(crate) fn input_hashes(inputs: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<u8> {
    let mut text = Vec::with_capacity(80 * inputs.len() + 2);
    write_list(&mut text, inputs, |text, (hash, outputs)| {
        text.push(b'(');
        write_string(text, hash.as_bytes());
        text.push(b',');
        write_list(text, outputs, |text, name| write_string(text, name.as_bytes()));
        text.push(b')');
    });
    text
}

/// The end of a derivation's text, which is the same whether its outputs have paths or not: most of
/// the text, so whoever needs both writes it once.
pub(crate) struct Tail {
    text: Vec<u8>,
    /// Where the values of variables are missing that are named after outputs, and those names.
    gaps: Vec<(usize, String)>,
}

/// Writes a store path as a string; only its directory may have something to escape.
fn write_path(text: &mut Vec<u8>, dir: &StoreDir, path: &StorePath) {
    if dir.as_str().bytes().any(is_escaped) {
        return write_string(text, dir.display(path).as_bytes());
    }
    text.push(b'"');
    dir.write(path, text);
    text.push(b'"');
}

fn write_list<T>(
    text: &mut Vec<u8>,
    entries: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    text.push(b'[');
    for (index, entry) in entries.into_iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        write(text, entry);
    }
    text.push(b']');
}

fn write_string(text: &mut Vec<u8>, bytes: &[u8]) {
    text.push(b'"');
    // Nearly all of it is plain, so it is copied in pieces; whether one is plain, the compiler asks
    // for sixteen bytes at once.
    for piece in bytes.chunks(PIECE) {
        if piece.iter().fold(false, |found, byte| found | is_escaped(*byte)) {
            write_escaped(text, piece);
        } else {
            text.extend_from_slice(piece);
        }
    }
    text.push(b'"');
}

/// How many bytes are looked at together.
const PIECE: usize = 64;

/// Whether a byte is not written as it is.
fn is_escaped(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | b'\n' | b'\r' | b'\t')
}

fn write_escaped(text: &mut Vec<u8>, bytes: &[u8]) {
    let mut plain = 0;
    for (index, byte) in bytes.iter().enumerate() {
        let escaped = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            _ => continue,
        };
        text.extend_from_slice(&bytes[plain..index]);
        text.extend_from_slice(escaped);
        plain = index + 1;
    }
    text.extend_from_slice(&bytes[plain..]);
}

/// The text, and how much of it has been read.
struct Reader<'a> {
    dir: &'a StoreDir,
    text: &'a [u8],
    offset: usize,
}

impl Reader<'_> {
    fn error(&self, expected: Expected) -> AtermError {
        AtermError { offset: self.offset, expected }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.offset).copied()
    }

    fn token(&mut self, token: &'static str) -> Result<(), AtermError> {
        if self.text[self.offset..].starts_with(token.as_bytes()) {
            self.offset += token.len();
            Ok(())
        } else {
            Err(self.error(Expected::Token(token)))
        }
    }

    fn bytes(&mut self) -> Result<Vec<u8>, AtermError> {
        self.token("\"")?;
        let mut bytes = Vec::new();
        loop {
            // Nearly all of a derivation is plain text, so it is copied in pieces.
            let rest = &self.text[self.offset..];
            let special = |byte: &u8| matches!(byte, b'"' | b'\\' | b'\n' | b'\r' | b'\t');
            let plain = rest.iter().position(special).unwrap_or(rest.len());
            bytes.extend_from_slice(&rest[..plain]);
            self.offset += plain;
            match self.peek() {
                None => return Err(self.error(Expected::EndOfString)),
                Some(b'"') => {
                    self.offset += 1;
                    return Ok(bytes);
                }
                Some(b'\\') => {
                    let byte = match self.text.get(self.offset + 1) {
                        Some(b'n') => b'\n',
                        Some(b'r') => b'\r',
                        Some(b't') => b'\t',
                        Some(same @ (b'"' | b'\\')) => *same,
                        Some(_) | None => return Err(self.error(Expected::Escape)),
                    };
                    bytes.push(byte);
                    self.offset += 2;
                }
                Some(_) => return Err(self.error(Expected::EscapedControl)),
            }
        }
    }

    fn text(&mut self) -> Result<String, AtermError> {
        let offset = self.offset;
        let utf8 = |_| AtermError { offset, expected: Expected::Utf8 };
        String::from_utf8(self.bytes()?).map_err(utf8)
    }

    fn store_path(&mut self) -> Result<StorePath, AtermError> {
        let offset = self.offset;
        let text = self.text()?;
        let wrong = |error| AtermError { offset, expected: Expected::StorePath(error) };
        self.dir.parse(&text).map_err(wrong)
    }

    fn output(&mut self) -> Result<(String, DerivationOutput), AtermError> {
        let name = self.text()?;
        self.token(",")?;
        let path = if self.text[self.offset..].starts_with(b"\"\"") {
            self.offset += 2;
            None
        } else {
            Some(self.store_path()?)
        };
        self.token(",")?;
        let hash_algorithm = self.text()?;
        self.token(",")?;
        Ok((name, DerivationOutput { path, hash_algorithm, hash: self.text()? }))
    }

    fn input_derivation(
        &mut self,
    ) -> Result<(crate::DerivationPath, BTreeSet<String>), AtermError> {
        let offset = self.offset;
        let wrong = |error| AtermError { offset, expected: Expected::StorePath(error) };
        let path = self.store_path()?.try_into().map_err(wrong)?;
        self.token(",")?;
        Ok((path, self.set(Reader::text)?))
    }

    /// Reads `[entry,entry]`.
    fn list(
        &mut self,
        mut entry: impl FnMut(&mut Self) -> Result<(), AtermError>,
    ) -> Result<(), AtermError> {
        self.token("[")?;
        if self.peek() == Some(b']') {
            self.offset += 1;
            return Ok(());
        }
        loop {
            entry(self)?;
            match self.peek() {
                Some(b',') => self.offset += 1,
                Some(b']') => {
                    self.offset += 1;
                    return Ok(());
                }
                Some(_) | None => return Err(self.error(Expected::CommaOrEnd)),
            }
        }
    }

    /// Reads a list of ascending entries.
    fn set<T: Ord>(
        &mut self,
        mut entry: impl FnMut(&mut Self) -> Result<T, AtermError>,
    ) -> Result<BTreeSet<T>, AtermError> {
        let mut set = BTreeSet::new();
        self.list(|reader| {
            let offset = reader.offset;
            let entry = entry(reader)?;
            if set.last().is_some_and(|last| *last >= entry) {
                return Err(AtermError { offset, expected: Expected::Ascending });
            }
            set.insert(entry);
            Ok(())
        })?;
        Ok(set)
    }

    /// Reads a list of `(key,value)` whose keys ascend; `entry` reads what is between the brackets.
    fn map<K: Ord, V>(
        &mut self,
        mut entry: impl FnMut(&mut Self) -> Result<(K, V), AtermError>,
    ) -> Result<BTreeMap<K, V>, AtermError> {
        let mut map = BTreeMap::new();
        self.list(|reader| {
            let offset = reader.offset;
            reader.token("(")?;
            let (key, value) = entry(reader)?;
            reader.token(")")?;
            if map.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(AtermError { offset, expected: Expected::Ascending });
            }
            map.insert(key, value);
            Ok(())
        })?;
        Ok(map)
    }
}

#[cfg(test)]
mod tests;
