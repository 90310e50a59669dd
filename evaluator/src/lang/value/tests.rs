//! Laws of attribute sets, contexts and paths, against the standard library's sets.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::lang::symbol::{Symbol, Symbols};

type Model = BTreeMap<Vec<u8>, i64>;

/// Attributes as they might be written: in any order, with names that come back.
fn written() -> impl Strategy<Value = Vec<(Vec<u8>, i64)>> {
    vec(("[a-e]{0,2}".prop_map(String::into_bytes), any::<i64>()), 0..24)
}

fn attrs(symbols: &mut Symbols, written: &[(Vec<u8>, i64)]) -> Attrs {
    let entries = written.iter().map(|(name, value)| {
        let name = symbols.intern(name);
        Attr::new(name, Value::Int(*value))
    });
    Attrs::from_unsorted(entries.collect())
}

fn model(symbols: &Symbols, attrs: &Attrs) -> Model {
    let pairs = attrs.sorted(symbols).into_iter().map(|attr| {
        let Value::Int(value) = attr.value else { panic!("{attr:?}") };
        (symbols.name(attr.name).to_vec(), value)
    });
    let pairs: Vec<(Vec<u8>, i64)> = pairs.collect();
    assert!(pairs.is_sorted_by(|a, b| a.0 < b.0), "sorted by name, each once");
    pairs.into_iter().collect()
}

/// Every way to look at a set must show the same attributes.
fn looks_the_same_from_all_sides(symbols: &Symbols, attrs: &Attrs) {
    assert_eq!(attrs.iter().count(), attrs.len());
    assert!(attrs.iter().is_sorted_by(|a, b| a.name < b.name));
    let mut names: Vec<Symbol> = NAMES.iter().filter_map(|name| symbols.find(name)).collect();
    names.sort_unstable();
    let mut rest = attrs.iter();
    for name in names {
        let one_by_one = attrs.iter().find(|attr| attr.name == name);
        let show = |attr: Option<&Attr>| attr.map(|attr| format!("{:?}", attr.value));
        assert_eq!(show(attrs.get(name)), show(one_by_one));
        assert_eq!(show(rest.find_next(name)), show(one_by_one));
    }
}

const NAMES: [&str; 8] = ["", "a", "aa", "b", "cd", "dd", "e", "ee"];

fn element() -> impl Strategy<Value = ContextElement> {
    let path = || "/nix/store/[a-c]".prop_map(Rc::from);
    prop_oneof![
        path().prop_map(ContextElement::Path),
        path().prop_map(ContextElement::DerivationDeep),
        (path(), "[a-b]".prop_map(Rc::from))
            .prop_map(|(derivation, output)| ContextElement::Output { derivation, output }),
    ]
}

proptest! {
    #[test]
    fn the_last_of_equal_names_counts(written in written()) {
        let mut symbols = Symbols::new();
        let set = attrs(&mut symbols, &written);
        let expected: Model = written.iter().cloned().collect();
        prop_assert_eq!(set.len(), expected.len());
        prop_assert_eq!(set.is_empty(), expected.is_empty());
        prop_assert_eq!(model(&symbols, &set), expected.clone());
        let mut builder = AttrsBuilder::default();
        for (name, value) in &written {
            builder.push(symbols.intern(name), Value::Int(*value));
        }
        prop_assert_eq!(model(&symbols, &builder.finish()), expected.clone());
        for name in ["", "a", "ab", "e", "zz"] {
            let symbol = symbols.intern(name);
            let found = set.value(symbol).map(|value| format!("{value:?}"));
            let wanted = expected.get(name.as_bytes());
            let wanted = wanted.map(|value| format!("{:?}", Value::Int(*value)));
            prop_assert_eq!(set.contains(symbol), wanted.is_some());
            prop_assert_eq!(found, wanted);
        }
    }

    #[test]
    fn updates_are_those_of_a_map(a in written(), b in written(), c in written()) {
        let mut symbols = Symbols::new();
        let sets = [&a, &b, &c].map(|written| Rc::new(attrs(&mut symbols, written)));
        let mut expected: Model = a.into_iter().collect();
        expected.extend(b);
        prop_assert_eq!(model(&symbols, &sets[0].update(&sets[1])), expected.clone());
        looks_the_same_from_all_sides(&symbols, &sets[0].update(&sets[1]));
        expected.extend(c);
        let left = Rc::new(sets[0].update(&sets[1])).update(&sets[2]);
        let right = sets[0].update(&Rc::new(sets[1].update(&sets[2])));
        looks_the_same_from_all_sides(&symbols, &left);
        looks_the_same_from_all_sides(&symbols, &right);
        prop_assert_eq!(model(&symbols, &left), expected);
        prop_assert_eq!(model(&symbols, &left), model(&symbols, &right));
        let itself = sets[0].update(&sets[0]);
        prop_assert_eq!(model(&symbols, &itself), model(&symbols, &sets[0]));
        let nothing = Rc::new(Attrs::new());
        prop_assert_eq!(model(&symbols, &nothing.update(&sets[0])), model(&symbols, &sets[0]));
        prop_assert_eq!(model(&symbols, &sets[0].update(&nothing)), model(&symbols, &sets[0]));
    }

    #[test]
    fn contexts_are_sets(a in vec(element(), 0..8), b in vec(element(), 0..8)) {
        let (left, right): (Context, Context) =
            (a.iter().cloned().collect(), b.iter().cloned().collect());
        let union = |first: &Context, second: &Context| {
            let mut union = first.clone();
            union.extend(second);
            union
        };
        let both = union(&left, &right);
        let expected: BTreeSet<ContextElement> = a.into_iter().chain(b).collect();
        prop_assert_eq!(both.len(), expected.len());
        prop_assert!(both.iter().eq(expected.iter()));
        prop_assert!(expected.iter().all(|element| both.contains(element)));
        prop_assert_eq!(&union(&right, &left), &both);
        prop_assert_eq!(&union(&both, &left), &both);
        prop_assert_eq!(union(&Context::new(), &left), left);
    }

    #[test]
    fn paths_stay_canonical(text in "/[a-b./]{0,12}", more in "[a-b./]{0,8}") {
        let path = NixPath::canonical(text.as_bytes());
        prop_assert_eq!(&NixPath::canonical(path.bytes()), &path);
        let text = path.text().into_owned();
        prop_assert!(text.starts_with('/') && (text == "/" || !text.ends_with('/')));
        prop_assert!(text[1..].split('/').all(|part| !matches!(part, "." | "..")));
        let joined = path.join(more.as_bytes());
        prop_assert_eq!(&NixPath::canonical(joined.bytes()), &joined);
    }
}
