//! A store on this machine, seen from outside: its files, without asking Nix.
//!
//! Questions that need Nix go through a [`Connection`](crate::Connection).

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::aterm::AtermError;
use crate::config::StoreConfig;
use crate::derivation::Derivation;
use crate::protocol::{ConnectError, Connection, ProtocolError};
use crate::store_path::{DerivationPath, StoreDir, StorePath};

/// Bytes of the largest derivation that is read. The largest of nixpkgs have a few hundred thousand.
const MAX_DERIVATION: u64 = 64 << 20;

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
    /// Where the derivation's file should be is something else.
    #[error("cannot read the derivation `{path}`: {what}")]
    NotAFile {
        /// The derivation.
        path: DerivationPath,
        /// What there is.
        what: &'static str,
    },
    /// The store does not answer.
    #[error("cannot read a derivation: {0}")]
    Protocol(#[from] ProtocolError),
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

    /// Reads a derivation from its file, if Nix knows it; `None` if it is not in the store.
    ///
    /// Nix computes the output paths of a derivation again before it registers it, but leaves the
    /// file of one that it refuses where it is. So a file alone says nothing; one that is
    /// registered has the output paths that its text gives. Protects it from garbage collection
    /// until the connection ends.
    pub fn registered_derivation(
        &self,
        connection: &mut Connection,
        path: &DerivationPath,
    ) -> Result<Option<Derivation>, StoreError> {
        // First the root, then the question, so that the answer stays true.
        connection.add_temp_root(path.as_store_path())?;
        if !connection.is_valid(path.as_store_path())? {
            return Ok(None);
        }
        self.read_derivation(path).map(Some)
    }

    /// Reads a derivation from its file, whether Nix knows it or not.
    pub fn read_derivation(&self, path: &DerivationPath) -> Result<Derivation, StoreError> {
        let file = self.real_path(path.as_ref());
        let text = match read(&file)? {
            Ok(text) => text,
            Err(what) => return Err(StoreError::NotAFile { path: path.clone(), what }),
        };
        Derivation::parse_aterm(self.dir(), &text)
            .map_err(|source| StoreError::Derivation { path: path.clone(), source })
    }

    /// Opens a connection to the Nix that keeps the store.
    pub fn connect(&self) -> Result<Connection, ConnectError> {
        Connection::open(&self.config)
    }
}

/// Returns the content of a file, or what there is that is no file of a derivation's size.
fn read(file: &Path) -> Result<Result<Vec<u8>, &'static str>, StoreError> {
    let failed = |source| StoreError::Read { file: file.to_owned(), source };
    if !fs::symlink_metadata(file).map_err(failed)?.is_file() {
        return Ok(Err("it is no regular file"));
    }
    let mut text = Vec::new();
    let mut limited = fs::File::open(file).map_err(failed)?.take(MAX_DERIVATION + 1);
    limited.read_to_end(&mut text).map_err(failed)?;
    Ok(if text.len() as u64 > MAX_DERIVATION { Err("it is too large") } else { Ok(text) })
}
