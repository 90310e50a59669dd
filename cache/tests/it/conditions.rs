//! When a set may be used: definitions, keys, places, gone sources, and what stands in the way.

use std::fs;
use std::os::unix::fs::symlink;

use crate::fixture::{Builds, Node, Tree, snapshot, tree};

fn sources() -> Tree {
    tree(&[("Makefile", "all:"), ("rules/c.mk", "r"), ("src/a.ts", "a"), ("src/deep/b.ts", "b")])
}

fn first(builds: &Builds, options: &[&str]) {
    builds.unpack(&sources());
    builds.restore_nothing();
    builds.outputs(&[("dist/a.js", "A"), ("dist/a.d.ts", "A"), ("dist/deep/b.js", "B")], 300);
    builds.persist(1, &[&["dist"], options].concat()).has("persisted s: 3 files");
}

/// Checks that the set was refused for that reason, and that nothing was touched.
#[track_caller]
fn refused(builds: &Builds, options: &[&str], reason: &str) {
    let before = snapshot(&builds.tree());
    builds.restore(1, options).has(&format!("not restored s: {reason}")).has("; clean build; ");
    assert_eq!(snapshot(&builds.tree()), before);
}

#[test]
fn definition_files() {
    let builds = Builds::new();
    first(&builds, &[]);
    let options = ["--definition", "Makefile", "--definition", "*.mk"];
    builds.unpack(&sources());
    builds.restore(1, &options).has("restored s: 3 files");

    let mut changed = sources();
    changed.insert("rules/c.mk".into(), Node::File("R".into()));
    builds.unpack(&changed);
    refused(&builds, &options, "the definition file `rules/c.mk` is changed");
    changed = sources();
    changed.remove("Makefile");
    builds.unpack(&changed);
    refused(&builds, &options, "the definition file `Makefile` is gone");
    changed = sources();
    changed.insert("sub/x.mk".into(), Node::File("R".into()));
    builds.unpack(&changed);
    refused(&builds, &options, "the definition file `sub/x.mk` is new");
    builds.restore(1, &[]).has("restored s: 3 files");
}

#[test]
fn a_definition_file_that_the_tool_changes_each_time() {
    let builds = Builds::new();
    let options = ["--definition", "Makefile"];
    builds.unpack(&sources());
    builds.restore_nothing();
    std::fs::write(builds.at("Makefile"), "changed by the tool").unwrap();
    builds.outputs(&[("out/a", "made")], 300);
    builds.persist(1, &["out"]).has("persisted");
    builds.unpack(&sources());
    builds.restore(1, &options).has("restored s: 1 file").has(" 1 changed,");
    // Whatever depends on it is made again.
    assert!(builds.time("Makefile") > builds.time("out/a"));

    let mut changed = sources();
    changed.insert("Makefile".into(), Node::File("another".into()));
    builds.unpack(&changed);
    refused(&builds, &options, "the definition file `Makefile` is changed");
}

#[test]
fn keys() {
    let builds = Builds::new();
    first(&builds, &["--key", "gcc-12"]);
    builds.unpack(&sources());
    refused(
        &builds,
        &["--key", "gcc-13"],
        "it was made with key `gcc-12`, this build has `gcc-13`",
    );
    refused(&builds, &[], "it was made with key `gcc-12`, this build has ``");
    builds.restore(1, &["--key", "gcc-12"]).has("restored s");
}

#[test]
fn another_place() {
    let builds = Builds::new();
    first(&builds, &[]);
    builds.unpack(&sources());
    let moved = builds.top().join("moved");
    fs::create_dir(&moved).unwrap();
    for name in ["Makefile", "rules", "src"] {
        fs::rename(builds.at(name), moved.join(name)).unwrap();
    }
    let moved_text = moved.display().to_string();
    let place = ["--source", &moved_text, "--into", &moved_text];
    builds.restore(1, &place).has("not restored s: it was made in").has("--relocatable");
    assert!(!moved.join("dist").exists());
    builds.restore(1, &[&place[..], &["--relocatable"]].concat()).has("4 unchanged, 0 changed");
    assert_eq!(fs::read_to_string(moved.join("dist/a.js")).unwrap(), "A");
}

#[test]
fn outputs_apart_from_the_sources() {
    let builds = Builds::new();
    builds.unpack(&sources());
    let apart = builds.top().join("apart").display().to_string();
    let options = ["--into", apart.as_str()];
    builds.call(&["restore", "s", "--into", &apart]).has("clean build");
    builds.outputs(&[("../apart/reg/x", "x")], 300);
    builds.persist(1, &[&["reg"][..], &options].concat()).has("persisted s: 1 file");
    builds.unpack(&sources());
    builds.restore(1, &options).has("restored s: 1 file, 0.0 MB; sources 4 unchanged");
    assert_eq!(builds.read("../apart/reg/x"), "x");
}

#[test]
fn sources_that_are_gone() {
    let builds = Builds::new();
    first(&builds, &[]);
    let mut fewer = sources();
    fewer.remove("src/deep/b.ts");
    builds.unpack(&fewer);
    refused(&builds, &["--gone", "drop"], "the source `src/deep/b.ts` is gone; clean build");
    builds.restore(1, &["--gone", "drop", "--gone-match", "*.c"]).has("restored s: 3 files");

    builds.unpack(&fewer);
    let patterns =
        ["--gone", "outputs", "--gone-outputs", "src/{dir}/{stem}.ts=dist/{dir}/{stem}.js"];
    builds
        .restore(1, &patterns)
        .has("restored s: 2 files")
        .has("3 unchanged, 0 changed, 0 new, 1 gone");
    assert!(!builds.at("dist/deep/b.js").exists());
    assert!(builds.at("dist/deep").exists());
    assert!(builds.time("dist/deep") > builds.time("dist/a.js"), "its list of names changed");

    builds.unpack(&sources());
    builds.restore(1, &["--gone", "drop"]).has("restored s: 3 files");
}

