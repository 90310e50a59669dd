//! Damage: every cut is noticed, and every changed bit is noticed or does no harm.

use std::fs;

use levain_cache::{Manifest, Outcome};
use proptest::prelude::*;

use crate::fixture::{Builds, Snapshot, snapshot, tree};
use crate::hostile::{archive_place, good, manifest_place};

/// Restores, and checks that the result is all or nothing.
#[track_caller]
fn all_or_nothing(builds: &Builds, whole: &Snapshot) -> bool {
    builds.unpack(&tree(&[("src/a", "a")]));
    let before = snapshot(&builds.tree());
    let said = builds.restore(1, &[]);
    assert_eq!(said.code, 0, "{said:?}");
    if said.out.starts_with("levain-cache: restored s: 3 files") {
        assert_eq!(&snapshot(&builds.at("out")), whole);
        true
    } else {
        assert!(said.out.starts_with("levain-cache: not restored s: "), "{said:?}");
        assert_eq!(snapshot(&builds.tree()), before);
        false
    }
}

/// A good cache and what it restores to.
fn prepared() -> (Builds, Snapshot) {
    let builds = good();
    builds.restore(1, &["--strict"]).has("restored");
    let whole = snapshot(&builds.at("out"));
    (builds, whole)
}

#[test]
fn files_that_are_missing_or_go_on() {
    let (builds, whole) = prepared();
    for place in [manifest_place(&builds), archive_place(&builds)] {
        let bytes = fs::read(&place).unwrap();
        fs::write(&place, [bytes.as_slice(), b"more"].concat()).unwrap();
        all_or_nothing(&builds, &whole);
        fs::remove_file(&place).unwrap();
        assert!(!all_or_nothing(&builds, &whole), "without {place:?}");
        fs::write(&place, &bytes).unwrap();
    }
    assert!(all_or_nothing(&builds, &whole));
}

/// Restores without a process, and checks that the result is all or nothing.
#[track_caller]
fn quickly(builds: &Builds, whole: &Snapshot, before: &Snapshot) -> bool {
    match levain_cache::restore(&builds.request()).unwrap() {
        Outcome::Restored(_) => {
            assert_eq!(&snapshot(&builds.at("out")), whole);
            builds.unpack(&tree(&[("src/a", "a")]));
            true
        }
        Outcome::Refused(refusal) => {
            assert_eq!(&snapshot(&builds.tree()), before, "{refusal}");
            false
        }
    }
}

#[test]
fn cut_at_every_byte_and_every_bit_flipped() {
    let (builds, whole) = prepared();
    builds.unpack(&tree(&[("src/a", "a")]));
    let before = snapshot(&builds.tree());
    assert!(quickly(&builds, &whole, &before));
    for place in [manifest_place(&builds), archive_place(&builds)] {
        let bytes = fs::read(&place).unwrap();
        for end in 0..bytes.len() {
            fs::write(&place, &bytes[..end]).unwrap();
            assert!(!quickly(&builds, &whole, &before), "cut after {end} of {place:?}");
        }
        let mut unnoticed = 0;
        for bit in 0..8 * bytes.len() {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fs::write(&place, &damaged).unwrap();
            unnoticed += usize::from(quickly(&builds, &whole, &before));
        }
        // Some bits say nothing about the content, such as those of the decoder's window.
        let bits = 8 * bytes.len();
        assert!(50 * unnoticed < bits, "{unnoticed} of {bits} bits in {place:?}");
        fs::write(&place, &bytes).unwrap();
    }
}

fn manifest() -> Manifest {
    let (builds, _) = prepared();
    levain_cache::manifest(&builds.cache(1), &"s".parse().unwrap()).unwrap()
}

#[test]
fn a_manifest_survives_its_own_text() {
    let manifest = manifest();
    assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Manifest::decode(&bytes).is_err());
    }

    #[test]
    fn any_lines_are_read_without_panic(lines in prop::collection::vec(
        "(tool|key|into|origin|root|newest|segment|reference|output|directory|file|link|same|source-file|source-link)(\t[0-9a-f/.,\\\\t-]{0,70}){0,8}", 0..12,
    )) {
        let body = format!("levain-cache-set\t3\n{}\n", lines.join("\n"));
        let whole = format!("{body}end\t{}\n", levain_cache::Digest::of(body.as_bytes()));
        // Whatever is accepted is what would have been written.
        if let Ok(manifest) = Manifest::decode(whole.as_bytes()) {
            prop_assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_lines_of_a_manifest_are_read_without_panic(changes in prop::collection::vec((0_usize..2000, any::<u8>()), 1..4)) {
        let text = b"levain-cache-set\t3\ntool\tx\ncompressor\tc\nsource\t/s\ninto\t/i\norigin\ta\tb\nroot\tout\nnewest\t5\nsegment\t0000000000000000000000000000000000000000000000000000000000000000\t1\t9\nreference\tr\noutput\tout\t0123456789abcdfghijklmnpqrsvwxyz\t-app\ndirectory\t755\t5\tout\nfile\t644\t5\tout/f\t3\t0000000000000000000000000000000000000000000000000000000000000000\t0\t0\toutputs\nlink\t777\t5\tout/l\tf\nsame\t644\t5\tout/s\tout/f\nsource-file\tkept\t5\ta\t1\t0000000000000000000000000000000000000000000000000000000000000000\nsource-link\tkept\t5\tb\ta\n";
        let mut body = text.to_vec();
        for (at, byte) in changes {
            let length = body.len();
            body[at % length] = byte;
        }
        let whole = [body.as_slice(), format!("end\t{}\n", levain_cache::Digest::of(&body)).as_bytes()].concat();
        if let Ok(manifest) = Manifest::decode(&whole) {
            prop_assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
        }
    }
}
