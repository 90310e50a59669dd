//! The `nix` program: where it is and which version it has.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Stop;
use super::settings::Settings;
use crate::config::{StoreConfig, find_program};

/// The `nix` program of this machine.
#[derive(Debug, Clone)]
pub struct NixProgram {
    program: PathBuf,
    identity: String,
    pub(super) stop: Stop,
}

/// A version of Nix; only the first two numbers matter to levain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NixVersion {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

/// The oldest version that levain works with.
const MINIMUM: NixVersion = NixVersion { major: 2, minor: 8 };

/// A `nix` that is missing or cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NixProgramError {
    /// There is no `nix` on the search path.
    #[error("`nix` was not found on PATH\nhint: {hint}")]
    NotFound {
        /// What to do.
        hint: &'static str,
    },
    /// The program cannot be started or looked at.
    #[error("cannot start `{}`", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The program does not say its version in the way that Nix does.
    #[error("`{} --version` says `{said}`, which is no version of Nix", program.display())]
    NoVersion {
        /// The program.
        program: PathBuf,
        /// What it printed.
        said: String,
    },
    /// The program is too old.
    #[error("nix {found} is too old\nhint: install Nix {minimum} or newer")]
    TooOld {
        /// The version that was found.
        found: NixVersion,
        /// The oldest version that works.
        minimum: NixVersion,
    },
}

impl NixProgram {
    /// Finds `nix` on the `PATH` that `lookup` gives. Does not start it: see [`Self::version`].
    pub fn find(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, NixProgramError> {
        let hint = "install Nix 2.8 or newer, or add it to PATH";
        let search_path = lookup("PATH").unwrap_or_default();
        let program =
            find_program("nix", &search_path).ok_or(NixProgramError::NotFound { hint })?;
        let identity = identify(&program)
            .map_err(|source| NixProgramError::Start { program: program.clone(), source })?;
        Ok(Self { program, identity, stop: Stop::default() })
    }

    /// Returns what ends the evaluations of this program and its clones.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Returns the program.
    pub fn path(&self) -> &Path {
        &self.program
    }

    /// Returns a text that changes whenever the program does: its real path, size and time.
    ///
    /// Nothing is started for it, so it may serve as part of a key for stored results.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Returns the settings of this machine that change what is evaluated, as a text that serves as
    /// part of a key.
    pub fn language(&self, store: &StoreConfig) -> String {
        Settings::read(store).of_the_language()
    }

    /// Asks the program for its version; one older than 2.8 is an error.
    pub fn version(&self) -> Result<NixVersion, NixProgramError> {
        #[expect(clippy::disallowed_methods, reason = "this module starts Nix")]
        let output =
            Command::new(&self.program).arg("--version").stdin(Stdio::null()).output().map_err(
                |source| NixProgramError::Start { program: self.program.clone(), source },
            )?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let found = NixVersion::parse(&said)
            .ok_or_else(|| NixProgramError::NoVersion { program: self.program.clone(), said })?;
        if found < MINIMUM {
            return Err(NixProgramError::TooOld { found, minimum: MINIMUM });
        }
        Ok(found)
    }
}

fn identify(program: &Path) -> io::Result<String> {
    let real = fs::canonicalize(program)?;
    let data = fs::metadata(&real)?;
    let (seconds, nanoseconds) = (data.mtime(), data.mtime_nsec());
    Ok(format!("{} {} {seconds}.{nanoseconds:09}", real.display(), data.size()))
}

impl NixVersion {
    /// Reads the last word of `nix (Nix) 2.26.3`; what follows the second number may be anything.
    pub fn parse(said: &str) -> Option<Self> {
        let mut numbers = said.split_whitespace().next_back()?.split('.');
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next()?;
        let digits = minor.find(|c: char| !c.is_ascii_digit()).unwrap_or(minor.len());
        Some(Self { major, minor: minor[..digits].parse().ok()? })
    }
}

impl fmt::Display for NixVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions() {
        let version = |major, minor| Some(NixVersion { major, minor });
        assert_eq!(NixVersion::parse("nix (Nix) 2.8.0"), version(2, 8));
        assert_eq!(NixVersion::parse("nix (Nix) 2.34pre20260801_abcdef"), version(2, 34));
        assert_eq!(NixVersion::parse("nix (Determinate Nix 3.1.0) 2.26.3"), version(2, 26));
        assert_eq!(NixVersion::parse("nix"), None);
        assert_eq!(NixVersion::parse(""), None);
    }

    #[test]
    fn a_missing_program_is_said_with_a_hint() {
        let error = NixProgram::find(|_| Some("/nowhere".into())).unwrap_err();
        expect_test::expect![[r#"
            `nix` was not found on PATH
            hint: install Nix 2.8 or newer, or add it to PATH"#]]
        .assert_eq(&error.to_string());
    }
}
