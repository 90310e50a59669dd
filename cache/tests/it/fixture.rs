//! A build directory at a fixed path, sources as Nix leaves them, and the program.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use filetime::FileTime;
use levain_cache::gone::Gone;
use levain_cache::{BuildOutput, ExtraRule, OwnPathRule, PlaceRule, RestoreRequest};

/// A source: what Nix keeps of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// A file.
    File(String),
    /// A file that may be executed.
    Program(String),
    /// A symbolic link.
    Link(String),
}

/// The sources of a commit.
pub(crate) type Tree = BTreeMap<String, Node>;

/// Makes a tree of files.
pub(crate) fn tree(files: &[(&str, &str)]) -> Tree {
    let file = |(path, text): &(&str, &str)| (path.to_string(), Node::File(text.to_string()));
    files.iter().map(file).collect()
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Checks that the command succeeded, and that it said so.
    #[track_caller]
    pub(crate) fn has(self, words: &str) -> Said {
        assert_eq!(self.code, 0, "{self:?}");
        assert!(self.out.contains(words), "no `{words}` in {self:?}");
        self
    }

    /// Checks that the command failed, and why.
    #[track_caller]
    pub(crate) fn fails(self, words: &str) -> Said {
        assert_eq!(self.code, 1, "{self:?}");
        assert!(self.err.contains(words), "no `{words}` in {self:?}");
        self
    }
}

/// One job's builds, one after the other.
#[derive(Debug)]
pub(crate) struct Builds {
    directory: tempfile::TempDir,
}

impl Builds {
    pub(crate) fn new() -> Builds {
        let builds = Builds { directory: tempfile::tempdir().unwrap() };
        fs::create_dir_all(builds.top()).unwrap();
        builds
    }

