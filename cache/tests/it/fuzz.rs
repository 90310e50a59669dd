//! Caches changed at random, and caches made up at random: whatever they hold, restoring gives all
//! or nothing, in the tree and nowhere else.
//!
//! Two hundred by default. `LEVAIN_TEST_CASES=100000 LEVAIN_TEST_SEED=1 cargo test -p levain-cache
//! --test it fuzz` tries more; each seed gives other ones, and repeats them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use levain_cache::glob::Glob;
use levain_cache::gone::Gone;
use levain_cache::{Digest, ExtraRule, Outcome, PlaceRule, RestoreRequest, restore};

use crate::fixture::{Builds, Node, Snapshot, Tree, set_all, snapshot, tree};
use crate::random::Random;

/// Cases when nobody asks for more.
const CASES: u64 = 200;

fn number(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).unwrap_or_default();
    if text.is_empty() { default } else { text.parse().unwrap() }
}

#[test]
fn caches_changed_at_random() {
    let (cases, seed) = (number("LEVAIN_TEST_CASES", CASES), number("LEVAIN_TEST_SEED", 1));
    let bench = Bench::new();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for case in 0..cases {
        // A stream for each case, so that one can be repeated without those before it.
        let mut random = Random::new(seed.wrapping_mul(1_000_003).wrapping_add(case));
        let kind = bench.cache(&mut random);
        let outcome = bench.check(&mut random, &format!("seed {seed}, case {case}, {kind}"));
        *counts.entry(format!("{kind}: {outcome}")).or_default() += 1;
    }
    for (kind, count) in &counts {
        println!("{count:8} {kind}");
    }
    // A fuzzer that gets nothing past the first checks tests nothing.
    for outcome in ["made up: restored", "made up: refused"] {
        assert!(cases < CASES || counts.contains_key(outcome), "{counts:?}");
    }
}

/// A build, with a good cache to change, and surroundings that must stay as they are.
struct Bench {
    builds: Builds,
    good: Files,
}

/// The files of a cache, by their paths.
type Files = BTreeMap<String, Vec<u8>>;

impl Bench {
    fn new() -> Bench {
        let builds = Builds::new();
        let sources = sources();
        builds.unpack(&sources);
        builds.restore_nothing();
        let long = format!("out/{}", "n".repeat(150));
        builds.outputs(&[("out/one", "first"), ("out/sub/two", "second"), (&long, "long")], 300);
        symlink("../src/a", builds.at("out/link")).unwrap();
        symlink("sub", builds.at("out/linked")).unwrap();
        fs::hard_link(builds.at("out/one"), builds.at("out/same")).unwrap();
        builds.persist(1, &["out", "--origin", "job=x"]).has("6 files");
        let good = read(&builds.cache(1));
        let outside = builds.root().join("outside");
        fs::create_dir_all(outside.join("sub")).unwrap();
        for name in ["precious", "sub/precious", "two"] {
            fs::write(outside.join(name), "precious").unwrap();
        }
        fs::create_dir(builds.root().join("state")).unwrap();
        set_all(&outside, 1_000_000);
        Bench { builds, good }
    }

