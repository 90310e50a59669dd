//! What is kept comes back as it was, and the same state gives the same bytes.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use crate::fixture::{Builds, Snapshot, set_time, snapshot, tree};

#[test]
fn every_kind_of_file_comes_back_as_it_was() {
    let builds = Builds::new();
    let sources = tree(&[("src/a.c", "a"), ("Makefile", "all:")]);
    builds.unpack(&sources);
    builds.restore_nothing();
    let long = format!("out/{}/{}", "d".repeat(120), "f".repeat(200));
    let odd = "out/a b\tc\\d\n\u{e4}";
    builds.outputs(&[("out/plain", "1"), ("out/empty", ""), ("out/sub/x", "x"), (odd, "odd")], 500);
    builds.outputs(&[(&long, "long"), ("out/ro", "ro"), ("out/prog", "#!")], 400);
    fs::create_dir(builds.at("out/nothing")).unwrap();
    fs::set_permissions(builds.at("out/ro"), fs::Permissions::from_mode(0o444)).unwrap();
    fs::set_permissions(builds.at("out/prog"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("plain", builds.at("out/link")).unwrap();
    symlink("missing", builds.at("out/dangling")).unwrap();
    symlink("../src/a.c", builds.at("out/sub/source")).unwrap();
    fs::hard_link(builds.at("out/prog"), builds.at("out/same")).unwrap();
    fs::set_permissions(builds.at("out/sub"), fs::Permissions::from_mode(0o555)).unwrap();
    filetime::set_symlink_file_times(
        builds.at("out/plain"),
        filetime::FileTime::zero(),
        filetime::FileTime::from_unix_time(1_600_000_000, 123_456_789),
    )
    .unwrap();
    for place in ["out/link", "out/dangling", "out/sub/source", "out/sub", "out/nothing", "out"] {
        set_time(&builds.at(place), 1_500_000_000);
    }
    let before = snapshot(&builds.at("out"));
    builds.persist(1, &["out", "--origin", "commit=abc"]).has("persisted s: 11 files, 0.0 MB");

    builds.unpack(&sources);
    let said = builds.restore(1, &[]);
    let said =
        said.has("restored s: 11 files, 0.0 MB; sources 2 unchanged, 0 changed, 0 new, 0 gone;");
    assert!(said.out.ends_with(" s; from commit=abc\n"), "{said:?}");
    assert_eq!(snapshot(&builds.at("out")), before);
    let inode = |path: &str| builds.at(path).symlink_metadata().unwrap().ino();
    assert_eq!(inode("out/prog"), inode("out/same"));
    let left: Vec<_> =
        fs::read_dir(builds.tree()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn the_same_state_gives_the_same_bytes() {
    let builds = Builds::new();
    let sources = tree(&[("src/a.c", "a")]);
    builds.unpack(&sources);
    builds.restore_nothing();
    for number in 0..40 {
        builds.outputs(&[(&format!("out/{number}/o"), &"text ".repeat(number * 100))], 300);
    }
    builds.persist(1, &["out"]).has("persisted");
    builds.persist(2, &["out"]).has("persisted");
    assert_same(&builds, 1, 2);
    // Written again over itself.
    builds.persist(2, &["out"]).has("persisted");
    assert_same(&builds, 1, 2);

    builds.unpack(&sources);
    builds.restore(1, &[]).has("restored");
    builds.persist(3, &["out"]).has("0.0 MB taken over");
    assert_same(&builds, 1, 3);
}

#[track_caller]
fn assert_same(builds: &Builds, one: u32, other: u32) {
    let content = |number| {
        let all = snapshot(&builds.cache(number)).into_iter();
        all.map(|(path, (mode, _, content))| (path, mode, content)).collect::<Vec<_>>()
    };
    assert_eq!(content(one), content(other));
}

#[test]
fn unchanged_parts_are_taken_over() {
    let builds = Builds::new();
    let sources = tree(&[("a", "a")]);
    builds.unpack(&sources);
    builds.restore_nothing();
    let mut state: u32 = 1;
    let mut noise = |bytes: usize| -> String {
        let mut text = String::new();
        while text.len() < bytes {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            text.push_str(&state.to_string());
        }
        text
    };
    let (one, other) = (noise(5 << 20), noise(5 << 20));
    builds.outputs(&[("out/1", &one), ("out/2", &other), ("out/3", "small")], 300);
    builds.persist(1, &["out"]).has(" 0.0 MB taken over");
    builds.unpack(&sources);
    builds.restore(1, &[]).has("restored");
    builds.outputs(&[("out/2", &noise(5 << 20))], 100);
    let said = builds.persist(2, &["out"]).has("persisted");
    assert!(!said.out.contains(" 0.0 MB taken over"), "{said:?}");
    let after = snapshot(&builds.at("out"));
    builds.unpack(&sources);
    builds.restore(2, &["--strict"]).has("restored");
    let content = |all: &Snapshot| {
        all.iter()
            .map(|(path, (mode, _, content))| (path.clone(), *mode, content.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(content(&snapshot(&builds.at("out"))), content(&after));

    // Another level makes other bytes, so nothing is taken over.
    builds.persist(3, &["out", "--level", "1"]).has(" 0.0 MB taken over");
}

#[test]
fn sets_are_independent() {
    let builds = Builds::new();
    let sources = tree(&[("src/a", "a")]);
    builds.unpack(&sources);
    builds.call(&["restore", "one"]).has("not restored one");
    builds.outputs(&[("out/x", "x"), ("pkg/y", "y")], 300);
    builds.call(&["restore", "two"]).has("not restored two");
    let to = builds.cache(1).display().to_string();
    builds.call(&["persist", "one", "out", "--to", &to]).has("persisted one: 1 file");
    builds
        .call(&["persist", "two", "--to", &to, "pkg", "--exclude", "nothing"])
        .has("persisted two: 0 files");

    builds.unpack(&sources);
    builds.call(&["restore", "one", "--from", &to]).has("1 unchanged, 0 changed, 0 new, 0 gone");
    // What the first set brought back is no source of the second.
    builds.call(&["restore", "three", "--from", &to]).has("has no such set");
    let after = snapshot(&builds.tree());
    assert!(after.contains_key("out/x") && !after.contains_key("pkg/y"));
    builds.call(&["persist", "three", "out", "--to", &to]).has("persisted three: 1 file");
    builds.unpack(&sources);
    builds.call(&["restore", "one", "--from", &to]).has("restored one: 1 file");
    builds.call(&["restore", "three", "--from", &to]).has("restored three: 1 file");
}

#[test]
fn the_whole_tree_without_its_sources() {
    let builds = Builds::new();
    let sources = tree(&[("src/a.c", "a"), ("doc/b", "b")]);
    builds.unpack(&sources);
    builds.restore_nothing();
    builds.outputs(&[("src/a.o", "o"), ("prog", "p"), ("gen/deep/h", "h")], 300);
    builds.persist(1, &["."]).has("persisted s: 3 files");
    builds.unpack(&sources);
    builds.restore(1, &[]).has("restored s: 3 files");
    assert_eq!(builds.read("src/a.o"), "o");
    assert_eq!(builds.read("src/a.c"), "a");

    // A source now stands where an output was: the source wins and counts as new.
    let mut sources = sources;
    sources.extend(tree(&[("prog", "checked in")]));
    builds.unpack(&sources);
    builds
        .restore(1, &[])
        .has("restored s: 2 files, 0.0 MB; sources 2 unchanged, 0 changed, 1 new");
    assert_eq!(builds.read("prog"), "checked in");
}

#[test]
fn what_the_tool_never_finished_to_move_is_cleared_away() {
    let builds = Builds::new();
    let sources = tree(&[("a", "a")]);
    builds.unpack(&sources);
    builds.restore_nothing();
    builds.outputs(&[("out/x", "x")], 300);
    builds.persist(1, &["out"]).has("persisted");
    builds.unpack(&sources);
    builds.outputs(&[(".levain-cache.s.partial/new/out/x", "half")], 0);
    builds.restore(1, &[]).has("restored s: 1 file");
    assert!(!builds.at(".levain-cache.s.partial").exists());
}
