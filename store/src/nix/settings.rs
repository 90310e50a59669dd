//! The operator's settings of Nix and git, without what is secret in them.
//!
//! An evaluation must not see the files themselves: `access-tokens`, the way to a `netrc`, and
//! programs to be started may stand in them. What says how to evaluate, build and substitute is copied
//! line by line, in Nix's order, so that Nix itself says what it means. Start at [`Settings::read`].

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::gate::gates;
use crate::config::StoreConfig;

/// The settings of Nix that an evaluation gets. None of them holds a secret, starts a program, or
/// makes an evaluation less pure. `extra-` before a name is allowed, too.
///
/// Without `min-free`: a Nix that collects garbage takes links that it does not see for gone, and
/// would remove the roots of other projects.
const KNOWN: &[&str] = &[
    "allow-dirty",
    "allow-symlinked-store",
    "allowed-impure-host-deps",
    "auto-allocate-uids",
    "auto-optimise-store",
    "build-dir",
    "build-users-group",
    "commit-lockfile-summary",
    "compress-build-log",
    "connect-timeout",
    "cores",
    "download-attempts",
    "download-buffer-size",
    "download-speed",
    "eval-cores",
    "experimental-features",
    "extra-platforms",
    "fallback",
    "filter-syscalls",
    "flake-registry",
    "fsync-metadata",
    "hashed-mirrors",
    "http-connections",
    "http2",
    "id-count",
    "keep-build-log",
    "keep-derivations",
    "keep-env-derivations",
    "keep-failed",
    "keep-outputs",
    "lazy-trees",
    "max-build-log-size",
    "max-call-depth",
    "max-jobs",
    "max-silent-time",
    "max-substitution-jobs",
    "narinfo-cache-negative-ttl",
    "narinfo-cache-positive-ttl",
    "preallocate-contents",
    "require-sigs",
    "sandbox",
    "sandbox-build-dir",
    "sandbox-dev-shm-size",
    "sandbox-fallback",
    "sandbox-paths",
    "ssl-cert-file",
    "stalled-download-timeout",
    "start-id",
    "store",
    "substitute",
    "substituters",
    "sync-before-registering",
    "system",
    "system-features",
    "tarball-ttl",
    "timeout",
    "trust-tarballs-from-git-forges",
    "trusted-public-keys",
    "trusted-substituters",
    "use-cgroups",
    "use-registries",
    "use-sqlite-wal",
    "use-xdg-base-directories",
    "warn-large-path-threshold",
    // Older names of some of them.
    "build-cores",
    "build-fallback",
    "build-max-jobs",
    "build-max-silent-time",
    "build-sandbox-paths",
    "build-timeout",
    "build-use-sandbox",
    "build-use-substitutes",
    "binary-caches",
    "binary-cache-public-keys",
    "trusted-binary-caches",
];

/// The sections of git's settings that an evaluation gets: which repositories may be read.
const SECTIONS: &[&str] = &["safe", "protocol"];

const BEHIND_A_PROXY: &str =
    "substitute = true\ntarball-ttl = 3600\ndownload-attempts = 5\nconnect-timeout = 15\n";

/// The directory of programs beside the settings.
const PROGRAMS: &str = "bin";

/// How deep settings may include others.
const MAX_INCLUDES: u32 = 16;

/// The settings that an evaluation gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// For `nix.conf`.
    pub(crate) nix: String,
    /// For the system's configuration of git.
    pub(crate) git: String,
    /// Programs that come before all others, by name.
    pub(crate) programs: Vec<(&'static str, String)>,
}

impl Settings {
    /// Reads what Nix and git would read as this user.
    pub(crate) fn read(store: &StoreConfig) -> Self {
        let mut nix = String::new();
        for file in nix_files(store) {
            add(&mut nix, &read(&file), &file, 0);
        }
        if let Some(text) = store.environment.get("NIX_CONFIG") {
            add(&mut nix, &text.to_string_lossy(), Path::new("/"), 0);
        }
        let git = git_sections(&read(Path::new("/etc/gitconfig")));
        Self { nix, git, programs: gates(store) }
    }

    /// Puts Nix's defaults in front, for where there is only a loopback interface: without an address
    /// on another one Nix does not substitute or try again, unless it is told to.
    #[must_use]
    pub(crate) fn behind_a_proxy(mut self) -> Self {
        self.nix.insert_str(0, BEHIND_A_PROXY);
        self
    }

