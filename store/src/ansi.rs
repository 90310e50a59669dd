//! Takes terminal control sequences out of messages: Nix's, and those of users' programs.

/// Returns `text` without escape sequences; colours and links leave their text behind.
pub fn strip_ansi(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('\u{1b}') {
        plain.push_str(&rest[..start]);
        rest = &rest[start + sequence(&rest[start..])..];
    }
    plain.push_str(rest);
    plain
}

/// Returns the length of the sequence that a text begins with.
fn sequence(text: &str) -> usize {
    let after = |found: Option<(usize, char)>| {
        found.map_or(text.len(), |(place, end)| place + end.len_utf8())
    };
    let mut characters = text.char_indices().skip(1);
    match characters.next() {
        // `ESC [ parameters letter`: colours, cursor movement.
        Some((_, '[')) => after(characters.find(|(_, c)| ('@'..='~').contains(c))),
        // `ESC ] text BEL` or `ESC ] text ESC \`: links, titles.
        Some((_, ']')) => {
            let mut previous = ' ';
            after(characters.find(|(_, c)| {
                let end = *c == '\u{7}' || (previous == '\u{1b}' && *c == '\\');
                previous = *c;
                end
            }))
        }
        other => after(other),
    }
}

#[cfg(test)]
mod tests {
    use super::strip_ansi;

    #[test]
    fn keeps_the_text() {
        assert_eq!(strip_ansi("\u{1b}[31;1merror:\u{1b}[0m \u{1b}[1mä\u{1b}[0m"), "error: ä");
        assert_eq!(strip_ansi("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{7} end"), "link end");
        assert_eq!(strip_ansi("cut \u{1b}[3"), "cut ");
        assert_eq!(strip_ansi("cut \u{1b}"), "cut ");
        assert_eq!(strip_ansi("a\u{1b}äb"), "ab");
    }
}
