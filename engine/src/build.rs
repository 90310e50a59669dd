//! Builds derivations, each once, and says as early as possible how each has ended.
//!
//! levain schedules by itself: it reads the graph of what has to be built, and asks Nix for one
//! derivation at a time, on several connections, as soon as its inputs are there. What several runs
//! want is built once, and all runs share the slots of the machine ([`Scheduler`]). Nix takes longer
//! than linear time for many derivations that wait in one request, answers only when all of them
//! have ended, and does not say which dependency of what failed, or why. Start at
//! [`Building::build`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use levain_store::{
    BuildOptions, BuildSettings, BuildStatus, ConnectError, Connection, DecliningHook,
    DerivationPath, Missing, ProtocolError, Remote, Store, StorePath,
};
use rustix::process::Resource;

use crate::cancel::Cancel;
use crate::connections::LazyConnection;
use crate::event::Tell;

mod graph;
mod limits;
mod log;
mod queue;
mod recording;
mod schedule;
mod scheduler;
mod standing;
mod traces;
mod transient;
mod waits;
mod work;
mod workers;

pub use limits::BuildLimits;
pub(crate) use limits::Limits;
pub use log::LogLimits;
pub use scheduler::Scheduler;
pub use standing::{Class, Standing};
pub(crate) use traces::{Failure, Trace, Traces};

use graph::Graph;
use queue::Slots;
use recording::LogPlace;
use schedule::Schedule;
use scheduler::Terms;
use work::Builds;

/// The most connections at a time, whatever the settings say: each is a process.
const MOST_CONNECTIONS: u64 = 512;
/// How many files a build takes: both ends of its connection, what its daemon says, its log.
const FILES_OF_A_BUILD: u64 = 4;
/// How many files are left for everything else.
const OTHER_FILES: u64 = 128;

/// Told how each wanted derivation ended; may use the connection meanwhile.
pub(crate) type Ended<'a> = dyn FnMut(&mut Connection, &DerivationPath, Ending, &Traces) + 'a;

/// What to build.
pub(crate) type Wanted = BTreeMap<DerivationPath, BTreeMap<String, StorePath>>;

