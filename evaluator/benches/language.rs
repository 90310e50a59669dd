//! Measures the parts of the embedded evaluator one by one.
//!
//! Run with `cargo bench -p levain-evaluator --bench language [NAME]`. Programs are small, are parsed
//! before the clock starts, and are called again and again with the same number. Parsing is measured
//! on the evaluator's own test programs, or on all `.nix` files below `LEVAIN_BENCH_TREE`, a checkout
//! of nixpkgs for example. Real programs are measured by `scripts/bench-eval`.

#![allow(clippy::disallowed_methods, reason = "the benchmark reads the files that it parses")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop there")]

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use criterion::{Criterion, Throughput};
use levain_evaluator::lang::eval::{Evaluator, Options};
use levain_evaluator::lang::source::{Origin, Span};
use levain_evaluator::lang::symbol::Symbols;
use levain_evaluator::lang::syntax::{ParseOptions, parse};
use levain_evaluator::lang::{Stack, Value, on_large_stack};
use levain_evaluator::outside::{Access, Files};
use levain_store::{Derivation, DerivationHash, DerivationOutput, StoreDir};

/// Programs: functions of a number that says how much there is to do.
const PROGRAMS: &[(&str, i64, &str)] = &[
    (
        "attributes/update",
        1000,
        "n: builtins.foldl' (set: i: set // { ${toString (i - i / 50 * 50)} = i; }) { a = 1; z = 2; } (builtins.genList (i: i) n)",
    ),
    (
        "attributes/select",
        1000,
        "let set = { a = 1; b.c.d = 2; e = 3; f = 4; g = 5; h = 6; i = 7; j = 8; k = 9; l = 10; }; in
         n: builtins.foldl' (sum: i: sum + set.b.c.d + set.l + (set.m or i)) 0 (builtins.genList (i: i) n)",
    ),
    (
        "attributes/names of a large set",
        1000,
        "n: builtins.attrNames (builtins.listToAttrs (builtins.genList (i: { name = \"name${toString i}\"; value = i; }) n))",
    ),
    (
        "lists/append",
        500,
        "n: builtins.length (builtins.foldl' (list: i: list ++ [ i ]) [ ] (builtins.genList (i: i) n))",
    ),
    (
        "lists/concatLists",
        1000,
        "n: builtins.length (builtins.concatLists (builtins.genList (i: [ i i i ]) n))",
    ),
    (
        "strings/interpolation",
        1000,
        "n: builtins.stringLength (builtins.concatStringsSep \":\" (builtins.genList (i: \"a${toString i}b${toString i}c\") n))",
    ),
    ("calls/foldl'", 10_000, "n: builtins.foldl' (a: b: a + b) 0 (builtins.genList (i: i) n)"),
    (
        "calls/deep recursion",
        3000,
        "let sum = n: if n == 0 then 0 else n + sum (n - 1); in n: sum n",
    ),
    (
        "calls/patterns",
        1000,
        "let f = { a, b ? a, c ? b, ... }@all: a + b + c; in
         n: builtins.foldl' (sum: i: sum + f { a = i; d = 1; }) 0 (builtins.genList (i: i) n)",
    ),
    (
        "genericClosure",
        1000,
        "n: builtins.length (builtins.genericClosure {
           startSet = [ { key = 0; } ];
           operator = item: if item.key < n then [ { key = item.key + 1; } { key = item.key + 2; } ] else [ ];
         })",
    ),
];

fn main() {
    let done = on_large_stack(|stack| {
        let mut criterion = Criterion::default().configure_from_args();
        parsing(&mut criterion);
        programs(&mut criterion, stack);
        derivations(&mut criterion);
        criterion.final_summary();
    });
    done.unwrap();
}

/// Parses every file as often as is needed; the throughput is in bytes.
fn parsing(criterion: &mut Criterion) {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lang");
    let tree = std::env::var_os("LEVAIN_BENCH_TREE").map_or(own, PathBuf::from);
    let mut texts = Vec::new();
    collect(&tree, &mut texts);
    // Among the test programs are some that must not parse.
    let options = ParseOptions { directory: b"/".to_vec(), home: None, ..ParseOptions::default() };
    texts.retain(|text| parse(text, 1, &mut Symbols::new(), &options, &mut Vec::new()).is_ok());
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Bytes(texts.iter().map(|text| text.len() as u64).sum()));
    group.bench_function("all files", |bencher| {
        let mut symbols = Symbols::new();
        bencher.iter(|| {
            for text in &texts {
                black_box(parse(text, 1, &mut symbols, &options, &mut Vec::new())).unwrap();
            }
        });
    });
    // The parser that other programs in Rust use; it keeps every blank, and checks less.
    let texts: Vec<&str> = texts.iter().filter_map(|text| std::str::from_utf8(text).ok()).collect();
    group.bench_function("all files, rnix", |bencher| {
        bencher.iter(|| {
            for text in &texts {
                black_box(rnix::Root::parse(text));
            }
        });
    });
    group.finish();
}

fn collect(directory: &Path, texts: &mut Vec<Vec<u8>>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            collect(&path, texts);
        } else if path.extension().is_some_and(|extension| extension == "nix") {
            texts.extend(std::fs::read(&path));
        }
    }
}

fn programs(criterion: &mut Criterion, stack: Stack) {
    let files = Files::new(Access::Below(Vec::new()), StoreDir::default(), 0).unwrap();
    let mut evaluator = Evaluator::new(Rc::new(files), Options::default(), stack);
    for (name, amount, program) in PROGRAMS {
        let function = evaluator.evaluate_text(Origin::Expression, program.as_bytes()).unwrap();
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| {
                let value = evaluator.call1(&function, Value::Int(*amount), Span::NONE).unwrap();
                evaluator.deep_force(black_box(&value), Span::NONE).unwrap()
            });
        });
    }
}

/// A derivation like those of nixpkgs: twenty inputs, fifty variables, one long script.
fn derivations(criterion: &mut Criterion) {
    let dir = StoreDir::default();
    let hash = DerivationHash::Regular("0123456789abcdef".repeat(4));
    let mut input = Derivation { system: "x86_64-linux".to_owned(), ..Derivation::default() };
    let mut derivation = input.clone();
    for number in 0..20 {
        input.builder = format!("/bin/{number}").into_bytes();
        let (path, _) = input.to_file(&dir, &format!("input-{number}")).unwrap();
        derivation.input_derivations.insert(path, BTreeSet::from(["out".to_owned()]));
    }
    let script = "echo \"one line of the script\"\n".repeat(40).into_bytes();
    derivation.env = (0..50)
        .map(|number| (format!("variable{number}").into_bytes(), b"some value".to_vec()))
        .chain([(b"buildCommand".to_vec(), script), (b"out".to_vec(), Vec::new())])
        .collect::<BTreeMap<_, _>>();
    derivation.outputs.insert("out".to_owned(), DerivationOutput::default());
    let (_, text) = derivation.to_file(&dir, "sample").unwrap();
    let mut group = criterion.benchmark_group("derivation");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("hash and write", |bencher| {
        bencher.iter(|| {
            let mut derivation = derivation.clone();
            derivation.fill_output_paths(&dir, "sample", |_| Some(&hash)).unwrap();
            let written = derivation.to_file(&dir, "sample").unwrap();
            black_box((written, derivation.hash_modulo(&dir, |_| Some(&hash)).unwrap()))
        });
    });
    group.bench_function("read", |bencher| {
        bencher.iter(|| Derivation::parse_aterm(&dir, black_box(&text)).unwrap());
    });
    group.finish();
}
