//! Fetching locked inputs with the operator's credentials, before anything is evaluated.
//!
//! It is the only place where Nix has both a network and the operator's settings, so no text of a
//! project is evaluated here: the expression is levain's own, and applied to plain data. Everything
//! has a hash, so that the evaluation finds it in the store. Start at [`NixProgram::fetch`].

use std::path::PathBuf;
use std::process::Command;

use super::confinement::{Confinement, FetchView};
use super::eval::{EvalError, make_dir, prepare};
use super::network::Upstreams;
use super::process::{Input, PROXIES, ProcessLimits, Run, output};
use super::program::NixProgram;
use super::settings::Settings;
use super::ssh_config;
use crate::config::StoreConfig;

/// Inputs to be fetched.
#[derive(Debug, Clone)]
pub struct FetchRequest {
    /// A list of attribute sets in the Nix language, each with a hash: plain data.
    pub inputs: String,
    /// The store that gets them.
    pub store: StoreConfig,
    /// Where Nix caches what it fetches; made if missing. No evaluation may see it.
    pub cache_dir: PathBuf,
    /// How evaluations are confined: fetching writes nothing but the store and the cache, and
    /// connects to the same hosts.
    pub confinement: Confinement,
    /// Whether they come over a protocol that knows no proxy, and so need this machine's network.
    pub direct: bool,
    /// How much of the machine fetching may take.
    pub limits: ProcessLimits,
}

impl NixProgram {
    /// Fetches inputs into the store.
    pub fn fetch(&self, request: &FetchRequest) -> Result<(), EvalError> {
        let temporary = request.cache_dir.join("tmp");
        make_dir(&temporary)?;
        prepare(&request.store)?;
        let view = FetchView {
            store: &request.store,
            cache_dir: &request.cache_dir,
            temporary: &temporary,
            direct: request.direct,
            memory: request.limits.memory,
        };
        let mut words = request.confinement.prefix_of_fetch(&view);
        let confined = !words.is_empty();
        words.push(self.path().into());
        let first = PathBuf::from(words.remove(0));
        let proxied = request.confinement.proxied().filter(|_| !request.direct);
        #[expect(clippy::disallowed_methods, reason = "this module starts Nix")]
        let mut command = Command::new(&first);
        command
            .args(words)
            .args(["eval", "--json", "--option", "pure-eval", "true"])
            .args(["--extra-experimental-features", "nix-command flakes fetch-tree"])
            .args(["--option", "warn-dirty", "false", "--expr"])
            .arg(format!("map (input: (builtins.fetchTree input).narHash) {}", request.inputs))
            .env_clear()
            .envs(&request.store.environment)
            .envs(&request.store.user_environment)
            .env("XDG_CACHE_HOME", &request.cache_dir)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C");
        if confined {
            command.env("TMPDIR", &temporary);
        }
        let has_own = ["GIT_SSH_COMMAND", "GIT_SSH"]
            .iter()
            .any(|name| request.store.environment.contains_key(*name));
        if confined && request.direct && !has_own && !rustix::process::geteuid().is_root() {
            match ssh_config::command(&request.cache_dir) {
                Ok(ssh) => drop(command.env("GIT_SSH_COMMAND", ssh)),
                Err(error) => tracing::warn!(%error, "going on with ssh's own configuration"),
            }
        }
        if proxied.is_some() {
            for name in PROXIES {
                command.env_remove(name);
            }
            let mut config = Settings::read(&request.store).missing_behind_a_proxy();
            if let Some(own) = request.store.environment.get("NIX_CONFIG") {
                config.push_str(&own.to_string_lossy());
            }
            command.env("NIX_CONFIG", config);
        }
        let limits = request.limits;
        let upstreams = &Upstreams::read(&request.store.environment);
        let run = Run { program: &first, confined, proxied, upstreams, limits };
        output(command, &run, Input::Nothing, &self.stop).map(drop)
    }
}
