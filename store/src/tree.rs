//! Trees of files that need not lie on a disk: what a NAR can hold, by paths.
//!
//! The objects of a git commit are such a tree, and so is a directory of which only some files were
//! taken. Reading follows no symbolic link. Start at [`Tree`]; [`hash`] gives what the store would
//! call it.

use std::io::{self, Write};

use crate::hash::NarHash;
use crate::nar::Encoder;

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, itself.
    Symlink,
    /// What no store can keep: a device, socket or pipe.
    Other,
}

/// What is at a path, with all that a store keeps of it besides its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Whether it is a file that can be executed.
    pub executable: bool,
}

/// A tree of files. Paths are relative to its root, which is the empty path.
pub trait Tree {
    /// Returns what is at a path, or nothing.
    fn node(&self, path: &[u8]) -> io::Result<Option<Node>>;

    /// Returns the content of a file, or the target of a symbolic link.
    fn read(&self, path: &[u8]) -> io::Result<Vec<u8>>;

    /// Returns the names in a directory, in ascending order of their bytes.
    fn entries(&self, path: &[u8]) -> io::Result<Vec<(Vec<u8>, NodeKind)>>;
}

/// Returns the path of a name in a directory.
pub fn below(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() {
        return name.to_vec();
    }
    [directory, b"/", name].concat()
}

/// Returns the hash of the NAR of what is at a path.
pub fn hash(tree: &dyn Tree, path: &[u8]) -> io::Result<NarHash> {
    let mut encoder = Encoder::hashing();
    encode(tree, path, &mut encoder, &mut |_, _| Ok::<_, io::Error>(true))?;
    Ok(encoder.finish_hash().0)
}

/// Says whether an entry is taken, by its path from the root of the tree.
pub type Takes<'a, E> = dyn FnMut(&[u8], NodeKind) -> Result<bool, E> + 'a;

/// Writes what is at a path as the next object of a NAR, without the entries that `takes` refuses.
///
/// Errors of `takes` come back as they are.
pub fn encode<W: Write, E: From<io::Error>>(
    tree: &dyn Tree,
    path: &[u8],
    encoder: &mut Encoder<W>,
    takes: &mut Takes<'_, E>,
) -> Result<(), E> {
    let missing = || io::Error::new(io::ErrorKind::NotFound, shown(path));
    let node = tree.node(path)?.ok_or_else(missing)?;
    match node.kind {
        NodeKind::File => encoder.file(node.executable, &tree.read(path)?)?,
        NodeKind::Symlink => encoder.symlink(&tree.read(path)?)?,
        NodeKind::Directory => {
            encoder.begin_directory()?;
            for (name, kind) in tree.entries(path)? {
                let path = below(path, &name);
                if takes(&path, kind)? {
                    encoder.begin_entry(&name)?;
                    encode(tree, &path, encoder, takes)?;
                    encoder.end_entry()?;
                }
            }
            encoder.end_directory()?;
        }
        NodeKind::Other => {
            let path = shown(path);
            let message = format!("`{path}` is neither a file, a directory nor a symlink");
            return Err(io::Error::other(message).into());
        }
    }
    Ok(())
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Files by their paths.
    struct Files(BTreeMap<&'static str, &'static str>);

    impl Tree for Files {
        fn node(&self, path: &[u8]) -> io::Result<Option<Node>> {
            let path = shown(path);
            let kind = if path.is_empty()
                || self.0.keys().any(|file| file.starts_with(&format!("{path}/")))
            {
                NodeKind::Directory
            } else if self.0.contains_key(path.as_str()) {
                NodeKind::File
            } else {
                return Ok(None);
            };
            Ok(Some(Node { kind, executable: false }))
        }

        fn read(&self, path: &[u8]) -> io::Result<Vec<u8>> {
            Ok(self.0[shown(path).as_str()].into())
        }

        fn entries(&self, path: &[u8]) -> io::Result<Vec<(Vec<u8>, NodeKind)>> {
            let start = if path.is_empty() { String::new() } else { shown(path) + "/" };
            let below = self.0.keys().filter_map(|file| file.strip_prefix(&start));
            let names = below.map(|file| file.split('/').next().unwrap_or_default());
            let names: std::collections::BTreeSet<&str> = names.collect();
            let entry = |name: &str| {
                let path = super::below(path, name.as_bytes());
                Ok((name.as_bytes().to_vec(), self.node(&path)?.unwrap().kind))
            };
            names.into_iter().map(entry).collect()
        }
    }

    #[test]
    fn a_tree_has_the_hash_of_its_copy_on_a_disk() {
        let files = Files([("a/b", "1"), ("a.c", "2"), ("d", "3")].into());
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        for (name, text) in &files.0 {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let (whole, _) = crate::nar::hash(dir.path()).unwrap();
        assert_eq!(hash(&files, b"").unwrap(), whole);
        let (part, _) = crate::nar::hash(&dir.path().join("a")).unwrap();
        assert_eq!(hash(&files, b"a").unwrap(), part);
    }

    #[test]
    fn a_refused_directory_is_not_looked_at() {
        let files = Files([("a/b", "1"), ("c", "2")].into());
        let mut asked = Vec::new();
        let mut encoder = Encoder::hashing();
        encode(&files, b"", &mut encoder, &mut |path, kind| -> io::Result<bool> {
            asked.push(shown(path));
            Ok(kind != NodeKind::Directory)
        })
        .unwrap();
        assert_eq!(asked, ["a", "c"]);
        let left = Files([("c", "2")].into());
        assert_eq!(encoder.finish_hash().0, hash(&left, b"").unwrap());
        assert!(hash(&files, b"x").is_err());
    }
}
