//! Derivations that read the store: what they depend on has to be written, so each has a real store.

use std::collections::BTreeMap;

use levain_evaluator::embedded::{self, Output, Question, Source};
use levain_store::{Derivation, Store};

use crate::support::{World, text};

/// Derivations that depend on the whole graph of others, and on texts that refer to texts.
const DEEP: &str = r#"
let
  make = attrs: derivation ({ system = "s"; builder = "b"; } // attrs);
  inner = builtins.toFile "inner" "x";
  outer = builtins.toFile "outer" "y ${inner}";
  fixed = make { name = "fixed"; outputHash = ""; outputHashAlgo = "sha256"; src = outer; };
  several = make { name = "several"; outputs = [ "out" "dev" ]; inherit fixed; };
in
make {
  name = "deep";
  graph = several.drvPath;
  alone = builtins.unsafeDiscardOutputDependency fixed.drvPath;
  one = several.dev;
}
"#;

fn ours(world: &World, expression: &str) -> String {
    let source = Source::Text { text: expression.into(), directory: world.path("") };
    let mut question = Question::new(source, Output::Raw);
    question.store = world.evaluator.store.dir.clone();
    text(&embedded::evaluate(question, |_| {}).unwrap())
}

fn instantiated(world: &World, expression: &str) -> String {
    let output = world.nix("nix-instantiate", &["-E", expression]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

#[test]
fn a_derivation_may_depend_on_whole_graphs() {
    let world = World::new();
    let theirs = instantiated(&world, DEEP);
    assert_eq!(ours(&world, &format!("({DEEP}).drvPath")), theirs);
    let store = Store::new(world.evaluator.store.clone());
    let path = store.dir().parse_derivation(&theirs).unwrap();
    let derivation: Derivation = store.read_derivation(&path).unwrap();
    // Everything that the other derivations refer to, and they themselves.
    let sources: Vec<_> = derivation.input_sources.iter().map(|path| path.name()).collect();
    let count = |name: &str| sources.iter().filter(|source| **source == name).count();
    assert_eq!(
        [count("inner"), count("outer"), count("fixed.drv"), count("several.drv")],
        [1, 1, 1, 1],
        "{sources:?}"
    );
    let outputs: BTreeMap<_, _> = derivation
        .input_derivations
        .iter()
        .map(|(path, outputs)| (path.name(), outputs.len()))
        .collect();
    assert_eq!(outputs, BTreeMap::from([("fixed", 1), ("several", 2)]));
}

#[test]
fn a_derivation_may_depend_on_one_that_only_the_store_has() {
    let world = World::new();
    let other = "derivation { name = \"other\"; system = \"s\"; builder = \"b\"; src = derivation { name = \"src\"; system = \"s\"; builder = \"b\"; }; }";
    let path = instantiated(&world, other);
    let expression = format!(
        r#"derivation {{ name = "n"; system = "s"; builder = "b";
          x = builtins.appendContext "x" {{ "{path}" = {{ outputs = [ "out" ]; }}; }};
          y = builtins.appendContext "y" {{ "{path}" = {{ allOutputs = true; }}; }}; }}"#
    );
    let theirs = instantiated(&world, &expression);
    assert_eq!(ours(&world, &format!("({expression}).drvPath")), theirs);
}
