//! x86_64: the number is in `orig_rax`, arguments in `rdi`, `rsi`, `rdx`, `r10`, `r8`, `r9`, the result in `rax`.

use std::io;

use super::{RawRegisters, Registers};
use crate::status::Thread;

/// What the kernel calls this kind of processor: `AUDIT_ARCH_X86_64`.
pub(crate) const AUDIT: u32 = 0xc000_003e;

/// Has the thread make another call than that before which it stands.
pub(crate) fn set_call(thread: Thread, number: i64, arguments: [u64; 6]) -> io::Result<()> {
    let mut registers = Registers::of(thread)?;
    registers.0.orig_rax = number.cast_unsigned();
    let [rdi, rsi, rdx, r10, r8, r9] = arguments;
    (registers.0.rdi, registers.0.rsi, registers.0.rdx) = (rdi, rsi, rdx);
    (registers.0.r10, registers.0.r8, registers.0.r9) = (r10, r8, r9);
    registers.put(thread)
}

/// Has the call before which a thread stands not happen, and its result be this.
pub(crate) fn set_answer(thread: Thread, result: i64) -> io::Result<()> {
    let mut registers = Registers::of(thread)?;
    registers.0.orig_rax = u64::MAX;
    registers.0.rax = result.cast_unsigned();
    registers.put(thread)
}

/// Has the thread make the call once more: the instruction has two bytes, and its number was overwritten.
pub(super) fn rewind(registers: &mut RawRegisters) {
    registers.rip = registers.rip.wrapping_sub(2);
    registers.rax = registers.orig_rax;
    // Else the kernel would do so itself for a call that was interrupted.
    registers.orig_rax = u64::MAX;
}

pub(super) fn stack(registers: &RawRegisters) -> u64 {
    registers.rsp
}
