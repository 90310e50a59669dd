//! Nix's own settings, as `nix config show` prints them.
//!
//! The worker protocol wants a number for each of a dozen settings and cannot say "as configured".
//! Plain Nix sends what its client has read from nix.conf, so we ask that client.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::Value;

use crate::config::{StoreConfig, find_program};
use crate::machines::{Capabilities, Machine};

/// What nix.conf says about building.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildSettings {
    /// How many builds at a time.
    pub max_jobs: u32,
    /// How many processors each build may use; 0 for all.
    pub cores: u32,
    /// After how many silent seconds a build is stopped; 0 for never.
    pub max_silent_seconds: u64,
    /// Whether the directories of failed builds are kept.
    pub keep_failed: bool,
    /// Whether Nix builds what cannot be substituted after all.
    pub fallback: bool,
    /// Whether Nix substitutes.
    pub substitute: bool,
    /// What this machine and its builders can build.
    pub capabilities: Capabilities,
}

/// The settings could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the settings of Nix: {0}\nhint: `nix config show` shows the same")]
pub struct BuildSettingsError(String);

/// One setting; there is more about each than its value.
#[derive(Deserialize)]
struct Setting {
    value: Value,
}

impl BuildSettings {
    /// Asks the `nix` program, with the variables that our own daemon gets.
    pub fn read(config: &StoreConfig) -> Result<Self, BuildSettingsError> {
        // Nix 2.8 has only the second; it goes away some day.
        let json = show(config, &["config", "show"]).or_else(|first| {
            show(config, &["show-config"]).map_err(|second| {
                BuildSettingsError(if second.is_empty() { first } else { second })
            })
        })?;
        Self::parse(&json, &mut |file| std::fs::read_to_string(file).ok())
            .ok_or_else(|| BuildSettingsError("it prints something else than JSON".to_owned()))
    }

    /// Reads JSON. What is missing there gets the value that Nix starts with.
    fn parse(json: &[u8], read: &mut dyn FnMut(&str) -> Option<String>) -> Option<Self> {
        let all: std::collections::BTreeMap<String, Setting> = serde_json::from_slice(json).ok()?;
        let value = |name: &str| all.get(name).map(|setting| &setting.value);
        let number = |name: &str| value(name).and_then(Value::as_u64);
        let small = |name: &str| number(name).map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        let switch = |name: &str| value(name).and_then(Value::as_bool);
        let text = |name: &str| value(name).and_then(Value::as_str).unwrap_or_default();
        let set = |name: &str| -> BTreeSet<String> {
            let list = value(name).and_then(Value::as_array).cloned().unwrap_or_default();
            list.iter().filter_map(|word| Some(word.as_str()?.to_owned())).collect()
        };
        let mut systems = set("extra-platforms");
        systems.insert(text("system").to_owned());
        Some(Self {
            max_jobs: small("max-jobs").unwrap_or(1),
            cores: small("cores").unwrap_or(0),
            max_silent_seconds: number("max-silent-time").unwrap_or(0),
            keep_failed: switch("keep-failed").unwrap_or(false),
            fallback: switch("fallback").unwrap_or(false),
            substitute: switch("substitute").unwrap_or(true),
            capabilities: Capabilities {
                systems,
                features: set("system-features"),
                machines: Machine::parse_all(text("builders"), text("system"), read),
            },
        })
    }
}

/// Runs `nix` with a subcommand; returns what it printed, or what it complained about.
fn show(config: &StoreConfig, subcommand: &[&str]) -> Result<Vec<u8>, String> {
    let search_path = config.environment.get("PATH").cloned().unwrap_or_default();
    let nix = find_program("nix", &search_path).ok_or("`nix` was not found on PATH")?;
    #[expect(clippy::disallowed_methods, reason = "this module starts Nix")]
    let output = Command::new(nix)
        .args(subcommand)
        .args(["--json", "--extra-experimental-features", "nix-command"])
        .env_clear()
        .envs(&config.environment)
        .envs(&config.user_environment)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = crate::strip_ansi(&String::from_utf8_lossy(&output.stderr));
    Err(said.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_nix_prints() {
        let json = br#"{
            "max-jobs": {"value": 0, "defaultValue": 1},
            "cores": {"value": 3},
            "max-silent-time": {"value": 60},
            "fallback": {"value": true},
            "substitute": {"value": false},
            "builders": {"value": "@/etc/nix/machines"},
            "system": {"value": "x86_64-linux"},
            "extra-platforms": {"value": ["i686-linux"]},
            "system-features": {"value": ["kvm"]}
        }"#;
        let mut read = |file: &str| Some(format!("ssh://{file} aarch64-linux - 5"));
        let settings = BuildSettings::parse(json, &mut read).unwrap();
        assert_eq!((settings.max_jobs, settings.cores, settings.max_silent_seconds), (0, 3, 60));
        assert!(settings.fallback && !settings.substitute && !settings.keep_failed);
        let capabilities = &settings.capabilities;
        let words = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(words(&capabilities.systems), "i686-linux x86_64-linux");
        assert_eq!(words(&capabilities.features), "kvm");
        assert_eq!(capabilities.remote_jobs(), 5);

        assert_eq!(BuildSettings::parse(b"error", &mut read), None);
        let defaults = BuildSettings::parse(b"{}", &mut |_| None).unwrap();
        assert_eq!((defaults.max_jobs, defaults.cores, defaults.substitute), (1, 0, true));
    }
}
