//! Paths of this machine in messages that leave it.

/// What stands for a path that is not shown.
const HIDDEN: char = '…';
/// Paths that are the same everywhere, and say something to whoever knows the project.
const EVERYWHERE: &str = "/nix/store/";

/// Returns a message without the absolute paths in it, for readers who have nothing to do with this
/// machine: a path says who runs levain, and where.
pub fn without_paths(message: &str) -> String {
    let mut shown = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(at) = rest.find('/') {
        let (before, found) = rest.split_at(at);
        shown.push_str(before);
        let previous = shown.chars().next_back();
        let begins = previous.is_none_or(|c| !(c.is_alphanumeric() || "./-_~…".contains(c)));
        let is_remote =
            found.starts_with("//") && previous == Some(':') && !shown.ends_with("file:");
        let end = match (begins, is_remote) {
            // Somewhere in a word, as in `a/b`.
            (false, _) => '/'.len_utf8(),
            (true, true) => length(found, None),
            (true, false) => length(found, previous),
        };
        let (path, after) = found.split_at(end);
        let is_hidden = begins && !is_remote && path.len() > 1 && !path.starts_with(EVERYWHERE);
        if is_hidden {
            shown.push(HIDDEN);
        } else {
            shown.push_str(path);
        }
        rest = after;
    }
    shown.push_str(rest);
    shown
}

/// Returns how long the path at the start of `text` is, which stands after `previous`.
fn length(text: &str, previous: Option<char>) -> usize {
    let closing = match previous {
        Some('\'') => Some('\''),
        Some('"') => Some('"'),
        Some('`') => Some('`'),
        Some('«') => Some('»'),
        Some(_) | None => None,
    };
    let quoted = closing.and_then(|closing| text.find(closing));
    let ends = |c: char| c.is_whitespace() || ",;:'\"`()[]«»".contains(c);
    // The `://` of an address belongs to it.
    let slashes = text.len() - text.trim_start_matches('/').len();
    quoted.or_else(|| text[slashes..].find(ends).map(|end| slashes + end)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_the_machine_are_hidden() {
        for (message, shown) in [
            (
                "could not set permissions on '/var/lib/my nix/profiles' to 755: Read-only file system",
                "could not set permissions on '…' to 755: Read-only file system",
            ),
            ("cannot open /home/u/x: no", "cannot open …: no"),
            ("in (/home/u/x), `/a b`, «/c/d»", "in (…), `…`, «…»"),
            ("git+file:///srv/x and file:///y", "git+file:… and file:…"),
            ("https://forge.example/a/b fails", "https://forge.example/a/b fails"),
            ("builder for '/nix/store/h-x.drv' failed", "builder for '/nix/store/h-x.drv' failed"),
            ("either a/b or c / d, 1/2", "either a/b or c / d, 1/2"),
            ("'/unclosed path", "'… path"),
            ("/", "/"),
            ("", ""),
        ] {
            assert_eq!(without_paths(message), shown);
        }
    }
}