    /// Writes a cache; returns what kind it is of.
    fn cache(&self, random: &mut Random) -> &'static str {
        let mut files = self.good.clone();
        let kind = match random.between(0, 4) {
            0 => {
                damage(&mut files, random);
                "bytes"
            }
            1 => {
                change_manifest(&mut files, random);
                "manifest"
            }
            2 => {
                change_archive(&mut files, random);
                "archive"
            }
            _ => {
                files = made_up(random, &self.builds.tree());
                "made up"
            }
        };
        let place = self.builds.cache(1);
        if place.exists() {
            fs::remove_dir_all(&place).unwrap();
        }
        for (name, bytes) in files {
            let place = place.join(name);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, bytes).unwrap();
        }
        kind
    }

    /// Restores it into a tree, and checks what became of that.
    #[track_caller]
    fn check(&self, random: &mut Random, case: &str) -> &'static str {
        let builds = &self.builds;
        builds.unpack(&sources());
        self.obstacles(random);
        let request = self.request(random);
        let whole = snapshot(&builds.root());
        let mut before = snapshot(&builds.tree());
        let outcome = restore(&request).unwrap_or_else(|error| panic!("{case}: {error}"));
        let after = snapshot(&builds.tree());
        // What an earlier attempt left may be cleared away.
        before.retain(|path, _| !own(path) || after.contains_key(path));
        assert_eq!(outside(&snapshot(&builds.root())), outside(&whole), "{case}: {outcome:?}");
        match outcome {
            Outcome::Refused(_) => {
                assert_eq!(after, before, "{case}: {outcome:?}");
                "refused"
            }
            Outcome::Restored(_) => {
                self.restored(&request, &before, &after, case);
                "restored"
            }
        }
    }

    /// Puts something where a set may want to be.
    fn obstacles(&self, random: &mut Random) {
        let at = |name: &str| self.builds.at(name);
        match random.between(0, 8) {
            0 => fs::write(at("out"), "in the way").unwrap(),
            1 => symlink("../../outside", at("out")).unwrap(),
            2 => {
                fs::create_dir_all(at("out/one/deep")).unwrap();
                fs::write(at("out/one/deep/file"), "in the way").unwrap();
            }
            3 => {
                fs::create_dir(at("out")).unwrap();
                symlink("../../../outside", at("out/sub")).unwrap();
                symlink("../../../outside/precious", at("out/one")).unwrap();
            }
            4 => {
                fs::create_dir_all(at(".levain-cache.s.partial/new/out")).unwrap();
                fs::write(at(".levain-cache.s.partial/new/out/one"), "left over").unwrap();
            }
            _ => {}
        }
    }

    fn request(&self, random: &mut Random) -> RestoreRequest {
        let tree = self.builds.tree();
        let one_in = |random: &mut Random, many: u64| random.between(0, many) == 0;
        RestoreRequest {
            source: if one_in(random, 5) { tree.join("src") } else { tree },
            place: if one_in(random, 4) { PlaceRule::Same } else { PlaceRule::Any },
            definitions: if one_in(random, 9) { vec![Glob::new("a")] } else { Vec::new() },
            gone: match random.between(0, 3) {
                0 => Gone::Keep,
                1 => Gone::Drop,
                _ => Gone::Outputs(vec!["{dir}/{stem}=out/{stem}".parse().unwrap()]),
            },
            exclude: if one_in(random, 4) { vec![Glob::new("b")] } else { Vec::new() },
            extra: if one_in(random, 3) { ExtraRule::Remove } else { ExtraRule::Keep },
            ..self.builds.request()
        }
    }

    /// Sources are as they were, and every new link leads into the tree.
    #[track_caller]
    fn restored(&self, request: &RestoreRequest, before: &Snapshot, after: &Snapshot, case: &str) {
        for path in after.keys() {
            assert!(!own(path), "{case}: `{path}` stays");
        }
        if request.extra == ExtraRule::Keep {
            for path in sources().keys().filter(|path| *path != "src/b") {
                let what =
                    |all: &Snapshot| all.get(path).map(|(mode, _, text)| (*mode, text.clone()));
                // With `src` as the sources' directory, the link beside it is no source.
                if path.starts_with("src/") || request.source == request.into {
                    assert_eq!(what(after), what(before), "{case}: the source `{path}`");
                }
            }
        }
        let links = after.iter().filter(|(_, (mode, ..))| mode & 0o170_000 == 0o120_000);
        let new = |(path, entry): &(&String, &(u32, i128, Vec<u8>))| {
            before.get(*path).map(|(_, _, to)| to) != Some(&entry.2)
        };
        let new: BTreeSet<&str> = links.filter(new).map(|(path, _)| path.as_str()).collect();
        for path in &new {
            // A link that is no source and stood there before is the build's own affair.
            let ends = |link: &str| request.source != request.into && !new.contains(link);
            assert!(inside(&self.builds, path, &ends), "{case}: `{path}` leads out: {after:?}");
        }
    }
}

fn sources() -> Tree {
    let mut sources = tree(&[("src/a", "a"), ("src/b", "b"), ("src/deep/c", "c")]);
    sources.insert("src/link".into(), Node::Link("deep".into()));
    sources.insert("elsewhere".into(), Node::Link("../../outside".into()));
    sources
}

