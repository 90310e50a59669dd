//! Confining an evaluation: which files of the host it can see.
//!
//! Pure evaluation still reads any file of the host whose hash is known, and any local git
//! repository, and it may send requests to any host. So it gets a mount namespace in which there is
//! nothing to read but Nix itself, the store, and what the caller names, and a network namespace of
//! its own: see [`super::network`].

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use super::entry;
use super::network::AllowedHost;
use super::repository::CommitView;
use crate::config::{Remote, StoreConfig, find_program, is_root};

/// How an evaluation is kept from the files of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confinement {
    /// In namespaces that `bwrap` makes.
    Bubblewrap {
        /// The program.
        program: PathBuf,
        /// What it may reach.
        network: Network,
    },
    /// Not at all: it can read and reach what we can.
    None,
}

/// What a confined evaluation may reach besides the store's daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// Nothing.
    None,
    /// Public hosts over HTTP, through a proxy without credentials in this process.
    Proxy {
        /// An executable whose `main` calls [`super::enter_evaluation`]: usually our own.
        executable: PathBuf,
        /// Hosts that it may reach although their addresses are not public.
        allowed: Vec<AllowedHost>,
    },
}

/// The parts of `/etc` that Nix, git and the C library read: names and certificates. Not all of it: as
/// root that would show the host's passwords and keys.
const ETC: &[&str] = &[
    "alternatives",
    "ca-certificates",
    "group",
    "host.conf",
    "hosts",
    "ld.so.cache",
    "localtime",
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

/// What root's Nix needs to keep a store by itself: to give files to users, and to be one of them.
const CAPABILITIES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
];

/// The home directory inside, empty at first, and in memory like all of `/tmp`.
pub(super) const HOME: &str = "/tmp/levain-home";

/// What an evaluation may see and write.
pub(super) struct View<'a> {
    pub(super) store: &'a StoreConfig,
    /// The program that is started.
    pub(super) program: &'a Path,
    /// Nix's cache of what it fetched.
    pub(super) cache_dir: &'a Path,
    /// The directory with its settings.
    pub(super) settings: &'a Path,
    /// What it may read besides.
    pub(super) visible: Option<&'a Path>,
    /// The repository that it may read.
    pub(super) repository: Option<&'a CommitView>,
    /// Where it starts.
    pub(super) directory: &'a Path,
    /// How many bytes of memory it may have.
    pub(super) memory: Option<u64>,
}

/// What fetching inputs may write.
pub(super) struct FetchView<'a> {
    pub(super) store: &'a StoreConfig,
    /// Nix's cache of what it fetched with credentials.
    pub(super) cache_dir: &'a Path,
    /// A directory in it that is in memory inside.
    pub(super) temporary: &'a Path,
    /// Whether it has the network of this machine instead of a proxy.
    pub(super) direct: bool,
    /// How many bytes of memory it may have.
    pub(super) memory: Option<u64>,
}

impl Confinement {
    /// Finds `bwrap` on the `PATH` that `lookup` gives. It is not tried. There is no network inside.
    pub fn detect(lookup: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let program = find_program("bwrap", &lookup("PATH")?)?;
        Some(Self::Bubblewrap { program, network: Network::None })
    }

    /// Returns this confinement with another network; where there is none, nothing can be given.
    #[must_use]
    pub fn with_network(self, network: Network) -> Self {
        match self {
            Self::Bubblewrap { program, network: _ } => Self::Bubblewrap { program, network },
            Self::None => Self::None,
        }
    }

    /// Returns what the evaluation may reach, if there is a proxy for it.
    pub fn proxied(&self) -> Option<&[AllowedHost]> {
        match self {
            Self::Bubblewrap { network: Network::Proxy { allowed, .. }, .. } => Some(allowed),
            Self::Bubblewrap { network: Network::None, .. } | Self::None => None,
        }
    }

    /// Returns the program and arguments that go before those of the confined program.
    pub(super) fn prefix(&self, view: &View<'_>) -> Vec<OsString> {
        match self {
            Self::None => Vec::new(),
            Self::Bubblewrap { program, network } => {
                let executable = match network {
                    Network::None => None,
                    Network::Proxy { executable, .. } => Some(executable.as_path()),
                };
                let mut words = bubblewrap(program, executable, view);
                words.extend(
                    executable.into_iter().flat_map(|file| entry::words(file, view.memory)),
                );
                words
            }
        }
    }

