//! What the printer writes is read as the same tree again.

use proptest::prelude::*;

use super::{ParseOptions, parse, print};
use crate::lang::settings::Lints;
use crate::lang::stack::on_large_stack;
use crate::lang::symbol::Symbols;

fn printed(text: &[u8]) -> Option<Vec<u8>> {
    let mut symbols = Symbols::new();
    let options = ParseOptions {
        directory: b"/d".to_vec(),
        home: Some(b"/h".to_vec()),
        pipe_operators: true,
        lints: Lints::default(),
    };
    let expr = parse(text, 1, &mut symbols, &options, &mut Vec::new()).ok()?;
    Some(print(&expr, &symbols))
}

/// Expressions as people write them: any form within any other, but none within strings, because
/// strings with expressions inside are printed as sums; and without `assert`, which Nix prints without
/// the parentheses that it may need.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("x".to_owned()),
        Just("or'".to_owned()),
        any::<u32>().prop_map(|number| number.to_string()),
        "[1-9][.][0-9]{1,3}",
        "[a-z]{1,3}/[a-z]{1,3}",
        Just("/a/b".to_owned()),
        Just("~/a".to_owned()),
        Just("<a/b>".to_owned()),
        "\"[a-z ${'\n\t]{0,6}\"".prop_filter("a string", |text| !text.contains("${")),
        Just("''\n  a\n    b''".to_owned()),
        Just("http://a.b/c".to_owned()),
    ];
    leaf.prop_recursive(5, 40, 3, |inner| {
        let two = || (inner.clone(), inner.clone());
        let operator = proptest::sample::select(vec![
            "+", "-", "*", "/", "//", "++", "->", "&&", "||", "==", "!=", "<", "<=", ">", ">=",
            "|>", "<|",
        ]);
        prop_oneof![
            (two(), operator).prop_map(|((a, b), operator)| format!("({a}) {operator} ({b})")),
            two().prop_map(|(a, b)| format!("({a}) ({b})")),
            two().prop_map(|(a, b)| format!("[ ({a}) ({b}) ]")),
            two().prop_map(|(a, b)| format!("{{ a = {a}; b.c = {b}; inherit x; }}")),
            two().prop_map(|(a, b)| format!("rec {{ inherit ({a}) y z; ${{\"c\"}} = {b}; }}")),
            two().prop_map(|(a, b)| format!("let a = {a}; in {b}")),
            two().prop_map(|(a, b)| format!("with {a}; {b}")),
            two().prop_map(|(a, b)| format!("({a}).b or ({b})")),
            two().prop_map(|(a, b)| format!("({a}) ? b.${{\"c\"}} && ({b})")),
            two().prop_map(|(a, b)| format!("{{ p, q ? ({a}), ... }}@all: {b}")),
            inner.clone().prop_map(|a| format!("x: {a}")),
            inner.clone().prop_map(|a| format!("-({a})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("if {a} then {b} else {c}")),
        ]
    })
}

proptest! {
    #[test]
    fn trees_are_read_as_they_are_printed(text in expression()) {
        let (first, second) = on_large_stack(|_| {
            let first = printed(text.as_bytes());
            let second = first.as_deref().and_then(printed);
            (first, second)
        }).unwrap();
        prop_assert!(first.is_some(), "{}", text);
        let show = |text: Option<Vec<u8>>| text.map(|text| String::from_utf8_lossy(&text).into_owned());
        prop_assert_eq!(show(first), show(second), "{}", text);
    }
}
