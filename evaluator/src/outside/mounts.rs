//! Trees that count as store objects although nothing wrote them into the store.
//!
//! Copying a tree only computes where it would be. What reads below that path afterwards has to
//! find the files, so the path leads here: to the tree that was copied, without what a filter
//! refused, or to the objects of a commit. Start at [`Mounts::locate`].

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::rc::Rc;

use levain_store::StoreDir;
use levain_store::tree::{Node, NodeKind, Tree, below};

use crate::lang::io::IoError;
use crate::lang::value::NixPath;

/// More symbolic links on the way to one file than these form a circle.
const MAX_LINKS: usize = 64;

/// Where a path leads.
pub(super) enum Place {
    /// Into the file system, or into the store as it is on this machine.
    Host(NixPath),
    /// Into a tree, at a path in it.
    Mounted(Rc<dyn Tree>, Vec<u8>),
}

/// The trees by the base names of their store paths.
pub(super) struct Mounts {
    store: StoreDir,
    trees: RefCell<BTreeMap<Vec<u8>, Rc<dyn Tree>>>,
}

/// A part of another tree.
pub(super) struct Part {
    /// The other tree.
    pub(super) tree: Rc<dyn Tree>,
    /// The path in it that is the root here.
    pub(super) root: Vec<u8>,
    /// The paths in the other tree that were taken, if not all were.
    pub(super) taken: Option<BTreeSet<Vec<u8>>>,
}

impl Part {
    /// Returns the path in the other tree, if it was taken.
    fn path(&self, path: &[u8]) -> Option<Vec<u8>> {
        if path.is_empty() {
            return Some(self.root.clone());
        }
        let path = below(&self.root, path);
        self.taken.as_ref().is_none_or(|taken| taken.contains(&path)).then_some(path)
    }

    fn existing(&self, path: &[u8]) -> io::Result<Vec<u8>> {
        self.path(path).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

impl Tree for Part {
    fn node(&self, path: &[u8]) -> io::Result<Option<Node>> {
        self.path(path).map_or(Ok(None), |path| self.tree.node(&path))
    }

    fn read(&self, path: &[u8]) -> io::Result<Vec<u8>> {
        self.tree.read(&self.existing(path)?)
    }

    fn entries(&self, path: &[u8]) -> io::Result<Vec<(Vec<u8>, NodeKind)>> {
        let path = self.existing(path)?;
        let mut entries = self.tree.entries(&path)?;
        if let Some(taken) = &self.taken {
            entries.retain(|(name, _)| taken.contains(&below(&path, name)));
        }
        Ok(entries)
    }
}

impl Mounts {
    pub(super) fn new(store: StoreDir) -> Self {
        Self { store, trees: RefCell::default() }
    }

    /// Makes a tree count as the store object of a base name.
    pub(super) fn add(&self, base_name: &str, tree: Rc<dyn Tree>) {
        self.trees.borrow_mut().insert(base_name.as_bytes().to_vec(), tree);
    }

    /// Returns whether a tree counts as the store object of a whole path.
    pub(super) fn has(&self, path: &str) -> bool {
        self.split(path.as_bytes()).is_some_and(|(_, rest)| rest.is_empty())
    }

    /// Returns the tree that a path leads into by its words alone, and the rest of the path.
    fn split(&self, path: &[u8]) -> Option<(Rc<dyn Tree>, Vec<u8>)> {
        let inside = path.strip_prefix(self.store.as_str().as_bytes())?.strip_prefix(b"/")?;
        let end = inside.iter().position(|byte| *byte == b'/').unwrap_or(inside.len());
        let tree = Rc::clone(self.trees.borrow().get(&inside[..end])?);
        Some((tree, inside.get(end + 1..).unwrap_or_default().to_vec()))
    }

    /// Returns where a path leads, following the symbolic links in mounted trees; the last part only
    /// if `follow` says so.
    pub(super) fn locate(&self, path: &NixPath, follow: bool) -> Result<Place, IoError> {
        let mut path = path.clone();
        for _ in 0..MAX_LINKS {
            let Some((tree, rest)) = self.split(path.bytes()) else {
                return Ok(Place::Host(path));
            };
            match self.step(tree.as_ref(), &path, &rest, follow)? {
                None => return Ok(Place::Mounted(tree, rest)),
                Some(elsewhere) => path = elsewhere,
            }
        }
        let message = "too many symbolic links".to_owned();
        Err(IoError::Failed { path: path.text().into_owned(), message })
    }

    /// Returns the path that the first symbolic link on the way leads to, if there is one.
    fn step(
        &self,
        tree: &dyn Tree,
        whole: &NixPath,
        rest: &[u8],
        follow: bool,
    ) -> Result<Option<NixPath>, IoError> {
        let failed = |error: io::Error| super::host::failed(&super::host::place(whole), &error);
        let mut names: VecDeque<&[u8]> =
            rest.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
        let root = &whole.bytes()[..whole.bytes().len() - rest.len()];
        let mut here: Vec<u8> = Vec::new();
        loop {
            let is_last = names.is_empty();
            let node = tree.node(&here).map_err(failed)?;
            let Some(node) = node else { return Ok(None) };
            if node.kind == NodeKind::Symlink && (follow || !is_last) {
                let target = tree.read(&here).map_err(failed)?;
                // `..` in the target is taken by its words; only a link to a link's parent differs.
                let from = NixPath::canonical(&[root, b"/", &here].concat());
                let mut to = if target.starts_with(b"/") {
                    NixPath::canonical(&target)
                } else {
                    from.parent().join(&target)
                };
                for name in names {
                    to = to.join(name);
                }
                return Ok(Some(to));
            }
            let Some(name) = names.pop_front() else { return Ok(None) };
            here = below(&here, name);
        }
    }
}
