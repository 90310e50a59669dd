//! Readers of texts from outside refuse what they cannot read, and never panic.
//!
//! A short round of `scripts/agreement --panic`; what is checked, `hostile` says.

use std::fs;

use crate::hostile::{DOORS, Plan, feed};

#[test]
fn no_text_makes_a_reader_panic() {
    let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lang");
    let mut texts: Vec<Vec<u8>> = fs::read_dir(cases)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "nix"))
        .map(|path| fs::read(path).unwrap())
        .collect();
    texts.sort();
    let plan = Plan { seed: 4, first: 0, depth: 2_000, count: 20_000, texts };
    let mut millions = 0;
    let findings =
        levain_evaluator::lang::on_large_stack(|stack| feed(&plan, stack, &mut |_| millions += 1))
            .unwrap();
    assert!(findings.failures.is_empty(), "{:#?}", findings.failures);
    assert_eq!(millions, 0, "{} bytes, slow: {:?}", findings.bytes, findings.slow);
    // Readers that refuse everything would not have been tried.
    for (door, (inputs, accepted)) in DOORS.iter().zip(findings.inputs) {
        assert!(
            accepted > 0 && accepted < inputs,
            "{door:?}: {accepted} of {inputs}, slowest {:?}",
            findings.slowest
        );
    }
}
