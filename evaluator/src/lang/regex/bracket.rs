//! Bracket expressions: `[a-z]`, `[^[:space:]]`, `[[=a=]]`.
//!
//! Named classes are those of the C locale, whatever the machine's language.

use super::RegexError;

/// The set of bytes that a bracket expression takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bracket([u64; 4]);

/// The names of characters that are no letters, in the order of their codes.
const NAMES: [(u8, &str); 76] = [
    (0, "NUL"),
    (1, "SOH"),
    (2, "STX"),
    (3, "ETX"),
    (4, "EOT"),
    (5, "ENQ"),
    (6, "ACK"),
    (7, "alert"),
    (8, "backspace"),
    (9, "tab"),
    (10, "newline"),
    (11, "vertical-tab"),
    (12, "form-feed"),
    (13, "carriage-return"),
    (14, "SO"),
    (15, "SI"),
    (16, "DLE"),
    (17, "DC1"),
    (18, "DC2"),
    (19, "DC3"),
    (20, "DC4"),
    (21, "NAK"),
    (22, "SYN"),
    (23, "ETB"),
    (24, "CAN"),
    (25, "EM"),
    (26, "SUB"),
    (27, "ESC"),
    (28, "IS4"),
    (29, "IS3"),
    (30, "IS2"),
    (31, "IS1"),
    (32, "space"),
    (33, "exclamation-mark"),
    (34, "quotation-mark"),
    (35, "number-sign"),
    (36, "dollar-sign"),
    (37, "percent-sign"),
    (38, "ampersand"),
    (39, "apostrophe"),
    (40, "left-parenthesis"),
    (41, "right-parenthesis"),
    (42, "asterisk"),
    (43, "plus-sign"),
    (44, "comma"),
    (45, "hyphen"),
    (46, "period"),
    (47, "slash"),
    (48, "zero"),
    (49, "one"),
    (50, "two"),
    (51, "three"),
    (52, "four"),
    (53, "five"),
    (54, "six"),
    (55, "seven"),
    (56, "eight"),
    (57, "nine"),
    (58, "colon"),
    (59, "semicolon"),
    (60, "less-than-sign"),
    (61, "equals-sign"),
    (62, "greater-than-sign"),
    (63, "question-mark"),
    (64, "commercial-at"),
    (91, "left-square-bracket"),
    (92, "backslash"),
    (93, "right-square-bracket"),
    (94, "circumflex"),
    (95, "underscore"),
    (96, "grave-accent"),
    (123, "left-curly-bracket"),
    (124, "vertical-line"),
    (125, "right-curly-bracket"),
    (126, "tilde"),
    (127, "DEL"),
];

/// What stood last in the brackets; it may turn out to begin a range.
enum Last {
    Nothing,
    Byte(u8),
    Class,
}

/// A piece of a bracket expression.
enum Piece {
    End,
    Dash,
    Byte(u8),
    Collating(Vec<u8>),
    Equivalence(Vec<u8>),
    Class(Vec<u8>),
}

