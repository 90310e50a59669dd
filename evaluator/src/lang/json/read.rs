//! Reads JSON piece by piece, without recursion, so that no nesting is too deep.

/// A text that is no JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset}")]
pub struct JsonError {
    /// What is wrong.
    pub what: &'static str,
    /// Where, counted from zero.
    pub offset: usize,
}

/// A piece of a JSON text.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number without a fraction that fits in 64 bits.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A string, its escapes resolved.
    String(Vec<u8>),
    /// The name of the value that follows, within an object.
    Key(Vec<u8>),
    /// The beginning of a list.
    BeginList,
    /// The beginning of an object.
    BeginObject,
    /// The end of the innermost list or object.
    End,
}

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// A value.
    Value,
    /// A value, or the end of the list that has just begun.
    ValueOrEnd,
    /// A key.
    Key,
    /// A key, or the end of the object that has just begun.
    KeyOrEnd,
    /// A comma, or the end of what is open.
    CommaOrEnd,
}

/// Reads one JSON text.
#[derive(Debug)]
pub struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    /// Whether each thing that is open is an object.
    open: Vec<bool>,
    expect: Expect,
}

impl<'a> Reader<'a> {
    /// Begins to read; a byte order mark is skipped.
    pub fn new(text: &'a [u8]) -> Self {
        let at = if text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        Reader { text, at, open: Vec::new(), expect: Expect::Value }
    }

    fn error<T>(&self, what: &'static str) -> Result<T, JsonError> {
        Err(JsonError { what, offset: self.at })
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Checks that nothing follows the value.
    pub fn finish(&mut self) -> Result<(), JsonError> {
        self.skip_blanks();
        if self.at == self.text.len() {
            Ok(())
        } else {
            self.error("unexpected text behind the value")
        }
    }

    /// Returns the next piece.
    #[expect(clippy::should_implement_trait, reason = "an iterator has no place for the error")]
    pub fn next(&mut self) -> Result<Event, JsonError> {
        self.skip_blanks();
        if self.expect == Expect::CommaOrEnd {
            let object = self.open.last().copied().unwrap_or_default();
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    self.skip_blanks();
                    self.expect = if object { Expect::Key } else { Expect::Value };
                }
                Some(b']') if !object => return Ok(self.end()),
                Some(b'}') if object => return Ok(self.end()),
                Some(_) | None => return self.error("expected `,` or the end of a list or object"),
            }
        }
        match (self.expect, self.peek()) {
            (Expect::ValueOrEnd, Some(b']')) | (Expect::KeyOrEnd, Some(b'}')) => Ok(self.end()),
            (Expect::Key | Expect::KeyOrEnd, Some(b'"')) => {
                let key = self.string()?;
                self.skip_blanks();
                if self.peek() != Some(b':') {
                    return self.error("expected `:`");
                }
                self.at += 1;
                self.expect = Expect::Value;
                Ok(Event::Key(key))
            }
            (Expect::Key | Expect::KeyOrEnd, _) => self.error("expected a string as a key"),
            (Expect::Value | Expect::ValueOrEnd | Expect::CommaOrEnd, Some(byte)) => {
                self.value(byte)
            }
            (Expect::Value | Expect::ValueOrEnd | Expect::CommaOrEnd, None) => {
                self.error("unexpected end of the text")
            }
        }
    }

    fn end(&mut self) -> Event {
        self.at += 1;
        self.open.pop();
        self.expect = Expect::CommaOrEnd;
        Event::End
    }

    fn value(&mut self, first: u8) -> Result<Event, JsonError> {
        let event = match first {
            b'[' | b'{' => {
                let object = first == b'{';
                self.at += 1;
                self.open.push(object);
                self.expect = if object { Expect::KeyOrEnd } else { Expect::ValueOrEnd };
                return Ok(if object { Event::BeginObject } else { Event::BeginList });
            }
            b'"' => Event::String(self.string()?),
            b'-' | b'0'..=b'9' => self.number()?,
            b'n' => self.word(b"null", Event::Null)?,
            b't' => self.word(b"true", Event::Bool(true))?,
            b'f' => self.word(b"false", Event::Bool(false))?,
            _ => return self.error("expected a value"),
        };
        self.expect = Expect::CommaOrEnd;
        Ok(event)
    }

    fn word(&mut self, word: &[u8], event: Event) -> Result<Event, JsonError> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(event)
        } else {
            self.error("expected a value")
        }
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { self.error("expected a digit") } else { Ok(()) }
    }

    fn number(&mut self) -> Result<Event, JsonError> {
        let start = self.at;
        let negative = self.peek() == Some(b'-');
        self.at += usize::from(negative);
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        let mut whole = true;
        if self.peek() == Some(b'.') {
            whole = false;
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            whole = false;
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = std::str::from_utf8(&self.text[start..self.at]).unwrap_or_default();
        if whole {
            if let Ok(int) = text.parse() {
                return Ok(Event::Int(int));
            }
            // What still fits in 64 bits without a sign is an integer to the library, but not to Nix.
            if text.parse::<u64>().is_ok() {
                self.at = start;
                return self.error("number outside of the range of integers");
            }
        }
        match text.parse::<f64>() {
            Ok(float) if float.is_finite() => Ok(Event::Float(float)),
            Ok(_) | Err(_) => {
                self.at = start;
                self.error("number out of range")
            }
        }
    }

    fn string(&mut self) -> Result<Vec<u8>, JsonError> {
        self.at += 1;
        let begin = self.at;
        let mut bytes = Vec::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
            let plain = plain.unwrap_or(rest.len());
            bytes.extend_from_slice(&rest[..plain]);
            self.at += plain;
            match self.peek() {
                None => return self.error("string without an end"),
                Some(b'"') => {
                    self.at += 1;
                    break;
                }
                Some(b'\\') => {
                    self.at += 1;
                    self.escape(&mut bytes)?;
                }
                Some(_) => return self.error("control character in a string"),
            }
        }
        if std::str::from_utf8(&bytes).is_err() {
            self.at = begin;
            return self.error("string that is not UTF-8");
        }
        Ok(bytes)
    }

    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<(), JsonError> {
        let byte = self.peek();
        self.at += 1;
        let plain = match byte {
            Some(same @ (b'"' | b'\\' | b'/')) => same,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                let character = self.code_point()?;
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            Some(_) | None => {
                self.at -= 1;
                return self.error("unknown escape");
            }
        };
        bytes.push(plain);
        Ok(())
    }

    fn code_unit(&mut self) -> Result<u32, JsonError> {
        let digits = self.text.get(self.at..self.at + 4);
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
            Some(unit) => {
                self.at += 4;
                Ok(unit)
            }
            None => self.error("expected four hexadecimal digits"),
        }
    }

    fn code_point(&mut self) -> Result<char, JsonError> {
        let first = self.code_unit()?;
        let mut code = first;
        if (0xd800..0xdc00).contains(&first) {
            if !self.text[self.at..].starts_with(b"\\u") {
                return self.error("surrogate without its pair");
            }
            self.at += 2;
            let second = self.code_unit()?;
            if !(0xdc00..0xe000).contains(&second) {
                return self.error("surrogate without its pair");
            }
            code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        }
        match char::from_u32(code) {
            Some(character) => Ok(character),
            None => self.error("surrogate without its pair"),
        }
    }
}
