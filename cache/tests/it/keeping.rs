//! What `persist` keeps, leaves out and refuses.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::fixture::{Builds, Tree, snapshot, tree};

fn sources() -> Tree {
    tree(&[("src/a", "a")])
}

fn started() -> Builds {
    let builds = Builds::new();
    builds.unpack(&sources());
    builds.restore_nothing();
    builds
}

#[test]
fn paths_that_are_not_there() {
    let builds = started();
    builds.outputs(&[("out/x", "x")], 300);
    builds.persist(1, &["out", "target"]).fails("`target` does not exist in");
    assert!(!builds.cache(1).exists());
    builds.persist(1, &["out", "target", "--optional"]).has("persisted s: 1 file");
    builds.persist(1, &["../tree/out"]).fails("is not in");
    builds.persist(1, &["/etc/passwd"]).fails("`/etc/passwd` is not in");
    let absolute = builds.at("out/x").display().to_string();
    builds.persist(1, &[&absolute]).has("persisted s: 1 file");
    builds.persist(1, &["./out/"]).has("persisted s: 1 file");
}

#[test]
fn things_that_cannot_be_kept() {
    let builds = started();
    builds.outputs(&[("out/x", "x")], 300);
    let socket = UnixListener::bind(builds.at("out/sock")).unwrap();
    builds.persist(1, &["out"]).fails("`out/sock` is a socket, which cannot be kept");
    builds.persist(1, &["out", "--exclude", "sock"]).has("persisted s: 1 file");
    drop(socket);
    fs::remove_file(builds.at("out/sock")).unwrap();
    symlink("/etc/passwd", builds.at("out/passwd")).unwrap();
    builds
        .persist(1, &["out"])
        .fails("the link `out/passwd` leads out of the tree, to `/etc/passwd`");
    builds.persist(2, &["out", "--outside-link", "/etc"]).has("persisted s: 2 files");
    builds.unpack(&sources());
    builds.restore(2, &[]).has("not restored s: the link `out/passwd` leads out of the tree");
    assert_eq!(builds.restore(2, &["--strict"]).code, 1);
    builds.restore(2, &["--outside-link", "/etc"]).has("restored s: 2 files");
}

#[test]
fn the_output_is_written_whole_or_not_at_all() {
    let builds = started();
    builds.outputs(&[("out/x", "x")], 300);
    builds.persist(1, &["out"]).has("persisted");
    let before = snapshot(&builds.cache(1));
    fs::remove_file(builds.at("out/x")).unwrap();
    symlink("/etc/passwd", builds.at("out/x")).unwrap();
    builds.persist(1, &["out"]).fails("leads out");
    assert_eq!(snapshot(&builds.cache(1)), before);
    fs::create_dir_all(builds.cache(2)).unwrap();
    fs::write(builds.cache(2).join("other"), "x").unwrap();
    builds.persist(2, &["src", "--exclude", "x"]).fails("exists and is no cache");
}

#[test]
fn the_output_named_cache_is_the_default() {
    let builds = started();
    builds.outputs(&[("out/x", "x")], 300);
    builds.call(&["persist", "s", "out"]).fails("no cache output to write to");
    builds.call_with(&["persist", "s", "out"], &[("cache", &builds.cache(1))]).has("persisted");
    assert!(builds.cache(1).join("levain-cache").exists());
}

#[test]
fn without_restore_the_sources_are_recorded_late() {
    let builds = Builds::new();
    builds.unpack(&sources());
    builds.outputs(&[("out/x", "x")], 300);
    builds.persist(1, &["out"]).has("; 1 source;").has("`restore` was not called");
    builds.unpack(&sources());
    builds.restore(1, &[]).has("1 unchanged, 0 changed, 0 new, 0 gone");
}

#[test]
fn both_commands_need_the_same_directories() {
    let builds = started();
    builds.outputs(&[("out/x", "x")], 300);
    let source = builds.at("src").display().to_string();
    builds.persist(1, &["out", "--source", &source]).fails("`restore` was given source");
}

fn references(builds: &Builds, number: u32) -> String {
    fs::read_to_string(builds.cache(number).join("s/references")).unwrap()
}

#[test]
fn store_paths_are_listed_for_nix() {
    let builds = started();
    let needed = builds.store().join(format!("{}-gcc", "g".repeat(32)));
    let linked = builds.store().join(format!("{}-lib", "h".repeat(32)));
    let output = builds.store().join(format!("{}-prog", "i".repeat(32)));
    let text = format!("rpath={}/lib;prefix={}", needed.display(), output.display());
    builds.outputs(&[("out/x", &text), ("out/y", "nothing")], 300);
    symlink(linked.join("a"), builds.at("out/link")).unwrap();
    let to = builds.cache(1).display().to_string();
    let variables: [(&str, &std::path::Path); 2] = [("outputs", "out".as_ref()), ("out", &output)];
    let allow = "--allow-own-paths";
    builds.call_with(&["persist", "s", "out", allow, "--to", &to], &variables).has("persisted");
    let listed = format!("{}\n{}\n", needed.display(), linked.display());
    assert_eq!(references(&builds, 1), listed);

    // Known again without reading the files.
    builds.unpack(&sources());
    let from = builds.cache(1).display().to_string();
    builds.call_with(&["restore", "s", allow, "--from", &from], &variables).has("restored");
    let to = builds.cache(2).display().to_string();
    builds.call_with(&["persist", "s", "out", allow, "--to", &to], &variables).has("persisted");
    assert_eq!(references(&builds, 2), listed);
}

