//! Reads the environment, once, and builds from it what the commands work with.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use levain_actions::forge::CheckedOut;
use levain_engine::Scheduler;
use levain_engine::cancel::Cancel;
use levain_engine::hold::Holds;
use levain_engine::project::{Selection, Surroundings};
use levain_engine::records::{OpenRecords, RecordsError};
use levain_engine::signing::SigningKey;
use levain_evaluator::NixEvaluator;
use levain_evaluator::evaluate::{Resources, WithoutSandbox};
use levain_server::database::DatabaseUrl;
use levain_server::records::wherever_they_are;
use levain_store::nix::{Confinement, Network, NixProgram};
use levain_store::{Store, StoreConfig};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tracing_subscriber::EnvFilter;

use crate::args::{Global, LogFormat, Select};
use crate::exit::{self, Failure};
use crate::terminal::Terminal;

/// Sends logs to standard error: warnings, and more on request or by `LEVAIN_LOG`.
pub(crate) fn logs(verbose: u8, format: LogFormat, terminal: &Terminal) {
    let level = match verbose {
        0 => "error",
        1 => "info",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_env("LEVAIN_LOG")
        .unwrap_or_else(|_| EnvFilter::new(format!("levain={level},levain_engine={level},levain_store={level},levain_evaluator={level},levain_actions={level},levain_server={level}")));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(terminal.clone())
        .with_ansi(false)
        .with_target(false);
    match format {
        LogFormat::Text => logs.without_time().init(),
        // The fields beside the message, such as `run` and `delivery`, are keys of the document.
        LogFormat::Json => logs.json().flatten_event(true).with_current_span(false).init(),
    }
}

/// Whether a sandbox may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The project's own branches: a missing sandbox is mentioned.
    Branch,
    /// Anyone's code: a missing sandbox is an error.
    Anyone,
}

