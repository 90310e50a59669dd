//! Makes Nix's messages fit to be shown: short, and about the project's own files.

/// How many lines of a message are kept.
const MAX_LINES: usize = 40;

/// Returns a message without Nix's `error:` in front, with places in the flake's own tree as paths
/// relative to it, and with at most 40 lines.
///
/// `source` is the store path of the tree, where it is known.
pub(super) fn clean(message: &str, source: Option<&str>) -> String {
    let mut text = message.trim().to_owned();
    if let Some(source) = source {
        // A place in the tree becomes relative; the tree itself stays what it is.
        text = text.replace(&format!("{source}/"), "");
    }
    let text = without_urls(&text);
    let text = text.strip_prefix("error:").unwrap_or(&text).trim_start();
    let lines = without_own_places(text.lines().map(str::trim_end));
    if lines.len() <= MAX_LINES {
        return lines.join("\n");
    }
    // The beginning says what, the end says where it was used.
    let left_out = lines.len() - (MAX_LINES - 1);
    let (head, tail) = (&lines[..MAX_LINES / 2], &lines[lines.len() - (MAX_LINES / 2 - 1)..]);
    format!("{}\n(… {left_out} lines left out …)\n{}", head.join("\n"), tail.join("\n"))
}

/// Removes places in levain's own expression, with the lines of it that are shown.
fn without_own_places<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut kept: Vec<&str> = Vec::new();
    let mut inside = false;
    for line in lines {
        let start = line.trim_start();
        let excerpt = start.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with('|');
        inside = start.starts_with("at «string»:") || (inside && (start.is_empty() || excerpt));
        if !inside {
            kept.push(line);
        }
    }
    while kept.last().is_some_and(|line| line.is_empty()) {
        kept.pop();
    }
    kept
}

/// Removes the `«git+file:///…»/` that newer versions of Nix write before a file of a flake.
fn without_urls(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("«git+file:") {
        kept.push_str(&rest[..start]);
        rest = &rest[start..];
        match rest.find("»/") {
            Some(end) if !rest[..end].contains('\n') => rest = &rest[end + "»/".len()..],
            Some(_) | None => {
                kept.push('«');
                rest = &rest['«'.len_utf8()..];
            }
        }
    }
    kept.push_str(rest);
    kept
}

/// Returns whether Nix complains that the lock file does not fit.
pub(super) fn is_about_lock_file(message: &str) -> bool {
    [
        "cannot update flake input",
        "cannot update unlocked flake input",
        "requires lock file changes",
        "cannot write modified lock file",
    ]
    .iter()
    .any(|text| message.contains(text))
}

/// Returns whether Nix refused to build something during evaluation.
pub(super) fn is_about_import_from_derivation(message: &str) -> bool {
    message.contains("allow-import-from-derivation")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_places_relative_to_the_tree() {
        let message = "error: bad\n\n       at /s/h-source/flake.nix:3:5:\n  in /s/h-source  \n";
        assert_eq!(
            clean(message, Some("/s/h-source")),
            "bad\n\n       at flake.nix:3:5:\n  in /s/h-source"
        );
        let message = "error:\n  at «git+file:///srv/x?ref=r&rev=1»/flake.nix:2:1: «git+file:x";
        assert_eq!(clean(message, None), "at flake.nix:2:1: «git+file:x");
    }

    #[test]
    fn hides_places_in_our_own_expression() {
        let message = "error: bad\n\n   at «string»:7:2:\n\n     6| x\n      | ^\n     7|\n\n   at /s/h/a.nix:1:2:\n\n     1| y";
        assert_eq!(clean(message, Some("/s/h")), "bad\n\n   at a.nix:1:2:\n\n     1| y");
        assert_eq!(clean("error: bad\n\n   at «string»:7:2:\n\n     6| x", None), "bad");
    }

    #[test]
    fn shortens_in_the_middle() {
        let lines: Vec<String> = (1..=100).map(|n| n.to_string()).collect();
        let shown = clean(&lines.join("\n"), None);
        assert_eq!(shown.lines().count(), MAX_LINES);
        assert!(shown.starts_with("1\n2\n") && shown.ends_with("99\n100"));
        assert!(shown.contains("(… 61 lines left out …)"), "{shown}");
    }
}
