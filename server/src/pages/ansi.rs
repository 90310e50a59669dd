//! What builds print, as HTML: colours become classes, and no other sequence has any effect.
//!
//! A log is hostile input. The only markup that is made here is `<span class="…">` with classes from a fixed list, so a
//! page may take what [`html`] returns as it is. Each line begins without colours: a window of a log looks the same
//! wherever it begins.

use levain_store::counted;

use super::escape;

/// How much of a line is shown, in characters.
const LONGEST_LINE: usize = 4_096;

/// Returns lines as HTML, with a line feed between each two.
pub fn html(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(line).collect();
    lines.join("\n")
}

/// Returns one line as HTML.
pub fn line(text: &str) -> String {
    let mut html = String::with_capacity(text.len() + 16);
    let mut style = Style::default();
    let mut is_open = false;
    let mut shown = 0;
    let mut rest = last_version(text);
    while let Some(character) = rest.chars().next() {
        if let Some((length, sequence)) = sequence(rest) {
            rest = &rest[length..];
            if let Some(parameters) = sequence {
                style.apply(parameters);
                if is_open {
                    html.push_str("</span>");
                }
                is_open = style.open(&mut html);
            }
            continue;
        }
        if shown == LONGEST_LINE {
            break;
        }
        rest = &rest[character.len_utf8()..];
        escape::push(&mut html, character);
        shown += 1;
    }
    if is_open {
        html.push_str("</span>");
    }
    if !rest.is_empty() {
        html.push_str(&format!(
            "<span class=\"more\"> … {} more</span>",
            counted(rest.len(), "byte")
        ));
    }
    html
}

/// Returns one line as text without sequences: what can be searched.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = last_version(text);
    while let Some(character) = rest.chars().next() {
        match sequence(rest) {
            Some((length, _)) => rest = &rest[length..],
            None => {
                rest = &rest[character.len_utf8()..];
                plain.push(character);
            }
        }
    }
    plain
}

/// Returns what a terminal would show at last of a line that is written over and over, as progress is.
fn last_version(text: &str) -> &str {
    let text = text.trim_end_matches(['\r', '\n']);
    text.rsplit('\r').next().unwrap_or(text)
}

/// Returns the length of the control sequence that a text begins with, and its parameters if it is about colours.
fn sequence(text: &str) -> Option<(usize, Option<&str>)> {
    let first = text.chars().next()?;
    let (introducer, body) = match first {
        '\u{1b}' => match text[1..].chars().next() {
            Some(second @ ('[' | ']' | 'P' | 'X' | '^' | '_')) => (second, 2),
            // Any other sequence of two, or of one in between, as when a character set is chosen.
            Some(' '..='/') => return Some((length_of_choice(text), None)),
            Some(second) => return Some((1 + second.len_utf8(), None)),
            None => return Some((1, None)),
        },
        '\u{9b}' => ('[', first.len_utf8()),
        '\u{9d}' => (']', first.len_utf8()),
        '\u{90}' | '\u{98}' | '\u{9e}' | '\u{9f}' => ('P', first.len_utf8()),
        '\u{80}'..='\u{9f}' => return Some((first.len_utf8(), None)),
        // A bell, a backspace and their like.
        '\0'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}' => return Some((1, None)),
        _ => return None,
    };
    if introducer != '[' {
        return Some((length_of_string(text, body), None));
    }
    let end = text[body..].find(|c: char| !matches!(c, ' '..='?'));
    let Some(end) = end.map(|end| body + end) else { return Some((text.len(), None)) };
    let last = text[end..].chars().next()?;
    // What ends a sequence is one of these; anything else is not part of it.
    let length = if matches!(last, '@'..='~') { end + 1 } else { end };
    let parameters = &text[body..end];
    let is_colour =
        last == 'm' && parameters.bytes().all(|b| b.is_ascii_digit() || b";:".contains(&b));
    Some((length, is_colour.then_some(parameters)))
}

fn length_of_choice(text: &str) -> usize {
    let after = text[1..].find(|c: char| !matches!(c, ' '..='/')).map_or(text.len(), |at| at + 1);
    after + text[after..].chars().next().map_or(0, char::len_utf8)
}

