//! Caches made to do harm: each is refused, and nothing is touched.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;

use levain_cache::Digest;
use tar::{EntryType, Header};

use crate::fixture::{Builds, Tree, snapshot, tree};

fn sources() -> Tree {
    tree(&[("src/a", "a")])
}

/// A good cache: a directory with two files and a link.
pub(crate) fn good() -> Builds {
    let builds = Builds::new();
    builds.unpack(&sources());
    builds.restore_nothing();
    builds.outputs(&[("out/one", "first"), ("out/two", "second")], 300);
    std::os::unix::fs::symlink("one", builds.at("out/link")).unwrap();
    builds.persist(1, &["out"]).has("persisted s: 3 files");
    builds.unpack(&sources());
    builds
}

pub(crate) fn manifest_place(builds: &Builds) -> PathBuf {
    builds.cache(1).join("s/manifest.zst")
}

pub(crate) fn archive_place(builds: &Builds) -> PathBuf {
    let archive = builds.cache(1).join("s/archive");
    fs::read_dir(archive).unwrap().next().unwrap().unwrap().path()
}

/// Changes the manifest's text, and makes its hash right again.
pub(crate) fn edit_manifest(builds: &Builds, edit: impl FnOnce(&str) -> String) {
    let packed = fs::read(manifest_place(builds)).unwrap();
    let text = String::from_utf8(zstd::decode_all(packed.as_slice()).unwrap()).unwrap();
    let (body, _) = text.split_once("end\t").unwrap();
    let edited = edit(body);
    assert_ne!(edited, body, "the edit found nothing to change");
    let whole = format!("{edited}end\t{}\n", Digest::of(edited.as_bytes()));
    fs::write(manifest_place(builds), zstd::encode_all(whole.as_bytes(), 1).unwrap()).unwrap();
}

/// Puts another archive in the place of the good one; the manifest knows its size.
fn replace_archive(builds: &Builds, tar: &[u8]) {
    let packed = zstd::encode_all(tar, 1).unwrap();
    let place = archive_place(builds);
    let old = fs::metadata(&place).unwrap().len();
    fs::write(&place, &packed).unwrap();
    if old != packed.len() as u64 {
        edit_manifest(builds, |text| {
            text.replace(&format!("\t2\t{old}\n"), &format!("\t2\t{}\n", packed.len()))
        });
    }
}

/// Checks that the cache is refused for that reason, by both ways of asking.
#[track_caller]
pub(crate) fn refused(builds: &Builds, reason: &str) {
    fs::write(builds.root().join("witness"), "untouched").unwrap();
    let before = snapshot(&builds.tree());
    let outside = names(builds);
    builds.restore(1, &[]).has("not restored s: ").has(reason).has("clean build");
    let strict = builds.restore(1, &["--strict"]);
    assert_eq!(strict.code, 1, "{strict:?}");
    assert_eq!(snapshot(&builds.tree()), before);
    assert_eq!(names(builds), outside);
}

/// What stands beside the build directory.
fn names(builds: &Builds) -> Vec<String> {
    let entries = fs::read_dir(builds.root()).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// One tar entry, with a header that says whatever it likes.
fn entry(kind: EntryType, name: &[u8], link: &[u8], size: u64, content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link);
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o4777);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn file(name: &str, content: &str) -> Vec<u8> {
    entry(EntryType::Regular, name.as_bytes(), b"", content.len() as u64, content.as_bytes())
}

fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = entries.concat();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

#[test]
fn the_good_cache_is_good() {
    let builds = good();
    replace_archive(&builds, &archive(&[file("out/one", "first"), file("out/two", "second")]));
    builds.restore(1, &["--strict"]).has("restored s: 3 files");
}

