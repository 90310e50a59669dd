//! Packs that somebody made to do harm.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::{FILES, Held, a_transcript, transcript};
use crate::digest::Digest;
use crate::replay::pack::index::{Damage, Place, Record, Tables};
use crate::replay::pack::record::{self, Fault};
use crate::replay::pack::{CONTENTS, INDEX, PackError, Packer, Packs, TRANSCRIPTS};
use crate::replay::transcript::{Done, Kind, Names, Read, Said, Seen, Time, Transcript, When};

fn only_reason(pack: &Path) -> PackError {
    let (packs, mut refused) = Packs::open(&[pack.to_path_buf()]);
    assert!(!packs.has_content(&Digest::of(b"small")));
    assert_eq!(refused.len(), 1);
    refused.remove(0)
}

#[test]
fn links_and_others_are_no_files_of_a_pack() {
    for file in FILES {
        let place = TempDir::new().unwrap();
        let pack = place.path().join("pack");
        Held::sample().write(&pack);
        let outside = place.path().join("outside");
        fs::rename(pack.join(file), &outside).unwrap();
        let refuses = || {
            let reason = only_reason(&pack);
            assert!(
                matches!(&reason, PackError::NotAFile(path) if *path == pack.join(file)),
                "{reason}"
            );
        };
        symlink(&outside, pack.join(file)).unwrap();
        refuses();
        fs::remove_file(pack.join(file)).unwrap();
        fs::create_dir(pack.join(file)).unwrap();
        refuses();
        fs::remove_dir(pack.join(file)).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            pack.join(file),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        refuses();
        fs::remove_file(pack.join(file)).unwrap();
        drop(std::os::unix::net::UnixListener::bind(pack.join(file)).unwrap());
        refuses();
    }
}

#[test]
fn other_formats() {
    let place = TempDir::new().unwrap();
    Held::sample().write(place.path());
    let index = place.path().join(INDEX);
    let whole = fs::read(&index).unwrap();
    let as_version = |version: &str| {
        let head = format!("levain-pack {version}\n");
        fs::write(&index, [head.as_bytes(), &whole[b"levain-pack 1\n".len()..]].concat()).unwrap();
        only_reason(place.path())
    };
    let newer = as_version("2");
    assert!(matches!(&newer, PackError::Newer { found, .. } if found == "2"), "{newer}");
    for version in ["0", "-1", "", "4294967296", "1 ", "99999999999999999999"] {
        let reason = as_version(version);
        assert!(matches!(reason, PackError::Foreign(_)), "{version}: {reason}");
    }
    fs::write(&index, "something else").unwrap();
    assert!(matches!(only_reason(place.path()), PackError::Foreign(_)));
}

/// Writes a pack's files as they are given, with an index that has the right hash.
fn forge(pack: &Path, contents: &[u8], transcripts: &[u8], tables: &Tables<'_>) {
    fs::write(pack.join(CONTENTS), contents).unwrap();
    fs::write(pack.join(TRANSCRIPTS), transcripts).unwrap();
    fs::write(pack.join(INDEX), tables.encode().unwrap()).unwrap();
}

const NOTHING: Tables<'_> =
    Tables { content_frames: &[], contents: &[], transcript_frames: &[], transcripts: &[] };

#[test]
fn a_frame_cannot_promise_more_than_it_can_hold() {
    let place = TempDir::new().unwrap();
    let zeros = zstd::bulk::compress(&vec![0; 64 << 20], 3).unwrap();
    let end = zeros.len() as u64;
    let digest = Digest::of(&[]);
    let size = |size| {
        let contents = [(digest, Place { frame: 0, offset: 0, size })];
        let frames = [(end, size)];
        forge(
            place.path(),
            &zeros,
            b"",
            &Tables { content_frames: &frames, contents: &contents, ..NOTHING },
        );
        let (packs, refused) = Packs::open(&[place.path().to_path_buf()]);
        match refused.into_iter().next() {
            Some(reason) => reason,
            None => packs.content(&digest).unwrap_err(),
        }
    };
    let damage = |reason: PackError| {
        let PackError::Damaged { damage, .. } = reason else { panic!("{reason}") };
        damage
    };
    assert!(matches!(damage(size(u32::MAX)), Damage::Frames));
    // What it has, but not what the digest says.
    assert!(matches!(damage(size(64 << 20)), Damage::Content(_)));
    assert!(matches!(damage(size((64 << 20) + 1)), Damage::Length(0)));
    assert!(matches!(damage(size((64 << 20) - 1)), Damage::Packed { number: 0, .. }));
    // Nor may much be read for little.
    assert!(matches!(damage(size(1)), Damage::Packed { number: 0, .. } | Damage::Frames));
    let noise = super::noise(1, 1 << 20);
    let frames = [(noise.len() as u64, 1)];
    forge(place.path(), &noise, b"", &Tables { content_frames: &frames, ..NOTHING });
    assert!(matches!(damage(only_reason(place.path())), Damage::Frames));
}

