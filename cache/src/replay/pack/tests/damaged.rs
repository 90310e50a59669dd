//! Packs cut short, and with bits turned over: what is read is what was written, or nothing.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{FILES, Held, INDEX, bytes_of};
use crate::digest::Digest;
use crate::replay::pack::Packs;

/// Opens a pack that may hold anything, and asks for everything that it held when it was written.
fn check(pack: &Path, held: &Held) {
    let (packs, refused) = Packs::open(&[pack.to_path_buf()]);
    for content in &held.contents {
        let digest = Digest::of(content);
        match packs.content(&digest) {
            Ok(found) => assert!(found == *content),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    for (given, _) in &held.transcripts {
        let expected = held.newest_first(given);
        for found in packs.transcripts(given) {
            assert!(expected.contains(&&*found.transcript));
        }
    }
    for reason in refused.into_iter().chain(packs.refused()) {
        assert!(!reason.to_string().is_empty());
    }
}

/// Gives an index the hash that it would have if it had been written so.
fn seal(index: &mut [u8]) {
    if let Some(body) = index.len().checked_sub(32) {
        let digest = Digest::of(&index[..body]);
        index[body..].copy_from_slice(digest.bytes());
    }
}

fn write(pack: &Path, file: &str, bytes: &[u8]) {
    fs::write(pack.join(file), bytes).unwrap();
}

fn sample() -> (TempDir, Held, Vec<Vec<u8>>) {
    let pack = TempDir::new().unwrap();
    let mut held = Held::sample();
    // Every length is tried, so the larger ones are made smaller.
    held.contents[3].truncate(17_000);
    held.contents[4].truncate(17_000);
    held.write(pack.path());
    let bytes = bytes_of(pack.path());
    (pack, held, bytes)
}

#[test]
fn cut_short() {
    let (pack, held, whole) = sample();
    for (file, whole) in FILES.iter().zip(&whole) {
        // Files are held to the length in the index before anything in them is read.
        let step = if whole.len() > 5000 { 97 } else { 1 };
        for length in (0..whole.len()).step_by(step) {
            write(pack.path(), file, &whole[..length]);
            let (_, refused) = Packs::open(&[pack.path().to_path_buf()]);
            assert_eq!(refused.len(), 1, "{file} of {length} bytes");
            check(pack.path(), &held);
        }
        write(pack.path(), file, &[whole.as_slice(), b"\0"].concat());
        let (_, refused) = Packs::open(&[pack.path().to_path_buf()]);
        assert_eq!(refused.len(), 1, "{file} with a byte more");
        write(pack.path(), file, whole);
    }
}

#[test]
fn an_index_of_any_length_with_a_hash_that_fits() {
    let (pack, held, whole) = sample();
    for length in 0..whole[0].len() {
        let mut cut = whole[0][..length].to_vec();
        seal(&mut cut);
        write(pack.path(), INDEX, &cut);
        check(pack.path(), &held);
    }
}

#[test]
fn bits_turned_over() {
    let (pack, held, whole) = sample();
    let mut random = fastrand::Rng::with_seed(1);
    for (file, whole) in FILES.iter().zip(&whole) {
        for _ in 0..4000 {
            let mut bytes = whole.clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..bytes.len());
                bytes[at] ^= 1 << random.u32(..8);
            }
            write(pack.path(), file, &bytes);
            check(pack.path(), &held);
            // Nothing but its hash protects what belongs to what in an index.
            let (_, refused) = Packs::open(&[pack.path().to_path_buf()]);
            let changed = bytes != *whole && *file == INDEX;
            assert_eq!(!refused.is_empty(), changed);
        }
        write(pack.path(), file, whole);
    }
}

#[test]
fn an_index_changed_with_a_hash_that_fits() {
    let (pack, held, whole) = sample();
    let mut random = fastrand::Rng::with_seed(2);
    let telling = [0, 1, 2, 0x7f, 0x80, 0xff];
    let mut opened = 0;
    for _ in 0..8000 {
        let mut index = whole[0].clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..index.len());
            let length = random.usize(1..9).min(index.len() - at);
            let byte = telling[random.usize(..telling.len())];
            match random.u32(..3) {
                0 => index[at] ^= 1 << random.u32(..8),
                1 => index[at..at + length].fill(byte),
                _ => {
                    // One record in the place of another.
                    let from = random.usize(..=index.len() - length);
                    index.copy_within(from..from + length, at);
                }
            }
        }
        seal(&mut index);
        write(pack.path(), INDEX, &index);
        opened += usize::from(Packs::open(&[pack.path().to_path_buf()]).1.is_empty());
        check(pack.path(), &held);
    }
    // Else the checks behind the index are not tried.
    assert!(opened > 1000, "{opened}");
}

#[test]
fn files_of_another_pack() {
    let (pack, held, whole) = sample();
    let other = TempDir::new().unwrap();
    let mut changed = held.clone();
    changed.contents[3][5] ^= 1;
    changed.transcripts[0].1.code = 1;
    changed.write(other.path());
    for (file, whole) in FILES.iter().zip(&whole) {
        fs::copy(other.path().join(file), pack.path().join(file)).unwrap();
        check(pack.path(), &held);
        write(pack.path(), file, whole);
    }
    // One of its files in the place of another.
    for (to, whole_to) in FILES.iter().zip(&whole) {
        for from in &whole {
            write(pack.path(), to, from);
            check(pack.path(), &held);
        }
        write(pack.path(), to, whole_to);
    }
    check(pack.path(), &held);
}
