//! Packs that are whole, packs that are damaged, and packs that somebody made to do harm.

mod damaged;
mod hostile;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::{CONTENTS, INDEX, PackError, Packer, Packs, TRANSCRIPTS};
use crate::digest::Digest;
use crate::replay::transcript::{
    Done, Kind, Names, PathBytes, Read, Said, Seen, Time, Transcript, When,
};

const FILES: [&str; 3] = [INDEX, CONTENTS, TRANSCRIPTS];

/// A transcript of a command with that name, which saw a file and left another.
fn transcript(name: &str) -> Transcript {
    let path = |end: &str| format!("/build/{name}{end}").into_bytes();
    let seen = Seen {
        path: path(".c"),
        kind: Kind::File,
        mode: Some(0o644),
        size: Some(7),
        when: Some(When::Place(0)),
        content: Some(Digest::of(b"source")),
        names: None,
        target: None,
    };
    let done = Done::File {
        path: path(".o"),
        mode: 0o644,
        content: Digest::of(b"object"),
        time: Time::Then,
    };
    Transcript {
        seen: vec![seen],
        done: vec![done],
        said: vec![Said { descriptor: 1, bytes: b"compiling\n".to_vec() }],
        read: vec![Read { descriptor: 0, position: 3 }],
        reads_nothing: false,
        code: 0,
        micros: 1500,
        name: format!("cc {name}.c"),
    }
}

/// Bytes that do not compress, the same for the same seed.
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..size).map(|_| random.u8(..)).collect()
}

/// A pack's contents and its transcripts with what was given, in the order in which they were added.
#[derive(Clone, Debug, Default)]
struct Held {
    contents: Vec<Vec<u8>>,
    transcripts: Vec<(Digest, Transcript)>,
}

impl Held {
    /// Something of every kind: shared frames, frames of their own, several transcripts for one given thing.
    fn sample() -> Held {
        let given = Digest::of(b"given");
        Held {
            contents: vec![
                Vec::new(),
                b"small".to_vec(),
                b"smaller".to_vec(),
                noise(1, 20_000),
                [noise(2, 300), vec![7; 60_000]].concat(),
            ],
            transcripts: vec![
                (given, transcript("old")),
                (Digest::of(b"other"), transcript("other")),
                (given, transcript("new")),
            ],
        }
    }

    fn write(&self, directory: &Path) {
        let mut packer = Packer::create(directory).unwrap();
        for content in &self.contents {
            packer.add_content(&Digest::of(content), content).unwrap();
        }
        for (given, transcript) in &self.transcripts {
            packer.add_transcript(*given, transcript).unwrap();
        }
        packer.finish().unwrap();
    }

    /// The transcripts for what was given, as they must be found.
    fn newest_first(&self, given: &Digest) -> Vec<&Transcript> {
        let mut found: Vec<&Transcript> = Vec::new();
        for (_, transcript) in self.transcripts.iter().rev().filter(|(other, _)| other == given) {
            if !found.contains(&transcript) {
                found.push(transcript);
            }
        }
        found
    }
}

fn open(directories: &[&Path]) -> Packs {
    let directories: Vec<PathBuf> = directories.iter().map(|path| path.to_path_buf()).collect();
    let (packs, refused) = Packs::open(&directories);
    assert!(refused.is_empty(), "{refused:?}");
    packs
}

fn bytes_of(directory: &Path) -> Vec<Vec<u8>> {
    FILES.iter().map(|file| fs::read(directory.join(file)).unwrap()).collect()
}

fn names(packs: &Packs, given: &Digest) -> Vec<(String, usize)> {
    let found = packs.transcripts(given).into_iter();
    found.map(|found| (found.transcript.name.clone(), found.source)).collect()
}

fn a_name() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(
        any::<u8>().prop_filter("a name's", |byte| ![0, b'/'].contains(byte)),
        1..9,
    )
    .prop_filter("a name", |name| name != b"." && name != b"..")
}

fn a_path() -> impl Strategy<Value = PathBytes> {
    prop::collection::vec(a_name(), 1..4).prop_map(|parts| [vec![b'/'], parts.join(&b'/')].concat())
}

fn a_digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes)
}

fn a_target() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(1..=u8::MAX, 1..20)
}

