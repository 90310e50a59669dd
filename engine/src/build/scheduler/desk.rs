//! The thread that builds: hands what is ready to connections, and tells each run what becomes of what
//! it wants.
//!
//! Decisions are in [`super::super::queue`] and [`super::super::transient`]. It waits for nothing but
//! the next message. Start at [`Desk::work`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use levain_store::machines::Builders;
use levain_store::{BuildEvent, BuildResult, DecliningHook, DerivationPath, Store};

use super::{Heard, How, Key, Lost, Message, Terms};
use crate::build::limits::{Clock, Passed};
use crate::build::queue::{Place, Queue, RunNumber};
use crate::build::recording::{LogPlace, Recording};
use crate::build::transient::{self, Transient};
use crate::build::workers::{Said, Work, Workers};

/// How many messages may wait. Whoever says more than can be written waits.
const MOST_MESSAGES: usize = 256;

/// How many lines of logs may wait for a run that is busy otherwise; more are not told.
const MOST_LINES: usize = 4_096;

/// What a connection is working on.
enum Asked {
    Build {
        key: Key,
        recording: Recording,
        clock: Clock,
        /// Kept until Nix needs it no more, whoever it was that brought it.
        _hook: Option<Arc<DecliningHook>>,
    },
    Fetch {
        run: RunNumber,
        recording: Recording,
        clock: Clock,
        /// The limit that it passed.
        passed: Option<Passed>,
    },
}

impl Asked {
    fn clock(&self) -> &Clock {
        match self {
            Self::Build { clock, .. } | Self::Fetch { clock, .. } => clock,
        }
    }

    /// Notes that something happened.
    fn heard(&mut self, event: &BuildEvent) {
        let (Self::Build { clock, .. } | Self::Fetch { clock, .. }) = self;
        match event {
            BuildEvent::Started { .. } => clock.began(Instant::now()),
            BuildEvent::Line { .. } | BuildEvent::Phase { .. } | BuildEvent::Stopped { .. } => {
                clock.heard(Instant::now());
            }
            // Nix says that it waits.
            BuildEvent::Message { .. } => {}
        }
    }
}

/// A run as the thread knows it.
struct Guest {
    terms: Box<Terms>,
    hear: Sender<Heard>,
    /// How many lines it has not read yet.
    lines: Arc<AtomicUsize>,
    /// How many bytes of logs it keeps already.
    kept_bytes: u64,
}

/// What the thread knows.
pub(super) struct Desk {
    messages: Receiver<Message>,
    workers: Workers,
    queue: Queue<Key>,
    guests: BTreeMap<RunNumber, Guest>,
    asked: HashMap<usize, Asked>,
    /// How often each build that is not given up has failed by no fault of its own.
    failures: BTreeMap<Key, usize>,
    /// When what rests is tried again.
    rests: Vec<(Instant, Key)>,
    /// When it is looked for what passed a limit; nothing if nothing can.
    look_at: Option<Instant>,
    /// Whether a connection could not be opened: then those that are open must do.
    no_more: bool,
}

impl Desk {
    /// Starts the thread; returns what it is told by, and what waits for its end.
    pub(super) fn start(store: Store) -> (SyncSender<Message>, JoinHandle<()>) {
        let (say, messages) = mpsc::sync_channel(MOST_MESSAGES);
        let workers = Workers::new(store, say.clone());
        let thread = thread::spawn(move || {
            let desk = Self {
                messages,
                workers,
                queue: Queue::new(),
                guests: BTreeMap::new(),
                asked: HashMap::new(),
                failures: BTreeMap::new(),
                rests: Vec::new(),
                look_at: None,
                no_more: false,
            };
            desk.work();
        });
        (say, thread)
    }

