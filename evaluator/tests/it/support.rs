//! A world for one test: a store, repositories, and an evaluator.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use levain_evaluator::evaluate::{Resources, WithoutSandbox};
use levain_evaluator::{AttrPath, Evaluation, Limits, LockedFlakeRef, NixEvaluator, Request};
use levain_store::{Confinement, NixProgram, StoreConfig};

pub(crate) const SYSTEM: &str = "x86_64-linux";

/// Everything that one test has; gone when it ends.
pub(crate) struct World {
    pub(crate) evaluator: NixEvaluator,
    dir: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_programs(None)
    }

    /// Makes a world in which programs are first looked for in `programs`.
    pub(crate) fn with_programs(programs: Option<&Path>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("conf")).unwrap();
        fs::create_dir(path("home")).unwrap();
        fs::write(
            path("conf/nix.conf"),
            "experimental-features = nix-command flakes\nsubstituters =\nsandbox = false\nbuild-users-group =\n",
        )
        .unwrap();
        let lookup = |name: &str| match name {
            "NIX_STORE_DIR" => Some(path("store").into()),
            "NIX_STATE_DIR" => Some(path("var").into()),
            "NIX_LOG_DIR" => Some(path("log").into()),
            "NIX_CONF_DIR" => Some(path("conf").into()),
            "HOME" => Some(path("home").into()),
            "PATH" => {
                let mut search = OsString::new();
                if let Some(programs) = programs {
                    search.push(programs);
                    search.push(":");
                }
                search.push(std::env::var_os("PATH").unwrap());
                Some(search)
            }
            _ => None,
        };
        let evaluator = NixEvaluator {
            without_sandbox: WithoutSandbox::Anyone,
            nix: NixProgram::find(lookup).unwrap(),
            store: StoreConfig::from_lookup(lookup).unwrap(),
            cache_dir: path("cache"),
            confinement: Confinement::None,
            allowed_paths: Vec::new(),
            ceilings: Resources::default(),
        };
        Self { evaluator, dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes a repository of a test flake, under a name.
    pub(crate) fn commit_as(&self, flake: &str, name: &str) -> LockedFlakeRef {
        let repository = self.path(name);
        fs::create_dir_all(&repository).unwrap();
        for entry in fs::read_dir(flake_dir(flake)).unwrap() {
            let file = entry.unwrap().path();
            let file_name = file.file_name().unwrap();
            if !file_name.to_string_lossy().contains(".exp.") {
                fs::copy(&file, repository.join(file_name)).unwrap();
            }
        }
        self.commit_tree(&repository)
    }

    pub(crate) fn commit(&self, flake: &str) -> LockedFlakeRef {
        self.commit_as(flake, flake)
    }

    /// Makes a repository of files given by name and text.
    pub(crate) fn commit_files(&self, name: &str, files: &[(&str, &str)]) -> LockedFlakeRef {
        let repository = self.path(name);
        for (file, text) in files {
            let file = repository.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        self.commit_tree(&repository)
    }

    /// Commits everything in a directory, as a repository that is made if there is none.
    pub(crate) fn commit_tree(&self, repository: &Path) -> LockedFlakeRef {
        if !repository.join(".git").exists() {
            self.git(repository, &["init", "-q", "-b", "main"]);
        }
        self.git(repository, &["add", "-A"]);
        self.git(repository, &["commit", "-q", "--allow-empty", "-m", "test"]);
        let revision = self.git(repository, &["rev-parse", "HEAD"]).trim().to_owned();
        LockedFlakeRef {
            location: repository.to_owned(),
            reference: "refs/heads/main".to_owned(),
            revision,
            nar_hash: None,
            shallow: false,
        }
    }

    pub(crate) fn git(&self, repository: &Path, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command.arg("-C").arg(repository).args(arguments);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "test");
            command.env(format!("GIT_{role}_EMAIL"), "test@example.org");
            command.env(format!("GIT_{role}_DATE"), "1700000000 +0000");
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Starts a program of Nix in this world's store.
    pub(crate) fn nix(&self, name: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(name);
        command.args(arguments).env_clear().envs(&self.evaluator.store.environment);
        command.env("HOME", self.path("home")).env("XDG_CACHE_HOME", self.path("cache"));
        command.output().unwrap()
    }

    pub(crate) fn request(&self, flake: &LockedFlakeRef) -> Request {
        Request {
            flake: flake.clone(),
            system: SYSTEM.to_owned(),
            only: None,
            outputs: None,
            limits: Limits::default(),
        }
    }

    /// Returns a text in which this world's directories and hashes do not show.
    pub(crate) fn normalise(&self, text: &str) -> String {
        let text = text.replace(self.evaluator.store.dir.as_str(), "/nix/store");
        let text = text.replace(&self.dir.path().display().to_string(), "/WORLD");
        let mut normal = String::new();
        for word in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
            match word.strip_suffix('-') {
                Some(hash) if hash.len() == 32 => normal.push_str("HASH-"),
                Some(_) | None => normal.push_str(word),
            }
        }
        normal
    }
}

pub(crate) fn flake_dir(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flakes").join(name)
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns an error with all its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

pub(crate) fn attr_path(text: &str) -> AttrPath {
    text.parse().unwrap()
}

/// Returns the attribute paths of the jobs that have a derivation, and of those that have none.
pub(crate) fn outcomes(evaluation: &Evaluation) -> (Vec<String>, Vec<String>) {
    let (good, bad): (Vec<_>, Vec<_>) = evaluation.jobs.iter().partition(|job| job.outcome.is_ok());
    let names = |jobs: Vec<&levain_evaluator::EvaluatedJob>| {
        jobs.iter().map(|job| job.attr_path.to_string()).collect()
    };
    (names(good), names(bad))
}
