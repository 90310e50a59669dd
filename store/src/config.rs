//! Where the store is, and how to reach the Nix that keeps it.
//!
//! Read once from the variables that Nix itself reads, then passed on as a value. Start at
//! [`StoreConfig::from_lookup`].

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::store_path::{StoreDir, StorePathError};

/// What would end the value of a setting in a store URL.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%').add(b'&').add(b'?').add(b'#').add(b'+').add(b' ');

/// The variables that Nix and the programs which it starts (git, ssh, curl) get from us; nothing else
/// of the environment reaches them.
const PASSED_ON: &[&str] = &[
    "NIX_CONFIG",
    "NIX_CONF_DIR",
    "NIX_DAEMON_SOCKET_PATH",
    "NIX_DATA_DIR",
    "NIX_IGNORE_SYMLINK_STORE",
    "NIX_LOCALSTATE_DIR",
    "NIX_LOG_DIR",
    "NIX_REMOTE",
    "NIX_SSL_CERT_FILE",
    "NIX_STATE_DIR",
    "NIX_STORE_DIR",
    "NIX_USER_CONF_FILES",
    "SSL_CERT_FILE",
    "PATH",
    "TMPDIR",
    "LOCALE_ARCHIVE",
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
];

/// The variables that only the daemon child gets: it may build on other machines as this user.
const OF_THE_USER: &[&str] = &[
    "HOME",
    "USER",
    "LOGNAME",
    SSH_OPTIONS,
    "SSH_AUTH_SOCK",
    "XDG_CONFIG_HOME",
    "XDG_CONFIG_DIRS",
];

/// What Nix tells ssh besides.
const SSH_OPTIONS: &str = "NIX_SSHOPTS";

/// With these, ssh gives up a machine that does not answer, after at most 45 seconds. By itself it would
/// wait for ever for one whose power failed, and a build with it.
const IMPATIENT: &str =
    "-oConnectTimeout=15 -oServerAliveInterval=15 -oServerAliveCountMax=3 -oBatchMode=yes";

/// Where the store is, and how to reach the Nix that keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// The directory as it is written in store paths.
    pub dir: StoreDir,
    /// The directory in which the files are; another one than `dir` for a store below a root.
    pub real_dir: PathBuf,
    /// Nix's state: database, GC roots, the daemon's socket.
    pub state_dir: PathBuf,
    /// How to reach the Nix that keeps the store.
    pub remote: Remote,
    /// The variables for every program of Nix, by name.
    pub environment: BTreeMap<String, OsString>,
    /// The variables for our own daemon child besides those.
    pub user_environment: BTreeMap<String, OsString>,
}

/// How to reach the Nix that keeps a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remote {
    /// The daemon's socket if there is one and the database is not ours to write; otherwise our own
    /// child. What Nix does when `NIX_REMOTE` is unset.
    Auto,
    /// A child of ours, `nix-daemon --stdio`.
    Child,
    /// The socket of a daemon that is already there.
    Socket(PathBuf),
}

/// Variables that do not describe a store that levain can use.
#[derive(Debug, thiserror::Error)]
pub enum StoreConfigError {
    /// The store directory is not usable.
    #[error("`NIX_STORE_DIR` is wrong")]
    Dir(#[from] StorePathError),
    /// A variable is not UTF-8.
    #[error("`{variable}` is not UTF-8: {value:?}")]
    NotUtf8 {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: OsString,
    },
    /// A kind of store whose files are not on this machine, or a setting that levain does not know.
    #[error(
        "`NIX_REMOTE={value}` is not supported\nhint: use `auto`, `daemon`, `unix://SOCKET`, `local` or `local?root=DIR`"
    )]
    Remote {
        /// The value.
        value: String,
    },
    /// A directory that is not absolute.
    #[error("`{}` is not an absolute path\nhint: check `{variable}`", path.display())]
    Relative {
        /// The variable from which it comes.
        variable: &'static str,
        /// The path.
        path: PathBuf,
    },
}