/// Says whether a path is one of the program's own.
fn own(path: &str) -> bool {
    path.split('/').any(|name| name.starts_with(".levain-cache"))
}

/// What is neither the tree nor the program's own.
fn outside(all: &Snapshot) -> Snapshot {
    let ours = |path: &str| path.starts_with("build/tree") || path.starts_with("state");
    // The time of a directory changes when what is in it is made anew.
    let parents = ["build", "state"];
    all.iter()
        .filter(|(path, _)| !ours(path) && !parents.contains(&path.as_str()))
        .map(|(path, entry)| (path.clone(), entry.clone()))
        .collect()
}

/// Follows a link step by step, as the kernel would, and says whether it stays in the tree.
fn inside(builds: &Builds, link: &str, ends: &dyn Fn(&str) -> bool) -> bool {
    let tree = builds.tree().canonicalize().unwrap();
    let mut place = tree.join(link);
    let mut left: Vec<std::ffi::OsString> = Vec::new();
    for _ in 0..1000 {
        if !place.starts_with(&tree) {
            return place.starts_with(builds.store());
        }
        if place.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink()) {
            if ends(place.strip_prefix(&tree).unwrap().to_str().unwrap()) {
                return true;
            }
            let target = fs::read_link(&place).unwrap();
            place.pop();
            for part in target.components().rev() {
                match part {
                    Component::RootDir => place = PathBuf::from("/"),
                    Component::CurDir | Component::Prefix(_) => {}
                    Component::ParentDir => left.push("..".into()),
                    Component::Normal(name) => left.push(name.to_owned()),
                }
            }
            if target.is_absolute() {
                // Only the whole of it says where it leads.
                while let Some(name) = left.pop() {
                    place.push(name);
                }
                continue;
            }
        }
        match left.pop() {
            None => return true,
            Some(name) if name == ".." => {
                place.pop();
            }
            Some(name) => place.push(name),
        }
    }
    // A circle leads nowhere.
    true
}

fn read(place: &Path) -> Files {
    let all = snapshot(place).into_iter();
    all.filter(|(_, (mode, ..))| mode & 0o170_000 == 0o100_000)
        .map(|(path, (_, _, bytes))| (path, bytes))
        .collect()
}

/// Changes bytes, without making anything right again.
fn damage(files: &mut Files, random: &mut Random) {
    let names: Vec<String> = files.keys().cloned().collect();
    let name = random.pick(&names);
    let bytes = files.get_mut(&name).unwrap();
    for _ in 0..random.between(1, 4) {
        let at = random.between(0, bytes.len() as u64 + 1) as usize;
        match random.between(0, 5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.between(0, 256) as u8),
            2 => {
                let end = (at + random.between(0, 64) as usize).min(bytes.len());
                let again = bytes[at..end].to_vec();
                bytes.extend(again);
            }
            _ if at < bytes.len() => bytes[at] ^= 1 << random.between(0, 8),
            _ => {}
        }
    }
    if random.between(0, 12) == 0 {
        files.remove(&name);
    }
}

/// What a field of a manifest or header may say.
const NASTY: [&str; 30] = [
    "",
    ".",
    "..",
    "/",
    "../x",
    "/etc/passwd",
    "out",
    "out/one",
    "out/sub",
    "out/link",
    "src",
    "src/a",
    "src/link",
    "src/link/c",
    "elsewhere",
    "elsewhere/precious",
    "../../outside/precious",
    "out/linked/two",
    ".levain-cache.s.partial",
    ".levain-cache.s.partial/old/0",
    "0",
    "1",
    "-1",
    "777",
    "4777",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "\\n",
    "\\x",
];

const MANIFEST: &str = "s/manifest.zst";

