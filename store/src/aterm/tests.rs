//! Tests of the reader and writer of `.drv` files.

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

use super::*;
use crate::store_path::DerivationPath;

const SAMPLE: &str = r#"Derive([("out","/nix/store/0c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-x","","")],[("/nix/store/1c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-dep.drv",["dev","out"])],["/nix/store/2c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-source"],"x86_64-linux","/bin/sh",["-c","echo \"a\\b\"\n\texit 0\r"],[("name","x"),("out","/nix/store/0c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-x")])"#;

fn parse(text: &str) -> Result<Derivation, AtermError> {
    Derivation::parse_aterm(&StoreDir::default(), text.as_bytes())
}

#[test]
fn reads_and_writes_a_derivation() {
    let derivation = parse(SAMPLE).unwrap();
    assert_eq!(derivation.system, "x86_64-linux");
    assert_eq!(derivation.args[1], b"echo \"a\\b\"\n\texit 0\r");
    assert_eq!(derivation.env("name"), Some(&b"x"[..]));
    assert_eq!(derivation.input_derivations.len(), 1);
    assert!(!derivation.is_fixed_output());
    let written = derivation.to_aterm(&StoreDir::default());
    assert_eq!(String::from_utf8(written).unwrap(), SAMPLE);
}

#[test]
fn every_truncation_is_an_error() {
    for end in 0..SAMPLE.len() {
        assert!(parse(&SAMPLE[..end]).is_err(), "{end}");
    }
}

#[test]
fn says_where_and_what() {
    let says = |text: &str, expected: expect_test::Expect| {
        expected.assert_eq(&parse(text).unwrap_err().to_string());
    };
    says(
        "DrvWithVersion(\"xp-dyn-drv\",[",
        expect_test::expect![[r#"
            derivation cannot be read at byte 0: expected `Derive(`, found `DrvWithVersion(`
            hint: dynamic derivations are not supported; build without the experimental feature `dynamic-derivations`"#]],
    );
    says(
        &format!("{SAMPLE} "),
        expect_test::expect!["derivation cannot be read at byte 329: expected the end of the file"],
    );
    says(
        &SAMPLE.replace("[\"dev\",\"out\"]", "[\"out\",\"dev\"]"),
        expect_test::expect![
            "derivation cannot be read at byte 134: expected entries in ascending order, each once"
        ],
    );
    says(
        &SAMPLE.replace("\\t", "\\x"),
        expect_test::expect![[
            r#"derivation cannot be read at byte 245: expected one of the escapes `\"`, `\\`, `\n`, `\r`, `\t`"#
        ]],
    );
    says(
        &SAMPLE.replace("-dep.drv", "-dep"),
        expect_test::expect![
            "derivation cannot be read at byte 73: expected a store path: `1c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-dep` is not a derivation: its name does not end in `.drv`"
        ],
    );
}

fn store_path() -> impl Strategy<Value = StorePath> {
    (any::<[u8; 20]>(), "[a-z0-9][A-Za-z0-9+._?=-]{0,20}")
        .prop_map(|(digest, name)| StorePath::new(digest, name).unwrap())
}

fn derivation_path() -> impl Strategy<Value = DerivationPath> {
    (any::<[u8; 20]>(), "[a-z0-9]{1,9}")
        .prop_map(|(digest, name)| StorePath::new(digest, name + ".drv").unwrap())
        .prop_map(|path| path.try_into().unwrap())
}

fn output() -> impl Strategy<Value = DerivationOutput> {
    (proptest::option::of(store_path()), ".{0,5}", ".{0,5}")
        .prop_map(|(path, hash_algorithm, hash)| DerivationOutput { path, hash_algorithm, hash })
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..30)
}

prop_compose! {
    fn derivation()(
        outputs in btree_map(".{0,5}", output(), 0..4),
        input_derivations in btree_map(derivation_path(), btree_set(".{0,4}", 0..4), 0..4),
        input_sources in btree_set(store_path(), 0..4),
        system in ".{0,12}",
        builder in bytes(),
        args in vec(bytes(), 0..4),
        env in btree_map(bytes(), bytes(), 0..6),
    ) -> Derivation {
        Derivation { outputs, input_derivations, input_sources, system, builder, args, env }
    }
}

proptest! {
    #[test]
    fn reads_what_it_writes(derivation in derivation()) {
        let dir = StoreDir::default();
        let text = derivation.to_aterm(&dir);
        prop_assert_eq!(Derivation::parse_aterm(&dir, &text), Ok(derivation));
    }

    #[test]
    fn writes_what_it_reads(derivation in derivation(), at: prop::sample::Index, byte: u8) {
        let dir = StoreDir::default();
        let mut text = derivation.to_aterm(&dir);
        let at = at.index(text.len());
        text[at] = byte;
        if let Ok(changed) = Derivation::parse_aterm(&dir, &text) {
            prop_assert_eq!(changed.to_aterm(&dir), text);
        }
    }

    #[test]
    fn never_panics(text: Vec<u8>) {
        let dir = StoreDir::default();
        let _parsed = Derivation::parse_aterm(&dir, &text);
        let _parsed = Derivation::parse_aterm(&dir, &[b"Derive(", text.as_slice()].concat());
    }
}
