//! The program `levain-cache`: reads the command line and the build's environment, and says on one
//! line per set what became of it.

mod args;
mod build;
mod inspect;
mod replaying;
mod summary;

use std::env;
use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser as _;
use levain_cache::glob::Glob;
use levain_cache::gone::Gone;
use levain_cache::state;
use levain_cache::{
    Budget, BudgetRule, BuildOutput, ExtraRule, MissingRule, Outcome, OwnPathRule, PersistError,
    PersistRequest, PlaceRule, RestoreError, RestoreRequest, ScanError,
};

use crate::args::{Arguments, Command, Common, GoneRule, OverBudget, Persist, Restore};

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error(transparent)]
    Persist(#[from] PersistError),
    #[error(transparent)]
    Inspect(#[from] inspect::InspectError),
    #[error(transparent)]
    Build(#[from] build::BuildError),
    #[error(transparent)]
    Replay(#[from] levain_cache::replay::ReplayError),
    #[error(transparent)]
    Explain(#[from] levain_cache::replay::ExplainError),
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Directory(#[from] ScanError),
    #[error(
        "`{0}` is not of the form `name=value`\nhint: write for instance `--origin commit=1234abcd`"
    )]
    Origin(String),
    #[error(
        "no cache output to write to\nhint: name it with `--to`, or give the derivation an output `cache`"
    )]
    NoOutput,
    #[error(
        "`--gone outputs` needs to know which outputs a source has\nhint: say so with `--gone-outputs 'src/{{dir}}/{{stem}}.ts=dist/{{dir}}/{{stem}}.js'`"
    )]
    NoPatterns,
    #[error("`--gone-outputs` has no effect without `--gone outputs`\nhint: add `--gone outputs`")]
    UselessPatterns,
    #[error("{0}")]
    Place(#[source] std::io::Error),
    #[error("cannot write to standard output")]
    Output(#[from] std::io::Error),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Restore(command) => restore(command),
        Command::Persist(command) => persist(command),
        Command::Build(command) => build::build(command),
        Command::Replay(command) => replaying::replay(command),
        Command::Explain(command) => replaying::explain(&command),
        Command::ProbePlace(command) => build::place::probe(&command.directory)
            .map(|()| ExitCode::SUCCESS)
            .map_err(Failure::Place),
        Command::Inspect(command) => inspect::inspect(&command)
            .map_err(Failure::from)
            .and_then(|text| say(&text))
            .map(|()| ExitCode::SUCCESS),
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            complain(&failure);
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    Ok(out.write_all(text.as_bytes()).and_then(|()| out.flush())?)
}

/// Prints the whole chain of causes; a hint, if any, comes last.
fn complain(failure: &Failure) {
    let mut text = failure.to_string();
    let mut source = failure.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            let (first, hint) =
                text.split_once('\n').map_or((text.as_str(), None), |(a, b)| (a, Some(b)));
            let joined = format!("{first}: {cause_text}");
            text = hint.map_or(joined.clone(), |hint| format!("{joined}\n{hint}"));
        }
        source = cause.source();
    }
    // Nothing is left to tell anyone if standard error is closed.
    drop(writeln!(std::io::stderr(), "levain-cache: error: {text}"));
}

fn restore(command: Restore) -> Result<ExitCode, Failure> {
    let started = Instant::now();
    let Places { source, into, state, beside } = places(&command.common)?;
    let gone = match (command.gone, command.gone_outputs.is_empty()) {
        (GoneRule::Outputs, true) => return Err(Failure::NoPatterns),
        (GoneRule::Outputs, false) => Gone::Outputs(command.gone_outputs),
        (GoneRule::Keep | GoneRule::Drop, false) => return Err(Failure::UselessPatterns),
        (GoneRule::Keep, true) => Gone::Keep,
        (GoneRule::Drop, true) => Gone::Drop,
    };
    let from = command.from.filter(|from| !from.is_empty() && from != "null");
    let from = from.map(|from| absolute(Path::new(&from))).transpose()?;
    let own_paths = own_paths(&command.common);
    let request = RestoreRequest {
        set: command.common.name,
        from,
        source,
        into,
        state,
        beside,
        store: store(),
        outputs: outputs(),
        key: command.common.key,
        own_paths,
        place: if command.relocatable { PlaceRule::Any } else { PlaceRule::Same },
        definitions: globs(&command.definition),
        hiding: globs(&command.hiding),
        gone,
        gone_match: globs(&command.gone_match),
        exclude: globs(&command.common.exclude),
        budget: command.budget,
        extra: if command.sync { ExtraRule::Remove } else { ExtraRule::Keep },
        outside_links: command.common.outside_link,
    };
    let outcome = levain_cache::restore(&request)?;
    say(&summary::restored(&request.set, &outcome, started.elapsed()))?;
    match outcome {
        Outcome::Refused(refusal) if command.strict && refusal.is_fault() => Ok(ExitCode::FAILURE),
        Outcome::Refused(_) | Outcome::Restored(_) => Ok(ExitCode::SUCCESS),
    }
}

