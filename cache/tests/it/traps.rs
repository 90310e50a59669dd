//! What tools and trees do that could make a restored build differ from a clean one.

use std::fs;

use crate::fixture::{Builds, Node, Tree, now, set_time, tree};

fn file(text: &str) -> Node {
    Node::File(text.to_owned())
}

/// Writes in place and gives the file a fixed time, as builds do that want the same bytes each time.
fn rewrite(builds: &Builds, path: &str, text: &str) {
    let place = builds.at(path);
    let before = fs::metadata(&place).unwrap();
    fs::write(&place, text).unwrap();
    set_time(&place, 315_532_800);
    let after = fs::metadata(&place).unwrap();
    assert_eq!(after.len(), before.len(), "the test needs texts of one length");
}

#[test]
fn an_output_rewritten_with_its_old_time_and_size_is_kept_anew() {
    let builds = Builds::new();
    let sources = tree(&[("a", "1")]);
    builds.unpack(&sources);
    builds.restore_nothing();
    builds.outputs(&[("out/x", "one")], 3600);
    rewrite(&builds, "out/x", "one");
    builds.persist(1, &["out"]).has("persisted");
    builds.unpack(&sources);
    builds.restore(1, &[]).has("restored s");
    rewrite(&builds, "out/x", "two");
    builds.persist(2, &["out"]).has("persisted");
    builds.unpack(&sources);
    builds.restore(2, &[]).has("restored s");
    assert_eq!(builds.read("out/x"), "two");
}

#[test]
fn what_a_build_leaves_alone_is_not_read_again() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let builds = Builds::new();
    // A directory of the sources, so that what is made there is moved file by file.
    let sources = tree(&[("src/a", "1")]);
    builds.unpack(&sources);
    builds.restore_nothing();
    builds.outputs(&[("src/made", "x"), ("out/deep/y", "y"), ("out/wide", "z")], 3600);
    fs::hard_link(builds.at("out/deep/y"), builds.at("out/other")).unwrap();
    // More than new files are given.
    fs::set_permissions(builds.at("out/wide"), fs::Permissions::from_mode(0o666)).unwrap();
    builds.persist(1, &["."]).has("persisted s: 4 files");
    builds.unpack(&sources);
    builds.restore(1, &[]).has("restored s: 4 files");
    builds.persist(2, &["."]).has("persisted s: 4 files");
    for path in ["src/made", "out/deep/y", "out/wide"] {
        assert_eq!(builds.at(path).metadata().unwrap().atime(), 0, "{path} was read");
    }
}

#[test]
fn a_source_rewritten_with_its_old_time_and_size_counts_as_changed() {
    let builds = Builds::new();
    let sources = tree(&[("a", "one")]);
    builds.unpack(&sources);
    builds.restore_nothing();
    fs::write(builds.at("a"), "two").unwrap();
    set_time(&builds.at("a"), 1);
    builds.outputs(&[("out/x", "made from two")], 3600);
    builds.persist(1, &["out"]).has("persisted");
    builds.unpack(&sources);
    builds.restore(1, &[]).has("0 unchanged, 1 changed");
}

/// A rule with `restat` compares with the time that ninja wrote down, and not with the file's.
#[test]
fn ninja_does_not_trust_times_of_a_clock_that_ran_ahead() {
    let builds = Builds::new();
    let rules = "rule copy\n  command = cp $in $out\n  restat = 1\nbuild out/x: copy a\n";
    let mut sources = tree(&[("a", "one"), ("build.ninja", rules)]);
    builds.unpack(&sources);
    builds.restore_nothing();
    builds.shell("ninja");
    // What that build would have left if its clock had been an hour ahead.
    builds.shell(
        "awk 'BEGIN { FS = OFS = \"\\t\" } NF == 5 { $3 += 3600 * 1000000000 } { printf \"%s\", $1; for (i = 2; i <= NF; i++) printf \"\\t%s\", $i; print \"\" }' OFMT=%.0f CONVFMT=%.0f .ninja_log > log && mv log .ninja_log",
    );
    for path in ["out/x", "out", ".ninja_log", "."] {
        set_time(&builds.at(path), now() + 3600);
    }
    builds.persist(1, &["."]).has("persisted");
    sources.insert("a".into(), file("two"));
    builds.unpack(&sources);
    builds.restore(1, &[]).has("the clock is before the times");
    builds.shell("ninja");
    assert_eq!(builds.read("out/x"), "two");
}

