//! A program in a session of its own that does not outlive us, nor does what it starts.
//!
//! The kernel can send a signal to a child when its parent dies, but only to the child itself. A `bwrap` that is killed
//! in its first moments leaves a process that waits for it for ever. So there is a process between us and the program
//! that does nothing but wait for the end of either, and then ends the whole process group at once. It is a fork that
//! executes nothing. Start at [`alone`].

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::Pid;

/// Gives the command a session and a process group of its own, which end with the thread that starts it.
///
/// Whatever ends the group with one signal, as [`super::Stop`] does, ends everything that is still in it. How the
/// program ended is how the child ends.
#[expect(unsafe_code, reason = "there is no other way between fork and exec")]
pub(super) fn alone(command: &mut Command) {
    let parent = rustix::process::getpid();
    // SAFETY: `prepare` makes system calls through functions that allocate nothing and take no lock.
    unsafe {
        command.pre_exec(move || prepare(parent));
    }
}

/// Limits the memory for data of a command and all that it starts, in bytes each.
#[expect(unsafe_code, reason = "there is no other way between fork and exec")]
pub(super) fn limit_memory(command: &mut Command, bytes: u64) {
    use rustix::process::{Resource, Rlimit, setrlimit};
    // SAFETY: it is one system call.
    unsafe {
        command.pre_exec(move || {
            let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
            Ok(setrlimit(Resource::Data, limit)?)
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn prepare(_: Pid) -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

#[cfg(target_os = "linux")]
fn prepare(parent: Pid) -> io::Result<()> {
    use rustix::process::{Signal, getpid};

    rustix::process::setsid()?;
    let mask = linux::hold_signals()?;
    linux::end_with(parent, Signal::TERM)?;
    let watcher = getpid();
    match linux::fork()? {
        None => {
            linux::end_with(watcher, Signal::KILL)?;
            linux::restore_signals(&mask)
        }
        Some(child) => linux::watch(child),
    }
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "system calls of a process that has just been forked")]
mod linux {
    use std::mem::MaybeUninit;
    use std::{io, ptr};

    use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

    /// Has this process get a signal when its parent dies, which must still be `parent`.
    pub(super) fn end_with(parent: Pid, signal: Signal) -> io::Result<()> {
        set_parent_process_death_signal(Some(signal))?;
        // Who was gone before that call sends no signal any more.
        if getppid() == Some(parent) { Ok(()) } else { Err(rustix::io::Errno::SRCH.into()) }
    }

    fn awaited() -> libc::sigset_t {
        let mut set = MaybeUninit::uninit();
        // SAFETY: the first call makes the set, and the others change it.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), libc::SIGTERM);
            libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
            set.assume_init()
        }
    }

    /// Keeps the signals that are waited for until then; returns which were kept before.
    pub(super) fn hold_signals() -> io::Result<libc::sigset_t> {
        let mut before = MaybeUninit::uninit();
        // SAFETY: if it succeeds, the call fills in `before`.
        unsafe {
            match libc::sigprocmask(libc::SIG_BLOCK, &awaited(), before.as_mut_ptr()) {
                0 => Ok(before.assume_init()),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }

    pub(super) fn restore_signals(mask: &libc::sigset_t) -> io::Result<()> {
        // SAFETY: the mask is one that was in force.
        match unsafe { libc::sigprocmask(libc::SIG_SETMASK, mask, ptr::null_mut()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Returns the child, or nothing in the child.
    pub(super) fn fork() -> io::Result<Option<libc::pid_t>> {
        // SAFETY: this process was forked itself and has one thread; neither of the two does more than is done here.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => Ok(None),
            child => Ok(Some(child)),
        }
    }

    /// Waits for the end of the child, and ends as it did, or for the end of the parent, and ends the group.
    pub(super) fn watch(child: libc::pid_t) -> ! {
        let signals = awaited();
        // SAFETY: what is closed is not used here any more: streams that others wait for the end of. A system without
        // that call has them closed when this process ends, right after the child.
        unsafe {
            libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, 0);
        }
        loop {
            let mut signal = 0;
            let mut status = 0;
            // SAFETY: the calls get valid places for their results.
            unsafe {
                if libc::sigwait(&signals, &mut signal) == 0 && signal == libc::SIGTERM {
                    libc::kill(0, libc::SIGKILL);
                }
                if libc::waitpid(child, &mut status, libc::WNOHANG) == child {
                    end_as(status);
                }
            }
        }
    }

    /// Ends with the status of another process.
    fn end_as(status: libc::c_int) -> ! {
        // SAFETY: the calls change nothing but this process, which ends.
        unsafe {
            if libc::WIFSIGNALED(status) {
                let signal = libc::WTERMSIG(status);
                let mut mask = MaybeUninit::uninit();
                libc::sigfillset(mask.as_mut_ptr());
                libc::sigdelset(mask.as_mut_ptr(), signal);
                // Whoever reads a core file wants that of the program.
                libc::setrlimit(libc::RLIMIT_CORE, &libc::rlimit { rlim_cur: 0, rlim_max: 0 });
                libc::signal(signal, libc::SIG_DFL);
                libc::kill(libc::getpid(), signal);
                libc::sigsuspend(mask.as_ptr());
            }
            libc::_exit(libc::WEXITSTATUS(status))
        }
    }
}
