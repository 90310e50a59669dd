//! Finds out whether something on disk is a copy of a part of a commit's tree.
//!
//! Keys mask the project's own sources, which Nix has copied into its store, whole or filtered, under names of its own.
//! Nothing but content tells them from other inputs. Start at [`SourceIndex::find`].

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use git2::{ObjectType, Oid};

use super::{CommitId, GitError, Repository};
use crate::shadow::ShadowFiles;

/// The tree of one commit, read when it is first asked for.
pub struct SourceIndex<'r> {
    repository: &'r Repository,
    tree: Oid,
    contents: Option<Contents>,
}

/// Everything in a tree. Numbers stand for positions in `files`, which is sorted by path.
#[derive(Default)]
struct Contents {
    files: Vec<TreeFile>,
    by_name: Vec<u32>,
    by_id: Vec<u32>,
    /// Sorted.
    directories: Vec<Box<[u8]>>,
    /// Sorted.
    submodules: Vec<Box<[u8]>>,
}

struct TreeFile {
    path: Box<[u8]>,
    id: Oid,
    kind: FileKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileKind {
    Regular,
    Executable,
    Link,
}

/// Something found on disk; its path is relative to where the search began.
struct DiskEntry {
    relative: Vec<u8>,
    path: PathBuf,
    kind: DiskKind,
    /// Its name as a blob, once it is known.
    id: Option<Oid>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum DiskKind {
    File { kind: FileKind, size: u64 },
    EmptyDirectory,
}

impl<'r> SourceIndex<'r> {
    /// Prepares to search the tree of a commit.
    pub fn new(repository: &'r Repository, commit: CommitId) -> Result<Self, GitError> {
        let tree = repository.find(commit)?.tree_id();
        Ok(Self { repository, tree, contents: None })
    }

    /// Returns the path in the tree of which `on_disk` is a copy, `""` for the whole tree, or nothing.
    ///
    /// A copy may lack files, but may have none that the tree lacks: path below a common directory, type, executable bit
    /// and content must agree. The two files of the shadow branch may be there with any content, and so may submodules.
    /// Something without any file is a copy of nothing.
    pub fn find(
        &mut self,
        on_disk: &Path,
        ignore: &ShadowFiles,
    ) -> Result<Option<String>, GitError> {
        let repository = self.repository.objects();
        if self.contents.is_none() {
            self.contents = Some(Contents::read(repository, self.tree)?);
        }
        let Some(contents) = &self.contents else {
            return Ok(None);
        };
        let metadata = std::fs::symlink_metadata(on_disk).map_err(reading(on_disk))?;
        let search = Search { repository, contents, ignore };
        if metadata.is_dir() { search.directory(on_disk) } else { search.file(on_disk, &metadata) }
    }
}

impl Contents {
    fn read(repository: &git2::Repository, tree: Oid) -> Result<Self, GitError> {
        let mut contents = Self::default();
        let mut waiting = vec![(Vec::new(), tree)];
        while let Some((directory, id)) = waiting.pop() {
            let tree = repository.find_tree(id).map_err(GitError::doing("read a tree"))?;
            for entry in &tree {
                let path = joined(&directory, entry.name_bytes());
                match entry.filemode() {
                    0o040_000 => waiting.push((path, entry.id())),
                    0o160_000 => contents.submodules.push(path.into()),
                    mode => contents.files.push(TreeFile {
                        path: path.into(),
                        id: entry.id(),
                        kind: kind_of(mode),
                    }),
                }
            }
            contents.directories.push(directory.into());
        }
        contents.directories.sort();
        contents.submodules.sort();
        contents.files.sort_by(|a, b| a.path.cmp(&b.path));
        let files = &contents.files;
        let count = u32::try_from(files.len()).unwrap_or(u32::MAX);
        contents.by_name = (0..count).collect();
        contents.by_name.sort_by_key(|number| base_name(&files[*number as usize].path));
        contents.by_id = (0..count).collect();
        contents.by_id.sort_by_key(|number| files[*number as usize].id);
        Ok(contents)
    }

    fn file(&self, path: &[u8]) -> Option<&TreeFile> {
        let at = self.files.binary_search_by(|file| (*file.path).cmp(path)).ok()?;
        self.files.get(at)
    }

