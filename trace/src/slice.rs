//! How long a thread runs before another one has its turn. Here because no safe library has the call; it is not about tracing.
#![expect(unsafe_code, reason = "the kernel is given an address; the block says why it is good")]

use std::io;
use std::time::Duration;

/// Asks that the calling thread, and what it starts from now on, runs for `slice` on end where others wait for the processor:
/// it has its turn less often, and lets those go first that ask for less. The kernel takes 0.1 to 100 ms; one before 6.12 takes
/// no notice. `niceness` is what the thread has already; its policy stays.
pub fn ask_for_slices(slice: Duration, niceness: i32) -> io::Result<()> {
    let runtime = u64::try_from(slice.as_nanos()).map_err(io::Error::other)?;
    let attributes = libc::sched_attr {
        size: u32::try_from(size_of::<libc::sched_attr>()).map_err(io::Error::other)?,
        sched_policy: 0,
        // Whoever runs this may have chosen one.
        sched_flags: u64::try_from(libc::SCHED_FLAG_KEEP_POLICY).map_err(io::Error::other)?,
        sched_nice: niceness,
        sched_priority: 0,
        sched_runtime: runtime,
        sched_deadline: 0,
        sched_period: 0,
    };
    let (this_thread, flags) = (0, 0);
    // SAFETY: the kernel reads as many bytes as `size` says, which are those of a value that lives longer than the call.
    match unsafe {
        libc::syscall(libc::SYS_sched_setattr, this_thread, &raw const attributes, flags)
    } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what the kernel has about the calling thread.
    fn kernels() -> libc::sched_attr {
        // SAFETY: numbers only, of which zero is one.
        let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
        let size = size_of::<libc::sched_attr>();
        // SAFETY: the kernel writes at most `size` bytes, as many as there are.
        let result =
            unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
        attributes
    }

    /// Returns the niceness and the slice of the calling thread.
    fn attributes() -> (i32, Duration) {
        let attributes = kernels();
        (attributes.sched_nice, Duration::from_nanos(attributes.sched_runtime))
    }

    #[test]
    fn who_works_in_batches_goes_on_to_do_so() {
        let asking = std::thread::spawn(|| {
            let niceness = kernels().sched_nice;
            let parameters = libc::sched_param { sched_priority: 0 };
            // SAFETY: the kernel reads a value that lives longer than the call.
            let set =
                unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) };
            assert_eq!(set, 0, "{}", io::Error::last_os_error());
            ask_for_slices(Duration::from_millis(100), niceness).unwrap();
            kernels().sched_policy
        });
        assert_eq!(i32::try_from(asking.join().unwrap()), Ok(libc::SCHED_BATCH));
    }

    #[test]
    fn the_thread_and_what_it_starts_have_the_slice_and_no_others() {
        let (niceness, before) = attributes();
        let slice = Duration::from_millis(100);
        let asking = std::thread::spawn(move || {
            ask_for_slices(slice, niceness).unwrap();
            (attributes(), std::thread::spawn(attributes).join().unwrap())
        });
        let (own, started) = asking.join().unwrap();
        // A kernel that knows no slices says 0 of all.
        let expected = if before.is_zero() { before } else { slice };
        assert_eq!((own, started), ((niceness, expected), (niceness, expected)));
        assert_eq!(attributes(), (niceness, before));
    }
}
