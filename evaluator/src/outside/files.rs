//! The outside world as it is on this machine: real files below allowed roots.
//!
//! Nothing is written: store paths are computed, and what would be copied is only hashed. What an
//! earlier build left in the store can be read, as can what was fetched before.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use levain_store::content_address::{make_fixed_output_path, make_source_path};
use levain_store::digest::{Digest, HashAlgorithm};
use levain_store::{NarHash, StoreDir, StorePath};

use super::access::Access;
use super::tree;
use crate::lang::io::{
    AddError, AddPath, Fetch, FetchValue, Fetched, FileType, Ingestion, Io, IoError, Message,
};
use crate::lang::source::Span;
use crate::lang::value::NixPath;

/// Is told what an evaluation says with `trace` and `warn`.
pub type Listener = Box<dyn Fn(Message, Span)>;

/// A tree by its path, and whether it was hashed as a NAR.
type HashedTree = (Vec<u8>, bool);

/// Real files, and a fixed environment and time.
pub struct Files {
    access: Access,
    store: StoreDir,
    environment: BTreeMap<String, Vec<u8>>,
    time: i64,
    listener: Listener,
    /// Trees that were hashed before; within one evaluation a file does not change.
    hashed: RefCell<BTreeMap<HashedTree, [u8; 32]>>,
    /// Texts that this evaluation has put into the store, had it written any.
    texts: RefCell<BTreeMap<String, Rc<[u8]>>>,
    /// Where trees would be in the store that this evaluation has copied, had it written any.
    copied: RefCell<BTreeSet<String>>,
}

impl Files {
    /// Opens the part of the file system that `access` names; `time` is that of `currentTime`.
    pub fn new(access: Access, store: StoreDir, time: i64) -> io::Result<Self> {
        Ok(Self {
            access: access.resolved()?,
            store,
            environment: BTreeMap::new(),
            time,
            listener: Box::new(|_, _| {}),
            hashed: RefCell::default(),
            texts: RefCell::default(),
            copied: RefCell::default(),
        })
    }

    /// Sets what `getEnv` finds.
    #[must_use]
    pub fn environment(mut self, environment: BTreeMap<String, Vec<u8>>) -> Self {
        self.environment = environment;
        self
    }

    /// Sets who is told of messages; by default nobody.
    #[must_use]
    pub fn listener(mut self, listener: Listener) -> Self {
        self.listener = listener;
        self
    }

    /// Returns the place of a file whose target may be read.
    fn readable(&self, path: &NixPath) -> Result<PathBuf, IoError> {
        let place = tree::host(path);
        let allowed =
            self.access.allows_target(&place).map_err(|error| tree::failed(&place, &error))?;
        if allowed { Ok(place) } else { Err(forbidden(&place)) }
    }

    /// Returns the place of a file that may be looked at, itself if it is a link.
    fn visible(&self, path: &NixPath) -> Result<PathBuf, IoError> {
        let place = tree::host(path);
        let allowed = self.access.allows(&place).map_err(|error| tree::failed(&place, &error))?;
        if allowed { Ok(place) } else { Err(forbidden(&place)) }
    }

    fn text(&self, path: &[u8]) -> Option<Rc<[u8]>> {
        self.texts.borrow().get(std::str::from_utf8(path).ok()?).cloned()
    }

    /// Returns the SHA-256 of what a tree is copied as.
    #[expect(clippy::disallowed_methods, reason = "the one implementation for real files")]
    fn hash(&self, request: &mut AddPath<'_>) -> Result<[u8; 32], AddError> {
        let recursive = request.ingestion == Ingestion::Recursive;
        let key = (request.path.bytes().to_vec(), recursive);
        if request.filter.is_none()
            && let Some(known) = self.hashed.borrow().get(&key)
        {
            return Ok(*known);
        }
        let place = self.visible(request.path)?;
        let filtered = request.filter.is_some();
        let hash = if recursive {
            let hash = match &mut request.filter {
                Some(filter) => tree::hash(request.path, Some(&mut **filter))?,
                None => tree::hash(request.path, None)?,
            };
            *hash.as_bytes()
        } else {
            let place = self.readable(request.path)?;
            let contents = std::fs::read(&place).map_err(|error| tree::failed(&place, &error))?;
            *NarHash::of(&contents).as_bytes()
        };
        drop(place);
        if !filtered {
            self.hashed.borrow_mut().insert(key, hash);
        }
        Ok(hash)
    }

    fn place(
        &self,
        name: &str,
        ingestion: Ingestion,
        hash: [u8; 32],
    ) -> Result<StorePath, IoError> {
        let placed = match ingestion {
            Ingestion::Recursive => {
                make_source_path(&self.store, name, &NarHash::from_bytes(hash), &Default::default())
            }
            Ingestion::Flat => {
                let hex = NarHash::from_bytes(hash).to_base16();
                let digest = Digest::parse(&hex, Some(HashAlgorithm::Sha256)).map_err(|error| {
                    IoError::Failed { path: name.to_owned(), message: error.to_string() }
                })?;
                make_fixed_output_path(&self.store, name, false, &digest)
            }
        };
        placed
            .map_err(|error| IoError::Failed { path: name.to_owned(), message: error.to_string() })
    }

