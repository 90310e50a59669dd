//! Connections that build, each on a thread of its own.
//!
//! A connection protects from the garbage collector what was built on it. So it stays open as long as
//! a run is at work that something was built for on it, and no longer: a server that never closed one
//! would keep everything that it ever built.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use levain_store::{
    BuildEvent, BuildOptions, BuildResult, Closer, ConnectError, Connection, DerivationPath,
    ProtocolError, Store,
};

use super::lock;
use super::queue::RunNumber;
use super::scheduler::Message;

/// How long the end of connections is waited for. A daemon that does not end by itself is killed before.
const ENDING: Duration = Duration::from_secs(20);

/// One request.
#[derive(Debug)]
pub(super) struct Work {
    /// What to build.
    pub(super) derivations: Vec<DerivationPath>,
    /// How.
    pub(super) options: BuildOptions,
    /// Whether its outputs are there, and it is built once more; only for one derivation.
    pub(super) check: bool,
    /// The most bytes of a line of its log.
    pub(super) line_bytes: usize,
}

/// What a connection says.
pub(super) enum Said {
    /// Something happened in a build.
    Event(BuildEvent),
    /// The request is done.
    Done(Result<Vec<BuildResult>, ProtocolError>),
    /// There is no connection; nothing was asked.
    NoConnection(ConnectError),
}

/// The connections, by number.
pub(super) struct Workers {
    store: Store,
    say: SyncSender<Message>,
    workers: BTreeMap<usize, Worker>,
    next: usize,
    /// Each thread has a clone for as long as it has a connection.
    alive: Sender<Infallible>,
    ended: Receiver<Infallible>,
}

struct Worker {
    work: Sender<Work>,
    end: Arc<Mutex<End>>,
    is_idle: bool,
    /// The runs for which something was built on it.
    protects: BTreeSet<RunNumber>,
}

/// Whether a connection is to end, whatever it is doing.
#[derive(Default)]
struct End {
    closer: Option<Closer>,
    is_asked: bool,
}

impl End {
    /// Notes that the connection is open; it is closed at once if its end was asked before.
    fn opened(&mut self, closer: Closer) {
        match self.is_asked {
            true => closer.close(),
            false => self.closer = Some(closer),
        }
    }

    /// Ends what is built on the connection, now or as soon as it is open.
    fn ask(&mut self) {
        self.is_asked = true;
        if let Some(closer) = self.closer.take() {
            closer.close();
        }
    }
}

impl Worker {
    fn is_closed(&self) -> bool {
        lock(&self.end).is_asked
    }
}

impl Workers {
    /// Makes none yet. All that they say goes to `say`.
    pub(super) fn new(store: Store, say: SyncSender<Message>) -> Self {
        let (alive, ended) = mpsc::channel();
        Self { store, say, workers: BTreeMap::new(), next: 0, alive, ended }
    }

    /// Takes over a connection that is open already.
    pub(super) fn adopt(&mut self, connection: Connection, run: RunNumber) {
        let number = self.spawn(Some(connection));
        if let Some(worker) = self.workers.get_mut(&number) {
            worker.is_idle = true;
            worker.protects.insert(run);
        }
    }

    /// Sends a request to an idle connection, or to a new one; returns its number.
    pub(super) fn send(&mut self, work: Work) -> usize {
        let idle = self.workers.iter().find(|(_, worker)| worker.is_idle && !worker.is_closed());
        let number = match idle.map(|(number, _)| *number) {
            Some(number) => number,
            None => self.spawn(None),
        };
        if let Some(worker) = self.workers.get_mut(&number) {
            worker.is_idle = false;
            // One that has ended said so before, and is not among them then.
            worker.work.send(work).ok();
        }
        number
    }

    /// Notes that a connection has done what it was asked, for these runs.
    pub(super) fn is_idle(&mut self, number: usize, runs: impl IntoIterator<Item = RunNumber>) {
        if let Some(worker) = self.workers.get_mut(&number) {
            worker.is_idle = true;
            worker.protects.extend(runs);
        }
        self.drop_useless();
    }

    /// Notes that a connection has ended. Returns whether it was closed on purpose.
    pub(super) fn has_ended(&mut self, number: usize) -> bool {
        self.workers.remove(&number).is_none_or(|worker| worker.is_closed())
    }

    /// Ends a connection and what is built on it.
    pub(super) fn close(&mut self, number: usize) {
        if let Some(worker) = self.workers.get(&number) {
            lock(&worker.end).ask();
        }
    }

    /// Notes that a run needs no protection any more.
    pub(super) fn forget(&mut self, run: RunNumber) {
        for worker in self.workers.values_mut() {
            worker.protects.remove(&run);
        }
        self.drop_useless();
    }

    /// Lets go of idle connections that protect nothing: their threads end with them.
    fn drop_useless(&mut self) {
        self.workers.retain(|_, worker| !worker.is_idle || !worker.protects.is_empty());
    }

    /// Returns how many connections are open or being opened.
    pub(super) fn count(&self) -> usize {
        self.workers.values().filter(|worker| !worker.is_closed()).count()
    }

    fn spawn(&mut self, connection: Option<Connection>) -> usize {
        let number = self.next;
        self.next += 1;
        let (send, receive) = mpsc::channel::<Work>();
        let (say, store, alive) = (self.say.clone(), self.store.clone(), self.alive.clone());
        let end = Arc::<Mutex<End>>::default();
        let ending = Arc::clone(&end);
        thread::spawn(move || {
            // Dropped after the connection.
            let _alive = alive;
            let tell = |said| say.send(Message::Said(number, said)).is_ok();
            let connected = connection.map_or_else(|| store.connect(), Ok);
            let mut connection = match connected {
                Ok(connection) => connection,
                Err(error) => {
                    // Only after it has work: each request gets one answer.
                    if receive.recv().is_ok() {
                        tell(Said::NoConnection(error));
                    }
                    return;
                }
            };
            lock(&ending).opened(connection.closer());
            while let Ok(Work { derivations, options, check, line_bytes }) = receive.recv() {
                connection.limit_lines(line_bytes);
                let mut forward = |event| {
                    tell(Said::Event(event));
                };
                let result = connection.set_options(&options);
                let result = result.and_then(|()| match derivations.as_slice() {
                    [derivation] if check => connection.check(derivation, &mut forward),
                    derivations => connection.build(derivations, &mut forward),
                });
                if !tell(Said::Done(result)) {
                    break;
                }
            }
        });
        let worker = Worker { work: send, end, is_idle: false, protects: BTreeSet::new() };
        self.workers.insert(number, worker);
        number
    }
}

impl Drop for Workers {
    /// Ends what is being built. A daemon that this process started outlives it if nobody waits for its end.
    fn drop(&mut self) {
        for worker in std::mem::take(&mut self.workers).into_values() {
            lock(&worker.end).ask();
        }
        self.alive = mpsc::channel().0;
        match self.ended.recv_timeout(ENDING) {
            Err(RecvTimeoutError::Disconnected) => {}
            Err(RecvTimeoutError::Timeout) => {
                tracing::warn!("a connection to the Nix daemon did not end");
            }
            Ok(never) => match never {},
        }
    }
}