fn persist(command: Persist) -> Result<ExitCode, Failure> {
    let started = Instant::now();
    let Places { source, into, state, .. } = places(&command.common)?;
    let mut origin = Vec::new();
    for text in &command.origin {
        let (name, value) = text.split_once('=').ok_or_else(|| Failure::Origin(text.clone()))?;
        origin.push((name.to_owned(), value.to_owned()));
    }
    origin.sort();
    let to = command.to.or_else(|| env::var_os("cache").map(PathBuf::from));
    let to = to.ok_or(Failure::NoOutput)?;
    let own_paths = own_paths(&command.common);
    let request = PersistRequest {
        own_paths,
        set: command.common.name,
        paths: command.paths,
        source,
        into,
        state,
        to: absolute(&to)?,
        store: store(),
        outputs: outputs(),
        key: command.common.key,
        origin,
        budget: command.budget.map(|most| Budget { most, rule: rule(command.over_budget) }),
        missing: if command.optional { MissingRule::Allow } else { MissingRule::Refuse },
        exclude: globs(&command.common.exclude),
        outside_links: command.common.outside_link,
        level: command.level,
    };
    let persisted = levain_cache::persist(&request)?;
    say(&summary::persisted(&request.set, &persisted, started.elapsed()))?;
    Ok(ExitCode::SUCCESS)
}

fn own_paths(common: &Common) -> OwnPathRule {
    if common.allow_own_paths { OwnPathRule::Rewrite } else { OwnPathRule::Refuse }
}

fn rule(over: OverBudget) -> BudgetRule {
    match over {
        OverBudget::Drop => BudgetRule::Drop,
        OverBudget::Prune => BudgetRule::Prune,
    }
}

/// Completes a path that may not exist; a later command may be given from another directory.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    Ok(std::path::absolute(path).map_err(ScanError::on("find", path))?)
}

struct Places {
    source: PathBuf,
    into: PathBuf,
    state: PathBuf,
    /// The directory in Nix's build directory that holds the sources, if it is not theirs alone.
    beside: Option<PathBuf>,
}

/// Finds the directories, by the names that the tools will see.
fn places(common: &Common) -> Result<Places, Failure> {
    let here = Path::new(".");
    let real = |path: &Path| path.canonicalize().map_err(ScanError::on("find", path));
    let source = real(common.source.as_deref().unwrap_or(here))?;
    let into = common.into.as_deref().unwrap_or(here);
    std::fs::create_dir_all(into).map_err(ScanError::on("create", into))?;
    let into = real(into)?;
    let build_top = env::var_os("NIX_BUILD_TOP").map(PathBuf::from);
    let state = state::directory(common.state.as_deref(), build_top.as_deref(), &source);
    let beside = build_top.and_then(|top| {
        let top = top.canonicalize().ok()?;
        let unpacked = top.join(source.strip_prefix(&top).ok()?.components().next()?);
        Some(unpacked).filter(|unpacked| *unpacked != source)
    });
    Ok(Places { source, into, state, beside })
}

fn store() -> PathBuf {
    env::var_os("NIX_STORE").map_or_else(|| PathBuf::from("/nix/store"), PathBuf::from)
}

/// Finds this build's own outputs, which Nix names in the variable `outputs`.
fn outputs() -> Vec<BuildOutput> {
    let names = env::var("outputs").unwrap_or_else(|_| "out".to_owned());
    let output = |name: &str| {
        let path = PathBuf::from(env::var_os(name)?);
        Some(BuildOutput { name: name.to_owned(), path })
    };
    names.split_whitespace().filter_map(output).collect()
}

fn globs(texts: &[String]) -> Vec<Glob> {
    texts.iter().map(|text| Glob::new(text)).collect()
}