    fn work(mut self) {
        loop {
            self.wake();
            self.stop_late();
            self.start_ready();
            let rests = self.rests.iter().map(|(when, _)| *when);
            let message = match rests.chain(self.look_at).min() {
                None => self.messages.recv().map_err(|_gone| RecvTimeoutError::Disconnected),
                Some(when) => {
                    self.messages.recv_timeout(when.saturating_duration_since(Instant::now()))
                }
            };
            match message {
                Ok(Message::Enter { run, terms, hear, lines, connection }) => {
                    self.queue.set_slots(terms.slots);
                    self.queue.enter(run, terms.standing.clone());
                    self.guests.insert(run, Guest { terms, hear, lines, kept_bytes: 0 });
                    self.workers.adopt(*connection, run);
                }
                Ok(Message::Offer { run, builds }) => self.offered(run, builds),
                Ok(Message::Fetch { run, derivations }) => self.fetch(run, derivations),
                Ok(Message::Leave { run }) => self.leave(run),
                Ok(Message::Said(worker, said)) => self.said(worker, said),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Has what has rested long enough wait for a slot.
    fn wake(&mut self) {
        let now = Instant::now();
        let (due, later) = self.rests.drain(..).partition(|(when, _)| *when <= now);
        self.rests = later;
        for (_, key) in due {
            self.queue.again(&key);
        }
    }

    fn offered(&mut self, run: RunNumber, builds: Vec<(Key, u32, Builders)>) {
        if !self.guests.contains_key(&run) {
            return;
        }
        for (key, height, builders) in builds {
            if !self.queue.offer(run, key.clone(), height, builders) {
                continue;
            }
            // It is being built for somebody else already.
            let under_way = self.asked.values().find_map(|asked| match asked {
                Asked::Build { key: other, recording, clock, .. } if *other == key => {
                    Some((recording, clock))
                }
                Asked::Build { .. } | Asked::Fetch { .. } => None,
            });
            let Some(guest) = self.guests.get(&run) else { continue };
            let limit = under_way.and_then(|(_, clock)| guest.terms.limits.next(clock));
            self.look_at = self.look_at.into_iter().chain(limit.map(|next| next.0)).min();
            let recording = under_way.map(|(recording, _)| recording);
            for (derivation, log) in recording.into_iter().flat_map(Recording::under_way) {
                guest.say(Heard::Started { derivation: derivation.clone(), log: log.cloned() });
            }
        }
    }

    fn start_ready(&mut self) {
        while !self.no_more
            && let Some((key, place)) = self.queue.next()
        {
            // Whoever's turn it was is among those that want it.
            let Some(guest) = self.queue.account(&key).and_then(|run| self.guests.get(&run)) else {
                self.queue.ended(&key);
                continue;
            };
            let mut options = guest.terms.one.clone();
            if place == Place::Remote {
                options.max_jobs = Some(0);
            }
            let work = Work {
                derivations: vec![key.derivation().clone()],
                options,
                check: matches!(key, Key::Check(..)),
                line_bytes: guest.line_bytes(),
            };
            let recording = Recording::new(guest.log_place());
            let hook = guest.terms.hook.clone();
            for run in self.queue.wanted_by(&key) {
                if let Some(guest) = self.guests.get(&run) {
                    guest.say(Heard::Asked { derivation: key.derivation().clone() });
                }
            }
            let clock = Clock::new(Instant::now());
            self.ask(work, Asked::Build { key, recording, clock, _hook: hook });
        }
    }

    fn ask(&mut self, work: Work, asked: Asked) {
        let worker = self.workers.send(work);
        self.look_at = self.look_at.into_iter().chain(self.limit_of(&asked)).min();
        self.asked.insert(worker, asked);
    }

    /// Returns those that wait for a request.
    fn guests_of(&self, asked: &Asked) -> impl Iterator<Item = (RunNumber, &Guest)> {
        let runs: Vec<RunNumber> = match asked {
            Asked::Build { key, .. } => self.queue.wanted_by(key).collect(),
            Asked::Fetch { run, passed: None, .. } => vec![*run],
            Asked::Fetch { passed: Some(_), .. } => Vec::new(),
        };
        runs.into_iter().filter_map(|run| Some((run, self.guests.get(&run)?)))
    }

    /// Returns when the first of those that wait for a request waits no longer.
    fn limit_of(&self, asked: &Asked) -> Option<Instant> {
        let limits = self.guests_of(asked);
        limits
            .filter_map(|(_, guest)| guest.terms.limits.next(asked.clock()))
            .map(|next| next.0)
            .min()
    }

    /// Ends what passed a limit of those that want it, for each when its own is passed.
    fn stop_late(&mut self) {
        let now = Instant::now();
        if self.look_at.is_none_or(|when| when > now) {
            return;
        }
        let mut late = Vec::new();
        for (worker, asked) in &self.asked {
            for (run, guest) in self.guests_of(asked) {
                let passed = guest.terms.limits.passed(asked.clock(), now);
                late.extend(passed.map(|passed| (*worker, run, passed)));
            }
        }
        for (worker, run, passed) in late {
            self.is_late(worker, run, passed);
        }
        self.look_at = self.asked.values().filter_map(|asked| self.limit_of(asked)).min();
    }

    /// Tells a run that a request passed its limit, and ends it if nobody else waits for it.
    fn is_late(&mut self, worker: usize, run: RunNumber, late: Passed) {
        let (Some(asked), Some(guest)) = (self.asked.get_mut(&worker), self.guests.get(&run))
        else {
            return;
        };
        match asked {
            Asked::Build { key, recording, .. } => {
                for (derivation, _) in recording.under_way() {
                    let derivation = derivation.clone();
                    guest.say(Heard::Event(BuildEvent::Stopped { derivation }));
                }
                let how = How::passed(late, key.derivation().clone());
                let recorded = Arc::new(recording.so_far());
                guest.say(Heard::Ended { key: key.clone(), recorded, how });
                if self.queue.withdraw(run, key) {
                    self.failures.remove(key);
                    self.workers.close(worker);
                }
            }
            // The end of the connection is told.
            Asked::Fetch { passed, .. } => {
                *passed = Some(late);
                self.workers.close(worker);
            }
        }
    }

    fn fetch(&mut self, run: RunNumber, derivations: Vec<DerivationPath>) {
        let Some(guest) = self.guests.get(&run) else { return };
        let options = guest.terms.fetch.clone();
        let line_bytes = guest.line_bytes();
        let recording = Recording::new(guest.log_place());
        let work = Work { derivations, options, check: false, line_bytes };
        let clock = Clock::new(Instant::now());
        self.ask(work, Asked::Fetch { run, recording, clock, passed: None });
    }

    /// Stops what only this run wants, tells it so, and forgets it.
    fn leave(&mut self, run: RunNumber) {
        let Some(guest) = self.guests.remove(&run) else { return };
        let wanted = |asked: &Asked, queue: &Queue<Key>| match asked {
            Asked::Build { key, .. } => queue.wanted_by(key).any(|other| other == run),
            Asked::Fetch { run: other, .. } => *other == run,
        };
        let recorded = self.asked.values().filter(|asked| wanted(asked, &self.queue));
        let recorded = recorded.map(|asked| match asked {
            Asked::Build { recording, .. } | Asked::Fetch { recording, .. } => recording.so_far(),
        });
        guest.say(Heard::Stopped { recorded: recorded.collect() });
        let unwanted = self.queue.leave(run);
        for (worker, asked) in &self.asked {
            let is_unwanted = match asked {
                Asked::Build { key, .. } => unwanted.contains(key),
                Asked::Fetch { run: other, .. } => *other == run,
            };
            if is_unwanted {
                self.workers.close(*worker);
            }
        }
        self.rests.retain(|(_, key)| self.queue.wanted_by(key).next().is_some());
        self.failures.retain(|key, _| self.queue.wanted_by(key).next().is_some());
        self.workers.forget(run);
    }

    fn said(&mut self, worker: usize, said: Said) {
        match said {
            Said::Event(event) => self.happened(worker, event),
            Said::Done(result) => {
                let is_over = result.as_ref().is_err_and(|error| !error.is_recoverable());
                let was_closed = is_over && self.workers.has_ended(worker);
                let result = result.map_err(|error| Lost::of(&error));
                self.done(worker, result, !is_over, was_closed);
            }
            Said::NoConnection(error) => {
                let was_closed = self.workers.has_ended(worker);
                if !was_closed && self.goes_on_without(worker, &error.to_string()) {
                    return;
                }
                let lost = Lost { message: error.to_string(), may_go_away: true };
                self.done(worker, Err(lost), false, was_closed);
            }
        }
    }

    /// Has what could not be asked wait for the connections that are open, if there are any at work.
    fn goes_on_without(&mut self, worker: usize, message: &str) -> bool {
        if self.asked.len() < 2 || self.workers.count() == 0 {
            return false;
        }
        match self.asked.remove(&worker) {
            Some(Asked::Build { key, .. }) => {
                tracing::warn!(message, "going on with fewer connections to Nix");
                self.queue.again(&key);
                self.no_more = true;
                true
            }
            Some(fetch @ Asked::Fetch { .. }) => {
                self.asked.insert(worker, fetch);
                false
            }
            None => false,
        }
    }

    /// Notes the time of what happened. What begins has another limit from then on, which may be passed sooner; all else
    /// is looked at when it would have been passed without it.
    fn heard(&mut self, worker: usize, event: &BuildEvent) {
        let Some(asked) = self.asked.get_mut(&worker) else { return };
        asked.heard(event);
        if matches!(event, BuildEvent::Started { .. }) {
            let limit = self.asked.get(&worker).and_then(|asked| self.limit_of(asked));
            self.look_at = self.look_at.into_iter().chain(limit).min();
        }
    }

    fn happened(&mut self, worker: usize, event: BuildEvent) {
        self.heard(worker, &event);
        let Some(asked) = self.asked.get_mut(&worker) else { return };
        let (recording, runs) = match asked {
            Asked::Build { key, recording, .. } => {
                if let BuildEvent::Started { derivation, machine: Some(_) } = &event
                    && derivation == key.derivation()
                {
                    self.queue.runs_remotely(key);
                }
                (recording, self.queue.wanted_by(key).collect())
            }
            Asked::Fetch { run, recording, .. } => (recording, vec![*run]),
        };
        if !recording.take(&event) {
            return;
        }
        for run in runs {
            let Some(guest) = self.guests.get(&run) else { continue };
            guest.say(match &event {
                BuildEvent::Started { derivation, .. } => {
                    let log = recording.log(derivation).cloned();
                    Heard::Started { derivation: derivation.clone(), log }
                }
                BuildEvent::Line { .. }
                | BuildEvent::Phase { .. }
                | BuildEvent::Stopped { .. }
                | BuildEvent::Message { .. } => Heard::Event(event.clone()),
            });
        }
    }

    /// Notes that a request has ended.
    fn done(
        &mut self,
        worker: usize,
        result: Result<Vec<BuildResult>, Lost>,
        is_open: bool,
        was_closed: bool,
    ) {
        self.no_more = false;
        match self.asked.remove(&worker) {
            Some(Asked::Fetch { run, recording, passed, .. }) => {
                if is_open {
                    self.workers.is_idle(worker, self.guests.contains_key(&run).then_some(run));
                }
                let Some(guest) = self.guests.get_mut(&run) else { return };
                let recorded = Arc::new(recording.finish());
                guest.kept_bytes += recorded.kept_bytes;
                let results =
                    result.map_err(|lost| passed.map_or(lost.message, |passed| passed.describe()));
                guest.say(Heard::Fetched { recorded, results });
            }
            Some(Asked::Build { key, recording, .. }) => {
                if is_open {
                    let runs: Vec<RunNumber> = self.queue.wanted_by(&key).collect();
                    self.workers.is_idle(worker, runs);
                }
                self.built(key, recording, result, was_closed);
            }
            None if is_open => self.workers.is_idle(worker, None),
            None => {}
        }
    }

    fn built(
        &mut self,
        key: Key,
        recording: Recording,
        result: Result<Vec<BuildResult>, Lost>,
        was_closed: bool,
    ) {
        let is_started = recording.has_started(key.derivation());
        let account = self.queue.account(&key);
        let recorded = Arc::new(recording.finish());
        if let Some(guest) = account.and_then(|run| self.guests.get_mut(&run)) {
            guest.kept_bytes += recorded.kept_bytes;
        }
        if was_closed {
            // Somebody may want it who came after it was to be stopped.
            return self.queue.again(&key);
        }
        let mut how = match result {
            Ok(results) => match results.into_iter().next() {
                Some(result) => How::Answered { result, is_started },
                None => How::Lost(Lost {
                    message: "Nix gave no result for it".to_owned(),
                    may_go_away: true,
                }),
            },
            Err(lost) => How::Lost(lost),
        };
        let reason = match &how {
            How::Answered { result, .. } if result.status.is_success() => None,
            // A remote builder that was busy: this machine takes it, if it can.
            How::Answered { .. } if !is_started && self.queue.try_here(&key) => return,
            How::Answered { result, .. } if !is_started && result.lacks_a_builder() => {
                self.queue.may_be_remote(&key).then_some(Transient::BuilderUnreachable)
            }
            How::Answered { result, .. } => transient::of(result.status, &result.error),
            How::Lost(lost) => lost.may_go_away.then_some(Transient::DaemonGone),
        };
        if let Some(why) = reason {
            if self.tries_again(&key, why) {
                return;
            }
            let tries = self.failures.get(&key).copied().unwrap_or_default();
            how.give_up(why, tries);
        }
        self.failures.remove(&key);
        for run in self.queue.ended(&key) {
            if let Some(guest) = self.guests.get(&run) {
                let (key, recorded, how) = (key.clone(), Arc::clone(&recorded), how.clone());
                guest.say(Heard::Ended { key, recorded, how });
            }
        }
    }

    /// Has a build tried once more after a while, unless that was done often enough.
    fn tries_again(&mut self, key: &Key, why: Transient) -> bool {
        let failures = self.failures.entry(key.clone()).or_default();
        *failures += 1;
        let Some(wait) = transient::wait(why, *failures) else { return false };
        let runs: Vec<RunNumber> = self.queue.wanted_by(key).collect();
        if !self.queue.rest(key) {
            self.failures.remove(key);
            return true;
        }
        self.rests.push((Instant::now() + wait, key.clone()));
        for run in runs {
            if let Some(guest) = self.guests.get(&run) {
                let derivation = key.derivation().clone();
                guest.say(Heard::TriedAgain { derivation, why, wait });
            }
        }
        true
    }
}

/// Says whether it is up to the builder how often this is said.
pub(super) fn is_chatter(heard: &Heard) -> bool {
    matches!(heard, Heard::Event(BuildEvent::Line { .. } | BuildEvent::Phase { .. }))
}

impl Guest {
    fn say(&self, heard: Heard) {
        if is_chatter(&heard) && self.lines.fetch_add(1, Ordering::Relaxed) >= MOST_LINES {
            // The log has it. Whoever reads so slowly must not fill the memory.
            self.lines.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        // Whoever does not listen any more has left.
        self.hear.send(heard).ok();
    }

    fn line_bytes(&self) -> usize {
        self.terms.logs.limits.line_bytes as usize
    }

    fn log_place(&self) -> Option<LogPlace> {
        let logs = &self.terms.logs;
        (self.kept_bytes < logs.limits.total_bytes).then(|| logs.clone())
    }
}
