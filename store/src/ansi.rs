//! Takes terminal control sequences out of Nix's messages.

/// Returns `text` without escape sequences; colours and links leave their text behind.
pub fn strip_ansi(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\u{1b}' {
            plain.push(character);
            continue;
        }
        match characters.next() {
            // `ESC [ parameters letter`: colours, cursor movement.
            Some('[') => {
                characters.by_ref().find(|c| ('@'..='~').contains(c));
            }
            // `ESC ] text BEL` or `ESC ] text ESC \`: links, titles.
            Some(']') => {
                let mut previous = ' ';
                characters.by_ref().find(|c| {
                    let end = *c == '\u{7}' || (previous == '\u{1b}' && *c == '\\');
                    previous = *c;
                    end
                });
            }
            Some(_) | None => {}
        }
    }
    plain
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
    }
}
