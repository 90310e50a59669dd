//! Tests of signatures. Random edits of whole pointer files are tested with the choice.

use std::os::unix::fs::PermissionsExt;

use levain_evaluator::pointer::Tier;

use super::*;
use crate::testing::{entry, key, signing_key};

fn keyring(own: &Arc<SigningKey>, trusted: &[&Arc<SigningKey>]) -> Keyring {
    let trusted = trusted.iter().map(|key| key.public().clone()).collect();
    Keyring::new("example.org/p".into(), Some(Arc::clone(own)), trusted)
}

#[test]
fn a_key_is_made_once_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    assert!(SigningKey::find(&path).unwrap().is_none());
    let made = SigningKey::make(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(SigningKey::find(&path).unwrap().unwrap().public(), made.public());
    assert!(SigningKey::make(&path).is_err());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    let public: PublicKey = made.public().to_string().parse().unwrap();
    assert_eq!(&public, made.public());
    let secret = fs::read_to_string(&path).unwrap();
    assert!(!format!("{made:?}").contains(secret.trim().split_once(':').unwrap().1));
}

#[test]
fn what_is_no_key_is_refused_and_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let good = SigningKey::make(&dir.path().join("key")).unwrap();
    let text = fs::read_to_string(dir.path().join("key")).unwrap();
    let (name, secret) = text.trim().split_once(':').unwrap();
    let seed = BASE64.encode(&BASE64.decode(secret.as_bytes()).unwrap()[..32]);
    let other = BASE64.encode(&[&[1; 32][..], &good.public.bytes].concat());
    for text in [
        String::new(),
        secret.to_owned(),
        format!(":{secret}"),
        format!("{name}:{seed}"),
        format!("{name}:{other}"),
        format!("{name}:x{secret}"),
    ] {
        let error = SigningKey::parse(&text, "`here`").unwrap_err().to_string();
        assert!(error.contains("NAME:BASE64") && error.contains("`here`"), "{error}");
        assert!(!error.contains(&secret[..20]), "{error}");
    }
    assert!(SigningKey::parse(&format!("{text}\n"), "").is_ok());
    assert!("name:AAAA".parse::<PublicKey>().is_err());
}

#[test]
fn a_key_made_by_nix_is_a_key() {
    // nix-store --generate-binary-cache-key ci.example.org-1 secret public
    let (secret, public) = (
        "ci.example.org-1:WNR/9/5gmxMZLoCIaPMNpFOAjSO19ArseCyt7J410VKW09Tzz5eQKjRnleSNQJi3qXYZFTAge6fO/p4MotLpGw==",
        "ci.example.org-1:ltPU88+XkCo0Z5XkjUCYt6l2GRUwIHunzv6eDKLS6Rs=",
    );
    assert_eq!(SigningKey::parse(secret, "").unwrap().public().to_string(), public);
}

#[test]
fn every_field_is_signed() {
    let own = signing_key();
    let (keys, dir) = (keyring(&own, &[]), StoreDir::default());
    let good = keys.sign(&dir, entry(1), JobsetName::branch("main"), "x.y".into());
    assert_eq!(keys.verify(&dir, &good), Ok(()));
    let marked = Entry { unused: Some("fresh".into()), ..good.clone() };
    assert_eq!(keys.verify(&dir, &marked), Ok(()));
    let maker = good.maker.clone().unwrap();
    let by = |maker: Maker| Entry { maker: Some(maker), ..good.clone() };
    let flipped = maker.signature.replace(':', ":A");
    for edited in [
        Entry { path: entry(2).path, ..good.clone() },
        Entry { nar_hash: entry(2).nar_hash, ..good.clone() },
        Entry { key: key('b'), ..good.clone() },
        Entry { depth: 0, ..good.clone() },
        Entry { commit: "f".repeat(40), ..good.clone() },
        Entry { time: good.time + 1, ..good.clone() },
        Entry { tier: Tier::DefaultBranch, ..good.clone() },
        by(Maker { jobset: JobsetName::branch("main2"), ..maker.clone() }),
        by(Maker { job: "x.z".into(), ..maker.clone() }),
        by(Maker { signature: flipped, ..maker.clone() }),
    ] {
        assert!(matches!(keys.verify(&dir, &edited), Err(Distrust::Changed { .. })), "{edited:?}");
    }
    let elsewhere = StoreDir::new("/other/store").unwrap();
    assert!(keys.verify(&elsewhere, &good).is_err());
    let other = || Keyring::new("example.org/q".into(), Some(Arc::clone(&own)), Vec::new());
    assert!(other().verify(&dir, &good).is_err());
    assert_eq!(other().also_called("example.org/p").verify(&dir, &good), Ok(()));
    let theirs = vec![own.public().clone()];
    let other = Keyring::new("example.org/q".into(), Some(signing_key()), theirs);
    assert!(other.also_called("example.org/p").verify(&dir, &good).is_err());
}

#[test]
fn only_listed_keys_count() {
    let (ours, theirs, third) = (signing_key(), signing_key(), signing_key());
    let dir = StoreDir::default();
    let made_by =
        |keys: &Keyring| keys.sign(&dir, entry(1), JobsetName::branch("main"), "j".into());
    let signed = |by: &Arc<SigningKey>| made_by(&keyring(by, &[]));
    let keys = keyring(&ours, &[&theirs]);
    assert_eq!(keys.verify(&dir, &signed(&ours)), Ok(()));
    assert_eq!(keys.verify(&dir, &signed(&theirs)), Ok(()));
    assert!(matches!(keys.verify(&dir, &signed(&third)), Err(Distrust::UnknownKey { .. })));
    assert_eq!(keys.verify(&dir, &entry(1)), Err(Distrust::Unsigned));
    assert!(keys.is_own(&dir, &signed(&ours)) && !keys.is_own(&dir, &signed(&theirs)));
    // Anyone can call a key by any name.
    let mut posing = signed(&third);
    let signature = &mut posing.maker.as_mut().unwrap().signature;
    *signature = signature.replace(&third.public().name, &ours.public().name);
    assert!(matches!(keys.verify(&dir, &posing), Err(Distrust::Changed { .. })));
    let nobody = Keyring::new("example.org/p".into(), None, Vec::new());
    assert_eq!(made_by(&nobody).maker, None);
    assert!(matches!(nobody.verify(&dir, &signed(&ours)), Err(Distrust::UnknownKey { .. })));
}
