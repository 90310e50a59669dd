//! Tests of the pointer file.

use super::*;
use proptest::prelude::*;

const PATH: &str = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-cache";
const HASH: &str = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

fn dir() -> StoreDir {
    StoreDir::default()
}

fn entry() -> Entry {
    Entry {
        path: dir().parse(PATH).unwrap(),
        nar_hash: HASH.parse().unwrap(),
        key: "ab".repeat(32).parse().unwrap(),
        depth: 3,
        commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
        time: 1_700_000_000,
        tier: Tier::Branch,
        maker: None,
        unused: None,
    }
}

/// Returns the attributes of a good entry, by name.
fn attributes() -> BTreeMap<String, Data> {
    let Data::Set(attributes) = entry().to_data(&dir()) else { panic!("not a set") };
    attributes
}

/// Reads a pointer with one entry, and returns that entry's error.
fn error_of(attributes: BTreeMap<String, Data>) -> String {
    let text = Data::set([("hello", Data::Set(attributes))]).print();
    let Ok(Pointer::Entries(mut entries)) = Pointer::parse(&dir(), text.as_bytes()) else {
        panic!("{text}");
    };
    entries.remove("hello").unwrap().unwrap_err().to_string()
}

#[test]
fn prints_a_stable_text() {
    let unused = Entry { unused: Some("key-changed".to_owned()), tier: Tier::Fork, ..entry() };
    let pointer = Pointer::Entries(BTreeMap::from([
        ("x86_64-linux.server".into(), Ok(entry())),
        ("\"a.b\"".into(), Ok(unused)),
    ]));
    expect_test::expect![[r#"
        # Written by levain. Plain data: which cache each job of this evaluation may start from.
        {
          "\"a.b\"" = {
            commit = "0123456789abcdef0123456789abcdef01234567";
            depth = 3;
            key = "abababababababababababababababababababababababababababababababab";
            narHash = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
            path = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-cache";
            tier = "fork";
            time = 1700000000;
            unused = "key-changed";
          };
          "x86_64-linux.server" = {
            commit = "0123456789abcdef0123456789abcdef01234567";
            depth = 3;
            key = "abababababababababababababababababababababababababababababababab";
            narHash = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
            path = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-cache";
            tier = "branch";
            time = 1700000000;
          };
        }
    "#]]
    .assert_eq(&pointer.print(&dir()));
    assert_eq!(Pointer::parse(&dir(), pointer.print(&dir()).as_bytes()), Ok(pointer));
}

#[test]
fn reads_null_and_a_bare_path() {
    assert_eq!(Pointer::parse(&dir(), b"null\n"), Ok(Pointer::Null));
    assert_eq!(Pointer::Null.print(&dir()), "null\n");
    let path = Pointer::Path(PATH.to_owned());
    assert_eq!(Pointer::parse(&dir(), path.print(&dir()).as_bytes()), Ok(path));
}

#[test]
fn refuses_a_bad_file() {
    for text in ["", "import ./x", "[ ]", "1", "true", "\"/etc/passwd\"", "{ a = builtins.x; }"] {
        let error = Pointer::parse(&dir(), text.as_bytes()).expect_err(text).to_string();
        assert!(error.contains("hint: "), "{error}");
    }
}

#[test]
fn a_bad_entry_is_only_its_own_error() {
    let text = Data::set([
        ("bad", Data::from(PATH)),
        ("a..b", Data::Set(attributes())),
        ("good", Data::Set(attributes())),
    ])
    .print();
    let Ok(Pointer::Entries(entries)) = Pointer::parse(&dir(), text.as_bytes()) else {
        panic!("{text}");
    };
    assert_eq!(entries["good"], Ok(entry()));
    assert_eq!(entries["bad"], Err(EntryError::Kind { found: "a string" }));
    assert!(matches!(entries["a..b"], Err(EntryError::Job(_))));
}

#[test]
fn every_error_names_its_attribute() {
    for attribute in attributes().into_keys() {
        let mut missing = attributes();
        missing.remove(&attribute);
        assert_eq!(error_of(missing), format!("attribute `{attribute}` is missing"));
        let mut wrong = attributes();
        wrong.insert(attribute.clone(), Data::List(Vec::new()));
        let error = error_of(wrong);
        assert!(error.starts_with(&format!("attribute `{attribute}`: expected ")), "{error}");
        assert!(error.ends_with("found a list"), "{error}");
    }
    for (attribute, value) in [
        ("path", Data::from("/nix/store/../etc/passwd")),
        ("path", Data::from("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-cache/x")),
        ("narHash", Data::from("sha256-x")),
        ("key", Data::from("AB")),
        ("depth", Data::Integer(1 << 32)),
        ("commit", Data::from("HEAD")),
        ("tier", Data::from("root")),
        ("unused", Data::Bool(true)),
    ] {
        let mut wrong = attributes();
        wrong.insert(attribute.to_owned(), value);
        let error = error_of(wrong);
        assert!(error.starts_with(&format!("attribute `{attribute}`: ")), "{error}");
    }
    for jobset in ["main", "heads/", "pull/07", ""] {
        let mut wrong = attributes();
        for (attribute, value) in [("jobset", jobset), ("job", "app"), ("signature", "k:AA==")] {
            wrong.insert(attribute.to_owned(), Data::from(value));
        }
        let expected =
            "attribute `jobset`: expected `heads/BRANCH`, `pull/NUMBER` or `tags/TAG`, found ";
        assert_eq!(error_of(wrong), format!("{expected}`{jobset}`"));
    }
    let mut extra = attributes();
    extra.insert("narhash".to_owned(), Data::Null);
    assert_eq!(error_of(extra), "unknown attribute `narhash`");
}

#[test]
fn tiers_are_ordered_by_trust() {
    assert!(Tier::DefaultBranch < Tier::Branch);
    assert!(Tier::Branch < Tier::PullRequest);
    assert!(Tier::PullRequest < Tier::Fork);
    assert_eq!(serde_json::to_string(&Tier::PullRequest).unwrap(), "\"pull-request\"");
}

proptest! {
    #[test]
    fn printing_and_parsing_are_inverse(
        names in prop::collection::btree_set("[a-z]{1,5}(\\.[a-z]{1,5})?", 0..4),
        depth in any::<u32>(), time in 0..=i64::MAX as u64, unused in prop::option::of("[^\0]{0,20}"),
    ) {
        let entry = Entry { depth, time, unused, ..entry() };
        let pointer = Pointer::Entries(names.into_iter().map(|n| (JobName::new(n), Ok(entry.clone()))).collect());
        prop_assert_eq!(Pointer::parse(&dir(), pointer.print(&dir()).as_bytes()), Ok(pointer));
    }

    #[test]
    fn parsing_never_panics(text in any::<String>()) {
        let _any = Pointer::parse(&dir(), format!("{{ a = {text} }}").as_bytes());
    }
}
