//! Answers of real Nix are compared in `evaluator/tests/lang/`; here is what a unit can show alone.

use proptest::prelude::*;

use super::*;

fn whole(expression: &str, text: &str) -> Option<Vec<Option<String>>> {
    let groups = Regex::new(expression.as_bytes()).unwrap().match_whole(text.as_bytes())?;
    let text = |(begin, end): (usize, usize)| text[begin..end].to_owned();
    Some(groups.into_iter().skip(1).map(|group| group.map(text)).collect())
}

fn all(expression: &str, text: &str) -> Vec<String> {
    let found = Regex::new(expression.as_bytes()).unwrap().find_all(text.as_bytes());
    found.iter().map(|groups| groups[0].map(|(b, e)| text[b..e].to_owned()).unwrap()).collect()
}

#[test]
fn groups_hold_what_they_matched_last() {
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(whole("(a*)*", "aaa"), Some(vec![some("")]));
    assert_eq!(whole("(a|(b))*", "ba"), Some(vec![some("a"), some("b")]));
    assert_eq!(whole("(a)|b", "b"), Some(vec![None]));
    assert_eq!(whole("(.*)-([0-9]{1,2})", "a-b-12"), Some(vec![some("a-b"), some("12")]));
    assert_eq!(whole("a{2,3}", "aaaa"), None);
}

#[test]
fn longer_alternatives_win_but_repetitions_are_greedy() {
    assert_eq!(all("a|ab", "abab"), ["ab", "ab"]);
    assert_eq!(all("a*(ab)?", "aab"), ["aa", "", ""]);
    assert_eq!(all("x*", "axb"), ["", "x", "", ""]);
    assert_eq!(all("^a|b", "aab"), ["a", "b"]);
}

#[test]
fn refuses_what_nix_refuses() {
    for wrong in [
        "*",
        "^*",
        "(",
        ")",
        "[a",
        "[z-a]",
        "[a-z--0]",
        "\\d",
        "\\",
        "a{",
        "a{2",
        "a{2,1}",
        "a{,2}",
        "[[:foo:]]",
        "[[.-.]]",
        "a|*",
        "[[:alpha:]-z]",
    ] {
        assert_eq!(Regex::new(wrong.as_bytes()).unwrap_err(), RegexError::Invalid, "{wrong}");
    }
    assert_eq!(Regex::new(b"(a{1000}){1000}").unwrap_err(), RegexError::TooLarge);
    assert_eq!(Regex::new(&b"(".repeat(100_000)).unwrap_err(), RegexError::TooLarge);
    for right in
        ["", "()", "a||b", "]", "}", "[]a]", "[^]a]", "[a-]", "[-a]", "[--0]", "a**", "[[]"]
    {
        assert!(Regex::new(right.as_bytes()).is_ok(), "{right}");
    }
}

#[test]
fn takes_no_exponential_time() {
    let text = "a".repeat(2000);
    assert_eq!(whole("(a|a|a)*b", &text), None);
    assert_eq!(whole("(a*)*(a*)*(a*)*b", &text), None);
    assert_eq!(all("(a|aa)*", &text), [text.as_str(), ""]);
}

#[test]
fn many_alternatives_are_not_passed_one_by_one() {
    // Each of them led to its end through all that follow.
    let regex = Regex::new(&b"|".repeat(33_000)).unwrap();
    assert_eq!(regex.find_all(b"ab").len(), 3);
    assert_eq!(regex.match_whole(b""), Some(vec![Some((0, 0))]));
    assert_eq!(regex.match_whole(b"a"), None);
    assert_eq!(Regex::new(&b"|".repeat(40_000)).unwrap_err(), RegexError::TooLarge);
    let names: Vec<String> = (0..5_000).map(|number| format!("(a{number})")).collect();
    let regex = Regex::new(names.join("|").as_bytes()).unwrap();
    let groups = regex.match_whole(b"a4999").unwrap();
    assert_eq!(groups.iter().flatten().count(), 2);
    assert_eq!(groups[5_000], Some((0, 5)));
    assert_eq!(regex.find_all(b"a1a23a4").len(), 3);
}

#[test]
fn a_long_text_is_searched_in_one_go() {
    let text = "ab-".repeat(100_000);
    assert_eq!(all("[[:alnum:]]+", &text).len(), 100_000);
    let groups = whole("(.*)-(.*)", &text).unwrap();
    assert_eq!(groups[0].as_deref(), Some(&text[..text.len() - 1]));
    assert_eq!(all("(ab|a|b)*x|-", &text).len(), 100_000);
    assert_eq!(all("(-|ab-)*", &text), [text.as_str(), ""]);
}

proptest! {
    #[test]
    fn never_panics(expression in "[ab.*+?(){}|^$\\[\\]\\\\0-2,:-]{0,12}", text in "[ab01]{0,20}") {
        if let Ok(regex) = Regex::new(expression.as_bytes()) {
            regex.match_whole(text.as_bytes());
            for groups in regex.find_all(text.as_bytes()) {
                for (begin, end) in groups.into_iter().flatten() {
                    prop_assert!(begin <= end && end <= text.len());
                }
            }
        }
    }
}
