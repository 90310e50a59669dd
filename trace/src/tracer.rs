//! The loop: waits for changes of traced threads, asks the watcher, and has them go on.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::arch::{self, Registers};
use crate::calls::Call;
use crate::filter::{self, FOREIGN};
use crate::spawn::Program;
use crate::status::{Birth, Change, Ended, Event, Pid, Thread};
use crate::stopped::Stopped;
use crate::sys::{self, GoOn};

/// Why a program could not be traced. Nothing of it runs any more.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// An argument or a variable has a zero byte.
    #[error("an argument or a variable has a zero byte")]
    Text {
        /// Where.
        #[source]
        source: std::ffi::NulError,
    },
    /// There are too many descriptors to watch.
    #[error("too many descriptors are to be watched")]
    Filter,
    /// No process could be started.
    #[error("cannot start a process: {source}")]
    Start {
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// The kernel does not let it be traced.
    #[error("the kernel does not let a program be traced: {source}")]
    Attach {
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// The program cannot be run.
    #[error("cannot run {}: {source}", path.display())]
    Program {
        /// The program.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nothing more is heard of the program.
    #[error("lost sight of the program: {source}")]
    Lost {
        /// What happened.
        #[source]
        source: io::Error,
    },
}

/// What becomes of a call before which a thread stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It happens.
    Go,
    /// It happens, and the watcher is told what it came to.
    GoAndTell,
    /// It does not happen; this is what the thread gets: a value, or an error's number below 0.
    Instead(i64),
    /// Another call happens in its place, for good: `exit_group`, for one.
    Replace {
        /// Its number.
        number: i64,
        /// Its arguments.
        arguments: [u64; 6],
    },
    /// Another call happens first. Then the thread stands before its own once more: see [`Stopped::detour`].
    First {
        /// Its number.
        number: i64,
        /// Its arguments.
        arguments: [u64; 6],
    },
}

/// How a process or thread came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Born {
    /// A process of its own.
    Process,
    /// A process in its parent's memory, which waits until it runs a program or ends.
    Borrower,
    /// Another thread of the same process.
    Thread,
}

/// Decides about calls, and is told what becomes of processes.
///
/// All that it is not told of happened without stopping the program.
pub trait Watcher {
    /// A process or thread is there, and has not run yet.
    fn born(&mut self, parent: Pid, child: Pid, how: Born) {
        let _ = (parent, child, how);
    }

    /// A thread is about to make a call.
    fn entering(&mut self, stopped: &mut Stopped, call: &Call) -> Answer;

    /// A call came to this that was to be told: a value, or an error's number below 0.
    fn returned(&mut self, stopped: &mut Stopped, call: &Call, result: i64);

    /// A process runs another program, with one thread.
    fn executed(&mut self, stopped: &mut Stopped) {
        let _ = stopped;
    }

    /// A process is no more.
    fn ended(&mut self, pid: Pid, how: Ended) {
        let _ = (pid, how);
    }
}

/// Errors by which the kernel says, to itself, that a call is to be made again: no program ever sees them.
const MADE_AGAIN: std::ops::RangeInclusive<i64> = -516..=-512;

/// What a thread does until it stops again.
#[derive(Clone, Copy)]
enum Doing {
    /// Whatever it likes.
    Running,
    /// A call whose result is to be told.
    Calling(Call),
    /// A call that the watcher wanted, before its own.
    Detour(Registers),
    /// Its own call once more, after one that came to this.
    Again(i64),
}

struct Tracee {
    pid: Pid,
    doing: Doing,
}

/// Runs a program until it ends, and tells how it ended. The calling process must have no other children.
///
/// Processes that outlive it go on as long as one of them could still write to this process's standard output or error,
/// which is as long as whoever reads these would wait for them; then they are killed.
pub fn trace(program: &Program, watcher: &mut dyn Watcher) -> Result<Ended, TraceError> {
    let root = program.start()?;
    let pid = Pid(root.0);
    let first = Tracee { pid, doing: Doing::Running };
    let mut tracer = Tracer {
        watcher,
        tracees: HashMap::from([(root, first)]),
        early: HashSet::new(),
        root: pid,
        ended: None,
    };
    let result = tracer.run(root);
    tracer.kill_all();
    result
}

struct Tracer<'w> {
    watcher: &'w mut dyn Watcher,
    tracees: HashMap<Thread, Tracee>,
    /// Threads that stopped before it was told who started them.
    early: HashSet<Thread>,
    root: Pid,
    ended: Option<Ended>,
}

