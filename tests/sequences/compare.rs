//! Compares two outputs, file by file.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// What counts of a file.
#[derive(PartialEq)]
enum Content {
    Directory,
    File { bytes: Vec<u8>, executable: bool },
    Link(PathBuf),
}

/// Returns one line per file in which two directories differ.
pub(crate) fn differences(incremental: &Path, clean: &Path) -> Vec<String> {
    let (incremental, mut clean) = (contents(incremental), contents(clean));
    let mut found = Vec::new();
    for (path, content) in incremental {
        match clean.remove(&path) {
            None => found.push(format!("{}: only in the incremental build", path.display())),
            Some(other) if other != content => {
                found.push(format!("{}: differs from the clean build", path.display()));
            }
            Some(_) => {}
        }
    }
    let only = |path: PathBuf| format!("{}: only in the clean build", path.display());
    found.extend(clean.into_keys().map(only));
    found
}

fn contents(root: &Path) -> BTreeMap<PathBuf, Content> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(place) = open.pop() {
        let metadata = place.symlink_metadata().unwrap();
        let content = if metadata.is_dir() {
            open.extend(fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()));
            Content::Directory
        } else if metadata.is_symlink() {
            Content::Link(fs::read_link(&place).unwrap())
        } else {
            let executable = metadata.permissions().mode() & 0o111 != 0;
            Content::File { bytes: fs::read(&place).unwrap(), executable }
        };
        found.insert(place.strip_prefix(root).unwrap().to_owned(), content);
    }
    found
}

#[test]
fn every_difference_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    for (side, text, only) in [(&a, "1", "x"), (&b, "2", "y")] {
        fs::create_dir_all(side.join("sub")).unwrap();
        fs::write(side.join("same"), "same").unwrap();
        fs::write(side.join("sub/text"), text).unwrap();
        fs::write(side.join(only), "").unwrap();
        fs::write(side.join("mode"), "").unwrap();
        std::os::unix::fs::symlink(text, side.join("link")).unwrap();
    }
    fs::set_permissions(b.join("mode"), fs::Permissions::from_mode(0o755)).unwrap();
    let expected = [
        "link: differs from the clean build",
        "mode: differs from the clean build",
        "sub/text: differs from the clean build",
        "x: only in the incremental build",
        "y: only in the clean build",
    ];
    assert_eq!(differences(&a, &b), expected);
    assert_eq!(differences(&a, &a), [""; 0]);
}
