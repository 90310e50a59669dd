//! The outside world as it is on this machine: real files below allowed roots.
//!
//! Nothing is written: store paths are computed, and what would be copied is only hashed; reading
//! below such a path leads to the tree it came from ([`super::mounts`]). What an earlier build left
//! in the store can be read, as can what was fetched before.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use levain_store::content_address::{make_fixed_output_path, make_source_path};
use levain_store::digest::{Digest, HashAlgorithm};
use levain_store::nar::Encoder;
use levain_store::tree::{self, NodeKind, Tree};
use levain_store::{Derivation, NarHash, StoreDir, StorePath};

use super::access::Access;
use super::host::{self, HostTree};
use super::mounts::{Mounts, Part, Place};
use super::source::{Fetcher, Nothing, References};
use crate::lang::io::{
    AddError, AddPath, Fetch, Fetched, FileType, FilterError, Ingestion, Io, IoError, Message,
};
use crate::lang::source::Span;
use crate::lang::value::NixPath;

/// Is told what an evaluation says with `trace` and `warn`.
pub type Listener = Box<dyn Fn(Message, Span)>;

/// A tree by its path, and whether it was hashed as a NAR.
type HashedTree = (Vec<u8>, bool);

/// A text that this evaluation has put into the store, had it written any.
struct Text {
    content: Rc<[u8]>,
    references: Vec<Rc<str>>,
}

/// Real files, and a fixed environment and time.
pub struct Files {
    access: RefCell<Access>,
    pub(super) store: StoreDir,
    environment: BTreeMap<String, Vec<u8>>,
    time: i64,
    listener: Listener,
    pub(super) fetcher: Box<dyn Fetcher>,
    known: Box<dyn References>,
    /// Trees that were hashed before; within one evaluation a file does not change.
    hashed: RefCell<BTreeMap<HashedTree, [u8; 32]>>,
    texts: RefCell<BTreeMap<String, Text>>,
    pub(super) mounts: Mounts,
}

/// The paths that a filter took.
type Taken = BTreeSet<Vec<u8>>;

/// Why a tree was not hashed.
enum WalkError {
    Io(io::Error),
    Filter,
}

impl From<io::Error> for WalkError {
    fn from(error: io::Error) -> Self {
        WalkError::Io(error)
    }
}