/// Returns where a string such as a window's title ends: behind its terminator, or with the line.
fn length_of_string(text: &str, body: usize) -> usize {
    for (at, character) in text[body..].char_indices() {
        let at = body + at;
        match character {
            '\u{7}' | '\u{9c}' => return at + character.len_utf8(),
            '\u{1b}' if text[at + 1..].starts_with('\\') => return at + 2,
            _ => {}
        }
    }
    text.len()
}

/// How characters look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Style {
    /// Of the sixteen colours.
    foreground: Option<u8>,
    background: Option<u8>,
    is_bold: bool,
    is_faint: bool,
    is_italic: bool,
    is_underlined: bool,
    is_inverse: bool,
}

impl Style {
    /// Takes the parameters of one sequence.
    fn apply(&mut self, parameters: &str) {
        let numbers: Vec<u16> =
            parameters.split([';', ':']).map(|text| text.parse().unwrap_or(0)).collect();
        let mut numbers = numbers.as_slice();
        while let [first, rest @ ..] = numbers {
            numbers = rest;
            match first {
                0 => *self = Self::default(),
                1 => self.is_bold = true,
                2 => self.is_faint = true,
                3 => self.is_italic = true,
                4 => self.is_underlined = true,
                7 => self.is_inverse = true,
                22 => (self.is_bold, self.is_faint) = (false, false),
                23 => self.is_italic = false,
                24 => self.is_underlined = false,
                27 => self.is_inverse = false,
                30..=37 => self.foreground = small(first - 30),
                38 => (self.foreground, numbers) = extended(rest),
                39 => self.foreground = None,
                40..=47 => self.background = small(first - 40),
                48 => (self.background, numbers) = extended(rest),
                49 => self.background = None,
                90..=97 => self.foreground = small(first - 90 + 8),
                100..=107 => self.background = small(first - 100 + 8),
                _ => {}
            }
        }
    }

    /// Begins a span if there is anything to say; returns whether it did.
    fn open(self, html: &mut String) -> bool {
        if self == Self::default() {
            return false;
        }
        html.push_str("<span class=\"");
        let mut is_first = true;
        let mut class = |class: &str| {
            if !is_first {
                html.push(' ');
            }
            is_first = false;
            html.push_str(class);
        };
        for (is_so, name) in [
            (self.is_bold, "ab"),
            (self.is_faint, "ad"),
            (self.is_italic, "ai"),
            (self.is_underlined, "au"),
            (self.is_inverse, "av"),
        ] {
            if is_so {
                class(name);
            }
        }
        if let Some(colour) = self.foreground {
            class(&format!("f{colour}"));
        }
        if let Some(colour) = self.background {
            class(&format!("b{colour}"));
        }
        html.push_str("\">");
        true
    }
}

fn small(number: u16) -> Option<u8> {
    u8::try_from(number).ok().filter(|number| *number < 16)
}

/// Reads one of 256 colours or one of 16 million: the nearest of the sixteen.
fn extended(numbers: &[u16]) -> (Option<u8>, &[u16]) {
    match numbers {
        [5, index, rest @ ..] => (of_256(*index), rest),
        [2, red, green, blue, rest @ ..] => (Some(nearest([*red, *green, *blue])), rest),
        _ => (None, &[]),
    }
}

fn of_256(index: u16) -> Option<u8> {
    match index {
        0..=15 => small(index),
        16..=231 => {
            let level = |step: u16| if step == 0 { 0 } else { 55 + 40 * step };
            let cube = index - 16;
            Some(nearest([level(cube / 36), level(cube / 6 % 6), level(cube % 6)]))
        }
        232..=255 => Some(nearest([8 + 10 * (index - 232); 3])),
        _ => None,
    }
}

