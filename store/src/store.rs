//! A store on this machine, seen from outside: its files, without asking Nix.
//!
//! Questions that need Nix go through a [`Connection`](crate::Connection).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::aterm::AtermError;
use crate::config::StoreConfig;
use crate::derivation::Derivation;
use crate::protocol::{ConnectError, Connection};
use crate::store_path::{DerivationPath, StoreDir, StorePath};

/// A store on this machine.
#[derive(Debug, Clone)]
pub struct Store {
    config: StoreConfig,
}

/// A file of the store that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The derivation's file is missing or cannot be read.
    #[error("cannot read the derivation `{}`", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The derivation's file is not a derivation.
    #[error("cannot read the derivation `{path}`")]
    Derivation {
        /// The derivation.
        path: DerivationPath,
        /// Where and why.
        source: AtermError,
    },
}

impl Store {
    /// Returns the store described by `config`.
    pub const fn new(config: StoreConfig) -> Self {
        Self { config }
    }

    /// Returns the configuration.
    pub const fn config(&self) -> &StoreConfig {
        &self.config
    }

    /// Returns the directory as it is written in store paths.
    pub const fn dir(&self) -> &StoreDir {
        &self.config.dir
    }

    /// Returns where GC roots are kept.
    pub fn gc_roots_dir(&self) -> PathBuf {
        self.config.state_dir.join("gcroots")
    }

    /// Returns where the files of `path` are.
    pub fn real_path(&self, path: &StorePath) -> PathBuf {
        self.config.real_dir.join(path.to_string())
    }

    /// Returns whether there are files at `path`. A half-written object has some too: only
    /// [`Connection::is_valid`] knows.
    pub fn exists_on_disk(&self, path: &StorePath) -> bool {
        fs::symlink_metadata(self.real_path(path)).is_ok()
    }

    /// Reads a derivation from its file.
    pub fn read_derivation(&self, path: &DerivationPath) -> Result<Derivation, StoreError> {
        let file = self.real_path(path.as_ref());
        let text = read(&file)?;
        Derivation::parse_aterm(self.dir(), &text)
            .map_err(|source| StoreError::Derivation { path: path.clone(), source })
    }

    /// Opens a connection to the Nix that keeps the store.
    pub fn connect(&self) -> Result<Connection, ConnectError> {
        Connection::open(&self.config)
    }
}

fn read(file: &Path) -> Result<Vec<u8>, StoreError> {
    fs::read(file).map_err(|source| StoreError::Read { file: file.to_owned(), source })
}
