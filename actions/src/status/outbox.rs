//! Sends a jobset's statuses beside the building, in order, and keeps what could not be delivered.
//!
//! Posting never waits. Statuses of one name go out one after the other, so that "building" never
//! overtakes "built"; those of different names go out together, up to a limit.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::contexts::folded;
use super::{DeliveryError, Posted, Status, StatusClient, Weight};

/// How many requests are under way at once. Forges count concurrent requests, too.
const CONCURRENT: usize = 4;

/// With more than this waiting, a newer status replaces an older of its name that still waits.
///
/// A forge that is slow, or that asked for patience, is then told how things are, not how they
/// were; and a few hundred requests per hour is all that some allow.
const BACKLOG: usize = 32;

/// Where statuses go.
#[derive(Debug)]
pub enum StatusSink {
    /// To a forge.
    Forge(Box<StatusClient>),
    /// Nowhere: read-only mode, or no token. Nothing is sent and nothing is an error.
    Nowhere,
}

/// A status that could not be delivered.
#[derive(Debug, thiserror::Error)]
#[error("cannot deliver the status `{}`: {error}", .status.context())]
pub struct UndeliveredStatus {
    /// The status.
    pub status: Status,
    /// Why not.
    #[source]
    pub error: DeliveryError,
}

/// What makes two statuses replace each other. Some forges do not tell cases apart.
type Name = (String, String);

fn name(status: &Status) -> Name {
    (status.commit().to_owned(), folded(status.context()))
}

/// Sends statuses in the background. Clones share one queue.
#[derive(Clone, Debug)]
pub struct Outbox {
    shared: Arc<Shared>,
    runtime: Handle,
}

#[derive(Debug)]
struct Shared {
    sink: StatusSink,
    state: Mutex<Queues>,
    idle: Notify,
}

#[derive(Debug, Default)]
struct Queues {
    waiting: BTreeMap<Name, VecDeque<Status>>,
    /// The name of each waiting status, oldest first, so that none starves.
    turns: VecDeque<Name>,
    under_way: BTreeMap<Name, Status>,
    closed: bool,
    posted: Posted,
    undelivered: BTreeMap<Name, UndeliveredStatus>,
}

impl Shared {
    /// Nothing in here panics while it holds the lock, and the queues are whole at every step.
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    fn push(&mut self, status: Status) {
        let name = name(&status);
        let queue = self.waiting.entry(name.clone()).or_default();
        if self.turns.len() > BACKLOG && !queue.is_empty() {
            queue.clear();
            queue.push_back(status);
            self.turns.retain(|turn| *turn != name);
        } else {
            queue.push_back(status);
        }
        self.turns.push_back(name);
    }

    /// Takes the next status whose name is free, if there is room for one more.
    fn start(&mut self) -> Option<Status> {
        if self.closed || self.under_way.len() >= CONCURRENT {
            return None;
        }
        let index = self.turns.iter().position(|name| !self.under_way.contains_key(name))?;
        let name = self.turns.remove(index)?;
        let queue = self.waiting.get_mut(&name)?;
        let status = queue.pop_front()?;
        if queue.is_empty() {
            self.waiting.remove(&name);
        }
        self.under_way.insert(name, status.clone());
        Some(status)
    }

    fn is_idle(&self) -> bool {
        self.turns.is_empty() && self.under_way.is_empty()
    }
}

/// A status under way. Whatever ends the sending, a panic or a runtime that is shut down
/// included, ends up in the queues: dropping this records an interruption.
struct UnderWay {
    outbox: Outbox,
    status: Option<Status>,
}

impl UnderWay {
    fn finish(mut self, result: Result<(), DeliveryError>) {
        if let Some(status) = self.status.take() {
            self.outbox.finished(status, result);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(status) = self.status.take() {
            self.outbox.finished(status, Err(DeliveryError::Interrupted));
        }
    }
}

impl Outbox {
    /// Makes an outbox that sends from the given runtime.
    pub fn new(sink: StatusSink, runtime: Handle) -> Self {
        let shared = Shared { sink, state: Mutex::default(), idle: Notify::new() };
        Self { shared: Arc::new(shared), runtime }
    }

    /// Lets the outbox know what the forge shows already.
    #[must_use]
    pub fn knowing(self, posted: Posted) -> Self {
        self.shared.lock().posted = posted;
        self
    }

    /// Returns what the forge shows, as far as that is certain.
    pub fn posted(&self) -> Posted {
        self.shared.lock().posted.clone()
    }