fn a_seen(count: u32) -> impl Strategy<Value = Seen> {
    let kind = prop_oneof![
        Just(Kind::Absent),
        Just(Kind::File),
        Just(Kind::Directory),
        Just(Kind::Link),
        Just(Kind::Other),
    ];
    let when = prop_oneof![
        (any::<i64>(), 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| When::At(seconds, nanos)),
        (0..count).prop_map(When::Place),
    ];
    let names = (prop::collection::vec(a_name(), 0..4), a_digest())
        .prop_map(|(without, digest)| Names { without, digest });
    use prop::option::of;
    let looks = (of(0..=0o7777_u16), of(0..=i64::MAX as u64), of(when));
    (a_path(), kind, looks, of(a_digest()), of(names), of(a_target())).prop_map(
        |(path, kind, (mode, size, when), content, names, target)| Seen {
            path,
            kind,
            mode: mode.filter(|_| kind != Kind::Absent),
            size: size.filter(|_| kind != Kind::Absent),
            when: when.filter(|_| kind != Kind::Absent),
            content: content.filter(|_| kind == Kind::File),
            names: names.filter(|_| kind == Kind::Directory),
            target: target.filter(|_| kind == Kind::Link),
        },
    )
}

fn a_done() -> impl Strategy<Value = Done> {
    let time = prop_oneof![
        Just(Time::Then),
        (any::<i64>(), 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| Time::At(seconds, nanos)),
        a_path().prop_map(Time::Like),
        a_path().prop_map(Time::With),
    ];
    // One part, so that none is in another.
    let path = || a_name().prop_map(|name| [vec![b'/'], name].concat());
    let mode = || 0..=0o7777_u16;
    prop_oneof![
        path().prop_map(|path| Done::Remove { path }),
        (path(), mode()).prop_map(|(path, mode)| Done::Directory { path, mode }),
        (path(), mode(), a_digest(), time).prop_map(|(path, mode, content, time)| Done::File {
            path,
            mode,
            content,
            time
        }),
        (path(), a_target()).prop_map(|(path, target)| Done::Link { path, target }),
    ]
}

fn a_transcript() -> impl Strategy<Value = Transcript> {
    let seen = (1..6_u32).prop_flat_map(|count| {
        prop::collection::vec(a_seen(count), usize::try_from(count).unwrap())
    });
    let done = prop::collection::vec(a_done(), 0..5).prop_map(|mut done| {
        let mut known = std::collections::HashSet::new();
        done.retain(|done| known.insert(done.path().clone()));
        done
    });
    let said = (0..9_i32, prop::collection::vec(any::<u8>(), 0..40))
        .prop_map(|(descriptor, bytes)| Said { descriptor, bytes });
    let read = (0..9_i32, 0..=i64::MAX as u64)
        .prop_map(|(descriptor, position)| Read { descriptor, position });
    use prop::collection::vec as list;
    let ending = (any::<bool>(), any::<u8>(), 0..1_u64 << 40, ".{0,20}");
    (seen, done, list(said, 0..4), list(read, 0..3), ending).prop_map(
        |(seen, done, said, read, (reads_nothing, code, micros, name))| Transcript {
            seen,
            done,
            said,
            read,
            reads_nothing,
            code,
            micros,
            name,
        },
    )
}

fn a_pack() -> impl Strategy<Value = Held> {
    let content = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..200),
        1 => (any::<u64>(), 0..70_000_usize).prop_map(|(seed, size)| noise(seed, size)),
        1 => (any::<u8>(), 0..200_000_usize).prop_map(|(byte, size)| vec![byte; size]),
    ];
    // Few different given things, so that some have several transcripts.
    let given = (0..4_u8).prop_map(|number| Digest::of(&[number]));
    (prop::collection::vec(content, 0..12), prop::collection::vec((given, a_transcript()), 0..8))
        .prop_map(|(contents, transcripts)| Held { contents, transcripts })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(held in a_pack()) {
        let place = TempDir::new().unwrap();
        let (one, two) = (place.path().join("one"), place.path().join("two"));
        held.write(&one);
        held.write(&two);
        prop_assert_eq!(bytes_of(&one), bytes_of(&two));
        let packs = open(&[&one]);
        for content in &held.contents {
            let digest = Digest::of(content);
            prop_assert!(packs.has_content(&digest));
            prop_assert_eq!(&packs.content(&digest).unwrap(), content);
        }
        for number in 0..5_u8 {
            let given = Digest::of(&[number]);
            let found = packs.transcripts(&given);
            let found: Vec<&Transcript> = found.iter().map(|found| &*found.transcript).collect();
            prop_assert_eq!(found, held.newest_first(&given));
        }
        prop_assert!(packs.refused().is_empty());
    }

    #[test]
    fn what_is_taken_over_is_the_same(held in a_pack(), some in any::<u16>()) {
        let place = TempDir::new().unwrap();
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        held.write(&from);
        let packs = open(&[&from]);
        let mut packer = Packer::create(&to).unwrap();
        let taken = held.contents.iter().enumerate().filter(|(at, _)| some >> at & 1 == 1);
        let taken: Vec<&Vec<u8>> = taken.map(|(_, content)| content).collect();
        for content in &taken {
            packer.take_content(&Digest::of(content), &packs).unwrap();
            prop_assert!(packer.has_content(&Digest::of(content)));
        }
        packer.finish().unwrap();
        let packs = open(&[&to]);
        for content in &held.contents {
            let digest = Digest::of(content);
            prop_assert_eq!(packs.has_content(&digest), taken.contains(&content));
            match packs.content(&digest) {
                Ok(found) => prop_assert_eq!(&found, content),
                Err(error) => prop_assert!(!taken.contains(&content), "{}", error),
            }
        }
    }
}

