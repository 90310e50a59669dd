//! Compares two trees of files as the outputs of two builds.
//!
//! Only what the store keeps counts: kinds, content, symlink targets and the
//! executable bit. Where an output names itself or a sibling, the two builds
//! must differ; such names are told to [`compare`] and count as equal.

mod own_paths;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::store_path::StorePath;

/// A place where two trees differ.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// The path below both roots; empty for the roots themselves.
    pub path: PathBuf,
    /// How they differ there.
    pub kind: DifferenceKind,
}

/// How two trees differ at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DifferenceKind {
    /// Only the first has it.
    OnlyFirst,
    /// Only the second has it.
    OnlySecond,
    /// One is a file, the other a directory, or the like.
    Kind,
    /// The files' contents differ.
    Content,
    /// Only one is executable.
    Executable,
    /// The symlinks' targets differ.
    Target,
}

impl DifferenceKind {
    /// Returns a few words for people.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::OnlyFirst => "only in the first",
            Self::OnlySecond => "only in the second",
            Self::Kind => "of different kinds",
            Self::Content => "different content",
            Self::Executable => "executable in one only",
            Self::Target => "symlinks to different targets",
        }
    }
}

/// A file of the trees could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot compare `{}`", path.display())]
pub struct CompareError {
    /// The file.
    pub path: PathBuf,
    /// Why not.
    pub source: io::Error,
}

/// Names that stand for each other: an output of the first build and the same of the second.
#[derive(Debug, Clone, Default)]
pub struct Counterparts(Vec<(Vec<u8>, Vec<u8>)>);