#[test]
fn archives_that_hold_something_else() {
    let one = || file("out/one", "first");
    let other =
        |kind, name: &str, link: &str| entry(kind, name.as_bytes(), link.as_bytes(), 0, b"");
    let huge = entry(EntryType::GNULongName, b"././@LongLink", b"", 1 << 40, b"x");
    let long = entry(EntryType::GNULongName, b"././@LongLink", b"", 11, b"../../evil\0");
    let pax = entry(EntryType::XHeader, b"pax", b"", 18, b"18 path=../../evil");
    let cases: Vec<(Vec<Vec<u8>>, &str)> = vec![
        (vec![one(), file("/etc/evil", "second")], "the file `/etc/evil` of 6 bytes where"),
        (vec![one(), file("../evil", "second")], "the file `../evil`"),
        (vec![one(), file("out/../../evil", "second")], "the file `out/../../evil`"),
        (
            vec![one(), one()],
            "the file `out/one` of 5 bytes where the manifest has the file `out/two`",
        ),
        (vec![one(), file("out/extra", "second")], "the file `out/extra`"),
        (vec![file("out/two", "second"), one()], "the file `out/two`"),
        (
            vec![one(), other(EntryType::Symlink, "out/two", "/etc/passwd")],
            "the symbolic link `out/two`",
        ),
        (
            vec![one(), other(EntryType::Symlink, "out/two", "../../x")],
            "the symbolic link `out/two`",
        ),
        (vec![one(), other(EntryType::Link, "out/two", "/etc/passwd")], "the hard link `out/two`"),
        (vec![one(), other(EntryType::Link, "out/two", "../../x")], "the hard link `out/two`"),
        (vec![one(), other(EntryType::Char, "out/two", "")], "the device `out/two`"),
        (vec![one(), other(EntryType::Block, "out/two", "")], "the device `out/two`"),
        (vec![one(), other(EntryType::Fifo, "out/two", "")], "the named pipe `out/two`"),
        (vec![one(), other(EntryType::Directory, "out/two", "")], "the directory `out/two`"),
        (vec![one(), other(EntryType::GNUSparse, "out/two", "")], "damaged"),
        (vec![one(), pax, file("out/two", "second")], "the special entry `pax`"),
        (vec![one(), long, file("out/two", "second")], "the file `../../evil`"),
        (vec![one(), huge], ""),
        (vec![one(), file("out/two", "SECOND")], "the content of `out/two` is not what"),
        (vec![one(), file("out/two", "second, longer")], "of 14 bytes where"),
        (vec![one(), file("out/two", "sec")], "of 3 bytes where"),
        (vec![one()], "nothing more where the manifest has the file `out/two`"),
        (vec![one(), file("out/two", "second"), file("out/three", "third")], ""),
        (vec![one(), entry(EntryType::Regular, b"out/two", b"", 6, b"sec")[..515].to_vec()], ""),
        (vec![vec![0xff; 512]], "damaged"),
        (vec![], "nothing more"),
    ];
    for (entries, reason) in cases {
        let builds = good();
        replace_archive(&builds, &archive(&entries));
        refused(&builds, reason);
    }
}

#[test]
fn manifests_that_lead_elsewhere() {
    let cases: Vec<(&str, String, &str)> = vec![
        ("\tout/two\t", "\t/etc/two\t".into(), "absolute"),
        ("\tout/two\t", "\tout/../../two\t".into(), "`..`"),
        ("\tout/two\t", "\tout/one\t".into(), "`out/one` is out of order or given twice"),
        ("\tout/two\t", "\tother/two\t".into(), "`other/two` is out of order"),
        ("\tout/two\t", "\tzoo/two\t".into(), "`zoo/two` is in something that is no directory"),
        ("\tout/one\t", "\tout/link/one\t".into(), "in something that is no directory"),
        ("\tout/two\t", "\tout/one/two\t".into(), "in something that is no directory"),
        ("\tout/two\t", format!("\tout/{}\t", "t".repeat(256)), "too long"),
        ("\tout/two\t", format!("\tout{}\t", "/t".repeat(2048)), "too long"),
        ("\tout/two\t", "\tout/t\0o\t".into(), "zero byte"),
        (
            "\tout/link\tone\n",
            "\tout/link\t/etc/passwd\n".into(),
            "leads out of the tree, to `/etc/passwd`",
        ),
        ("\tout/link\tone\n", "\tout/link\t../../x\n".into(), "leads out of the tree"),
        (
            "\tout/link\tone\n",
            "\tout/link\t..\nlink\t777\t5\tout/m\tlink/../..\n".into(),
            "the link `out/m` leads out",
        ),
        ("\tout/link\tone\n", "\tout/link\t\n".into(), "line 10: the line cannot be read"),
        ("link\t777", "same\t777".into(), "is another name of something that is no file"),
        ("link\t777", "device\t777".into(), "cannot be read"),
        ("file\t644", "file\t4755".into(), "has a mode beyond 777"),
        ("file\t644", "file\t99".into(), "cannot be read"),
        ("newest\t1", "newest\t8".into(), "the clock is before"),
        ("segment\t", "segment\tx".into(), "cannot be read"),
        ("levain-cache-set\t3\n", "levain-cache-set\t4\n".into(), "has format 4, newer than"),
        ("levain-cache-set\t3\n", "levain-cache-set\tx\n".into(), "this is no manifest"),
        ("levain-cache-set\t3\n", "other\t1\n".into(), "this is no manifest"),
        ("tool\t", "tool\tx\t".into(), "cannot be read"),
        ("into\t", "into\t\\x".into(), "cannot be read"),
    ];
    for (from, to, reason) in cases {
        let builds = good();
        edit_manifest(&builds, |text| text.replacen(from, &to, 1));
        refused(&builds, reason);
    }
}

