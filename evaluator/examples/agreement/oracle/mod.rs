//! Real Nix, asked in two ways: one process per question, or a session that takes many.

mod repl;

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result};

pub(crate) use repl::{Repl, as_printed};

use crate::answer::Answer;

/// How many bytes Nix may have.
const MOST_MEMORY: &str = "6000000000";

/// What Nix says when that is not enough: as little an answer as a crash.
const OUT_OF_MEMORY: &str = "error: out of memory";

/// Prepares a Nix program with surroundings of its own: it writes to no store and reads no
/// configuration of the user's.
pub(crate) fn program(name: &str, scratch: &Path) -> Command {
    let mut command = Command::new(name);
    command
        .env("HOME", scratch)
        // A store of its own whose paths look like those of the usual one.
        .env("NIX_REMOTE", format!("local?root={}/root", scratch.display()))
        .env("NIX_STORE_DIR", "/nix/store")
        .env("NIX_CONF_DIR", scratch)
        .env("NIX_USER_CONF_FILES", "")
        .env("NO_COLOR", "1")
        // Random expressions can ask for more memory than there is.
        .env("GC_MAXIMUM_HEAP_SIZE", MOST_MEMORY)
        .env_remove("NIX_PATH")
        .env_remove("NIX_CONFIG");
    command
}

/// Reads a finished program's answer.
pub(crate) fn answer(output: &Output) -> Answer {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        Answer::Value(String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned())
    } else if output.status.code().is_none() || error.contains(OUT_OF_MEMORY) {
        Answer::Died(error)
    } else {
        Answer::Failure(error)
    }
}

/// Evaluates with `nix-instantiate`.
pub(crate) fn instantiate(scratch: &Path, arguments: &[&str]) -> Result<Answer> {
    let output = program("nix-instantiate", scratch)
        .args(arguments)
        .output()
        .context("cannot start `nix-instantiate`")?;
    Ok(answer(&output))
}

/// Returns Nix's version, as in `2.8.0`.
pub(crate) fn version(scratch: &Path) -> Result<String> {
    let output = program("nix", scratch).arg("--version").output().context("cannot start `nix`")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.split_whitespace().last().unwrap_or("unknown").to_owned())
}
