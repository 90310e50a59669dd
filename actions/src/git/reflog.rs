//! What git writes into its reflogs: how each head got its value.

use std::collections::HashSet;
use std::path::Path;

use git2::Oid;

/// How a reflog says that a commit was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Making {
    /// On top of what was there, by hand.
    Commit,
    /// From what was there and other commits.
    Merge,
    /// In place of what was there.
    Amend,
}

/// A line of a reflog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogLine {
    pub(super) before: Oid,
    pub(super) after: Oid,
    pub(super) message: String,
}

/// Reads a reflog from its file, the oldest line first. Without one there is no evidence.
pub(super) fn read_log(path: &Path) -> Vec<LogLine> {
    let bytes = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).lines().filter_map(LogLine::parse).collect()
}

impl LogLine {
    /// Reads `BEFORE AFTER WHO TIME ZONE<tab>MESSAGE`.
    fn parse(line: &str) -> Option<Self> {
        let (values, message) = line.split_once('\t')?;
        let mut values = values.split(' ');
        let mut value = || Oid::from_str(values.next().filter(|text| text.len() == 40)?).ok();
        Some(Self { before: value()?, after: value()?, message: message.to_owned() })
    }
}

/// Returns what was committed while a rebase was under way, whatever the log of HEAD calls it.
///
/// Where it stopped at a conflict, `git commit` commits what was to be replayed.
pub(super) fn replayed(log: &[LogLine]) -> HashSet<Oid> {
    let mut found = HashSet::new();
    let mut is_replaying = false;
    for line in log {
        let (command, rest) = line.message.split_once(": ").unwrap_or((&line.message, ""));
        let is_rebase = command.split([' ', ':']).next() == Some("rebase");
        let ends = command.ends_with(" (finish)") || command.ends_with(" (abort)");
        if (ends && (rest.starts_with("returning to ") || rest.starts_with("updating ")))
            || command == "rebase finished"
        {
            is_replaying = false;
        } else if is_rebase || command.ends_with(" (start)") {
            is_replaying = true;
        } else if is_replaying && Making::of(&line.message).is_some() {
            found.insert(line.after);
        }
    }
    found
}

impl Making {
    /// Reads the message that git wrote into the reflog.
    ///
    /// Git begins it with the command and a colon, so that no subject of a commit and no name of a branch can pose as
    /// another command. What replays or imports changes (`rebase`, `cherry-pick`, `am`, `revert`) is not taken: whose
    /// changes they were is not on record.
    pub(super) fn of(message: &str) -> Option<Self> {
        let (command, rest) = message.split_once(": ")?;
        match command {
            "commit" | "commit (initial)" => return Some(Self::Commit),
            "commit (merge)" => return Some(Self::Merge),
            "commit (amend)" => return Some(Self::Amend),
            _ => {}
        }
        let verb = command.split(' ').next()?;
        let merged = rest.starts_with("Merge made by the '") && rest.ends_with(" strategy.");
        (matches!(verb, "merge" | "pull") && merged).then_some(Self::Merge)
    }
}

/// How a reflog says that commits of others arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// A head was moved to them.
    Moved,
    /// They were merged into what was there.
    Merged,
}