/// Changes fields and lines of the manifest, and makes its hash right again.
fn change_manifest(files: &mut Files, random: &mut Random) {
    let text = String::from_utf8(unpacked(&files[MANIFEST])).unwrap();
    let (body, _) = text.split_once("end\t").unwrap();
    let mut lines: Vec<String> = body.lines().map(str::to_owned).collect();
    for _ in 0..random.between(1, 4) {
        let at = random.between(1, lines.len() as u64) as usize;
        let mut fields: Vec<String> = lines[at].split('\t').map(str::to_owned).collect();
        let field = random.between(0, fields.len() as u64) as usize;
        match random.between(0, 6) {
            0 => {
                lines.remove(at);
            }
            1 => lines.insert(at, lines[random.between(1, lines.len() as u64) as usize].clone()),
            2 => {
                let other = random.between(1, lines.len() as u64) as usize;
                lines.swap(at, other);
            }
            _ => {
                fields[field] = random.pick(&NASTY).to_owned();
                lines[at] = fields.join("\t");
            }
        }
        if lines.len() < 2 {
            break;
        }
    }
    let body = lines.join("\n") + "\n";
    files.insert(MANIFEST.into(), manifest(&body));
}

fn manifest(body: &str) -> Vec<u8> {
    packed(format!("{body}end\t{}\n", Digest::of(body.as_bytes())).as_bytes())
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    zstd::decode_all(bytes).unwrap()
}

/// Changes headers and blocks of the archive, and the sizes that the manifest gives.
fn change_archive(files: &mut Files, random: &mut Random) {
    let name = files.keys().find(|name| name.ends_with(".tar.zst")).unwrap().clone();
    let stored = files[&name].len();
    let mut tar = unpacked(&files[&name]);
    for _ in 0..random.between(1, 4) {
        let blocks = tar.len() / 512;
        let at = 512 * random.between(0, blocks as u64) as usize;
        match random.between(0, 5) {
            0 => {
                tar.drain(at..at + 512);
            }
            1 => {
                let again = tar[at..at + 512].to_vec();
                tar.splice(at..at, again);
            }
            2 => tar[at + random.between(0, 512) as usize] = random.between(0, 256) as u8,
            _ => {
                let header = tar::Header::from_byte_slice(&tar[at..at + 512]);
                let mut header = header.clone();
                // Name, mode, owners, size, time, kind, link: a range of bytes each.
                let places =
                    [0..100, 100..108, 108..116, 124..136, 136..148, 156..157, 157..257, 257..265];
                let place = random.pick(&places);
                let text = random.pick(&NASTY).as_bytes();
                let field = &mut header.as_mut_bytes()[place];
                if field.len() == 1 {
                    field[0] = random.pick(b"01234567LKxgSDV\0");
                } else {
                    field.fill(0);
                    let length = text.len().min(field.len());
                    field[..length].copy_from_slice(&text[..length]);
                }
                header.set_cksum();
                tar[at..at + 512].copy_from_slice(header.as_bytes());
            }
        }
        if tar.len() < 512 {
            break;
        }
    }
    let bytes = packed(&tar);
    let text = String::from_utf8(unpacked(&files[MANIFEST])).unwrap();
    let (body, _) = text.split_once("end\t").unwrap();
    let body = body.replace(&format!("\t{stored}\n"), &format!("\t{}\n", bytes.len()));
    files.insert(MANIFEST.into(), manifest(&body));
    files.insert(name, bytes);
}

