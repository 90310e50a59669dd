//! Reads plain data and refuses every other Nix expression, with the place and a hint.
//!
//! What is accepted means the same to Nix; the tests compare the two.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::Data;

/// How long a text may be, in bytes.
pub const MAX_LENGTH: usize = 1 << 20;
/// How deep lists and attribute sets may nest.
pub const MAX_DEPTH: usize = 16;

/// Why a text is not plain data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected plain data at {line}:{column}, found {found}\nhint: {hint}")]
pub struct DataError {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What stands there.
    pub found: String,
    /// What to do about it.
    pub hint: &'static str,
}

const HINT_DATA: &str =
    "only null, true, false, whole numbers, strings, lists and attribute sets can stand here";
const HINT_NAME: &str = "an attribute is written `name = value;` or `\"name\" = value;`";
const HINT_CLOSE: &str = "close every string, list, attribute set and comment";
const HINT_NUMBER: &str = "numbers are whole and between 0 and 9223372036854775807";

impl Data {
    /// Reads one value and nothing behind it but blanks and comments.
    pub fn parse(text: &[u8]) -> Result<Self, DataError> {
        let text = match std::str::from_utf8(text) {
            Ok(text) => text,
            Err(error) => {
                let good = String::from_utf8_lossy(&text[..error.valid_up_to()]);
                let reader = Reader { text: &good, offset: good.len(), depth: 0 };
                return Err(reader.error("bytes that are not UTF-8", "save the file as UTF-8"));
            }
        };
        let mut reader = Reader { text, offset: 0, depth: 0 };
        if text.len() > MAX_LENGTH {
            return Err(reader.error("a text of more than 1 MiB", "keep less in it"));
        }
        reader.skip_blanks()?;
        let value = reader.value()?;
        reader.skip_blanks()?;
        match reader.peek() {
            None => Ok(value),
            Some(_) => Err(reader.unexpected("nothing may follow the value")),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    offset: usize,
    depth: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.offset..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.offset += character.len_utf8();
        Some(character)
    }

    /// Takes `character` if it comes next.
    fn accept(&mut self, character: char) -> bool {
        let next = self.peek() == Some(character);
        if next {
            self.offset += character.len_utf8();
        }
        next
    }

    fn error(&self, found: impl Into<String>, hint: &'static str) -> DataError {
        let before = &self.text[..self.offset];
        let line_start = before.rfind('\n').map_or(0, |position| position + 1);
        DataError {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            found: found.into(),
            hint,
        }
    }

    /// Returns the error for what stands here, described as well as can be.
    fn unexpected(&self, hint: &'static str) -> DataError {
        let rest = self.rest();
        let word: String = rest
            .chars()
            .take_while(|c| c.is_alphanumeric() || "_-'".contains(*c))
            .take(40)
            .collect();
        match (word.as_str(), rest.chars().next()) {
            (_, None) => self.error("the end of the text", HINT_CLOSE),
            ("let" | "rec" | "with" | "inherit" | "import" | "if" | "assert", _) => {
                self.error(format!("the expression `{word}`"), HINT_DATA)
            }
            ("", Some('/' | '.' | '~' | '<')) => {
                self.error("a path", "write it as a string, in double quotes")
            }
            ("", Some('-')) => self.error("a minus sign", HINT_NUMBER),
            ("", Some(character)) => self.error(format!("`{}`", character.escape_debug()), hint),
            (word, Some(_)) => self.error(format!("the identifier `{word}`"), hint),
        }
    }

    fn skip_blanks(&mut self) -> Result<(), DataError> {
        loop {
            let rest = self.rest();
            if rest.starts_with([' ', '\t', '\r', '\n']) {
                self.offset += 1;
            } else if rest.starts_with('#') {
                self.offset += rest.find(['\r', '\n']).unwrap_or(rest.len());
            } else if let Some(comment) = rest.strip_prefix("/*") {
                match comment.find("*/") {
                    Some(end) => self.offset += end + 4,
                    None => return Err(self.error("a comment without its end", HINT_CLOSE)),
                }
            } else {
                return Ok(());
            }
        }
    }

    fn value(&mut self) -> Result<Data, DataError> {
        match self.peek() {
            Some('"') => Ok(Data::String(self.string()?)),
            Some('[') => self.nested(Self::list),
            Some('{') => self.nested(Self::set),
            Some('0'..='9') => self.integer(),
            Some('\'') => Err(self.error("an indented string", "write it as \"text\" with \\n")),
            Some('a'..='z') => self.constant(),
            _other => Err(self.unexpected(HINT_DATA)),
        }
    }

    fn nested(
        &mut self,
        inside: impl FnOnce(&mut Self) -> Result<Data, DataError>,
    ) -> Result<Data, DataError> {
        if self.depth == MAX_DEPTH {
            return Err(self.error("more than 16 levels of nesting", "nest less deeply"));
        }
        self.depth += 1;
        self.offset += 1;
        let value = inside(self)?;
        self.depth -= 1;
        Ok(value)
    }

    /// Reads `null`, `true` or `false`.
    fn constant(&mut self) -> Result<Data, DataError> {
        let word = self.word();
        let value = match word {
            "null" => Data::Null,
            "true" => Data::Bool(true),
            "false" => Data::Bool(false),
            _other => return Err(self.unexpected(HINT_DATA)),
        };
        let length = word.len();
        // `null.x`, `null/x` and `null:x` are other expressions altogether.
        if self.rest()[length..].starts_with(['.', '/', ':', '?', '@', '+', '*', '='])
            && !self.rest()[length..].starts_with("/*")
        {
            return Err(self.unexpected(HINT_DATA));
        }
        self.offset += length;
        Ok(value)
    }

    /// Returns the identifier that stands here, or the empty text.
    fn word(&self) -> &str {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '\'' | '-')))
            .unwrap_or(rest.len());
        &rest[..end]
    }

    fn integer(&mut self) -> Result<Data, DataError> {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let after = &rest[end..];
        let ends = after.is_empty()
            || after.starts_with([' ', '\t', '\r', '\n', ';', ']', '}', '#', '"', '[', '{'])
            || after.starts_with("/*");
        let number = rest[..end].parse::<u64>().ok().filter(|n| i64::try_from(*n).is_ok());
        match number {
            Some(number) if ends => {
                self.offset += end;
                Ok(Data::Integer(number))
            }
            Some(_) | None => {
                let word: String =
                    rest.chars().take_while(|c| !c.is_whitespace()).take(40).collect();
                Err(self.error(format!("`{word}`"), HINT_NUMBER))
            }
        }
    }

    /// Reads a string literal, quotes included.
    fn string(&mut self) -> Result<String, DataError> {
        let start = self.offset;
        self.offset += 1;
        let mut string = String::new();
        loop {
            let place = self.offset;
            match self.take() {
                Some('"') => return Ok(string),
                Some('\\') => match self.take() {
                    Some('n') => string.push('\n'),
                    Some('r') => string.push('\r'),
                    Some('t') => string.push('\t'),
                    Some('\0') | None => break,
                    Some(other) => string.push(other),
                },
                Some('$') => match self.peek() {
                    Some('{') => {
                        self.offset = place;
                        return Err(
                            self.error("an interpolation `${`", "write `\\${` for the text")
                        );
                    }
                    // Nix takes both characters at once: `$${` is no interpolation.
                    Some('$') => {
                        self.offset += 1;
                        string.push_str("$$");
                    }
                    Some(_) | None => string.push('$'),
                },
                Some('\r') => {
                    self.accept('\n');
                    string.push('\n');
                }
                Some('\0') | None => break,
                Some(other) => string.push(other),
            }
        }
        self.offset = start;
        Err(self.error("a string without its end", HINT_CLOSE))
    }

    fn list(&mut self) -> Result<Data, DataError> {
        let mut elements = Vec::new();
        loop {
            self.skip_blanks()?;
            if self.accept(']') {
                return Ok(Data::List(elements));
            }
            elements.push(self.value()?);
        }
    }

    fn set(&mut self) -> Result<Data, DataError> {
        let mut attributes = BTreeMap::new();
        loop {
            self.skip_blanks()?;
            if self.accept('}') {
                return Ok(Data::Set(attributes));
            }
            let place = self.offset;
            let name = self.attribute_name()?;
            self.skip_blanks()?;
            if !self.accept('=') || self.peek() == Some('=') {
                return Err(self.unexpected(HINT_NAME));
            }
            self.skip_blanks()?;
            let value = self.value()?;
            self.skip_blanks()?;
            if !self.accept(';') {
                return Err(self.unexpected("end every attribute with `;`"));
            }
            match attributes.entry(name) {
                Entry::Vacant(free) => {
                    free.insert(value);
                }
                Entry::Occupied(taken) => {
                    let found = format!("a second attribute {}", super::quote_string(taken.key()));
                    self.offset = place;
                    return Err(self.error(found, "give every attribute once"));
                }
            }
        }
    }

    fn attribute_name(&mut self) -> Result<String, DataError> {
        if self.peek() == Some('"') {
            return self.string();
        }
        let word = self.word().to_owned();
        if !super::is_plain_name(&word) {
            return Err(self.unexpected(HINT_NAME));
        }
        self.offset += word.len();
        Ok(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(text: &str) -> DataError {
        Data::parse(text.as_bytes()).expect_err(text)
    }

    #[test]
    fn reads_every_kind_of_value() {
        let text = "# head\n{ a = null; b-c' = [ true 12 \"x\" ]; /* c */ \"a b\" = { }; }\n";
        let expected = Data::set([
            ("a", Data::Null),
            ("b-c'", Data::List(vec![Data::Bool(true), Data::Integer(12), Data::from("x")])),
            ("a b", Data::set::<String>([])),
        ]);
        assert_eq!(Data::parse(text.as_bytes()), Ok(expected));
    }

    #[test]
    fn reads_escapes_as_nix_does() {
        let text = r#""\n\r\t\\\"\${a}$$${b$""#.replace("$$${b", "$${b");
        assert_eq!(Data::parse(text.as_bytes()), Ok(Data::from("\n\r\t\\\"${a}$${b$")));
        assert_eq!(Data::parse(b"\"a\r\nb\rc\""), Ok(Data::from("a\nb\nc")));
    }

    #[test]
    fn refuses_everything_that_is_not_data() {
        for text in [
            "",
            "x",
            "import ./x",
            "{ a.b = 1; }",
            "rec { }",
            "let a = 1; in a",
            "\"${x}\"",
            "./x",
            "/nix/store/x",
            "<x>",
            "''x''",
            "1.5",
            "-1",
            "1 2",
            "{ a = 1 }",
            "{ a = 1; a = 2; }",
            "[ 1",
            "\"x",
            "/* x",
            "x: x",
            "{ x }: x",
            "{ inherit x; }",
            "null.x",
            "null/x",
            "{ a == 1; }",
            "99999999999999999999",
            "1/2",
            "1a",
            "{ ${x} = 1; }",
            "(1)",
            "1 + 1",
            "{ or = 1; }",
            "\"a\" + \"b\"",
            "true:x",
            "\"a\0b\"",
            "{ a = 1;; }",
            "[ 1, 2 ]",
        ] {
            assert!(Data::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn names_the_place() {
        let error = refused("{\n  ä = 1;\n}");
        assert_eq!((error.line, error.column), (2, 3));
        let error = refused("{\n  a = builtins.storePath;\n}");
        assert_eq!(
            (error.line, error.column, error.found.as_str()),
            (2, 7, "the identifier `builtins`")
        );
        assert_eq!(refused("\"a${b}\"").column, 3);
        assert!(Data::parse(b"\"\xff\"").is_err());
    }

    #[test]
    fn limits_depth_and_length() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(Data::parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(Data::parse(nested(MAX_DEPTH + 1).as_bytes()).is_err());
        assert!(Data::parse(&vec![b' '; MAX_LENGTH + 1]).is_err());
    }

    /// Every value that has a text.
    fn any_data() -> impl Strategy<Value = Data> {
        let text = "[^\0]{0,12}";
        let leaf = prop_oneof![
            Just(Data::Null),
            any::<bool>().prop_map(Data::Bool),
            (0..=i64::MAX as u64).prop_map(Data::Integer),
            text.prop_map(Data::String),
            "[\\\\\"$\\{\\}\r\n' ]{0,8}".prop_map(Data::String),
        ];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Data::List),
                prop::collection::btree_map(text, inner, 0..4).prop_map(Data::Set),
            ]
        })
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(data in any_data()) {
            prop_assert_eq!(Data::parse(data.print().as_bytes()), Ok(data));
        }

        #[test]
        fn parsing_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(data) = Data::parse(&bytes) {
                prop_assert_eq!(Data::parse(data.print().as_bytes()), Ok(data));
            }
        }
    }
}
