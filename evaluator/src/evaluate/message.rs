//! Makes Nix's messages fit to be shown: short, and about the project's own files.

/// How many lines of a message are kept.
const MAX_LINES: usize = 40;
/// How places in levain's own expression begin, given as an argument or on standard input.
const OWN_PLACES: [&str; 3] = ["at «string»:", "at «stdin»:", "at (stdin):"];

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

/// Removes what is about levain's own expression: places in it, with the lines of it that are shown,
/// and what newer versions of Nix say was being evaluated there (`… while …`).
fn without_own_places<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut kept: Vec<&str> = Vec::new();
    // Where in `kept` the `… while` begins that the next place belongs to.
    let mut context = None;
    let mut inside = false;
    for line in lines {
        let start = line.trim_start();
        let excerpt = start.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with('|');
        let own = OWN_PLACES.iter().any(|place| start.starts_with(place));
        if own && let Some(at) = context {
            kept.truncate(at);
        }
        inside = own || (inside && (start.is_empty() || excerpt));
        if start.starts_with("… ") {
            context = Some(kept.len());
        } else if start.starts_with("at ") || start.is_empty() {
            context = None;
        }
        // Nix 2.8 has empty lines around a place, newer versions have none.
        if !inside && is_place(start) && kept.last().is_some_and(|line| line.is_empty()) {
            kept.pop();
        }
        let after_place = kept.last().is_some_and(|line| is_place(line.trim_start()));
        if !(inside || start.is_empty() && after_place) {
            kept.push(line);
        }
    }
    while kept.last().is_some_and(|line| line.is_empty()) {
        kept.pop();
    }
    kept
}

