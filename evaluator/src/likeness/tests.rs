//! A derivation and another that differs in one thing.

use std::convert::Infallible;

use levain_store::DerivationOutput;

use super::*;

const BASE: &str = "00000000000000000000000000000000-app.drv";
const SHADOW: &str = "11111111111111111111111111111111-app.drv";
const CACHE: &str = "22222222222222222222222222222222-app-cache";
const TREES: [&str; 2] = [
    "/nix/store/33333333333333333333333333333333-source",
    "/nix/store/44444444444444444444444444444444-source",
];
/// The same without the store directory.
const TREE: [&str; 2] =
    ["33333333333333333333333333333333-source", "44444444444444444444444444444444-source"];
const COMMITS: [&str; 2] =
    ["0123456789012345678901234567890123456789", "9876543210987654321098765432109876543210"];
/// Two copies of the same part of the tree, and one of another part.
const SRC: [&str; 2] =
    ["55555555555555555555555555555555-src", "66666666666666666666666666666666-src"];
const EVIL: &str = "77777777777777777777777777777777-src";

fn path(name: &str) -> StorePath {
    name.parse().unwrap()
}

fn drv(name: &str) -> DerivationPath {
    path(name).try_into().unwrap()
}

fn shown(name: &str) -> String {
    format!("/nix/store/{name}")
}

/// A derivation whose outputs have `digit` in their paths.
fn derivation(digit: char, name: &str) -> Derivation {
    let hash = digit.to_string().repeat(32);
    let output = |suffix: &str| {
        let path = Some(path(&format!("{hash}-{name}{suffix}")));
        DerivationOutput { path, ..DerivationOutput::default() }
    };
    let out = shown(&format!("{hash}-{name}"));
    Derivation {
        outputs: [("out".to_owned(), output("")), ("cache".to_owned(), output("-cache"))].into(),
        system: "x86_64-linux".to_owned(),
        builder: b"/bin/sh".to_vec(),
        args: vec![b"-c".to_vec(), b"make".to_vec()],
        env: [(b"out".to_vec(), out.into_bytes())].into(),
        ..Derivation::default()
    }
}

fn set(derivation: &mut Derivation, name: &str, value: impl Into<Vec<u8>>) {
    derivation.env.insert(name.as_bytes().to_vec(), value.into());
}

fn difference(
    derivations: &BTreeMap<DerivationPath, Derivation>,
    same: &[[&str; 2]],
) -> Vec<String> {
    let dir = StoreDir::default();
    let caches = [path(CACHE)].into();
    let evaluations = Evaluations { dir: &dir, trees: TREES, commits: COMMITS, caches: &caches };
    let mut read = |path: &DerivationPath| Ok::<_, Infallible>(derivations[path].clone());
    let mut same = |base: &StorePath, shadow: &StorePath| {
        Ok(same.iter().any(|[a, b]| path(a) == *base && path(b) == *shadow))
    };
    let mut comparison = Comparison::new(evaluations, &mut read, &mut same);
    let Ok(found) = comparison.differences(&drv(BASE), &drv(SHADOW));
    found
}

/// Compares two derivations, made alike and then changed: the shadow has a cache, and both have sources.
fn compared(change: impl FnOnce(&mut Derivation, &mut Derivation)) -> Vec<String> {
    compared_where(&[SRC, TREE], change)
}

/// Does the same where these sources differ in the shadow branch's files alone.
fn compared_where(
    same: &[[&str; 2]],
    change: impl FnOnce(&mut Derivation, &mut Derivation),
) -> Vec<String> {
    let (mut base, mut shadow) = (derivation('8', "app"), derivation('9', "app"));
    set(&mut base, "previous", "");
    set(&mut shadow, "previous", shown(CACHE));
    shadow.input_sources.insert(path(CACHE));
    for (derivation, source) in [(&mut base, SRC[0]), (&mut shadow, SRC[1])] {
        derivation.input_sources.insert(path(source));
        set(derivation, "src", shown(source));
    }
    change(&mut base, &mut shadow);
    difference(&[(drv(BASE), base), (drv(SHADOW), shadow)].into(), same)
}

