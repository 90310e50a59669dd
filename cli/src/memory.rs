//! What happens when there is no more memory: an error, no crash.
//!
//! The standard library aborts on an allocation that fails. Where a thread or a pipe cannot be made,
//! it panics; that is [`exit::show_panics`]'s. Start at [`Allocator`].

use std::alloc::{GlobalAlloc, Layout};
use std::io::{self, Write};

use mimalloc::MiMalloc;

use crate::exit;

const OUT_OF_MEMORY: &str = "error: out of memory\nhint: give levain more memory (`ulimit -v`, the limit of its service), or less to do at a time\n";
/// An evaluation makes millions of small values and gives most of them back at once, which mimalloc
/// does in half the time of the C library's.
pub(crate) struct Allocator;

impl Allocator {
    fn checked(pointer: *mut u8) -> *mut u8 {
        if pointer.is_null() {
            end(OUT_OF_MEMORY);
        }
        pointer
    }
}

/// Ends the process; allocates nothing.
pub(crate) fn end(message: &str) -> ! {
    // If standard error is closed as well, there is nobody left to tell.
    io::stderr().write_all(message.as_bytes()).unwrap_or_default();
    std::process::exit(i32::from(exit::FAILURE))
}

#[expect(unsafe_code, reason = "an allocator has no other interface")]
// SAFETY: every call goes to mimalloc with the same arguments, and its answer is handed on unchanged;
// no answer that is null comes back.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are mimalloc's.
        Self::checked(unsafe { MiMalloc.alloc(layout) })
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from mimalloc.
        unsafe { MiMalloc.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are mimalloc's.
        Self::checked(unsafe { MiMalloc.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the pointer came from mimalloc, and the caller's promises are its.
        Self::checked(unsafe { MiMalloc.realloc(pointer, layout, size) })
    }
}