    /// Returns what goes before the arguments of a program that fetches inputs: it reads what the
    /// operator can read, since it has the operator's credentials, but evaluates nothing of a project.
    pub(super) fn prefix_of_fetch(&self, view: &FetchView<'_>) -> Vec<OsString> {
        let Self::Bubblewrap { program, network } = self else { return Vec::new() };
        let mut command = Mounts(vec![program.into()]);
        command.words(&["--unshare-pid", "--die-with-parent"]);
        command.words(&["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"]);
        let mut mounts = mounts_of_store(view.store);
        mounts.push(Mount::writable(view.cache_dir.to_owned()));
        command.mount(mounts);
        command.0.extend(["--tmpfs".into(), view.temporary.into(), "--chdir".into(), "/".into()]);
        match network {
            Network::Proxy { executable, .. } if !view.direct => {
                command.words(&["--unshare-net", "--"]);
                command.0.extend(entry::words(executable, view.memory));
            }
            Network::Proxy { .. } | Network::None => command.words(&["--"]),
        }
        command.0
    }
}

fn bubblewrap(program: &Path, executable: Option<&Path>, view: &View<'_>) -> Vec<OsString> {
    let mut command = Mounts(vec![program.into()]);
    // Root needs no user namespace, and in one without other users Nix could not give the store to
    // its build users. It is `--unshare-all` but for that.
    let kinds: &[&str] = if is_root() {
        &[
            "--unshare-ipc",
            "--unshare-pid",
            "--unshare-net",
            "--unshare-uts",
            "--unshare-cgroup-try",
        ]
    } else {
        &["--unshare-all"]
    };
    command.words(kinds);
    if is_root() {
        // Not those to mount, to make devices, or to open files that are not shown.
        command.words(&["--cap-drop", "ALL"]);
        for capability in CAPABILITIES {
            command.words(&["--cap-add", capability]);
        }
    }
    // No session of its own beside that of `alone`, whose process group ends at once.
    command.words(&["--die-with-parent"]);
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
    // All of them over the empty `/tmp`.
    let mut mounts = mounts_of_programs(executable, view);
    let named = |name: &str| view.store.environment.get(name).map(PathBuf::from);
    for name in ["NIX_SSL_CERT_FILE", "SSL_CERT_FILE", "NIX_DATA_DIR"] {
        mounts.extend(named(name).map(Mount::read_only));
    }
    mounts.extend(view.visible.map(|path| Mount::read_only(path.to_owned())));
    mounts.extend(mounts_of_store(view.store));
    mounts.push(Mount::writable(view.cache_dir.to_owned()));
    mounts.push(Mount::read_only(view.settings.to_owned()));
    if let Some(repository) = view.repository {
        let more = mounts_of_repository(&repository.git_dir(), repository.location(), &mounts);
        mounts.extend(more);
        mounts.extend(repository.links().iter().cloned().map(Mount::read_only));
    }
    command.three("--ro-bind", view.settings.join("gitconfig"), "/etc/gitconfig");
    command.mount(mounts);
    command.0.extend(["--chdir".into(), view.directory.into(), "--".into()]);
    command.0
}

/// What Nix writes to when it keeps a store.
fn mounts_of_store(store: &StoreConfig) -> Vec<Mount> {
    let mut paths = vec![store.real_dir.clone(), store.state_dir.clone()];
    // Builds that the evaluation imports have logs: below the state's parent unless said otherwise.
    let logs = store.state_dir.parent().map(|parent| parent.join("log/nix"));
    let named = store.environment.get("NIX_LOG_DIR").map(PathBuf::from);
    paths.extend(named.or(logs));
    if let Remote::Socket(socket) = store.resolve_remote() {
        paths.push(socket);
    }
    paths.into_iter().map(Mount::writable).collect()
}

/// Makes Nix and git visible where they are found, if that is not in a directory of the system (a
/// profile below the user's home, say), and the store from which they come.
fn mounts_of_programs(executable: Option<&Path>, view: &View<'_>) -> Vec<Mount> {
    let mut mounts = Vec::new();
    let nix_store = Path::new("/nix/store");
    let git = view.store.environment.get("PATH").and_then(|path| find_program("git", path));
    for program in [Some(view.program), git.as_deref(), executable].into_iter().flatten() {
        let real = fs::canonicalize(program).unwrap_or_else(|_| program.to_owned());
        for file in [program, &real] {
            if file.starts_with(nix_store) {
                mounts.push(Mount::read_only(nix_store.to_owned()));
            } else if !SYSTEM.iter().any(|dir| file.starts_with(dir)) {
                mounts.push(Mount::read_only(file.to_owned()));
            }
        }
    }
    mounts
}

