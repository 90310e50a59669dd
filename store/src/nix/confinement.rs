//! Confining an evaluation: which files of the host it can see.
//!
//! Pure evaluation still reads any file of the host whose hash is known, and any local git
//! repository. So it gets a mount namespace in which there is nothing to read but Nix itself, the
//! store, and what the caller names.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::{Remote, StoreConfig, find_program};

/// How an evaluation is kept from the files of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confinement {
    /// In namespaces that `bwrap` makes.
    Bubblewrap {
        /// The program.
        program: PathBuf,
    },
    /// Not at all: it can read what we can.
    None,
}

/// The parts of `/etc` that Nix, git and the C library read: names, certificates, Nix's own
/// settings. Not all of it: as root that would show the host's passwords and keys.
const ETC: &[&str] = &[
    "alternatives",
    "ca-certificates",
    "gitconfig",
    "group",
    "host.conf",
    "hosts",
    "ld.so.cache",
    "localtime",
    "nix",
    "nsswitch.conf",
    "passwd",
    "pki",
    "protocols",
    "resolv.conf",
    "services",
    "ssl/cert.pem",
    "ssl/certs",
    "ssl/openssl.cnf",
    "static",
];

/// Directories of programs and libraries; on many systems some are symlinks into `/usr`.
const SYSTEM: &[&str] =
    &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/run/current-system"];

/// The home directory inside, empty at first, and in memory like all of `/tmp`.
pub(super) const HOME: &str = "/tmp/levain-home";

/// What an evaluation may see and write.
pub(super) struct View<'a> {
    pub(super) store: &'a StoreConfig,
    /// The program that is started.
    pub(super) program: &'a Path,
    /// Nix's cache of what it fetched.
    pub(super) cache_dir: &'a Path,
    /// What it may read besides.
    pub(super) visible: &'a [PathBuf],
}

impl Confinement {
    /// Finds `bwrap` on the `PATH` that `lookup` gives. It is not tried.
    pub fn detect(lookup: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let program = find_program("bwrap", &lookup("PATH")?)?;
        Some(Self::Bubblewrap { program })
    }

    /// Returns the program and arguments that go before those of the confined program.
    pub(super) fn prefix(&self, view: &View<'_>) -> Vec<OsString> {
        match self {
            Self::None => Vec::new(),
            Self::Bubblewrap { program } => bubblewrap(program, view),
        }
    }
}

fn bubblewrap(program: &Path, view: &View<'_>) -> Vec<OsString> {
    let mut command = Mounts(vec![program.into()]);
    // Root needs no user namespace, and in one without other users Nix could not give the store to
    // its build users. It is `--unshare-all` but for that.
    let kinds: &[&str] = if is_root() {
        &["--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"]
    } else {
        &["--unshare-all", "--share-net"]
    };
    command.words(kinds);
    command.words(&["--die-with-parent", "--new-session"]);
    command.words(&["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--dir", HOME]);
    command.words(&["--dir", "/var/tmp"]);
    for dir in SYSTEM.iter().map(Path::new) {
        match fs::read_link(dir) {
            Ok(target) => command.three("--symlink", target, dir),
            Err(_) => command.three("--ro-bind-try", dir, dir),
        }
    }
    for name in ETC {
        let file = Path::new("/etc").join(name);
        command.three("--ro-bind-try", &file, &file);
    }
    // Later mounts lie over earlier ones, so from the widest to the narrowest, and all of them over
    // the empty `/tmp`.
    let mut mounts: Vec<(PathBuf, bool)> = Vec::new();
    mounts_of_programs(view, &mut mounts);
    let named = |name: &str| view.store.environment.get(name).map(PathBuf::from);
    for name in ["NIX_CONF_DIR", "NIX_SSL_CERT_FILE", "SSL_CERT_FILE", "NIX_DATA_DIR"] {
        mounts.extend(named(name).map(|path| (path, false)));
    }
    mounts.extend(view.visible.iter().map(|path| (path.clone(), false)));
    mounts.push((view.store.real_dir.clone(), true));
    mounts.push((view.store.state_dir.clone(), true));
    // Builds that the evaluation imports have logs: below the state's parent unless said otherwise.
    let logs = view.store.state_dir.parent().map(|parent| parent.join("log/nix"));
    mounts.extend(named("NIX_LOG_DIR").or(logs).map(|path| (path, true)));
    if let Remote::Socket(socket) = view.store.resolve_remote() {
        mounts.push((socket, true));
    }
    mounts.push((view.cache_dir.to_owned(), true));
    mounts.sort_by_key(|(path, _)| path.components().count());
    for (path, writable) in mounts {
        command.three(if writable { "--bind-try" } else { "--ro-bind-try" }, &path, &path);
    }
    command.words(&["--chdir", "/", "--"]);
    command.0
}

/// Makes Nix and git visible where they are found, if that is not in a directory of the system (a
/// profile below the user's home, say), and the store from which they come.
fn mounts_of_programs(view: &View<'_>, mounts: &mut Vec<(PathBuf, bool)>) {
    let nix_store = Path::new("/nix/store");
    let git = view.store.environment.get("PATH").and_then(|path| find_program("git", path));
    for program in [Some(view.program), git.as_deref()].into_iter().flatten() {
        let real = fs::canonicalize(program).unwrap_or_else(|_| program.to_owned());
        for file in [program, &real] {
            if file.starts_with(nix_store) {
                mounts.push((nix_store.to_owned(), false));
            } else if !SYSTEM.iter().any(|dir| file.starts_with(dir)) {
                mounts.push((file.to_owned(), false));
            }
        }
    }
}

/// Returns whether we are root. Asked of `/proc`, since the system call needs `unsafe`.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|data| data.uid() == 0)
}

/// A command line that grows.
struct Mounts(Vec<OsString>);

impl Mounts {
    fn words(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(OsString::from));
    }

    fn three(&mut self, flag: &str, source: impl AsRef<OsStr>, target: impl AsRef<OsStr>) {
        self.0.extend([flag.into(), source.as_ref().to_owned(), target.as_ref().to_owned()]);
    }
}
