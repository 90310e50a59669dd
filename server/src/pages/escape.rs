//! Text that others wrote, as part of HTML.
//!
//! Whatever acts on a page is written as an entity. Whatever acts on a text without being seen, as its number: a name
//! must look like what it is, and two that differ must not look alike.

use levain_store::is_hidden;

/// Returns a text as it may stand in HTML, between tags or in an attribute in quotes.
pub fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + text.len() / 8);
    for character in text.chars() {
        push(&mut escaped, character);
    }
    escaped
}

/// Returns a sentence of levain's, in which names stand between backticks, as HTML with these names as code.
///
/// The names are others' and are escaped like all else. One backtick too many is shown as it is.
pub fn prose(text: &str) -> String {
    let pieces: Vec<&str> = text.split('`').collect();
    let pairs = (pieces.len() - 1) / 2;
    let mut escaped = String::with_capacity(text.len() + text.len() / 8);
    for (number, piece) in pieces.iter().enumerate() {
        escaped.push_str(match number {
            0 => "",
            opens if opens % 2 == 1 && opens / 2 < pairs => "<code>",
            closes if closes % 2 == 0 => "</code>",
            _ => "&#96;",
        });
        escaped.push_str(&html(piece));
    }
    escaped
}

/// Adds one character.
pub(super) fn push(escaped: &mut String, character: char) {
    match character {
        '<' => escaped.push_str("&lt;"),
        '>' => escaped.push_str("&gt;"),
        '&' => escaped.push_str("&amp;"),
        '"' => escaped.push_str("&quot;"),
        '\'' => escaped.push_str("&#39;"),
        '`' => escaped.push_str("&#96;"),
        '\n' | '\t' => escaped.push(character),
        // Feeds and pictures are XML, in which these may not even stand as numbers. Nothing shows them either.
        '\u{fffe}' | '\u{ffff}' => escaped.extend(character.escape_unicode()),
        character if is_hidden(character) => escaped.extend(character.escape_unicode()),
        character => escaped.push(character),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_acts_is_written_otherwise() {
        assert_eq!(
            html("<a href='x'>\"&`</a>"),
            "&lt;a href=&#39;x&#39;&gt;&quot;&amp;&#96;&lt;/a&gt;"
        );
        assert_eq!(html("a\0b\u{202e}c\u{1b}[31m"), "a\\u{0}b\\u{202e}c\\u{1b}[31m");
        assert_eq!(html("größer\n\t日本語"), "größer\n\t日本語");
    }

    #[test]
    fn nothing_is_left_that_xml_does_not_have() {
        // What XML 1.0 calls a character.
        let is_xml = |character: char| {
            matches!(character, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}')
                || matches!(character, '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
        };
        for character in '\0'..=char::MAX {
            let escaped = html(&character.to_string());
            assert!(escaped.chars().all(is_xml), "{}", character.escape_unicode());
        }
    }

    #[test]
    fn names_between_backticks_are_code_and_escaped() {
        for (text, expected) in [
            ("", ""),
            ("plain <b>", "plain &lt;b&gt;"),
            ("no `flake.nix`", "no <code>flake.nix</code>"),
            ("`a` and `b` fail", "<code>a</code> and <code>b</code> fail"),
            ("`<i>`", "<code>&lt;i&gt;</code>"),
            ("odd ` one", "odd &#96; one"),
            ("`a` odd ` one", "<code>a</code> odd &#96; one"),
        ] {
            assert_eq!(prose(text), expected, "{text}");
        }
    }
}