#[test]
fn a_cache_never_refers_to_the_one_before() {
    let builds = started();
    builds.outputs(&[("out/x", "x")], 300);
    builds.persist(1, &["out"]).has("persisted");
    builds.unpack(&sources());
    builds.restore(1, &[]).has("restored");
    let before = builds.cache(1).display().to_string();
    let hash = "1".repeat(32);
    builds.outputs(&[("out/log", &format!("restored from {before}\n"))], 0);
    builds.persist(2, &["out"]).has("persisted");
    assert_eq!(references(&builds, 2), "");
    for (path, (_, _, content)) in snapshot(&builds.cache(2)) {
        let found = content.windows(32).any(|window| window == hash.as_bytes());
        assert!(!found && !path.contains(&hash), "`{path}` mentions the cache before");
    }
}

#[test]
fn if_allowed_what_names_an_output_names_this_builds_output_once_restored() {
    let builds = Builds::new();
    let out =
        |letter: &str, name: &str| builds.store().join(format!("0{}-{name}", letter.repeat(31)));
    let (names, text) =
        (Path::new("out cache"), |out: &Path| format!("prefix={}/share", out.display()));
    let call = |words: &[&str], out: &Path, cache: u32| {
        let cache = builds.cache(cache);
        let words = &[words, &["--allow-own-paths"]].concat();
        builds.call_with(words, &[("outputs", names), ("out", out), ("cache", &cache)])
    };
    let (first, second, third) = (out("a", "app"), out("b", "app"), out("c", "app"));
    builds.unpack(&sources());
    builds.restore_nothing();
    builds.outputs(&[("out/x", &text(&first)), ("out/y", "plain")], 300);
    fs::set_permissions(builds.at("out/x"), fs::Permissions::from_mode(0o444)).unwrap();
    symlink(&first, builds.at("out/result")).unwrap();
    let time = builds.time("out/x");
    call(&["persist", "s", "out"], &first, 1).has("persisted s: 3 files");
    assert_eq!(references(&builds, 1), "");
    // Not as Nix would find it.
    let manifest = fs::read(builds.cache(1).join("s/manifest.zst")).unwrap();
    let manifest = String::from_utf8(zstd::decode_all(manifest.as_slice()).unwrap()).unwrap();
    assert!(manifest.contains("\noutput\tout\taaaa"), "{manifest}");

    let from = |number| builds.cache(number).display().to_string();
    builds.unpack(&sources());
    call(&["restore", "s", "--from", &from(1)], &second, 2).has("restored s: 3 files");
    assert_eq!(builds.read("out/x"), text(&second));
    assert_eq!(builds.read("out/y"), "plain");
    assert_eq!(builds.time("out/x"), time);
    assert_eq!(builds.at("out/x").metadata().unwrap().permissions().mode() & 0o777, 0o444);
    assert_eq!(fs::read_link(builds.at("out/result")).unwrap(), second);

    // What the build only restored is kept as it is now, not as it was in the first cache.
    call(&["persist", "s", "out"], &second, 2).has("persisted s: 3 files");
    builds.unpack(&sources());
    call(&["restore", "s", "--from", &from(2)], &third, 3).has("restored s: 3 files");
    assert_eq!(builds.read("out/x"), text(&third));

    builds.unpack(&sources());
    let other = out("d", "app-2");
    call(&["restore", "s", "--from", &from(2)], &other, 3)
        .has("not restored s: its files name the output `out` as ");
    assert!(!builds.at("out").exists());
}

#[test]
fn over_budget_nothing_is_kept() {
    let builds = started();
    builds.outputs(&[("out/x", "xxx"), ("out/y", "yyy")], 300);
    builds.persist(1, &["out", "--budget", "6"]).has("persisted s: 2 files");
    builds
        .persist(1, &["out", "--budget", "5"])
        .has("not persisted s: it has 6 bytes, the budget is 5; the next build is clean");
    builds.unpack(&sources());
    builds.restore(1, &["--strict"]).has("not restored s:").has("has no such set");
}

#[test]
fn over_budget_the_least_used_goes_first() {
    let builds = started();
    let text = "x".repeat(1000);
    let all = [("out/a", text.as_str()), ("out/b", &text), ("out/c", &text), ("out/d", &text)];
    builds.outputs(&all, 300);
    builds.persist(1, &["out", "--budget", "4000", "--over-budget", "prune"]).has("4 files");
    let build = |number: u32, budget: &str, read: &[&str]| {
        builds.unpack(&sources());
        builds.restore(number, &[]).has("restored");
        for path in read {
            builds.shell(&format!("cat {path}"));
        }
        builds.persist(number + 1, &["out", "--budget", budget, "--over-budget", "prune"])
    };
    build(1, "4000", &["out/a", "out/b", "out/c"]).has("4 files");
    build(2, "4000", &["out/a", "out/b"]).has("4 files");
    let json = builds.call(&["inspect", &builds.cache(3).display().to_string(), "--json"]).out;
    let unused: Vec<&str> =
        json.lines().filter(|line| line.contains("unusedBuilds")).map(str::trim).collect();
    assert_eq!(
        unused,
        [
            "\"unusedBuilds\": 0",
            "\"unusedBuilds\": 0",
            "\"unusedBuilds\": 1",
            "\"unusedBuilds\": 2"
        ]
    );
    build(3, "3000", &["out/a", "out/b"])
        .has("3 files")
        .has("left out 0.0 MB over budget, 1 file: out/d");
    let said = build(4, "2500", &["out/a"]);
    said.has("2 files").has("over budget, 1 file: out/c");
}

#[test]
fn a_budget_also_bounds_what_is_restored() {
    let builds = started();
    builds.outputs(&[("out/x", &"x".repeat(1000))], 300);
    builds.persist(1, &["out"]).has("1 file");
    builds.unpack(&sources());
    builds
        .restore(1, &["--budget", "999"])
        .has("not restored s: it has 1000 bytes, the budget is 999");
    builds.restore(1, &["--budget", "1000"]).has("restored");
}