/// Puts a git directory into an empty work tree at `location`: Nix takes every repository with one for
/// a local one that is not bare.
///
/// The work tree has to be hidden only where something else shows it.
fn mounts_of_repository(git_dir: &Path, location: &Path, others: &[Mount]) -> Vec<Mount> {
    let shown = SYSTEM.iter().map(Path::new).chain(others.iter().map(|mount| &*mount.target));
    let is_shown = shown.into_iter().any(|dir| location != dir && location.starts_with(dir));
    let hidden =
        is_shown.then(|| Mount { kind: Kind::Empty, ..Mount::read_only(location.to_owned()) });
    let git_dir =
        Mount { source: git_dir.to_owned(), target: location.join(".git"), kind: Kind::ReadOnly };
    hidden.into_iter().chain([git_dir]).collect()
}

/// Something that is made visible.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    source: PathBuf,
    target: PathBuf,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    ReadOnly,
    Writable,
    /// An empty directory in memory; there is no source.
    Empty,
}

impl Mount {
    fn read_only(path: PathBuf) -> Self {
        Self { source: path.clone(), target: path, kind: Kind::ReadOnly }
    }

    fn writable(path: PathBuf) -> Self {
        Self { kind: Kind::Writable, ..Self::read_only(path) }
    }
}

/// A command line that grows.
struct Mounts(Vec<OsString>);

impl Mounts {
    fn words(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(OsString::from));
    }

    /// Makes directories and files visible. Later mounts lie over earlier ones, so from the widest to
    /// the narrowest.
    fn mount(&mut self, mut mounts: Vec<Mount>) {
        mounts.sort_by_key(|mount| mount.target.components().count());
        for Mount { source, target, kind } in mounts {
            match kind {
                Kind::ReadOnly => self.three("--ro-bind-try", source, target),
                Kind::Writable => self.three("--bind-try", source, target),
                Kind::Empty => self.0.extend(["--tmpfs".into(), target.into()]),
            }
        }
    }

    fn three(&mut self, flag: &str, source: impl AsRef<OsStr>, target: impl AsRef<OsStr>) {
        self.0.extend([flag.into(), source.as_ref().to_owned(), target.as_ref().to_owned()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_work_tree_is_hidden_where_something_else_shows_it() {
        let others = [Mount::writable("/home/op/.cache/x".into())];
        let kinds = |location: &str| {
            let mounts = mounts_of_repository(Path::new("/tmp/git"), Path::new(location), &others);
            let [.., last] = mounts.as_slice() else { panic!("{mounts:?}") };
            assert_eq!(last.target, Path::new(location).join(".git"));
            mounts.iter().map(|mount| mount.kind).collect::<Vec<_>>()
        };
        assert_eq!(kinds("/srv/x.git"), [Kind::ReadOnly]);
        // A home that is a repository has the cache in it, which must stay.
        assert_eq!(kinds("/home/op"), [Kind::ReadOnly]);
        assert_eq!(kinds("/"), [Kind::ReadOnly]);
        assert_eq!(kinds("/usr/src/x"), [Kind::Empty, Kind::ReadOnly]);
        assert_eq!(kinds("/home/op/.cache/x/mirror"), [Kind::Empty, Kind::ReadOnly]);
    }

    #[test]
    fn the_narrowest_mount_lies_on_top() {
        let mut command = Mounts(Vec::new());
        let git = Mount { target: "/a/b/.git".into(), ..Mount::read_only("/g".into()) };
        let hidden = Mount { kind: Kind::Empty, ..Mount::read_only("/a/b".into()) };
        command.mount(vec![git, hidden, Mount::writable("/a".into())]);
        let words: Vec<_> = command.0.iter().map(|word| word.to_str().unwrap()).collect();
        let expected = "--bind-try /a /a --tmpfs /a/b --ro-bind-try /g /a/b/.git";
        assert_eq!(words.join(" "), expected);
    }
}