impl StoreConfig {
    /// Reads the configuration from variables; `lookup` is `std::env::var_os` outside tests.
    pub fn from_lookup(
        lookup: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, StoreConfigError> {
        let lookup = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let collect = |names: &[&str]| {
            let known = |name: &&str| Some(((*name).to_owned(), lookup(name)?));
            names.iter().filter_map(known).collect::<BTreeMap<_, _>>()
        };
        let text = |variable: &'static str| match lookup(variable).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(value)) => Err(StoreConfigError::NotUtf8 { variable, value }),
        };
        let dir = match text("NIX_STORE_DIR")? {
            Some(dir) => StoreDir::new(dir)?,
            None => StoreDir::default(),
        };
        let state_dir = match (lookup("NIX_STATE_DIR"), lookup("NIX_LOCALSTATE_DIR")) {
            (Some(state), _) => absolute("NIX_STATE_DIR", state)?,
            (None, Some(local)) => absolute("NIX_LOCALSTATE_DIR", local)?.join("nix"),
            (None, None) => PathBuf::from("/nix/var/nix"),
        };
        let mut config = Self {
            real_dir: PathBuf::from(dir.as_str()),
            dir,
            state_dir,
            remote: Remote::Auto,
            environment: collect(PASSED_ON),
            user_environment: collect(OF_THE_USER),
        };
        config.user_environment.entry(SSH_OPTIONS.to_owned()).or_insert_with(|| IMPATIENT.into());
        let remote = text("NIX_REMOTE")?;
        if let Some(value) = &remote {
            config.read_remote(value)?;
        }
        let is_usual = !["NIX_STORE_DIR", "NIX_STATE_DIR", "NIX_LOCALSTATE_DIR"]
            .iter()
            .any(|name| lookup(name).is_some());
        let is_auto = remote.is_none_or(|value| value == "auto");
        if is_usual && is_auto && !is_root() && !config.state_dir.exists() {
            config.move_home(lookup);
        }
        if let (Remote::Socket(socket), Some(path)) =
            (&mut config.remote, lookup("NIX_DAEMON_SOCKET_PATH"))
        {
            *socket = absolute("NIX_DAEMON_SOCKET_PATH", path)?;
        }
        Ok(config)
    }

    /// Returns where the daemon listens.
    pub fn socket(&self) -> PathBuf {
        match self.environment.get("NIX_DAEMON_SOCKET_PATH") {
            Some(path) => PathBuf::from(path),
            None => self.state_dir.join("daemon-socket/socket"),
        }
    }

    /// Returns how the store is reached, with [`Remote::Auto`] decided as Nix decides it.
    pub fn resolve_remote(&self) -> Remote {
        match &self.remote {
            Remote::Auto if !self.database_is_ours() && self.socket().exists() => {
                Remote::Socket(self.socket())
            }
            Remote::Auto => Remote::Child,
            Remote::Child => Remote::Child,
            Remote::Socket(socket) => Remote::Socket(socket.clone()),
        }
    }

    /// Returns whether we may write the database. Opening it for writing changes nothing, and takes
    /// everything into account that permission bits do not show.
    fn database_is_ours(&self) -> bool {
        match fs::OpenOptions::new().write(true).open(self.state_dir.join("db/db.sqlite")) {
            Ok(_) => true,
            // No database yet: ours if nobody else serves the store.
            Err(error) => error.kind() == io::ErrorKind::NotFound && !self.socket().exists(),
        }
    }

    fn read_remote(&mut self, value: &str) -> Result<(), StoreConfigError> {
        let unknown = || StoreConfigError::Remote { value: value.to_owned() };
        let (kind, query) = value.split_once('?').unwrap_or((value, ""));
        match kind {
            "auto" | "" if query.is_empty() => return Ok(()),
            "daemon" if query.is_empty() => {
                self.remote = Remote::Socket(self.state_dir.join("daemon-socket/socket"));
                return Ok(());
            }
            "local" | "auto" | "" => self.remote = Remote::Child,
            socket if socket.starts_with("unix://") && query.is_empty() => {
                let path = OsString::from(socket.trim_start_matches("unix://"));
                self.remote = Remote::Socket(absolute("NIX_REMOTE", path)?);
                return Ok(());
            }
            root if root.starts_with('/') => {
                self.remote = Remote::Child;
                self.set_root(Path::new(root));
            }
            _ => return Err(unknown()),
        }
        let settings = query.split('&').filter(|setting| !setting.is_empty());
        let settings = settings
            .map(|setting| {
                setting.split_once('=').map(|(key, value)| {
                    (key, percent_decode_str(value).decode_utf8_lossy().into_owned())
                })
            })
            .collect::<Option<Vec<_>>>()
            .ok_or_else(unknown)?;
        // The root first, since the other settings are exceptions from it.
        for (_, root) in settings.iter().filter(|(key, _)| *key == "root") {
            self.set_root(&absolute("NIX_REMOTE", root.into())?);
        }
        for (key, path) in settings {
            match key {
                "root" | "log" => {}
                "state" => self.state_dir = absolute("NIX_REMOTE", path.into())?,
                "real" => self.real_dir = absolute("NIX_REMOTE", path.into())?,
                "store" => self.dir = StoreDir::new(path)?,
                _ => return Err(unknown()),
            }
        }
        Ok(())
    }

    /// Uses the store in the user's home, as Nix from version 2.10 on does by itself where there is none
    /// for the whole machine and only root could make one.
    fn move_home(&mut self, lookup: impl Fn(&str) -> Option<OsString>) {
        let home = || Some(PathBuf::from(lookup("HOME")?).join(".local/share"));
        let data = lookup("XDG_DATA_HOME").map(PathBuf::from).or_else(home);
        let Some(root) = data.filter(|data| data.is_absolute()).map(|data| data.join("nix/root"))
        else {
            return;
        };
        // Nix older than 2.10 has to be told.
        let Some(text) = root.to_str() else { return };
        let url = format!("local?root={}", utf8_percent_encode(text, ESCAPED));
        self.environment.insert("NIX_REMOTE".to_owned(), url.into());
        self.remote = Remote::Child;
        self.set_root(&root);
    }

