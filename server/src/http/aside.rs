//! Work that takes long, on threads of its own: everybody is answered by very few.
//!
//! Reports have up to some MiB, and a page may need several. Only so much is done at a time; what comes then waits, and
//! holds nobody up who asks for less.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::App;
use super::table::Refused;

/// How much is done at a time at most.
const MOST: usize = 4;

/// Turns of those who have something done.
#[derive(Clone)]
pub(super) struct Aside(Arc<Semaphore>);

impl Aside {
    pub(super) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self(Arc::new(Semaphore::new(cores.clamp(1, MOST))))
    }
}

impl App {
    /// Has something done elsewhere, and waits for it.
    pub(super) async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let turn = Arc::clone(&self.aside.0).acquire_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        // It panicked.
        done.await.map_err(|error| Refused::Broken(error.to_string()))
    }
}
