//! Tests of store paths.

use proptest::prelude::*;

use super::*;

const DIGEST: &str = "0c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p";

#[test]
fn parses_whole_paths_only() {
    let dir = StoreDir::default();
    let text = format!("/nix/store/{DIGEST}-hello-2.12.drv");
    let path = dir.parse(&text).unwrap();
    assert_eq!(path.name(), "hello-2.12.drv");
    assert_eq!(path.hash_part(), DIGEST);
    assert_eq!(dir.display(&path), text);
    assert_eq!(dir.parse_derivation(&text).unwrap().name(), "hello-2.12");

    let inside = dir.parse(&format!("{text}/bin")).unwrap_err();
    assert!(matches!(inside, StorePathError::Inside { .. }));
    let elsewhere = dir.parse(&format!("/nix/storeroom/{DIGEST}-x")).unwrap_err();
    assert!(matches!(elsewhere, StorePathError::Outside { .. }));
    assert!(dir.parse("/nix/store/").is_err());
    assert!(dir.parse_derivation(&format!("/nix/store/{DIGEST}-x")).is_err());
}

#[test]
fn store_directories_are_absolute_and_normal() {
    for dir in ["", "/", "nix/store", "/nix/store/", "/nix//store", "/nix/../store", "/a\0b"] {
        assert!(StoreDir::new(dir).is_err(), "{dir}");
    }
    assert_eq!(StoreDir::new("/nix/store").unwrap(), StoreDir::default());
}

#[test]
fn names_follow_the_rules_of_nix() {
    let name = |name: &str| format!("{DIGEST}-{name}").parse::<StorePath>().err();
    let rule = |text: &str| match name(text) {
        Some(StorePathError::Name { reason, .. }) => Some(reason),
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(name("a+b-c.d_e?f=9"), None);
    assert_eq!(name(".hidden"), None);
    assert_eq!(name("...-x"), None);
    assert_eq!(name(&"x".repeat(211)), None);
    assert_eq!(rule(&"x".repeat(212)), Some(NameRule::TooLong));
    assert_eq!(rule(""), Some(NameRule::Empty));
    assert_eq!(rule("a b"), Some(NameRule::Character(' ')));
    assert_eq!(rule("ä"), Some(NameRule::Character('ä')));
    for dots in [".", "..", ".-x", "..-x"] {
        assert_eq!(rule(dots), Some(NameRule::Dots), "{dots}");
    }
}

#[test]
fn errors_say_what_was_expected() {
    let error = "hello".parse::<StorePath>().unwrap_err();
    expect_test::expect!["`hello` does not begin with a store hash of 32 digits and a dash"]
        .assert_eq(&error.to_string());
    let error = StoreDir::default().parse(&format!("/nix/store/{DIGEST}-x/y")).unwrap_err();
    expect_test::expect![[r#"
        `/nix/store/0c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-x/y` is inside a store path
        hint: give `/nix/store/0c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-x` itself"#]]
    .assert_eq(&error.to_string());
}

#[test]
fn serialises_as_base_name() {
    let path = format!("{DIGEST}-x.drv").parse::<DerivationPath>().unwrap();
    let json = serde_json::to_string(&path).unwrap();
    assert_eq!(json, format!("\"{DIGEST}-x.drv\""));
    assert_eq!(serde_json::from_str::<DerivationPath>(&json).unwrap(), path);
    assert!(serde_json::from_str::<DerivationPath>(&format!("\"{DIGEST}-x\"")).is_err());
}

proptest! {
    #[test]
    fn round_trips_and_sorts_as_text(
        a: [u8; 20], b: [u8; 20], name in "[a-z0-9+_?=][A-Za-z0-9+._?=-]{0,40}"
    ) {
        let (a, b) = (StorePath::new(a, name.clone()).unwrap(), StorePath::new(b, name).unwrap());
        prop_assert_eq!(a.to_string().parse::<StorePath>(), Ok(a.clone()));
        prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
    }

    #[test]
    fn never_panics(text: String, suffix: String) {
        let dir = StoreDir::default();
        let _parsed = text.parse::<StorePath>();
        let _parsed = dir.parse(&text);
        let _parsed = dir.parse_derivation(&format!("/nix/store/{DIGEST}{suffix}"));
        let _parsed = StoreDir::new(text);
    }
}
