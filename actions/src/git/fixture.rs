//! Real repositories in temporary directories, for the tests of this crate.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::{CommitId, Repository, RunLock};

/// A temporary directory with repositories in it.
pub(crate) struct Fixture {
    dir: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self { dir: TempDir::new().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    /// Takes the lock that all repositories of the fixture share.
    pub(crate) fn lock(&self) -> RunLock {
        RunLock::acquire(&self.path("state/lock")).unwrap()
    }

    /// Makes an empty clone-like repository on branch `main`.
    pub(crate) fn empty(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        git(&self.path(""), &["-c", "init.defaultBranch=main", "init", "-q", name]);
        path
    }

    /// Makes a repository with one commit that has one file, `a`.
    pub(crate) fn small(&self, name: &str) -> (PathBuf, CommitId) {
        let path = self.empty(name);
        let id = commit(&path, &[("a", "one")], "first");
        (path, id)
    }
}

#[expect(clippy::disallowed_methods, reason = "tests run real programs")]
pub(crate) fn program(name: &str, at: &Path) -> Command {
    let mut command = Command::new(name);
    command
        .current_dir(at)
        .stdin(Stdio::null())
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_NAME", "Ann")
        .env("GIT_AUTHOR_EMAIL", "ann@example.org")
        .env("GIT_AUTHOR_DATE", "1700000000 +0130")
        .env("GIT_COMMITTER_NAME", "Bob")
        .env("GIT_COMMITTER_EMAIL", "bob@example.org")
        .env("LC_ALL", "C");
    if std::env::var_os("GIT_COMMITTER_DATE").is_none() {
        command.env("GIT_COMMITTER_DATE", "1700000100 -0230");
    }
    command
}

/// Runs git and returns what it printed, without the last line end.
pub(crate) fn git(at: &Path, args: &[&str]) -> String {
    let bytes = git_bytes(at, args);
    String::from_utf8(bytes).unwrap().trim_end().to_owned()
}

pub(crate) fn git_bytes(at: &Path, args: &[&str]) -> Vec<u8> {
    let output = program("git", at).args(args).output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Writes files and commits everything.
pub(crate) fn commit(at: &Path, files: &[(&str, &str)], message: &str) -> CommitId {
    for (name, content) in files {
        write(&at.join(name), content);
    }
    git(at, &["add", "-A"]);
    git(at, &["commit", "-q", "--allow-empty", "-m", message]);
    head(at)
}

pub(crate) fn head(at: &Path) -> CommitId {
    git(at, &["rev-parse", "HEAD"]).parse().unwrap()
}

pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

pub(crate) fn executable(path: &Path, content: &str) {
    write(path, content);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

pub(crate) fn open(path: &Path) -> Repository {
    Repository::discover(path).unwrap()
}

/// Fills a work tree with everything that a tree can hold, but for submodules, and commits it.
pub(crate) fn commit_oddities(at: &Path) -> CommitId {
    write(&at.join("plain"), "plain");
    write(&at.join("empty"), "");
    executable(&at.join("bin/run"), "#!/bin/sh\n");
    symlink("../plain", at.join("bin/link")).unwrap();
    symlink("nowhere", at.join("dangling")).unwrap();
    write(&at.join("with blank/and\nnewline"), "1");
    write(&at.join("with blank/\"quoted\"\t*?[x]\\"), "2");
    write(&at.join(OsStr::from_bytes(b"latin\xe9/caf\xe9")), "3");
    write(&at.join("deep/er/and/deeper/still"), "4");
    write(&at.join("caché.nix"), "5");
    commit(at, &[], "oddities")
}

/// Adds a submodule entry to the index and commits it; no such repository is needed for that.
pub(crate) fn commit_submodule(at: &Path, path: &str) -> CommitId {
    let entry = format!("160000,{},{path}", "1".repeat(40));
    git(at, &["update-index", "--add", "--cacheinfo", &entry]);
    git(at, &["commit", "-q", "-m", "submodule"]);
    head(at)
}
