//! Prints plain data, with Nix's own quoting.

use std::fmt::Write as _;

use super::Data;

/// Words that cannot stand unquoted as an attribute name.
const KEYWORDS: [&str; 10] =
    ["assert", "else", "if", "in", "inherit", "let", "or", "rec", "then", "with"];

/// Returns whether a name can stand unquoted in an attribute set or attribute path.
pub fn is_plain_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'\'' | b'-'))
        && !KEYWORDS.contains(&name)
}

/// Returns a text as a Nix string literal, quotes included.
///
/// Nothing in the text can end the literal or start an interpolation. A NUL character cannot be
/// written in Nix at all; it is kept, and Nix refuses the expression.
pub fn quote_string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            // Escaped wherever it stands: `$${` and `\${` follow rules of their own.
            '$' => quoted.push_str("\\$"),
            '\n' => quoted.push_str("\\n"),
            // Nix reads a bare carriage return as a line feed.
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

impl Data {
    /// Returns the value as Nix text: attributes sorted, two blanks of indentation, one line per
    /// attribute or element, and no line feed at the end.
    pub fn print(&self) -> String {
        let mut text = String::new();
        self.print_to(&mut text, 0);
        text
    }

    fn print_to(&self, text: &mut String, indent: usize) {
        match self {
            Self::Null => text.push_str("null"),
            Self::Bool(true) => text.push_str("true"),
            Self::Bool(false) => text.push_str("false"),
            Self::Integer(number) => {
                let _infallible = write!(text, "{number}");
            }
            Self::String(string) => text.push_str(&quote_string(string)),
            Self::List(elements) if elements.is_empty() => text.push_str("[ ]"),
            Self::List(elements) => {
                text.push_str("[\n");
                for element in elements {
                    push_indent(text, indent + 1);
                    element.print_to(text, indent + 1);
                    text.push('\n');
                }
                push_indent(text, indent);
                text.push(']');
            }
            Self::Set(attributes) if attributes.is_empty() => text.push_str("{ }"),
            Self::Set(attributes) => {
                text.push_str("{\n");
                for (name, value) in attributes {
                    push_indent(text, indent + 1);
                    if is_plain_name(name) {
                        text.push_str(name);
                    } else {
                        text.push_str(&quote_string(name));
                    }
                    text.push_str(" = ");
                    value.print_to(text, indent + 1);
                    text.push_str(";\n");
                }
                push_indent(text, indent);
                text.push('}');
            }
        }
    }
}

fn push_indent(text: &mut String, indent: usize) {
    for _ in 0..indent {
        text.push_str("  ");
    }
}
