//! How big store paths are. The store is asked aside, for few at a time, and nobody waits long for it.

use std::sync::Arc;
use std::time::Duration;

use levain_store::{ConnectError, ProtocolError, Store};
use tokio::sync::Semaphore;

use crate::serving::thread::on_thread;

/// For how many pages the store is asked at a time. One that does not answer holds up no more threads.
const MOST: usize = 2;
/// How long a page waits.
const PATIENCE: Duration = Duration::from_secs(1);

/// Returns the sizes of store paths in bytes, in their order, each if it is known.
type Measure = dyn Fn(&[String]) -> Vec<Option<u64>> + Send + Sync;

/// What knows how big store paths are. Clones share it.
#[derive(Clone)]
pub struct Sizes {
    measure: Option<Arc<Measure>>,
    turns: Arc<Semaphore>,
}

impl Default for Sizes {
    /// Knows nothing.
    fn default() -> Self {
        Self { measure: None, turns: Arc::new(Semaphore::new(MOST)) }
    }
}

impl Sizes {
    /// Asks `measure`, which may block.
    pub fn new(measure: impl Fn(&[String]) -> Vec<Option<u64>> + Send + Sync + 'static) -> Self {
        Self { measure: Some(Arc::new(measure)), ..Self::default() }
    }

    /// Asks a store for the NAR sizes of what it has.
    pub fn of_store(store: Store) -> Self {
        Self::new(move |paths| {
            nar_sizes(&store, paths).unwrap_or_else(|error| {
                tracing::warn!(%error, "sizes are not known");
                Vec::new()
            })
        })
    }

    /// Returns the sizes of store paths in their order; nothing of those that are gone, nor of any if the store does
    /// not answer in time.
    pub(super) async fn of(&self, paths: Vec<String>) -> Vec<Option<u64>> {
        let count = paths.len();
        let mut sizes = tokio::time::timeout(PATIENCE, self.asked(paths)).await.unwrap_or_default();
        sizes.resize(count, None);
        sizes
    }

    async fn asked(&self, paths: Vec<String>) -> Vec<Option<u64>> {
        let Some(measure) = self.measure.clone().filter(|_| !paths.is_empty()) else {
            return Vec::new();
        };
        let Ok(turn) = Arc::clone(&self.turns).acquire_owned().await else { return Vec::new() };
        // The turn ends with the thread, and not when nobody waits any more.
        let asked = on_thread("sizes".to_owned(), move || {
            let sizes = measure(&paths);
            drop(turn);
            sizes
        });
        asked.await.unwrap_or_else(|error| {
            tracing::warn!(%error, "sizes are not known");
            Vec::new()
        })
    }
}

/// The store does not say.
#[derive(Debug, thiserror::Error)]
enum NoSizes {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

fn nar_sizes(store: &Store, paths: &[String]) -> Result<Vec<Option<u64>>, NoSizes> {
    let mut connection = store.connect()?;
    paths
        .iter()
        .map(|path| {
            // A report may have been written for another store.
            let Ok(path) = store.dir().parse(path) else { return Ok(None) };
            Ok(connection.path_info(&path)?.map(|info| info.nar_size))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    use super::*;

    fn paths(count: usize) -> Vec<String> {
        (0..count).map(|number| number.to_string()).collect()
    }

    #[tokio::test]
    async fn what_is_not_known_is_nothing() {
        assert_eq!(Sizes::default().of(paths(2)).await, [None, None]);
        let one = Sizes::new(|paths| paths.iter().map(|path| path.parse().ok()).collect());
        assert_eq!(one.of(vec!["7".to_owned(), "gone".to_owned()]).await, [Some(7), None]);
        let broken = Sizes::new(|_| panic!("no store"));
        assert_eq!(broken.of(paths(1)).await, [None]);
        // Its turn came back: there are but so many.
        for _ in 0..=MOST {
            assert_eq!(broken.of(paths(1)).await, [None]);
        }
        assert_eq!(broken.turns.available_permits(), MOST);
    }

    #[tokio::test]
    async fn a_store_that_hangs_holds_up_so_many_threads_and_no_page() {
        let (sender, receiver) = channel::<()>();
        let (begun, gate) = (Arc::new(Mutex::new(0)), Mutex::new(receiver));
        let counted = Arc::clone(&begun);
        let sizes = Sizes::new(move |paths| {
            *counted.lock().unwrap() += 1;
            assert!(gate.lock().unwrap().recv().is_err());
            vec![Some(1); paths.len()]
        });
        let asked: Vec<_> = (0..5)
            .map(|_| {
                let sizes = sizes.clone();
                tokio::spawn(async move { sizes.of(paths(1)).await })
            })
            .collect();
        for asked in asked {
            assert_eq!(asked.await.unwrap(), [None]);
        }
        assert_eq!(*begun.lock().unwrap(), MOST);
        drop(sender);
        // Once it answers, it is asked again.
        assert_eq!(sizes.of(paths(1)).await, [Some(1)]);
    }
}
