//! Where a call's number, arguments and result are, on each kind of processor.

use std::io;

use crate::status::Thread;
use crate::sys;

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{AUDIT, set_answer, set_call};
#[cfg(target_arch = "x86_64")]
use x86_64::{rewind, stack};

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::{AUDIT, set_answer, set_call};
#[cfg(target_arch = "aarch64")]
use aarch64::{rewind, stack};

/// The registers as the kernel keeps them.
pub(crate) type RawRegisters = libc::user_regs_struct;

/// The registers of a stopped thread, to be put back.
#[derive(Clone, Copy)]
pub struct Registers(pub(crate) RawRegisters);

impl Registers {
    /// Reads them.
    pub(crate) fn of(thread: Thread) -> io::Result<Self> {
        sys::registers(thread).map(Self)
    }

    /// Returns the same, standing before the call once more.
    pub(crate) fn before_the_call(mut self) -> Self {
        rewind(&mut self.0);
        self
    }

    /// Returns the address where the stack ends.
    pub(crate) fn stack(&self) -> u64 {
        stack(&self.0)
    }

    /// Puts them back.
    pub(crate) fn put(&self, thread: Thread) -> io::Result<()> {
        sys::set_registers(thread, &self.0)
    }
}
