//! Builds derivations, each once, and says as early as possible which have succeeded.
//!
//! All derivations go to Nix in one request, so that one scheduler shares
//! dependencies and respects the job limit. Nix answers at the very end; but a
//! success is known as soon as its outputs are valid, so a second connection
//! looks whenever a build stops.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use levain_store::{
    BuildEvent, BuildOptions, BuildResult, BuildStatus, ConnectError, Connection, DerivationPath,
    ProtocolError, StorePath,
};

use crate::cancel::Cancel;
use crate::connections::LazyConnection;
use crate::progress::Progress;

/// How many lines of a failing build are shown.
pub(crate) const LAST_LINES: usize = 30;

/// What every line of `levain-cache` about a set begins with.
const CACHE_LINE: &str = "levain-cache: ";

/// How many of those lines are kept: a log is not ours, and may say anything.
const MOST_CACHE_LINES: usize = 100;

/// How often running builds are looked at when Nix says nothing.
const LOOK: Duration = Duration::from_millis(200);

/// Told how each wanted derivation ended; may use the connection meanwhile.
pub(crate) type Ended<'a> =
    dyn FnMut(&mut Connection, &mut dyn Progress, &DerivationPath, Ending, &Traces) + 'a;

/// What to build.
pub(crate) type Wanted = BTreeMap<DerivationPath, BTreeMap<String, StorePath>>;

/// What is known of a derivation that was started or asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace {
    /// When it began, in seconds since 1970.
    pub started_at: Option<u64>,
    /// How long it took.
    pub seconds: f64,
    /// The file with its log.
    pub log: Option<PathBuf>,
    /// The end of its log.
    pub last_lines: VecDeque<String>,
    /// What `levain-cache` said about each set it restored or persisted.
    pub cache_lines: Vec<String>,
}

/// How a wanted derivation ended.
#[derive(Clone, Debug)]
pub(crate) enum Ending {
    /// Its outputs are valid.
    Success,
    /// Nix says that it failed.
    Failure {
        /// Nix's classification.
        status: BuildStatus,
        /// Nix's message.
        message: String,
    },
    /// It was stopped.
    Cancelled,
    /// Nix or the connection broke before it ended.
    Broken {
        /// What happened.
        message: String,
    },
}

impl Ending {
    /// Says whether the builder itself failed, rather than time, a dependency or the machine.
    pub(crate) fn is_the_jobs_fault(&self) -> bool {
        match self {
            Self::Failure { status, .. } => {
                matches!(status, BuildStatus::PermanentFailure | BuildStatus::OutputRejected)
            }
            Self::Success | Self::Cancelled | Self::Broken { .. } => false,
        }
    }
}

/// Building could not even begin.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No connection.
    #[error("cannot build: {0}")]
    Connect(#[from] ConnectError),
    /// Nix refused the options.
    #[error("cannot build: {0}")]
    Protocol(#[from] ProtocolError),
}

/// A build of many derivations.
pub(crate) struct Building<'a> {
    /// Options for Nix.
    pub options: &'a BuildOptions,
    /// Where logs are kept.
    pub logs: &'a Path,
    /// Stops the builds.
    pub cancel: &'a Cancel,
}

enum Event {
    Nix(BuildEvent),
    Done(Result<Vec<BuildResult>, ProtocolError>),
}

impl Building<'_> {
    /// Builds `wanted`. Calls `ended` once for each, successes as soon as they
    /// are known, with what is known of all derivations so far.
    ///
    /// Takes a connection from `builder`; `watch` is a second one, used to look
    /// at outputs meanwhile.
    pub(crate) fn build(
        &self,
        wanted: &Wanted,
        builder: &mut LazyConnection,
        watch: &mut Connection,
        progress: &mut dyn Progress,
        ended: &mut Ended<'_>,
    ) -> Result<Traces, BuildError> {
        let mut traces = Traces::new(self.logs);
        // A success that was not recorded, as after a crash, is found here.
        let (valid, open): (Vec<_>, Vec<_>) =
            wanted.keys().partition(|path| all_valid(watch, &wanted[*path]));
        for path in valid {
            ended(watch, progress, path, Ending::Success, &traces);
        }
        let mut open: BTreeSet<&DerivationPath> = open.into_iter().collect();
        if open.is_empty() {
            return Ok(traces);
        }
        let mut connection = builder.take()?;
        connection.set_options(self.options)?;
        let closer = connection.closer();
        self.cancel.on_cancel(move || closer.close());
        let derivations: Vec<DerivationPath> = open.iter().copied().cloned().collect();
        let (send, receive) = mpsc::channel();
        let results = thread::scope(|scope| {
            scope.spawn(move || {
                let events = send.clone();
                // The receiver only goes away after the last event.
                let mut forward = |event| events.send(Event::Nix(event)).unwrap_or_default();
                let results = connection.build(&derivations, &mut forward);
                send.send(Event::Done(results)).unwrap_or_default();
            });
            let mut looked = Instant::now();
            loop {
                let event = match receive.recv_timeout(LOOK) {
                    Ok(event) => Some(event),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => break Err(ProtocolError::Closed),
                };
                let mut look_at: Vec<&DerivationPath> = Vec::new();
                match event {
                    Some(Event::Done(results)) => break results,
                    Some(Event::Nix(event)) => {
                        if let Some(stopped) = traces.take(event, progress)
                            && let Some(own) = open.get(&stopped)
                        {
                            look_at.push(own);
                        }
                    }
                    None => {}
                }
                // Nix 2.8 says that a wanted build has stopped only when all have.
                if looked.elapsed() >= LOOK {
                    looked = Instant::now();
                    look_at =
                        open.iter().filter(|path| traces.has_started(path)).copied().collect();
                }
                for path in look_at {
                    if all_valid(watch, &wanted[path]) {
                        open.remove(path);
                        traces.has_ended(path);
                        ended(watch, progress, path, Ending::Success, &traces);
                    }
                }
            }
        });
        let by_derivation: HashMap<DerivationPath, BuildResult> = match &results {
            Ok(results) => results.iter().map(|r| (r.derivation.clone(), r.clone())).collect(),
            Err(_) => HashMap::new(),
        };
        traces.finish();
        for path in open {
            let ending = match by_derivation.get(path) {
                Some(result) if result.status.is_success() => Ending::Success,
                Some(result) => {
                    Ending::Failure { status: result.status, message: result.error.clone() }
                }
                // A build may have ended well just before the connection did.
                None if all_valid(watch, &wanted[path]) => Ending::Success,
                None if self.cancel.is_cancelled() => Ending::Cancelled,
                None => Ending::Broken {
                    message: match &results {
                        Ok(_) => "Nix gave no result for it".into(),
                        Err(error) => error.to_string(),
                    },
                },
            };
            ended(watch, progress, path, ending, &traces);
        }
        Ok(traces)
    }
}

