//! From bytes to tokens, outside of strings.
//!
//! A token is found by trying every rule at a place and taking the longest match, as Nix's own
//! lexer does: `a/b` is a path, `x:y` is an URI, `a.b` is a selection. The lexer keeps no state;
//! the parser asks for the token at an offset, and reads strings and paths with `strings`.

/// A token; its text is the range of the source that it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Identifier,
    Int,
    Float,
    Uri,
    SearchPath,
    /// The beginning of a path; the parser reads on.
    Path,
    /// The beginning of a path in the home directory.
    HomePath,
    /// `"`
    Quote,
    /// `''`, with the blanks and the line end after it.
    IndentedQuote,
    /// `${`
    DollarBrace,
    If,
    Then,
    Else,
    Assert,
    With,
    Let,
    In,
    Rec,
    Inherit,
    Or,
    Ellipsis,
    Equal,
    NotEqual,
    LessOrEqual,
    GreaterOrEqual,
    AndAnd,
    OrOr,
    Implies,
    Update,
    Concat,
    PipeInto,
    PipeFrom,
    /// Any other single character.
    Char(u8),
    /// A comment that does not end, or a byte that begins nothing.
    Invalid,
    End,
}

/// A token and the range that it covers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lexeme {
    pub(super) token: Token,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Where the runs of bytes end that may be in a path, or in the scheme of an URI.
///
/// `a.b.c` might be the beginning of a path at each of its names; that it is none is found out once.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Runs {
    path: Run,
    scheme: Run,
}

/// A range whose bytes satisfy the same condition, and the byte after it does not.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    start: usize,
    end: usize,
}

impl Run {
    /// Returns how many bytes from an offset on satisfy the condition of this run.
    fn length(&mut self, text: &[u8], offset: usize, condition: impl Fn(u8) -> bool) -> usize {
        if !(self.start..self.end).contains(&offset) {
            let rest = text.get(offset..).unwrap_or_default();
            *self = Run { start: offset, end: offset + count(rest, condition) };
        }
        self.end - offset
    }
}

/// Returns the token at an offset, after blanks and comments.
pub(super) fn lex(text: &[u8], offset: usize, runs: &mut Runs) -> Lexeme {
    let start = skip_blanks(text, offset);
    let (token, length) = longest(text, start, runs);
    Lexeme { token, start, end: start + length }
}

/// Returns how many tokens a text has outside of strings, whatever they are.
pub fn count_tokens(text: &[u8]) -> usize {
    let (mut count, mut offset) = (0, 0);
    let mut runs = Runs::default();
    while offset < text.len() {
        let lexeme = lex(text, offset, &mut runs);
        // A zero byte ends a text for the parser; here the rest is looked at as well.
        offset = lexeme.end.max(lexeme.start + 1);
        count += 1;
    }
    count
}

/// Returns the first byte of the token at an offset; `:`, `@` and `{` are tokens of their own.
pub(super) fn next_byte(text: &[u8], offset: usize) -> Option<u8> {
    text.get(skip_blanks(text, offset)).copied()
}

/// Skips blanks and comments; a comment that does not end is not skipped.
fn skip_blanks(text: &[u8], mut offset: usize) -> usize {
    loop {
        let Some(rest) = text.get(offset..) else { return offset };
        offset += count(rest, |byte| is(byte, BLANK));
        match text.get(offset) {
            Some(b'#') => {
                offset += count(&text[offset..], |byte| !matches!(byte, b'\n' | b'\r'));
            }
            Some(b'/') if text.get(offset + 1) == Some(&b'*') => {
                match text[offset + 2..].windows(2).position(|pair| pair == b"*/") {
                    Some(length) => offset += length + 4,
                    None => return offset,
                }
            }
            Some(_) | None => return offset,
        }
    }
}