#[test]
fn contents_share_no_large_frame() {
    let place = TempDir::new().unwrap();
    let size = 5 << 20;
    let zeros = zstd::bulk::compress(&vec![0; 5 << 20], 3).unwrap();
    let frames = [(zeros.len() as u64, size)];
    let refused = |place_in: Place| {
        let contents = [(Digest::of(b"small"), place_in)];
        let tables = Tables { content_frames: &frames, contents: &contents, ..NOTHING };
        forge(place.path(), &zeros, b"", &tables);
        let reason = Packs::open(&[place.path().to_path_buf()]).1.pop();
        reason.map(|reason| reason.to_string()).unwrap_or_default()
    };
    assert_eq!(refused(Place { frame: 0, offset: 0, size }), "");
    for place_in in
        [Place { frame: 0, offset: 0, size: size - 1 }, Place { frame: 0, offset: 1, size: 1 }]
    {
        let reason = refused(place_in);
        assert!(reason.contains("contents share a frame of more than"), "{reason}");
    }
    for outside in [
        Place { frame: 0, offset: 1, size },
        Place { frame: 0, offset: u32::MAX, size: 1 },
        Place { frame: 0, offset: 2, size: u32::MAX },
        Place { frame: 1, offset: 0, size: 0 },
        Place { frame: u32::MAX, offset: 0, size: 0 },
    ] {
        let reason = refused(outside);
        assert!(reason.contains("an entry is outside its frame"), "{reason}");
    }
}

#[test]
fn frames_lie_one_after_the_other_and_fill_the_file() {
    let place = TempDir::new().unwrap();
    let bytes = [0; 20];
    for ends in [&[][..], &[19], &[21], &[20, 19], &[21, 20], &[u64::MAX, 20], &[20, 20, u64::MAX]]
    {
        let frames: Vec<(u64, u32)> = ends.iter().map(|end| (*end, 1)).collect();
        let of_contents = Tables { content_frames: &frames, ..NOTHING };
        let of_transcripts = Tables { transcript_frames: &frames, ..NOTHING };
        for (contents, transcripts, tables) in
            [(&bytes[..], &b""[..], of_contents), (b"", &bytes, of_transcripts)]
        {
            forge(place.path(), contents, transcripts, &tables);
            let reason = only_reason(place.path());
            let frames = |damage: &Damage| matches!(damage, Damage::Frames);
            assert!(
                matches!(&reason, PackError::Damaged { damage, .. } if frames(damage)),
                "{reason}"
            );
        }
    }
}

#[test]
fn entries_are_in_order() {
    let place = TempDir::new().unwrap();
    let digests = [Digest::from_bytes([1; 32]), Digest::from_bytes([2; 32])];
    let none = Place { frame: 0, offset: 0, size: 0 };
    let frame = zstd::bulk::compress(b"", 3).unwrap();
    let frames = [(frame.len() as u64, 0)];
    for (order, content_fits, transcript_fits) in
        [([0, 1], true, true), ([1, 0], false, false), ([0, 0], false, true)]
    {
        let contents = order.map(|at: usize| (digests[at], none));
        let records = order.map(|at| Record { given: digests[at], own: digests[0], place: none });
        let both = Tables { content_frames: &frames, transcript_frames: &frames, ..NOTHING };
        for (tables, fits) in [
            (Tables { contents: &contents, ..both }, content_fits),
            (Tables { transcripts: &records, ..both }, transcript_fits),
        ] {
            forge(place.path(), &frame, &frame, &tables);
            let refused = Packs::open(&[place.path().to_path_buf()]).1;
            assert_eq!(refused.is_empty(), fits, "{refused:?}");
        }
    }
}