/// Returns the nearest of the sixteen colours, by brightness and by which of the primaries are in it.
fn nearest(colour: [u16; 3]) -> u8 {
    let most = colour.into_iter().max().unwrap_or(0);
    let least = colour.into_iter().min().unwrap_or(0);
    if most < 48 {
        return 0;
    }
    if most - least < 32 {
        return match most {
            0..=95 => 0,
            96..=159 => 8,
            160..=223 => 7,
            _ => 15,
        };
    }
    let half = most / 2 + least / 2;
    let mut number = 0;
    for (bit, level) in colour.into_iter().enumerate() {
        if level > half {
            number |= 1 << bit;
        }
    }
    if most > 208 { number + 8 } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_classes() {
        assert_eq!(
            line("\u{1b}[1;31merror:\u{1b}[0m no"),
            "<span class=\"ab f1\">error:</span> no"
        );
        assert_eq!(
            line("\u{1b}[32ma\u{1b}[4mb"),
            "<span class=\"f2\">a</span><span class=\"au f2\">b</span>"
        );
        assert_eq!(line("\u{1b}[mplain\u{1b}[39m"), "plain");
        assert_eq!(line("\u{1b}[38;5;196mx"), "<span class=\"f9\">x</span>");
        assert_eq!(line("\u{1b}[38;2;10;20;200;1mx"), "<span class=\"ab f4\">x</span>");
        assert_eq!(line("\u{9b}93;44mx"), "<span class=\"f11 b4\">x</span>");
        assert_eq!(html("\u{1b}[31ma\nb"), "<span class=\"f1\">a</span>\nb");
    }

    #[test]
    fn nothing_else_has_an_effect() {
        for text in [
            "\u{1b}]0;title\u{7}x",
            "\u{1b}]8;;javascript:alert(1)\u{1b}\\x",
            "\u{1b}[2J\u{1b}[Hx",
            "\u{1b}[?25lx",
            "\u{1b}(Bx",
            "\u{1b}cx",
            "\u{1b}P1;2q\u{1b}\\x",
            "\u{9d}0;t\u{9c}x",
            "\u{85}x",
            "\u{8}\u{7}x",
            "\u{1b}[>4;1mx",
            "50%\r75%\rx",
            "x\u{1b}",
            "x\u{1b}[31",
            "x\u{1b}]0;never ends",
        ] {
            assert_eq!(line(text), "x", "{text:?}");
            assert_eq!(plain(text), "x", "{text:?}");
        }
    }

    #[test]
    fn markup_and_hidden_characters_are_escaped() {
        assert_eq!(
            line("<b>\u{1b}[31m<\u{202e}"),
            "&lt;b&gt;<span class=\"f1\">&lt;\\u{202e}</span>"
        );
        // A sequence that is interrupted by markup ends there.
        assert_eq!(line("\u{1b}[31\u{e9}<script>"), "é&lt;script&gt;");
    }

    #[test]
    fn long_lines_are_cut() {
        let shown = line(&"é".repeat(LONGEST_LINE + 3));
        assert!(shown.ends_with("é<span class=\"more\"> … 6 bytes more</span>"), "{shown}");
    }

    #[test]
    fn whatever_is_printed_only_spans_are_made() {
        let mut random = fastrand::Rng::with_seed(7);
        let pieces = [
            "\u{1b}", "[", "]", "m", "31", ";", "<", "\"", "é", "\u{9b}", "\\", "\u{7}", "a", ":",
            "\r", "(",
        ];
        for _ in 0..20_000 {
            let text: String =
                (0..random.usize(0..14)).map(|_| pieces[random.usize(..pieces.len())]).collect();
            let mut rest = line(&text);
            for made in ["</span>", "<span class=\"more\">"] {
                rest = rest.replace(made, "");
            }
            while let Some(at) = rest.find("<span class=\"") {
                let end = rest[at..].find("\">").unwrap() + at;
                let classes = &rest[at + 13..end];
                assert!(
                    classes.bytes().all(|b| b.is_ascii_alphanumeric() || b == b' '),
                    "{text:?}"
                );
                rest.replace_range(at..end + 2, "");
            }
            assert!(
                !rest.contains(['<', '>', '"', '\u{1b}', '\u{9b}', '\u{7}', '\r']),
                "{text:?}: {rest:?}"
            );
        }
    }
}
