//! Differences that are changes of the language between the oracle's version and today's.
//!
//! Each is recognised as narrowly as the answers allow, counted, and reported by name.

use crate::answer::Answer;

/// What today's Nix says where an older one went on with a wrong or a surprising value.
const REFUSED: [(&str, &str); 3] = [
    ("integer overflow", "since 2.25 numbers do not wrap around"),
    ("is not in the range of integers", "since 2.25 rounding does not leave the range of integers"),
    ("that is not UTF-8 to JSON", "since 2.10 JSON is not made of broken characters"),
];

/// Names the change that explains why the answers differ, if one does.
pub(super) fn change(text: &str, theirs: &Answer, ours: &Answer) -> Option<&'static str> {
    match (theirs, ours) {
        (_, Answer::Failure(message)) => {
            REFUSED.iter().find(|(words, _)| message.contains(words)).map(|(_, change)| *change)
        }
        (Answer::Failure(_), Answer::Value(_)) if text.contains("replaceStrings") => {
            Some("since 2.16 `replaceStrings` evaluates no replacement in vain")
        }
        (Answer::Failure(_), Answer::Value(_)) if text.contains("genericClosure") => {
            Some("since 2.17 `genericClosure` of nothing does not look at its operator")
        }
        (Answer::Value(_) | Answer::Failure(_) | Answer::Died(_) | Answer::Silent, _) => None,
    }
}