    /// Where the test may put what it likes.
    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().canonicalize().unwrap()
    }

    /// Nix's build directory.
    pub(crate) fn top(&self) -> PathBuf {
        self.root().join("build")
    }

    /// The sources' directory, where the tool works too.
    pub(crate) fn tree(&self) -> PathBuf {
        self.top().join("tree")
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.tree().join(path)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.root().join("store")
    }

    /// A cache output of that number, in the store.
    pub(crate) fn cache(&self, number: u32) -> PathBuf {
        let hash = format!("{number}").repeat(32);
        self.store().join(format!("{}-cache", &hash[..32]))
    }

    /// Starts a build: an empty directory, then the sources, with Nix's time.
    pub(crate) fn unpack(&self, sources: &Tree) {
        if self.top().exists() {
            open_directories(&self.top());
            fs::remove_dir_all(self.top()).unwrap();
        }
        fs::create_dir_all(self.tree()).unwrap();
        for (path, node) in sources {
            let place = self.at(path);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            match node {
                Node::File(text) => fs::write(&place, text).unwrap(),
                Node::Program(text) => {
                    fs::write(&place, text).unwrap();
                    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
                }
                Node::Link(target) => symlink(target, &place).unwrap(),
            }
        }
        set_all(&self.tree(), 1);
    }

    /// Calls the program in the sources' directory.
    pub(crate) fn call(&self, words: &[&str]) -> Said {
        self.call_with(words, &[])
    }

    /// Calls the program with more variables.
    pub(crate) fn call_with(&self, words: &[&str], variables: &[(&str, &Path)]) -> Said {
        #[expect(clippy::disallowed_methods, reason = "the program itself is tested")]
        let output = Command::new(env!("CARGO_BIN_EXE_levain-cache"))
            .args(words)
            .current_dir(self.tree())
            .env_clear()
            .env("NIX_BUILD_TOP", self.top())
            .env("NIX_STORE", self.store())
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        Said {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Restores the set `s` from the cache of that number.
    pub(crate) fn restore(&self, number: u32, options: &[&str]) -> Said {
        let from = self.cache(number).display().to_string();
        self.call(&[&["restore", "s", "--from", &from], options].concat())
    }

    /// What restoring the set `s` from the first cache is asked for, to try it without a process.
    pub(crate) fn request(&self) -> RestoreRequest {
        RestoreRequest {
            set: "s".parse().unwrap(),
            from: Some(self.cache(1)),
            source: self.tree(),
            into: self.tree(),
            state: self.root().join("state"),
            beside: None,
            store: self.store(),
            outputs: vec![BuildOutput {
                name: "out".into(),
                path: self.store().join(format!("{}-app", "b".repeat(32))),
            }],
            own_paths: OwnPathRule::Rewrite,
            key: None,
            place: PlaceRule::Same,
            definitions: Vec::new(),
            hiding: Vec::new(),
            gone: Gone::Keep,
            gone_match: Vec::new(),
            exclude: Vec::new(),
            budget: 1 << 20,
            extra: ExtraRule::Keep,
            outside_links: Vec::new(),
        }
    }

    /// Starts a build without a cache.
    pub(crate) fn restore_nothing(&self) {
        self.call(&["restore", "s"]).has("not restored s: no cache was given; clean build");
    }

    /// Persists to the cache of that number.
    pub(crate) fn persist(&self, number: u32, options: &[&str]) -> Said {
        let to = self.cache(number).display().to_string();
        self.call(&[&["persist", "s", "--to", &to], options].concat())
    }

    /// Writes outputs as a tool would have done that long ago, in seconds.
    pub(crate) fn outputs(&self, files: &[(&str, &str)], ago: i64) {
        for (path, text) in files {
            let place = self.at(path);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(&place, text).unwrap();
            set_time(&place, now() - ago);
        }
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap()
    }

    /// The time of something, in nanoseconds.
    pub(crate) fn time(&self, path: &str) -> i128 {
        time(&self.at(path))
    }

    /// Runs a shell command in the tree, which must succeed.
    pub(crate) fn shell(&self, script: &str) -> String {
        #[expect(clippy::disallowed_methods, reason = "the tools are the test's own")]
        let output =
            Command::new("/bin/sh").args(["-c", script]).current_dir(self.tree()).output().unwrap();
        assert!(output.status.success(), "{script}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Lets directories be emptied that a build has closed.
fn open_directories(place: &Path) {
    fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
    for entry in fs::read_dir(place).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            open_directories(&entry.path());
        }
    }
}

pub(crate) fn time(place: &Path) -> i128 {
    let metadata = place.symlink_metadata().unwrap();
    i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec())
}

/// The clock, in seconds.
pub(crate) fn now() -> i64 {
    FileTime::now().unix_seconds()
}

pub(crate) fn set_time(place: &Path, seconds: i64) {
    let time = FileTime::from_unix_time(seconds, 0);
    filetime::set_symlink_file_times(place, time, time).unwrap();
}

/// Sets the time of everything in a directory, and of the directory.
pub(crate) fn set_all(place: &Path, seconds: i64) {
    if place.symlink_metadata().unwrap().is_dir() {
        for entry in fs::read_dir(place).unwrap() {
            set_all(&entry.unwrap().path(), seconds);
        }
    }
    set_time(place, seconds);
}

/// Everything in a directory: path, mode, time, and content or target.
pub(crate) type Snapshot = BTreeMap<String, (u32, i128, Vec<u8>)>;

pub(crate) fn snapshot(place: &Path) -> Snapshot {
    let mut all = BTreeMap::new();
    collect(place, "", &mut all);
    all
}

fn collect(place: &Path, prefix: &str, all: &mut Snapshot) {
    for entry in fs::read_dir(place).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let metadata = entry.metadata().unwrap();
        let content = if metadata.is_symlink() {
            fs::read_link(entry.path()).unwrap().into_os_string().into_encoded_bytes()
        } else if metadata.is_file() {
            fs::read(entry.path()).unwrap()
        } else {
            Vec::new()
        };
        all.insert(path.clone(), (metadata.mode(), time(&entry.path()), content));
        if metadata.is_dir() {
            collect(&entry.path(), &format!("{path}/"), all);
        }
    }
}