#[test]
fn what_does_not_unpack_is_an_error() {
    let place = TempDir::new().unwrap();
    let digest = Digest::of(b"content");
    let contents = [(digest, Place { frame: 0, offset: 0, size: 7 })];
    // One that wants a window of gigabytes, one with a dictionary, none at all, two of them.
    let once = zstd::bulk::compress(b"content", 3).unwrap();
    let window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff, 0x01, 0x00, 0x00];
    let dictionary = [0x28, 0xb5, 0x2f, 0xfd, 0x03, 0x00, 1, 2, 3, 4, 0x01, 0x00, 0x00];
    let twice = [once.as_slice(), &once].concat();
    for bytes in [&window[..], &dictionary, b"", &twice, b"content"] {
        let frames = [(bytes.len() as u64, 7)];
        let tables = Tables { content_frames: &frames, contents: &contents, ..NOTHING };
        forge(place.path(), bytes, b"", &tables);
        let packs = super::open(&[place.path()]);
        let error = packs.content(&digest).unwrap_err();
        assert!(matches!(error, PackError::Damaged { .. }), "{error}");
    }
}

#[test]
fn a_transcript_must_be_the_one_of_the_index_and_keep_the_rules() {
    let place = TempDir::new().unwrap();
    let given = Digest::of(b"given");
    let good = postcard::to_stdvec(&transcript("good")).unwrap();
    let bad = postcard::to_stdvec(&Transcript {
        done: vec![Done::Remove { path: b"/build/../etc/passwd".to_vec() }],
        ..transcript("bad")
    })
    .unwrap();
    let plain = [good.as_slice(), &bad].concat();
    let frame = zstd::bulk::compress(&plain, 3).unwrap();
    let size = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
    let places = [
        Place { frame: 0, offset: 0, size: size(&good) },
        Place { frame: 0, offset: size(&good), size: size(&bad) },
    ];
    let records = [
        Record { given, own: Digest::of(&good), place: places[0] },
        Record { given, own: Digest::of(&bad), place: places[1] },
        Record { given, own: Digest::of(b"another"), place: places[0] },
    ];
    let frames = [(frame.len() as u64, size(&plain))];
    forge(
        place.path(),
        b"",
        &frame,
        &Tables { transcript_frames: &frames, transcripts: &records, ..NOTHING },
    );
    let packs = super::open(&[place.path()]);
    let found = packs.transcripts(&given);
    assert_eq!(found.len(), 1);
    assert_eq!(*found[0].transcript, transcript("good"));
    let reasons: Vec<String> = packs.refused().iter().map(ToString::to_string).collect();
    assert_eq!(reasons.len(), 2);
    assert!(reasons[0].contains("holds something else for the transcript"), "{}", reasons[0]);
    assert!(reasons[1].contains("`/build/../etc/passwd` is no absolute path"), "{}", reasons[1]);
    assert!(packs.refused().is_empty());
}

#[test]
fn a_million_transcripts_for_one_thing_are_not_all_read() {
    let place = TempDir::new().unwrap();
    let given = Digest::of(b"given");
    let none = Place { frame: 0, offset: 0, size: 0 };
    let records = vec![Record { given, own: Digest::of(b"another"), place: none }; 1_000_000];
    let frame = zstd::bulk::compress(b"", 3).unwrap();
    let frames = [(frame.len() as u64, 0)];
    let tables = Tables { transcript_frames: &frames, transcripts: &records, ..NOTHING };
    forge(place.path(), b"", &frame, &tables);
    let packs = super::open(&[place.path()]);
    for _ in 0..1000 {
        assert!(packs.transcripts(&given).is_empty());
    }
    assert_eq!(packs.refused().len(), 100);
}

fn seen(path: &str) -> Seen {
    Seen {
        path: path.into(),
        kind: Kind::File,
        mode: None,
        size: None,
        when: None,
        content: None,
        names: None,
        target: None,
    }
}

fn fault(transcript: &Transcript) -> Option<Fault> {
    let fault = record::encode(transcript).err();
    // A packer refuses what a reader would.
    let place = TempDir::new().unwrap();
    let mut packer = Packer::create(&place.path().join("pack")).unwrap();
    let added = packer.add_transcript(Digest::of(b"given"), transcript);
    assert_eq!(added.is_err(), fault.is_some());
    fault
}

fn with_seen(seen: Seen) -> Option<Fault> {
    fault(&Transcript { seen: vec![seen], ..transcript("it") })
}

fn with_done(done: Vec<Done>) -> Option<Fault> {
    fault(&Transcript { done, ..transcript("it") })
}

