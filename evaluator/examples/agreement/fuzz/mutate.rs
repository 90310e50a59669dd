//! Makes new files of real ones by changing a few of their tokens.

use crate::random::Random;

/// Splits a text into pieces that are about tokens; together they are the text again.
pub(crate) fn tokens(text: &str) -> Vec<&str> {
    let class = |c: char| match c {
        c if c.is_alphanumeric() || "_'-".contains(c) => 0,
        c if c.is_whitespace() => 1,
        _ => 2,
    };
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut before: Option<u8> = None;
    for (index, c) in text.char_indices() {
        let class = class(c);
        // Signs stand alone, words and blanks run on.
        if before.is_some_and(|before| before != class || class == 2) {
            pieces.push(&text[start..index]);
            start = index;
        }
        before = Some(class);
    }
    pieces.push(&text[start..]);
    pieces
}

const INSERTED: [&str; 48] = [
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    ";",
    ":",
    ",",
    ".",
    "=",
    "==",
    "?",
    "@",
    "...",
    "+",
    "-",
    "*",
    "/",
    "//",
    "++",
    "->",
    "&&",
    "||",
    "!",
    "<",
    ">=",
    "let",
    "in",
    "if",
    "then",
    "else",
    "with",
    "rec",
    "inherit",
    "assert",
    "or",
    "null",
    "true",
    "1",
    "0.5",
    "\"",
    "''",
    "${",
    "}",
    "a",
    "x",
    "throw \"t\"",
];

/// Changes a text in one to three places.
pub(crate) fn mutate(random: &mut Random, text: &str) -> String {
    let mut pieces: Vec<String> = tokens(text).into_iter().map(str::to_owned).collect();
    for _ in 0..=random.below(3) {
        if pieces.is_empty() {
            break;
        }
        let at = random.below(pieces.len());
        match random.below(7) {
            0 => drop(pieces.remove(at)),
            1 => {
                let copy = pieces[at].clone();
                pieces.insert(at, copy);
            }
            2 => {
                let other = random.below(pieces.len());
                pieces.swap(at, other);
            }
            3 | 4 => {
                let other = pieces[random.below(pieces.len())].clone();
                pieces[at] = other;
            }
            5 => pieces[at] = (*random.pick(&INSERTED)).to_owned(),
            _ => pieces.insert(at, (*random.pick(&INSERTED)).to_owned()),
        }
    }
    pieces.concat()
}
