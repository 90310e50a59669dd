//! Which times sources get: the old one if nothing changed, and else one later than everything.

use std::fs;

use crate::fixture::{Builds, Node, Tree, now, set_all, set_time, snapshot, tree};

/// A build whose sources had their own times, with one output per source, an hour old.
fn first(builds: &Builds, sources: &Tree) {
    builds.unpack(sources);
    set_all(&builds.tree(), now() - 5000);
    builds.restore_nothing();
    builds.outputs(&[("out/x", "x"), ("out/y", "y")], 3600);
    // Directories too, or the whole set would be too close to the next build's clock.
    set_time(&builds.at("out"), now() - 3600);
    set_time(&builds.tree(), now() - 3600);
    builds.persist(1, &["out"]).has("persisted");
}

fn sources() -> Tree {
    tree(&[("src/a", "one"), ("src/b", "two"), ("lib/c", "three"), ("lib/d", "four")])
}

/// Says which of the sources are newer than everything restored.
#[track_caller]
fn newer(builds: &Builds, sources: &Tree) -> Vec<String> {
    let newest = builds.time("out/x").max(builds.time("out/y"));
    let mut newer = Vec::new();
    for path in sources.keys() {
        let time = builds.time(path);
        if time > newest {
            assert!(time - newest >= 1_000_000_000, "`{path}` is too close to the outputs");
            newer.push(path.clone());
        }
    }
    newer
}

#[track_caller]
fn after(change: impl FnOnce(&mut Tree), counts: &str, expected: &[&str]) {
    let builds = Builds::new();
    let mut sources = sources();
    first(&builds, &sources);
    let old = builds.time("src/a");
    change(&mut sources);
    builds.unpack(&sources);
    builds.restore(1, &[]).has(counts);
    assert_eq!(newer(&builds, &sources), expected);
    for path in sources.keys().filter(|path| !expected.contains(&path.as_str())) {
        assert_eq!(builds.time(path), old, "`{path}`");
    }
}

fn file(text: &str) -> Node {
    Node::File(text.to_owned())
}

#[test]
fn nothing_changed() {
    after(|_| {}, "4 unchanged, 0 changed, 0 new, 0 gone", &[]);
}

#[test]
fn an_edit_of_the_same_size() {
    let change = |sources: &mut Tree| drop(sources.insert("src/a".into(), file("ONE")));
    after(change, "3 unchanged, 1 changed, 0 new, 0 gone", &["src/a"]);
}

#[test]
fn contents_swapped() {
    let change = |sources: &mut Tree| {
        sources.insert("src/a".into(), file("two"));
        sources.insert("src/b".into(), file("one"));
    };
    after(change, "2 unchanged, 2 changed", &["src/a", "src/b"]);
}

#[test]
fn a_source_renamed() {
    let change = |sources: &mut Tree| {
        let content = sources.remove("src/a").unwrap();
        sources.insert("src/z".into(), content);
    };
    after(change, "3 unchanged, 0 changed, 1 new, 1 gone", &["src/z"]);
}

#[test]
fn a_mode_changed() {
    let change = |sources: &mut Tree| {
        sources.insert("src/a".into(), Node::Program("one".into()));
    };
    after(change, "3 unchanged, 1 changed", &["src/a"]);
}

#[test]
fn a_file_that_became_a_link() {
    let change = |sources: &mut Tree| {
        sources.insert("src/a".into(), Node::Link("b".into()));
    };
    after(change, "3 unchanged, 1 changed", &["src/a", "src/b"]);
}

#[test]
fn reverted_to_an_older_content() {
    let builds = Builds::new();
    let old = sources();
    first(&builds, &old);
    let mut sources = old.clone();
    sources.insert("src/a".into(), file("other"));
    builds.unpack(&sources);
    builds.restore(1, &[]).has("1 changed");
    builds.outputs(&[("out/x", "X")], 0);
    builds.persist(2, &["out"]).has("persisted");
    builds.unpack(&old);
    builds.restore(2, &[]).has("3 unchanged, 1 changed");
    assert_eq!(newer(&builds, &old), ["src/a"]);
}

#[test]
fn directories_follow_what_they_list() {
    let builds = Builds::new();
    let mut sources = sources();
    first(&builds, &sources);
    let old = builds.time("src");
    sources.insert("src/new".into(), file(""));
    builds.unpack(&sources);
    builds.restore(1, &[]).has("1 new");
    assert_eq!(builds.time("lib"), old);
    assert!(builds.time("src") > builds.time("out/x"));
}

#[test]
fn a_link_flipped_touches_both_targets() {
    let builds = Builds::new();
    let mut sources = tree(&[("a/x", "1"), ("b/x", "2"), ("c/x", "3"), ("f", "4"), ("g", "5")]);
    sources.insert("dir".into(), Node::Link("a".into()));
    sources.insert("file".into(), Node::Link("f".into()));
    sources.insert("chain".into(), Node::Link("dir/x".into()));
    first(&builds, &sources);
    sources.insert("dir".into(), Node::Link("b".into()));
    sources.insert("file".into(), Node::Link("g".into()));
    builds.unpack(&sources);
    builds.restore(1, &[]).has("6 unchanged, 2 changed");
    assert_eq!(newer(&builds, &sources), ["a/x", "b/x", "dir", "f", "file", "g"]);
}