    fn named(&self, name: &[u8]) -> impl Iterator<Item = &TreeFile> {
        let of = |number: &u32| base_name(&self.files[*number as usize].path);
        let from = self.by_name.partition_point(|number| of(number) < name);
        let to = self.by_name.partition_point(|number| of(number) <= name);
        self.by_name[from..to].iter().map(|number| &self.files[*number as usize])
    }

    fn with_id(&self, id: Oid) -> impl Iterator<Item = &TreeFile> {
        let of = |number: &u32| self.files[*number as usize].id;
        let from = self.by_id.partition_point(|number| of(number) < id);
        let to = self.by_id.partition_point(|number| of(number) <= id);
        self.by_id[from..to].iter().map(|number| &self.files[*number as usize])
    }

    fn has_directory(&self, path: &[u8]) -> bool {
        self.directories.binary_search_by(|known| (**known).cmp(path)).is_ok()
    }

    fn in_submodule(&self, path: &[u8]) -> bool {
        self.submodules.iter().any(|submodule| {
            path.strip_prefix(&**submodule)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        })
    }
}

struct Search<'a> {
    repository: &'a git2::Repository,
    contents: &'a Contents,
    ignore: &'a ShadowFiles,
}

impl Search<'_> {
    /// A file has lost its place, and often its name: content alone decides, and the name chooses among equals.
    fn file(&self, path: &Path, metadata: &std::fs::Metadata) -> Result<Option<String>, GitError> {
        let Some(DiskKind::File { kind, .. }) = disk_kind(metadata) else {
            return Ok(None);
        };
        let id = blob_id(path, kind)?;
        let name = path.file_name().unwrap_or_default().as_bytes();
        let mut best: Option<&TreeFile> = None;
        for file in self.contents.with_id(id).filter(|file| file.kind == kind) {
            let better = match best {
                None => true,
                Some(best) => {
                    (!is_named(file, name), &file.path) < (!is_named(best, name), &best.path)
                }
            };
            if better {
                best = Some(file);
            }
        }
        Ok(best.map(|file| String::from_utf8_lossy(&file.path).into_owned()))
    }

    fn directory(&self, root: &Path) -> Result<Option<String>, GitError> {
        let mut entries = Vec::new();
        if !self.list(root, Vec::new(), &mut entries)? {
            return Ok(None);
        }
        // The file with the longest path says most about where the copy was taken from.
        let Some(probe) = entries
            .iter()
            .filter(|entry| matches!(entry.kind, DiskKind::File { .. }))
            .filter(|entry| self.contents.named(base_name(&entry.relative)).next().is_some())
            .max_by_key(|entry| {
                (!self.may_be_ignored(&entry.relative), entry.relative.len(), &entry.relative)
            })
        else {
            return Ok(None);
        };
        let probe = probe.relative.clone();
        let mut places: Vec<&[u8]> = self
            .contents
            .named(base_name(&probe))
            .filter_map(|file| place_of(&file.path, &probe))
            .collect();
        // Many places are possible only for common names; the outermost is the likeliest.
        places.sort_by_key(|place| (place.len(), *place));
        for place in places {
            if self.agrees(place, &mut entries)? {
                return Ok(Some(String::from_utf8_lossy(place).into_owned()));
            }
        }
        Ok(None)
    }

    /// Lists a directory and all below it; stops with `false` at something that the tree cannot have.
    fn list(
        &self,
        directory: &Path,
        relative: Vec<u8>,
        entries: &mut Vec<DiskEntry>,
    ) -> Result<bool, GitError> {
        let mut empty = true;
        for entry in std::fs::read_dir(directory).map_err(reading(directory))? {
            let entry = entry.map_err(reading(directory))?;
            empty = false;
            let path = entry.path();
            let name = entry.file_name();
            let below = joined(&relative, name.as_bytes());
            let metadata = entry.metadata().map_err(reading(&path))?;
            if metadata.is_dir() {
                if !self.list(&path, below, entries)? {
                    return Ok(false);
                }
                continue;
            }
            let Some(kind) = disk_kind(&metadata) else {
                return Ok(false);
            };
            // A name that the tree does not have anywhere decides at once, unless a submodule may have brought it.
            if self.contents.submodules.is_empty()
                && !self.may_be_ignored(&below)
                && self.contents.named(name.as_bytes()).next().is_none()
            {
                return Ok(false);
            }
            entries.push(DiskEntry { relative: below, path, kind, id: None });
        }
        if empty && !relative.is_empty() {
            entries.push(DiskEntry {
                relative,
                path: directory.to_owned(),
                kind: DiskKind::EmptyDirectory,
                id: None,
            });
        }
        Ok(true)
    }

