//! Builds of which the commands are skipped that are known: `levain-cache replay`, and `build --replay-to`.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use levain_cache::replay::{Explanation, PACK, Replayed, Request};
use levain_trace::Ended;

use crate::args::{Build, Explain, Replay};
use crate::{Failure, outputs, say, store};

/// Runs the command `replay`; ends as the build ended.
pub(crate) fn replay(command: Replay) -> Result<ExitCode, Failure> {
    let mut words = command.words.into_iter();
    let program = words.next().unwrap_or_default();
    let request = Request {
        program: found(Path::new(&program)),
        arguments: std::iter::once(program).chain(words).collect(),
        environment: env::vars_os().collect(),
        from: command.from,
        to: command.to,
        top: top()?,
        own: own(&outputs().into_iter().map(|output| output.path).collect::<Vec<_>>()),
        store: store(),
    };
    let replayed = levain_cache::replay::replay(&request)?;
    if let Some(file) = &command.explain {
        std::fs::write(file, replayed.explanation.text())?;
    }
    say(&replayed.summary)?;
    replayed.ended.end_alike()
}

/// Shows what became of each command of the build that made a cache.
pub(crate) fn explain(command: &Explain) -> Result<ExitCode, Failure> {
    let explanation = Explanation::read(&command.cache)?;
    let text = match command.json {
        true => serde_json::to_string_pretty(&explanation)? + "\n",
        false => explanation.text(),
    };
    say(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the program of a whole build, and says in a line what was skipped.
pub(crate) fn build(
    command: &Build,
    words: &[OsString],
    variables: Vec<(OsString, OsString)>,
) -> Result<ExitCode, Failure> {
    let started = Instant::now();
    let is_named = |from: &&OsString| !from.is_empty() && *from != "null";
    let from: Vec<PathBuf> = command
        .replay_from
        .iter()
        .filter(is_named)
        .map(|from| Path::new(from).join(PACK))
        .collect();
    let was_given = !from.is_empty();
    let to = command.replay_to.as_ref().map(|to| to.join(PACK));
    if let Some(parent) = to.as_deref().and_then(Path::parent) {
        std::fs::create_dir_all(parent)?;
    }
    let mut own_outputs = command.own_output.clone();
    if own_outputs.is_empty() {
        own_outputs = outputs().into_iter().map(|output| output.path).collect();
    }
    let mut environment: Vec<(OsString, OsString)> = env::vars_os().collect();
    environment.retain(|(name, _)| variables.iter().all(|(other, _)| other != name));
    environment.extend(variables);
    let program = words.first().map_or(OsStr::new(""), OsString::as_os_str);
    let request = Request {
        program: found(Path::new(program)),
        arguments: words.to_vec(),
        environment,
        from,
        to,
        top: top()?,
        own: own(&own_outputs),
        store: store(),
    };
    let replayed = levain_cache::replay::replay(&request)?;
    say(&told(&replayed, was_given, started.elapsed().as_secs_f64()))?;
    match replayed.ended {
        Ended::Exited(code) => Ok(ExitCode::from(code)),
        // As a shell tells of a signal.
        Ended::Killed { signal } => {
            Ok(ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX)))
        }
    }
}

/// Says what became of the build's commands, in the words by which levain reads it back.
fn told(replayed: &Replayed, was_given: bool, seconds: f64) -> String {
    let Replayed { skipped, ran, saved_seconds, problems, .. } = replayed;
    let mut text: String = problems
        .iter()
        .map(|problem| format!("levain-cache: {}\n", problem.replace('\n', " ")))
        .collect();
    let counts =
        format!("{skipped} commands skipped ({saved_seconds:.1} s), {ran} run; {seconds:.1} s");
    text.push_str(&match (skipped, was_given) {
        (0, false) => {
            "levain-cache: not restored commands: no cache was given; clean build\n".to_owned()
        }
        (0, true) => {
            "levain-cache: not restored commands: none is as it was; clean build\n".to_owned()
        }
        (_, _) => format!("levain-cache: restored commands: {counts}\n"),
    });
    text.push_str(&format!("levain-cache: persisted commands: {counts}\n"));
    text
}

fn own(outputs: &[PathBuf]) -> Vec<Vec<u8>> {
    let store = store();
    let names = outputs.iter().filter_map(|output| output.strip_prefix(&store).ok());
    names.map(|name| name.as_os_str().as_bytes().to_vec()).collect()
}

/// Returns Nix's build directory, or else the current one.
fn top() -> Result<PathBuf, Failure> {
    let top = env::var_os("NIX_BUILD_TOP").map(PathBuf::from);
    Ok(top.map_or_else(env::current_dir, Ok)?.canonicalize()?)
}

/// Looks for a program as a shell does.
fn found(program: &Path) -> PathBuf {
    if !program.as_os_str().as_bytes().contains(&b'/')
        && let Some(path) = env::var_os("PATH")
    {
        let candidates = env::split_paths(&path).map(|directory| directory.join(program));
        if let Some(found) = candidates.into_iter().find(|candidate| candidate.is_file()) {
            return found;
        }
    }
    program.to_owned()
}
