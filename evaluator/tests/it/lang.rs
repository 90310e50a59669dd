//! The language, case by case: `tests/lang/*.nix` with what is expected beside them.
//!
//! `eval-okay` and `parse-okay` have an `.exp` with the value or the tree, `eval-fail` and
//! `parse-fail` an `.err.exp` with the error as people see it. `UPDATE_EXPECT=1` writes both. Every
//! case also goes to the real Nix, whose values must be the same and whose errors must be errors;
//! a line `# since 2.19` says that an older Nix does not know the feature yet.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use levain_evaluator::embedded::{self, Output, Question, Source};

/// A file below `tests/lang`.
struct Case {
    name: String,
    path: PathBuf,
}

impl Case {
    fn source(&self) -> String {
        fs::read_to_string(&self.path).unwrap()
    }

    fn expected(&self, extension: &str) -> PathBuf {
        self.path.with_extension(extension)
    }

    /// The oldest Nix that knows the feature, if the case names one.
    fn since(&self) -> Option<Vec<u32>> {
        let source = self.source();
        let version = source.lines().find_map(|line| line.strip_prefix("# since "))?;
        Some(version_numbers(version))
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lang").canonicalize().unwrap()
}

fn cases(group: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "nix"))
        .map(|path| Case { name: path.file_stem().unwrap().to_str().unwrap().to_owned(), path })
        .filter(|case| case.name.starts_with(group))
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!cases.is_empty(), "no cases `{group}`");
    cases
}

/// Hides where this checkout lies.
fn portable(text: &str) -> String {
    text.replace(directory().to_str().unwrap(), "/lang")
}

fn ours(case: &Case, output: Output) -> Result<String, String> {
    let question = Question::new(Source::File(case.path.clone()), output);
    match embedded::evaluate(question, |_| {}) {
        Ok(value) => Ok(portable(&String::from_utf8_lossy(&value)) + "\n"),
        Err(error) => Err(portable(&error.to_string())),
    }
}

/// Compares with the file beside the case, or writes it.
fn check(case: &Case, extension: &str, found: &str, problems: &mut Vec<String>) {
    let path = case.expected(extension);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, found).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    if expected != found {
        problems.push(format!("{}:\n  expected {expected}  found    {found}", case.name));
    }
}

fn expect_values(group: &str, output: Output) {
    let mut problems = Vec::new();
    for case in cases(group) {
        match ours(&case, output) {
            Ok(value) => check(&case, "exp", &value, &mut problems),
            Err(error) => problems.push(format!("{}: {error}", case.name)),
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

fn expect_errors(group: &str, output: Output) {
    let mut problems = Vec::new();
    for case in cases(group) {
        match ours(&case, output) {
            Ok(value) => problems.push(format!("{}: evaluates to {value}", case.name)),
            Err(error) => check(&case, "err.exp", &error, &mut problems),
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn values_are_as_expected() {
    expect_values("eval-okay", Output::Strict);
}

#[test]
fn trees_are_as_expected() {
    expect_values("parse-okay", Output::Parsed);
}

#[test]
fn errors_are_as_expected() {
    expect_errors("eval-fail", Output::Strict);
}

#[test]
fn syntax_errors_are_as_expected() {
    expect_errors("parse-fail", Output::Parsed);
}

#[test]
fn no_file_is_forgotten() {
    for entry in fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let (case, extension) = name.split_once('.').unwrap_or((&name, ""));
        let wanted = match extension {
            "" => {
                assert_eq!(case, "data", "an unknown directory");
                continue;
            }
            "nix" if case.contains("-okay-") => "exp",
            "nix" if case.contains("-fail-") => "err.exp",
            "exp" | "err.exp" => "nix",
            _ => panic!("`{name}` belongs to no case"),
        };
        assert!(path.with_file_name(format!("{case}.{wanted}")).is_file(), "`{name}` stands alone");
    }
}

fn version_numbers(text: &str) -> Vec<u32> {
    text.trim().split('.').map_while(|part| part.parse().ok()).collect()
}

/// Runs `nix-instantiate` with nothing of this machine's configuration and no store to write to.
fn nix(arguments: &[&str], files: &[&Path]) -> std::process::Output {
    let home = tempfile::tempdir().unwrap();
    Command::new("nix-instantiate")
        .args(arguments)
        .args(files)
        .env("HOME", home.path())
        .env("NIX_CONF_DIR", home.path())
        .env("NIX_USER_CONF_FILES", "")
        .env("NIX_REMOTE", "dummy://")
        .env("NIX_STORE_DIR", "/nix/store")
        .env_remove("NIX_PATH")
        .env_remove("NIX_CONFIG")
        .output()
        .unwrap()
}

fn nix_version() -> Vec<u32> {
    let output = nix(&["--version"], &[]);
    version_numbers(String::from_utf8(output.stdout).unwrap().split_whitespace().last().unwrap())
}

#[test]
fn the_real_nix_has_the_same_values() {
    let version = nix_version();
    let (known, later): (Vec<Case>, Vec<Case>) = cases("eval-okay")
        .into_iter()
        .partition(|case| case.since().is_none_or(|since| since <= version));
    // One process for all: each value is on a line of its own.
    let files: Vec<&Path> = known.iter().map(|case| case.path.as_path()).collect();
    let output = nix(&["--eval", "--strict"], &files);
    let values = portable(&String::from_utf8_lossy(&output.stdout));
    let mut problems = Vec::new();
    let mut lines = values.lines();
    for case in &known {
        let Some(value) = lines.next() else {
            problems.push(format!("{}: {}", case.name, String::from_utf8_lossy(&output.stderr)));
            break;
        };
        let expected = fs::read_to_string(case.expected("exp")).unwrap();
        if expected.trim_end() != value {
            problems.push(format!("{}:\n  ours {expected}  Nix  {value}", case.name));
        }
    }
    // A mark that is not needed hides differences.
    for case in later {
        let output = nix(&["--eval", "--strict"], &[&case.path]);
        let value = portable(&String::from_utf8_lossy(&output.stdout));
        let expected = fs::read_to_string(case.expected("exp")).unwrap();
        if output.status.success() && value == expected {
            problems.push(format!("{}: this Nix knows it, so `# since` is wrong", case.name));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_real_nix_fails_where_we_do() {
    for (group, mode) in
        [("eval-fail", ["--eval", "--strict"]), ("parse-fail", ["--parse", "--strict"])]
    {
        for case in cases(group) {
            let output = nix(&mode, &[&case.path]);
            assert!(!output.status.success(), "{} evaluates", case.name);
        }
    }
}
