//! Integers, strings and lists as they cross the wire: 8 bytes little-endian, padded to 8.
//!
//! Lengths come from outside: memory is only ever taken for bytes that have arrived.

use std::io::{self, Read, Write};

use super::error::{Malformed, ProtocolError};

/// The longest string that is accepted. Log lines, messages and lists of outputs stay far below.
const MAX_STRING: u64 = 64 << 20;
/// The longest string of which a part is read and the rest passes by.
const MAX_SHORTENED: u64 = 4 << 30;
/// The most entries that are accepted in one list.
const MAX_ENTRIES: u64 = 1 << 24;

/// Reads what the daemon sends.
#[derive(Debug)]
pub(super) struct WireReader<R>(pub(super) R);

impl<R: Read> WireReader<R> {
    pub(super) fn u64(&mut self) -> Result<u64, ProtocolError> {
        let mut bytes = [0; 8];
        self.0.read_exact(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, ProtocolError> {
        let length = self.length("string", MAX_STRING)?;
        let mut bytes = Vec::new();
        // `take` grows the buffer as bytes arrive.
        (&mut self.0).take(length).read_to_end(&mut bytes)?;
        if (bytes.len() as u64) < length {
            return Err(ProtocolError::Closed);
        }
        self.padding(length)?;
        Ok(bytes)
    }

    fn padding(&mut self, length: u64) -> Result<(), ProtocolError> {
        let mut padding = [0; 8];
        let padding = &mut padding[..(length.next_multiple_of(8) - length) as usize];
        self.0.read_exact(padding)?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(ProtocolError::Malformed { what: "string", found: Malformed::Padding });
        }
        Ok(())
    }

    /// Reads text that is only shown, so bad UTF-8 is replaced.
    pub(super) fn lossy(&mut self) -> Result<String, ProtocolError> {
        let bytes = self.bytes()?;
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// Reads text that is only shown, of any length: at most `limit` bytes of it, and how many were
    /// left out. What is left out takes no memory.
    pub(super) fn shortened(&mut self, limit: usize) -> Result<(String, u64), ProtocolError> {
        let length = self.length("string", MAX_SHORTENED)?;
        let kept = length.min(limit as u64);
        let mut bytes = Vec::new();
        (&mut self.0).take(kept).read_to_end(&mut bytes)?;
        let rest = length - bytes.len() as u64;
        if io::copy(&mut (&mut self.0).take(rest), &mut io::sink())? < rest {
            return Err(ProtocolError::Closed);
        }
        self.padding(length)?;
        let mut left_out = length - kept;
        if left_out > 0 {
            // Not in the middle of a character.
            let whole = match std::str::from_utf8(&bytes) {
                Err(error) if error.error_len().is_none() => error.valid_up_to(),
                Ok(_) | Err(_) => bytes.len(),
            };
            left_out += (bytes.len() - whole) as u64;
            bytes.truncate(whole);
        }
        let text = String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        Ok((text, left_out))
    }

    /// Reads text that is used.
    pub(super) fn text(&mut self) -> Result<String, ProtocolError> {
        let utf8 = |_| ProtocolError::Malformed { what: "string", found: Malformed::Utf8 };
        String::from_utf8(self.bytes()?).map_err(utf8)
    }

    /// Reads a count and then so many entries.
    pub(super) fn list<T>(
        &mut self,
        mut entry: impl FnMut(&mut Self) -> Result<T, ProtocolError>,
    ) -> Result<Vec<T>, ProtocolError> {
        let count = self.length("list", MAX_ENTRIES)?;
        let mut entries = Vec::new();
        for _ in 0..count {
            entries.push(entry(self)?);
        }
        Ok(entries)
    }

    /// Reads a count and so many entries, of which the first few are kept.
    pub(super) fn first<T>(
        &mut self,
        most: usize,
        mut entry: impl FnMut(&mut Self) -> Result<T, ProtocolError>,
    ) -> Result<Vec<T>, ProtocolError> {
        let count = self.length("list", MAX_ENTRIES)?;
        let mut entries = Vec::new();
        for _ in 0..count {
            let entry = entry(self)?;
            if entries.len() < most {
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    fn length(&mut self, what: &'static str, limit: u64) -> Result<u64, ProtocolError> {
        let length = self.u64()?;
        if length > limit {
            let found = Malformed::Length { length, limit };
            return Err(ProtocolError::Malformed { what, found });
        }
        Ok(length)
    }
}

/// A question, put together before any of it is sent.
#[derive(Default)]
pub(super) struct Message(pub(super) Vec<u8>);

impl Message {
    pub(super) fn u64(&mut self, number: u64) -> &mut Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.u64(bytes.len() as u64);
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        self
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    pub(super) fn texts(&mut self, texts: impl ExactSizeIterator<Item = String>) -> &mut Self {
        self.u64(texts.len() as u64);
        texts.fold(self, |message, text| message.text(&text))
    }
}

/// Sends a body of unknown length: frames with a length before each, unpadded, and an empty one at
/// the end.
pub(super) struct FramedWriter<W: Write> {
    inner: W,
    frame: Vec<u8>,
}

impl<W: Write> FramedWriter<W> {
    const FRAME: usize = 64 * 1024;

    pub(super) fn new(inner: W) -> Self {
        Self { inner, frame: Vec::with_capacity(Self::FRAME) }
    }

    fn send(&mut self) -> io::Result<()> {
        if !self.frame.is_empty() {
            self.inner.write_all(&(self.frame.len() as u64).to_le_bytes())?;
            self.inner.write_all(&self.frame)?;
            self.frame.clear();
        }
        Ok(())
    }

    /// Sends what is left and the empty frame.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.send()?;
        self.inner.write_all(&0u64.to_le_bytes())?;
        self.inner.flush()
    }
}

impl<W: Write> Write for FramedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.frame.len() >= Self::FRAME {
            self.send()?;
        }
        let count = bytes.len().min(Self::FRAME - self.frame.len());
        self.frame.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()?;
        self.inner.flush()
    }
}