    /// Returns whether a status would tell the forge anything new, so that it should be posted.
    pub fn is_news(&self, status: &Status, weight: Weight) -> bool {
        self.sends() && self.shared.lock().posted.is_news(status, weight)
    }

    /// Returns whether anything is ever sent.
    pub fn sends(&self) -> bool {
        match self.shared.sink {
            StatusSink::Forge(_) => true,
            StatusSink::Nowhere => false,
        }
    }

    /// Queues a status. Works from any thread and never waits.
    pub fn post(&self, status: Status) {
        match self.shared.sink {
            StatusSink::Nowhere => {}
            StatusSink::Forge(_) => {
                {
                    let mut queues = self.shared.lock();
                    queues.posted.sending(&status);
                    queues.push(status);
                }
                self.start();
            }
        }
    }

    /// Waits until nothing is queued, and takes what could not be delivered.
    pub async fn flush(&self) -> Vec<UndeliveredStatus> {
        self.drained().await;
        self.take_undelivered()
    }

    /// Sends nothing more, and takes what was not delivered, the waiting included.
    ///
    /// What is under way may still arrive at the forge.
    pub fn close(&self) -> Vec<UndeliveredStatus> {
        {
            let mut queues = self.shared.lock();
            queues.closed = true;
            queues.turns.clear();
            // The newest of each name is what the forge should show.
            let waiting = std::mem::take(&mut queues.waiting).into_values();
            let waiting: Vec<Status> = waiting.filter_map(|mut queue| queue.pop_back()).collect();
            let under_way = std::mem::take(&mut queues.under_way).into_values();
            for status in under_way.chain(waiting).collect::<Vec<_>>() {
                let error = DeliveryError::Interrupted;
                queues.undelivered.insert(name(&status), UndeliveredStatus { status, error });
            }
        }
        self.take_undelivered()
    }

    /// A failure is forgotten once a later status of its name is delivered: then the forge shows
    /// the truth again.
    fn take_undelivered(&self) -> Vec<UndeliveredStatus> {
        std::mem::take(&mut self.shared.lock().undelivered).into_values().collect()
    }

    /// Waits until nothing is queued.
    pub async fn drained(&self) {
        loop {
            let idle = self.shared.idle.notified();
            tokio::pin!(idle);
            // Registered before looking, or the last status could finish in between unheard.
            idle.as_mut().enable();
            if self.shared.lock().is_idle() {
                return;
            }
            idle.await;
        }
    }

    fn start(&self) {
        loop {
            // The lock is free again while spawning: on a runtime that is shut down the future
            // is dropped at once, which comes back to the queues.
            let Some(status) = self.shared.lock().start() else { return };
            let under_way = UnderWay { outbox: self.clone(), status: Some(status.clone()) };
            self.runtime.spawn(async move {
                let shared = Arc::clone(&under_way.outbox.shared);
                if let StatusSink::Forge(client) = &shared.sink {
                    let result = client.send(&status).await.map(|_delivered| ());
                    under_way.finish(result);
                }
            });
        }
    }

    fn finished(&self, status: Status, result: Result<(), DeliveryError>) {
        {
            let mut queues = self.shared.lock();
            let name = name(&status);
            if queues.under_way.remove(&name).is_none() {
                // Closed meanwhile, and reported as not delivered.
                return;
            }
            match result {
                Ok(()) => {
                    // While a newer one waits, that is what the forge is going to show.
                    if !queues.waiting.contains_key(&name) {
                        queues.posted.delivered(&status);
                    }
                    queues.undelivered.remove(&name);
                }
                Err(error) => {
                    tracing::warn!(context = status.context(), %error, "status not delivered");
                    queues.undelivered.insert(name, UndeliveredStatus { status, error });
                }
            }
        }
        self.start();
        if self.shared.lock().is_idle() {
            self.shared.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::State;

    #[test]
    fn the_queues_give_out_a_limited_number_and_a_name_only_once() {
        let commit = "a".repeat(40);
        let mut queues = Queues::default();
        for context in ["a", "A", "a", "b", "c", "d", "e"] {
            queues.push(Status::new(&commit, context, State::Pending, "").unwrap());
        }
        let started: Vec<Status> = std::iter::from_fn(|| queues.start()).collect();
        let started: Vec<&str> = started.iter().map(Status::context).collect();
        assert_eq!(started, ["a", "b", "c", "d"]);
    }
}