    /// Returns those of the same defaults that the operator's settings do not change.
    pub(crate) fn missing_behind_a_proxy(&self) -> String {
        let name = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
        let lines = BEHIND_A_PROXY.lines();
        let missing = lines.filter(|line| !self.nix.lines().any(|own| name(own) == name(line)));
        missing.map(|line| format!("{line}\n")).collect()
    }

    /// Returns the settings that change what a program of the language means.
    pub(crate) fn of_the_language(&self) -> String {
        let lines = self.nix.lines().filter(|line| {
            let name = line.split(' ').next().unwrap_or_default();
            ["experimental-features", "extra-experimental-features"].contains(&name)
        });
        lines.collect::<Vec<_>>().join(", ")
    }

    /// Writes the settings below `dir` and returns the directory, which has the settings' hash as its
    /// name: equal settings share it.
    pub(crate) fn write(&self, dir: &Path) -> io::Result<PathBuf> {
        let hash = Sha256::new().chain_update(&self.nix).chain_update([0]).chain_update(&self.git);
        let hash = self.programs.iter().fold(hash, |hash, (name, text)| {
            hash.chain_update([0]).chain_update(name).chain_update([0]).chain_update(text)
        });
        let name = data_encoding::HEXLOWER.encode(&hash.finalize()[..16]);
        let place = dir.join(name);
        if place.join("nix.conf").exists() {
            return Ok(place);
        }
        fs::create_dir_all(dir)?;
        let made = tempfile::Builder::new().prefix(".new-").tempdir_in(dir)?;
        let programs = made.path().join(PROGRAMS);
        fs::create_dir(&programs)?;
        for (name, text) in &self.programs {
            let program = programs.join(name);
            fs::write(&program, text)?;
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        }
        fs::write(made.path().join("gitconfig"), &self.git)?;
        fs::write(made.path().join("nix.conf"), &self.nix)?;
        match fs::rename(made.path(), &place) {
            // Somebody else has just written the same.
            Err(_) if place.join("nix.conf").exists() => Ok(place),
            moved => moved.map(|()| place),
        }
    }
}

/// Returns a `PATH` on which the programs of the settings at `place` come first.
pub(crate) fn path_with_programs(place: &Path, store: &StoreConfig) -> OsString {
    let mut path = place.join(PROGRAMS).into_os_string();
    if let Some(others) = store.environment.get("PATH") {
        path.push(":");
        path.push(others);
    }
    path
}

/// Returns the files that Nix reads its settings from, in its order: the later ones win.
fn nix_files(store: &StoreConfig) -> Vec<PathBuf> {
    let variable = |name: &str| {
        let found = store.environment.get(name).or_else(|| store.user_environment.get(name));
        found.filter(|value| !value.is_empty())
    };
    let system = variable("NIX_CONF_DIR").map_or_else(|| PathBuf::from("/etc/nix"), PathBuf::from);
    let mut files = vec![system.join("nix.conf")];
    let mut of_the_user: Vec<PathBuf> = match variable("NIX_USER_CONF_FILES") {
        Some(list) => std::env::split_paths(list).collect(),
        None => {
            let home = variable("HOME").map(|home| Path::new(home).join(".config"));
            let own = variable("XDG_CONFIG_HOME").map(PathBuf::from).or(home);
            let all =
                variable("XDG_CONFIG_DIRS").cloned().unwrap_or_else(|| OsString::from("/etc/xdg"));
            let dirs = own.into_iter().chain(std::env::split_paths(&all));
            dirs.map(|dir| dir.join("nix/nix.conf")).collect()
        }
    };
    of_the_user.reverse();
    files.append(&mut of_the_user);
    files
}

/// Returns the text of a file; nothing for one that is not there or not ours to read.
fn read(file: &Path) -> String {
    match fs::read(file) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(%error, file = %file.display(), "cannot read settings");
            }
            String::new()
        }
    }
}

/// Adds the lines of `text` that set something known, and those of what it includes.
fn add(kept: &mut String, text: &str, file: &Path, depth: u32) {
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["include" | "!include", included] if depth < MAX_INCLUDES => {
                let included = file.parent().unwrap_or(file).join(included);
                add(kept, &read(&included), &included, depth + 1);
            }
            [name, "=", values @ ..] if is_known(name) => {
                kept.push_str(name);
                kept.push_str(" =");
                for value in values.iter().filter(|value| !has_password(value)) {
                    kept.push(' ');
                    kept.push_str(value);
                }
                kept.push('\n');
            }
            _ => {}
        }
    }
}

fn is_known(name: &str) -> bool {
    KNOWN.contains(&name.strip_prefix("extra-").unwrap_or(name)) || KNOWN.contains(&name)
}