#[test]
fn all_taken_over_in_order_is_the_same_pack() {
    let place = TempDir::new().unwrap();
    let (from, to) = (place.path().join("from"), place.path().join("to"));
    let held = Held { transcripts: Vec::new(), ..Held::sample() };
    held.write(&from);
    let packs = open(&[&from]);
    let mut packer = Packer::create(&to).unwrap();
    for content in &held.contents {
        packer.take_content(&Digest::of(content), &packs).unwrap();
    }
    packer.finish().unwrap();
    assert_eq!(bytes_of(&from), bytes_of(&to));
}

#[test]
fn equal_contents_are_kept_once() {
    let place = TempDir::new().unwrap();
    let (once, twice) = (place.path().join("once"), place.path().join("twice"));
    let held = Held::sample();
    held.write(&once);
    let contents = [held.contents.clone(), held.contents.clone()].concat();
    Held { contents, ..held }.write(&twice);
    assert_eq!(bytes_of(&once), bytes_of(&twice));
}

#[test]
fn equal_transcripts_are_kept_once_and_the_last_is_the_newest() {
    let place = TempDir::new().unwrap();
    let pack = place.path().join("pack");
    let given = Digest::of(b"given");
    let added = ["a", "b", "a"].map(|name| (given, transcript(name)));
    Held { contents: Vec::new(), transcripts: added.to_vec() }.write(&pack);
    let found = names(&open(&[&pack]), &given);
    assert_eq!(found, [("cc a.c".to_owned(), 0), ("cc b.c".to_owned(), 0)]);
}

#[test]
fn directories_are_asked_in_order() {
    let place = TempDir::new().unwrap();
    let path = |name: &str| place.path().join(name);
    let given = Digest::of(b"given");
    let held = |names: &[&str], content: &[u8]| Held {
        contents: vec![content.to_vec()],
        transcripts: names.iter().map(|name| (given, transcript(name))).collect(),
    };
    held(&["a", "b"], b"one").write(&path("first"));
    held(&["b", "c"], b"two").write(&path("third"));
    let (packs, refused) = Packs::open(&[path("first"), path("second"), path("third")]);
    assert!(
        matches!(refused.as_slice(), [PackError::Unfinished(at)] if *at == path("second")),
        "{refused:?}"
    );
    let expected = [("cc b.c", 0), ("cc a.c", 0), ("cc c.c", 2)];
    assert_eq!(names(&packs, &given), expected.map(|(name, source)| (name.to_owned(), source)));
    for content in [b"one", b"two"] {
        assert_eq!(packs.content(&Digest::of(content)).unwrap(), content);
    }
    let absent = Digest::of(b"three");
    assert!(!packs.has_content(&absent));
    assert!(matches!(packs.content(&absent), Err(PackError::Absent(digest)) if digest == absent));
}

#[test]
fn a_damaged_content_is_taken_from_the_next_pack() {
    let place = TempDir::new().unwrap();
    let (bad, good) = (place.path().join("bad"), place.path().join("good"));
    let content = noise(1, 30_000);
    let mut packer = Packer::create(&bad).unwrap();
    packer.add_content(&Digest::of(&content), &noise(2, 30_000)).unwrap();
    packer.finish().unwrap();
    Held { contents: vec![content.clone()], transcripts: Vec::new() }.write(&good);
    let packs = open(&[&bad, &good]);
    assert_eq!(packs.content(&Digest::of(&content)).unwrap(), content);
    let mut packer = Packer::create(&place.path().join("new")).unwrap();
    packer.take_content(&Digest::of(&content), &packs).unwrap();
    packer.finish().unwrap();
    assert_eq!(bytes_of(&good), bytes_of(&place.path().join("new")));

    let mut packer = Packer::create(&place.path().join("none")).unwrap();
    let error = packer.take_content(&Digest::of(&content), &open(&[&bad])).unwrap_err();
    assert!(error.to_string().contains("holds something else for"), "{error}");
    assert!(!packer.has_content(&Digest::of(&content)));
}

