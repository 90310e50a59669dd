//! Why a build failed, in one line and in the same words on every version of Nix.
//!
//! Nix's message also tells the end of the log, the outputs and how to see the whole log; whoever
//! shows a failure has these already. Nothing is classified by these words: that is the status's.

/// Returns the reason in a message without colours.
pub(super) fn reason(message: &str) -> String {
    let message = message.trim();
    let message = message.strip_prefix("error: ").unwrap_or(message);
    // What a remote builder says is indented.
    let mut lines =
        message.lines().take_while(|line| !begins_the_log(line.trim_start())).peekable();
    let mut kept: Vec<String> = Vec::new();
    while let Some(line) = lines.next() {
        if line == "Output paths:" {
            while lines.next_if(|line| line.starts_with(' ')).is_some() {}
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        if !words.is_empty() {
            kept.push(words.join(" "));
        }
    }
    if let [cannot_build, why, ..] = kept.as_mut_slice()
        && cannot_build.starts_with("Cannot build '")
        && let Some(why) = why.strip_prefix("Reason: ")
    {
        kept[1] = why.to_owned();
        kept.remove(0);
    }
    let mut text = String::new();
    for line in kept {
        if !text.is_empty() {
            text.push_str(if text.ends_with(':') { " " } else { ", " });
        }
        text.push_str(&line);
    }
    let text = text.trim_end_matches([';', '.', ' ']);
    without_own_name(text)
}

/// Returns whether a reason is that no machine has the system or the features.
///
/// Nix 2.8 and 2.26 give this no status of its own.
pub(super) fn is_about_machines(reason: &str) -> bool {
    (reason.starts_with("a '") && reason.contains("} is required to build '"))
        || reason.starts_with("platform mismatch")
        || reason.starts_with("missing system features")
        || reason.starts_with("required system or feature not available")
}

/// `last 3 log lines:` (2.8, 2.26), `Last 3 log lines:` (2.34), and the line after these.
fn begins_the_log(line: &str) -> bool {
    let numbered =
        |rest: &str| rest.trim_start_matches(|c: char| c.is_ascii_digit()) == " log lines:";
    let last = line.strip_prefix("last ").or_else(|| line.strip_prefix("Last "));
    last.is_some_and(numbered) || line.starts_with("For full logs, run")
}

/// Leaves out which derivation it is about: everyone who shows it says so.
fn without_own_name(text: &str) -> String {
    if let Some(rest) = text.strip_prefix("builder for '")
        && let Some((_, rest)) = rest.split_once("' ")
    {
        return format!("builder {rest}");
    }
    if text.starts_with("building of '")
        && let Some((_, rest)) = text.split_once("' from .drv file ")
    {
        return rest.to_owned();
    }
    const MISMATCH: &str = "hash mismatch in fixed-output derivation";
    if let Some(rest) = text.strip_prefix(MISMATCH)
        && let Some((_, rest)) = rest.split_once("': ")
    {
        return format!("{MISMATCH}: {rest}");
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::{is_about_machines, reason};

    #[test]
    fn reasons_about_machines_are_known() {
        for said in [
            "a 'riscv64-none' with features {} is required to build '/nix/store/x-far.drv', but I am a 'x86_64-linux' with features {kvm}",
            "Cannot build '/nix/store/x.drv'.\nReason: platform mismatch\nRequired system: 'a'\nCurrent system: 'b'",
            "Cannot build '/nix/store/x.drv'.\nReason: missing system features\nRequired features: {a}\nAvailable features: {b}",
        ] {
            assert!(is_about_machines(&reason(said)), "{said}");
        }
        assert!(!is_about_machines("builder failed with exit code 1"));
    }

    /// What three versions of Nix say about the same failures.
    #[test]
    fn every_version_gives_the_same_reason() {
        for (said, expected) in [
            (
                "builder for '/nix/store/x-exit.drv' failed with exit code 7;\nlast 2 log lines:\n> one\n> Reason: two\nFor full logs, run 'nix log /nix/store/x-exit.drv'.",
                "builder failed with exit code 7",
            ),
            (
                "Cannot build '/nix/store/x-exit.drv'.\nReason: builder failed with exit code 7.\nOutput paths:\n  /nix/store/y-exit\n  /nix/store/y-exit-dev\nLast 2 log lines:\n> one\n> two\nFor full logs, run:\n  nix log /nix/store/x-exit.drv",
                "builder failed with exit code 7",
            ),
            (
                "builder for '/nix/store/x-silent.drv' failed with exit code 1",
                "builder failed with exit code 1",
            ),
            (
                "Cannot build '/nix/store/x-signal.drv'.\nReason: builder failed due to signal 9 (Killed).\nOutput paths:\n  /nix/store/y-signal",
                "builder failed due to signal 9 (Killed)",
            ),
            (
                "hash mismatch in fixed-output derivation '/nix/store/x-src.drv':\n  specified: sha256-AAA=\n     got:    sha256-BBB=",
                "hash mismatch in fixed-output derivation: specified: sha256-AAA=, got: sha256-BBB=",
            ),
            (
                "output '/nix/store/y-r' is not allowed to refer to the following paths:\n  /nix/store/z-dep\n  /nix/store/z-other",
                "output '/nix/store/y-r' is not allowed to refer to the following paths: /nix/store/z-dep, /nix/store/z-other",
            ),
            (
                "builder for '/nix/store/x-none.drv' failed to produce output path for output 'out' at '/nix/store/y-none'",
                "builder failed to produce output path for output 'out' at '/nix/store/y-none'",
            ),
            (
                "building of '/nix/store/x-slow.drv^*' from .drv file timed out after 1 seconds",
                "timed out after 1 seconds",
            ),
            ("timed out after 1 seconds", "timed out after 1 seconds"),
            (
                "Cannot build '/nix/store/x-far.drv'.\nReason: platform mismatch\nRequired system: 'riscv64-none'\nCurrent system: 'x86_64-linux'",
                "platform mismatch, Required system: 'riscv64-none', Current system: 'x86_64-linux'",
            ),
            ("error: getting status of '/x': No such file", "getting status of '/x': No such file"),
            ("", ""),
            ("Cannot build 'x'.", "Cannot build 'x'"),
        ] {
            assert_eq!(reason(said), expected, "{said}");
        }
    }
}