impl Files {
    /// Opens the part of the file system that `access` names; `time` is that of `currentTime`.
    pub fn new(access: Access, store: StoreDir, time: i64) -> io::Result<Self> {
        Ok(Self {
            access: RefCell::new(access.resolved()?),
            mounts: Mounts::new(store.clone()),
            store,
            environment: BTreeMap::new(),
            time,
            listener: Box::new(|_, _| {}),
            fetcher: Box::new(Nothing),
            known: Box::new(Nothing),
            hashed: RefCell::default(),
            texts: RefCell::default(),
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

    /// Sets where trees come from that are neither in the store nor a directory.
    #[must_use]
    pub fn fetcher(mut self, fetcher: Box<dyn Fetcher>) -> Self {
        self.fetcher = fetcher;
        self
    }

    /// Sets who knows what the objects of the store refer to.
    #[must_use]
    pub fn references(mut self, known: Box<dyn References>) -> Self {
        self.known = known;
        self
    }

    /// Makes a tree readable at the path that its content has in the store, and returns the path and
    /// the hash.
    pub fn mount(&self, name: &str, tree: Rc<dyn Tree>) -> Result<(Rc<str>, NarHash), IoError> {
        let hash = tree::hash(tree.as_ref(), b"")
            .map_err(|error| host::failed(Path::new(name), &error))?;
        let path = self.place(name, Ingestion::Recursive, *hash.as_bytes())?;
        self.mounts.add(&path.to_string(), tree);
        Ok((self.store.display(&path).into(), hash))
    }

    /// Returns the place of a file whose target may be read.
    fn readable(&self, path: &NixPath) -> Result<PathBuf, IoError> {
        let place = host::place(path);
        let allowed = self.access.borrow().allows_target(&place);
        let allowed = allowed.map_err(|error| host::failed(&place, &error))?;
        if allowed { Ok(place) } else { Err(forbidden(&place)) }
    }

    /// Returns the place of a file that may be looked at, itself if it is a link.
    pub(super) fn visible(&self, path: &NixPath) -> Result<PathBuf, IoError> {
        let place = host::place(path);
        let allowed = self.access.borrow().allows(&place);
        let allowed = allowed.map_err(|error| host::failed(&place, &error))?;
        if allowed { Ok(place) } else { Err(forbidden(&place)) }
    }

    /// Lets a store object be read, and all that it refers to.
    pub(super) fn open(&self, path: &str) -> Result<(), IoError> {
        let mut seen = BTreeSet::from([path.to_owned()]);
        let mut waiting = vec![path.to_owned()];
        while let Some(path) = waiting.pop() {
            // Only an existing place has a real one; what is missing cannot be read anyway.
            let _missing = self.access.borrow_mut().open(Path::new(&path));
            for reference in self.known.references(&path)?.unwrap_or_default() {
                if seen.insert(reference.clone()) {
                    waiting.push(reference);
                }
            }
        }
        Ok(())
    }

    fn text(&self, path: &[u8]) -> Option<Rc<[u8]>> {
        let texts = self.texts.borrow();
        Some(Rc::clone(&texts.get(std::str::from_utf8(path).ok()?)?.content))
    }

    /// Returns a tree and the path in it that a path leads to, itself if it is a link.
    fn tree(&self, path: &NixPath) -> Result<(Rc<dyn Tree>, Vec<u8>), IoError> {
        Ok(match self.mounts.locate(path, false)? {
            Place::Mounted(tree, below) => (tree, below),
            Place::Host(path) => (Rc::new(HostTree::new(self.visible(&path)?)), Vec::new()),
        })
    }

    /// Returns the SHA-256 of what a tree is copied as, and the paths of what a filter took.
    fn hash(
        &self,
        request: &mut AddPath<'_>,
        tree: &dyn Tree,
        root: &[u8],
    ) -> Result<([u8; 32], Option<Taken>), AddError> {
        let recursive = request.ingestion == Ingestion::Recursive;
        if !recursive {
            return Ok((*NarHash::of(&self.read_file(request.path)?).as_bytes(), None));
        }
        let key = (request.path.bytes().to_vec(), recursive);
        if request.filter.is_none()
            && let Some(known) = self.hashed.borrow().get(&key)
        {
            return Ok((*known, None));
        }
        let failed = |error| AddError::Io(host::failed(&host::place(request.path), &error));
        let Some(filter) = &mut request.filter else {
            let hash = *tree::hash(tree, root).map_err(failed)?.as_bytes();
            self.hashed.borrow_mut().insert(key, hash);
            return Ok((hash, None));
        };
        let mut taken = Taken::new();
        let mut takes = |path: &[u8], kind: NodeKind| -> Result<bool, WalkError> {
            let below = path.strip_prefix(root).unwrap_or(path);
            let shown = request.path.join(below);
            let takes = filter(&shown, host::file_type(kind));
            let takes = takes.map_err(|FilterError| WalkError::Filter)?;
            if takes {
                taken.insert(path.to_vec());
            }
            Ok(takes)
        };
        let mut encoder = Encoder::hashing();
        tree::encode(tree, root, &mut encoder, &mut takes).map_err(|error| match error {
            WalkError::Io(error) => failed(error),
            WalkError::Filter => AddError::Filter,
        })?;
        Ok((*encoder.finish_hash().0.as_bytes(), Some(taken)))
    }

    pub(super) fn place(
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

    /// Returns whether something counts as a store object, or is one.
    pub(super) fn has(&self, path: &str) -> bool {
        self.texts.borrow().contains_key(path)
            || self.mounts.has(path)
            || matches!(HostTree::new(path.into()).node(b""), Ok(Some(_)))
    }
}

impl Io for Files {
    fn file_type(&self, path: &NixPath) -> Result<Option<FileType>, IoError> {
        if self.text(path.bytes()).is_some() {
            return Ok(Some(FileType::Regular));
        }
        let (tree, below) = match self.tree(path) {
            Ok(found) => found,
            Err(IoError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let node = tree.node(&below).map_err(|error| host::failed(&host::place(path), &error))?;
        Ok(node.map(|node| host::file_type(node.kind)))
    }

    #[expect(clippy::disallowed_methods, reason = "the one implementation for real files")]
    fn read_file(&self, path: &NixPath) -> Result<Vec<u8>, IoError> {
        if let Some(text) = self.text(path.bytes()) {
            return Ok(text.to_vec());
        }
        let failed = |error: io::Error| host::failed(&host::place(path), &error);
        match self.mounts.locate(path, true)? {
            Place::Host(path) => std::fs::read(self.readable(&path)?).map_err(failed),
            Place::Mounted(tree, below) => match tree.node(&below).map_err(failed)? {
                None => Err(IoError::NotFound { path: path.text().into_owned() }),
                Some(node) if node.kind == NodeKind::Directory => {
                    let message = "it is a directory".to_owned();
                    Err(IoError::Failed { path: path.text().into_owned(), message })
                }
                Some(_) => tree.read(&below).map_err(failed),
            },
        }
    }

    fn read_directory(&self, path: &NixPath) -> Result<Vec<(Vec<u8>, FileType)>, IoError> {
        let (tree, below): (Rc<dyn Tree>, _) = match self.mounts.locate(path, true)? {
            Place::Host(path) => (Rc::new(HostTree::new(self.readable(&path)?)), Vec::new()),
            Place::Mounted(tree, below) => (tree, below),
        };
        let entries =
            tree.entries(&below).map_err(|error| host::failed(&host::place(path), &error))?;
        Ok(entries.into_iter().map(|(name, kind)| (name, host::file_type(kind))).collect())
    }

    fn read_link(&self, path: &NixPath) -> Result<Vec<u8>, IoError> {
        let (tree, below) = self.tree(path)?;
        tree.read(&below).map_err(|error| host::failed(&host::place(path), &error))
    }

    fn add_path(&self, mut request: AddPath<'_>) -> Result<Rc<str>, AddError> {
        let (tree, root) = self.tree(request.path)?;
        let (found, taken) = self.hash(&mut request, tree.as_ref(), &root)?;
        if request.expected.is_some_and(|expected| expected != found) {
            return Err(AddError::HashMismatch { found });
        }
        let path = self.place(request.name, request.ingestion, found)?;
        self.mounts.add(&path.to_string(), Rc::new(Part { tree, root, taken }));
        Ok(self.store.display(&path).into())
    }

    fn add_text(&self, path: &str, content: &[u8], references: &[Rc<str>]) -> Result<(), IoError> {
        let text = Text { content: content.into(), references: references.to_vec() };
        self.texts.borrow_mut().insert(path.to_owned(), text);
        Ok(())
    }

    fn is_valid_path(&self, path: &str) -> Result<bool, IoError> {
        Ok(self.has(path))
    }

    fn references(&self, path: &str) -> Result<Vec<Rc<str>>, IoError> {
        if let Some(text) = self.texts.borrow().get(path) {
            return Ok(text.references.clone());
        }
        // Copies of trees refer to nothing.
        if self.mounts.has(path) {
            return Ok(Vec::new());
        }
        let known = self.known.references(path)?.unwrap_or_default();
        Ok(known.into_iter().map(Rc::from).collect())
    }

    #[expect(clippy::disallowed_methods, reason = "the one implementation for real files")]
    fn read_derivation(&self, path: &str) -> Result<Vec<u8>, IoError> {
        match self.text(path.as_bytes()) {
            Some(text) => Ok(text.to_vec()),
            // Which derivations there are does not depend on what may be read.
            None => std::fs::read(path).map_err(|error| host::failed(Path::new(path), &error)),
        }
    }

    fn realise(&self, derivation: &str, output: &str) -> Result<Rc<str>, IoError> {
        let unavailable = |reason: String| IoError::Unavailable {
            what: format!("read output `{output}` of `{derivation}`"),
            reason,
        };
        let text = self.read_derivation(derivation)?;
        let parsed = Derivation::parse_aterm(&self.store, &text)
            .map_err(|error| unavailable(error.to_string()))?;
        let path = parsed.outputs.get(output).and_then(|output| output.path.as_ref());
        let path = path.ok_or_else(|| unavailable("it has no such output".to_owned()))?;
        let path = self.store.display(path);
        if !self.has(&path) {
            let reason =
                format!("`{path}` is not in the store, and this evaluation builds nothing");
            return Err(unavailable(reason));
        }
        self.open(&path)?;
        Ok(path.into())
    }

    fn fetch(&self, request: &Fetch) -> Result<Fetched, IoError> {
        self.fetched(request)
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
