//! Tests of keys.

use std::cell::RefCell;

use levain_store::DerivationOutput;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn dir() -> StoreDir {
    StoreDir::default()
}

/// Returns a store path whose hash is made of one digit.
fn path(digit: char, name: &str) -> StorePath {
    format!("{}-{name}", digit.to_string().repeat(32)).parse().unwrap()
}

fn derivation_path(digit: char, name: &str) -> DerivationPath {
    path(digit, &format!("{name}.drv")).try_into().unwrap()
}

fn with_outputs(outputs: &[(&str, StorePath)]) -> Derivation {
    let output = |path: &StorePath| DerivationOutput {
        path: Some(path.clone()),
        hash_algorithm: String::new(),
        hash: String::new(),
    };
    Derivation {
        outputs: outputs.iter().map(|(name, path)| ((*name).to_owned(), output(path))).collect(),
        input_derivations: BTreeMap::new(),
        input_sources: BTreeSet::new(),
        system: "x86_64-linux".to_owned(),
        builder: b"/bin/sh".to_vec(),
        args: Vec::new(),
        env: BTreeMap::new(),
    }
}

/// A derivation with everything that a key is made of.
struct Example {
    derivation: Derivation,
    inputs: BTreeMap<DerivationPath, Derivation>,
    project_sources: BTreeSet<StorePath>,
    options: KeyOptions,
}

/// Makes the example from a project source and the job's own output.
fn example_of(source: &StorePath, output: &StorePath) -> Example {
    let (source_text, output_text) = (dir().display(source), dir().display(output));
    let mut derivation = with_outputs(&[("out", output.clone())]);
    let compiler = derivation_path('1', "gcc");
    derivation.input_derivations =
        BTreeMap::from([(compiler.clone(), BTreeSet::from(["out".to_owned(), "dev".to_owned()]))]);
    derivation.input_sources = BTreeSet::from([path('3', "builder.sh"), source.clone()]);
    derivation.args = vec![b"-e".to_vec(), format!("{source_text}/build.sh").into_bytes()];
    let gcc = dir().display(&path('2', "gcc"));
    for (name, value) in [
        ("CC", format!("{gcc}/bin/gcc")),
        ("out", output_text.clone()),
        ("src", source_text.clone()),
        ("flags", format!("-I{source_text}/include:--prefix={output_text}.")),
        ("version", "1".to_owned()),
    ] {
        derivation.env.insert(name.as_bytes().to_vec(), value.into_bytes());
    }
    let gcc = with_outputs(&[("out", path('2', "gcc")), ("dev", path('4', "gcc-dev"))]);
    Example {
        derivation,
        inputs: BTreeMap::from([(compiler, gcc)]),
        project_sources: BTreeSet::from([source.clone()]),
        options: KeyOptions::default(),
    }
}

fn example() -> Example {
    example_of(&path('5', "source"), &path('6', "job"))
}

impl Example {
    fn document(&self) -> KeyDocument {
        compute(&dir(), &self.derivation, &self.inputs, &self.project_sources, &self.options)
    }

    fn key(&self) -> Key {
        self.document().key()
    }

    fn env(&mut self, name: &str, value: &str) {
        self.derivation.env.insert(name.as_bytes().to_vec(), value.as_bytes().to_vec());
    }
}

