//! Runs programs with and without the tracer, each in a directory of its own, and says what came of it.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a run came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Came {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Names, kinds and modes of files, with their contents.
    pub(crate) tree: BTreeMap<String, (u32, String)>,
}

/// How a program is run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Under {
    Nothing,
    Quiet,
    Tell,
    Detour,
}

impl Under {
    pub(crate) const TRACED: [Self; 3] = [Self::Quiet, Self::Tell, Self::Detour];
}

/// The program of `examples/traced.rs`, which is built with the tests.
pub(crate) fn traced() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().unwrap().parent().unwrap().join("examples/traced")
}

fn tree(below: &Path, at: &Path, found: &mut BTreeMap<String, (u32, String)>) {
    for entry in std::fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        let meta = path.symlink_metadata().unwrap();
        let contents = if meta.is_symlink() {
            std::fs::read_link(&path).unwrap().display().to_string()
        } else if meta.is_file() {
            String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned()
        } else {
            String::new()
        };
        let name = path.strip_prefix(below).unwrap().display().to_string();
        found.insert(name, (meta.permissions().mode(), contents));
        if meta.is_dir() {
            tree(below, &path, found);
        }
    }
}

/// Runs a program in an empty directory.
pub(crate) fn run(under: Under, program: &str, arguments: &[&str]) -> Came {
    let directory = tempfile::tempdir().unwrap();
    let mut command = match under {
        Under::Nothing => Command::new(program),
        Under::Quiet | Under::Tell | Under::Detour => {
            let mut command = Command::new(traced());
            command.arg(format!("{under:?}").to_lowercase()).arg(program);
            command
        }
    };
    let output = command
        .args(arguments)
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .output()
        .unwrap();
    let mut found = BTreeMap::new();
    tree(directory.path(), directory.path(), &mut found);
    let text = |bytes: Vec<u8>| {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.replace(&directory.path().display().to_string(), "HERE")
    };
    Came {
        code: output.status.code(),
        signal: output.status.signal(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
        tree: found,
    }
}

/// A program in C, compiled.
pub(crate) struct Compiled {
    directory: tempfile::TempDir,
}

impl Compiled {
    pub(crate) fn new(source: &str, options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("program.c");
        std::fs::write(&file, source).unwrap();
        let output = Command::new("gcc")
            .args(["-D_GNU_SOURCE", "-O1", "-pthread", "-o"])
            .arg(directory.path().join("program"))
            .arg(&file)
            .args(options)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { directory }
    }

    pub(crate) fn path(&self) -> String {
        self.directory.path().join("program").display().to_string()
    }
}