#[test]
fn many_frames_keep_their_order() {
    let place = TempDir::new().unwrap();
    let pack = place.path().join("pack");
    // Beyond what is compressed at once, with one content that is so alone.
    let sizes = [70_000, 3, 20_000, 17 << 20, 9, 1 << 20, 16_384, 16_383];
    let contents =
        (0..64).map(|seed| noise(seed, sizes[usize::try_from(seed).unwrap() % 8] / 4 + 1));
    let held = Held { contents: contents.collect(), transcripts: Vec::new() };
    held.write(&pack);
    let packs = open(&[&pack]);
    for content in held.contents.iter().rev() {
        assert!(packs.content(&Digest::of(content)).unwrap() == *content);
    }
}

#[test]
fn large_transcripts_share_frames() {
    let place = TempDir::new().unwrap();
    let pack = place.path().join("pack");
    let long = |name: &str, count: u32| {
        let one = transcript("it").seen.remove(0);
        let path = |number| format!("/nix/store/some/include/header{number}.h").into_bytes();
        let content = |number: u32| Some(Digest::of(&number.to_le_bytes()));
        let seen = (0..count).map(|number| Seen {
            path: path(number),
            content: content(number),
            ..one.clone()
        });
        Transcript { seen: seen.collect(), ..transcript(name) }
    };
    // As of a `make` that calls itself, with compilers in between.
    let transcripts: Vec<(Digest, Transcript)> = (0..12_u32)
        .map(|number| {
            let large = number % 2 == 0;
            let it = long(&format!("make{number}"), if large { 10_000 + number } else { 200 });
            (Digest::of(&[u8::try_from(number).unwrap()]), it)
        })
        .collect();
    let held = Held { contents: Vec::new(), transcripts };
    held.write(&pack);
    let packs = open(&[&pack]);
    for (given, transcript) in held.transcripts.iter().rev() {
        assert!(*packs.transcripts(given)[0].transcript == *transcript);
    }
    // Not much more than one of them takes.
    let alone = place.path().join("alone");
    Held { transcripts: held.transcripts[..1].to_vec(), ..Held::default() }.write(&alone);
    let size = |pack: &Path| fs::metadata(pack.join(TRANSCRIPTS)).unwrap().len();
    assert!(size(&pack) < size(&alone) * 5 / 4, "{} {}", size(&pack), size(&alone));
}

#[test]
fn frames_of_several_packs_are_kept_apart() {
    let place = TempDir::new().unwrap();
    // More frames than are kept unpacked, and the same numbers of frames in each pack.
    let held: Vec<Held> = (0..3_u64)
        .map(|pack| {
            let contents = (0..400).map(|number| noise(pack * 1000 + number, 10_000)).collect();
            let given = Digest::of(b"given");
            let transcripts = vec![(given, transcript(&format!("of{pack}")))];
            Held { contents, transcripts }
        })
        .collect();
    let paths: Vec<PathBuf> = (0..3).map(|pack| place.path().join(format!("pack{pack}"))).collect();
    for (held, path) in held.iter().zip(&paths) {
        held.write(path);
    }
    let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let packs = open(&paths);
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..3000 {
        let content = &held[random.usize(..3)].contents[random.usize(..400)];
        assert!(packs.content(&Digest::of(content)).unwrap() == *content);
        assert_eq!(names(&packs, &Digest::of(b"given")).len(), 3);
    }
}

#[test]
fn an_unfinished_pack_is_none() {
    let place = TempDir::new().unwrap();
    let pack = place.path().join("pack");
    let mut packer = Packer::create(&pack).unwrap();
    packer.add_content(&Digest::of(b"content"), b"content").unwrap();
    drop(packer);
    let (packs, refused) = Packs::open(&[pack]);
    assert!(matches!(refused.as_slice(), [PackError::Unfinished(_)]), "{refused:?}");
    assert!(!packs.has_content(&Digest::of(b"content")));
}

#[test]
fn an_empty_pack_is_one() {
    let place = TempDir::new().unwrap();
    // A directory that is there already.
    Held::default().write(place.path());
    let packs = open(&[place.path()]);
    assert!(packs.transcripts(&Digest::of(b"given")).is_empty());
}

#[test]
fn nothing_is_written_over() {
    let place = TempDir::new().unwrap();
    let occupied = |path: &Path| matches!(Packer::create(path), Err(PackError::Occupied(_)));
    fs::write(place.path().join("file"), "").unwrap();
    assert!(occupied(place.path()));
    assert!(occupied(&place.path().join("file")));
    fs::create_dir(place.path().join("empty")).unwrap();
    symlink("empty", place.path().join("link")).unwrap();
    assert!(occupied(&place.path().join("link")));
    symlink("nowhere", place.path().join("dangling")).unwrap();
    assert!(occupied(&place.path().join("dangling")));
}

#[test]
fn packs_can_be_read_by_several_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Packs>();
}
