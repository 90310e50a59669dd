//! Who is to blame for files that differ.

use levain_store::compare::DifferenceKind;

use super::*;

fn difference(output: &str, path: &str) -> (String, Difference) {
    (output.to_owned(), Difference { path: path.into(), kind: DifferenceKind::Content })
}

fn places(of: &[(&str, &str)]) -> Unstable {
    let mut places = Unstable::new();
    for (output, path) in of {
        places.entry((*output).to_owned()).or_default().insert(path.into());
    }
    places
}

fn verdict(found: &[(&str, &str)], unstable: &[(&str, &str)]) -> (Verdict, Vec<bool>) {
    verdict_with(found, unstable, &[])
}

fn verdict_with(
    found: &[(&str, &str)],
    unstable: &[(&str, &str)],
    foreign: &[(&str, &str)],
) -> (Verdict, Vec<bool>) {
    let found = found.iter().map(|(output, path)| difference(output, path)).collect();
    let (verdict, files) = judge(found, &places(unstable), &places(foreign));
    (verdict, files.into_iter().map(|file| file.also_in_clean).collect())
}

#[test]
fn another_builds_path_is_a_lie_where_clean_builds_differ_too() {
    let (a, b) = (("out", "a"), ("out", "b"));
    assert_eq!(verdict_with(&[a], &[a], &[a]), (Verdict::Lied, vec![false]));
    assert_eq!(verdict_with(&[a, b], &[a, b], &[b]), (Verdict::Lied, vec![true, false]));
    assert_eq!(verdict_with(&[a], &[a], &[b]), (Verdict::NotDeterministic, vec![true]));
}

#[test]
fn a_cache_lied_where_clean_builds_agree() {
    assert_eq!(verdict(&[], &[]), (Verdict::Same, vec![]));
    assert_eq!(verdict(&[], &[("out", "a")]), (Verdict::Same, vec![]));
    assert_eq!(verdict(&[("out", "a")], &[]), (Verdict::Lied, vec![false]));
    assert_eq!(verdict(&[("out", "a")], &[("out", "a")]), (Verdict::NotDeterministic, vec![true]));
    // The same path in another output is another place.
    assert_eq!(verdict(&[("out", "a")], &[("dev", "a")]), (Verdict::Lied, vec![false]));
    assert_eq!(
        verdict(&[("out", "a"), ("out", "b")], &[("out", "a")]),
        (Verdict::Lied, vec![true, false])
    );
}

#[test]
fn what_switches_a_cache_off() {
    let lies: Vec<Verdict> = [
        Verdict::Same,
        Verdict::NotDeterministic,
        Verdict::Lied,
        Verdict::NotIncremental,
        Verdict::Gone,
        Verdict::CleanFails,
        Verdict::Unfinished,
    ]
    .into_iter()
    .filter(|verdict| verdict.is_lie())
    .collect();
    assert_eq!(lies, [Verdict::Lied, Verdict::CleanFails]);
}