#[test]
fn a_gone_output_leaves_its_other_names() {
    let builds = Builds::new();
    builds.unpack(&sources());
    builds.restore_nothing();
    builds.outputs(&[("dist/a.js", "A")], 300);
    fs::hard_link(builds.at("dist/a.js"), builds.at("dist/b.js")).unwrap();
    builds.persist(1, &["dist"]).has("2 files");
    let mut fewer = sources();
    fewer.remove("src/a.ts");
    builds.unpack(&fewer);
    builds.restore(1, &["--gone", "outputs", "--gone-outputs", "dist/{stem}.js"]).has("1 file");
    assert!(!builds.at("dist/a.js").exists());
    assert_eq!(builds.read("dist/b.js"), "A");
}

#[test]
fn what_stands_there_already() {
    let builds = Builds::new();
    first(&builds, &[]);
    // A link where a directory belongs would lead the files elsewhere.
    let mut sources = sources();
    sources.insert("dist".into(), Node::Link("src".into()));
    builds.unpack(&sources);
    refused(&builds, &[], "a symbolic link is in the way at `dist`");
    assert!(!builds.at("src/a.js").exists());
    sources.insert("dist".into(), Node::File("a file".into()));
    builds.unpack(&sources);
    refused(&builds, &[], "a file is in the way at `dist`");
    sources.remove("dist");
    sources.insert("dist/a.js/x".into(), Node::File("deeper".into()));
    builds.unpack(&sources);
    refused(&builds, &[], "a directory is in the way at `dist/a.js`");
}

#[test]
fn a_link_where_a_file_belongs_is_replaced_not_followed() {
    let builds = Builds::new();
    builds.unpack(&sources());
    let apart = builds.top().join("apart");
    let apart_text = apart.display().to_string();
    builds.call(&["restore", "s", "--into", &apart_text]).has("clean build");
    builds.outputs(&[("../apart/x", "kept")], 300);
    builds.persist(1, &["x", "--into", &apart_text]).has("1 file");
    builds.unpack(&sources());
    fs::create_dir(&apart).unwrap();
    let victim = builds.root().join("victim");
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, apart.join("x")).unwrap();
    builds.restore(1, &["--into", &apart_text]).has("restored s: 1 file");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert!(apart.join("x").symlink_metadata().unwrap().is_file());
}

#[test]
fn what_the_set_does_not_have() {
    let builds = Builds::new();
    first(&builds, &[]);
    builds.unpack(&sources());
    builds.outputs(&[("dist/stale.js", "stale"), ("dist/old/x", "x"), ("dist/a.js", "stale")], 0);
    builds
        .restore(1, &["--sync"])
        .has("restored s: 3 files, 0.0 MB; sources 4 unchanged, 0 changed, 0 new");
    assert_eq!(builds.read("dist/a.js"), "A");
    assert!(!builds.at("dist/stale.js").exists() && !builds.at("dist/old").exists());

    builds.unpack(&sources());
    builds.outputs(&[("dist/stale.js", "stale")], 0);
    builds
        .restore(1, &[])
        .has("restored s: 3 files, 0.0 MB; sources 4 unchanged, 0 changed, 1 new");
    assert_eq!(builds.read("dist/stale.js"), "stale");
}

#[test]
fn excluded_paths_are_left_alone() {
    let builds = Builds::new();
    let mut sources = sources();
    sources.insert("cache.nix".into(), Node::File("null".into()));
    builds.unpack(&sources);
    builds.call(&["restore", "s", "--exclude", "/cache.nix"]).has("clean build");
    builds.outputs(&[("dist/a.js", "A"), ("dist/tmp/x", "x")], 300);
    builds.persist(1, &["dist", "--exclude", "dist/tmp"]).has("1 file");
    sources.insert("cache.nix".into(), Node::File("\"other\"".into()));
    builds.unpack(&sources);
    builds.restore(1, &["--exclude", "cache.nix"]).has("4 unchanged, 0 changed, 0 new, 0 gone");
    assert_eq!(builds.time("cache.nix"), 1_000_000_000);
}

#[test]
fn a_link_to_another_directory_may_take_sources_away() {
    let link = |target: &str| {
        let mut sources = sources();
        sources.insert("src/place".into(), Node::Link(target.into()));
        sources
    };
    let builds = Builds::new();
    builds.unpack(&link("deep"));
    builds.restore_nothing();
    builds.outputs(&[("dist/place/b.js", "B")], 300);
    builds.persist(1, &["dist"]).has("1 file");
    let patterns =
        ["--gone", "outputs", "--gone-outputs", "src/{dir}/{stem}.ts=dist/{dir}/{stem}.js"];
    let reason = "the link `src/place` to a directory is changed, new or gone";

    builds.unpack(&link("../rules"));
    refused(&builds, &["--gone", "drop"], reason);
    refused(&builds, &patterns, reason);
    builds.restore(1, &[]).has("restored s: 1 file");
    builds.unpack(&sources());
    refused(&builds, &patterns, reason);
    builds.unpack(&link("a.ts"));
    refused(&builds, &patterns, reason);
    builds.unpack(&link("deep"));
    builds.restore(1, &patterns).has("restored s: 1 file");
}