/// Makes up a cache that is right in itself, of paths and links that mean harm.
fn made_up(random: &mut Random, tree: &Path) -> Files {
    const NAMES: [&str; 10] =
        ["out", "sub", "one", "two", "src", "a", "b", "link", "elsewhere", "deep"];
    const EVIL_NAMES: [&str; 3] = ["..", ".", ".levain-cache.s.partial"];
    const TARGETS: [&str; 6] = ["one", "sub/..", "link", "out/sub", "../out", "."];
    const EVIL_TARGETS: [&str; 9] = [
        "..",
        "../..",
        "sub/../..",
        "/etc",
        "elsewhere",
        "../elsewhere/x",
        "../src/link/..",
        "../src/link/../..",
        "a/b/../../../..",
    ];
    // Most of them with little evil, or hardly any would get past the first checks.
    let evil = random.pick(&[5, 40, 400]);
    let pick = |random: &mut Random, good: &[&'static str], evils: &[&'static str]| {
        if random.between(0, evil) == 0 { random.pick(evils) } else { random.pick(good) }
    };
    let mut paths = BTreeSet::new();
    for _ in 0..random.between(1, 12) {
        let depth = random.between(1, 4);
        let names: Vec<&str> = (0..depth).map(|_| pick(random, &NAMES, &EVIL_NAMES)).collect();
        // Mostly with the directories above it, without which nothing is accepted.
        for end in 1..=names.len() {
            paths.insert(names[..end].join("/"));
        }
    }
    let mut kinds: BTreeMap<String, &str> = BTreeMap::new();
    let (mut lines, mut tar) = (Vec::new(), tar::Builder::new(Vec::new()));
    let mut count = 0;
    for path in &paths {
        let parent = path.rsplit_once('/').map(|(parent, _)| parent);
        if parent.is_some_and(|parent| kinds.get(parent) != Some(&"directory"))
            && random.between(0, 30) > 0
        {
            continue;
        }
        let held = paths.iter().any(|other| {
            other.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('/'))
        });
        let kind = if held && random.between(0, 6) > 0 {
            "directory"
        } else {
            random.pick(&["file", "file", "link", "link", "same", "directory"])
        };
        let time =
            random.pick(&["1", "1000000000", "1700000000000000000", "-5", "9000000000000000000"]);
        let mode = random.pick(&["755", "644", "0", "777", "500"]);
        let files: Vec<&String> =
            kinds.iter().filter(|(_, kind)| **kind == "file").map(|(path, _)| path).collect();
        let line = match kind {
            "directory" => format!("directory\t{mode}\t{time}\t{path}"),
            "link" => {
                format!("link\t777\t{time}\t{path}\t{}", pick(random, &TARGETS, &EVIL_TARGETS))
            }
            "same" if !files.is_empty() => {
                format!("same\t{mode}\t{time}\t{path}\t{}", random.pick(&files))
            }
            _ => {
                // Some name the output of the build that made them, which is another one's now.
                let (named, word) =
                    random.pick(&[("", ""), ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-app", "outputs")]);
                let text = named.to_owned() + &"x".repeat(random.between(0, 2000) as usize);
                let mut header = tar::Header::new_gnu();
                header.set_size(text.len() as u64);
                // The library refuses some of the names; then the header says nothing of them.
                header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
                header.set_entry_type(tar::EntryType::Regular);
                header.set_cksum();
                tar.append(&header, text.as_bytes()).unwrap();
                count += 1;
                kinds.insert(path.clone(), "file");
                lines.push(format!(
                    "file\t{mode}\t{time}\t{path}\t{}\t{}\t0\t\t{word}",
                    text.len(),
                    Digest::of(text.as_bytes())
                ));
                continue;
            }
        };
        kinds.insert(path.clone(), kind);
        lines.push(line);
    }
    let part = packed(&tar.into_inner().unwrap());
    let id = "0".repeat(64);
    let root = random.pick(&["out", "src", "elsewhere/sub", "elsewhere", "src/link", "."]);
    let tree = tree.display();
    let mut body = format!(
        "levain-cache-set\t3\ntool\tt\ncompressor\tc\nsource\t{tree}\ninto\t{tree}\nroot\t{root}\nnewest\t1\n"
    );
    if count > 0 {
        body += &format!("segment\t{id}\t{count}\t{}\n", part.len());
    }
    if random.between(0, 2) == 0 {
        body += &format!("output\tout\t{}\t-app\n", "a".repeat(32));
        let kept = random.pick(&["kept", "kept", "dropped"]);
        let form = random.pick(&["plain", "name", "encoded", "compressed", "opaque"]);
        body += &format!("doubt\t{kept}\t{form}\tout\tout/one\n");
    }
    body += &lines.join("\n");
    if !lines.is_empty() {
        body += "\n";
    }
    if random.between(0, 3) == 0 {
        let digest = Digest::of(b"a");
        body += &format!(
            "source-file\tkept\t{}\tsrc/a\t1\t{digest}\n",
            random.pick(&["5", "-5", "9000000000000000000"])
        );
    }
    let mut files = Files::new();
    files.insert("levain-cache".into(), b"levain-cache 3\n".to_vec());
    files.insert(MANIFEST.into(), manifest(&body));
    files.insert("s/references".into(), Vec::new());
    files.insert(format!("s/archive/{id}.tar.zst"), part);
    files
}
