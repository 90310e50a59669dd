//! The kernel's calls for tracing. Each function is one call, checked; nothing here decides anything.
#![expect(unsafe_code, reason = "the kernel is given addresses; each block says why they are good")]

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::time::{Duration, Instant};

use crate::arch::RawRegisters;
use crate::status::Thread;

/// What the kernel says about the call that a thread stands at: words of `struct ptrace_syscall_info`.
pub(crate) type CallWords = [u64; 11];

/// What C libraries do not agree about.
#[cfg(target_env = "musl")]
type Request = libc::c_int;
#[cfg(not(target_env = "musl"))]
type Request = libc::c_uint;

/// How a stopped thread goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GoOn {
    /// Until something that the filter names, or an event.
    Freely,
    /// Until the call before which it stands returns.
    ToReturn,
    /// Stopped for its parent's eyes, but heard if a signal continues it.
    Listening,
}

fn checked(result: i64) -> io::Result<i64> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value),
    }
}

/// Asks the kernel something about a thread. `data` is an address only where the request says so.
fn ptrace(request: Request, thread: Thread, address: usize, data: usize) -> io::Result<i64> {
    // SAFETY: the callers below pass addresses of values that live longer than the call, with their right sizes.
    checked(unsafe { libc::ptrace(request, thread.0, address, data) })
}

/// Begins to trace a process that runs, and all that it will start.
pub(crate) fn seize(thread: Thread) -> io::Result<()> {
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEEXEC
        | libc::PTRACE_O_TRACESECCOMP
        // Nothing outlives who traces it: nobody would tell it apart from a build's own.
        | libc::PTRACE_O_EXITKILL;
    let options = usize::try_from(options).map_err(io::Error::other)?;
    ptrace(libc::PTRACE_SEIZE, thread, 0, options).map(drop)
}

/// Has a stopped thread go on, with a signal that reaches it then, or 0.
pub(crate) fn go_on(thread: Thread, how: GoOn, signal: i32) -> io::Result<()> {
    let request = match how {
        GoOn::Freely => libc::PTRACE_CONT,
        GoOn::ToReturn => libc::PTRACE_SYSCALL,
        GoOn::Listening => libc::PTRACE_LISTEN,
    };
    let signal = usize::try_from(signal).map_err(io::Error::other)?;
    ptrace(request, thread, 0, signal).map(drop)
}

/// Returns what belongs to the event at which a thread stands: a number of a thread.
pub(crate) fn event_message(thread: Thread) -> io::Result<Thread> {
    let mut message: libc::c_ulong = 0;
    ptrace(libc::PTRACE_GETEVENTMSG, thread, 0, &raw mut message as usize)?;
    i32::try_from(message).map(Thread).map_err(io::Error::other)
}

/// Returns what the kernel says about the call at which a thread stands.
pub(crate) fn call_words(thread: Thread) -> io::Result<CallWords> {
    /// `PTRACE_GET_SYSCALL_INFO`, which not every C library names.
    const GET_SYSCALL_INFO: Request = 0x420e;
    let mut words: CallWords = [0; 11];
    ptrace(GET_SYSCALL_INFO, thread, size_of_val(&words), &raw mut words as usize)?;
    Ok(words)
}

/// Returns the registers of a stopped thread.
pub(crate) fn registers(thread: Thread) -> io::Result<RawRegisters> {
    let mut registers = MaybeUninit::<RawRegisters>::zeroed();
    let mut place =
        libc::iovec { iov_base: registers.as_mut_ptr().cast(), iov_len: size_of::<RawRegisters>() };
    ptrace(libc::PTRACE_GETREGSET, thread, PRSTATUS, &raw mut place as usize)?;
    // SAFETY: they are numbers, for which any bits are good, and were zeroes before.
    Ok(unsafe { registers.assume_init() })
}

/// Changes the registers of a stopped thread.
pub(crate) fn set_registers(thread: Thread, registers: &RawRegisters) -> io::Result<()> {
    let mut copy = *registers;
    let mut place =
        libc::iovec { iov_base: (&raw mut copy).cast(), iov_len: size_of::<RawRegisters>() };
    ptrace(libc::PTRACE_SETREGSET, thread, PRSTATUS, &raw mut place as usize).map(drop)
}

/// The set of registers that hold numbers: `NT_PRSTATUS`.
const PRSTATUS: usize = 1;

/// Changes the number of the call before which a thread stands, where it is no register.
#[cfg(target_arch = "aarch64")]
pub(crate) fn set_call_number(thread: Thread, number: i32) -> io::Result<()> {
    /// `NT_ARM_SYSTEM_CALL`.
    const SYSTEM_CALL: usize = 0x404;
    let mut copy = number;
    let mut place = libc::iovec { iov_base: (&raw mut copy).cast(), iov_len: size_of::<i32>() };
    ptrace(libc::PTRACE_SETREGSET, thread, SYSTEM_CALL, &raw mut place as usize).map(drop)
}