/// The bits of [`CLASSES`].
const BLANK: u8 = 1;
const IDENTIFIER_START: u8 = 2;
const IDENTIFIER: u8 = 4;
const PATH: u8 = 8;
const SCHEME: u8 = 16;
const URI: u8 = 32;
/// Always a token alone.
const ALONE: u8 = 64;
/// A path or URI may go on with it after an identifier.
const BEYOND: u8 = 128;

/// What each byte may be part of: most tokens are found with one look per byte.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut index = 0;
    while index < classes.len() {
        classes[index] = class_of(index as u8);
        index += 1;
    }
    classes
};

const fn class_of(byte: u8) -> u8 {
    let mut class = match byte {
        b' ' | b'\t' | b'\r' | b'\n' => BLANK,
        b'a'..=b'z' | b'A'..=b'Z' => IDENTIFIER_START | IDENTIFIER | PATH | SCHEME | URI,
        b'0'..=b'9' => IDENTIFIER | PATH | SCHEME | URI,
        b'_' => IDENTIFIER_START | IDENTIFIER | PATH | URI,
        b'-' => IDENTIFIER | PATH | SCHEME | URI,
        b'\'' => IDENTIFIER | URI,
        b'.' | b'+' => PATH | SCHEME | URI,
        b'%' | b'/' | b'?' | b':' | b'@' | b'&' | b'=' | b'$' | b',' | b'!' | b'~' | b'*' => URI,
        _ => 0,
    };
    if matches!(byte, b'{' | b'}' | b'(' | b')' | b'[' | b']' | b';' | b',' | b':' | b'?' | b'@') {
        class |= ALONE;
    }
    if matches!(byte, b'.' | b'+' | b'/' | b':') {
        class |= BEYOND;
    }
    class
}

