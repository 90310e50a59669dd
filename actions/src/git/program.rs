//! The one place that starts the `git` program.
//!
//! What it does for us: the network ([`super::remote`]), and deleting refs, where libgit2 is not safe (see
//! [`super::references`]). Everything a user's machine could change about it is pinned here.

use std::path::Path;
use std::process::{Command, Stdio};

/// Variables that git sets for its hooks: levain may run in one, and must not take their repository for its own.
const FOREIGN: [&str; 13] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_QUARANTINE_PATH",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "LANGUAGE",
    // Secrets of levain that are none of git's business, nor its hooks' and helpers'.
    "LEVAIN_SIGNING_KEY",
    "LEVAIN_SIGNING_KEY_FILE",
];

/// Returns the command `git VERB` for a repository, with settings for this call alone.
#[expect(
    clippy::disallowed_methods,
    reason = "this file is the one that runs git; see the head of the file"
)]
pub(super) fn git(repository: &Path, verb: &str, settings: Vec<(String, String)>) -> Command {
    let mut command = Command::new("git");
    command.arg("--git-dir").arg(repository).arg(verb);
    command.stdin(Stdio::null());
    for name in FOREIGN {
        command.env_remove(name);
    }
    // Messages are parsed, so they must not be translated.
    command.env("LC_ALL", "C");
    // Nobody is there to answer: not on the terminal, not in a window (an empty program counts as none).
    command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_ASKPASS", "");
    command.env("SSH_ASKPASS_REQUIRE", "never").env("GCM_INTERACTIVE", "never");
    configure(&mut command, settings);
    command
}

/// Adds settings through the environment, where others cannot read them, after those that are there already.
fn configure(command: &mut Command, settings: Vec<(String, String)>) {
    let pinned = [
        // No hook of the user's runs on levain's own ref updates. The other side's hooks do: git clears this for it.
        ("core.hooksPath", "/dev/null"),
        // Git would start a collection in the background, which would outlive us.
        ("gc.auto", "0"),
        ("maintenance.auto", "false"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let there: usize =
        std::env::var("GIT_CONFIG_COUNT").ok().and_then(|count| count.parse().ok()).unwrap_or(0);
    let mut count = there;
    for (key, value) in pinned.into_iter().chain(settings) {
        command.env(format!("GIT_CONFIG_KEY_{count}"), key);
        command.env(format!("GIT_CONFIG_VALUE_{count}"), value);
        count += 1;
    }
    command.env("GIT_CONFIG_COUNT", count.to_string());
}
