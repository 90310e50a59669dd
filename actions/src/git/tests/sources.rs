//! Tests of telling which store paths are copies of a commit's files.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::git::fixture::{
    Fixture, commit, commit_oddities, commit_submodule, executable, git, open, program, write,
};
use crate::git::{CommitId, SourceIndex};
use crate::shadow::ShadowFiles;

struct Search {
    fixture: Fixture,
    commit: CommitId,
}

impl Search {
    fn new() -> Self {
        let fixture = Fixture::new();
        let path = fixture.empty("r");
        commit_oddities(&path);
        let commit = commit(
            &path,
            &[
                ("lib/sub/one", "1!"),
                ("lib/sub/two", "2!"),
                ("lib/other", "3!"),
                ("plain.copy", "plain"),
            ],
            "lib",
        );
        Self { fixture, commit }
    }

    /// Copies a part of the work tree, as Nix would into its store.
    fn copy(&self, from: &str, to: &str) -> PathBuf {
        let source = self.fixture.path("r").join(from);
        let target = self.fixture.path(&format!("hash-{to}"));
        let status = program("cp", &self.fixture.path(""))
            .arg("-RP")
            .arg(&source)
            .arg(&target)
            .status()
            .unwrap();
        assert!(status.success());
        if from.is_empty() {
            std::fs::remove_dir_all(target.join(".git")).unwrap();
        }
        target
    }

    fn find(&self, path: &Path) -> Option<String> {
        self.find_beside(path, &ShadowFiles::default())
    }

    fn find_beside(&self, path: &Path, ignore: &ShadowFiles) -> Option<String> {
        let repository = open(&self.fixture.path("r"));
        let mut index = SourceIndex::new(&repository, self.commit).unwrap();
        let found = index.find(path, ignore).unwrap();
        // Asking again gives the same answer, from what was read before.
        assert_eq!(index.find(path, ignore).unwrap(), found);
        found
    }
}

#[test]
fn copies_are_found() {
    let search = Search::new();
    let whole = search.copy("", "source");
    assert_eq!(search.find(&whole).as_deref(), Some(""));
    assert_eq!(search.find(&search.copy("lib", "lib")).as_deref(), Some("lib"));
    assert_eq!(search.find(&search.copy("lib/sub", "x")).as_deref(), Some("lib/sub"));
    assert_eq!(search.find(&search.copy("with blank", "y")).as_deref(), Some("with blank"));
    assert_eq!(search.find(&search.copy("bin", "bin")).as_deref(), Some("bin"));

    // Filtered: a subset, below the root or below a directory.
    std::fs::remove_file(whole.join("plain")).unwrap();
    std::fs::remove_dir_all(whole.join("bin")).unwrap();
    assert_eq!(search.find(&whole).as_deref(), Some(""));
    let filtered = search.copy("lib", "filtered");
    std::fs::remove_file(filtered.join("other")).unwrap();
    assert_eq!(search.find(&filtered).as_deref(), Some("lib"));
    // A directory whose files were all filtered out stays empty.
    for name in ["one", "two"] {
        std::fs::remove_file(filtered.join("sub").join(name)).unwrap();
    }
    assert_eq!(search.find(&filtered), None);
    write(&filtered.join("other"), "3!");
    assert_eq!(search.find(&filtered).as_deref(), Some("lib"));
    std::fs::create_dir(filtered.join("unknown")).unwrap();
    assert_eq!(search.find(&filtered), None);
}

