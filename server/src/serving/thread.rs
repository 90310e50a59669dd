//! Blocking work on threads of their own, whose panics are results.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

/// As much as a program's first thread usually has, and more.
const STACK: usize = 16 << 20;

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