impl Bracket {
    /// Returns whether it takes a byte.
    pub(super) fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte / 64)] >> (byte % 64) & 1 == 1
    }

    fn insert(&mut self, byte: u8) {
        self.0[usize::from(byte / 64)] |= 1 << (byte % 64);
    }

    /// Reads the expression that begins at `*at`, behind the `[`, and moves `*at` behind the `]`.
    pub(super) fn parse(text: &[u8], at: &mut usize) -> Result<Self, RegexError> {
        let mut bracket = Bracket([0; 4]);
        let negated = text.get(*at) == Some(&b'^');
        if negated {
            *at += 1;
        }
        let start = *at;
        let mut last = Last::Nothing;
        // A dash in the first place stands for itself.
        if text.get(*at) == Some(&b'-') {
            *at += 1;
            last = Last::Byte(b'-');
        }
        loop {
            match piece(text, at, start)? {
                Piece::End => break,
                Piece::Byte(byte) => bracket.push(&mut last, byte),
                Piece::Collating(name) => {
                    let byte = collating_element(&name)?;
                    bracket.push(&mut last, byte);
                }
                Piece::Equivalence(name) => {
                    let byte = collating_element(&name)?;
                    bracket.flush(&mut last);
                    // The primary weights of the C locale ignore case.
                    for same in 0..=255u8 {
                        if same.eq_ignore_ascii_case(&byte) {
                            bracket.insert(same);
                        }
                    }
                }
                Piece::Class(name) => {
                    let class = class(&name).ok_or(RegexError::Invalid)?;
                    bracket.flush(&mut last);
                    (0..=255u8).filter(|byte| class(*byte)).for_each(|byte| bracket.insert(byte));
                }
                Piece::Dash => {
                    let before = *at;
                    match (piece(text, at, start)?, &last) {
                        (Piece::End, _) => {
                            bracket.push(&mut last, b'-');
                            break;
                        }
                        (Piece::Byte(high), Last::Byte(low)) => {
                            bracket.insert_range(*low, high)?;
                            last = Last::Nothing;
                        }
                        (Piece::Dash, Last::Byte(low)) => {
                            bracket.insert_range(*low, b'-')?;
                            last = Last::Nothing;
                        }
                        (
                            Piece::Byte(_)
                            | Piece::Dash
                            | Piece::Collating(_)
                            | Piece::Equivalence(_)
                            | Piece::Class(_),
                            Last::Nothing | Last::Byte(_) | Last::Class,
                        ) => {
                            *at = before;
                            return Err(RegexError::Invalid);
                        }
                    }
                }
            }
        }
        bracket.flush(&mut last);
        if negated {
            bracket.0 = bracket.0.map(|bits| !bits);
        }
        Ok(bracket)
    }

    fn flush(&mut self, last: &mut Last) {
        if let Last::Byte(byte) = *last {
            self.insert(byte);
        }
        *last = Last::Class;
    }

    fn push(&mut self, last: &mut Last, byte: u8) {
        self.flush(last);
        *last = Last::Byte(byte);
    }

    /// Inserts a range. The library compares signed characters, so that bytes from 128 on come first.
    fn insert_range(&mut self, low: u8, high: u8) -> Result<(), RegexError> {
        let (low, high) = (low as i8, high as i8);
        if low > high {
            return Err(RegexError::Invalid);
        }
        (low..=high).for_each(|byte| self.insert(byte as u8));
        Ok(())
    }
}

/// Reads the next piece. A `]` in the first place, at `start`, stands for itself.
fn piece(text: &[u8], at: &mut usize, start: usize) -> Result<Piece, RegexError> {
    let here = *at;
    let byte = *text.get(here).ok_or(RegexError::Invalid)?;
    *at += 1;
    Ok(match byte {
        b'-' => Piece::Dash,
        b']' if here != start => Piece::End,
        b'[' => match text.get(*at) {
            None => return Err(RegexError::Invalid),
            Some(b'.') => Piece::Collating(name(text, at, b'.')?),
            Some(b'=') => Piece::Equivalence(name(text, at, b'=')?),
            Some(b':') => Piece::Class(name(text, at, b':')?),
            Some(_) => Piece::Byte(b'['),
        },
        other => Piece::Byte(other),
    })
}

/// Reads a name up to `mark` and `]`; `*at` is before the mark that begins it.
fn name(text: &[u8], at: &mut usize, mark: u8) -> Result<Vec<u8>, RegexError> {
    let rest = &text[*at + 1..];
    let length = rest.iter().position(|byte| *byte == mark).ok_or(RegexError::Invalid)?;
    if rest.get(length + 1) != Some(&b']') {
        return Err(RegexError::Invalid);
    }
    *at += length + 3;
    Ok(rest[..length].to_vec())
}

fn collating_element(name: &[u8]) -> Result<u8, RegexError> {
    match name {
        [letter] if letter.is_ascii_alphabetic() => Ok(*letter),
        _ => {
            let known = NAMES.iter().find(|(_, known)| known.as_bytes() == name);
            known.map(|(byte, _)| *byte).ok_or(RegexError::Invalid)
        }
    }
}

fn class(name: &[u8]) -> Option<fn(u8) -> bool> {
    Some(match name.to_ascii_lowercase().as_slice() {
        b"alnum" => |byte| byte.is_ascii_alphanumeric(),
        b"alpha" => |byte| byte.is_ascii_alphabetic(),
        b"blank" => |byte| matches!(byte, b' ' | b'\t'),
        b"cntrl" => |byte| byte.is_ascii_control(),
        b"d" | b"digit" => |byte| byte.is_ascii_digit(),
        b"graph" => |byte| byte.is_ascii_graphic(),
        b"lower" => |byte| byte.is_ascii_lowercase(),
        b"print" => |byte| byte.is_ascii_graphic() || byte == b' ',
        b"punct" => |byte| byte.is_ascii_punctuation(),
        b"s" | b"space" => |byte| matches!(byte, b' ' | b'\t'..=b'\r'),
        b"upper" => |byte| byte.is_ascii_uppercase(),
        b"w" => |byte| byte.is_ascii_alphanumeric() || byte == b'_',
        b"xdigit" => |byte| byte.is_ascii_hexdigit(),
        _ => return None,
    })
}
