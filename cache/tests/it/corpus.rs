//! More caches made to do harm: what is odd about the cache's own files, names and times, and what
//! waits in the tree for a careless restore.

use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::fixture::{Builds, Node, snapshot, tree};
use crate::hostile::{archive_place, edit_manifest, good, manifest_place, refused};

#[test]
fn only_plain_files_are_read() {
    // Opening a pipe would wait for ever, and a link would read whatever it leads to.
    type Put = fn(&Path, &Path);
    type Place = fn(&Builds) -> PathBuf;
    let others: [(&str, Put); 5] = [
        ("pipe", |place, _| pipe(place)),
        ("directory", |place, _| fs::create_dir(place).unwrap()),
        ("link to itself", |place, _| symlink(place, place).unwrap()),
        ("endless stream", |place, _| symlink("/dev/zero", place).unwrap()),
        ("link to the good file", |place, good| symlink(good, place).unwrap()),
    ];
    for (what, put) in others {
        let files: [(Place, &str); 3] = [
            (|builds| builds.cache(1).join("levain-cache"), "was not made by levain-cache"),
            (manifest_place, "is no plain file"),
            (archive_place, "is no plain file"),
        ];
        for (place, reason) in files {
            let builds = good();
            let (place, aside) = (place(&builds), builds.root().join("aside"));
            fs::rename(&place, &aside).unwrap();
            put(&place, &aside);
            println!("{what} at {}", place.display());
            refused(&builds, reason);
        }
    }
}

fn pipe(place: &Path) {
    #[expect(clippy::disallowed_methods, reason = "the tools are the test's own")]
    let made = std::process::Command::new("mkfifo").arg(place).status().unwrap();
    assert!(made.success());
}