impl Tracer<'_> {
    fn run(&mut self, root: Thread) -> Result<Ended, TraceError> {
        let lost = |source| TraceError::Lost { source };
        let mut stopped = self.stopped(root).ok_or_else(|| lost(io::ErrorKind::NotFound.into()))?;
        self.watcher.executed(&mut stopped);
        self.go_on(root, GoOn::Freely, 0).map_err(lost)?;
        loop {
            let change = match self.ended {
                None => sys::wait().map_err(lost)?,
                Some(ended) if !self.somebody_may_write() => return Ok(ended),
                // Nothing is told when somebody closes a descriptor.
                Some(_) => sys::wait_for(Duration::from_millis(20)).map_err(lost)?,
            };
            match (change, self.ended) {
                (Some((thread, status)), _) => self.changed(thread, status).map_err(lost)?,
                (None, Some(ended)) if self.tracees.is_empty() => return Ok(ended),
                (None, Some(_)) => {}
                (None, None) => return Err(lost(io::Error::other("no process is left"))),
            }
        }
    }

    fn stopped(&self, thread: Thread) -> Option<Stopped> {
        self.tracees.get(&thread).map(|one| Stopped { thread, pid: one.pid, detour: None })
    }

    /// Has a thread go on. Whoever was killed in the meantime is told of by the kernel.
    fn go_on(&mut self, thread: Thread, how: GoOn, signal: i32) -> io::Result<()> {
        gone_is_fine(sys::go_on(thread, how, signal))
    }

    fn changed(&mut self, thread: Thread, status: i32) -> io::Result<()> {
        let Some(change) = Change::read(status) else {
            return self.go_on(thread, GoOn::Freely, 0);
        };
        if !self.tracees.contains_key(&thread) {
            // It is told who started it when that one stops.
            if matches!(change, Change::Ended(_)) {
                self.early.remove(&thread);
            } else {
                self.early.insert(thread);
            }
            return Ok(());
        }
        match change {
            Change::Ended(how) => {
                self.thread_ended(thread, how);
                Ok(())
            }
            Change::Seccomp => self.entering(thread),
            Change::Returned => self.returned(thread),
            // Only what stands at a call may wait for its return; a signal comes before or after one.
            Change::Signal(signal) => self.go_on(thread, GoOn::Freely, signal),
            Change::Event(Event::Born(birth)) => self.born(thread, birth),
            Change::Event(Event::Executed) => self.executed(thread),
            Change::Event(Event::VforkDone) | Change::Attached => {
                let how = self.until(thread);
                self.go_on(thread, how, 0)
            }
            Change::GroupStop(_) => self.go_on(thread, GoOn::Listening, 0),
        }
    }

    /// Whether the return of a call is waited for, after an event in its middle.
    fn until(&self, thread: Thread) -> GoOn {
        match self.tracees.get(&thread).map(|one| one.doing) {
            Some(Doing::Calling(_) | Doing::Detour(_)) => GoOn::ToReturn,
            Some(Doing::Running | Doing::Again(_)) | None => GoOn::Freely,
        }
    }

    fn thread_ended(&mut self, thread: Thread, how: Ended) {
        let Some(tracee) = self.tracees.remove(&thread) else { return };
        // The first thread's end is told when all others have ended.
        if tracee.pid.0 != thread.0 {
            return;
        }
        self.tracees.retain(|_, other| other.pid != tracee.pid);
        if tracee.pid == self.root {
            self.ended = Some(how);
        }
        self.watcher.ended(tracee.pid, how);
    }

    fn entering(&mut self, thread: Thread) -> io::Result<()> {
        let Some(words) = gone_is_none(sys::call_words(thread))? else { return Ok(()) };
        let [_, _, _, number, a, b, c, d, e, f, told] = words;
        let number = number.cast_signed();
        let is_foreign = u32::try_from(told & 0xffff_ffff).is_ok_and(|told| told == FOREIGN);
        let call = match is_foreign {
            true => Call::Unknown { number },
            false => Call::read(number, [a, b, c, d, e, f]),
        };
        let Some(tracee) = self.tracees.get_mut(&thread) else { return Ok(()) };
        let detour = match tracee.doing {
            Doing::Again(result) => Some(result),
            Doing::Running | Doing::Calling(_) | Doing::Detour(_) => None,
        };
        let mut stopped = Stopped { thread, pid: tracee.pid, detour };
        tracee.doing = Doing::Running;
        match self.watcher.entering(&mut stopped, &call) {
            Answer::Go => self.go_on(thread, GoOn::Freely, 0),
            Answer::GoAndTell => {
                tracee.doing = Doing::Calling(call);
                self.go_on(thread, GoOn::ToReturn, 0)
            }
            Answer::Instead(result) => {
                gone_is_fine(arch::set_answer(thread, result))?;
                self.go_on(thread, GoOn::Freely, 0)
            }
            Answer::Replace { number, arguments } => {
                gone_is_fine(arch::set_call(thread, number, arguments))?;
                self.go_on(thread, GoOn::Freely, 0)
            }
            Answer::First { number, arguments } => {
                let Some(registers) = gone_is_none(Registers::of(thread))? else { return Ok(()) };
                tracee.doing = Doing::Detour(registers);
                gone_is_fine(arch::set_call(thread, number, arguments))?;
                self.go_on(thread, GoOn::ToReturn, 0)
            }
        }
    }

    fn returned(&mut self, thread: Thread) -> io::Result<()> {
        let Some(words) = gone_is_none(sys::call_words(thread))? else { return Ok(()) };
        let result = words[3].cast_signed();
        let Some(tracee) = self.tracees.get_mut(&thread) else { return Ok(()) };
        let doing = std::mem::replace(&mut tracee.doing, Doing::Running);
        match doing {
            Doing::Calling(call) if !MADE_AGAIN.contains(&result) => {
                let mut stopped = Stopped { thread, pid: tracee.pid, detour: None };
                self.watcher.returned(&mut stopped, &call, result);
            }
            // It stops once more before it is made again.
            Doing::Calling(_) | Doing::Running | Doing::Again(_) => {}
            Doing::Detour(registers) => {
                tracee.doing = Doing::Again(result);
                gone_is_fine(registers.before_the_call().put(thread))?;
            }
        }
        self.go_on(thread, GoOn::Freely, 0)
    }

    fn born(&mut self, parent: Thread, birth: Birth) -> io::Result<()> {
        let Some(child) = gone_is_none(sys::event_message(parent))? else { return Ok(()) };
        let Some(parent_pid) = self.tracees.get(&parent).map(|one| one.pid) else { return Ok(()) };
        let (pid, how) = match birth {
            Birth::Fork => (Pid(child.0), Born::Process),
            Birth::Vfork => (Pid(child.0), Born::Borrower),
            // Only the kernel knows which of both it is.
            Birth::Clone => match process_of(child) {
                Some(pid) if pid == parent_pid => (pid, Born::Thread),
                Some(_) | None => (Pid(child.0), Born::Process),
            },
        };
        self.tracees.insert(child, Tracee { pid, doing: Doing::Running });
        self.watcher.born(parent_pid, pid, how);
        if self.early.remove(&child) {
            self.go_on(child, GoOn::Freely, 0)?;
        }
        let how = self.until(parent);
        self.go_on(parent, how, 0)
    }

    fn executed(&mut self, thread: Thread) -> io::Result<()> {
        let Some(former) = gone_is_none(sys::event_message(thread))? else { return Ok(()) };
        let Some(pid) = self.tracees.get(&thread).map(|one| one.pid) else { return Ok(()) };
        // Whichever thread did it is the only one now, and has the number of the first.
        let doing = self.tracees.get(&former).map_or(Doing::Running, |one| one.doing);
        self.tracees.retain(|_, one| one.pid != pid);
        self.tracees.insert(thread, Tracee { pid, doing });
        let mut stopped = Stopped { thread, pid, detour: None };
        self.watcher.executed(&mut stopped);
        let how = self.until(thread);
        self.go_on(thread, how, 0)
    }

    /// Whether a process that is left could still write to what this process writes to.
    fn somebody_may_write(&self) -> bool {
        let own: Vec<PathBuf> = [1, 2]
            .iter()
            .filter_map(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).ok())
            .collect();
        let mut pids: Vec<Pid> = self.tracees.values().map(|one| one.pid).collect();
        pids.sort_unstable();
        pids.dedup();
        pids.into_iter().any(|pid| {
            let Ok(open) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
            let mut links =
                open.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
            links.any(|link| is_heard(&link) && own.contains(&link))
        })
    }

    /// Ends whatever is left.
    fn kill_all(&mut self) {
        for thread in self.tracees.keys().chain(&self.early) {
            sys::kill(thread.0);
        }
        // They are told of one by one; nobody waits for what the kernel still has to do.
        while let Ok(Some(_)) = sys::wait() {}
    }
}

/// Whether whoever reads the other end waits as long as somebody has this open.
fn is_heard(link: &std::path::Path) -> bool {
    link.to_str().is_some_and(|text| {
        ["pipe:", "socket:", "/dev/pts/", "/dev/ptmx"].iter().any(|start| text.starts_with(start))
    })
}

fn process_of(thread: Thread) -> Option<Pid> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    line.trim().parse().ok().map(Pid)
}

fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ESRCH)
}

/// A thread that was killed while it stood still is told of later.
fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if is_gone(&error) => Ok(()),
        other => other,
    }
}

fn gone_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns a filter for transfers on more descriptors, as bytes of the kernel's `struct sock_filter`.
pub fn filter_for_more(descriptors: &filter::DescriptorSet) -> Option<Vec<u8>> {
    let instructions = filter::more(descriptors)?;
    let mut bytes = Vec::with_capacity(instructions.len() * 8);
    for one in instructions {
        bytes.extend(one.code.to_ne_bytes());
        bytes.extend([one.jt, one.jf]);
        bytes.extend(one.k.to_ne_bytes());
    }
    Some(bytes)
}
