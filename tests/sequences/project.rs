//! A project of no particular language: what the toolchains write as files, and edits change.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

/// What a commit holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Project {
    /// By name, as in `m03`; those below `lib` belong to a library.
    pub(crate) modules: BTreeMap<String, Module>,
    /// Values that modules take from headers or their like. The second one also takes what the two
    /// links lead to.
    pub(crate) interfaces: [u64; 2],
    /// Which of two targets a link to a file and a link to a directory lead to.
    pub(crate) links: [usize; 2],
    /// Given to the compiler by a file of the sources.
    pub(crate) flag: u64,
    /// Given to the compiler by the derivation.
    pub(crate) recipe: u64,
    /// The compiler: 0 is this machine's, others are programs of the project that call it.
    pub(crate) toolchain: u64,
    /// The version of something that is used and not part of the program.
    pub(crate) dependency: u64,
    /// An interface that is not there, so that the build must fail.
    pub(crate) missing: Option<usize>,
    /// In the derivation, but with no influence: makes a build of the same sources another one.
    pub(crate) nonce: u64,
}

/// One file of code.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Module {
    /// What it prints.
    pub(crate) value: u64,
    /// How many lines of comment it has.
    pub(crate) lines: u64,
    /// Which interface it prints, too.
    pub(crate) interface: usize,
}

impl Project {
    /// Returns the first commit.
    pub(crate) fn new() -> Self {
        let module = |number: u64| {
            let place = if number.is_multiple_of(3) { "lib/" } else { "" };
            let value = 1000 + number;
            let module = Module { value, lines: number % 4, interface: (number % 2) as usize };
            (format!("{place}m{number:02}"), module)
        };
        Self {
            modules: (1..=8).map(module).collect(),
            interfaces: [1000, 2000],
            links: [0, 0],
            flag: 1,
            recipe: 1,
            toolchain: 0,
            dependency: 1,
            missing: None,
            nonce: 0,
        }
    }

    /// Returns what a module prints of an interface.
    fn interface(&self, index: usize) -> u64 {
        let linked = LINKED_FILE * (1 + self.links[0] as u64)
            + LINKED_DIRECTORY * (1 + self.links[1] as u64);
        self.interfaces[index] + if index == 1 { linked } else { 0 }
    }

    /// Returns the lines that the program must print about its modules, in any order.
    pub(crate) fn printed(&self) -> Vec<String> {
        let line = |(name, module): (&String, &Module)| {
            let name = name.rsplit('/').next().unwrap_or(name);
            format!("{name} {} {}", module.value, self.interface(module.interface))
        };
        self.modules.iter().map(line).collect()
    }
}

/// What the targets of the link to a file hold: this times 1 or 2.
pub(crate) const LINKED_FILE: u64 = 10_000;

/// The same for the link to a directory.
pub(crate) const LINKED_DIRECTORY: u64 = 1_000_000;

/// The names of the targets of links.
pub(crate) const TARGETS: [&str; 2] = ["a", "b"];

/// Files by their paths.
#[derive(Default)]
pub(crate) struct Tree(BTreeMap<String, Node>);

enum Node {
    File(String),
    Program(String),
    Link(String),
}

impl Tree {
    /// Adds a file.
    pub(crate) fn file(&mut self, path: impl Into<String>, text: impl Into<String>) {
        self.0.insert(path.into(), Node::File(text.into()));
    }

    /// Adds a script.
    pub(crate) fn program(&mut self, path: impl Into<String>, text: impl Into<String>) {
        self.0.insert(path.into(), Node::Program(text.into()));
    }

    /// Adds a symbolic link.
    pub(crate) fn link(&mut self, path: impl Into<String>, target: impl Into<String>) {
        self.0.insert(path.into(), Node::Link(target.into()));
    }

    /// Writes everything below a directory that is empty.
    pub(crate) fn write(&self, directory: &Path) {
        for (path, node) in &self.0 {
            let path = directory.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match node {
                Node::File(text) => fs::write(&path, text).unwrap(),
                Node::Program(text) => {
                    fs::write(&path, text).unwrap();
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
                }
                Node::Link(target) => symlink(target, &path).unwrap(),
            }
        }
    }
}
