//! Tests of reading a commit's files without a checkout.

use std::path::{Path, PathBuf};

use levain_store::nar;
use levain_store::tree::{self, NodeKind, Tree};

use crate::git::fixture::{
    Fixture, commit, commit_oddities, commit_submodule, executable, git, open, program,
};

/// Checks the head of a work tree out somewhere else, without what belongs to git.
fn checked_out(fixture: &Fixture, at: &Path) -> PathBuf {
    let target = fixture.path("copy");
    let arguments = ["clone", "-q", at.to_str().unwrap(), target.to_str().unwrap()];
    assert!(program("git", at).args(arguments).status().unwrap().success());
    std::fs::remove_dir_all(target.join(".git")).unwrap();
    target
}

#[test]
fn a_commit_has_the_hash_of_its_checkout() {
    let fixture = Fixture::new();
    let path = fixture.empty("r");
    commit_oddities(&path);
    // Git's order of these is not that of a NAR.
    executable(&path.join("a/x"), "1");
    let id = commit(&path, &[("a.b", "2"), ("a-b", "3"), ("a0", "4")], "names");
    let files = open(&path).tree(id).unwrap();
    let (expected, _) = nar::hash(&checked_out(&fixture, &path)).unwrap();
    assert_eq!(tree::hash(&files, b"").unwrap(), expected);
    let (part, _) = nar::hash(&path.join("bin")).unwrap();
    assert_eq!(tree::hash(&files, b"bin").unwrap(), part);
}

#[test]
fn files_are_found_by_their_paths() {
    let fixture = Fixture::new();
    let path = fixture.empty("r");
    let id = commit_oddities(&path);
    let files = open(&path).tree(id).unwrap();
    let kind = |path: &str| files.node(path.as_bytes()).unwrap().map(|node| node.kind);
    assert_eq!(kind(""), Some(NodeKind::Directory));
    assert_eq!(kind("bin/link"), Some(NodeKind::Symlink));
    assert_eq!(kind("deep/er"), Some(NodeKind::Directory));
    assert_eq!(kind("plain/below"), None);
    assert_eq!(kind("missing/below"), None);
    assert!(files.node(b"bin/run").unwrap().unwrap().executable);
    assert_eq!(files.read(b"bin/link").unwrap(), b"../plain");
    assert_eq!(files.read(b"caf\xc3\xa9").unwrap_err().kind(), std::io::ErrorKind::NotFound);
    assert_eq!(files.read(b"latin\xe9/caf\xe9").unwrap(), b"3");
    for directory in ["", "bin"] {
        let error = files.read(directory.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::IsADirectory, "`{directory}`");
    }
    assert!(files.entries(b"plain").is_err() && files.entries(b"missing").is_err());
}

#[test]
fn attributes_change_nothing() {
    let fixture = Fixture::new();
    let path = fixture.empty("r");
    let attributes = "sub/* export-ignore\nversion export-subst\n*.txt text eol=crlf\n";
    let id = commit(
        &path,
        &[
            (".gitattributes", attributes),
            ("sub/a", "1"),
            ("version", "$Format:%H$\n"),
            ("b.txt", "x\n"),
        ],
        "attributes",
    );
    let files = open(&path).tree(id).unwrap();
    assert_eq!(files.read(b"version").unwrap(), b"$Format:%H$\n");
    assert_eq!(files.read(b"b.txt").unwrap(), b"x\n");
    assert_eq!(files.read(b"sub/a").unwrap(), b"1");
    assert!(files.mentions_attribute("export-ignore").unwrap());
    assert!(!files.mentions_attribute("export-nothing").unwrap());
}

#[test]
fn a_submodule_is_an_empty_directory() {
    let fixture = Fixture::new();
    let path = fixture.empty("r");
    commit(&path, &[("a", "1")], "first");
    let id = commit_submodule(&path, "sub/module");
    let files = open(&path).tree(id).unwrap();
    assert_eq!(files.entries(b"sub").unwrap(), [(b"module".to_vec(), NodeKind::Directory)]);
    assert_eq!(files.entries(b"sub/module").unwrap(), []);
    assert_eq!(files.node(b"sub/module/x").unwrap(), None);
    let copy = checked_out(&fixture, &path);
    assert!(copy.join("sub/module").is_dir());
    assert_eq!(tree::hash(&files, b"").unwrap(), nar::hash(&copy).unwrap().0);
}

#[test]
fn a_tree_outlives_what_moves_away() {
    let fixture = Fixture::new();
    let (path, id) = fixture.small("r");
    let files = open(&path).tree(id).unwrap();
    commit(&path, &[("a", "two")], "second");
    git(&path, &["rm", "-q", "a"]);
    assert_eq!(files.read(b"a").unwrap(), b"one");
}

#[test]
fn changes_to_tracked_files_are_seen() {
    let fixture = Fixture::new();
    let (path, id) = fixture.small("r");
    std::fs::write(path.join("new"), "").unwrap();
    let repository = open(&path);
    assert_eq!(repository.head().unwrap(), id);
    assert!(!repository.has_changes().unwrap(), "a file that git does not know is no change");
    std::fs::write(path.join("a"), "changed").unwrap();
    assert!(repository.has_changes().unwrap());
    git(&path, &["add", "a"]);
    assert!(open(&path).has_changes().unwrap());
    git(&path, &["checkout", "-q", "--detach", "-f"]);
    assert_eq!(open(&path).head().unwrap(), id);
    assert!(open(&fixture.empty("e")).head().is_err());
}