#[test]
fn files_are_found_by_content() {
    let search = Search::new();
    assert_eq!(search.find(&search.copy("lib/other", "renamed")).as_deref(), Some("lib/other"));
    assert_eq!(search.find(&search.copy("bin/run", "run")).as_deref(), Some("bin/run"));
    // Of two equal files the one with the name of the store path.
    assert_eq!(search.find(&search.copy("plain", "plain")).as_deref(), Some("plain"));
    assert_eq!(
        search.find(&search.copy("plain.copy", "plain.copy")).as_deref(),
        Some("plain.copy")
    );
    assert_eq!(search.find(&search.copy("plain", "else")).as_deref(), Some("plain"));
    let changed = search.copy("lib/other", "changed");
    write(&changed, "3?");
    assert_eq!(search.find(&changed), None);
    // The executable bit counts.
    executable(&search.fixture.path("x"), "3!");
    assert_eq!(search.find(&search.fixture.path("x")), None);
    // A link is its target.
    symlink("nowhere", search.fixture.path("l")).unwrap();
    assert_eq!(search.find(&search.fixture.path("l")).as_deref(), Some("dangling"));
    symlink("elsewhere", search.fixture.path("m")).unwrap();
    assert_eq!(search.find(&search.fixture.path("m")), None);
}

#[test]
fn anything_else_is_no_copy() {
    let search = Search::new();
    let empty = search.fixture.path("empty");
    std::fs::create_dir_all(empty.join("lib/sub")).unwrap();
    assert_eq!(search.find(&empty), None);

    type Change = fn(&Path);
    let changes: [Change; 7] = [
        |at| write(&at.join("sub/one"), "1?"),
        |at| write(&at.join("sub/one"), "longer"),
        |at| write(&at.join("sub/three"), "1!"),
        |at| write(&at.join("two"), "2!"),
        |at| executable(&at.join("sub/one"), "1!"),
        |at| {
            std::fs::remove_file(at.join("other")).unwrap();
            symlink("3!", at.join("other")).unwrap();
        },
        |at| {
            std::fs::remove_file(at.join("other")).unwrap();
            std::fs::create_dir(at.join("other")).unwrap();
        },
    ];
    for (number, change) in changes.iter().enumerate() {
        let copy = search.copy("lib", &format!("changed{number}"));
        change(&copy);
        assert_eq!(search.find(&copy), None, "change {number}");
    }
    let odd = search.copy("", "odd");
    write(&odd.join(OsStr::from_bytes(b"latin\xe9/caf\xe9")), "4");
    assert_eq!(search.find(&odd), None);
    assert!(
        SourceIndex::new(&open(&search.fixture.path("r")), search.commit)
            .unwrap()
            .find(&search.fixture.path("absent"), &ShadowFiles::default())
            .is_err()
    );
}

#[test]
fn the_shadows_own_files_do_not_count() {
    let search = Search::new();
    let whole = search.copy("", "source");
    write(&whole.join("cache.nix"), "{ a = 1; }");
    write(&whole.join("commit.txt"), "x");
    assert_eq!(search.find(&whole).as_deref(), Some(""));
    let lib = search.copy("lib", "lib");
    write(&lib.join("cache.nix"), "");
    assert_eq!(search.find(&lib), None);
    let files = ShadowFiles::new("lib/sub/one", "lib/cache.nix").unwrap();
    write(&lib.join("sub/one"), "other content");
    assert_eq!(search.find_beside(&lib, &files).as_deref(), Some("lib"));
    // Nothing but such files is a copy of nothing.
    let only = search.fixture.path("only");
    write(&only.join("cache.nix"), "null");
    assert_eq!(search.find(&only), None);
}

#[test]
fn submodules_are_passed_over() {
    let mut search = Search::new();
    let path = search.fixture.path("r");
    git(&path, &["reset", "-q", "--hard"]);
    search.commit = commit_submodule(&path, "lib/module");
    let lib = search.copy("lib", "lib");
    std::fs::create_dir_all(lib.join("module")).unwrap();
    assert_eq!(search.find(&lib).as_deref(), Some("lib"));
    write(&lib.join("module/its/own"), "content");
    assert_eq!(search.find(&lib).as_deref(), Some("lib"));
    write(&lib.join("modules"), "content");
    assert_eq!(search.find(&lib), None);
}