#[test]
fn a_cache_is_all_that_a_shadow_derivation_adds() {
    assert_eq!(compared(|_, _| {}), [""; 0]);
    let with = |name: &'static str, shadow: &str| compared(|_, s| set(s, name, shadow.to_owned()));
    let cases: [(Vec<String>, &[&str]); 11] = [
        (with("greeting", "evil"), &["env greeting"]),
        (with("BASH_ENV", &format!("{}/env", shown(CACHE))), &["env BASH_ENV"]),
        (with("previous", &format!("{}; evil", shown(CACHE))), &["env previous"]),
        (compared(|b, _| set(b, "greeting", "good")), &["env greeting"]),
        (compared(|_, s| s.builder = b"/bin/evil".to_vec()), &["builder"]),
        (compared(|_, s| s.args[1] = b"make evil".to_vec()), &["args"]),
        (compared(|_, s| s.args.swap(0, 1)), &["args"]),
        (compared(|_, s| s.args.push(shown(CACHE).into_bytes())), &["args"]),
        (compared(|_, s| s.system = "i686-linux".to_owned()), &["system"]),
        (compared(|_, s| drop(s.outputs.remove("cache"))), &["outputs"]),
        (compared(|_, s| s.input_sources.extend([path(EVIL)])), &["source src"]),
    ];
    for (case, expected) in cases {
        assert_eq!(case, expected);
    }
    // One that the pointer does not offer is a source like any other.
    let other = "22222222222222222222222222222223-app-cache";
    let found = compared(|_, s| {
        s.input_sources.insert(path(other));
        set(s, "more", shown(other));
    });
    assert_eq!(found, ["source app-cache", "env more"]);
}

#[test]
fn sources_are_the_same_part_of_the_tree() {
    let found = compared(|_, s| {
        s.input_sources = [path(CACHE), path(EVIL)].into();
        set(s, "src", shown(EVIL));
    });
    assert_eq!(found, ["source src", "env src"]);
    // In other places than the base has them.
    let found = compared(|b, s| {
        set(b, "good", TREES[0]);
        set(s, "good", TREES[1]);
        set(b, "swapped", TREES[0]);
        set(s, "swapped", shown(SRC[1]));
    });
    assert_eq!(found, ["env swapped"]);
}

#[test]
fn the_whole_tree_is_a_source_like_any_other() {
    let as_source = |b: &mut Derivation, s: &mut Derivation| {
        for (derivation, tree) in [(b, TREE[0]), (s, TREE[1])] {
            derivation.input_sources.insert(path(tree));
            set(derivation, "src", shown(tree));
        }
    };
    assert_eq!(compared(as_source), [""; 0]);
    assert_eq!(compared_where(&[SRC], as_source), ["source source", "env src"]);
    // Named without being an input, as `builtins.unsafeDiscardStringContext` makes it.
    let found = compared_where(&[SRC], |b, s| {
        set(b, "tree", TREES[0]);
        set(s, "tree", TREES[1]);
    });
    assert_eq!(found, ["env tree"]);
    // Which is of no interest to one that does not name it.
    assert_eq!(compared_where(&[SRC], |_, _| {}), [""; 0]);
}

#[test]
fn the_commits_name_follows_the_commit() {
    let found = compared(|b, s| {
        for (derivation, commit) in [(b, COMMITS[0]), (s, COMMITS[1])] {
            set(derivation, "rev", commit);
            set(derivation, "version", format!("1.0-{}", &commit[..7]));
        }
    });
    assert_eq!(found, [""; 0]);
    let found = compared(|b, s| {
        set(b, "version", &COMMITS[0][..7]);
        set(s, "version", &COMMITS[1][..12]);
        set(b, "number", "1700000000");
        set(s, "number", "1700000001");
    });
    assert_eq!(found, ["env number", "env version"]);
}

