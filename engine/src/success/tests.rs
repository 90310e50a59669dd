//! Whose successes count for whom, and what of them.

use levain_actions::git::CommitId;
use levain_store::NarHash;

use super::*;
use crate::testing::{branch, pull_request};

const BASE: &str = "prwm9syyq3qlrywj4hir7c92gf7kbl1q-app.drv";
const SHADOW: &str = "qrwm9syyq3qlrywj4hir7c92gf7kbl1q-app.drv";
const CACHE: &str = "xvkp4j2ckk64igdl9gklmdj3cbv2kln0-app-cache";

fn dir() -> StoreDir {
    StoreDir::new("/nix/store").unwrap()
}

fn derivation(name: &str) -> DerivationPath {
    dir().parse_derivation(&format!("/nix/store/{name}")).unwrap()
}

fn head(jobset: Jobset) -> Head {
    let commit: CommitId = "1".repeat(40).parse().unwrap();
    Head {
        jobset,
        commit,
        built: commit,
        reference: "refs/heads/x".into(),
        base: None,
        tip: commit,
    }
}

fn key(digit: char) -> Key {
    digit.to_string().repeat(64).parse().unwrap()
}

fn entry(key: Key, depth: u32, tier: Tier) -> Entry {
    Entry {
        path: CACHE.parse().unwrap(),
        nar_hash: NarHash::of(b""),
        key,
        depth,
        commit: "2".repeat(40),
        time: 7,
        tier,
        maker: None,
        unused: Some("fresh".into()),
    }
}

fn success(built: &str, tier: Tier, time: u64, cache: RecordedCache) -> Success {
    Success {
        built: format!("/nix/store/{built}"),
        outputs: BTreeMap::new(),
        commit: "2".repeat(40).parse().unwrap(),
        time,
        tier,
        job: "app".into(),
        cache,
    }
}

#[test]
fn a_clean_success_is_everyones() {
    let fork = pull_request(7, true);
    let mut known = Successes::default();
    known.add(None, success(BASE, Tier::Fork, 1, RecordedCache::None));
    let (main, topic) = (branch("main", true), branch("topic", false));
    for jobset in [main, topic, pull_request(8, false), pull_request(9, true), fork] {
        assert!(known.usable(&jobset).is_some(), "{}", jobset.name());
    }
}

#[test]
fn an_incremental_success_is_its_makers_and_the_less_trusted_ones() {
    let (main, topic, other) =
        (branch("main", true), branch("topic", false), branch("other", false));
    let (pull, fork) = (pull_request(1, false), pull_request(2, true));
    let users = [&main, &topic, &other, &pull, &fork];
    for (maker, may_use) in [
        (&main, [true, true, true, true, true]),
        (&topic, [false, true, true, true, true]),
        (&pull, [false, false, false, true, false]),
        (&fork, [false, false, false, false, true]),
    ] {
        let mut known = Successes::default();
        let made = success(SHADOW, maker.tier(), 1, RecordedCache::None);
        known.add(Some(&maker.name()), made);
        let found = users.map(|user| known.usable(user).is_some());
        assert_eq!(found, may_use, "made by {}", maker.name());
    }
}

#[test]
fn the_best_success_is_clean_then_own_then_the_newest() {
    let (topic, other, third) =
        (branch("topic", false), branch("other", false), branch("third", false));
    let mut known = Successes::default();
    let made = |time| success(SHADOW, Tier::Branch, time, RecordedCache::None);
    let time = |known: &Successes| known.usable(&topic).map(|success| success.time);
    assert_eq!(time(&known), None);
    known.add(Some(&other.name()), made(20));
    known.add(Some(&third.name()), made(30));
    assert_eq!(time(&known), Some(30));
    known.add(Some(&topic.name()), made(10));
    assert_eq!(time(&known), Some(10));
    known.add(None, success(BASE, Tier::Branch, 5, RecordedCache::None));
    assert_eq!(time(&known), Some(5));
}

#[test]
fn the_key_of_a_clean_success_is_the_users_own() {
    let made = success(BASE, Tier::Fork, 1, RecordedCache::None);
    assert!(made.is_clean(&dir(), &derivation(BASE)));
    assert!(!made.is_clean(&dir(), &derivation(SHADOW)));
    let main = head(branch("main", true));
    let recorded = entry(key('a'), 3, Tier::Fork);
    let own = made.entry_for(&main, true, recorded.clone(), Some(key('b'))).unwrap();
    assert_eq!((own.key, own.depth, own.tier), (key('b'), 0, Tier::DefaultBranch));
    assert_eq!((own.commit, own.unused), ("1".repeat(40), None));
    assert_eq!((own.path, own.nar_hash, own.time), (recorded.path.clone(), recorded.nar_hash, 7));
    assert_eq!(made.entry_for(&main, true, recorded, None), None);
}

#[test]
fn what_a_cache_was_part_of_keeps_its_makers_tier_key_and_depth() {
    let made = success(SHADOW, Tier::DefaultBranch, 1, RecordedCache::None);
    let recorded = entry(key('a'), 3, Tier::DefaultBranch);
    let topic = head(branch("topic", false));
    let own = made.entry_for(&topic, false, recorded, Some(key('b'))).unwrap();
    assert_eq!((own.key, own.depth, own.tier), (key('a'), 3, Tier::DefaultBranch));
}

#[test]
fn a_pointer_is_missing_until_it_names_the_cache() {
    let recorded = entry(key('a'), 0, Tier::Fork);
    let elsewhere = Entry { path: SHADOW.parse().unwrap(), ..recorded.clone() };
    let stored = || RecordedCache::Entry(StoredEntry::new(&dir(), &recorded));
    for (cache, own, lacks) in [
        (stored(), None, true),
        (stored(), Some(&elsewhere), true),
        (stored(), Some(&recorded), false),
        (RecordedCache::None, None, true),
        (RecordedCache::Unusable, None, false),
        (RecordedCache::Unusable, Some(&elsewhere), false),
    ] {
        let made = success(BASE, Tier::Branch, 1, cache);
        assert_eq!(made.lacks_pointer(&dir(), own), lacks, "{:?} {own:?}", made.cache);
    }
}

#[test]
fn records_of_another_version_say_nothing() {
    let old = r#"{ "clean": null, "incremental": {} }"#;
    assert_ne!(serde_json::from_str::<Successes>(old).unwrap().format, FORMAT);
}
