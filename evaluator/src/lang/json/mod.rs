//! JSON as Nix's library reads and writes it; knows nothing of values.
//!
//! Start at [`Reader`] for reading, [`write_string`] and [`write_float`] for writing.

mod digits;
mod float;
mod read;

pub use float::write_float;
pub use read::{Event, JsonError, Reader};

/// A text that cannot be written as JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot convert a string that is not UTF-8 to JSON (invalid byte at index {index})")]
pub struct NotUtf8 {
    /// The first wrong byte.
    pub index: usize,
}

/// Writes a text with quotes and escapes.
pub fn write_string(json: &mut Vec<u8>, text: &[u8]) -> Result<(), NotUtf8> {
    if let Err(error) = std::str::from_utf8(text) {
        return Err(NotUtf8 { index: error.valid_up_to() });
    }
    json.push(b'"');
    let mut plain = 0;
    for (index, byte) in text.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0x08 => b"\\b",
            0x0c => b"\\f",
            0..0x20 => &[],
            0x20.. => continue,
        };
        json.extend_from_slice(&text[plain..index]);
        if escape.is_empty() {
            json.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
        } else {
            json.extend_from_slice(escape);
        }
        plain = index + 1;
    }
    json.extend_from_slice(&text[plain..]);
    json.push(b'"');
    Ok(())
}

#[cfg(test)]
mod tests;
