//! Patterns over paths: `*` and `?` stay inside a name, `**` spans names.
//!
//! A pattern without a slash matches a name at any depth, as in ignore files; one with a slash
//! matches the whole path, and everything below what it matches.

use crate::relative::RelativePath;

/// A pattern over the paths of a tree.
#[derive(Clone, Debug)]
pub struct Glob {
    text: String,
    anchored: bool,
}

impl Glob {
    /// Takes a pattern as the user wrote it. Every text is a pattern.
    pub fn new(text: &str) -> Glob {
        let anchored = text.trim_end_matches('/').contains('/');
        let plain = text.trim_end_matches('/').trim_start_matches("./").trim_start_matches('/');
        Glob { text: plain.to_owned(), anchored }
    }

    /// Says whether the path, or a directory that holds it, matches.
    pub fn matches(&self, path: &RelativePath) -> bool {
        if !self.anchored {
            return path.names().any(|name| matches(self.text.as_bytes(), name));
        }
        let bytes = path.bytes();
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        ends.chain([bytes.len()]).any(|end| matches(self.text.as_bytes(), &bytes[..end]))
    }
}

/// Says whether one of the patterns matches.
pub fn any(globs: &[Glob], path: &RelativePath) -> bool {
    globs.iter().any(|glob| glob.matches(path))
}

/// Matches with one point to come back to per kind of star, so that no pattern takes exponential time.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    let mut double: Option<(usize, usize)> = None;
    loop {
        if pattern[p..].starts_with(b"**") {
            // `**/x` also matches `x`.
            let skipped = if pattern[p..].starts_with(b"**/") { 3 } else { 2 };
            double = Some((p + skipped, t));
            star = None;
            p += skipped;
            continue;
        }
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
                continue;
            }
            Some(&wanted) if t < text.len() => {
                if wanted == text[t] || (wanted == b'?' && text[t] != b'/') {
                    (p, t) = (p + 1, t + 1);
                    continue;
                }
            }
            None if t == text.len() => return true,
            Some(_) | None => {}
        }
        match (star, double) {
            (Some((after, from)), _) if from < text.len() && text[from] != b'/' => {
                star = Some((after, from + 1));
                (p, t) = (after, from + 1);
            }
            (_, Some((after, from))) if from < text.len() => {
                double = Some((after, from + 1));
                star = None;
                (p, t) = (after, from + 1);
            }
            (Some(_) | None, Some(_) | None) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, path: &str) -> bool {
        Glob::new(pattern).matches(&RelativePath::parse(path.as_bytes()).unwrap())
    }

    #[test]
    fn a_pattern_without_a_slash_matches_at_any_depth() {
        assert!(check("Makefile", "Makefile"));
        assert!(check("Makefile", "sub/Makefile"));
        assert!(check("*.mk", "a/b/rules.mk"));
        assert!(check(".git", ".git/objects/aa"));
        assert!(!check("*.mk", "a/rules.mkd"));
    }

    #[test]
    fn a_pattern_with_a_slash_matches_the_whole_path() {
        assert!(check("src/*.c", "src/a.c"));
        assert!(!check("src/*.c", "src/sub/a.c"));
        assert!(check("src/**/*.c", "src/sub/deep/a.c"));
        assert!(check("src/**/*.c", "src/a.c"));
        assert!(!check("src/*.c", "other/src/a.c"));
        assert!(check("./src", "src"));
        assert!(check("/top", "top"));
        assert!(!check("/top", "sub/top"));
        assert!(check("a/b", "a/b/c"));
    }

    #[test]
    fn stars_come_back() {
        assert!(check("*ab*ab?", "xabxabxaby"));
        assert!(check("a?c", "abc"));
        assert!(!check("a?c", "ac"));
        assert!(!check(&"*a".repeat(40), &"a".repeat(39)));
    }
}