/// How a wanted derivation ended.
#[derive(Clone, Debug)]
pub(crate) enum Ending {
    /// Its outputs are valid.
    Success,
    /// Nix says that it failed.
    Failure(Failure),
    /// It was not started, since these failed that it needs: at least one.
    DependenciesFailed(Vec<(DerivationPath, Failure)>),
    /// It was not started, since no machine can build it.
    NoBuilder {
        /// The system and features that no machine has.
        asked: String,
        /// The dependency that asks for them, if it is not the derivation itself.
        dependency: Option<DerivationPath>,
    },
    /// It was stopped.
    Cancelled,
    /// It was not finished, since another build failed first and that was to end them all.
    Abandoned,
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
            Self::Failure(Failure { status, .. }) => {
                matches!(
                    status,
                    BuildStatus::PermanentFailure
                        | BuildStatus::OutputRejected
                        | BuildStatus::HashMismatch
                )
            }
            Self::Success
            | Self::DependenciesFailed(_)
            | Self::NoBuilder { .. }
            | Self::Cancelled
            | Self::Abandoned
            | Self::Broken { .. } => false,
        }
    }

    /// Says in a line why it is no success.
    pub(crate) fn reason(&self) -> Option<String> {
        match self {
            Self::Success => None,
            Self::Failure(failure) => Some(failure.message.clone()),
            Self::DependenciesFailed(failed) => failed.first().map(|(path, failure)| {
                let more = match failed.len() {
                    1 => String::new(),
                    more => format!(" (and {} more)", more - 1),
                };
                format!("dependency `{}` failed: {}{more}", path.name(), failure.message)
            }),
            Self::NoBuilder { asked, dependency: None } => Some(format!("no builder for {asked}")),
            Self::NoBuilder { asked, dependency: Some(path) } => {
                Some(format!("no builder for {asked}, which dependency `{}` needs", path.name()))
            }
            Self::Cancelled => Some("stopped".to_owned()),
            Self::Abandoned => Some("not finished, since another build failed first".to_owned()),
            Self::Broken { message } => Some(message.clone()),
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
    /// Where it takes place.
    pub store: &'a Store,
    /// Options for Nix.
    pub options: &'a BuildOptions,
    /// Nix's own settings, as far as they are known.
    pub settings: Option<&'a BuildSettings>,
    /// Where logs are kept.
    pub logs: &'a Path,
    /// How much of them.
    pub log_limits: LogLimits,
    /// How long a build may take.
    pub limits: Limits,
    /// Whether those are built once more whose outputs are there.
    pub again: bool,
    /// Those whose failure does not end the others, whatever the options say: they are built in another
    /// way then.
    pub excused: &'a BTreeSet<DerivationPath>,
    /// Builds for this run and all others of the process.
    pub scheduler: &'a Scheduler,
    /// How the run stands among them.
    pub standing: &'a Standing,
    /// Stops the builds.
    pub cancel: &'a Cancel,
}

impl Building<'_> {
    /// Builds `wanted`. Calls `ended` once for each, as soon as it is known, with what is known of
    /// all derivations so far.
    ///
    /// Takes a connection from `builder`, and opens more as they are needed; `watch` is another one,
    /// used to look at outputs meanwhile.
    pub(crate) fn build(
        &self,
        wanted: &Wanted,
        builder: &mut LazyConnection,
        watch: &mut Connection,
        tell: Tell<'_>,
        ended: &mut Ended<'_>,
    ) -> Result<Traces, BuildError> {
        let mut traces = Traces::default();
        // A success that was not recorded, as after a crash, is found here.
        let (valid, open): (Vec<_>, Vec<_>) =
            wanted.keys().partition(|path| all_valid(watch, &wanted[*path]));
        let checks: BTreeSet<DerivationPath> = match self.again {
            true => valid.into_iter().cloned().collect(),
            false => {
                for path in valid {
                    ended(watch, path, Ending::Success, &traces);
                }
                BTreeSet::new()
            }
        };
        if open.is_empty() && checks.is_empty() {
            return Ok(traces);
        }
        let open: BTreeSet<DerivationPath> = open.into_iter().cloned().collect();
        let mut first = builder.take()?;
        let asking = Arc::new(Mutex::new(Some(first.closer())));
        self.cancel.on_cancel({
            let asking = Arc::clone(&asking);
            move || {
                if let Some(closer) = lock(&asking).take() {
                    closer.close();
                }
            }
        });
        let missing = match self.missing(&mut first, &open) {
            Ok(missing) => missing,
            Err(_) if self.cancel.is_cancelled() => Missing::default(),
            Err(error) => return Err(error.into()),
        };
        // From here on it may be used for others.
        *lock(&asking) = None;
        let hook = self.declining_hook(&first).map(Arc::new);
        let terms = Terms {
            standing: self.standing.clone(),
            slots: self.slots(),
            one: self.options_for_one(&missing, hook.as_deref()),
            fetch: self.options.clone(),
            limits: self.limits,
            logs: LogPlace { directory: self.logs.to_owned(), limits: self.log_limits },
            hook,
        };
        let capabilities = self.settings.map(|settings| &settings.capabilities);
        let graph =
            Graph::load(missing.will_build, &open, &checks, capabilities, &mut |path| match self
                .store
                .read_derivation(path)
            {
                Ok(derivation) => Some(derivation),
                Err(error) => {
                    tracing::debug!(%error, "cannot read a derivation of the graph");
                    None
                }
            });
        let mut nodes = graph.nodes.clone();
        for number in self.excused.iter().filter_map(|path| graph.number(path)) {
            nodes[number].is_excused = true;
        }
        let mut builds = Builds {
            building: self,
            wanted,
            schedule: Schedule::new(nodes, self.options.keep_going),
            fetches: open.iter().filter(|path| graph.number(path).is_none()).cloned().collect(),
            graph,
            broken: HashMap::new(),
            waiting: open.into_iter().chain(checks).collect(),
        };
        // What was built is protected from garbage collection until this goes.
        let entered = self.scheduler.enter(terms, first);
        self.cancel.on_cancel(entered.stopper());
        builds.work(&entered, &mut traces, watch, tell, ended);
        builds.end_the_rest(watch, ended, &traces);
        Ok(traces)
    }

    /// Asks which derivations have to be built.
    fn missing(
        &self,
        connection: &mut Connection,
        open: &BTreeSet<DerivationPath>,
    ) -> Result<Missing, ProtocolError> {
        connection.set_options(self.options)?;
        let open: Vec<DerivationPath> = open.iter().cloned().collect();
        let mut missing = Missing::default();
        let mut parts = vec![open.as_slice()];
        while let Some(part) = parts.pop() {
            match connection.missing(part) {
                Ok(found) => {
                    missing.will_build.extend(found.will_build);
                    missing.will_substitute |= found.will_substitute;
                }
                // One that Nix cannot look at must not cost the others their place in the schedule.
                Err(ProtocolError::Daemon { .. }) if part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([first, second]);
                }
                // When it is built, Nix says what is wrong with it.
                Err(ProtocolError::Daemon { message }) => {
                    tracing::debug!(message, "Nix does not say what has to be built");
                    missing.will_build.extend(part.iter().cloned());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(missing)
    }

    fn max_jobs(&self) -> u32 {
        let processors = || {
            let count = thread::available_parallelism().map_or(1, std::num::NonZero::get);
            u32::try_from(count).unwrap_or(1)
        };
        self.options.max_jobs.unwrap_or_else(processors)
    }

    fn slots(&self) -> Slots {
        let remote = self.settings.map_or(0, |settings| settings.capabilities.remote_jobs());
        let most = most_connections(rustix::process::getrlimit(Resource::Nofile).current);
        let of = |jobs: u32| (jobs as usize).min(most);
        Slots { local: of(self.max_jobs()), remote: of(remote) }
    }

    /// Returns the options for a request for one derivation.
    fn options_for_one(&self, missing: &Missing, hook: Option<&DecliningHook>) -> BuildOptions {
        let mut options = self.options.clone();
        options.max_jobs = Some(self.max_jobs().min(1));
        if !missing.will_substitute {
            // It has just been asked: asking again for each derivation takes time, and much of it
            // where a substituter does not answer.
            options.substitute = Some(false);
        }
        if let Some(hook) = hook {
            options.overrides.entry("build-hook".to_owned()).or_insert_with(|| hook.setting());
        }
        options
    }

    /// Makes a hook that declines, if there are no remote builders.
    ///
    /// Only for a daemon of our own: the settings of another need not be those that we know.
    fn declining_hook(&self, connection: &Connection) -> Option<DecliningHook> {
        let is_child = matches!(self.store.config().resolve_remote(), Remote::Child);
        let known = self.settings.filter(|_| is_child)?;
        let version = connection.version().filter(|_| known.capabilities.machines.is_empty())?;
        DecliningHook::new(version)
    }
}

/// Returns how many connections fit into so many open files; nothing if there may be any number.
fn most_connections(files: Option<u64>) -> usize {
    let fitting = |files: u64| files.saturating_sub(OTHER_FILES) / FILES_OF_A_BUILD;
    let most = files.map_or(MOST_CONNECTIONS, fitting).clamp(1, MOST_CONNECTIONS);
    usize::try_from(most).unwrap_or(1)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Returns the present, in seconds since 1970.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_others() {
        for (files, expected) in
            [(Some(1024), 224), (Some(100), 1), (Some(0), 1), (Some(u64::MAX), 512), (None, 512)]
        {
            assert_eq!(most_connections(files), expected, "{files:?}");
        }
    }
}