impl Arrival {
    pub(super) fn of(message: &str, remotes: &[String]) -> Option<Self> {
        let (command, rest) = message.split_once(": ")?;
        let is_foreign = |name: &str| {
            name.starts_with("FETCH_HEAD")
                || (name.starts_with("refs/") && !name.starts_with("refs/heads/"))
                || name.split_once('/').is_some_and(|(first, _)| {
                    first == "remotes" || remotes.iter().any(|remote| remote == first)
                })
        };
        let (verb, operand) = command.split_once(' ').unwrap_or((command, ""));
        let foreign = match verb {
            "fetch" | "pull" => true,
            "merge" => is_foreign(operand),
            "branch" | "checkout" | "reset" => rest.rsplit(' ').next().is_some_and(is_foreign),
            _ => false,
        };
        let merged = rest.starts_with("Merge made by ");
        foreign.then_some(if merged { Self::Merged } else { Self::Moved })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reflogs_say_what_was_made_here() {
        for (message, making) in [
            ("commit: subject", Some(Making::Commit)),
            ("commit (initial): first", Some(Making::Commit)),
            ("commit (amend): again", Some(Making::Amend)),
            ("commit (merge): with conflicts", Some(Making::Merge)),
            ("merge topic: Merge made by the 'ort' strategy.", Some(Making::Merge)),
            ("pull: Merge made by the 'ort' strategy.", Some(Making::Merge)),
            ("merge topic: Fast-forward", None),
            ("pull: Fast-forward", None),
            ("commit (cherry-pick): theirs", None),
            ("cherry-pick: commit: theirs", None),
            ("rebase (pick): commit: theirs", None),
            ("am: commit: theirs", None),
            ("checkout: moving from commit: to x", None),
            ("clone: from commit: x", None),
            ("commit", None),
            ("", None),
        ] {
            assert_eq!(Making::of(message), making, "{message}");
        }
    }

    fn line(after: char, message: &str) -> LogLine {
        let text = after.to_string().repeat(40);
        let after = Oid::from_str(&text).unwrap();
        LogLine { before: Oid::ZERO_SHA1, after, message: message.to_owned() }
    }

    #[test]
    fn lines_of_reflogs_are_read() {
        let (zero, one) = ("0".repeat(40), "1".repeat(40));
        let text = format!("{zero} {one} A U <a@b> 1700000000 +0000\tcommit (initial): a\tb: c");
        assert_eq!(LogLine::parse(&text), Some(line('1', "commit (initial): a\tb: c")));
        for text in [String::new(), format!("{zero} {one} A\n"), format!("{one} abc A\tcommit: x")]
        {
            assert_eq!(LogLine::parse(&text), None, "{text}");
        }
    }

    #[test]
    fn what_is_committed_during_a_rebase_was_replayed() {
        let log = |messages: &[&str]| {
            let lines = messages.iter().zip('a'..'g').map(|(message, id)| line(id, message));
            let found = replayed(&lines.collect::<Vec<_>>());
            let letters = found.iter().filter_map(|id| id.to_string().chars().next());
            let mut letters: Vec<char> = letters.collect();
            letters.sort_unstable();
            letters.into_iter().collect::<String>()
        };
        for (messages, found) in [
            (&["commit: 1", "commit (amend): 2"][..], ""),
            (&["commit: 1", "rebase (start): checkout main", "commit: 2"], "c"),
            (
                &[
                    "rebase (start): checkout main",
                    "commit: theirs",
                    "commit (amend): theirs",
                    "rebase (pick): more",
                    "rebase (finish): returning to refs/heads/x",
                    "commit: mine",
                ],
                "bc",
            ),
            (&["rebase (start): checkout x", "rebase (abort): updating HEAD", "commit: mine"], ""),
            (
                &[
                    "rebase -i (start): checkout x",
                    "commit: x",
                    "rebase -i (abort): returning to y",
                ],
                "b",
            ),
            (&["pull --rebase origin main (start): checkout 12", "commit: theirs"], "b"),
            (
                &[
                    "rebase: checkout main",
                    "commit: theirs",
                    "rebase finished: returning to refs/heads/x",
                    "commit: mine",
                ],
                "b",
            ),
            // A subject is no command.
            (&["commit: rebase (start): checkout x", "commit: mine"], ""),
            (
                &[
                    "rebase (start): checkout x",
                    "commit: rebase (finish): returning to x",
                    "commit: y",
                ],
                "bc",
            ),
            (&["rebase (start): checkout x", "checkout: moving from x to y", "commit: y"], "c"),
        ] {
            assert_eq!(log(messages), found, "{messages:?}");
        }
    }

    #[test]
    fn reflogs_say_what_arrived() {
        use Arrival::{Merged, Moved};
        let remotes = ["origin".to_owned(), "fork".to_owned()];
        for (message, arrival) in [
            ("fetch origin refs/pull/7/head:patch: storing head", Some(Moved)),
            ("pull origin refs/pull/7/head: Fast-forward", Some(Moved)),
            ("pull /elsewhere: Merge made by the 'ort' strategy.", Some(Merged)),
            ("merge FETCH_HEAD: Fast-forward", Some(Moved)),
            ("merge origin/pr/7: Merge made by the 'ort' strategy.", Some(Merged)),
            ("merge topic: Fast-forward", None),
            ("branch: Created from FETCH_HEAD", Some(Moved)),
            ("branch: Created from fork/topic", Some(Moved)),
            ("branch: Created from refs/remotes/origin/pr/7", Some(Moved)),
            ("branch: Created from refs/heads/main", None),
            ("branch: Created from feature/main", None),
            ("branch: Created from HEAD", None),
            ("checkout: moving from main to remotes/origin/pr/7", Some(Moved)),
            ("checkout: moving from main to topic", None),
            ("reset: moving to FETCH_HEAD", Some(Moved)),
            ("commit: moving to FETCH_HEAD", None),
        ] {
            assert_eq!(Arrival::of(message, &remotes), arrival, "{message}");
        }
    }
}
