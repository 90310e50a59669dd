//! Differences that are changes of the language between the oracle's version and today's.
//!
//! Each is recognised as narrowly as the answers allow, counted, and reported by name.

use super::mutate::tokens;
use crate::answer::Answer;
use crate::oracle::as_printed;

/// What today's Nix says where an older one went on with a wrong or a surprising value.
const REFUSED: [(&str, &str); 11] = [
    ("integer overflow", "since 2.25 numbers do not wrap around"),
    ("has no exact float", "since 2.34 rounding changes no integer"),
    ("is not in the range of integers", "since 2.25 rounding does not leave the range of integers"),
    ("that is not UTF-8 to JSON", "since 2.10 JSON is not made of broken characters"),
    ("number outside of the range of integers", "since 2.25 numbers in JSON do not wrap around"),
    ("cannot contain a null byte", "today's strings do not end at a zero byte"),
    ("a string contains a zero byte", "today's strings do not end at a zero byte"),
    (
        "cannot be the name of a store path",
        "today names of derivations are checked before the rest",
    ),
    ("output name `drvPath`", "today no output has the name of an attribute"),
    ("nested too deeply", "today's limit of nesting"),
    ("it cannot be found in the store", "fetchers of ours ask the store alone"),
];

/// Builtins that the oracle may not have yet.
const LATER: [&str; 10] = [
    "addDrvOutputDependencies",
    "break",
    "convertHash",
    "fetchClosure",
    "flakeRefToString",
    "outputOf",
    "parseFlakeRef",
    "readFileType",
    "traceVerbose",
    "warn",
];

const NO_REPLACEMENT_IN_VAIN: &str = "since 2.16 `replaceStrings` evaluates no replacement in vain";
const LOOKS_AT_FUNCTION: &str =
    "today `map` and `genList` look at their function even if nothing calls it";

/// Names the change that explains why two different answers differ, if one does.
pub(crate) fn change(text: &str, theirs: &Answer, ours: &Answer) -> Option<&'static str> {
    if let Answer::Failure(message) = theirs
        && LATER.iter().any(|name| message.contains(&format!("attribute '{name}' missing")))
    {
        return Some("builtins that this Nix does not have");
    }
    if let Answer::Failure(message) = ours
        && let Some((_, change)) = REFUSED.iter().find(|(words, _)| message.contains(words))
    {
        return Some(change);
    }
    if !matches!(theirs, Answer::Value(_) | Answer::Failure(_)) {
        return None;
    }
    if matches!(theirs, Answer::Value(_)) && merges_computed_names(text) {
        return Some("today sets that are merged keep their computed attributes");
    }
    match (theirs, ours) {
        (Answer::Value(_), Answer::Failure(message))
            if message.contains("TOML: expected a value") && has_large_number(text) =>
        {
            Some("today's TOML has no numbers of more than 64 bits")
        }
        (Answer::Value(_), Answer::Failure(message))
            if message.contains("undefined variable") && text.contains("inherit") =>
        {
            Some("since 2.21 a source that nothing is inherited from is looked at")
        }
        (Answer::Value(_), Answer::Failure(message)) if message.contains("max-call-depth") => {
            Some("since 2.20 calls are nested at most 10,000 deep")
        }
        (Answer::Value(_), Answer::Failure(message))
            if (message.contains("expected a function")
                || message.contains("infinite recursion"))
                && (text.contains("genList") || text.contains("map")) =>
        {
            Some(LOOKS_AT_FUNCTION)
        }
        (Answer::Failure(_), Answer::Value(_)) if text.contains("replaceStrings") => {
            Some(NO_REPLACEMENT_IN_VAIN)
        }
        (Answer::Failure(_), Answer::Value(_)) if text.contains("genericClosure") => {
            Some("since 2.17 `genericClosure` of nothing does not look at its operator")
        }
        (Answer::Value(theirs), Answer::Value(ours)) => {
            let ours = as_printed(ours.strip_prefix("@V@").unwrap_or(ours));
            other_value(text, theirs, &ours)
        }
        (Answer::Value(_) | Answer::Failure(_) | Answer::Died(_) | Answer::Silent, _) => None,
    }
}