fn all_valid(connection: &mut Connection, outputs: &BTreeMap<String, StorePath>) -> bool {
    outputs.values().all(|path| match connection.is_valid(path) {
        Ok(valid) => valid,
        Err(error) => {
            tracing::debug!(%error, %path, "cannot ask for a path");
            false
        }
    })
}

/// What happened to each derivation that was started.
#[derive(Debug)]
pub(crate) struct Traces {
    logs: PathBuf,
    known: HashMap<DerivationPath, Running>,
}

#[derive(Debug)]
struct Running {
    trace: Trace,
    since: Instant,
    stopped: bool,
    file: Option<BufWriter<File>>,
}

impl Traces {
    fn new(logs: &Path) -> Self {
        Self { logs: logs.to_owned(), known: HashMap::new() }
    }

    /// Returns what is known of a derivation.
    pub(crate) fn get(&self, derivation: &DerivationPath) -> Option<&Trace> {
        self.known.get(derivation).map(|running| &running.trace)
    }

    fn has_started(&self, derivation: &DerivationPath) -> bool {
        self.known.contains_key(derivation)
    }

    /// Notes that a build has ended, which Nix has perhaps not said yet. More lines may still come.
    fn has_ended(&mut self, derivation: &DerivationPath) {
        if let Some(running) = self.known.get_mut(derivation)
            && !running.stopped
        {
            running.trace.seconds = running.since.elapsed().as_secs_f64();
        }
    }

    /// Records an event; returns the derivation whose build it ends.
    fn take(&mut self, event: BuildEvent, progress: &mut dyn Progress) -> Option<DerivationPath> {
        match event {
            BuildEvent::Started { derivation } => {
                progress.build_started(&derivation.to_string(), derivation.name());
                let running = self.start(&derivation);
                self.known.insert(derivation, running);
                None
            }
            BuildEvent::Line { derivation, line } => {
                progress.build_line(&derivation.to_string(), &line);
                if let Some(running) = self.known.get_mut(&derivation) {
                    running.add(line);
                }
                None
            }
            BuildEvent::Phase { derivation, name } => {
                progress.build_line(&derivation.to_string(), &format!("phase {name}"));
                None
            }
            BuildEvent::Stopped { derivation } => {
                progress.build_stopped(&derivation.to_string());
                if let Some(running) = self.known.get_mut(&derivation) {
                    running.stop();
                }
                Some(derivation)
            }
            BuildEvent::Message { text } => {
                tracing::debug!(%text, "nix");
                None
            }
        }
    }

    fn start(&self, derivation: &DerivationPath) -> Running {
        let path = self.logs.join(format!("{derivation}.log"));
        let file = match File::create(&path) {
            Ok(file) => Some(BufWriter::new(file)),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot keep a log");
                None
            }
        };
        let trace = Trace {
            started_at: Some(unix_now()),
            log: file.is_some().then_some(path),
            ..Trace::default()
        };
        Running { trace, since: Instant::now(), stopped: false, file }
    }

    fn finish(&mut self) {
        for running in self.known.values_mut() {
            running.stop();
        }
    }
}

impl Running {
    fn add(&mut self, line: String) {
        if let Some(file) = &mut self.file
            && let Err(error) = writeln!(file, "{line}")
        {
            tracing::warn!(%error, "cannot write a log further");
            self.file = None;
        }
        if let Some(said) = line.strip_prefix(CACHE_LINE)
            && self.trace.cache_lines.len() < MOST_CACHE_LINES
        {
            self.trace.cache_lines.push(said.to_owned());
        }
        if self.trace.last_lines.len() == LAST_LINES {
            self.trace.last_lines.pop_front();
        }
        self.trace.last_lines.push_back(line);
    }

    fn stop(&mut self) {
        if self.stopped {
            return;
        }
        self.stopped = true;
        self.trace.seconds = self.since.elapsed().as_secs_f64();
        if let Some(mut file) = self.file.take()
            && let Err(error) = file.flush()
        {
            tracing::warn!(%error, "cannot finish a log");
        }
    }
}

/// Returns the present, in seconds since 1970.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
