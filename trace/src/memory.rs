//! Reading what a stopped process has in its memory.

use crate::calls::Address;
use crate::status::Thread;
use crate::sys;

/// What cannot be read of a process, or written to it.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The address is not one of the process: the call will fail, too.
    #[error("the process has nothing at {0:#x}")]
    Address(u64),
    /// A text does not end where one must.
    #[error("a text has no end within {0} bytes")]
    TooLong(usize),
    /// The process is gone.
    #[error("the process is gone")]
    Gone,
}

/// Memory is there or not by pages of at least this size.
const PAGE: usize = 4096;

/// Returns how many bytes there are from an address to the end of its page.
fn left_of_page(address: u64) -> usize {
    let into = usize::try_from(address % PAGE as u64).unwrap_or_default();
    PAGE - into
}

fn classify(error: &std::io::Error, address: u64) -> MemoryError {
    match error.raw_os_error() {
        Some(libc::ESRCH) => MemoryError::Gone,
        Some(_) | None => MemoryError::Address(address),
    }
}

/// Returns a text without the zero byte that ends it, which must come within `most` bytes.
pub(crate) fn text(thread: Thread, from: Address, most: usize) -> Result<Vec<u8>, MemoryError> {
    let mut found = Vec::new();
    let mut address = from.0;
    // Most paths are short, and the page that follows may not be there.
    let mut step = 256;
    while found.len() < most {
        let mut buffer = [0_u8; PAGE];
        let want = left_of_page(address).min(step);
        step = PAGE;
        let Some(part) = buffer.get_mut(..want) else { break };
        let count =
            sys::read_memory(thread, address, part).map_err(|error| classify(&error, address))?;
        let Some(part) = part.get(..count) else { break };
        if let Some(end) = part.iter().position(|byte| *byte == 0) {
            found.extend(part.iter().take(end));
            return match found.len() < most {
                true => Ok(found),
                false => Err(MemoryError::TooLong(most)),
            };
        }
        found.extend(part);
        let Some(next) = address.checked_add(count as u64) else { break };
        address = next;
    }
    Err(MemoryError::TooLong(most))
}

/// Returns so many bytes.
pub(crate) fn bytes(thread: Thread, from: Address, length: usize) -> Result<Vec<u8>, MemoryError> {
    let mut found = vec![0; length];
    let mut read = 0;
    while read < length {
        let Some(rest) = found.get_mut(read..) else { break };
        let address = from.0.wrapping_add(read as u64);
        match sys::read_memory(thread, address, rest) {
            Ok(0) => return Err(MemoryError::Address(address)),
            Ok(count) => read += count,
            Err(error) => return Err(classify(&error, address)),
        }
    }
    Ok(found)
}

/// Returns the addresses of an array that ends with 0, of at most `most`.
pub(crate) fn addresses(
    thread: Thread,
    from: Address,
    most: usize,
) -> Result<Vec<Address>, MemoryError> {
    let mut found = Vec::new();
    if from.0 == 0 {
        // Linux takes no array for an empty one.
        return Ok(found);
    }
    let mut address = from.0;
    loop {
        // Never over the end of a page, for the next one may not be there.
        let words = (left_of_page(address) / 8).max(1);
        for word in bytes(thread, Address(address), words * 8)?.chunks_exact(8) {
            let word = u64::from_ne_bytes(word.try_into().unwrap_or_default());
            if word == 0 {
                return Ok(found);
            }
            if found.len() >= most {
                return Err(MemoryError::TooLong(most));
            }
            found.push(Address(word));
        }
        address = address.wrapping_add(words as u64 * 8);
    }
}

/// Writes bytes.
pub(crate) fn write(thread: Thread, to: Address, bytes: &[u8]) -> Result<(), MemoryError> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        let address = to.0.wrapping_add(written as u64);
        match sys::write_memory(thread, address, rest) {
            Ok(0) => return Err(MemoryError::Address(address)),
            Ok(count) => written += count,
            Err(error) => return Err(classify(&error, address)),
        }
    }
    Ok(())
}