    fn exists(&self, path: &str) -> bool {
        tree::kind(Path::new(path)).is_ok_and(|kind| kind.is_some())
    }
}

impl Io for Files {
    fn file_type(&self, path: &NixPath) -> Result<Option<FileType>, IoError> {
        if self.text(path.bytes()).is_some() {
            return Ok(Some(FileType::Regular));
        }
        let place = match self.visible(path) {
            Ok(place) => place,
            Err(IoError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        tree::kind(&place).map_err(|error| tree::failed(&place, &error))
    }

    #[expect(clippy::disallowed_methods, reason = "the one implementation for real files")]
    fn read_file(&self, path: &NixPath) -> Result<Vec<u8>, IoError> {
        if let Some(text) = self.text(path.bytes()) {
            return Ok(text.to_vec());
        }
        let place = self.readable(path)?;
        std::fs::read(&place).map_err(|error| tree::failed(&place, &error))
    }

    fn read_directory(&self, path: &NixPath) -> Result<Vec<(Vec<u8>, FileType)>, IoError> {
        let place = self.readable(path)?;
        tree::entries(&place).map_err(|error| tree::failed(&place, &error))
    }

    #[expect(clippy::disallowed_methods, reason = "the one implementation for real files")]
    fn read_link(&self, path: &NixPath) -> Result<Vec<u8>, IoError> {
        let place = self.visible(path)?;
        let target = std::fs::read_link(&place).map_err(|error| tree::failed(&place, &error))?;
        Ok(target.as_os_str().as_bytes().to_vec())
    }

    fn add_path(&self, mut request: AddPath<'_>) -> Result<Rc<str>, AddError> {
        let found = self.hash(&mut request)?;
        if request.expected.is_some_and(|expected| expected != found) {
            return Err(AddError::HashMismatch { found });
        }
        let path = self.place(request.name, request.ingestion, found)?;
        let path = self.store.display(&path);
        self.copied.borrow_mut().insert(path.clone());
        Ok(path.into())
    }

    fn add_text(&self, path: &str, content: &[u8], _references: &[Rc<str>]) -> Result<(), IoError> {
        self.texts.borrow_mut().insert(path.to_owned(), content.into());
        Ok(())
    }

    fn is_valid_path(&self, path: &str) -> Result<bool, IoError> {
        let here = self.text(path.as_bytes()).is_some() || self.copied.borrow().contains(path);
        Ok(here || self.exists(path))
    }

    fn read_derivation(&self, path: &str) -> Result<Vec<u8>, IoError> {
        self.read_file(&NixPath::canonical(path.as_bytes()))
    }

    fn realise(&self, derivation: &str, output: &str) -> Result<Rc<str>, IoError> {
        Err(IoError::Unavailable {
            what: format!("build output `{output}` of `{derivation}` during the evaluation"),
            reason: "this evaluation builds nothing".to_owned(),
        })
    }

    fn fetch(&self, request: &Fetch) -> Result<Fetched, IoError> {
        let text = |wanted: &str| {
            request.attributes.iter().find_map(|(name, value)| match value {
                FetchValue::String(text) if name == wanted => Some(text.as_str()),
                FetchValue::String(_) | FetchValue::Int(_) | FetchValue::Bool(_) => None,
            })
        };
        let unavailable = |reason: String| IoError::Unavailable {
            what: match text("url") {
                Some(url) => format!("fetch `{url}` with `{}`", request.builtin),
                None => format!("fetch with `{}`", request.builtin),
            },
            reason,
        };
        let Some(hash) = text("narHash").or_else(|| text("sha256")).filter(|hash| !hash.is_empty())
        else {
            return Err(unavailable("without a hash it cannot be found in the store".to_owned()));
        };
        let flat = request.builtin == "fetchurl";
        let digest = Digest::parse(hash, Some(HashAlgorithm::Sha256))
            .map_err(|error| unavailable(error.to_string()))?;
        let path =
            make_fixed_output_path(&self.store, text("name").unwrap_or("source"), !flat, &digest)
                .map_err(|error| unavailable(error.to_string()))?;
        let path = self.store.display(&path);
        if self.exists(&path) {
            Ok(Fetched { path: path.into(), attributes: Vec::new() })
        } else {
            Err(unavailable(format!("`{path}` is not in the store, and nothing is downloaded")))
        }
    }

    fn variable(&self, name: &str) -> Option<Vec<u8>> {
        self.environment.get(name).cloned()
    }

    fn time(&self) -> i64 {
        self.time
    }

    fn message(&self, message: Message, at: Span) {
        (self.listener)(message, at);
    }
}

fn forbidden(place: &Path) -> IoError {
    IoError::Forbidden {
        path: place.display().to_string(),
        reason: "it is outside of the trees that this evaluation may read".to_owned(),
    }
}