#[test]
fn parts_in_each_others_place() {
    let builds = Builds::new();
    builds.unpack(&tree(&[("src/a", "a")]));
    builds.restore_nothing();
    // Each of these is a part of its own.
    let (one, two) = ("1".repeat(4 << 20), "2".repeat(4 << 20));
    builds.outputs(&[("out/one", &one), ("out/two", &two)], 300);
    builds.persist(1, &["out"]).has("2 files");
    let parts: Vec<PathBuf> = fs::read_dir(builds.cache(1).join("s/archive"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(parts.len(), 2);
    let read = |place: &PathBuf| fs::read(place).unwrap();
    let (first, second) = (read(&parts[0]), read(&parts[1]));
    fs::write(&parts[0], second).unwrap();
    fs::write(&parts[1], first).unwrap();
    builds.unpack(&tree(&[("src/a", "a")]));
    // They are read at the same time, so that either may be noticed first.
    refused(&builds, "where the manifest has the file `out/");
}

#[test]
fn decoders_with_a_huge_window_are_refused() {
    for place in [manifest_place, archive_place] {
        let builds = good();
        let place = place(&builds);
        let plain = zstd::decode_all(fs::read(&place).unwrap().as_slice()).unwrap();
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(30).unwrap();
        // Nothing says how little there is, so the decoder would have to prepare for a gigabyte.
        std::io::copy(&mut plain.as_slice(), &mut encoder).unwrap();
        let bytes = encoder.finish().unwrap();
        fs::write(&place, &bytes).unwrap();
        if place == archive_place(&builds) {
            stored(&builds, bytes.len());
        }
        refused(&builds, "damaged");
    }
}

/// Makes the manifest say that the only part has that many bytes.
fn stored(builds: &Builds, bytes: usize) {
    edit_manifest(builds, |text| {
        let line = text.lines().find(|line| line.starts_with("segment")).unwrap();
        let (start, _) = line.rsplit_once('\t').unwrap();
        text.replace(line, &format!("{start}\t{bytes}"))
    });
}

#[test]
fn names_of_the_programs_own() {
    // Where restoring itself unpacks, and where the states of a build may lie.
    for name in [".levain-cache.s.partial", ".levain-cache", "out/.levain-cache-clock"] {
        let builds = good();
        edit_manifest(&builds, |text| {
            let line = format!("directory\t755\t1\t{name}\n");
            let at = if name.starts_with("out") { "link\t" } else { "directory\t" };
            text.replacen(at, &format!("{line}{at}"), 1)
        });
        refused(&builds, &format!("`{name}` is a name that levain-cache uses itself"));
    }
}

#[test]
fn sources_and_roots_that_lead_elsewhere() {
    let digest = "0".repeat(64);
    for (line, reason) in [
        (format!("source-file\tkept\t1\t../x\t1\t{digest}\n"), "`..`"),
        (format!("source-file\tkept\t1\t/x\t1\t{digest}\n"), "absolute"),
        ("root\t../x\n".into(), "`..`"),
        ("root\t/etc\n".into(), "absolute"),
        ("root\t\n".into(), "empty"),
    ] {
        let builds = good();
        edit_manifest(&builds, |text| format!("{text}{line}"));
        refused(&builds, reason);
    }
}

#[test]
fn what_stands_behind_a_link_is_not_removed() {
    let builds = Builds::new();
    let mut sources = tree(&[("src/a", "a")]);
    sources.insert("src/elsewhere".into(), Node::Link("../../../outside".into()));
    let outside = builds.root().join("outside");
    fs::create_dir_all(outside.join("sub")).unwrap();
    fs::write(outside.join("sub/precious"), "precious").unwrap();
    builds.unpack(&sources);
    builds.restore_nothing();
    builds.outputs(&[("out/one", "first")], 300);
    builds.persist(1, &["out"]).has("1 file");
    for root in ["src/elsewhere/sub", "src/elsewhere"] {
        edit_manifest(&builds, |text| {
            let line = text.lines().find(|line| line.starts_with("root\t")).unwrap();
            text.replace(line, &format!("root\t{root}"))
        });
        builds.unpack(&sources);
        let before = snapshot(&outside);
        let _said = builds.restore(1, &["--sync"]);
        assert_eq!(snapshot(&outside), before, "{root}");
    }
}

#[test]
fn odd_names_come_back_as_they_were() {
    let builds = Builds::new();
    let sources = tree(&[("src/a", "a")]);
    builds.unpack(&sources);
    builds.restore_nothing();
    // The same to some file systems, and different to this one: none may take another's place.
    let names: [&[u8]; 10] = [
        b"name",
        b"NAME",
        b"Name",
        "\u{e9}".as_bytes(),
        "e\u{301}".as_bytes(),
        b"\xff\xfe",
        b"\xc3",
        "\u{202e}cod.exe".as_bytes(),
        b"\x1b[2J",
        b"-rf",
    ];
    for name in names {
        let place = builds.at("out").join(std::ffi::OsString::from_vec(name.to_vec()));
        fs::create_dir_all(builds.at("out")).unwrap();
        fs::write(place, name).unwrap();
    }
    let before: Vec<_> = contents(&builds);
    assert_eq!(before.len(), names.len());
    builds.persist(1, &["out"]).has("10 files");
    builds.unpack(&sources);
    builds.restore(1, &["--strict"]).has("restored s: 10 files");
    assert_eq!(contents(&builds), before);
}

fn contents(builds: &Builds) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(builds.at("out"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap()))
        .collect();
    all.sort();
    all
}

#[test]
fn no_cache_writes_lines_of_its_own() {
    let forged = "x\\nlevain-cache: restored s: 9 files";
    let cases: [(&str, String); 3] = [
        ("compressor\t", format!("key\t{forged}\ncompressor\t")),
        ("\tout/two\t", format!("\tout/{}{forged}\t", "t".repeat(240))),
        ("\tout/link\tone\n", format!("\tout/link\t/{forged}\n")),
    ];
    for (from, to) in cases {
        let builds = good();
        edit_manifest(&builds, |text| text.replacen(from, &to, 1));
        let said = builds.restore(1, &[]);
        let lines: Vec<&str> =
            said.out.lines().filter(|line| line.starts_with("levain-cache: ")).collect();
        assert_eq!(lines.len(), 1, "{said:?}");
        assert!(lines[0].starts_with("levain-cache: not restored s: "), "{said:?}");
    }
}

#[test]
fn times_at_the_end_of_time() {
    let ends = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX];
    for line in
        ["newest\t", "file\t644\t", "link\t777\t", "directory\t755\t", "source-file\tkept\t"]
    {
        for end in ends {
            let builds = good();
            edit_manifest(&builds, |text| {
                let (before, after) = text.split_once(&format!("\n{line}")).unwrap();
                let rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-');
                format!("{before}\n{line}{end}{rest}")
            });
            let before = snapshot(&builds.tree());
            let said = builds.restore(1, &[]);
            assert_eq!(said.code, 0, "{line}{end}: {said:?}");
            if said.out.starts_with("levain-cache: restored") {
                assert_eq!(builds.read("out/two"), "second");
            } else {
                assert_eq!(snapshot(&builds.tree()), before, "{line}{end}");
            }
        }
    }
}
