//! Real make and cargo, through restore and persist, against clean builds of the same state.

use std::collections::BTreeSet;

use crate::fixture::{Builds, Node, Tree, tree};

/// The options that suit this project: make does not look at its own rules, and has wildcards.
const OPTIONS: [&str; 6] = ["--definition", "Makefile", "--gone", "drop", "--gone-match", "*.c"];

/// Wildcards, a library made by `ar`, a generated header, dependency files.
fn project() -> Tree {
    let makefile = "\
CFLAGS = -O0 -g0 -MMD -Isrc
SOURCES := $(sort $(wildcard src/*.c))
OBJECTS := $(SOURCES:src/%.c=out/%.o)
all: out/prog
out/prog: out/main.o out/lib.a
\tgcc -o $@ $^
out/lib.a: $(filter-out out/main.o,$(OBJECTS))
\trm -f $@
\tar rcD $@ $^
out/%.o: src/%.c
\t@mkdir -p out
\t@echo compiled $<
\tgcc $(CFLAGS) -c -o $@ $<
-include $(wildcard out/*.d)
";
    let main = "#include <stdio.h>\n#include \"lib.h\"\nint one(void); int two(void);\nint main(void) { printf(\"%d %d %d\\n\", one(), two(), VALUE); return 0; }\n";
    let mut tree = tree(&[
        ("Makefile", makefile),
        ("src/main.c", main),
        ("src/one.c", "int one(void) { return 1; }\n"),
        ("src/two.c", "#include \"lib.h\"\nint two(void) { return VALUE + 2; }\n"),
        ("src/spare.c", "int spare(void) { return 7; }\n"),
        ("alt/a.h", "#define VALUE 10\n"),
        ("alt/b.h", "#define VALUE 20\n"),
    ]);
    tree.insert("src/lib.h".into(), Node::Link("../alt/a.h".into()));
    tree
}

/// Builds; returns what the program prints, what is in the library, and what was compiled.
fn make(builds: &Builds) -> (String, String, BTreeSet<String>) {
    let log = builds.shell("make 2>&1");
    let compiled = log.lines().filter_map(|line| line.strip_prefix("compiled src/"));
    let compiled = compiled.map(str::to_owned).collect();
    let printed = builds.shell("./out/prog");
    (printed, builds.shell("ar t out/lib.a"), compiled)
}

fn file(text: &str) -> Node {
    Node::File(text.to_owned())
}

type Edit = (&'static str, fn(&mut Tree), &'static [&'static str]);

/// Edits one after the other, with the files that make must compile.
const EDITS: [Edit; 14] = [
    ("nothing", |_| {}, &[]),
    (
        "same size",
        |t| drop(t.insert("src/one.c".into(), file("int one(void) { return 3; }\n"))),
        &["one.c"],
    ),
    (
        "other size",
        |t| drop(t.insert("src/one.c".into(), file("int one(void) { return 33; }\n"))),
        &["one.c"],
    ),
    (
        "reverted",
        |t| drop(t.insert("src/one.c".into(), file("int one(void) { return 1; }\n"))),
        &["one.c"],
    ),
    (
        "header",
        |t| drop(t.insert("alt/a.h".into(), file("#define VALUE 11\n"))),
        &["main.c", "two.c"],
    ),
    (
        "link flipped",
        |t| drop(t.insert("src/lib.h".into(), Node::Link("../alt/b.h".into()))),
        &["main.c", "two.c"],
    ),
    (
        "link flipped back",
        |t| drop(t.insert("src/lib.h".into(), Node::Link("../alt/a.h".into()))),
        &["main.c", "two.c"],
    ),
    (
        "added",
        |t| drop(t.insert("src/new.c".into(), file("int new(void) { return 1; }\n"))),
        &["new.c"],
    ),
    ("deleted", |t| drop(t.remove("src/spare.c")), &["main.c", "new.c", "one.c", "two.c"]),
    (
        "renamed",
        |t| {
            let c = t.remove("src/new.c").unwrap();
            t.insert("src/newer.c".into(), c);
        },
        &["main.c", "newer.c", "one.c", "two.c"],
    ),
    (
        "swapped",
        |t| {
            t.insert(
                "src/one.c".into(),
                file("#include \"lib.h\"\nint two(void) { return VALUE + 2; }\n"),
            );
            t.insert("src/two.c".into(), file("int one(void) { return 1; }\n"));
        },
        &["one.c", "two.c"],
    ),
    (
        "flag",
        |t| {
            let Some(Node::File(text)) = t.get_mut("Makefile") else { panic!("no Makefile") };
            *text = text.replace("-Isrc", "-Isrc -DEXTRA");
        },
        &["main.c", "newer.c", "one.c", "two.c"],
    ),
    (
        "header only moved",
        |t| {
            let text = t["alt/a.h"].clone();
            t.insert("src/lib.h".into(), text);
        },
        &["main.c", "one.c"],
    ),
    ("nothing again", |_| {}, &[]),
];

#[test]
fn make_builds_what_a_clean_build_builds() {
    let (incremental, clean) = (Builds::new(), Builds::new());
    let mut sources = project();
    incremental.unpack(&sources);
    incremental.restore_nothing();
    make(&incremental);
    incremental.persist(1, &["out"]).has("persisted");
    let mut number = 1;
    for (name, edit, compiles) in EDITS {
        edit(&mut sources);
        incremental.unpack(&sources);
        incremental.restore(number, &OPTIONS).has("restored s:");
        let (printed, library, compiled) = make(&incremental);
        let expected: BTreeSet<String> = compiles.iter().map(|file| (*file).to_owned()).collect();
        assert_eq!(compiled, expected, "after `{name}`");
        clean.unpack(&sources);
        let (clean_printed, clean_library, _) = make(&clean);
        assert_eq!((printed, library), (clean_printed, clean_library), "after `{name}`");
        // Two caches are enough: each build starts from the one before.
        let next = 3 - number;
        if incremental.cache(next).exists() {
            std::fs::remove_dir_all(incremental.cache(next)).unwrap();
        }
        incremental.persist(next, &["out"]).has("persisted");
        number = next;
    }
}

/// A package whose modules come through links, as in a vendored tree.
fn package() -> Tree {
    let manifest =
        "[package]\nname = \"p\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n";
    let main = "mod one;\nmod two;\nmod linked;\nfn main() { println!(\"{} {} {}\", one::VALUE, two::VALUE, linked::VALUE); }\n";
    let mut tree = tree(&[
        ("Cargo.toml", manifest),
        ("src/main.rs", main),
        ("src/one.rs", "pub const VALUE: u32 = 1;\n"),
        ("src/two.rs", "pub const VALUE: u32 = 2;\n"),
        ("alt/a.rs", "pub const VALUE: u32 = 10;\n"),
        ("alt/b.rs", "pub const VALUE: u32 = 20;\n"),
    ]);
    tree.insert("src/linked.rs".into(), Node::Link("../alt/a.rs".into()));
    tree
}

/// Builds; returns what the program prints, and whether anything was compiled.
fn cargo(builds: &Builds) -> (String, bool) {
    let cargo = env!("CARGO");
    let log = builds.shell(&format!("{cargo} build --offline --target-dir target 2>&1"));
    (builds.shell("./target/debug/p"), log.contains("Compiling p"))
}

type PackageEdit = (&'static str, fn(&mut Tree), &'static str);

const PACKAGE_EDITS: [PackageEdit; 5] = [
    ("nothing", |_| {}, "1 2 10\n"),
    (
        "swapped",
        |t| {
            let (one, two) = (t["src/one.rs"].clone(), t["src/two.rs"].clone());
            t.insert("src/one.rs".into(), two);
            t.insert("src/two.rs".into(), one);
        },
        "2 1 10\n",
    ),
    (
        "link flipped",
        |t| drop(t.insert("src/linked.rs".into(), Node::Link("../alt/b.rs".into()))),
        "2 1 20\n",
    ),
    (
        "link flipped back",
        |t| drop(t.insert("src/linked.rs".into(), Node::Link("../alt/a.rs".into()))),
        "2 1 10\n",
    ),
    ("nothing again", |_| {}, "2 1 10\n"),
];

#[test]
fn cargo_builds_what_the_sources_say() {
    let builds = Builds::new();
    let mut sources = package();
    builds.unpack(&sources);
    builds.restore_nothing();
    assert_eq!(cargo(&builds), ("1 2 10\n".to_owned(), true));
    builds.persist(1, &["target"]).has("persisted");
    let mut number = 1;
    for (name, edit, expected) in PACKAGE_EDITS {
        let before = sources.clone();
        edit(&mut sources);
        builds.unpack(&sources);
        builds.restore(number, &[]).has("restored s:");
        assert_eq!(cargo(&builds), (expected.to_owned(), sources != before), "after `{name}`");
        builds.persist(3 - number, &["target"]).has("persisted");
        number = 3 - number;
    }
}