    fn set_root(&mut self, root: &Path) {
        self.real_dir = root.join("nix/store");
        self.state_dir = root.join("nix/var/nix");
    }
}

fn absolute(variable: &'static str, path: OsString) -> Result<PathBuf, StoreConfigError> {
    let path = PathBuf::from(path);
    if path.is_absolute() { Ok(path) } else { Err(StoreConfigError::Relative { variable, path }) }
}

/// Returns whether we are root. Asked of `/proc`, since the system call needs `unsafe`.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|data| data.uid() == 0)
}

/// Returns the first file named `name` on `search_path` that may be executed.
pub(crate) fn find_program(name: &str, search_path: &OsStr) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    std::env::split_paths(search_path)
        .filter_map(|dir| std::path::absolute(dir.join(name)).ok())
        .find(|file| {
            let executable =
                |data: fs::Metadata| data.is_file() && data.permissions().mode() & 0o111 != 0;
            fs::metadata(file).is_ok_and(executable)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<StoreConfig, StoreConfigError> {
        StoreConfig::from_lookup(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn defaults_are_those_of_nix() {
        let config = read(&[("NIX_REMOTE", "")]).unwrap();
        assert_eq!(config.dir, StoreDir::default());
        assert_eq!(config.real_dir, Path::new("/nix/store"));
        assert_eq!(config.state_dir, Path::new("/nix/var/nix"));
        assert_eq!(config.remote, Remote::Auto);
        assert!(config.environment.is_empty());
    }

    #[test]
    fn a_root_moves_the_files_but_not_the_paths() {
        for remote in ["local?root=/r%41", "/rA", "local?root=/rA&log=/l"] {
            let config = read(&[("NIX_REMOTE", remote), ("HOME", "/h")]).unwrap();
            assert_eq!(config.dir, StoreDir::default());
            assert_eq!(config.real_dir, Path::new("/rA/nix/store"));
            assert_eq!(config.state_dir, Path::new("/rA/nix/var/nix"));
            assert_eq!(config.remote, Remote::Child);
            assert_eq!(config.environment.keys().collect::<Vec<_>>(), ["NIX_REMOTE"]);
            assert_eq!(config.user_environment.keys().collect::<Vec<_>>(), ["HOME", "NIX_SSHOPTS"]);
        }
    }

    #[test]
    fn a_store_in_the_home_is_told_to_nix() {
        let moved = |variables: &[(&str, &str)]| {
            let mut config = read(&[]).unwrap();
            let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
            config.move_home(|name| find(name).map(|(_, value)| OsString::from(value)));
            config
        };
        let config = moved(&[("HOME", "/h ome")]);
        assert_eq!(config.real_dir, Path::new("/h ome/.local/share/nix/root/nix/store"));
        assert_eq!(config.remote, Remote::Child);
        let remote = config.environment["NIX_REMOTE"].clone();
        assert_eq!(remote, "local?root=/h%20ome/.local/share/nix/root");
        // Nix and we read the same in it.
        let again = read(&[("NIX_REMOTE", remote.to_str().unwrap())]).unwrap();
        assert_eq!((again.real_dir, again.state_dir), (config.real_dir, config.state_dir));
        let config = moved(&[("HOME", "/h"), ("XDG_DATA_HOME", "/d")]);
        assert_eq!(config.state_dir, Path::new("/d/nix/root/nix/var/nix"));
        assert_eq!(moved(&[("HOME", "relative")]).remote, Remote::Auto);
        assert_eq!(moved(&[]).real_dir, Path::new("/nix/store"));
    }

    #[test]
    fn sockets_are_named_or_known() {
        let remote = |variables: &[(&str, &str)]| read(variables).unwrap().remote;
        let state = ("NIX_STATE_DIR", "/s");
        let socket = |path: &str| Remote::Socket(PathBuf::from(path));
        assert_eq!(remote(&[("NIX_REMOTE", "daemon"), state]), socket("/s/daemon-socket/socket"));
        assert_eq!(remote(&[("NIX_REMOTE", "unix:///x/y")]), socket("/x/y"));
    }

    #[test]
    fn refuses_what_it_cannot_use() {
        for remote in ["ssh-ng://host", "local?root=/r&odd=1", "unix://relative", "daemon?x=1"] {
            assert!(read(&[("NIX_REMOTE", remote)]).is_err(), "{remote}");
        }
        assert!(read(&[("NIX_STORE_DIR", "/nix/store/")]).is_err());
        assert!(read(&[("NIX_STATE_DIR", "var")]).is_err());
    }
}
