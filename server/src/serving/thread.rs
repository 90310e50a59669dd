//! Blocking work on threads of their own, whose panics are results.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::sync::oneshot;

/// As much as a program's first thread usually has, and more.
const STACK: usize = 16 << 20;
/// Gives a tenth of the time of those who do not yield, where there is not enough for all.
const NICENESS: i32 = 10;
/// Has those who yield run for long where nobody else wants to, and wait as soon as somebody does. A small share alone does
/// not do that: whoever runs is let finish its slice.
const SLICE: Duration = Duration::from_millis(100);

/// Work that did not come to a result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// It panicked.
    #[error("levain panicked: {0}\nhint: this is a bug in levain; please report it")]
    Panic(String),
    /// It was not even begun.
    #[error("cannot start a thread: {0}")]
    Start(#[from] std::io::Error),
}

/// Lets everybody else on the processors first, from now on: the calling thread, and what it starts.
///
/// Nix evaluates and builds for hours, and whoever delivers or looks at a page waits meanwhile.
pub fn yield_to_others() {
    let nicer = rustix::process::nice(NICENESS).map_err(std::io::Error::from);
    // Each is of use without the other.
    let niceness = rustix::process::getpriority_process(None).map_err(std::io::Error::from);
    let slices = niceness.and_then(|niceness| levain_trace::ask_for_slices(SLICE, niceness));
    for result in [nicer.map(drop), slices] {
        if let Err(error) = result {
            // As in the unit, which refuses both.
            tracing::debug!(%error, "cannot let others go first");
        }
    }
}

/// Does something on a thread of its own.
pub(crate) fn on_thread<T: Send + 'static>(
    name: String,
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, Broken>> + Send {
    let (sender, receiver) = oneshot::channel();
    let started = std::thread::Builder::new().name(name).stack_size(STACK).spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(work));
        if sender.send(result).is_err() {
            tracing::debug!("nobody waits for this thread any more");
        }
    });
    async move {
        started?;
        match receiver.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(payload)) => Err(Broken::Panic(said(payload.as_ref()))),
            Err(_) => Err(Broken::Panic("its thread ended".to_owned())),
        }
    }
}

/// Returns what a panic said.
fn said(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the niceness of the calling thread, and of a program that it starts.
    #[expect(clippy::disallowed_methods, reason = "it looks what a program inherits")]
    fn niceness() -> (i32, i32) {
        let own = rustix::process::getpriority_process(None).unwrap();
        let output = std::process::Command::new("nice").output().unwrap();
        (own, String::from_utf8(output.stdout).unwrap().trim().parse().unwrap())
    }

    #[tokio::test]
    async fn a_thread_that_yields_has_programs_that_yield_and_no_others_do() {
        let (before, _) = niceness();
        let yielding = on_thread("yielding".to_owned(), || {
            yield_to_others();
            niceness()
        });
        // No program is nicer than that.
        let nicer = (before + NICENESS).min(19);
        assert_eq!(yielding.await.unwrap(), (nicer, nicer));
        assert_eq!(niceness(), (before, before));
    }
}
