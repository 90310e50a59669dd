//! A thread that stands still, and what its watcher may find out about it.

use std::io;

use crate::calls::{Address, Bytes};
use crate::memory::{self, MemoryError};
use crate::status::{Pid, Thread};

/// The longest path that the kernel takes, with the zero byte at its end.
const LONGEST_PATH: usize = 4096;
/// The longest argument or variable that the kernel takes: 32 pages.
const LONGEST_TEXT: usize = 32 * 4096;
/// The most arguments or variables: what all of them together may take has no more addresses.
const MOST_TEXTS: usize = 1 << 20;

/// A thread that stands still while its watcher decides.
#[derive(Debug)]
pub struct Stopped {
    pub(crate) thread: Thread,
    pub(crate) pid: Pid,
    /// What the call that was made in place of this one came to, if there was one.
    pub(crate) detour: Option<i64>,
}

impl Stopped {
    /// Returns the process.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Returns the thread.
    pub fn thread(&self) -> Thread {
        self.thread
    }

    /// Returns what the call came to that the watcher had the thread make before this one.
    pub fn detour(&self) -> Option<i64> {
        self.detour
    }

    /// Returns a path that an argument of a call leads to.
    pub fn path(&self, at: Address) -> Result<Vec<u8>, MemoryError> {
        memory::text(self.thread, at, LONGEST_PATH)
    }

    /// Returns arguments or an environment.
    pub fn texts(&self, at: Address) -> Result<Vec<Vec<u8>>, MemoryError> {
        let addresses = memory::addresses(self.thread, at, MOST_TEXTS)?;
        let text = |at: Address| memory::text(self.thread, at, LONGEST_TEXT);
        addresses.into_iter().map(text).collect()
    }

    /// Returns so many bytes of memory.
    pub fn bytes(&self, at: Address, length: usize) -> Result<Vec<u8>, MemoryError> {
        memory::bytes(self.thread, at, length)
    }

    /// Returns the first bytes of a transfer, as many as it moved.
    pub fn transferred(&self, bytes: Bytes, moved: usize) -> Result<Vec<u8>, MemoryError> {
        match bytes {
            Bytes::One { address, .. } => self.bytes(address, moved),
            Bytes::Several { address, count } => {
                let mut found = Vec::with_capacity(moved);
                // As many as the kernel takes.
                for index in 0..count.min(1024) {
                    let left = moved - found.len();
                    if left == 0 {
                        break;
                    }
                    let place = Address(address.0.wrapping_add(index * 16));
                    let words = self.bytes(place, 16)?;
                    let word = |at: usize| {
                        let part = words.get(at..at + 8).and_then(|part| part.try_into().ok());
                        part.map(u64::from_ne_bytes).unwrap_or_default()
                    };
                    let length = usize::try_from(word(8)).unwrap_or(left).min(left);
                    found.extend(self.bytes(Address(word(0)), length)?);
                }
                Ok(found)
            }
        }
    }

    /// Changes memory of the process.
    pub fn write(&self, at: Address, bytes: &[u8]) -> Result<(), MemoryError> {
        memory::write(self.thread, at, bytes)
    }

    /// Returns an address below what the thread's stack holds, where it keeps nothing.
    pub fn free_stack(&self) -> io::Result<Address> {
        // Leaf functions may use 128 bytes below the pointer without moving it.
        let below = crate::arch::Registers::of(self.thread)?.stack().saturating_sub(16 * 1024);
        Ok(Address(below & !0xf))
    }
}
