//! Stopping a run from outside: Ctrl-C, a signal, or the job's removal.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// Tells a run to stop. Clones share the state.
#[derive(Clone, Default)]
pub struct Cancel {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    cancelled: bool,
    actions: Vec<Box<dyn FnOnce() + Send>>,
}

impl Cancel {
    /// Stops the run: ends its evaluations and, by closing their connections, its builders.
    pub fn cancel(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.cancelled = true;
        for action in inner.actions.drain(..) {
            action();
        }
    }

    /// Returns whether the run is to stop.
    pub fn is_cancelled(&self) -> bool {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).cancelled
    }

    /// Waits until the run is cancelled.
    pub async fn cancelled(&self) {
        let notify = Arc::new(Notify::new());
        let told = Arc::clone(&notify);
        // It keeps one notice for whoever waits later.
        self.on_cancel(move || told.notify_one());
        notify.notified().await;
    }

    /// Has `action` done when the run is cancelled; at once if it already is.
    pub fn on_cancel(&self, action: impl FnOnce() + Send + 'static) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.cancelled {
            action();
        } else {
            inner.actions.push(Box::new(action));
        }
    }
}