impl Counterparts {
    /// Has each first path's hash count as the second's.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a StorePath, &'a StorePath)>) -> Self {
        let hash = |path: &StorePath| path.hash_part().as_bytes().to_vec();
        Self(pairs.into_iter().map(|(a, b)| (hash(a), hash(b))).collect())
    }

    /// Has a source of the first build count as one of the second, by its hash or, where the name
    /// carries one as well, by both.
    pub fn add(&mut self, first: &StorePath, second: &StorePath) {
        let names = (first.to_string(), second.to_string());
        if first.name() != second.name() && names.0.len() == names.1.len() {
            self.0.push((names.0.into_bytes(), names.1.into_bytes()));
        }
        self.0
            .push((first.hash_part().as_bytes().to_vec(), second.hash_part().as_bytes().to_vec()));
    }

    /// Renames in `bytes` what belongs to the first build.
    fn rename(&self, bytes: &mut [u8]) {
        for (from, to) in &self.0 {
            let mut at = 0;
            while let Some(found) = find(&bytes[at..], from) {
                bytes[at + found..at + found + to.len()].copy_from_slice(to);
                at += found + to.len();
            }
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut at = 0;
    while let Some(next) = bytes[at..].iter().position(|byte| *byte == first) {
        at += next;
        if bytes[at..].starts_with(wanted) {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// Returns every place where the trees at `first` and `second` differ, sorted.
pub fn compare(
    first: &Path,
    second: &Path,
    counterparts: &Counterparts,
) -> Result<Vec<Difference>, CompareError> {
    let mut found = Vec::new();
    differ_only(first, second, counterparts, &mut |difference| {
        found.push(difference);
        Ok(true)
    })?;
    found.sort();
    Ok(found)
}

/// Says whether all places where the trees differ are `allowed`; ends with the first that is not.
pub fn differ_only(
    first: &Path,
    second: &Path,
    counterparts: &Counterparts,
    allowed: &mut dyn FnMut(Difference) -> Result<bool, CompareError>,
) -> Result<bool, CompareError> {
    let mut open = vec![PathBuf::new()];
    while let Some(path) = open.pop() {
        let join = |root: &Path| match path.as_os_str().is_empty() {
            true => root.to_owned(),
            false => root.join(&path),
        };
        let (a, b) = (join(first), join(second));
        let (a_meta, b_meta) = (metadata(&a)?, metadata(&b)?);
        if a_meta.is_dir() && b_meta.is_dir() {
            let (a_names, b_names) = (names(&a)?, names(&b)?);
            // A name may carry the hash as well.
            let mut b_left = b_names;
            for (renamed, name) in rename_all(a_names, counterparts) {
                let below = path.join(&name);
                if !b_left.remove(&renamed) {
                    let kind = DifferenceKind::OnlyFirst;
                    if !allowed(Difference { path: below, kind })? {
                        return Ok(false);
                    }
                } else if renamed == name {
                    open.push(below);
                } else {
                    let mut allowed_below = |Difference { path, kind }| {
                        allowed(Difference { path: below.join(path), kind })
                    };
                    let (a, b) = (a.join(&name), b.join(&renamed));
                    if !differ_only(&a, &b, counterparts, &mut allowed_below)? {
                        return Ok(false);
                    }
                }
            }
            for name in b_left {
                let kind = DifferenceKind::OnlySecond;
                if !allowed(Difference { path: path.join(name), kind })? {
                    return Ok(false);
                }
            }
            continue;
        }
        if let Some(kind) = compare_leaves((&a, &a_meta), (&b, &b_meta), counterparts)?
            && !allowed(Difference { path, kind })?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A build's outputs, and the same of a clean build and of another clean build.
#[derive(Debug, Clone, Default)]
pub struct Triples(Vec<[Vec<u8>; 3]>);

impl Triples {
    /// Has the hashes of these paths stand for each other.
    pub fn new<'a>(
        outputs: impl IntoIterator<Item = (&'a StorePath, &'a StorePath, &'a StorePath)>,
    ) -> Self {
        let hash = |path: &StorePath| path.hash_part().as_bytes().to_vec();
        Self(outputs.into_iter().map(|(a, b, c)| [hash(a), hash(b), hash(c)]).collect())
    }
}

/// Says whether a file names some other output where two clean builds each name their own, whole or
/// in pieces. Files that cannot be compared place by place say no.
pub fn names_another(
    [file, clean, twin]: [&Path; 3],
    outputs: &Triples,
) -> Result<bool, CompareError> {
    for path in [file, clean, twin] {
        if !metadata(path)?.is_file() {
            return Ok(false);
        }
    }
    let read = |path: &Path| fs::read(path).map_err(at(path));
    Ok(own_paths::names_another(&read(file)?, &read(clean)?, &read(twin)?, &outputs.0))
}

fn rename_all(
    names: BTreeSet<OsString>,
    counterparts: &Counterparts,
) -> BTreeMap<OsString, OsString> {
    use std::os::unix::ffi::OsStringExt;
    let renamed = |name: &OsString| {
        let mut bytes = name.as_bytes().to_vec();
        counterparts.rename(&mut bytes);
        OsString::from_vec(bytes)
    };
    names.into_iter().map(|name| (renamed(&name), name)).collect()
}

fn compare_leaves(
    (a, a_meta): (&Path, &Metadata),
    (b, b_meta): (&Path, &Metadata),
    counterparts: &Counterparts,
) -> Result<Option<DifferenceKind>, CompareError> {
    if a_meta.is_symlink() && b_meta.is_symlink() {
        let mut target = read_link(a)?.into_os_string().as_bytes().to_vec();
        counterparts.rename(&mut target);
        let same = target == read_link(b)?.as_os_str().as_bytes();
        return Ok((!same).then_some(DifferenceKind::Target));
    }
    if !(a_meta.is_file() && b_meta.is_file()) {
        return Ok(Some(DifferenceKind::Kind));
    }
    let executable = |meta: &Metadata| meta.permissions().mode() & 0o100 != 0;
    if executable(a_meta) != executable(b_meta) {
        return Ok(Some(DifferenceKind::Executable));
    }
    // Hashes have one length, so renaming never changes a size.
    if a_meta.len() != b_meta.len() {
        return Ok(Some(DifferenceKind::Content));
    }
    // A store that is optimised has equal files once.
    let is_one = (a_meta.dev(), a_meta.ino()) == (b_meta.dev(), b_meta.ino());
    if is_one || equal_content(a, b)? {
        return Ok(None);
    }
    let (mut bytes, other) = (fs::read(a).map_err(at(a))?, fs::read(b).map_err(at(b))?);
    // Before renaming, which may join a piece with its neighbour.
    let only_pieces = own_paths::only_pieces(&bytes, &other, &counterparts.0);
    counterparts.rename(&mut bytes);
    let same = only_pieces || bytes == other;
    Ok((!same).then_some(DifferenceKind::Content))
}

fn equal_content(a: &Path, b: &Path) -> Result<bool, CompareError> {
    let (mut a_file, mut b_file) = (File::open(a).map_err(at(a))?, File::open(b).map_err(at(b))?);
    let (mut a_block, mut b_block) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let read = read_block(&mut a_file, &mut a_block).map_err(at(a))?;
        let other = read_block(&mut b_file, &mut b_block).map_err(at(b))?;
        if a_block[..read] != b_block[..other] {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
    }
}

/// Fills the block, unless the file ends before.
fn read_block(file: &mut File, block: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < block.len() {
        match file.read(&mut block[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

fn metadata(path: &Path) -> Result<Metadata, CompareError> {
    fs::symlink_metadata(path).map_err(at(path))
}

fn read_link(path: &Path) -> Result<PathBuf, CompareError> {
    fs::read_link(path).map_err(at(path))
}

fn names(path: &Path) -> Result<BTreeSet<OsString>, CompareError> {
    let entries = fs::read_dir(path).map_err(at(path))?;
    entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<_, _>>()
        .map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> CompareError {
    let path = path.to_owned();
    move |source| CompareError { path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree(build: impl FnOnce(&Path)) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        build(dir.path());
        dir
    }

    fn shown(first: &Path, second: &Path, counterparts: &Counterparts) -> String {
        let found = compare(first, second, counterparts).unwrap();
        let lines = found.iter().map(|d| format!("{}: {}", d.path.display(), d.kind.describe()));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_kind_of_difference_is_found() {
        let first = tree(|root| {
            fs::create_dir(root.join("both")).unwrap();
            fs::write(root.join("both/same"), "same").unwrap();
            fs::write(root.join("both/content"), "1").unwrap();
            fs::write(root.join("both/size"), "1").unwrap();
            fs::write(root.join("mode"), "").unwrap();
            fs::write(root.join("gone"), "").unwrap();
            fs::write(root.join("kind"), "").unwrap();
            symlink("a", root.join("link")).unwrap();
        });
        let second = tree(|root| {
            fs::create_dir(root.join("both")).unwrap();
            fs::write(root.join("both/same"), "same").unwrap();
            fs::write(root.join("both/content"), "2").unwrap();
            fs::write(root.join("both/size"), "12").unwrap();
            fs::write(root.join("mode"), "").unwrap();
            fs::set_permissions(root.join("mode"), fs::Permissions::from_mode(0o755)).unwrap();
            fs::write(root.join("new"), "").unwrap();
            fs::create_dir(root.join("kind")).unwrap();
            symlink("b", root.join("link")).unwrap();
        });
        expect_test::expect![[r#"
            both/content: different content
            both/size: different content
            gone: only in the first
            kind: of different kinds
            link: symlinks to different targets
            mode: executable in one only
            new: only in the second"#]]
        .assert_eq(&shown(first.path(), second.path(), &Counterparts::default()));
        assert_eq!(shown(first.path(), first.path(), &Counterparts::default()), "");
    }

    #[test]
    fn the_first_difference_that_is_not_allowed_is_the_last_looked_at() {
        let first = tree(|root| {
            for name in ["a", "b", "c"] {
                fs::write(root.join(name), "1").unwrap();
            }
        });
        let second = tree(|root| fs::hard_link(first.path().join("b"), root.join("b")).unwrap());
        let mut seen = 0;
        let mut allow = |most: u32| {
            seen = 0;
            let mut allowed = |_| {
                seen += 1;
                Ok(seen <= most)
            };
            let none = Counterparts::default();
            (differ_only(first.path(), second.path(), &none, &mut allowed).unwrap(), seen)
        };
        assert_eq!(allow(0), (false, 1));
        assert_eq!(allow(1), (false, 2));
        assert_eq!(allow(2), (true, 2));
    }

    #[test]
    fn an_output_may_name_itself() {
        let a: StorePath = "00000000000000000000000000000000-x".parse().unwrap();
        let b: StorePath = "11111111111111111111111111111111-x".parse().unwrap();
        let build = |own: &StorePath| {
            tree(|root| {
                fs::write(root.join("file"), format!("prefix /nix/store/{own}/bin {own}")).unwrap();
                fs::write(root.join(format!("named-{own}")), own.to_string()).unwrap();
                symlink(format!("/nix/store/{own}"), root.join("link")).unwrap();
            })
        };
        let (first, second) = (build(&a), build(&b));
        let counterparts = Counterparts::new([(&a, &b)]);
        assert_eq!(shown(first.path(), second.path(), &counterparts), "");
        assert_ne!(shown(first.path(), second.path(), &Counterparts::default()), "");
    }

    #[test]
    fn long_files_are_compared_to_the_end() {
        let write = |last: u8| {
            tree(|root| {
                let mut bytes = vec![7; 200_000];
                bytes.push(last);
                fs::write(root.join("long"), bytes).unwrap();
            })
        };
        let (first, second) = (write(1), write(2));
        let found = shown(first.path(), second.path(), &Counterparts::default());
        assert_eq!(found, "long: different content");
    }
}