    fn agrees(&self, place: &[u8], entries: &mut [DiskEntry]) -> Result<bool, GitError> {
        let mut matched = false;
        // Paths and sizes first: they cost nothing beside reading files.
        for entry in entries.iter() {
            let path = joined(place, &entry.relative);
            if self.passes_over(&path) {
                continue;
            }
            let DiskKind::File { kind, size } = entry.kind else {
                if self.contents.has_directory(&path) {
                    continue;
                }
                return Ok(false);
            };
            let Some(file) = self.contents.file(&path).filter(|file| file.kind == kind) else {
                return Ok(false);
            };
            let (expected, _) = self
                .repository
                .odb()
                .and_then(|objects| objects.read_header(file.id))
                .map_err(GitError::doing("read the size of a file"))?;
            if expected as u64 != size {
                return Ok(false);
            }
            matched = true;
        }
        for entry in entries.iter_mut() {
            let path = joined(place, &entry.relative);
            let DiskKind::File { kind, .. } = entry.kind else {
                continue;
            };
            if self.passes_over(&path) {
                continue;
            }
            let id = match entry.id {
                Some(id) => id,
                None => blob_id(&entry.path, kind)?,
            };
            entry.id = Some(id);
            if self.contents.file(&path).is_none_or(|file| file.id != id) {
                return Ok(false);
            }
        }
        Ok(matched)
    }

    fn passes_over(&self, path: &[u8]) -> bool {
        self.ignore.contains(path) || self.contents.in_submodule(path)
    }

    /// Tells whether a relative path could be one of the two files, wherever the copy was taken from.
    fn may_be_ignored(&self, relative: &[u8]) -> bool {
        [self.ignore.pointer(), self.ignore.commit()]
            .iter()
            .any(|path| place_of(path.as_bytes(), relative).is_some())
    }
}

/// Returns the directory below which `relative` gives `path`.
fn place_of<'a>(path: &'a [u8], relative: &[u8]) -> Option<&'a [u8]> {
    let place = path.strip_suffix(relative)?;
    if place.is_empty() {
        return Some(place);
    }
    place.strip_suffix(b"/")
}

fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() {
        return name.to_vec();
    }
    if name.is_empty() {
        return directory.to_vec();
    }
    [directory, b"/", name].concat()
}

fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// Tells whether a file of the tree has the name of a store path, which stands after the hash and a dash.
fn is_named(file: &TreeFile, on_disk: &[u8]) -> bool {
    on_disk
        .strip_suffix(base_name(&file.path))
        .is_some_and(|before| before.is_empty() || before.ends_with(b"-"))
}

fn kind_of(mode: i32) -> FileKind {
    if mode == 0o120_000 {
        FileKind::Link
    } else if mode & 0o111 != 0 {
        FileKind::Executable
    } else {
        FileKind::Regular
    }
}

/// Returns nothing for what git cannot hold: sockets, devices, pipes.
fn disk_kind(metadata: &std::fs::Metadata) -> Option<DiskKind> {
    let kind = if metadata.is_symlink() {
        FileKind::Link
    } else if !metadata.is_file() {
        return None;
    } else if metadata.permissions().mode() & 0o111 != 0 {
        FileKind::Executable
    } else {
        FileKind::Regular
    };
    Some(DiskKind::File { kind, size: metadata.len() })
}

fn blob_id(path: &Path, kind: FileKind) -> Result<Oid, GitError> {
    let doing = "hash a file";
    if kind == FileKind::Link {
        let target = std::fs::read_link(path).map_err(reading(path))?;
        return Oid::hash_object(ObjectType::Blob, target.as_os_str().as_bytes())
            .map_err(GitError::doing(doing));
    }
    Oid::hash_file(ObjectType::Blob, path).map_err(GitError::doing(doing))
}

fn reading(path: &Path) -> impl FnOnce(std::io::Error) -> GitError {
    let path = path.to_owned();
    move |source| GitError::File { doing: "read", path, source }
}