/// Returns whether a line names a place, as in `at /s/h/flake.nix:3:5:`.
fn is_place(line: &str) -> bool {
    let numbers = line.strip_prefix("at ").and_then(|line| line.strip_suffix(':'));
    let mut parts = numbers.into_iter().flat_map(|line| line.rsplit(':'));
    let mut number = || parts.next().is_some_and(|part| part.parse::<u32>().is_ok());
    number() && number()
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

/// What Nix names a source of this machine by.
const LOCAL: [&str; 4] = ["'file:", "'path:", "'git+file:", "'tarball+file:"];

/// Removes the hashes of files of this machine that are other ones than expected: with the right one,
/// pure evaluation would read the file.
pub(super) fn without_local_hashes(message: &str) -> String {
    let is_local =
        |line: &str| line.contains("mismatch") && LOCAL.iter().any(|place| line.contains(place));
    if !message.lines().any(is_local) {
        return message.to_owned();
    }
    let is_hash = |word: &str| {
        let kind = word.split([':', '-']).next().unwrap_or_default();
        ["md5", "sha1", "sha256", "sha512", "blake3"].contains(&kind)
    };
    let mut kept = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(at) = rest.find("got") {
        let after = &rest[at + "got".len()..];
        let word = after.trim_start_matches([' ', ':', '\'']);
        let in_word = |c: char| c.is_ascii_alphanumeric() || "+/=:-_".contains(c);
        let end = word.find(|c| !in_word(c)).unwrap_or(word.len());
        let start = rest.len() - word.len();
        if is_hash(&word[..end]) {
            kept.push_str(&rest[..start]);
            kept.push_str("(not shown: a file of this machine)");
            rest = &word[end..];
        } else {
            kept.push_str(&rest[..start]);
            rest = word;
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

/// Returns whether Nix could not fetch something.
pub(super) fn is_about_fetching(message: &str) -> bool {
    [
        "unable to download",
        "cannot fetch",
        "failed to fetch",
        "Failed to fetch",
        "Could not resolve",
        "unable to access",
        "Could not read from remote repository",
        "Cannot find Git revision",
    ]
    .iter()
    .any(|text| message.contains(text))
}

/// Returns whether Nix or git misses a file or repository outside the store.
pub(super) fn is_about_missing_files(message: &str, store_dir: &str) -> bool {
    let status = "getting status of '/";
    let outside = |rest: &str| !format!("/{rest}").starts_with(&format!("{store_dir}/"));
    message.contains("does not appear to be a git repository")
        || (message.contains("Git repository") && message.contains("does not exist"))
        || message.split(status).skip(1).any(outside)
}

/// Returns whether Nix refused to build something during evaluation.
pub(super) fn is_about_import_from_derivation(message: &str) -> bool {
    message.contains("allow-import-from-derivation")
}

/// How Nix says that something could not be built. Versions differ.
const FAILED_BUILD: [&str; 8] = [
    "builder for '",
    "build of '",
    "build of resolved derivation",
    "Cannot build '",
    "some builds failed",
    "hash mismatch in fixed-output derivation",
    "a build of '",
    "unable to start any build",
];

/// Returns whether the error is that something could not be built.
pub(super) fn is_about_failed_build(message: &str) -> bool {
    let first = first_line(message);
    FAILED_BUILD.iter().any(|start| first.starts_with(start))
        || first.contains("dependencies of derivation '")
        || first.contains("is required to build '")
        || first.contains("failed to produce output path")
}

/// How Nix begins to say that an expression is wrong: errors of the language, which depend on nothing
/// else. Versions differ; what is missing here costs another evaluation, no more.
const LANGUAGE: [&str; 38] = [
    "an integer with value",
    "anonymous function",
    "assertion ",
    "attempt to call something",
    "attribute '",
    "cannot add ",
    "cannot append ",
    "cannot coerce ",
    "cannot compare ",
    "cannot convert ",
    "cannot decode ",
    "cannot divide ",
    "cannot multiply ",
    "cannot subtract ",
    "derivation name",
    "division by zero",
    "duplicate ",
    "dynamic attribute",
    "evaluation aborted with",
    "expected a ",
    "expected an ",
    "flake output",
    "function '",
    "infinite recursion encountered",
    "integer overflow",
    "invalid derivation name",
    "invalid regular expression",
    "list index",
    "required attribute",
    "stack overflow; max-call-depth exceeded",
    "syntax error",
    "the string '",
    "undefined variable",
    "unexpected argument",
    "value is ",
    "access to absolute path",
    "experimental Nix feature",
    "name '",
];

/// Returns whether the error is certainly the flake's: the same on any machine and at any time.
///
/// What is not certain counts as the machine's, and is not remembered.
pub(super) fn is_about_the_flake(message: &str, source: &str) -> bool {
    let first = first_line(message);
    LANGUAGE.iter().any(|start| first.starts_with(start))
        || first.contains("contains illegal character")
        || first.contains("called without required argument")
        || first.contains("called with unexpected argument")
        // A file that the flake does not have.
        || ((first.contains(&format!("{source}/")) || first.contains("«git+file:"))
            && (first.contains("does not exist") || first.contains("No such file or directory")))
}

/// What Nix says when the machine fails it.
const MACHINE: [&str; 20] = [
    "out of memory",
    "bad_alloc",
    "Cannot allocate memory",
    "No space left on device",
    "Disk quota exceeded",
    "database or disk is full",
    "Read-only file system",
    "readonly database",
    "Input/output error",
    "executing SQLite statement",
    "creating SQLite statement",
    "SQLite database",
    "could not set permissions on '",
    "creating directory '",
    "Too many open files",
    "Resource temporarily unavailable",
    "Connection refused",
    "cannot connect to",
    "Permission denied",
    "interrupted by the user",
];

/// Returns whether the error may be the machine's.
///
/// The other way round than [`is_about_the_flake`]: for where a message that nobody knows is more
/// likely a `throw`, and nothing is remembered.
pub(super) fn may_be_the_machines(message: &str) -> bool {
    is_about_fetching(message) || is_about_failed_build(message) || names_the_machine(message)
}

/// Returns whether Nix says what the machine lacks or refuses.
pub(super) fn names_the_machine(message: &str) -> bool {
    MACHINE.iter().any(|text| message.contains(text))
}

/// What Nix and git say of a host that is away or ails.
const OUTAGE: [&str; 16] = [
    "Could not resolve",
    "Couldn't resolve",
    "Could not connect",
    "Couldn't connect",
    "Failed to connect",
    "cannot connect to",
    "Connection refused",
    "Connection reset",
    "Connection timed out",
    "Timeout was reached",
    "Operation timed out",
    "Operation too slow",
    "HTTP error 5",
    "HTTP error 429",
    "returned error: 5",
    "returned error: 429",
];

/// Returns whether something is away that may come back by itself.
pub(super) fn is_outage(message: &str) -> bool {
    OUTAGE.iter().any(|text| message.contains(text))
}

fn first_line(message: &str) -> &str {
    let text = message.trim_start();
    let text = text.strip_prefix("error:").unwrap_or(text).trim_start();
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_places_relative_to_the_tree() {
        let message = "error: bad\n\n       at /s/h-source/flake.nix:3:5:\n  in /s/h-source  \n";
        assert_eq!(
            clean(message, Some("/s/h-source")),
            "bad\n       at flake.nix:3:5:\n  in /s/h-source"
        );
        let message = "error:\n  at «git+file:///srv/x?ref=r&rev=1»/flake.nix:2:1: «git+file:x";
        assert_eq!(clean(message, None), "at flake.nix:2:1: «git+file:x");
    }

    #[test]
    fn what_the_machine_cannot_write_is_not_the_flakes() {
        for message in [
            "executing SQLite statement 'insert or replace into Cache(input) values ('{}')': attempt to write a readonly database (in '/home/u/.cache/nix/fetcher-cache-v1.sqlite')",
            "could not set permissions on '/nix/var/nix/profiles/per-user' to 755: Read-only file system",
            "creating directory '/home/u/.cache/nix': Read-only file system",
            "opening lock file '/home/u/.cache/nix/x.lock': Read-only file system",
            "writing to file: Disk quota exceeded",
        ] {
            assert!(may_be_the_machines(message), "{message}");
        }
        assert!(!may_be_the_machines("undefined variable 'directory'"));
    }

    #[test]
    fn what_is_away_may_come_back_and_what_is_refused_does_not() {
        for (message, expected) in [
            ("unable to download 'https://x/y': HTTP error 503\n\n       response body:", true),
            ("unable to download 'https://x/y': Could not resolve host: x (6)", true),
            ("unable to download 'https://x/y': Timeout was reached (28)", true),
            ("unable to download 'https://x/y': HTTP error 404", false),
            ("unable to download 'https://x/y': HTTP error 401", false),
            ("unable to access 'https://x/y/': The requested URL returned error: 502", true),
            ("unable to access 'https://x/y/': The requested URL returned error: 403", false),
            ("cannot connect to socket at '/nix/var/nix/daemon-socket/socket'", true),
            ("undefined variable 'x'", false),
            ("hash mismatch in file downloaded from 'https://x/y'", false),
        ] {
            assert_eq!(is_outage(message), expected, "{message}");
        }
    }

    #[test]
    fn hides_places_in_our_own_expression() {
        let message = "error: bad\n\n   at «string»:7:2:\n\n     6| x\n      | ^\n     7|\n\n   at /s/h/a.nix:1:2:\n\n     1| y";
        assert_eq!(clean(message, Some("/s/h")), "bad\n   at a.nix:1:2:\n     1| y");
        assert_eq!(clean("error: bad\n\n   at «string»:7:2:\n\n     6| x", None), "bad");
    }

    #[test]
    fn hides_what_is_evaluated_in_our_own_expression() {
        // As Nix 2.26 and 2.34 say it, after the store has put the error first.
        let message = "error: no flour\n\n       … while evaluating attribute 'found'\n         at «string»:1:71:\n            1| (x: x)\n             |  ^\n\n       … while calling 'f'\n         at /s/h/flake.nix:1:2:\n            1| y\n\n       … while evaluating list element at index 0\n         at «string»:1:7:\n            1| z\n             | ^";
        assert_eq!(
            clean(message, Some("/s/h")),
            "no flour\n\n       … while calling 'f'\n         at flake.nix:1:2:\n            1| y"
        );
    }

    #[test]
    fn hashes_of_files_of_this_machine_are_not_told() {
        for (message, hidden) in [
            (
                "hash mismatch in file downloaded from 'file:///x':\n  specified: sha256:0a\n  got:       sha256:1b",
                "1b",
            ),
            (
                "hash mismatch in file downloaded from 'file:///x':\n  specified: sha256-0a=\n  got:       sha256-1b+/=\nend",
                "1b",
            ),
            (
                "NAR hash mismatch in input 'path:/x' (/s/h-source), expected 'sha256-0a=', got 'sha256-1b='",
                "1b",
            ),
            (
                "NAR hash mismatch in input 'git+file:///x?rev=1', expected 'sha256-0a=' but got 'sha256-1b='",
                "1b",
            ),
            (
                "mismatch in field 'narHash' of input 'path:/x', got 'sha256-1b=', expected 'sha256-0a='",
                "1b",
            ),
        ] {
            let shown = without_local_hashes(message);
            assert!(!shown.contains(hidden) && shown.contains("0a"), "{shown}");
            assert!(shown.contains("(not shown: a file of this machine)"), "{shown}");
        }
        for message in [
            "hash mismatch in file downloaded from 'https://h/x':\n  specified: sha256:0a\n  got:       sha256:1b",
            "hash mismatch in fixed-output derivation '/s/h-x.drv':\n  specified: sha256-0a=\n  got: sha256-1b=",
            "I got 'file:///x'",
        ] {
            assert_eq!(without_local_hashes(message), message);
        }
    }

    #[test]
    fn files_are_missing_outside_the_store_only() {
        let missing = |message: &str| is_about_missing_files(message, "/s");
        assert!(missing("error: getting status of '/x/y': No such file or directory"));
        assert!(missing("fatal: '/x' does not appear to be a git repository"));
        assert!(missing("error: Git repository \"/x\" does not exist"));
        assert!(!missing("error: getting status of '/s/h-source/x': No such file or directory"));
        assert!(!missing("error: path 'x' does not exist"));
    }

    #[test]
    fn shortens_in_the_middle() {
        let lines: Vec<String> = (1..=100).map(|n| n.to_string()).collect();
        let shown = clean(&lines.join("\n"), None);
        assert_eq!(shown.lines().count(), MAX_LINES);
        assert!(shown.starts_with("1\n2\n") && shown.ends_with("99\n100"));
        assert!(shown.contains("(… 61 lines left out …)"), "{shown}");
    }

    #[test]
    fn only_what_is_certainly_the_flakes_is_remembered() {
        for text in [
            "evaluation aborted with the following error message: 'x'",
            "attribute 'x' missing\n       at /s/h/flake.nix:1:2:",
            "cannot coerce an integer to a string: 5",
            "expected a set but found an integer: 1",
            "value is an integer while a set was expected",
            "an integer with value '1' is not equal to an integer with value '2'",
            "anonymous function at /s/h/flake.nix:2:3 called without required argument 'x'",
            "infinite recursion encountered",
            "stack overflow; max-call-depth exceeded",
            "getting status of '/s/h/nope.nix': No such file or directory",
            "path '«git+file:///r?rev=1»/nope.nix' does not exist",
            "store path 'h-not a name' contains illegal character ' '",
        ] {
            assert!(is_about_the_flake(&format!("error: {text}"), "/s/h"), "{text}");
        }
        for text in [
            "unable to download 'https://x': Couldn't resolve host name (6)",
            "cannot connect to socket at '/x': Connection refused",
            "cannot open connection to remote store 'daemon'",
            "writing to file: No space left on device",
            "out of memory",
            "stack overflow (possible infinite recursion)",
            "unexpected end-of-file",
            "program 'git' failed with exit code 128",
            "path '/s/other' does not exist and cannot be created",
            "unable to fork: Resource temporarily unavailable",
            "",
        ] {
            assert!(!is_about_the_flake(&format!("error: {text}"), "/s/h"), "{text}");
        }
    }

    #[test]
    fn failed_builds_are_told() {
        for text in [
            "builder for '/s/h-x.drv' failed with exit code 1;",
            "Cannot build '/s/h-x.drv'.",
            "1 dependencies of derivation '/s/h-x.drv' failed to build",
            "a 'aarch64-linux' with features {} is required to build '/s/h-x.drv'",
        ] {
            assert!(is_about_failed_build(&format!("error: {text}")), "{text}");
        }
        assert!(!is_about_failed_build("error: attribute 'builder for' missing"));
    }
}
