//! Stopping a run from outside: Ctrl-C, a signal, or the job's removal.

use std::sync::{Arc, Mutex, PoisonError};

use levain_store::Closer;

/// Tells a run to stop. Clones share the state.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    cancelled: bool,
    closers: Vec<Closer>,
}

impl Cancel {
    /// Stops the run: closes its building connections, which ends the builders.
    pub fn cancel(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.cancelled = true;
        for closer in inner.closers.drain(..) {
            closer.close();
        }
    }

    /// Returns whether the run is to stop.
    pub fn is_cancelled(&self) -> bool {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).cancelled
    }

    /// Has `closer` called when the run is cancelled; at once if it already is.
    pub fn on_cancel(&self, closer: Closer) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.cancelled {
            closer.close();
        } else {
            inner.closers.push(closer);
        }
    }
}