#[inline]
fn is(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

/// Whether a byte may be in a path.
fn is_path_char(byte: u8) -> bool {
    is(byte, PATH)
}

/// Counts the bytes at the beginning that satisfy a condition.
#[inline]
fn count(text: &[u8], condition: impl Fn(u8) -> bool) -> usize {
    text.iter().position(|byte| !condition(*byte)).unwrap_or(text.len())
}

/// Returns the longest token at the beginning; of equally long ones, Nix's first.
#[inline]
fn longest(whole: &[u8], start: usize, runs: &mut Runs) -> (Token, usize) {
    let text = whole.get(start..).unwrap_or_default();
    // A zero byte ends a text, as it does for Nix, whatever follows.
    let Some(first) = text.first().copied().filter(|byte| *byte != 0) else {
        return (Token::End, 0);
    };
    if is(first, ALONE) {
        return (Token::Char(first), 1);
    }
    if is(first, IDENTIFIER_START) {
        let length = count(text, |byte| is(byte, IDENTIFIER));
        // Paths and URIs go on with one of these, whatever part of them an identifier is.
        if !text.get(length).is_some_and(|next| is(*next, BEYOND)) {
            return (keyword(&text[..length]), length);
        }
    }
    longest_of_all(whole, text, first, runs)
}

/// Tries every rule.
fn longest_of_all(whole: &[u8], text: &[u8], first: u8, runs: &mut Runs) -> (Token, usize) {
    let start = whole.len() - text.len();
    let mut best = operator(text);
    let mut offer = |token: Token, length: usize| {
        if length > best.1 || (length == best.1 && matches!(best.0, Token::Char(_))) {
            best = (token, length);
        }
    };
    if is(first, IDENTIFIER_START) {
        let length = count(text, |byte| is(byte, IDENTIFIER));
        offer(keyword(&text[..length]), length);
    }
    if first.is_ascii_digit() {
        offer(Token::Int, count(text, |byte| byte.is_ascii_digit()));
    }
    if first.is_ascii_digit() || first == b'.' {
        offer(Token::Float, float_length(text));
    }
    if is_path_char(first) || first == b'/' {
        let run = runs.path.length(whole, start, is_path_char);
        offer(Token::Path, path_length(text, run));
    }
    if first == b'~' {
        offer(Token::HomePath, home_path_length(text));
    }
    if first == b'<' {
        offer(Token::SearchPath, search_path_length(text));
    }
    if first.is_ascii_alphabetic() {
        let run = runs.scheme.length(whole, start, |byte| is(byte, SCHEME));
        offer(Token::Uri, uri_length(text, run));
    }
    best
}

fn keyword(word: &[u8]) -> Token {
    match word {
        b"if" => Token::If,
        b"then" => Token::Then,
        b"else" => Token::Else,
        b"assert" => Token::Assert,
        b"with" => Token::With,
        b"let" => Token::Let,
        b"in" => Token::In,
        b"rec" => Token::Rec,
        b"inherit" => Token::Inherit,
        b"or" => Token::Or,
        _ => Token::Identifier,
    }
}

fn operator(text: &[u8]) -> (Token, usize) {
    let second = text.get(1).copied();
    match (text[0], second) {
        (b'.', Some(b'.')) if text.get(2) == Some(&b'.') => (Token::Ellipsis, 3),
        (b'=', Some(b'=')) => (Token::Equal, 2),
        (b'!', Some(b'=')) => (Token::NotEqual, 2),
        (b'<', Some(b'=')) => (Token::LessOrEqual, 2),
        (b'>', Some(b'=')) => (Token::GreaterOrEqual, 2),
        (b'&', Some(b'&')) => (Token::AndAnd, 2),
        (b'|', Some(b'|')) => (Token::OrOr, 2),
        (b'-', Some(b'>')) => (Token::Implies, 2),
        (b'/', Some(b'*')) => (Token::Invalid, 1),
        (b'/', Some(b'/')) => (Token::Update, 2),
        (b'+', Some(b'+')) => (Token::Concat, 2),
        (b'|', Some(b'>')) => (Token::PipeInto, 2),
        (b'<', Some(b'|')) => (Token::PipeFrom, 2),
        (b'$', Some(b'{')) => (Token::DollarBrace, 2),
        (b'"', _) => (Token::Quote, 1),
        (b'\'', Some(b'\'')) => {
            let blanks = count(&text[2..], |byte| byte == b' ');
            let newline = text.get(2 + blanks) == Some(&b'\n');
            (Token::IndentedQuote, if newline { 3 + blanks } else { 2 })
        }
        (byte, _) => (Token::Char(byte), 1),
    }
}

/// `(([1-9][0-9]*\.[0-9]*)|(0?\.[0-9]+))([Ee][+-]?[0-9]+)?`
fn float_length(text: &[u8]) -> usize {
    let digits = |from: usize| count(text.get(from..).unwrap_or_default(), |b| b.is_ascii_digit());
    let mantissa = if text[0].is_ascii_digit() && text[0] != b'0' {
        let whole = digits(0);
        if text.get(whole) != Some(&b'.') {
            return 0;
        }
        whole + 1 + digits(whole + 1)
    } else {
        let whole = usize::from(text[0] == b'0');
        let fraction = digits(whole + 1);
        if text.get(whole) != Some(&b'.') || fraction == 0 {
            return 0;
        }
        whole + 1 + fraction
    };
    if !matches!(text.get(mantissa), Some(b'e' | b'E')) {
        return mantissa;
    }
    let sign = usize::from(matches!(text.get(mantissa + 1), Some(b'+' | b'-')));
    match digits(mantissa + 1 + sign) {
        0 => mantissa,
        exponent => mantissa + 1 + sign + exponent,
    }
}

/// The length of a path, or of the first part of one that goes on with `${`; zero if there is none.
///
/// `first` bytes at the beginning may be in a path.
fn path_length(text: &[u8], first: usize) -> usize {
    if text.get(first) != Some(&b'/') {
        return 0;
    }
    let length = slashes(text, first);
    if length > first {
        return length;
    }
    // `a/${` is the beginning of a path, `a/` alone is not.
    if text[first + 1..].starts_with(b"${") { first + 1 } else { 0 }
}

/// The length of a part of a path that has begun already; zero if the path ends here.
pub(super) fn path_part_length(text: &[u8]) -> usize {
    let first = count(text, is_path_char);
    if text.get(first) != Some(&b'/') {
        return first;
    }
    slashes(text, first).max(first + 1)
}

/// Follows `(/[chars]+)+/?` from an offset; returns that offset if it does not match.
fn slashes(text: &[u8], mut offset: usize) -> usize {
    loop {
        if text.get(offset) != Some(&b'/') {
            return offset;
        }
        let part = count(&text[offset + 1..], is_path_char);
        if part == 0 {
            // A slash at the end belongs to the path only after a first part.
            return offset;
        }
        offset += 1 + part;
        if text.get(offset) == Some(&b'/')
            && !text.get(offset + 1).copied().is_some_and(is_path_char)
        {
            return offset + 1;
        }
    }
}

fn home_path_length(text: &[u8]) -> usize {
    let length = slashes(text, 1);
    if length > 1 {
        return length;
    }
    if text[1..].starts_with(b"/${") { 2 } else { 0 }
}

fn search_path_length(text: &[u8]) -> usize {
    let mut offset = 1;
    loop {
        let part = count(&text[offset..], is_path_char);
        if part == 0 {
            return 0;
        }
        offset += part;
        match text.get(offset) {
            Some(b'/') => offset += 1,
            Some(b'>') => return offset + 1,
            Some(_) | None => return 0,
        }
    }
}

/// The length of an URI whose scheme can only be so long; zero if there is none.
fn uri_length(text: &[u8], scheme: usize) -> usize {
    if text.get(scheme) != Some(&b':') {
        return 0;
    }
    match count(&text[scheme + 1..], |byte| is(byte, URI)) {
        0 => 0,
        rest => scheme + 1 + rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<(Token, &str)> {
        let mut found = Vec::new();
        let mut offset = 0;
        let mut runs = Runs::default();
        loop {
            let lexeme = lex(text.as_bytes(), offset, &mut runs);
            if lexeme.token == Token::End {
                return found;
            }
            found.push((lexeme.token, &text[lexeme.start..lexeme.end]));
            offset = lexeme.end;
        }
    }

    #[test]
    fn the_longest_match_counts() {
        assert_eq!(tokens("a/b"), [(Token::Path, "a/b")]);
        assert_eq!(tokens("1/2"), [(Token::Path, "1/2")]);
        assert_eq!(tokens("x:y"), [(Token::Uri, "x:y")]);
        assert_eq!(tokens("<a/b>"), [(Token::SearchPath, "<a/b>")]);
        assert_eq!(tokens("~/a"), [(Token::HomePath, "~/a")]);
        assert_eq!(tokens("iff"), [(Token::Identifier, "iff")]);
        assert_eq!(tokens("1.5e3"), [(Token::Float, "1.5e3")]);
        assert_eq!(tokens("/* a */ # b\n 1"), [(Token::Int, "1")]);
        assert_eq!(
            tokens("a / b"),
            [(Token::Identifier, "a"), (Token::Char(b'/'), "/"), (Token::Identifier, "b")]
        );
        assert_eq!(
            tokens("a.b a.b/c a'b/c a_b:c a.b:c"),
            [
                (Token::Identifier, "a"),
                (Token::Char(b'.'), "."),
                (Token::Identifier, "b"),
                (Token::Path, "a.b/c"),
                (Token::Identifier, "a'b"),
                (Token::Path, "/c"),
                (Token::Identifier, "a_b"),
                (Token::Char(b':'), ":"),
                (Token::Identifier, "c"),
                (Token::Uri, "a.b:c"),
            ]
        );
        assert_eq!(tokens("''  \nx"), [(Token::IndentedQuote, "''  \n"), (Token::Identifier, "x")]);
    }
}