/// Waits for a change of any thread that is traced; nothing once there are none.
pub(crate) fn wait() -> io::Result<Option<(Thread, i32)>> {
    loop {
        let mut status = 0;
        // SAFETY: the status lives longer than the call.
        let result = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) };
        match checked(i64::from(result)) {
            Ok(_) => return Ok(Some((Thread(result), status))),
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// Waits for a change for a while; nothing if there was none.
pub(crate) fn wait_for(period: Duration) -> io::Result<Option<(Thread, i32)>> {
    let deadline = Instant::now() + period;
    loop {
        let mut status = 0;
        // SAFETY: the status lives longer than the call.
        let result = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::WNOHANG) };
        match checked(i64::from(result)) {
            Ok(0) if Instant::now() >= deadline => return Ok(None),
            Ok(0) => std::thread::sleep(Duration::from_millis(1)),
            Ok(_) => return Ok(Some((Thread(result), status))),
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// Kills a process, if it is still there.
pub(crate) fn kill(process: i32) {
    // SAFETY: no addresses. Whoever is not there any more need not be killed.
    unsafe { libc::kill(process, libc::SIGKILL) };
}

/// Whether two descriptors of a process share one open file, with its place in it.
pub(crate) fn is_same_open_file(process: i32, a: i32, b: i32) -> io::Result<bool> {
    const KCMP_FILE: i32 = 0;
    // SAFETY: no addresses.
    let order = unsafe { libc::syscall(libc::SYS_kcmp, process, process, KCMP_FILE, a, b) };
    checked(order).map(|order| order == 0)
}

/// Reads memory of a stopped thread into a buffer; returns how many bytes could be read from the beginning.
pub(crate) fn read_memory(thread: Thread, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = remote(address, buffer.len())?;
    // SAFETY: the local part is the buffer. The kernel checks the other process's addresses.
    let read =
        unsafe { libc::process_vm_readv(thread.0, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(checked(read as i64)?).map_err(io::Error::other)
}

/// Writes to memory of a stopped thread.
pub(crate) fn write_memory(thread: Thread, address: u64, bytes: &[u8]) -> io::Result<usize> {
    let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let remote = remote(address, bytes.len())?;
    // SAFETY: the local part is only read. The kernel checks the other process's addresses.
    let written =
        unsafe { libc::process_vm_writev(thread.0, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(checked(written as i64)?).map_err(io::Error::other)
}

/// An address of another process, which means nothing in this one.
fn remote(address: u64, length: usize) -> io::Result<libc::iovec> {
    let address = usize::try_from(address).map_err(io::Error::other)?;
    Ok(libc::iovec { iov_base: ptr::without_provenance_mut(address), iov_len: length })
}

/// Ends this process by a signal, without a core dump.
pub(crate) fn end_by(signal: i32) -> ! {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limits live longer than the call; the other calls have no addresses.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
        libc::signal(signal, libc::SIG_DFL);
        libc::kill(libc::getpid(), signal);
        // A signal that ended another process but not this one.
        libc::_exit(128_i32.saturating_add(signal))
    }
}

/// Starts a process that waits until it is traced and then runs a program; see [`crate::spawn`].
pub(crate) struct Starting<'a> {
    /// The program's path, its arguments and its environment, each list ended by a null pointer.
    pub(crate) program: *const libc::c_char,
    pub(crate) arguments: &'a [*const libc::c_char],
    pub(crate) environment: &'a [*const libc::c_char],
    pub(crate) filter: &'a [libc::sock_filter],
    /// What is read from once the process may go on, and what is written to if it cannot.
    pub(crate) gate: i32,
    pub(crate) failure: i32,
}

impl Starting<'_> {
    /// Returns the number of the new process.
    pub(crate) fn start(&self) -> io::Result<Thread> {
        // SAFETY: the child calls only what may be called after `fork` in a process that had threads: system calls
        // on memory that was made before.
        match checked(i64::from(unsafe { libc::fork() }))? {
            0 => self.become_program(),
            child => i32::try_from(child).map(Thread).map_err(io::Error::other),
        }
    }

    fn become_program(&self) -> ! {
        let filter = libc::sock_fprog {
            len: u16::try_from(self.filter.len()).unwrap_or(u16::MAX),
            filter: self.filter.as_ptr().cast_mut(),
        };
        // SAFETY: all pointers are to memory that was made before the fork and is kept by the parent's frame, which
        // this process has a copy of. Nothing is allocated, and nothing returns.
        unsafe {
            let mut byte = 0_u8;
            // What Rust changes at its start, and programs expect as it was.
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            let stage = if libc::read(self.gate, (&raw mut byte).cast(), 1) != 1 {
                1_u8
            } else if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
                2
            } else if libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const filter,
                0,
                0,
            ) != 0
            {
                3
            } else {
                libc::execve(self.program, self.arguments.as_ptr(), self.environment.as_ptr());
                4
            };
            let code = *libc::__errno_location();
            let said = [stage, code.to_le_bytes()[0], code.to_le_bytes()[1]];
            libc::write(self.failure, said.as_ptr().cast(), said.len());
            libc::_exit(127)
        }
    }
}
