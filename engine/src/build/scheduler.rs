//! Builds for all runs of a process: how a run talks to the thread that does.
//!
//! The thread is in [`desk`]. Runs and connections talk to it by messages. Start at
//! [`Scheduler::enter`].

mod desk;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use levain_store::machines::Builders;
use levain_store::{
    BuildEvent, BuildOptions, BuildResult, BuildStatus, Connection, DecliningHook, DerivationPath,
    ProtocolError, Store,
};

use super::limits::{Limits, Passed};
use super::queue::{RunNumber, Slots};
use super::recording::{LogPlace, Recorded};
use super::standing::Standing;
use super::transient::{self, Transient};
use super::workers::Said;
use desk::Desk;

/// A build, the same for whoever wants it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// Of a derivation.
    Build(DerivationPath),
    /// Of a derivation whose outputs are there, for this run alone.
    Check(RunNumber, DerivationPath),
}

impl Key {
    pub(super) fn derivation(&self) -> &DerivationPath {
        match self {
            Self::Build(derivation) | Self::Check(_, derivation) => derivation,
        }
    }
}

/// How a run has its builds done.
pub(super) struct Terms {
    /// How it stands among others.
    pub(super) standing: Standing,
    /// How many builds this machine and its remote builders take.
    pub(super) slots: Slots,
    /// Options for a request for one derivation.
    pub(super) one: BuildOptions,
    /// Options for what need not be built.
    pub(super) fetch: BuildOptions,
    /// How long a build may take.
    pub(super) limits: Limits,
    /// Where logs are kept.
    pub(super) logs: LogPlace,
    /// Named by the options: it must be there as long as they are used.
    pub(super) hook: Option<Arc<DecliningHook>>,
}

/// What a run hears.
pub(super) enum Heard {
    /// Nix was asked for a build that it wants, and has not begun it.
    Asked { derivation: DerivationPath },
    /// A build that it wants has begun, with the file that its log is written to.
    Started { derivation: DerivationPath, log: Option<PathBuf> },
    /// Something else happened in a build that it wants.
    Event(BuildEvent),
    /// A build failed and is tried once more after a while.
    TriedAgain { derivation: DerivationPath, why: Transient, wait: Duration },
    /// A build that it wants has ended.
    Ended { key: Key, recorded: Arc<Recorded>, how: How },
    /// What it had fetched.
    Fetched { recorded: Arc<Recorded>, results: Result<Vec<BuildResult>, String> },
    /// It was stopped. What is known of builds that were under way.
    Stopped { recorded: Vec<Recorded> },
}

/// How a build ended.
#[derive(Clone)]
pub(super) enum How {
    /// Nix answered.
    Answered {
        result: BuildResult,
        /// Whether a builder had been started.
        is_started: bool,
    },
    /// There was no connection, or it ended before Nix answered.
    Lost(Lost),
}

impl How {
    /// Describes a build that passed a limit.
    fn passed(passed: Passed, derivation: DerivationPath) -> Self {
        let error = passed.describe();
        match passed.has_begun() {
            true => {
                let (status, outputs) = (BuildStatus::TimedOut, BTreeMap::new());
                let result = BuildResult { derivation, status, error, outputs };
                Self::Answered { result, is_started: true }
            }
            // The builder did nothing wrong.
            false => Self::Lost(Lost { message: error, may_go_away: false }),
        }
    }

    /// Notes that it was tried so often, each time in vain through no fault of its own.
    fn give_up(&mut self, why: Transient, tries: usize) {
        match self {
            Self::Answered { result, .. } => {
                // A machine that has its system is known, so the derivation is not to be left out.
                if why.is_about_builders() {
                    result.status = BuildStatus::BuilderLost;
                }
                result.error = transient::given_up(why, tries, &result.error);
            }
            Self::Lost(lost) => lost.message = transient::given_up(why, tries, &lost.message),
        }
    }
}

/// What became of a connection.
#[derive(Clone)]
pub(super) struct Lost {
    pub(super) message: String,
    /// Whether the next may fare better. What Nix should not have said it says again.
    pub(super) may_go_away: bool,
}

