//! The toolchains: how each writes a project as files, and how it builds them.
//!
//! A program prints one line per module, with its value and its interface's, and one line about its
//! flags, its compiler and its dependency.

pub(crate) mod c;
pub(crate) mod cargo;
pub(crate) mod dune;
pub(crate) mod ghc;
pub(crate) mod go;
pub(crate) mod tsc;

use std::path::PathBuf;

use crate::project::{Project, Tree};

/// A toolchain.
pub(crate) struct Toolchain {
    /// Its name in tables.
    pub(crate) name: &'static str,
    /// How many steps are taken when nobody asks for more.
    pub(crate) short: usize,
    /// The programs that must be installed; the first is the compiler.
    pub(crate) programs: &'static [&'static str],
    /// What `levain.lib.incremental` is told, as Nix.
    pub(crate) settings: &'static str,
    /// The end of the derivation's script, which writes `$out/printed` and more.
    pub(crate) build: &'static str,
    /// Writes `src` and `dependency`.
    pub(crate) write: fn(&Project, &mut Tree),
    /// Returns a script that calls the compiler, for toolchains other than 0.
    pub(crate) wrapper: fn(&str, u64) -> String,
    /// Returns the line about flags, compiler and dependency.
    pub(crate) printed: fn(&Project) -> String,
}

impl Toolchain {
    /// Returns the first program that is not there.
    pub(crate) fn missing(&self) -> Option<&'static str> {
        self.programs.iter().copied().find(|program| find(program).is_none())
    }

    /// Returns the compiler's path.
    pub(crate) fn compiler(&self) -> String {
        find(self.programs[0]).unwrap().to_str().unwrap().to_owned()
    }

    /// Writes out the paths of programs that a script names as `@NAME@`.
    pub(crate) fn with_programs(&self, script: &str) -> String {
        self.programs.iter().fold(script.to_owned(), |script, program| {
            let path = find(program).unwrap();
            script.replace(&format!("@{program}@"), path.to_str().unwrap())
        })
    }
}

/// Finds a program: as a variable `LEVAIN_TEST_NAME` says, beside this cargo, or on the PATH.
fn find(program: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(format!("LEVAIN_TEST_{}", program.to_uppercase())) {
        return Some(path.into());
    }
    let beside = PathBuf::from(env!("CARGO")).with_file_name(program);
    let path = std::env::var_os("PATH")?;
    let on_path = std::env::split_paths(&path).map(|directory| directory.join(program));
    // Of Rust's programs, those on the PATH may want a home to choose a version.
    let beside = Some(beside).filter(|_| program == "rustc" || program == "cargo");
    beside.into_iter().chain(on_path).find(|path| path.is_file())
}

/// Returns the line of a program that has all four settings.
fn settings_line(project: &Project) -> String {
    let Project { flag, recipe, toolchain, dependency, .. } = project;
    format!("settings {flag} {recipe} {toolchain} {dependency}")
}
