//! Random literals: numbers, strings with all their escapes, indented strings, paths, names.

use super::generate::NAMES;
use crate::random::Random;

/// Writes an integer: mostly small, sometimes at the edge of what fits.
pub(super) fn integer(random: &mut Random) -> String {
    match random.below(12) {
        0 => "0".to_owned(),
        1 => (*random.pick(&[
            "9223372036854775807",
            "4294967296",
            "2147483648",
            "1000000000000",
            "007",
            "65535",
        ]))
        .to_owned(),
        2 => format!("(-{})", random.below(50)),
        _ => random.below(12).to_string(),
    }
}

/// Writes a float in one of its spellings.
pub(super) fn float(random: &mut Random) -> String {
    let whole = random.below(2000);
    let part = random.below(10000);
    match random.below(8) {
        0 => format!("{whole}.0"),
        1 => format!(".{part}"),
        2 => format!("{}.{}e{}", 1 + random.below(9), part, random.below(25)),
        3 => format!("{}.{}e-{}", 1 + random.below(9), part, random.below(12)),
        4 => format!("{}.{}E+{}", 1 + random.below(9), part, random.below(9)),
        5 => format!("(-{whole}.{part})"),
        _ => format!("{whole}.{part}"),
    }
}

const PIECES: [&str; 30] = [
    "a",
    "b",
    "foo",
    " ",
    "  ",
    "x1.2",
    "-",
    "/",
    "hello world",
    "$",
    "$$",
    "'",
    "é",
    "\u{1f600}",
    "1",
    "0",
    ".5",
    ",",
    "A",
    "=",
    "<",
    "&",
    "[",
    ")",
    "*",
    "null",
    "true",
    "%",
    "#",
    "@",
];

/// Writes a string, possibly with an expression inside.
pub(super) fn string(random: &mut Random, inside: Option<&str>) -> String {
    if random.chance(30) {
        return indented_string(random, inside);
    }
    let mut text = String::from("\"");
    let parts = random.below(4).max(usize::from(inside.is_some()));
    let place = random.below(parts);
    for part in 0..parts {
        if part == place
            && let Some(inside) = inside
        {
            text.push_str("${");
            text.push_str(inside);
            text.push('}');
        }
        match random.below(12) {
            0 => text.push_str(
                random.word(&["\\n", "\\t", "\\r", "\\\\", "\\\"", "\\${", "\\a", "\\$", "$${"]),
            ),
            1 => text.push_str(random.word(&["\n", "\t", "''", "\r\n"])),
            _ => text.push_str(random.word(&PIECES)),
        }
    }
    text.push('"');
    text
}

fn indented_string(random: &mut Random, inside: Option<&str>) -> String {
    let mut text = String::from("''");
    if random.chance(70) {
        text.push('\n');
    }
    let lines = random.below(4);
    for line in 0..=lines {
        text.push_str(random.word(&["", "  ", "    ", " ", "      ", "\t"]));
        for _ in 0..random.below(4) {
            match random.below(9) {
                0 => text
                    .push_str(random.word(&[
                        "''$", "'''", "''\\n", "''\\t", "''${", "$$", "\\", "''\\x", "\"",
                    ])),
                1 if inside.is_some() => {
                    text.push_str("${");
                    text.push_str(inside.unwrap_or_default());
                    text.push('}');
                }
                _ => {
                    // A quote at the end of a piece would join the next into another token.
                    let piece = *random.pick(&PIECES);
                    text.push_str(if piece == "'" || piece == "$" { "q" } else { piece });
                }
            }
        }
        if line < lines || random.chance(60) {
            text.push('\n');
            if line == lines {
                text.push_str(random.word(&["", "  ", "    "]));
            }
        }
    }
    text.push_str("''");
    text
}

/// Writes a path literal that need not exist.
pub(super) fn path(random: &mut Random) -> String {
    (*random.pick(&["/a", "/a/b", "/a/../b", "/a/./b/c", "/a/b-1.0", "/.x", "/a/b/.."])).to_owned()
}

/// Writes a name for an attribute, bare, quoted or computed.
pub(super) fn attribute_name(random: &mut Random) -> String {
    let name = *random.pick(&NAMES);
    match random.below(8) {
        0 => format!("\"{name}\""),
        1 => format!("${{\"{name}\"}}"),
        _ => name.to_owned(),
    }
}
