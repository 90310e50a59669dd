//! Reads the environment, once, and builds from it what the commands work with.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use levain_engine::cancel::Cancel;
use levain_engine::project::{Selection, Surroundings};
use levain_evaluator::NixEvaluator;
use levain_store::nix::{Confinement, NixProgram};
use levain_store::{Store, StoreConfig};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::args::{Global, Select};
use crate::exit::{self, Failure};

/// Sends logs to standard error: warnings, and more on request or by `LEVAIN_LOG`.
pub(crate) fn logs(verbose: u8) {
    let level = match verbose {
        0 => "error",
        1 => "info",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_env("LEVAIN_LOG")
        .unwrap_or_else(|_| EnvFilter::new(format!("levain={level},levain_engine={level},levain_store={level},levain_evaluator={level},levain_actions={level}")));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false)
        .without_time()
        .init();
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
    std::env::var_os(name)
}

/// Builds what every command works with.
pub(crate) fn surroundings(global: &Global, trust: Trust) -> Result<Surroundings, Failure> {
    let config = StoreConfig::from_lookup(lookup).map_err(|error| Failure::error(&error))?;
    let nix = NixProgram::find(lookup).map_err(|error| Failure::error(&error))?;
    let confinement = match (global.unconfined, Confinement::detect(lookup), trust) {
        (true, _, _) => Confinement::None,
        (false, Some(confinement), _) => confinement,
        (false, None, Trust::Branch) => {
            tracing::warn!("bubblewrap is missing: evaluating without a sandbox");
            Confinement::None
        }
        (false, None, Trust::Anyone) => {
            return Err(Failure::user(
                "pull requests are evaluated in a sandbox, and `bwrap` is not on the PATH\nhint: install bubblewrap, or pass `--unconfined` if you trust the author",
            ));
        }
    };
    let cache_dir = directory("XDG_CACHE_HOME", ".cache")?.join("levain");
    // Nix notes there which store paths it fetched, without noting the store.
    let cache_dir = cache_dir.join(config.real_dir.strip_prefix("/").unwrap_or(&config.real_dir));
    let mirrors = directory("XDG_STATE_HOME", ".local/state")?.join("levain/mirrors");
    std::fs::create_dir_all(&cache_dir).map_err(|error| {
        Failure::user(format!("cannot create `{}`: {error}", cache_dir.display()))
    })?;
    let store = Store::new(config.clone());
    let stop = nix.stop();
    let evaluator = Arc::new(NixEvaluator { nix, store: config, cache_dir, confinement });
    Ok(Surroundings { store, evaluator, stop, system: system(), mirrors })
}

fn directory(variable: &str, below_home: &str) -> Result<PathBuf, Failure> {
    if let Some(dir) = lookup(variable).filter(|dir| !dir.is_empty()) {
        return Ok(PathBuf::from(dir));
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

/// Returns the selection, and how far it is trusted.
pub(crate) fn selection(select: &Select) -> (Selection, Trust) {
    let trust = if select.pull_request.is_some() { Trust::Anyone } else { Trust::Branch };
    let selection = Selection {
        branch: select.branch.clone(),
        pull_request: select.pull_request,
        revision: select.rev.clone(),
    };
    (selection, trust)
}

/// The first signal stops the run and lets it end in order; the second ends levain at once,
/// which is just as safe, only less polite.
pub(crate) fn stop_on_signals(runtime: &Handle, cancel: &Cancel) {
    let cancel = cancel.clone();
    let mut signalled = false;
    on_signals(runtime, move || {
        if signalled {
            std::process::exit(i32::from(exit::INTERRUPTED));
        }
        signalled = true;
        cancel.cancel();
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