/// Names the change that explains two different values.
fn other_value(text: &str, theirs: &str, ours: &str) -> Option<&'static str> {
    if theirs.replace("\\u0008", "\\b").replace("\\u000c", "\\f") == *ours {
        return Some("today's JSON has short escapes for two more signs");
    }
    let asks = |word: &str| tokens(text).contains(&word);
    if asks("nixVersion") || asks("langVersion") {
        return Some("the versions are not the same");
    }
    if asks("unsafeGetAttrPos") && asks("inherit") && without_places(theirs) == without_places(ours)
    {
        return Some("since 2.21 inherited attributes stand where their names are");
    }
    if asks("toJSON") && asks("fromJSON") && whole_floats(theirs) == whole_floats(ours) {
        return Some("today's JSON shows that a number without fraction is a float");
    }
    let without_answers = |text: &str| text.replace("true", "").replace("false", "");
    if without_answers(theirs) == without_answers(ours) {
        // What is seen of an error is whether there was one.
        if asks("tryEval") && asks("replaceStrings") {
            return Some(NO_REPLACEMENT_IN_VAIN);
        }
        if asks("tryEval") && (asks("map") || asks("genList")) {
            return Some(LOOKS_AT_FUNCTION);
        }
        if asks("with") && ["==", "!=", "elem"].into_iter().any(asks) {
            return Some("today each use of a variable of `with` has a thunk of its own");
        }
    }
    // JSON that was taken apart again shows what is meant only by what is left of it.
    let signs = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | '+' | '-');
    if asks("toJSON")
        && (short_floats(theirs) == short_floats(ours)
            || theirs.replace(signs, "") == ours.replace(signs, ""))
    {
        return Some("today's JSON shows floats with all their digits");
    }
    None
}

/// Whether a text defines a set twice and computes a name.
fn merges_computed_names(text: &str) -> bool {
    let words: Vec<&str> =
        tokens(text).into_iter().filter(|word| !word.trim().is_empty()).collect();
    let sets: Vec<&str> =
        words.windows(3).filter(|three| three[1..] == ["=", "{"]).map(|three| three[0]).collect();
    let twice = sets.iter().enumerate().any(|(index, name)| sets[..index].contains(name));
    twice && text.contains("${")
}

/// Whether a number has too many digits for 64 bits.
fn has_large_number(text: &str) -> bool {
    tokens(text).iter().any(|word| word.bytes().filter(u8::is_ascii_digit).count() >= 19)
}

/// Writes floats without fraction as the integers that they would be.
fn whole_floats(value: &str) -> String {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let mut text = String::new();
    let mut rest = value;
    // Floats are shown twice, see `show.nix`.
    while let Some((before, after)) = rest.split_once(".000000 ") {
        text.push_str(before);
        let after = after.strip_prefix('-').unwrap_or(after);
        let again = &after[digits(after)..];
        rest = again.strip_prefix(".000000").unwrap_or(again);
    }
    text.push_str(rest);
    text
}

/// Shortens floats to six digits.
fn short_floats(value: &str) -> String {
    let in_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    let mut text = String::new();
    let mut rest = value;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        let length = from.find(|c| !in_number(c)).unwrap_or(from.len());
        let (number, after) = from.split_at(length);
        text.push_str(before);
        match number.parse::<f64>() {
            Ok(parsed) => text.push_str(&format!("{parsed:.5e}")),
            Err(_) => text.push_str(number),
        }
        rest = after;
    }
    text.push_str(rest);
    text
}

/// Removes the numbers of lines and columns.
fn without_places(value: &str) -> String {
    let mut text = String::new();
    let mut rest = value;
    while let Some((at, name)) = ["\\\"column\\\"=", "\\\"line\\\"="]
        .into_iter()
        .filter_map(|name| rest.find(name).map(|at| (at, name)))
        .min()
    {
        text.push_str(&rest[..at + name.len()]);
        rest = rest[at + name.len()..].trim_start_matches(|c: char| c.is_ascii_digit());
    }
    text.push_str(rest);
    text
}
