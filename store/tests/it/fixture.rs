//! A store of its own for each test, and derivations in it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::time::{Duration, Instant};

use levain_store::{
    BuildEvent, CommitView, Confinement, Connection, DerivationPath, EvalError, EvalRequest,
    NixProgram, ProcessLimits, ShownCommit, Store, StoreConfig,
};
use tempfile::TempDir;

/// A store in a temporary directory, with the Nix of this machine.
#[must_use]
pub(crate) struct Fixture {
    pub(crate) dir: TempDir,
    pub(crate) store: Store,
    pub(crate) nix: NixProgram,
    pub(crate) variables: BTreeMap<&'static str, OsString>,
}

/// The settings of every test.
const SETTINGS: &str = "experimental-features = nix-command flakes
substituters =
sandbox = false
build-users-group =
";

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(|_| Vec::new())
    }

    /// Returns a fixture with some variables changed; they may depend on its directory.
    pub(crate) fn with(changes: impl FnOnce(&Path) -> Vec<(&'static str, OsString)>) -> Self {
        let dir = tempfile::Builder::new().prefix("levain-store-").tempdir().unwrap();
        for name in ["conf", "home", "cache"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("conf/nix.conf"), SETTINGS).unwrap();
        let mut variables = variables(dir.path());
        variables.extend(changes(dir.path()));
        let lookup = |name: &str| variables.get(name).cloned();
        let store = Store::new(StoreConfig::from_lookup(lookup).unwrap());
        let nix = NixProgram::find(lookup).unwrap();
        Self { dir, store, nix, variables }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn connect(&self) -> Connection {
        self.store.connect().unwrap()
    }

    /// Returns a request for `expression` without confinement.
    pub(crate) fn request(&self, expression: impl Into<String>) -> EvalRequest {
        EvalRequest {
            expression: expression.into(),
            store: self.store.config().clone(),
            read_only: false,
            allow_import_from_derivation: false,
            max_call_depth: None,
            repository: None,
            confinement: Confinement::None,
            cache_dir: self.path("cache"),
            settings_dir: self.path("settings-of-evaluations"),
            limits: ProcessLimits::default(),
        }
    }

    /// Returns what a confined evaluation sees of a repository.
    pub(crate) fn shown(&self, location: &Path, revision: &str) -> Arc<CommitView> {
        let reference = "refs/heads/main";
        let commit = ShownCommit { location, reference, revision, shallow: false, links: &[] };
        let limit = Duration::from_secs(60);
        Arc::new(self.nix.show_commit(&commit, self.store.config(), limit).unwrap())
    }

    /// Evaluates `expression` to a text.
    pub(crate) fn eval_text(&self, expression: impl Into<String>) -> Result<String, EvalError> {
        let json = self.nix.eval(&self.request(expression))?;
        Ok(serde_json::from_slice(&json).unwrap())
    }

    /// Makes derivations whose builder is a shell; `definitions` is the inside of a `let`, in which
    /// `sh NAME SCRIPT` is such a derivation, and `names` says which are wanted.
    pub(crate) fn derivations(&self, definitions: &str, names: &[&str]) -> Vec<DerivationPath> {
        let paths = names.iter().map(|name| format!("{name}.drvPath ")).collect::<String>();
        let expression = format!(
            "let sh = name: script: derivation ({{ inherit name; system = \"x86_64-linux\"; builder = \"/bin/sh\"; }} // (if builtins.isAttrs script then script else {{ args = [ \"-c\" script ]; }})); {definitions} in [ {paths}]"
        );
        let json = self.nix.eval(&self.request(expression)).unwrap();
        let paths: Vec<String> = serde_json::from_slice(&json).unwrap();
        paths.iter().map(|path| self.store.dir().parse_derivation(path).unwrap()).collect()
    }

    /// Makes one derivation from a script.
    pub(crate) fn derivation(&self, name: &str, script: &str) -> DerivationPath {
        let definition = format!("d = sh \"{name}\" ''{script}'';");
        self.derivations(&definition, &["d"]).remove(0)
    }

    /// Starts a program in the environment of the store.
    pub(crate) fn program(&self, program: &str, arguments: &[&str]) -> Output {
        #[expect(clippy::disallowed_methods, reason = "tests compare with Nix's own programs")]
        let mut command = std::process::Command::new(program);
        let output = command
            .args(arguments)
            .env_clear()
            .envs(&self.variables)
            .current_dir(self.dir.path())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {stderr}");
        output
    }

    /// Makes a git repository with one file, and returns its commit.
    pub(crate) fn repository(&self, name: &str, file: &str, content: &str) -> (PathBuf, String) {
        let dir = self.path(name);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join(file), content).unwrap();
        let at = dir.to_str().unwrap();
        self.program("git", &["init", "-q", at]);
        self.program("git", &["-C", at, "add", "."]);
        self.program("git", &["-C", at, "commit", "-q", "-m", "x"]);
        let commit = self.program("git", &["-C", at, "rev-parse", "HEAD"]).stdout;
        (dir, String::from_utf8(commit).unwrap().trim().to_owned())
    }
}

fn variables(dir: &Path) -> BTreeMap<&'static str, OsString> {
    let below = |name: &str| dir.join(name).into_os_string();
    BTreeMap::from([
        ("NIX_STORE_DIR", below("store")),
        ("NIX_STATE_DIR", below("var")),
        ("NIX_LOG_DIR", below("log")),
        ("NIX_CONF_DIR", below("conf")),
        ("HOME", below("home")),
        ("PATH", std::env::var_os("PATH").unwrap_or_default()),
        ("GIT_AUTHOR_NAME", "a".into()),
        ("GIT_AUTHOR_EMAIL", "a@example.org".into()),
        ("GIT_COMMITTER_NAME", "a".into()),
        ("GIT_COMMITTER_EMAIL", "a@example.org".into()),
    ])
}

/// Returns the lines that the builder of `derivation` wrote.
pub(crate) fn lines(events: &[BuildEvent], derivation: &DerivationPath) -> Vec<String> {
    let line = |event: &BuildEvent| match event {
        BuildEvent::Line { derivation: of, line } if of == derivation => Some(line.clone()),
        BuildEvent::Line { .. }
        | BuildEvent::Started { .. }
        | BuildEvent::Phase { .. }
        | BuildEvent::Stopped { .. }
        | BuildEvent::Message { .. } => None,
    };
    events.iter().filter_map(line).collect()
}

/// Waits until `condition` holds. The bound is only for a test that fails.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        std::thread::yield_now();
    }
}

/// Returns whether any process on this machine has `word` on its command line.
pub(crate) fn process_with(word: &str) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    processes.flatten().any(|process| {
        fs::read(process.path().join("cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(word))
    })
}