#[test]
fn paths() {
    let long = |length: usize| format!("/{}", "a/".repeat(length / 2 - 1)) + "a";
    let most = long(4096);
    assert_eq!(most.len(), 4096);
    for path in ["/a", "/a/b", "/...", "/a b/\n/ä", &most] {
        assert!(with_seen(seen(path)).is_none(), "{path}");
        assert!(with_done(vec![Done::Remove { path: path.into() }]).is_none(), "{path}");
        let time = Time::Like(path.into());
        let file = Done::File { path: b"/f".to_vec(), mode: 0, content: Digest::of(b""), time };
        assert!(with_done(vec![file]).is_none(), "{path}");
    }
    let name = format!("/{}", "a".repeat(256));
    let longer = most.clone() + "a";
    for path in [
        "", "a", "a/b", "./a", "//", "/a/", "/a//b", "//a", "/.", "/..", "/a/.", "/a/../b",
        "/a/./b", "/a\0", "\0", &name, &longer,
    ] {
        let is_path = |fault: Option<Fault>| matches!(fault, Some(Fault::Path(_)));
        assert!(is_path(with_seen(seen(path))), "{path}");
        let target = || b"x".to_vec();
        for done in [
            Done::Remove { path: path.into() },
            Done::Directory { path: path.into(), mode: 0 },
            Done::Link { path: path.into(), target: target() },
        ] {
            assert!(is_path(with_done(vec![done])), "{path}");
        }
        let time = Time::Like(path.into());
        let file = Done::File { path: b"/f".to_vec(), mode: 0, content: Digest::of(b""), time };
        assert!(is_path(with_done(vec![file])), "{path}");
    }
    // The root can be looked at, but not be done.
    assert!(with_seen(seen("/")).is_none());
    assert!(with_done(vec![Done::Remove { path: b"/".to_vec() }]).is_some());
}

#[test]
fn what_was_seen() {
    assert!(with_seen(Seen { mode: Some(0o7777), ..seen("/a") }).is_none());
    let mode = with_seen(Seen { mode: Some(0o10000), ..seen("/a") });
    assert!(matches!(mode, Some(Fault::Mode { .. })));
    let size = with_seen(Seen { size: Some(1 << 63), ..seen("/a") });
    assert!(matches!(size, Some(Fault::Size(_))));
    for when in [When::At(0, 1_000_000_000), When::Place(1), When::Place(u32::MAX)] {
        let time = with_seen(Seen { when: Some(when), ..seen("/a") });
        assert!(matches!(time, Some(Fault::Time(_))), "{when:?}");
    }
    assert!(with_seen(Seen { when: Some(When::Place(0)), ..seen("/a") }).is_none());
    let directory = |name: &[u8]| {
        let names = Names { without: vec![name.to_vec()], digest: Digest::of(b"") };
        with_seen(Seen { kind: Kind::Directory, names: Some(names), ..seen("/a") })
    };
    assert!(directory(b"name").is_none());
    for name in [&b""[..], b".", b"..", b"a/b", b"a\0", &[b'a'; 256]] {
        assert!(matches!(directory(name), Some(Fault::Name(_))), "{name:?}");
    }
    let link = |target: &[u8]| {
        with_seen(Seen { kind: Kind::Link, target: Some(target.to_vec()), ..seen("/a") })
    };
    assert!(link(b"../anywhere").is_none());
    for target in [&b""[..], b"a\0", &[b'a'; 4096]] {
        assert!(matches!(link(target), Some(Fault::Target(_))), "{target:?}");
    }
    let names = Some(Names { without: Vec::new(), digest: Digest::of(b"") });
    for wrong in [
        Seen { kind: Kind::Absent, size: Some(1), ..seen("/a") },
        Seen { kind: Kind::Link, content: Some(Digest::of(b"")), ..seen("/a") },
        Seen { kind: Kind::File, names, ..seen("/a") },
        Seen { kind: Kind::Other, target: Some(b"a".to_vec()), ..seen("/a") },
    ] {
        assert!(matches!(with_seen(wrong), Some(Fault::Kind(_))));
    }
}

#[test]
fn what_was_done() {
    let directory = |path: &str| Done::Directory { path: path.into(), mode: 0o755 };
    let link = |path: &str| Done::Link { path: path.into(), target: b"/etc".to_vec() };
    let remove = |path: &str| Done::Remove { path: path.into() };
    let at = |mode, time| Done::File { path: b"/f".to_vec(), mode, content: Digest::of(b""), time };
    for fine in [
        vec![directory("/a"), directory("/a/b"), link("/a/b/c"), link("/a/bc")],
        vec![remove("/a/b"), remove("/a")],
        vec![remove("/a"), remove("/a/b")],
        vec![remove("/a/b"), link("/a")],
        vec![link("/a"), link("/ab"), link("/b/a")],
        vec![at(0o7777, Time::At(i64::MIN, 999_999_999))],
    ] {
        assert!(with_done(fine.clone()).is_none(), "{fine:?}");
    }
    let twice = with_done(vec![directory("/a"), remove("/a")]);
    assert!(matches!(twice, Some(Fault::Twice(_))));
    // A link, and something done where it leads.
    for through in [
        vec![link("/a"), directory("/a/passwd")],
        vec![directory("/a/b/passwd"), link("/a")],
        vec![link("/a"), remove("/a/passwd")],
        vec![remove("/a"), directory("/a/b")],
    ] {
        assert!(matches!(with_done(through.clone()), Some(Fault::Parent(_))), "{through:?}");
    }
    assert!(matches!(with_done(vec![at(0o10000, Time::Then)]), Some(Fault::Mode { .. })));
    assert!(matches!(with_done(vec![at(0, Time::At(0, u32::MAX))]), Some(Fault::Time(_))));
}