#[test]
fn a_cache_is_a_value_and_no_word_of_a_command() {
    let cache = shown(CACHE);
    let caches = [cache.clone()];
    for (base, shadow, alike) in [
        ("", "CACHE", true),
        (" ", "CACHE CACHE", true),
        ("tool --from= --key=1", "tool --from=CACHE --key=1", true),
        ("restore '--from='", "restore '--from=CACHE'", true),
        ("cp -r \"\" build", "cp -r \"CACHE\" build", true),
        ("/bin/make", "CACHE/bin/make", false),
        (" make", "CACHE make", false),
        ("PATH=/bin", "PATH=CACHE/bin", false),
        ("PATH=:/bin", "PATH=CACHE:/bin", false),
        ("", "CACHE evil", false),
        ("a=", "a=CACHE evil", false),
        ("", "", true),
        ("x", "CACHE", false),
    ] {
        let shadow = shadow.replace("CACHE", &cache);
        assert_eq!(is_alike(base.as_bytes(), shadow.as_bytes(), &caches), alike, "{shadow}");
    }
    for (base, shadow, alike) in [
        (r#"{"a":null}"#, r#"{"a":"CACHE"}"#, true),
        (r#"{"b":1}"#, r#"{"a":"CACHE","b":1}"#, true),
        (r#"{"b":{"c":["x",null]}}"#, r#"{"b":{"c":["x","CACHE"]}}"#, true),
        (r#"{"a":"--from="}"#, r#"{"a":"--from=CACHE"}"#, true),
        (r#"{"a":1}"#, r#"{"a":"CACHE"}"#, false),
        (r#"{"a":1,"b":1}"#, r#"{"a":1}"#, false),
        (r#"{"a":1}"#, r#"{"a":1,"b":1}"#, false),
        (r#"{"a":["x"]}"#, r#"{"a":["x","CACHE"]}"#, false),
        ("no JSON", "no JSON at all", false),
    ] {
        let shadow = shadow.replace("CACHE", &cache);
        let found = is_alike_structured(base.as_bytes(), shadow.as_bytes(), &caches);
        assert_eq!(found, alike, "{shadow}");
    }
}

const PARTS: [&str; 2] =
    ["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-part.drv", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb-part.drv"];

/// The same for derivations that have another as an input, which is changed.
fn compared_below(change: impl FnOnce(&mut Derivation)) -> Vec<String> {
    let (base, mut shadow) = (derivation('a', "part"), derivation('b', "part"));
    change(&mut shadow);
    let mut all: BTreeMap<DerivationPath, Derivation> = BTreeMap::new();
    for (name, digit, part, content) in [(BASE, '8', 0, base), (SHADOW, '9', 1, shadow)] {
        let mut app = derivation(digit, "app");
        app.input_derivations.insert(drv(PARTS[part]), ["out".to_owned()].into());
        let out = content.outputs["out"].path.clone().unwrap();
        set(&mut app, "part", shown(&out.to_string()));
        all.insert(drv(name), app);
        all.insert(drv(PARTS[part]), content);
    }
    difference(&all, &[])
}

#[test]
fn what_differs_below_differs() {
    assert_eq!(compared_below(|_| {}), [""; 0]);
    let found = compared_below(|part| {
        part.input_sources.insert(path(CACHE));
        set(part, "previous", shown(CACHE));
    });
    assert_eq!(found, [""; 0]);
    let found = compared_below(|part| set(part, "greeting", "evil"));
    assert_eq!(found, ["env greeting of dependency `part`"]);
    let fixed = |derivation: &mut Derivation| {
        let path = derivation.outputs["out"].path.clone();
        let out = DerivationOutput { path, hash_algorithm: "r:sha256".into(), hash: "00".into() };
        derivation.outputs = [("out".to_owned(), out)].into();
    };
    // Fixed in one of them only.
    assert_eq!(compared_below(fixed), ["outputs of dependency `part`"]);
}

#[test]
fn inputs_of_one_name_are_told_apart() {
    let digits = [['a', 'b'], ['c', 'd']];
    let compared = |swapped: bool, changed: bool| {
        let mut all: BTreeMap<DerivationPath, Derivation> = BTreeMap::new();
        for side in [0, 1] {
            let mut app = derivation(if side == 0 { '8' } else { '9' }, "app");
            for (number, of) in digits.iter().enumerate() {
                let hash = of[side].to_string().repeat(32);
                let mut part = derivation(of[side], "part");
                set(&mut part, "number", number.to_string());
                if changed && side == 1 {
                    set(&mut part, "greeting", "evil");
                }
                let path = drv(&format!("{hash}-part.drv"));
                app.input_derivations.insert(path.clone(), ["out".to_owned()].into());
                let number = if swapped && side == 1 { 1 - number } else { number };
                set(&mut app, &format!("part{number}"), shown(&format!("{hash}-part")));
                all.insert(path, part);
            }
            all.insert(drv(if side == 0 { BASE } else { SHADOW }), app);
        }
        difference(&all, &[])
    };
    assert_eq!(compared(false, false), [""; 0]);
    assert_eq!(compared(true, false), ["env part0", "env part1"]);
    let found = compared(false, true);
    assert!(found.iter().filter(|part| *part == "input part").count() >= 2, "{found:?}");
}
