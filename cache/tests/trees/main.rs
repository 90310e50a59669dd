//! Builds of random trees of processes, clean and replayed: whatever is skipped, the result is that of the clean build.
//!
//! A tree is a handful of scripts that start each other and small programs; its states are random edits of its sources.
//! Each state is built twice at the same place, which is emptied in between: as it is, and under `levain-cache replay`
//! with what the replayed build before it recorded. Files, permissions, links, output and the order of times must be
//! the same. `scripts/check-replay` builds 10,000 trees; see [`whatever_is_skipped_the_result_is_the_clean_one`].

#![expect(clippy::unwrap_used, reason = "the lint knows only functions marked as tests")]
#![allow(clippy::print_stdout, reason = "the test harness shows it where a test fails")]

mod builds;
mod edits;
#[path = "../../../tests/sequences/random.rs"]
#[allow(dead_code, reason = "the sequences of edits use the rest")]
mod random;
mod scripts;
mod shrink;
mod snapshot;
mod sources;

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use builds::{Outcome, Site};
use random::Random;

/// How many trees that differ are made smaller.
const SHRUNK: usize = 6;

/// What all trees together came to.
#[derive(Default)]
struct Total {
    trees: AtomicUsize,
    builds: AtomicUsize,
    skipped: AtomicUsize,
    shrunk: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

/// `LEVAIN_TREES` says how many; `LEVAIN_TEST_SEED` repeats one.
#[test]
fn whatever_is_skipped_the_result_is_the_clean_one() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let (count, given) = (number("LEVAIN_TREES").unwrap_or(60), number("LEVAIN_TEST_SEED"));
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path().canonicalize().unwrap();
    builds::compile(&base);
    let (next, total) = (AtomicU64::new(0), Total::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (base, next, total) = (&base, &next, &total);
            scope.spawn(move || {
                while next.fetch_add(1, Ordering::Relaxed) < count {
                    let seed = given.unwrap_or_else(|| fastrand::u64(..));
                    let place = base.join(format!("{thread}"));
                    let site = Site {
                        programs: base.clone(),
                        place,
                        has_store: seed % 4 != 0,
                        liar: None,
                    };
                    grow(&site, seed, total);
                }
            });
        }
    });
    let (trees, builds) = (total.trees.into_inner(), total.builds.into_inner());
    let skipped = total.skipped.into_inner();
    println!("{trees} trees, {builds} replayed builds, {skipped} commands skipped");
    let failures = total.failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} differences\n{}", failures.len(), failures.join("\n"));
    // A property that holds because nothing is ever skipped is worth nothing.
    assert!(given.is_some() || skipped >= builds, "{skipped} commands skipped in {builds} builds");
}

/// The property can fail: a build reads what the recorder is not told of, which sockets there are.
#[test]
fn what_is_overlooked_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path().canonicalize().unwrap();
    builds::compile(&base);
    let own = std::process::id();
    let site = Site {
        programs: base.clone(),
        place: base.join("liar"),
        has_store: true,
        liar: Some(own.to_string()),
    };
    std::fs::create_dir_all(&site.place).unwrap();
    let state = edits::single("sh -c 'grep -c levain-$LIAR /proc/net/unix > found; true'");
    assert_eq!(site.state(0, &state).difference, None);
    let same = site.state(1, &state);
    assert_eq!((same.difference, same.skipped > 0), (None, true));
    let address = SocketAddr::from_abstract_name(format!("levain-{own}")).unwrap();
    let socket = UnixListener::bind_addr(&address).unwrap();
    let other = site.state(2, &state);
    assert!(other.skipped > 0);
    assert!(other.difference.unwrap().starts_with("found: "));
    drop(socket);
}

/// Builds the tree of a seed.
fn grow(site: &Site, seed: u64, total: &Total) {
    std::fs::create_dir_all(&site.place).unwrap();
    let states = edits::states(&mut Random::new(seed));
    let outcomes = site.live(&states);
    total.trees.fetch_add(1, Ordering::Relaxed);
    total.builds.fetch_add(outcomes.len(), Ordering::Relaxed);
    let skipped: usize = outcomes.iter().map(|outcome| outcome.skipped).sum();
    total.skipped.fetch_add(skipped, Ordering::Relaxed);
    let Some(Outcome { difference: Some(difference), .. }) = outcomes.last() else { return };
    let mut states = states;
    states.truncate(outcomes.len());
    // Whoever meets many differences looks at a few.
    let states = match total.shrunk.fetch_add(1, Ordering::Relaxed) < SHRUNK {
        true => shrink::shrink(site, states),
        false => states,
    };
    let small = site.live(&states).pop().unwrap_or_default();
    let shown: String = states
        .iter()
        .enumerate()
        .map(|(index, state)| format!("  state {index}\n{}", sources::shown(state)))
        .collect();
    let failure = format!(
        "LEVAIN_TEST_SEED={seed}: {difference}\n{shown}  which gives: {}\n{}",
        small.difference.unwrap_or_else(|| difference.clone()),
        small.explained
    );
    println!("{failure}");
    total.failures.lock().unwrap().push(failure);
}
