//! Names of processes and threads, and how they end.

use std::fmt;
use std::io;

use crate::calls::Descriptor;
use crate::sys;

/// A process, all its threads together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(pub(crate) i32);

/// One thread of a process, by which the kernel traces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Thread(pub(crate) i32);

impl Pid {
    /// Returns the number that the kernel gave it.
    pub fn number(self) -> i32 {
        self.0
    }

    /// Returns whether two descriptors of the process share one open file, with its place in it.
    pub fn is_same_open_file(self, a: Descriptor, b: Descriptor) -> io::Result<bool> {
        sys::is_same_open_file(self.0, a.0, b.0)
    }
}

impl Thread {
    /// Returns the number that the kernel gave it.
    pub fn number(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with a code from 0 to 255.
    Exited(u8),
    /// By a signal, perhaps after writing a core dump.
    Killed {
        /// The number of the signal.
        signal: i32,
    },
}

impl Ended {
    /// Ends this process in the same way.
    pub fn end_alike(self) -> ! {
        match self {
            Self::Exited(code) => std::process::exit(code.into()),
            Self::Killed { signal } => crate::sys::end_by(signal),
        }
    }
}

/// What `waitpid` says of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is no more.
    Ended(Ended),
    /// It stands before a call that the filter named.
    Seccomp,
    /// It returned from a call that was waited for.
    Returned,
    /// A signal is about to reach it.
    Signal(i32),
    /// It started another one, or runs another program; what is asked for by its number.
    Event(Event),
    /// It stopped with all threads of its process because of a signal, as shells stop jobs.
    GroupStop(i32),
    /// It stopped for the first time, or after such a stop: there is nothing to be done but to go on.
    Attached,
}

/// What the kernel tells about a thread that is traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It started a process or a thread.
    Born(Birth),
    /// It runs another program.
    Executed,
    /// Its parent by `vfork` may go on.
    VforkDone,
}

/// How a thread or process was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Birth {
    Fork,
    Vfork,
    /// A thread, or a process that announces its end by another signal than is usual.
    Clone,
}

impl Change {
    /// Reads a status as `waitpid` gives it for a seized thread; nothing if it means nothing known.
    pub(crate) fn read(status: i32) -> Option<Self> {
        if libc::WIFEXITED(status) {
            // The kernel keeps eight bits.
            let code = u8::try_from(libc::WEXITSTATUS(status)).ok()?;
            return Some(Self::Ended(Ended::Exited(code)));
        }
        if libc::WIFSIGNALED(status) {
            return Some(Self::Ended(Ended::Killed { signal: libc::WTERMSIG(status) }));
        }
        if !libc::WIFSTOPPED(status) {
            return None;
        }
        let signal = libc::WSTOPSIG(status);
        if signal == libc::SIGTRAP | 0x80 {
            return Some(Self::Returned);
        }
        Some(match status >> 16 {
            0 => Self::Signal(signal),
            libc::PTRACE_EVENT_SECCOMP => Self::Seccomp,
            libc::PTRACE_EVENT_FORK => Self::Event(Event::Born(Birth::Fork)),
            libc::PTRACE_EVENT_VFORK => Self::Event(Event::Born(Birth::Vfork)),
            libc::PTRACE_EVENT_CLONE => Self::Event(Event::Born(Birth::Clone)),
            libc::PTRACE_EVENT_EXEC => Self::Event(Event::Executed),
            libc::PTRACE_EVENT_VFORK_DONE => Self::Event(Event::VforkDone),
            libc::PTRACE_EVENT_STOP => match signal {
                libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => {
                    Self::GroupStop(signal)
                }
                _ => Self::Attached,
            },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stopped(signal: i32, event: i32) -> i32 {
        0x7f | (signal << 8) | (event << 16)
    }

    #[test]
    fn each_status_has_its_meaning() {
        let read = Change::read;
        assert_eq!(read(3 << 8), Some(Change::Ended(Ended::Exited(3))));
        assert_eq!(read(9), Some(Change::Ended(Ended::Killed { signal: 9 })));
        // With a core dump.
        assert_eq!(read(11 | 0x80), Some(Change::Ended(Ended::Killed { signal: 11 })));
        assert_eq!(read(stopped(libc::SIGTRAP | 0x80, 0)), Some(Change::Returned));
        assert_eq!(read(stopped(libc::SIGTRAP, 0)), Some(Change::Signal(libc::SIGTRAP)));
        assert_eq!(read(stopped(libc::SIGSTOP, 0)), Some(Change::Signal(libc::SIGSTOP)));
        let event = |event| read(stopped(libc::SIGTRAP, event));
        assert_eq!(event(libc::PTRACE_EVENT_SECCOMP), Some(Change::Seccomp));
        assert_eq!(event(libc::PTRACE_EVENT_EXEC), Some(Change::Event(Event::Executed)));
        assert_eq!(event(libc::PTRACE_EVENT_STOP), Some(Change::Attached));
        assert_eq!(
            read(stopped(libc::SIGTSTP, libc::PTRACE_EVENT_STOP)),
            Some(Change::GroupStop(libc::SIGTSTP))
        );
        assert_eq!(event(99), None);
        assert_eq!(read(0xffff), None, "continued");
    }
}