#[test]
fn components_are_masked() {
    let document = serde_json::to_string_pretty(&example().document()).unwrap();
    expect_test::expect![[r#"
        {
          "args": "\"-e\" \"<source source>/build.sh\"",
          "builder": "/bin/sh",
          "env CC": "/nix/store/22222222222222222222222222222222-gcc/bin/gcc",
          "env flags": "-I<source source>/include:--prefix=<output out>.",
          "env out": "<output out>",
          "env src": "<source source>",
          "env version": "1",
          "input gcc": "/nix/store/22222222222222222222222222222222-gcc /nix/store/44444444444444444444444444444444-gcc-dev",
          "source builder.sh": "/nix/store/33333333333333333333333333333333-builder.sh",
          "system": "x86_64-linux"
        }"#]]
    .assert_eq(&document);
}

#[test]
fn the_key_is_stable() {
    // Another value here means that every cache in the world is lost: change `FORMAT` with it.
    expect_test::expect!["4ee4b6691b598d119fdf50eddc08fb61dccc8422d8c1c6a7f847491d99b00f3c"]
        .assert_eq(example().key().as_str());
}

#[test]
fn the_projects_sources_do_not_count() {
    let other = example_of(&path('7', "source"), &path('8', "job"));
    assert_eq!(example().key(), other.key());
    // The copy of a whole tree has the tree's hash in its name.
    let tree = example_of(&path('7', &format!("{}-source", "9".repeat(32))), &path('8', "job"));
    assert_eq!(example().key(), tree.key());
    // Another name is another place in the project.
    assert_ne!(example().key(), example_of(&path('7', "docs"), &path('8', "job")).key());
}

#[test]
fn everything_else_counts() {
    let change = |change: &dyn Fn(&mut Example)| {
        let mut changed = example();
        change(&mut changed);
        let names: Vec<String> = difference(&example().document(), &changed.document())
            .into_iter()
            .map(|change| change.component)
            .collect();
        assert_eq!(names.is_empty(), changed.key() == example().key());
        names.join(", ")
    };
    assert_eq!(change(&|_| ()), "");
    assert_eq!(change(&|e| e.derivation.system = "aarch64-linux".to_owned()), "system");
    assert_eq!(change(&|e| e.derivation.builder = b"/bin/bash".to_vec()), "builder");
    assert_eq!(change(&|e| e.derivation.args.push(b"-x".to_vec())), "args");
    assert_eq!(change(&|e| e.derivation.args = vec![b"-e x".to_vec()]), "args");
    assert_eq!(change(&|e| e.env("flags", "-O2")), "env flags");
    assert_eq!(change(&|e| e.env("new", "")), "env new");
    assert_eq!(change(&|e| e.env("version", "2")), "env version");
    assert_eq!(change(&|e| e.options.extra = Some(json!({ "a": 1 }))), "extra");
    assert_eq!(
        change(&|e| {
            e.derivation.input_sources.remove(&path('3', "builder.sh"));
            e.derivation.input_sources.insert(path('9', "builder.sh"));
        }),
        "source builder.sh"
    );
    assert_eq!(
        change(&|e| {
            let gcc = with_outputs(&[("out", path('9', "gcc")), ("dev", path('4', "gcc-dev"))]);
            e.inputs.insert(derivation_path('1', "gcc"), gcc);
        }),
        "input gcc"
    );
    assert_eq!(change(&|e| e.inputs.clear()), "input gcc");
    assert_eq!(change(&|e| e.project_sources.clear()), "args, env flags, env src, source source");
}

#[test]
fn an_input_counts_by_what_it_makes() {
    let mut moved = example();
    let gcc = moved.inputs.remove(&derivation_path('1', "gcc")).unwrap();
    moved.inputs.insert(derivation_path('9', "gcc"), gcc);
    let used = moved.derivation.input_derivations.remove(&derivation_path('1', "gcc")).unwrap();
    moved.derivation.input_derivations.insert(derivation_path('9', "gcc"), used);
    assert_eq!(moved.key(), example().key());
}

#[test]
fn options_leave_parts_out() {
    let with = |digit, version: &str| {
        let mut example = example();
        let gcc = with_outputs(&[("out", path(digit, "gcc")), ("dev", path('4', "gcc-dev"))]);
        example.inputs.insert(derivation_path('1', "gcc"), gcc);
        example.env("CC", &format!("{}/bin/gcc", dir().display(&path(digit, "gcc"))));
        example.env("version", version);
        example.options = serde_json::from_value(json!({
            "ignoreEnv": ["version"], "maskInputs": ["gcc"],
        }))
        .unwrap();
        example
    };
    assert_eq!(with('8', "1").key(), with('9', "2").key());
    let components = with('8', "1").document().components;
    assert_eq!(components["env CC"], "<input gcc>/bin/gcc");
    assert_eq!(components["input gcc"], "<input gcc dev> <input gcc>");
    assert!(serde_json::from_value::<KeyOptions>(json!({ "ignoreEnvs": [] })).is_err());
}

#[test]
fn structured_attributes_count_one_by_one() {
    let with = |value: &str| {
        let mut example = example();
        example.env("__json", value);
        example.options.ignore_env.insert("version".to_owned());
        example
    };
    let source = dir().display(&path('5', "source"));
    let json = format!(r#"{{"src":"{source}/x","version":"1","flags":["-O2"]}}"#);
    let document = with(&json).document();
    assert_eq!(document.components["env __json.src"], "\"<source source>/x\"");
    assert_eq!(document.components["env __json.flags"], "[\"-O2\"]");
    assert!(!document.components.contains_key("env __json"));
    assert_eq!(with(&json).key(), with(&json.replace("\"1\"", "\"2\"")).key());
    assert_ne!(with(&json).key(), with(&json.replace("-O2", "-O3")).key());
    assert_ne!(with("not json").key(), with("not JSON").key());
}

#[test]
fn long_and_binary_values_count_by_their_hash() {
    let with = |value: &[u8]| {
        let mut example = example();
        example.derivation.env.insert(b"long".to_vec(), value.to_vec());
        example.document()
    };
    for (one, other) in [(vec![b'a'; 201], vec![b'a'; 202]), (vec![0xff], vec![0xfe])] {
        let components = [with(&one), with(&other)].map(|d| d.components["env long"].clone());
        assert!(components.iter().all(|value| value.starts_with("<sha256 ")), "{components:?}");
        assert_ne!(components[0], components[1]);
    }
    assert_eq!(with(&[b'a'; 200]).components["env long"].len(), 200);
}

#[test]
fn keys_are_64_digits() {
    let key = example().key();
    assert_eq!(key.as_str().parse(), Ok(key));
    for text in ["", "ab", &"AB".repeat(32), &"zz".repeat(32)] {
        assert!(text.parse::<Key>().is_err(), "{text}");
    }
}

/// A graph of derivations: inputs and sources by name.
type Graph = BTreeMap<DerivationPath, Derivation>;

fn graph(edges: &[(char, &[char], &[StorePath])]) -> Graph {
    edges
        .iter()
        .map(|(node, inputs, sources)| {
            let mut derivation = with_outputs(&[]);
            let input = |digit: &char| (derivation_path(*digit, "x"), BTreeSet::new());
            derivation.input_derivations = inputs.iter().map(input).collect();
            derivation.input_sources = sources.iter().cloned().collect();
            (derivation_path(*node, "x"), derivation)
        })
        .collect()
}

/// Returns what is found, and how many derivations were read.
fn search(
    graph: &Graph,
    shadow: char,
    base: char,
    wanted: &[StorePath],
) -> (Vec<StorePath>, usize) {
    let reads = RefCell::new(Vec::new());
    let mut read = |path: &DerivationPath| {
        reads.borrow_mut().push(path.clone());
        graph.get(path).cloned().ok_or("not there")
    };
    let wanted = wanted.iter().cloned().collect();
    let (shadow, base) = (derivation_path(shadow, "x"), derivation_path(base, "x"));
    let found = graph_contains(&mut read, &shadow, &base, &wanted).unwrap();
    let reads = reads.into_inner();
    let unique: BTreeSet<&DerivationPath> = reads.iter().collect();
    assert_eq!(unique.len(), reads.len(), "read twice: {reads:?}");
    (found.into_iter().collect(), reads.len())
}

#[test]
fn caches_are_found_in_the_graph() {
    let (cache, other) = (path('0', "cache"), path('1', "cache"));
    let graph = graph(&[
        // Shadow: a -> b -> c (with the cache); base: 1 -> 2 -> 3. Both have d -> f.
        ('a', &['b', 'd'], &[]),
        ('b', &['c', 'd'], &[]),
        ('c', &[], std::slice::from_ref(&cache)),
        ('1', &['2', 'd'], &[]),
        ('2', &['3', 'd'], &[]),
        ('3', &[], &[]),
        ('d', &['f'], &[]),
        ('f', &[], &[]),
    ]);
    let both = [cache.clone(), other.clone()];
    let (found, reads) = search(&graph, 'a', '1', &both);
    assert_eq!(found, std::slice::from_ref(&cache));
    // a, b, c, and 1, 2, 3 in step; nothing of what both have.
    assert!(reads <= 6, "{reads}");
    // It ends as soon as there is nothing left to find.
    assert!(search(&graph, 'a', '1', &[cache]).1 < 6);
    assert_eq!(search(&graph, '1', '1', &both), (Vec::new(), 0));
    assert_eq!(search(&graph, 'a', '1', &[]), (Vec::new(), 0));
}

#[test]
fn an_unreadable_derivation_is_an_error() {
    let mut read = |_: &DerivationPath| Err::<Derivation, _>("gone");
    let wanted = BTreeSet::from([path('0', "cache")]);
    let (shadow, base) = (derivation_path('a', "x"), derivation_path('b', "x"));
    assert_eq!(graph_contains(&mut read, &shadow, &base, &wanted), Err("gone"));
}

proptest! {
    /// Against walking all of the shadow's graph, in graphs without anything in common.
    #[test]
    fn the_search_finds_what_a_full_walk_finds(
        edges in prop::collection::vec((0..10usize, 0..10usize), 0..30),
        with_cache in prop::collection::btree_set(0..10usize, 0..4),
    ) {
        let digits = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];
        let mut all: Vec<(char, Vec<char>, Vec<StorePath>)> = vec![('z', Vec::new(), Vec::new())];
        for (index, digit) in digits.iter().enumerate() {
            // Edges lead upwards only: a graph of derivations has no cycles.
            let inputs = edges.iter().filter(|(from, to)| *from == index && to > from);
            let inputs = inputs.map(|(_, to)| digits[*to]).collect();
            let sources = with_cache.contains(&index).then(|| path(*digit, "cache"));
            all.push((*digit, inputs, sources.into_iter().collect()));
        }
        let edges: Vec<(char, &[char], &[StorePath])> =
            all.iter().map(|(node, inputs, sources)| (*node, &inputs[..], &sources[..])).collect();
        let graph = graph(&edges);
        let mut expected = BTreeSet::new();
        let mut open = vec![derivation_path('0', "x")];
        while let Some(next) = open.pop() {
            expected.extend(graph[&next].input_sources.iter().cloned());
            open.extend(graph[&next].input_derivations.keys().cloned());
        }
        let wanted: Vec<StorePath> = digits.iter().map(|digit| path(*digit, "cache")).collect();
        let (found, _) = search(&graph, '0', 'z', &wanted);
        prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }
}