/// Returns whether a value is a URL with a user before its host.
fn has_password(value: &str) -> bool {
    value.split_once("://").is_some_and(|(_, rest)| {
        rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
    })
}

/// Returns the sections of a configuration of git that an evaluation gets.
fn git_sections(text: &str) -> String {
    let mut kept = String::new();
    let mut known = false;
    for line in text.lines() {
        if let Some(header) = line.trim_start().strip_prefix('[') {
            let name = header.split([' ', '\t', ']', '"', '.']).next().unwrap_or_default();
            known = SECTIONS.iter().any(|section| name.eq_ignore_ascii_case(section));
        }
        if known {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str) -> String {
        let mut kept = String::new();
        add(&mut kept, text, Path::new("/nowhere/nix.conf"), 0);
        kept
    }

    #[test]
    fn secrets_and_programs_are_left_out() {
        let text = "# a comment\nexperimental-features = nix-command flakes # more\naccess-tokens = github.com=TOKEN\nextra-access-tokens = a=TOKEN\nnetrc-file = /secret/netrc\nsecret-key-files = /k\npost-build-hook = /bin/x\nplugin-files = /p\nallow-unsafe-native-code-during-evaluation = true\nunknown = TOKEN\nsubstituters = https://cache.nixos.org https://user:TOKEN@cache.example/x s3://bucket\nextra-experimental-features = pipe-operators\nextra-platforms = i686-linux\nmax-jobs=3\nbuilders = ssh://user@host\n";
        assert_eq!(
            kept(text),
            "experimental-features = nix-command flakes\nsubstituters = https://cache.nixos.org s3://bucket\nextra-experimental-features = pipe-operators\nextra-platforms = i686-linux\n"
        );
    }

    #[test]
    fn files_are_read_in_the_order_of_nix() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = dir.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, text).unwrap();
        };
        write("etc/nix.conf", "cores = 1\n!include more.conf\ninclude loop.conf\n");
        write("etc/more.conf", "cores = 2\naccess-tokens = x=TOKEN\n");
        write("etc/loop.conf", "include loop.conf\n");
        write("home/.config/nix/nix.conf", "cores = 4\n");
        write("xdg/nix/nix.conf", "cores = 3\n");
        let at = |name: &str| dir.path().join(name).into_os_string();
        let read = |variables: &[(&str, OsString)]| {
            let lookup = |name: &str| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
            };
            Settings::read(&StoreConfig::from_lookup(lookup).unwrap()).nix
        };
        let system = ("NIX_CONF_DIR", at("etc"));
        let (home, dirs) = (("HOME", at("home")), ("XDG_CONFIG_DIRS", at("xdg")));
        let config = ("NIX_CONFIG", OsString::from("cores = 5\nnetrc-file = /x"));
        assert_eq!(
            read(&[system.clone(), home.clone(), dirs.clone(), config]),
            "cores = 1\ncores = 2\ncores = 3\ncores = 4\ncores = 5\n"
        );
        let mut list = at("xdg/nix/nix.conf");
        list.push(":");
        list.push(at("none"));
        let files = ("NIX_USER_CONF_FILES", list);
        assert_eq!(read(&[system, home, dirs, files]), "cores = 1\ncores = 2\ncores = 3\n");
    }

    #[test]
    fn of_the_configuration_of_git_only_what_may_be_read_is_kept() {
        let text = "[user]\n\tname = x\n[safe]\n\tdirectory = *\n[http]\n\textraHeader = TOKEN\n[credential \"x\"]\n\thelper = TOKEN\n[Protocol \"file\"]\n\tallow = always\n[url \"https://TOKEN@h\"]\n\tinsteadOf = x\n[include]\n\tpath = x\n";
        assert_eq!(
            git_sections(text),
            "[safe]\n\tdirectory = *\n[Protocol \"file\"]\n\tallow = always\n"
        );
    }

    #[test]
    fn equal_settings_share_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { nix: "a\n".into(), git: "b\n".into(), ..Settings::default() };
        let place = settings.write(dir.path()).unwrap();
        assert_eq!(settings.write(dir.path()).unwrap(), place);
        assert_eq!(fs::read_to_string(place.join("nix.conf")).unwrap(), "a\n");
        assert_eq!(fs::read_to_string(place.join("gitconfig")).unwrap(), "b\n");
        let other = Settings { nix: "ab\n".into(), ..Settings::default() };
        assert_ne!(other.write(dir.path()).unwrap(), place);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
