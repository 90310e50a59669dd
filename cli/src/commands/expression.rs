//! `levain eval --expr` and `--file`: the value of one expression, by either evaluator.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use levain_engine::repositories::LocalRepositories;
use levain_engine::store_references::StoreReferences;
use levain_evaluator::embedded::{self, EmbeddedError, Output, Question, Source};
use levain_evaluator::lang::Settings;
use levain_evaluator::lang::io::Message;
use levain_evaluator::outside::{Access, Files};
use levain_store::nix::{Confinement, NixProgram, ValueFormat, ValueRequest, ValueSource};
use levain_store::{Store, StoreConfig};

use crate::args::{Expression, Global, Language};
use crate::exit::Failure;
use crate::setup;
use crate::terminal::Terminal;

/// Evaluates and prints.
pub(crate) fn evaluate(
    global: &Global,
    args: &Expression,
    system: Option<&str>,
    terminal: &Terminal,
) -> Result<ExitCode, Failure> {
    let directory = existing(&global.directory)?;
    let file = args.file.as_ref().map(|file| existing(&directory.join(file))).transpose()?;
    let mut settings = Settings::default();
    // Nix has this variable besides its setting.
    let abort = setup::lookup("NIX_ABORT_ON_WARN").filter(|_| args.impure);
    settings.abort_on_warn =
        abort.is_some_and(|value| ["1", "true", "yes"].iter().any(|yes| value == *yes));
    for (name, value) in options(args) {
        settings.set(&name, &value).map_err(|error| Failure::error(&error))?;
    }
    let value = match args.evaluator {
        Language::Embedded => embedded(args, &directory, file, system, settings, terminal)?,
        Language::Nix => nix(global, args, &directory, file, terminal)?,
    };
    let mut value = value;
    if !args.raw && !value.ends_with(b"\n") {
        value.push(b'\n');
    }
    terminal.print_value(&value)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the names and values of all `--option`.
fn options(args: &Expression) -> Vec<(String, String)> {
    // Each option has two values, as the command line has checked.
    let pairs = args.options.chunks_exact(2);
    pairs.map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

/// What may be read without `--impure`.
fn visible(directory: &Path, file: Option<&Path>) -> PathBuf {
    match file {
        Some(file) if file.is_dir() => file.to_owned(),
        Some(file) => file.parent().unwrap_or(file).to_owned(),
        None => directory.to_owned(),
    }
}

fn embedded(
    args: &Expression,
    directory: &Path,
    file: Option<PathBuf>,
    system: Option<&str>,
    settings: Settings,
    terminal: &Terminal,
) -> Result<Vec<u8>, Failure> {
    let config = StoreConfig::from_lookup(setup::lookup).map_err(|error| Failure::error(&error))?;
    let visible = visible(directory, file.as_deref());
    let source = match (file, &args.expr) {
        (Some(file), _) => Source::File(file),
        (None, expr) => Source::Text {
            text: expr.clone().unwrap_or_default().into_bytes(),
            directory: directory.to_owned(),
        },
    };
    let output = match (args.raw, args.json, args.strict) {
        (true, _, _) => Output::Raw,
        (_, true, _) => Output::Json,
        (_, _, true) => Output::Strict,
        (false, false, false) => Output::Lazy,
    };
    let mut question = Question::new(source, output);
    question.store = config.dir.clone();
    question.pure = !args.impure;
    question.settings = settings;
    if args.impure {
        question.system = Some(system.map_or_else(setup::system, str::to_owned));
        question.environment = environment();
        if let Some(search_path) = question.environment.get("NIX_PATH") {
            question.search_path = search_entries(&String::from_utf8_lossy(search_path));
        }
        question.time = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
    } else {
        question.access = Access::Below(vec![visible]);
    }
    let store = Store::new(config);
    let repositories = LocalRepositories::new(question.access.clone())
        .map_err(|error| Failure::user(format!("cannot find what may be read: {error}")))?;
    let equip = move |files: Files| {
        files.fetcher(Box::new(repositories)).references(Box::new(StoreReferences::new(store)))
    };
    // What the program says while it is evaluated, as Nix shows it.
    let told = terminal.clone();
    let tell = move |message: Message| told.note(&message.to_string());
    embedded::evaluate_with(question, tell, equip).map_err(|error| match &error {
        EmbeddedError::Evaluation { rendered, .. } => Failure::rendered(rendered),
        EmbeddedError::Access(_) | EmbeddedError::Thread(_) => Failure::error(&error),
    })
}

fn environment() -> BTreeMap<String, Vec<u8>> {
    std::env::vars_os()
        .filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.as_os_str().as_bytes().to_vec()))
        })
        .collect()
}

fn nix(
    global: &Global,
    args: &Expression,
    directory: &Path,
    file: Option<PathBuf>,
    terminal: &Terminal,
) -> Result<Vec<u8>, Failure> {
    let store = StoreConfig::from_lookup(setup::lookup).map_err(|error| Failure::error(&error))?;
    let confinement = match global.unconfined {
        true => Confinement::None,
        false => setup::confinement_of_branches(),
    };
    let program = NixProgram::find(setup::lookup).map_err(|error| Failure::error(&error))?;
    let visible = visible(directory, file.as_deref());
    let request = ValueRequest {
        source: match (file, &args.expr) {
            (Some(file), _) => ValueSource::File(file),
            (None, expr) => ValueSource::Expression(expr.clone().unwrap_or_default()),
        },
        format: match (args.raw || args.json, args.strict) {
            (true, _) => ValueFormat::Json,
            (false, true) => ValueFormat::Strict,
            (false, false) => ValueFormat::Lazy,
        },
        directory: directory.to_owned(),
        visible: (!args.impure).then_some(visible),
        confinement,
        store,
        settings: options(args),
    };
    let printed = program.value(&request).map_err(|error| Failure::error(&error))?;
    if !printed.messages.is_empty() {
        terminal.note(printed.messages.trim_end());
    }
    if args.raw {
        let text: String = serde_json::from_slice(&printed.value).map_err(|error| {
            Failure::user(format!("the value is not a string: {error}\nhint: use `--json`"))
        })?;
        return Ok(text.into_bytes());
    }
    Ok(printed.value)
}

fn existing(path: &Path) -> Result<PathBuf, Failure> {
    path.canonicalize()
        .map_err(|error| Failure::user(format!("cannot find `{}`: {error}", path.display())))
}

/// Splits a search path at its colons, but for those in URLs.
fn search_entries(text: &str) -> Vec<String> {
    let mut entries = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let colons = rest.match_indices(':').map(|(colon, _)| colon);
        let mut ends = colons.filter(|colon| !rest[colon + 1..].starts_with("//"));
        let end = ends.next().unwrap_or(rest.len());
        entries.push(rest[..end].to_owned());
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    entries.retain(|entry| !entry.is_empty());
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_paths_are_split_at_colons_but_not_in_urls() {
        let entries = search_entries("/a:x=/b::y=https://forge.example/z.tar:/c:");
        assert_eq!(entries, ["/a", "x=/b", "y=https://forge.example/z.tar", "/c"]);
        assert!(search_entries("").is_empty());
    }
}