#[test]
fn a_directory_that_became_a_link() {
    let builds = Builds::new();
    let mut sources = tree(&[("dir/x", "1"), ("other/x", "2")]);
    first(&builds, &sources);
    sources.remove("dir/x");
    sources.insert("dir".into(), Node::Link("other".into()));
    builds.unpack(&sources);
    builds.restore(1, &[]).has("1 unchanged, 1 changed, 0 new, 1 gone");
    assert_eq!(newer(&builds, &sources), ["dir", "other/x"]);
}

#[test]
fn a_link_flipped_out_of_the_sources_is_refused() {
    let builds = Builds::new();
    let mut sources = sources();
    sources.insert("link".into(), Node::Link("src/a".into()));
    first(&builds, &sources);
    sources.insert("link".into(), Node::Link("../elsewhere".into()));
    builds.unpack(&sources);
    builds.restore(1, &[]).has("the changed link `link` leads out of the sources");
    assert!(!builds.at("out").exists());
}

#[test]
fn a_source_that_the_tool_rewrote_counts_as_changed() {
    let builds = Builds::new();
    let sources = sources();
    builds.unpack(&sources);
    builds.restore_nothing();
    builds.outputs(&[("src/a", "patched"), ("out/x", "x"), ("out/y", "y")], 3600);
    fs::remove_file(builds.at("lib/d")).unwrap();
    builds.persist(1, &["out"]).has("persisted");
    builds.unpack(&sources);
    builds.restore(1, &[]).has("2 unchanged, 2 changed, 0 new, 0 gone");
    assert_eq!(newer(&builds, &sources), ["lib/d", "src/a"]);
}

#[test]
fn a_source_that_the_tool_only_touched_keeps_that_time() {
    let builds = Builds::new();
    let sources = sources();
    builds.unpack(&sources);
    builds.restore_nothing();
    set_time(&builds.at("src/a"), now() - 4000);
    builds.outputs(&[("out/x", "x"), ("out/y", "y")], 3600);
    let touched = builds.time("src/a");
    builds.persist(1, &["out"]).has("persisted");
    builds.unpack(&sources);
    builds.restore(1, &[]).has("4 unchanged");
    assert_eq!(builds.time("src/a"), touched);
    assert_eq!(builds.time("src/b"), 1_000_000_000);
}

#[test]
fn a_cache_from_a_clock_that_ran_ahead_is_refused() {
    for ahead in [3_600, 86_400] {
        let builds = Builds::new();
        let mut sources = sources();
        builds.unpack(&sources);
        builds.restore_nothing();
        builds.outputs(&[("out/x", "x")], -ahead);
        builds.persist(1, &["out"]).has("persisted");
        sources.insert("src/a".into(), file("new"));
        builds.unpack(&sources);
        let all = snapshot(&builds.tree());
        builds.restore(1, &[]).has("the clock is before the times of the files");
        assert_eq!(snapshot(&builds.tree()), all);
    }
}

#[test]
fn a_cache_made_just_now_moves_back() {
    let builds = Builds::new();
    let mut sources = sources();
    builds.unpack(&sources);
    set_all(&builds.tree(), now() - 500);
    set_time(&builds.at("lib/c"), 1);
    builds.restore_nothing();
    builds.outputs(&[("out/x", "x")], 300);
    builds.outputs(&[("out/y", "y")], 0);
    let distance = builds.time("out/y") - builds.time("out/x");
    let to_source = builds.time("out/x") - builds.time("src/b");
    builds.persist(1, &["out"]).has("persisted");
    sources.insert("src/a".into(), file("new"));
    builds.unpack(&sources);
    builds.restore(1, &[]).has("3 unchanged, 1 changed");
    assert_eq!(newer(&builds, &sources), ["src/a"]);
    let clock = i128::from(now() + 1) * 1_000_000_000;
    assert!(builds.time("src/a") <= clock, "nothing may lie in the future");
    assert_eq!(builds.time("out/y") - builds.time("out/x"), distance);
    assert_eq!(builds.time("out/x") - builds.time("src/b"), to_source);
    assert_eq!(builds.time("lib/c"), 1_000_000_000, "Nix's own time stays");
}

#[test]
fn a_second_set_never_moves_a_source_back() {
    let builds = Builds::new();
    let mut sources = sources();
    builds.unpack(&sources);
    set_all(&builds.tree(), now() - 5000);
    builds.call(&["restore", "one"]).has("clean build");
    builds.outputs(&[("out/x", "x"), ("out/y", "y")], 3600);
    let (old, new) = (builds.cache(1).display().to_string(), builds.cache(2).display().to_string());
    builds.call(&["persist", "one", "out", "--to", &old]).has("persisted one");
    // Another set, made from a later state of the sources.
    sources.insert("src/a".into(), file("later"));
    builds.unpack(&sources);
    builds.call(&["restore", "two"]).has("clean build");
    builds.outputs(&[("pkg/z", "z")], 600);
    builds.call(&["persist", "two", "pkg", "--to", &new]).has("persisted two");

    builds.unpack(&sources);
    builds.call(&["restore", "one", "--from", &old]).has("3 unchanged, 1 changed");
    builds.call(&["restore", "two", "--from", &new]).has("4 unchanged, 0 changed");
    assert_eq!(newer(&builds, &sources), ["src/a"]);
}
