//! A whole build in one command: unpack, restore, run the build's own program, persist.
//!
//! For derivations without phases. The program's exit code is the build's, and nothing is kept
//! unless it is 0. What `--restore` and `--persist` take is what the commands of these names take,
//! so that there is one place that says what a set can be told.

pub(crate) mod place;
mod unpack;

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser as _;

use self::place::Numbered;
use self::unpack::UnpackError;
use crate::Failure;
use crate::args::{Arguments, Build, Command, Persist, Restore};
use crate::replaying;

/// Why the build's own program was not started, or nothing was kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error(
        "no program to start\nhint: end the command with `-- PROGRAM ARGUMENT…`, the build as it would be without a cache"
    )]
    NoProgram,
    #[error(
        "expected `--restore`, `--persist` or `--`, found `{}`\nhint: options of a set come after its `--restore NAME` or `--persist NAME PATH…`", .0.to_string_lossy()
    )]
    Word(OsString),
    #[error("in `{section}`: {problem}")]
    Section {
        /// The words from `--restore` or `--persist` on.
        section: String,
        /// What the command of that name says of them.
        problem: String,
    },
    #[error(
        "nowhere to unpack to: there is no variable `NIX_BUILD_TOP`\nhint: name a directory with `--directory`, the same in every build"
    )]
    NoPlace,
    #[error("cannot start again in the fixed build directory: {0}")]
    Settle(#[source] std::io::Error),
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    #[error("cannot start `{}`: {source}", .program.to_string_lossy())]
    Start {
        /// The program.
        program: OsString,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// What the words after `build` ask for.
#[derive(Debug)]
struct Plan {
    restores: Vec<Restore>,
    persists: Vec<Persist>,
    program: OsString,
    arguments: Vec<OsString>,
}

/// Does a whole build; returns the exit code of its program, or a failure of our own.
pub(crate) fn build(command: Build) -> Result<ExitCode, Failure> {
    // Read before anything is done, so that a wrong option does not show after hours of building.
    if command.place_only {
        settle()?;
        return match &command.replay_to {
            Some(_) => replaying::build(&command, words_after(&command.words)?, Vec::new()),
            None => Err(replace(&command.words).into()),
        };
    }
    if command.replay_to.is_some() {
        let words = words_after(&command.words)?;
        settle()?;
        unpack(&command)?;
        return replaying::build(&command, words, variables(&command.directory_variable)?);
    }
    let Plan { restores, persists, program, arguments } = plan(command.words.clone())?;
    settle()?;
    unpack(&command)?;
    for restore in restores {
        let code = crate::restore(restore)?;
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
    }
    let code = start(&program, &arguments, &command.directory_variable)?;
    if code != ExitCode::SUCCESS {
        return Ok(code);
    }
    for persist in persists {
        crate::persist(persist)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Gives the build directory a name that is the same in every build, if it has none and that can be.
fn settle() -> Result<(), Failure> {
    let Some(top) = env::var_os("NIX_BUILD_TOP") else { return Ok(()) };
    let Some(numbered) = Numbered::find(Path::new(&top)) else { return Ok(()) };
    match numbered.probe() {
        // After half of it there is no way back.
        Ok(()) => Err(BuildError::Settle(numbered.start_again()).into()),
        Err(error) => crate::say(&format!(
            "levain-cache: the build directory has another name in every build, and no other can be had: {error}\nhint: build in Nix's sandbox, or allow user namespaces\n"
        )),
    }
}

/// Copies the sources, if there are any to copy, and goes there.
fn unpack(command: &Build) -> Result<(), BuildError> {
    let Some(source) = &command.unpack else { return Ok(()) };
    let top = env::var_os("NIX_BUILD_TOP").map(|top| Path::new(&top).join("source"));
    let tree = command.directory.clone().or(top).ok_or(BuildError::NoPlace)?;
    enter(source, &tree)
}

/// Copies sources and goes there.
fn enter(source: &Path, tree: &Path) -> Result<(), BuildError> {
    unpack::unpack(source, tree)?;
    let failed = UnpackError::on("enter", tree);
    Ok(env::set_current_dir(tree).map_err(failed)?)
}

/// Returns the program with its arguments.
fn words_after(words: &[OsString]) -> Result<&[OsString], BuildError> {
    let words = words.strip_prefix(&[OsString::from("--")]).unwrap_or(words);
    if words.is_empty() { Err(BuildError::NoProgram) } else { Ok(words) }
}

fn plan(words: Vec<OsString>) -> Result<Plan, BuildError> {
    let mut words = words.into_iter();
    let mut sections: Vec<Vec<OsString>> = Vec::new();
    for word in words.by_ref().take_while(|word| word != "--") {
        let starts = word == "--restore" || word == "--persist";
        match sections.last_mut() {
            Some(section) if !starts => section.push(word),
            None if !starts => return Err(BuildError::Word(word)),
            Some(_) | None => sections.push(vec![word]),
        }
    }
    let program = words.next().ok_or(BuildError::NoProgram)?;
    let mut plan =
        Plan { restores: Vec::new(), persists: Vec::new(), program, arguments: words.collect() };
    for section in sections {
        match command(&section)? {
            Command::Restore(restore) => plan.restores.push(restore),
            Command::Persist(persist) => plan.persists.push(persist),
            // The section's first word chose, and it is one of two.
            Command::Inspect(_)
            | Command::Build(_)
            | Command::Explain(_)
            | Command::ProbePlace(_)
            | Command::Replay(_) => {}
        }
    }
    Ok(plan)
}

/// Reads a section as the command of its name.
fn command(section: &[OsString]) -> Result<Command, BuildError> {
    let name =
        if section.first().is_some_and(|word| word == "--restore") { "restore" } else { "persist" };
    let line = [OsStr::new("levain-cache"), OsStr::new(name)].into_iter();
    let line = line.chain(section.iter().skip(1).map(OsString::as_os_str));
    match Arguments::try_parse_from(line) {
        Ok(Arguments { command }) => Ok(command),
        Err(error) => {
            let words: Vec<_> = section.iter().map(|word| word.to_string_lossy()).collect();
            let problem = error.to_string();
            let problem = problem.trim_end().trim_start_matches("error: ").to_owned();
            Err(BuildError::Section { section: words.join(" "), problem })
        }
    }
}

/// Becomes the build's own program; returns only if that fails.
#[expect(
    clippy::disallowed_methods,
    reason = "the program is the build's own, inside the build, where no more may be done than by the build itself"
)]
fn replace(words: &[OsString]) -> BuildError {
    let Some((program, arguments)) = words.split_first() else { return BuildError::NoProgram };
    let source = std::process::Command::new(program).args(arguments).exec();
    BuildError::Start { program: program.clone(), source }
}

/// Returns the variables that are set beside this process's own.
fn variables(directories: &[(OsString, PathBuf)]) -> Result<Vec<(OsString, OsString)>, BuildError> {
    let here = env::current_dir().map_err(UnpackError::on("find", Path::new(".")))?;
    let own = directories.iter().map(|(name, directory)| (name.clone(), here.join(directory)));
    // What Nix left there names the directory above the sources.
    let place = ("PWD".into(), here.clone());
    Ok(own.chain([place]).map(|(name, value)| (name, value.into_os_string())).collect())
}

/// Runs the build's own program with this process's environment.
#[expect(
    clippy::disallowed_methods,
    reason = "the program is the build's own, inside the build, where no more may be done than by the build itself"
)]
fn start(
    program: &OsStr,
    arguments: &[OsString],
    directories: &[(OsString, PathBuf)],
) -> Result<ExitCode, BuildError> {
    let failed = |source| BuildError::Start { program: program.to_owned(), source };
    let mut command = std::process::Command::new(program);
    command.args(arguments);
    command.envs(variables(directories)?);
    let status = command.status().map_err(failed)?;
    // As a shell tells of a signal.
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn sections_are_commands() {
        let plan = plan(words(
            "--restore a --from /c --gone drop --persist a x y --persist b z -- sh -c -- --restore",
        ))
        .unwrap();
        assert_eq!(plan.restores.len(), 1);
        assert_eq!(plan.restores[0].from.as_deref(), Some("/c"));
        let paths: Vec<_> = plan.persists.iter().map(|persist| persist.paths.clone()).collect();
        assert_eq!(paths, [vec![PathBuf::from("x"), "y".into()], vec!["z".into()]]);
        assert_eq!(plan.program, "sh");
        assert_eq!(plan.arguments, ["-c", "--", "--restore"]);
    }

    #[test]
    fn wrong_words_are_errors() {
        for (text, expected) in [
            ("--restore a", "no program to start"),
            ("--restore a --", "no program to start"),
            ("make", "found `make`"),
            ("--gone drop -- make", "found `--gone`"),
            ("--restore a --gon drop -- make", "in `--restore a --gon drop`: unexpected argument"),
            ("--persist a -- make", "in `--persist a`: the following required"),
        ] {
            let error = plan(words(text)).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_build_may_be_nothing_but_its_program() {
        let line = words("levain-cache build --place-only -- make -- --restore a");
        let Command::Build(build) = Arguments::try_parse_from(line).unwrap().command else {
            panic!("expected the command `build`");
        };
        assert!(build.place_only);
        assert_eq!(build.words, words("make -- --restore a"));
    }

    #[test]
    fn clap_leaves_the_words_alone() {
        let line =
            words("levain-cache build --unpack /s --restore a --from /c -- make -- --unpack");
        let Command::Build(build) = Arguments::try_parse_from(line).unwrap().command else {
            panic!("expected the command `build`");
        };
        assert_eq!(build.unpack, Some(PathBuf::from("/s")));
        assert_eq!(build.words, words("--restore a --from /c -- make -- --unpack"));
    }
}