#[test]
fn how_it_ended() {
    let it = transcript("it");
    for descriptor in [-1, i32::MIN, i32::MAX] {
        let said = vec![Said { descriptor, bytes: Vec::new() }];
        let said = fault(&Transcript { said, ..it.clone() });
        assert!(matches!(said, Some(Fault::Descriptor(_))));
        let read = vec![Read { descriptor, position: 0 }];
        let read = fault(&Transcript { read, ..it.clone() });
        assert!(matches!(read, Some(Fault::Descriptor(_))));
    }
    let read = vec![Read { descriptor: 0, position: u64::MAX }];
    let read = fault(&Transcript { read, ..it.clone() });
    assert!(matches!(read, Some(Fault::Descriptor(0))));
    let long = fault(&Transcript { micros: u64::MAX, ..it.clone() });
    assert!(matches!(long, Some(Fault::Duration(u64::MAX))));
    let named = fault(&Transcript { name: "a".repeat(4097), ..it.clone() });
    assert!(matches!(named, Some(Fault::Called)));
    let bytes = vec![0; 65 << 20];
    let large = fault(&Transcript { said: vec![Said { descriptor: 1, bytes }], ..it });
    assert!(matches!(large, Some(Fault::Large)));
}

#[test]
fn numbers_of_entries() {
    // As postcard writes a number, and nothing of what it announces.
    for count in [1_u64 << 20, (1 << 20) + 1, u64::MAX] {
        let bytes = postcard::to_stdvec(&count).unwrap();
        let fault = record::decode(&bytes).unwrap_err();
        assert_eq!(matches!(fault, Fault::Many), count > 1 << 20, "{fault}");
    }
    // Names of nothing take a byte here, and many in memory.
    let names = Names { without: vec![Vec::new(); 3 << 20], digest: Digest::of(b"") };
    let many = Seen { kind: Kind::Directory, names: Some(names), ..seen("/a") };
    assert!(matches!(with_seen(many), Some(Fault::Many)));
    let names = Names { without: vec![Vec::new(); 5 << 20], digest: Digest::of(b"") };
    let many = Seen { kind: Kind::Directory, names: Some(names), ..seen("/a") };
    assert!(matches!(with_seen(many), Some(Fault::Encoding(_))));
    let mut after = postcard::to_stdvec(&transcript("it")).unwrap();
    after.push(0);
    assert!(matches!(record::decode(&after), Err(Fault::Trailing)));
}

/// The rule for paths once more, in the words of the standard library.
fn keeps_the_rules(transcript: &Transcript) -> bool {
    let is_path = |bytes: &Vec<u8>| {
        let path = Path::new(OsStr::from_bytes(bytes));
        let parts = path.components();
        let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
        path.is_absolute()
            && parts.clone().all(plain)
            && parts.collect::<PathBuf>().as_os_str() == path.as_os_str()
    };
    transcript.seen.iter().all(|seen| is_path(&seen.path))
        && transcript.done.iter().all(|done| is_path(done.path()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(transcript) = record::decode(&bytes) {
            prop_assert!(keeps_the_rules(&transcript));
        }
    }

    #[test]
    fn changed_transcripts_are_refused_or_keep_the_rules(it in a_transcript(), seed in any::<u64>()) {
        let whole = record::encode(&it).unwrap();
        prop_assert_eq!(&record::decode(&whole).unwrap(), &it);
        let mut random = fastrand::Rng::with_seed(seed);
        for length in 0..whole.len() {
            prop_assert!(record::decode(&whole[..length]).is_err());
        }
        for _ in 0..64 {
            let mut bytes = whole.clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..bytes.len());
                bytes[at] = if random.bool() { random.u8(..) } else { bytes[at] ^ 1 << random.u32(..8) };
            }
            if let Ok(read) = record::decode(&bytes) {
                prop_assert!(keeps_the_rules(&read));
                prop_assert_eq!(record::decode(&record::encode(&read).unwrap()).unwrap(), read);
            }
        }
    }
}
