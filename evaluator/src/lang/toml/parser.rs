//! The parser: lines of keys, values and headers.

use std::collections::BTreeMap;

use super::table::{Origin, Table};
use super::{Dates, Toml, TomlError, TomlErrorKind, date, scalar};

/// Arrays and braces may be nested this deeply; the parser recurses.
const MAX_DEPTH: usize = 128;

/// Reads a document.
pub fn parse(text: &str, dates: Dates) -> Result<Toml, TomlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parser = Parser { text, dates, at: 0, depth: 0 };
    parser.document().map_err(|what| {
        let before = &text.as_bytes()[..parser.at.min(text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        TomlError { what, line, column }
    })
}

struct Parser<'a> {
    text: &'a str,
    dates: Dates,
    at: usize,
    depth: usize,
}

type Result<T, E = TomlErrorKind> = std::result::Result<T, E>;

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token.as_bytes());
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn expect(&mut self, token: &str, what: &'static str) -> Result<()> {
        if self.take(token) { Ok(()) } else { Err(TomlErrorKind::Expected(what)) }
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn comment(&mut self) -> Result<()> {
        if self.peek() == Some(b'#') {
            while let Some(byte) = self.peek() {
                match byte {
                    b'\n' => break,
                    b'\r' if self.rest().starts_with(b"\r\n") => break,
                    b'\t' | 0x20..=0x7e | 0x80.. => self.at += 1,
                    _ => return Err(TomlErrorKind::Expected("no control character in a comment")),
                }
            }
        }
        Ok(())
    }

    fn newline(&mut self) -> bool {
        self.take("\n") || self.take("\r\n")
    }

    /// Skips blanks, comments and line feeds.
    fn space(&mut self) -> Result<()> {
        loop {
            self.blanks();
            self.comment()?;
            if !self.newline() {
                return Ok(());
            }
        }
    }

    fn document(&mut self) -> Result<Toml> {
        let mut root = Table::new(Origin::Header);
        let mut header: Vec<String> = Vec::new();
        let mut section = 0;
        // The last table is looked up once per header: keys come far more often.
        loop {
            let mut table = Table::new(Origin::Header);
            std::mem::swap(&mut table, current(&mut root, &header)?);
            let ended = self.section(&mut table, section);
            std::mem::swap(&mut table, current(&mut root, &header)?);
            if ended? {
                return Ok(root.finish());
            }
            section += 1;
            let array = self.take("[[");
            if !array {
                self.expect("[", "a header")?;
            }
            self.blanks();
            header = self.key()?;
            self.expect(if array { "]]" } else { "]" }, "`]` at the end of a header")?;
            root.header(&header, array)?;
            self.end_of_line()?;
        }
    }

    /// Reads keys and values up to the next header; returns whether the text ends there.
    fn section(&mut self, table: &mut Table, section: usize) -> Result<bool> {
        loop {
            self.space()?;
            match self.peek() {
                None => return Ok(true),
                Some(b'[') => return Ok(false),
                Some(_) => {
                    let key = self.key()?;
                    self.expect("=", "`=` behind a key")?;
                    self.blanks();
                    let value = self.value()?;
                    table.insert(&key, value, section)?;
                    self.end_of_line()?;
                }
            }
        }
    }

    fn end_of_line(&mut self) -> Result<()> {
        self.blanks();
        self.comment()?;
        if self.newline() || self.peek().is_none() {
            Ok(())
        } else {
            Err(TomlErrorKind::Expected("the end of the line"))
        }
    }

    /// Reads a dotted key and the blanks behind it.
    fn key(&mut self) -> Result<Vec<String>> {
        let mut path = Vec::new();
        loop {
            self.blanks();
            path.push(match self.peek() {
                Some(b'"') => self.basic_string()?,
                Some(b'\'') => self.literal_string()?,
                Some(_) | None => self.bare_key()?,
            });
            self.blanks();
            if !self.take(".") {
                return Ok(path);
            }
        }
    }

    fn bare_key(&mut self) -> Result<String> {
        let bare = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let length = self.rest().iter().take_while(|byte| bare(byte)).count();
        if length == 0 {
            return Err(TomlErrorKind::Expected("a key"));
        }
        let key = self.text[self.at..self.at + length].to_owned();
        self.at += length;
        Ok(key)
    }

    fn value(&mut self) -> Result<Toml> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(TomlErrorKind::Depth);
        }
        let value = match self.peek() {
            Some(b'"') if self.rest().starts_with(b"\"\"\"") => Toml::String(self.long_basic()?),
            Some(b'"') => Toml::String(self.basic_string()?),
            Some(b'\'') if self.rest().starts_with(b"'''") => Toml::String(self.long_literal()?),
            Some(b'\'') => Toml::String(self.literal_string()?),
            Some(b'[') => self.array()?,
            Some(b'{') => self.inline_table()?,
            Some(_) | None => self.word()?,
        };
        self.depth -= 1;
        Ok(value)
    }

    fn word(&mut self) -> Result<Toml> {
        let part = |byte: &u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'.' | b':')
        };
        let length = self.rest().iter().take_while(|byte| part(byte)).count();
        let word = &self.text[self.at..self.at + length];
        let value = match word {
            "true" => Toml::Bool(true),
            "false" => Toml::Bool(false),
            word if date::begins(word.as_bytes()) => return self.date(),
            word => scalar::parse(word)?,
        };
        self.at += length;
        Ok(value)
    }

    /// Reads a date or a time, which may have a blank between its two halves.
    fn date(&mut self) -> Result<Toml> {
        match self.dates {
            Dates::Refused => Err(TomlErrorKind::Date),
            Dates::Read => {
                let (date, length) = date::parse(self.rest())
                    .ok_or(TomlErrorKind::Expected("a date, a time or both, as in RFC 3339"))?;
                self.at += length;
                Ok(Toml::Date(date))
            }
        }
    }

    fn array(&mut self) -> Result<Toml> {
        self.at += 1;
        let mut elements = Vec::new();
        loop {
            self.space()?;
            if self.take("]") {
                return Ok(Toml::Array(elements));
            }
            elements.push(self.value()?);
            self.space()?;
            if !self.take(",") {
                self.expect("]", "`,` or `]` in an array")?;
                return Ok(Toml::Array(elements));
            }
        }
    }

    fn inline_table(&mut self) -> Result<Toml> {
        self.at += 1;
        let mut table = Table::new(Origin::Closed);
        self.blanks();
        if self.take("}") {
            return Ok(Toml::Table(BTreeMap::new()));
        }
        loop {
            let key = self.key()?;
            self.expect("=", "`=` behind a key")?;
            self.blanks();
            let value = self.value()?;
            table.insert(&key, value, 0)?;
            self.blanks();
            if !self.take(",") {
                self.expect("}", "`,` or `}` in a table")?;
                return Ok(table.finish());
            }
        }
    }

    fn literal_string(&mut self) -> Result<String> {
        self.at += 1;
        let end = self.rest().iter().position(|byte| *byte == b'\'' || is_control(*byte));
        match end.map(|end| (end, self.rest()[end])) {
            Some((end, b'\'')) => {
                let text = self.text[self.at..self.at + end].to_owned();
                self.at += end + 1;
                Ok(text)
            }
            Some(_) | None => Err(TomlErrorKind::Expected("`'` at the end of a string")),
        }
    }

    fn long_literal(&mut self) -> Result<String> {
        self.at += 3;
        self.newline();
        let start = self.at;
        while let Some(byte) = self.peek() {
            if byte == b'\'' && self.rest().starts_with(b"'''") {
                // Up to two more quotes belong to the text.
                let quotes = self.rest().iter().take_while(|byte| **byte == b'\'').count().min(5);
                let text = self.text[start..self.at + quotes - 3].to_owned();
                self.at += quotes;
                return Ok(text);
            }
            if is_control(byte) && !self.newline() {
                break;
            }
            if !is_control(byte) {
                self.at += 1;
            }
        }
        Err(TomlErrorKind::Expected("`'''` at the end of a string"))
    }

    fn basic_string(&mut self) -> Result<String> {
        self.at += 1;
        let mut text = String::new();
        loop {
            self.plain(&mut text);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => self.escape(&mut text)?,
                Some(_) | None => {
                    return Err(TomlErrorKind::Expected("`\"` at the end of a string"));
                }
            }
        }
    }

    fn long_basic(&mut self) -> Result<String> {
        self.at += 3;
        self.newline();
        let mut text = String::new();
        loop {
            self.plain(&mut text);
            let rest = self.rest();
            if rest.starts_with(b"\"\"\"") {
                let quotes = rest.iter().take_while(|byte| **byte == b'"').count().min(5);
                text.extend(std::iter::repeat_n('"', quotes - 3));
                self.at += quotes;
                return Ok(text);
            }
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    text.push('"');
                }
                Some(b'\\') if self.skip_escaped_lines() => {}
                Some(b'\\') => self.escape(&mut text)?,
                Some(b'\r' | b'\n') if self.newline() => text.push('\n'),
                Some(_) | None => {
                    return Err(TomlErrorKind::Expected("`\"\"\"` at the end of a string"));
                }
            }
        }
    }

    /// Takes a backslash at the end of a line with all blanks and line feeds behind it.
    fn skip_escaped_lines(&mut self) -> bool {
        let start = self.at;
        self.at += 1;
        self.blanks();
        if !self.newline() {
            self.at = start;
            return false;
        }
        loop {
            self.blanks();
            if !self.newline() {
                return true;
            }
        }
    }

    /// Takes characters that stand for themselves.
    fn plain(&mut self, text: &mut String) {
        let special = |byte: &u8| matches!(byte, b'"' | b'\\') || is_control(*byte);
        let rest = self.rest();
        let length = rest.iter().position(special).unwrap_or(rest.len());
        text.push_str(&self.text[self.at..self.at + length]);
        self.at += length;
    }

    fn escape(&mut self, text: &mut String) -> Result<()> {
        let escaped = self.rest().get(1).copied();
        let character = match escaped {
            Some(b'b') => '\u{8}',
            Some(b't') => '\t',
            Some(b'n') => '\n',
            Some(b'f') => '\u{c}',
            Some(b'r') => '\r',
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(letter @ (b'u' | b'U')) => {
                let length = if letter == b'u' { 4 } else { 8 };
                let digits = self.rest().get(2..2 + length);
                let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
                let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
                let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
                self.at += length;
                let expected = TomlErrorKind::Expected("the number of a character");
                code.and_then(char::from_u32).ok_or(expected)?
            }
            Some(_) | None => return Err(TomlErrorKind::Expected("an escape that TOML knows")),
        };
        text.push(character);
        self.at += 2;
        Ok(())
    }
}

/// Returns the table of a header that has been made already; the root if there was none.
fn current<'t>(root: &'t mut Table, header: &[String]) -> Result<&'t mut Table> {
    root.last(header).ok_or(TomlErrorKind::Expected("a header"))
}

/// Returns whether a character may not stand in a string as it is; a tab may.
fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f
}