#[test]
fn bombs_stop_at_what_the_manifest_says() {
    // A quarter of a gigabyte of zeros behind a file of six bytes: a few kilobytes, compressed.
    let builds = good();
    let head = archive(&[file("out/one", "first"), file("out/two", "second")]);
    let bomb = std::io::repeat(0);
    let place = archive_place(&builds);
    let mut encoder = zstd::Encoder::new(fs::File::create(&place).unwrap(), 1).unwrap();
    std::io::copy(&mut head.chain(bomb.take(1 << 28)), &mut encoder).unwrap();
    encoder.finish().unwrap();
    let stored = fs::metadata(&place).unwrap().len();
    edit_manifest(&builds, |text| {
        let line = text.lines().find(|line| line.starts_with("segment")).unwrap();
        let (start, _) = line.rsplit_once('\t').unwrap();
        text.replace(line, &format!("{start}\t{stored}"))
    });
    refused(&builds, "the archive is larger than the manifest says");

    // A manifest that itself says so is bounded by the budget.
    let builds = good();
    let huge = format!("\t{}\t", 1_u64 << 50);
    edit_manifest(&builds, |text| text.replacen("\t6\t", &huge, 1));
    refused(&builds, "the budget is 68719476736");
    let builds = good();
    let huge = format!("\t{}\t", u64::MAX);
    edit_manifest(&builds, |text| text.replacen("\t6\t", &huge, 1).replacen("\t5\t", &huge, 1));
    refused(&builds, "the budget is 68719476736");
}

#[test]
fn caches_that_are_none() {
    let builds = good();
    let mark = builds.cache(1).join("levain-cache");
    for (text, reason) in [
        ("levain-cache 4\n", "has format 4, newer than this version reads"),
        ("levain-cache x\n", "was not made by levain-cache"),
        ("", "was not made by levain-cache"),
        ("intermediates", "was not made by levain-cache"),
    ] {
        fs::write(&mark, text).unwrap();
        refused(&builds, reason);
    }
    // That is nobody's fault, so that even `--strict` builds clean.
    fs::write(&mark, "levain-cache 2\n").unwrap();
    builds.restore(1, &["--strict"]).has("has format 2, older than this version reads");
    fs::remove_file(&mark).unwrap();
    refused(&builds, "was not made by levain-cache");
    fs::remove_dir_all(builds.cache(1)).unwrap();
    fs::write(builds.cache(1), "a file").unwrap();
    refused(&builds, "was not made by levain-cache");
}

#[test]
fn a_manifest_that_is_an_endless_stream_is_refused() {
    let builds = good();
    let mut encoder =
        zstd::Encoder::new(fs::File::create(manifest_place(&builds)).unwrap(), 1).unwrap();
    std::io::copy(&mut std::io::repeat(b'\n').take(1 << 26), &mut encoder).unwrap();
    encoder.finish().unwrap();
    refused(&builds, "this is no manifest");
}
