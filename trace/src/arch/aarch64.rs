//! aarch64: the number is in `x8` and a place of its own, arguments in `x0` to `x5`, the result in `x0`.

use std::io;

use super::{RawRegisters, Registers};
use crate::status::Thread;
use crate::sys;

/// What the kernel calls this kind of processor: `AUDIT_ARCH_AARCH64`.
pub(crate) const AUDIT: u32 = 0xc000_00b7;

/// Has the thread make another call than that before which it stands.
pub(crate) fn set_call(thread: Thread, number: i64, arguments: [u64; 6]) -> io::Result<()> {
    let mut registers = Registers::of(thread)?;
    for (place, argument) in registers.0.regs.iter_mut().zip(arguments) {
        *place = argument;
    }
    registers.0.regs[8] = number.cast_unsigned();
    registers.put(thread)?;
    let number = i32::try_from(number).map_err(io::Error::other)?;
    sys::set_call_number(thread, number)
}

/// Has the call before which a thread stands not happen, and its result be this.
pub(crate) fn set_answer(thread: Thread, result: i64) -> io::Result<()> {
    let mut registers = Registers::of(thread)?;
    registers.0.regs[0] = result.cast_unsigned();
    registers.put(thread)?;
    sys::set_call_number(thread, -1)
}

/// Has the thread make the call once more: the instruction has four bytes.
pub(super) fn rewind(registers: &mut RawRegisters) {
    registers.pc = registers.pc.wrapping_sub(4);
}

pub(super) fn stack(registers: &RawRegisters) -> u64 {
    registers.sp
}
