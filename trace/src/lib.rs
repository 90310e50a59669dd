//! Runs a program, and sees each call by which it and all that it starts touch files, processes and descriptors.
//!
//! A [`Watcher`] is asked before such a call and may let it happen, wait for its result, or answer in the kernel's
//! place. Calls that only compute, wait or move bytes of descriptors that a program opened itself do not stop it: see
//! [`calls`]. What nobody decided is let happen: without a watcher that interferes, a traced program behaves as an
//! untraced one.
//!
//! Not here: what calls mean for a build, and anything about files' contents. Linux only, on x86_64 and aarch64.

mod arch;
pub mod calls;
mod filter;
mod memory;
mod slice;
mod spawn;
mod status;
mod stopped;
mod sys;
mod tracer;

pub use arch::Registers;
pub use calls::Call;
pub use filter::DescriptorSet;
pub use memory::MemoryError;
pub use slice::ask_for_slices;
pub use spawn::Program;
pub use status::{Ended, Pid, Thread};
pub use stopped::Stopped;
pub use tracer::{Answer, Born, TraceError, Watcher, filter_for_more, trace};