pub(crate) fn lookup(name: &str) -> Option<OsString> {
    // As with Nix, an empty variable is none.
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Builds what every command works with.
pub(crate) fn surroundings(
    global: &Global,
    trust: Trust,
    runtime: &Handle,
) -> Result<Surroundings, Failure> {
    let config = StoreConfig::from_lookup(lookup).map_err(|error| Failure::error(&error))?;
    let nix = NixProgram::find(lookup).map_err(|error| Failure::error(&error))?;
    let executable = std::env::current_exe()
        .map_err(|error| Failure::user(format!("cannot find levain's own executable: {error}")))?;
    let network = Network::Proxy { executable, allowed: global.allow_host.clone() };
    let confinement = match (global.unconfined, trust) {
        (true, _) => Confinement::None,
        (false, Trust::Branch) => confinement_of_branches(),
        (false, Trust::Anyone) => Confinement::detect(lookup).ok_or_else(|| {
            Failure::user(
                "pull requests are evaluated in a sandbox, and `bwrap` is not on the PATH\nhint: install bubblewrap, or pass `--unconfined` if you trust the author",
            )
        })?,
    };
    let confinement = confinement.with_network(network);
    let cache_dir = directory("XDG_CACHE_HOME", ".cache")?.join("levain");
    // Nix notes there which store paths it fetched, without noting the store.
    let cache_dir = cache_dir.join(config.real_dir.strip_prefix("/").unwrap_or(&config.real_dir));
    let mirrors = directory("XDG_STATE_HOME", ".local/state")?.join("levain/mirrors");
    std::fs::create_dir_all(&cache_dir).map_err(|error| {
        Failure::user(format!("cannot create `{}`: {error}", cache_dir.display()))
    })?;
    levain_store::scratch::sweep();
    let store = Store::new(config.clone());
    let scheduler = Scheduler::new(&store);
    let stop = nix.stop();
    let ceilings = Resources {
        time: Duration::from_secs(global.evaluation_timeout),
        memory: global.evaluation_memory.saturating_mul(1 << 20),
        jobs: global.evaluation_jobs,
    };
    let allowed_paths = global.allow_path.clone();
    let evaluator = Arc::new(NixEvaluator {
        without_sandbox: match global.unconfined {
            true => WithoutSandbox::Anyone,
            false => WithoutSandbox::Branches,
        },

        nix,
        store: config,
        cache_dir,
        confinement,
        allowed_paths,
        ceilings,
    });
    let git_limit = Duration::from_secs(global.git_timeout);
    let signing_key = signing_key(global)?.map(Arc::new);
    Ok(Surroundings {
        store,
        scheduler,
        holds: Holds::default(),
        evaluator,
        stop,
        git_limit,
        git_login: None,
        system: system(),
        mirrors,
        signing_key,
        records: records(global, runtime),
    })
}

/// Returns what opens what is remembered where it is: below the repository, or in the database of the server whose mirror
/// that is.
fn records(global: &Global, runtime: &Handle) -> Arc<OpenRecords> {
    let named = global.database.clone();
    wherever_they_are(runtime.clone(), move |home| {
        let own = named.as_ref().map(|url| url.parse::<DatabaseUrl>()?.absolute()).transpose();
        let refused = |error| RecordsError::Elsewhere(Box::new(error));
        match own.map_err(refused)?.filter(|own| own.shown() == home.database) {
            // With the password, if there is one.
            Some(own) => Ok(own),
            None => home.database.parse().map_err(refused),
        }
    })
}

/// Returns the key that signs caches, if the operator gives one.
fn signing_key(global: &Global) -> Result<Option<SigningKey>, Failure> {
    let file = global.signing_key_file.as_ref().filter(|file| !file.as_os_str().is_empty());
    if let Some(file) = file {
        return SigningKey::from_file(file).map(Some).map_err(|error| Failure::error(&error));
    }
    let Some(text) = lookup(SIGNING_KEY).filter(|text| !text.is_empty()) else { return Ok(None) };
    let text = text
        .into_string()
        .map_err(|_text| Failure::user(format!("`{SIGNING_KEY}` is not UTF-8")))?;
    let key = SigningKey::parse(&text, &format!("`{SIGNING_KEY}`"));
    key.map(Some).map_err(|error| Failure::error(&error))
}

/// The variable with the key itself.
const SIGNING_KEY: &str = "LEVAIN_SIGNING_KEY";

/// Returns how the operator's own code is confined, without network.
pub(crate) fn confinement_of_branches() -> Confinement {
    Confinement::detect(lookup).unwrap_or_else(|| {
        tracing::warn!("bubblewrap is missing: evaluating without a sandbox");
        Confinement::None
    })
}

pub(crate) fn directory(variable: &str, below_home: &str) -> Result<PathBuf, Failure> {
    // The XDG specification has relative paths ignored.
    if let Some(dir) = lookup(variable).map(PathBuf::from).filter(|dir| dir.is_absolute()) {
        return Ok(dir);
    }
    match lookup("HOME") {
        Some(home) => Ok(PathBuf::from(home).join(below_home)),
        None => Err(Failure::user(format!(
            "neither `{variable}` nor `HOME` is set\nhint: set `HOME` to a directory that levain may write to"
        ))),
    }
}

/// Returns the machine's system in Nix's words.
pub(crate) fn system() -> String {
    let os = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    format!("{}-{os}", std::env::consts::ARCH)
}

/// Returns the selection.
pub(crate) fn selection(select: &Select) -> Selection {
    Selection {
        branch: select.branch.clone(),
        pull_request: select.pull_request,
        revision: select.rev.clone(),
        tag: None,
        base: None,
        checked_out: CheckedOut::from_lookup(lookup),
    }
}

/// Returns how far what is selected is trusted at most.
pub(crate) fn trust(selection: &Selection) -> Trust {
    match selection.pull_request.or(selection.checked_out.pull_request) {
        Some(_) => Trust::Anyone,
        None => Trust::Branch,
    }
}

/// How long a run may take to end in order.
const PATIENCE: Duration = Duration::from_millis(1_800);

/// The first signal stops the run and lets it end in order, for as long as [`PATIENCE`] lasts; the
/// second ends levain at once, which is just as safe, only less polite.
pub(crate) fn stop_on_signals(runtime: &Handle, cancel: &Cancel) {
    let cancel = cancel.clone();
    let mut signalled = false;
    let patience = runtime.clone();
    on_signals(runtime, move || {
        if signalled {
            std::process::exit(i32::from(exit::INTERRUPTED));
        }
        signalled = true;
        patience.spawn(async {
            tokio::time::sleep(PATIENCE).await;
            // Closes all connections, so that builders end, and ends what git has running.
            std::process::exit(i32::from(exit::INTERRUPTED));
        });
        // Beside the timer: this may itself have to wait for a lock.
        let cancel = cancel.clone();
        std::thread::spawn(move || cancel.cancel());
    });
}

/// Any signal ends levain, and what it has evaluating.
pub(crate) fn end_on_signals(runtime: &Handle, surroundings: &Surroundings) {
    let stop = surroundings.stop.clone();
    on_signals(runtime, move || {
        stop.stop();
        std::process::exit(i32::from(exit::INTERRUPTED));
    });
}

/// The first signal is passed on; the second ends levain at once.
pub(crate) fn notify_on_signals(runtime: &Handle, end: Arc<Notify>) {
    let mut signalled = false;
    on_signals(runtime, move || {
        if signalled {
            std::process::exit(i32::from(exit::INTERRUPTED));
        }
        signalled = true;
        end.notify_one();
    });
}

fn on_signals(runtime: &Handle, action: impl FnMut() + Send + 'static) {
    let action = Arc::new(Mutex::new(action));
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let action = Arc::clone(&action);
        let _guard = runtime.enter();
        let Ok(mut signals) = signal(kind) else { continue };
        runtime.spawn(async move {
            while signals.recv().await.is_some() {
                let mut action = action.lock().unwrap_or_else(PoisonError::into_inner);
                action();
            }
        });
    }
}
