//! Text that others wrote, made safe to show: every character that moves the cursor, hides text or
//! changes its order appears as its number instead.
//!
//! Not for text that is parsed again. Start at [`visible`].

use std::borrow::Cow;
use std::fmt::Write;

/// Returns whether a character acts on what is shown rather than being shown.
///
/// Line feed and tab are among them; callers that lay out text themselves let them pass.
pub const fn is_hidden(character: char) -> bool {
    matches!(character,
        // C0, DEL and C1: escape sequences in both their forms.
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        // Soft hyphen, joiners and fillers: without width.
        | '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{3164}' | '\u{ffa0}' | '\u{feff}'
        // Direction: marks, embeddings, overrides and isolates.
        | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        // Line and paragraph separators, which some programs take for line feeds.
        | '\u{2028}' | '\u{2029}'
        // Interlinear annotations.
        | '\u{fff9}'..='\u{fffb}'
        // Shorthand and musical controls, tags and more variation selectors.
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Returns `text` as it may be shown: lines and tabs stay, colours are left out, and every other
/// [hidden](is_hidden) character is written as `\u{1b}`.
pub fn visible(text: &str) -> Cow<'_, str> {
    replaced(text, |character| matches!(character, '\n' | '\t'))
}

/// Returns `text` as part of one line: what [`visible`] returns, with line feeds and tabs written as
/// `\n` and `\t`.
pub fn visible_line(text: &str) -> Cow<'_, str> {
    replaced(text, |_| false)
}

/// Returns a name as part of one line: what [`visible_line`] returns, but with colours written as
/// numbers, too. Nobody colours a name in good faith, and two that differ must not look alike.
pub fn visible_name(name: &str) -> Cow<'_, str> {
    if name.contains('\u{1b}') {
        let shown = name.replace('\u{1b}', "\\u{1b}");
        return Cow::Owned(visible_line(&shown).into_owned());
    }
    visible_line(name)
}

/// Returns a JSON document as it may be shown, with the same meaning.
pub fn visible_json(document: &str) -> Cow<'_, str> {
    let passes = |character: char| !is_hidden(character) || matches!(character, '\n' | '\t' | '\r');
    if document.chars().all(passes) {
        return Cow::Borrowed(document);
    }
    let mut shown = String::with_capacity(document.len() + 16);
    for character in document.chars() {
        if passes(character) {
            shown.push(character);
            continue;
        }
        // Only strings can hold such a character, and there this means the same.
        for unit in character.encode_utf16(&mut [0; 2]) {
            push(&mut shown, format_args!("\\u{unit:04x}"));
        }
    }
    Cow::Owned(shown)
}

fn replaced(text: &str, passes: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().all(|character| !is_hidden(character) || passes(character)) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let colour = colour_length(rest);
        if colour > 0 {
            rest = &rest[colour..];
            continue;
        }
        rest = &rest[character.len_utf8()..];
        match character {
            // A line that ends as on Windows.
            '\r' if rest.starts_with('\n') => {}
            character if !is_hidden(character) || passes(character) => shown.push(character),
            '\n' | '\t' | '\r' => shown.extend(character.escape_default()),
            character => push(&mut shown, format_args!("\\u{{{:x}}}", u32::from(character))),
        }
    }
    Cow::Owned(shown)
}

fn push(text: &mut String, more: std::fmt::Arguments<'_>) {
    // A string takes everything.
    text.write_fmt(more).unwrap_or_default();
}

/// Returns the length of the colour (`ESC [ 1;31 m`) that a text begins with.
fn colour_length(text: &str) -> usize {
    let Some(parameters) = text.strip_prefix("\u{1b}[") else { return 0 };
    let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';' && c != ':');
    match end {
        Some(end) if parameters[end..].starts_with('m') => 2 + end + 1,
        Some(_) | None => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_acts_on_the_terminal_is_shown_by_number() {
        assert_eq!(visible("a\u{1b}]0;T\u{7}b"), "a\\u{1b}]0;T\\u{7}b");
        assert_eq!(visible("\u{9b}2J\u{202e}x\u{e0041}"), "\\u{9b}2J\\u{202e}x\\u{e0041}");
        assert_eq!(visible("50%\r100%\r\nend\n\tx"), "50%\\r100%\nend\n\tx");
        assert_eq!(visible_line("a\nerror: b\tc\r\n"), "a\\nerror: b\\tc\\n");
    }

    #[test]
    fn text_in_every_script_stays() {
        for text in ["größer", "日本語", "مرحبا", "😀 ❤\u{fe0f}", "a\nb\tc"] {
            assert!(matches!(visible(text), Cow::Borrowed(_)), "{text}");
        }
    }

    #[test]
    fn colours_are_left_out_and_nothing_else() {
        assert_eq!(visible("\u{1b}[1;31merror:\u{1b}[0m no"), "error: no");
        assert_eq!(visible("\u{1b}[2J\u{1b}[3"), "\\u{1b}[2J\\u{1b}[3");
        // What is left when a colour is taken out is no sequence.
        assert_eq!(visible("\u{1b}\u{1b}[0m[2J"), "\\u{1b}[2J");
    }

    #[test]
    fn names_that_differ_in_colours_stay_different() {
        let names = ["a b", "a\u{1b}[m b", "a\u{1b}[1m b"].map(visible_name);
        assert_eq!(names, ["a b", "a\\u{1b}[m b", "a\\u{1b}[1m b"]);
        assert_eq!(visible_name("a\n\u{202e}"), "a\\n\\u{202e}");
    }

    /// Any text, hidden characters far more often than by chance.
    fn texts() -> impl Strategy<Value = String> {
        let hidden = prop::char::ranges(
            vec!['\0'..='\u{a0}', '\u{200b}'..='\u{206f}', '\u{e0000}'..='\u{e007f}'].into(),
        );
        let piece = prop_oneof![
            any::<char>().prop_map(String::from),
            hidden.prop_map(String::from),
            Just("\u{1b}[".to_owned()),
            Just("31m".to_owned()),
            "[a-z\\\\\"]{0,3}",
        ];
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left(text in texts()) {
            let shown = visible(&text).into_owned();
            prop_assert!(shown.chars().all(|c| !is_hidden(c) || c == '\n' || c == '\t'), "{shown:?}");
            prop_assert_eq!(visible(&shown), shown.as_str());
            prop_assert!(visible_line(&text).chars().all(|c| !is_hidden(c)));
        }

        #[test]
        fn documents_keep_their_meaning(text in texts()) {
            let value = serde_json::json!({ &text: [&text] });
            let document = serde_json::to_string_pretty(&value).unwrap();
            let shown = visible_json(&document).into_owned();
            prop_assert!(shown.chars().all(|c| !is_hidden(c) || c == '\n'), "{shown:?}");
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        }
    }
}