impl Lost {
    fn of(error: &ProtocolError) -> Self {
        let may_go_away = match error {
            ProtocolError::Closed | ProtocolError::Io(_) => true,
            ProtocolError::Daemon { .. } | ProtocolError::Malformed { .. } => false,
        };
        Self { message: error.to_string(), may_go_away }
    }
}

/// What is said to the thread.
pub(super) enum Message {
    Enter {
        run: RunNumber,
        terms: Box<Terms>,
        hear: Sender<Heard>,
        lines: Arc<AtomicUsize>,
        connection: Box<Connection>,
    },
    Offer {
        run: RunNumber,
        builds: Vec<(Key, u32, Builders)>,
    },
    Fetch {
        run: RunNumber,
        derivations: Vec<DerivationPath>,
    },
    Leave {
        run: RunNumber,
    },
    Said(usize, Said),
    End,
}

/// Builds for all runs of this process. Clones are the same; the last one that goes ends it, and with
/// it what is still being built.
#[derive(Clone)]
pub struct Scheduler(Arc<Handle>);

struct Handle {
    store: Store,
    started: Mutex<Started>,
}

#[derive(Default)]
struct Started {
    desk: Option<(SyncSender<Message>, JoinHandle<()>)>,
    last_run: RunNumber,
}

impl Scheduler {
    /// Makes one for a store. Nothing is started before something is to be built.
    pub fn new(store: &Store) -> Self {
        Self(Arc::new(Handle { store: store.clone(), started: Mutex::default() }))
    }

    /// Lets a run build, with a connection that is open already.
    pub(super) fn enter(&self, terms: Terms, connection: Connection) -> Entered {
        let mut started = self.0.started.lock().unwrap_or_else(PoisonError::into_inner);
        started.last_run += 1;
        let run = started.last_run;
        let (say, _) = started.desk.get_or_insert_with(|| Desk::start(self.0.store.clone()));
        let say = say.clone();
        drop(started);
        let (hear, heard) = mpsc::channel();
        let (terms, connection) = (Box::new(terms), Box::new(connection));
        let lines = Arc::<AtomicUsize>::default();
        let entered = Entered { run, say, heard, lines: Arc::clone(&lines) };
        entered.say(Message::Enter { run, terms, hear, lines, connection });
        entered
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let started = self.started.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some((say, thread)) = started.desk.take() {
            say.send(Message::End).ok();
            // What it holds is gone when this returns: nothing is left in the place for temporary files.
            if thread.join().is_err() {
                tracing::error!("the thread that builds for all runs broke");
            }
        }
    }
}

/// A run that may build. When it is dropped, what nobody else wants is stopped.
pub(super) struct Entered {
    pub(super) run: RunNumber,
    say: SyncSender<Message>,
    heard: Receiver<Heard>,
    lines: Arc<AtomicUsize>,
}

impl Entered {
    /// Wants these built, each with how many builds must follow each other after it.
    pub(super) fn offer(&self, builds: Vec<(Key, u32, Builders)>) {
        self.say(Message::Offer { run: self.run, builds });
    }

    /// Wants these fetched; one request at a time.
    pub(super) fn fetch(&self, derivations: Vec<DerivationPath>) {
        self.say(Message::Fetch { run: self.run, derivations });
    }

    /// Waits for what becomes of what it wants; none if nothing is to come any more.
    pub(super) fn hear(&self) -> Option<Heard> {
        let heard = self.heard.recv().ok()?;
        if desk::is_chatter(&heard) {
            self.lines.fetch_sub(1, Ordering::Relaxed);
        }
        Some(heard)
    }

    /// Returns what stops all that it wants, from any thread.
    pub(super) fn stopper(&self) -> impl Fn() + Send + 'static {
        let (run, say) = (self.run, self.say.clone());
        move || {
            say.send(Message::Leave { run }).ok();
        }
    }

    fn say(&self, message: Message) {
        // The thread ends only after the last of us; if it broke, nothing is heard any more.
        self.say.send(message).ok();
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.say(Message::Leave { run: self.run });
    }
}