#[test]
fn what_stands_beside_the_sources_must_be_as_it_was() {
    let builds = Builds::new();
    let mut sources = tree(&[("sub/a", "1"), ("beside/b", "2")]);
    let sub = builds.at("sub").display().to_string();
    let places = ["--source", &sub, "--into", &sub];
    let (from, to) = (builds.cache(1), builds.cache(1));
    let (from, to) = (from.display().to_string(), to.display().to_string());
    let restore = [&["restore", "s", "--from", &from][..], &places].concat();
    builds.unpack(&sources);
    builds.call(&[&["restore", "s"][..], &places].concat()).has("no cache was given");
    builds.outputs(&[("sub/out/x", "x"), ("beside/made", "by the tool")], 3600);
    builds.call(&[&["persist", "s", "out", "--to", &to][..], &places].concat()).has("persisted");
    builds.unpack(&sources);
    builds.call(&restore).has("1 unchanged, 0 changed, 0 new, 0 gone");
    // Inside, it is compared; beside, nothing could be done about its time.
    sources.insert("sub/a".into(), file("changed"));
    builds.unpack(&sources);
    builds.call(&restore).has("0 unchanged, 1 changed");
    sources.insert("beside/b".into(), file("3"));
    builds.unpack(&sources);
    builds.call(&restore).has("not restored s: what stands beside the sources");
    sources.insert("beside/b".into(), file("2"));
    sources.insert("beside/c".into(), Node::Link("b".into()));
    builds.unpack(&sources);
    builds.call(&restore).has("not restored s: what stands beside the sources");
    assert!(!builds.at("sub/out").exists());
}

/// A compiler takes the first header of that name.
const HIDING: [&str; 4] = ["--hiding", "*.h", "--gone", "drop"];

fn headers() -> Tree {
    let makefile = "\
prog: main.o\n\tgcc -o $@ $^
main.o: main.c\n\tgcc -Ifirst -Isecond -MMD -c -o $@ $<
-include main.d
";
    let main = "#include <stdio.h>\n#include \"value.h\"\nint main(void) { printf(\"%d\\n\", VALUE); return 0; }\n";
    tree(&[
        ("Makefile", makefile),
        ("main.c", main),
        ("second/value.h", "#define VALUE 2\n"),
        ("first/other.h", "\n"),
    ])
}

#[test]
fn a_new_header_may_hide_another() {
    let builds = Builds::new();
    let mut sources = headers();
    builds.unpack(&sources);
    builds.restore_nothing();
    assert!(builds.shell("make && ./prog").ends_with("2\n"));
    builds.persist(1, &["."]).has("persisted");
    sources.insert("first/value.h".into(), file("#define VALUE 1\n"));
    builds.unpack(&sources);
    builds.restore(1, &HIDING).has("the new source `first/value.h` may hide another");
    assert!(builds.shell("make && ./prog").ends_with("1\n"));

    // Behind a new link to a directory as well.
    let mut sources = headers();
    sources.insert("third/value.h".into(), file("#define VALUE 3\n"));
    let old = sources.remove("first/other.h").unwrap();
    builds.unpack(&sources);
    builds.restore_nothing();
    assert!(builds.shell("make && ./prog").ends_with("2\n"));
    builds.persist(2, &["."]).has("persisted");
    sources.insert("first".into(), Node::Link("third".into()));
    builds.unpack(&sources);
    builds.restore(2, &["--hiding", "*.h"]).has("the link `first` to a directory");
    assert!(builds.shell("make && ./prog").ends_with("3\n"));

    // A new source of another kind, and a changed header, are the tool's business.
    sources.remove("first");
    sources.insert("first/other.h".into(), old);
    builds.unpack(&sources);
    builds.restore_nothing();
    builds.shell("make");
    builds.persist(3, &["."]).has("persisted");
    sources.insert("second/value.h".into(), file("#define VALUE 7\n"));
    sources.insert("new.c".into(), file(""));
    builds.unpack(&sources);
    builds.restore(3, &HIDING).has("4 unchanged, 1 changed, 1 new");
}

#[test]
fn an_empty_directory_of_the_sources_does_not_come_back() {
    let builds = Builds::new();
    let sources = tree(&[("a", "1")]);
    builds.unpack(&sources);
    fs::create_dir_all(builds.at("empty/deeper")).unwrap();
    builds.restore_nothing();
    builds.outputs(&[("out/x", "x")], 3600);
    fs::create_dir_all(builds.at("made/here")).unwrap();
    builds.persist(1, &["."]).has("persisted");
    builds.unpack(&sources);
    builds.restore(1, &[]).has("restored s");
    assert!(builds.at("made/here").exists());
    assert!(!builds.at("empty").exists());
}
