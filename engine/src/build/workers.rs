//! Connections that build, each on a thread of its own.
//!
//! A connection protects from the garbage collector what was built on it. So it stays open as long as
//! a run is at work that something was built for on it, and no longer: a server that never closed one
//! would keep everything that it ever built.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{self, Sender, SyncSender};
use std::thread;

use levain_store::{
    BuildEvent, BuildOptions, BuildResult, Closer, ConnectError, Connection, DerivationPath,
    ProtocolError, Store,
};

use super::queue::RunNumber;
use super::scheduler::Message;

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
    /// It is open: this closes it, and ends at once what is built on it.
    Open(Closer),
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
}

struct Worker {
    work: Sender<Work>,
    closer: Option<Closer>,
    is_idle: bool,
    /// Whether it is to end, whatever it is doing.
    is_closed: bool,
    /// The runs for which something was built on it.
    protects: BTreeSet<RunNumber>,
}

impl Workers {
    /// Makes none yet. All that they say goes to `say`.
    pub(super) fn new(store: Store, say: SyncSender<Message>) -> Self {
        Self { store, say, workers: BTreeMap::new(), next: 0 }
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
        let idle = self.workers.iter().find(|(_, worker)| worker.is_idle && !worker.is_closed);
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

    /// Notes that a connection is open.
    pub(super) fn is_open(&mut self, number: usize, closer: Closer) {
        match self.workers.get_mut(&number) {
            Some(worker) if !worker.is_closed => worker.closer = Some(closer),
            Some(_) | None => closer.close(),
        }
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
        self.workers.remove(&number).is_none_or(|worker| worker.is_closed)
    }

    /// Ends a connection and what is built on it.
    pub(super) fn close(&mut self, number: usize) {
        if let Some(worker) = self.workers.get_mut(&number) {
            worker.is_closed = true;
            if let Some(closer) = worker.closer.take() {
                closer.close();
            }
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
        self.workers.values().filter(|worker| !worker.is_closed).count()
    }

    fn spawn(&mut self, connection: Option<Connection>) -> usize {
        let number = self.next;
        self.next += 1;
        let (send, receive) = mpsc::channel::<Work>();
        let (say, store) = (self.say.clone(), self.store.clone());
        thread::spawn(move || {
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
            if !tell(Said::Open(connection.closer())) {
                return;
            }
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
        let worker = Worker {
            work: send,
            closer: None,
            is_idle: false,
            is_closed: false,
            protects: BTreeSet::new(),
        };
        self.workers.insert(number, worker);
        number
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in self.workers.values_mut() {
            if let Some(closer) = worker.closer.take() {
                closer.close();
            }
        }
    }
}
