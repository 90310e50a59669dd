//! The files of one commit, read straight from its objects: no checkout, and no copy in the store.
//!
//! Blobs come out as they are recorded, so that no line ends are changed and neither `export-ignore` nor `export-subst` of
//! `.gitattributes` counts, and an empty directory in place of a submodule. Nix takes the same of a commit where it reads
//! the objects itself; Nix 2.8 calls `git archive`, which heeds these attributes. Start at [`CommitTree`].

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use git2::{FileMode, ObjectType, Oid};
use levain_store::tree::{Node, NodeKind, Tree, below};

use super::{CommitId, GitError, Repository};

/// The tree of one commit.
pub struct CommitTree {
    objects: git2::Repository,
    root: Oid,
    /// The directories that have been read, by their paths; names are in the order of their bytes.
    directories: RefCell<BTreeMap<Vec<u8>, Rc<[Entry]>>>,
}

#[derive(Debug, Clone)]
struct Entry {
    name: Box<[u8]>,
    id: Oid,
    kind: EntryKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EntryKind {
    File,
    Executable,
    Link,
    Directory,
    /// A commit of another repository, of which nothing is read.
    Submodule,
}

impl EntryKind {
    fn node(self) -> Node {
        let kind = match self {
            EntryKind::File | EntryKind::Executable => NodeKind::File,
            EntryKind::Link => NodeKind::Symlink,
            EntryKind::Directory | EntryKind::Submodule => NodeKind::Directory,
        };
        Node { kind, executable: self == EntryKind::Executable }
    }
}

impl Repository {
    /// Returns the files of a commit. They stay readable when this repository is closed.
    pub fn tree(&self, commit: CommitId) -> Result<CommitTree, GitError> {
        let root = self.find(commit)?.tree_id();
        let path = self.objects().path();
        let objects = git2::Repository::open(path)
            .map_err(|source| GitError::Open { path: path.to_owned(), source })?;
        Ok(CommitTree { objects, root, directories: RefCell::default() })
    }
}

impl CommitTree {
    /// Returns whether some `.gitattributes` of the tree mentions an attribute.
    pub fn mentions_attribute(&self, attribute: &str) -> io::Result<bool> {
        let mut waiting = vec![Vec::new()];
        while let Some(directory) = waiting.pop() {
            for entry in self.directory(&directory)?.iter() {
                if entry.kind == EntryKind::Directory {
                    waiting.push(below(&directory, &entry.name));
                } else if *entry.name == *b".gitattributes" {
                    let text = self.blob(entry.id)?;
                    if String::from_utf8_lossy(&text).contains(attribute) {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    /// Returns what is in a directory.
    fn directory(&self, path: &[u8]) -> io::Result<Rc<[Entry]>> {
        if let Some(known) = self.directories.borrow().get(path) {
            return Ok(Rc::clone(known));
        }
        let id = if path.is_empty() {
            self.root
        } else {
            match self.entry(path)? {
                Some(Entry { id, kind: EntryKind::Directory, .. }) => id,
                Some(Entry { kind: EntryKind::Submodule, .. }) => return Ok(Rc::default()),
                Some(_) | None => return Err(io::Error::from(io::ErrorKind::NotADirectory)),
            }
        };
        let tree = self.objects.find_tree(id).map_err(io::Error::other)?;
        let mut entries: Vec<Entry> = tree
            .iter()
            .map(|entry| Entry {
                name: entry.name_bytes().into(),
                id: entry.id(),
                kind: kind(entry.kind(), entry.filemode()),
            })
            .collect();
        // Git sorts as if the names of directories ended with a slash.
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let entries: Rc<[Entry]> = entries.into();
        self.directories.borrow_mut().insert(path.to_vec(), Rc::clone(&entries));
        Ok(entries)
    }

    /// Returns the entry at a path that is not empty.
    fn entry(&self, path: &[u8]) -> io::Result<Option<Entry>> {
        let slash = path.iter().rposition(|byte| *byte == b'/');
        let (directory, name) = match slash {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&b""[..], path),
        };
        let entries = match self.directory(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(None),
            Err(error) => return Err(error),
        };
        let found = entries.binary_search_by(|entry| (*entry.name).cmp(name)).ok();
        Ok(found.and_then(|index| entries.get(index)).cloned())
    }

    fn blob(&self, id: Oid) -> io::Result<Vec<u8>> {
        let blob = self.objects.find_blob(id).map_err(io::Error::other)?;
        Ok(blob.content().to_vec())
    }
}

fn kind(object: Option<ObjectType>, mode: i32) -> EntryKind {
    if mode == i32::from(FileMode::Commit) || object == Some(ObjectType::Commit) {
        EntryKind::Submodule
    } else if mode == i32::from(FileMode::Tree) {
        EntryKind::Directory
    } else if mode == i32::from(FileMode::Link) {
        EntryKind::Link
    } else if mode & 0o100 != 0 {
        EntryKind::Executable
    } else {
        EntryKind::File
    }
}

impl Tree for CommitTree {
    fn node(&self, path: &[u8]) -> io::Result<Option<Node>> {
        if path.is_empty() {
            return Ok(Some(EntryKind::Directory.node()));
        }
        Ok(self.entry(path)?.map(|entry| entry.kind.node()))
    }

    fn read(&self, path: &[u8]) -> io::Result<Vec<u8>> {
        match if path.is_empty() { None } else { self.entry(path)? } {
            Some(entry) if entry.kind.node().kind != NodeKind::Directory => self.blob(entry.id),
            Some(_) => Err(io::Error::from(io::ErrorKind::IsADirectory)),
            None if path.is_empty() => Err(io::Error::from(io::ErrorKind::IsADirectory)),
            None => Err(io::Error::from(io::ErrorKind::NotFound)),
        }
    }

    fn entries(&self, path: &[u8]) -> io::Result<Vec<(Vec<u8>, NodeKind)>> {
        let entries = self.directory(path)?;
        Ok(entries.iter().map(|entry| (entry.name.to_vec(), entry.kind.node().kind)).collect())
    }
}
