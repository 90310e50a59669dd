//! Ending evaluations from another thread.

use std::io;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Signal, kill_process_group};

/// Ends the evaluations of a [`super::NixProgram`]. Clones share the state.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    stopped: bool,
    running: Vec<Arc<Mutex<Child>>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is whole at every step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stop {
    /// Ends all running evaluations; those begun later end at once.
    pub fn stop(&self) {
        let mut shared = locked(&self.shared);
        shared.stopped = true;
        for child in shared.running.drain(..) {
            end(&mut locked(&child));
        }
    }

    /// Returns whether everything is to end.
    pub fn is_stopped(&self) -> bool {
        locked(&self.shared).stopped
    }

    /// Watches over a child that was just started.
    pub(super) fn watch(&self, child: Child) -> Watched {
        let child = Arc::new(Mutex::new(child));
        let mut shared = locked(&self.shared);
        if shared.stopped {
            end(&mut locked(&child));
        } else {
            shared.running.push(Arc::clone(&child));
        }
        Watched { stop: self.clone(), child }
    }
}

/// Kills the child and what it started.
///
/// The child alone would not do: a `bwrap` that dies very early leaves a process behind that waits
/// for it for ever, and keeps our pipes open.
fn end(child: &mut Child) {
    // Until it is waited for, nobody else can have its number.
    let ended = matches!(child.try_wait(), Ok(Some(_)));
    let group = rustix::process::Pid::from_child(child);
    if !ended && let Err(error) = kill_process_group(group, Signal::KILL) {
        tracing::debug!(%error, "ending an evaluation");
    }
}

/// A child that [`Stop`] may end.
pub(super) struct Watched {
    stop: Stop,
    child: Arc<Mutex<Child>>,
}

impl Watched {
    /// Ends this child, and what it started.
    pub(super) fn end(&self) {
        end(&mut locked(&self.child));
    }

    /// Waits for a child that has closed its output; nobody can end it meanwhile.
    pub(super) fn wait(self) -> io::Result<ExitStatus> {
        let status = locked(&self.child).wait();
        locked(&self.stop.shared).running.retain(|child| !Arc::ptr_eq(child, &self.child));
        status
    }
}
