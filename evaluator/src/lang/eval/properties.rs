//! Laws of values: what is printed is read again, orders are total, equality is one.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::tests::evaluate;

/// A value that any format can hold, as an expression.
fn data() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        (0..=i64::MAX).prop_map(|value| value.to_string()),
        "[a-zé\\u{1f600} \\n\\t$'{}]{0,8}".prop_map(|text| quoted(&text)),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|values| format!("[ {} ]", values.join(" "))),
            btree_map("[a-z \"${]{0,3}", inner, 0..4).prop_map(|entries| {
                let entries =
                    entries.iter().map(|(name, value)| format!("{} = {value}; ", quoted(name)));
                format!("{{ {}}}", entries.collect::<String>())
            }),
        ]
    })
}

fn quoted(text: &str) -> String {
    let mut quoted = Vec::new();
    crate::lang::print::quote(text.as_bytes(), &mut quoted);
    String::from_utf8(quoted).unwrap()
}

/// Values of one type that can be ordered, as expressions.
fn ordered() -> impl Strategy<Value = [String; 3]> {
    let number = prop_oneof![
        any::<i32>().prop_map(|value| format!("({value})")),
        (-1e9..1e9_f64).prop_map(|value| format!("({value:?})")),
    ];
    let text = "[ab]{0,3}".prop_map(|text| quoted(&text));
    let list = vec(-2..3_i32, 0..4).prop_map(|values| {
        format!("[ {} ]", values.iter().map(|v| format!("({v})")).collect::<Vec<_>>().join(" "))
    });
    let path = "/[ab]{1,2}(/[ab])?";
    let three = |one: BoxedStrategy<String>| [one.clone(), one.clone(), one];
    prop_oneof![
        three(number.boxed()),
        three(text.boxed()),
        three(list.boxed()),
        three(path.boxed()),
    ]
}

fn holds(law: &str) -> Result<(), TestCaseError> {
    let value = evaluate(law);
    if value == "true" { Ok(()) } else { Err(TestCaseError::fail(format!("{law}\n{value}"))) }
}

proptest! {
    // Each case is an evaluation on a thread of its own.
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn values_are_read_as_they_are_printed(value in data()) {
        let printed = evaluate(&value);
        prop_assert_eq!(evaluate(&printed), printed.clone());
        holds(&format!("({value}) == ({printed})"))?;
    }

    #[test]
    fn json_comes_back(value in data()) {
        holds(&format!("let v = {value}; in builtins.fromJSON (builtins.toJSON v) == v"))?;
        holds(&format!(
            "let j = builtins.toJSON ({value}); in builtins.toJSON (builtins.fromJSON j) == j"
        ))?;
    }

    #[test]
    fn sets_are_merged_by_law(a in data(), b in data()) {
        let sets = format!("let s = v: if builtins.isAttrs v then v else {{ x = v; }}; a = s ({a}); b = s ({b}); m = a // b; in ");
        holds(&format!("{sets} m // b == m && a // m == m && m // {{ }} == m"))?;
        holds(&format!("{sets} builtins.intersectAttrs b m == b"))?;
        holds(&format!("{sets} removeAttrs m (builtins.attrNames b) == removeAttrs a (builtins.attrNames b)"))?;
        holds(&format!("{sets} builtins.attrNames m == builtins.sort builtins.lessThan (builtins.attrNames m)"))?;
        holds(&format!("{sets} builtins.listToAttrs (map (n: {{ name = n; value = m.${{n}}; }}) (builtins.attrNames m)) == m"))?;
        holds(&format!("{sets} builtins.mapAttrs (n: v: v) m == m && (a == b) == (b == a)"))?;
    }

    #[test]
    fn orders_are_total([a, b, c] in ordered()) {
        let bound = format!("let a = {a}; b = {b}; c = {c}; n = x: if x then 1 else 0; in ");
        holds(&format!("{bound} n (a < b) + n (b < a) + n (a == b) == 1"))?;
        holds(&format!("{bound} (a <= b) == !(b < a) && (a > b) == (b < a) && (a >= b) == (b <= a)"))?;
        holds(&format!("{bound} a < b && b < c -> a < c"))?;
        holds(&format!("{bound} builtins.sort (x: y: x < y) [ a b c ] == builtins.sort (x: y: x < y) [ c b a ]"))?;
    }

    #[test]
    fn strings_come_apart_and_together(text in "[ab.]{0,8}", at in 0..9_usize) {
        let text = quoted(&text);
        holds(&format!("let s = {text}; in builtins.substring 0 {at} s + builtins.substring {at} (-1) s == s"))?;
        holds(&format!("let s = {text}; p = builtins.filter builtins.isString (builtins.split \"[.]\" s); in builtins.concatStringsSep \".\" p == s"))?;
        holds(&format!("let s = {text}; in builtins.replaceStrings [ \"a\" ] [ \"a\" ] s == s"))?;
    }
}

#[test]
fn a_law_that_does_not_hold_is_noticed() {
    assert!(holds("1 == 2").is_err());
    assert!(holds("throw \"x\"").is_err());
}
