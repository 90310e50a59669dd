//! Plain data means the same to the real Nix.

use std::collections::BTreeMap;

use levain_evaluator::Data;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::Value;

use crate::support::{World, text};

fn to_json(data: &Data) -> Value {
    match data {
        Data::Null => Value::Null,
        Data::Bool(bool) => Value::Bool(*bool),
        Data::Integer(number) => Value::from(*number),
        Data::String(text) => Value::from(text.as_str()),
        Data::List(elements) => elements.iter().map(to_json).collect(),
        Data::Set(attributes) => Value::Object(
            attributes.iter().map(|(name, value)| (name.clone(), to_json(value))).collect(),
        ),
    }
}

fn any_data() -> impl Strategy<Value = Data> {
    let text = prop_oneof!["[^\0]{0,12}", "[\\\\\"$\\{\\}\r\n\t' #a]{0,10}"];
    let leaf = prop_oneof![
        Just(Data::Null),
        any::<bool>().prop_map(Data::Bool),
        (0..=i64::MAX as u64).prop_map(Data::Integer),
        text.clone().prop_map(Data::String),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Data::List),
            prop::collection::btree_map(text.clone(), inner, 0..4).prop_map(Data::Set),
        ]
    })
}

/// Returns the values of Nix files, by `import`, in one evaluation.
fn evaluate(texts: &[String]) -> Vec<Value> {
    let world = World::new();
    let dir = world.path("data");
    std::fs::create_dir(&dir).unwrap();
    for (index, text) in texts.iter().enumerate() {
        std::fs::write(dir.join(format!("{index}.nix")), text).unwrap();
    }
    let expression = format!(
        "builtins.genList (n: import ({} + \"/${{toString n}}.nix\")) {}",
        dir.display(),
        texts.len()
    );
    let output = world.nix("nix", &["eval", "--impure", "--json", "--expr", &expression]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn nix_reads_what_is_printed() {
    let mut runner = TestRunner::default();
    let values: Vec<Data> =
        (0..200).map(|_| any_data().new_tree(&mut runner).unwrap().current()).collect();
    let texts: Vec<String> = values.iter().map(Data::print).collect();
    for (answer, value) in evaluate(&texts).iter().zip(&values) {
        assert_eq!(answer, &to_json(value), "{}", value.print());
    }
}

#[test]
fn nix_reads_strings_by_the_same_rules() {
    // Any text between quotes that is accepted at all.
    let mut runner = TestRunner::default();
    let any_text = "[\\\\\"$\\{\\}\r\n' #an]{0,8}";
    let mut accepted = BTreeMap::new();
    for _ in 0..4000 {
        let inside = any_text.new_tree(&mut runner).unwrap().current();
        let literal = format!("\"{inside}\"");
        if let Ok(data) = Data::parse(literal.as_bytes()) {
            accepted.insert(literal, data);
        }
    }
    assert!(accepted.len() > 100, "{}", accepted.len());
    let texts: Vec<String> = accepted.keys().cloned().collect();
    for (answer, (literal, data)) in evaluate(&texts).iter().zip(&accepted) {
        assert_eq!(answer, &to_json(data), "{literal:?}");
    }
}
