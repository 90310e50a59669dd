//! Nix's messages in one order, whatever its version.
//!
//! Nix 2.8 prints the error first. Newer versions print an empty `error:`, what was being evaluated
//! (`… while evaluating …`), and the error last. Here the error always comes first, with what was
//! being evaluated behind it. Knows nothing about what a message means. Start at [`arrange`].

use crate::ansi::strip_ansi;

/// How Nix begins the error that ended it.
const ERROR: &str = "error:";
/// How much Nix indents everything that belongs to an error.
const INDENT: &str = "       ";
/// What Nix says where there is only a loopback interface, which is no news in our namespaces.
const NO_INTERFACE: &str = "you don't have Internet access";
/// What Nix prints while it works, which is no part of an error.
const PROGRESS: [&str; 8] = [
    "trace:",
    "evaluating ",
    "building '",
    "copying ",
    "fetching ",
    "downloading ",
    "these ",
    "GC Warning:",
];

/// Parts what Nix printed into the error and its warnings.
pub(super) fn arrange(stderr: &str) -> (String, Vec<String>) {
    let text = strip_ansi(stderr);
    let mut lines = Vec::new();
    let mut warnings = Vec::new();
    for line in text.lines() {
        if let Some(warning) = line.strip_prefix("warning:") {
            if !warning.contains(NO_INTERFACE) {
                warnings.push(warning.trim().to_owned());
            }
        } else if !is_advice(line) {
            lines.push(line.trim_end());
        }
    }
    (in_order(&lines), warnings)
}

/// Returns whether Nix only says how to see more.
fn is_advice(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("(use '--show-trace'") || line.starts_with("(stack trace truncated")
}

fn in_order(lines: &[&str]) -> String {
    // Everything that belongs to an error is indented, so the last one that is not is the one that
    // ended the evaluation.
    let Some(start) = lines.iter().rposition(|line| line.starts_with(ERROR)) else {
        return lines.join("\n").trim().to_owned();
    };
    let (before, block) = lines.split_at(start);
    let mut text = match own_error(block) {
        // Its text, without the empty `error:` above.
        Some(at) => {
            let mut message = trimmed(&block[at..]).join("\n").trim_start().to_owned();
            let contexts = trimmed(&block[1..at]).join("\n");
            if !contexts.is_empty() {
                message.push_str("\n\n");
                message.push_str(&contexts);
            }
            message
        }
        None => trimmed(block).join("\n"),
    };
    // What other programs said, such as git, may be the reason. What the flake traced is not.
    let is_progress = |line: &str| PROGRESS.iter().any(|start| line.starts_with(start));
    let said: Vec<&str> = before.iter().copied().filter(|line| !is_progress(line)).collect();
    let said = trimmed(&said).join("\n");
    if !said.is_empty() {
        text.push_str("\n\n");
        text.push_str(&said);
    }
    text
}

/// Returns where the error itself stands, if what was being evaluated stands before it.
///
/// The text of an error may have lines that look the same: the first one counts.
fn own_error(block: &[&str]) -> Option<usize> {
    if block.first().is_none_or(|first| *first != ERROR) {
        return None;
    }
    let is_error = |line: &str| line.strip_prefix(INDENT).is_some_and(|l| l.starts_with(ERROR));
    let after_blank = (2..block.len()).find(|&at| is_error(block[at]) && block[at - 1].is_empty());
    after_blank.or_else(|| (1..block.len()).find(|&at| is_error(block[at])))
}

/// Returns lines without the empty ones at both ends.
fn trimmed<'a, 'b>(lines: &'a [&'b str]) -> &'a [&'b str] {
    let start = lines.iter().position(|line| !line.is_empty()).unwrap_or(lines.len());
    let end = lines.iter().rposition(|line| !line.is_empty()).map_or(start, |last| last + 1);
    &lines[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(stderr: &str) -> String {
        arrange(stderr).0
    }

    #[test]
    fn messages_are_parted_from_warnings() {
        let (message, warnings) = arrange(
            "\u{1b}[35;1mwarning:\u{1b}[0m unknown setting 'x'\n\u{1b}[31;1merror:\u{1b}[0m no\n\n   at here\n(use '--show-trace' to show detailed location information)\n",
        );
        assert_eq!(message, "error: no\n\n   at here");
        assert_eq!(warnings, ["unknown setting 'x'"]);
    }

    #[test]
    fn the_error_comes_first_on_every_version() {
        // As Nix 2.8, 2.26 and 2.34 print `throw "no flour"`.
        assert_eq!(
            message(
                "error: no flour\n(use '--show-trace' to show detailed location information)\n"
            ),
            "error: no flour"
        );
        let newer = "error:\n       … while evaluating attribute 'found'\n         at «string»:1:71:\n            1| (x: x)\n             |  ^\n\n       … while evaluating list element at index 0\n\n       (stack trace truncated; use '--show-trace' to show the full, detailed trace)\n\n       error: no flour\n";
        assert_eq!(
            message(newer),
            "error: no flour\n\n       … while evaluating attribute 'found'\n         at «string»:1:71:\n            1| (x: x)\n             |  ^\n\n       … while evaluating list element at index 0"
        );
    }

    #[test]
    fn an_error_keeps_its_lines_and_its_place() {
        let older = "error: one\n       two\n       error: three\n(use '--show-trace' to show detailed location information)\n";
        assert_eq!(message(older), "error: one\n       two\n       error: three");
        let newer = "error:\n       … while calling the 'throw' builtin\n         at /s/flake.nix:1:2:\n            1| throw\n             | ^\n\n       error: one\n\n       error: three\n       at /s/flake.nix:2:3:\n            2| x\n";
        assert!(
            message(newer).starts_with(
                "error: one\n\n       error: three\n       at /s/flake.nix:2:3:\n            2| x\n\n       … while calling the 'throw' builtin\n"
            ),
            "{}",
            message(newer)
        );
        // Without anything that was being evaluated, newer versions print it as older ones do.
        let plain = "error: syntax error, unexpected '}'\n       at «string»:1:3:\n            1| { }}\n             |   ^\n";
        assert_eq!(message(plain), plain.trim_end());
    }

    #[test]
    fn what_the_flake_traces_is_not_the_error() {
        let older = "trace: hello\nworld\nerror: after trace\n(use '--show-trace' to show detailed location information)\n";
        assert_eq!(message(older), "error: after trace\n\nworld");
        assert_eq!(message("trace: error: not yet\nerror: no\n"), "error: no");
    }

    #[test]
    fn what_other_programs_say_is_kept_behind() {
        let said = "fatal: couldn't find remote ref refs/heads/x\nerror: program 'git' failed with exit code 128\n";
        assert_eq!(
            message(said),
            "error: program 'git' failed with exit code 128\n\nfatal: couldn't find remote ref refs/heads/x"
        );
        assert_eq!(message("bwrap: no permission\n"), "bwrap: no permission");
        assert_eq!(message(""), "");
    }
}
