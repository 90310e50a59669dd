//! The language, case by case: `tests/lang/*.nix` with what is expected beside them.
//!
//! `eval-okay` and `parse-okay` have an `.exp` with the value or the tree, `eval-fail` and
//! `parse-fail` an `.err.exp` with the error as people see it. An `eval-okay` that says something
//! while it is evaluated has it in an `.err.exp`, too. `UPDATE_EXPECT=1` writes all of these. Every
//! case also goes to the real Nix, whose values must be the same and whose errors must be errors;
//! a line `# since 2.19` says that an older Nix does not know the feature yet, and a line
//! `# set NAME VALUE` changes a setting.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;

use levain_evaluator::embedded::{self, Output, Question, Source};
use levain_evaluator::lang::Settings;

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

    /// Whether the case says that this version of Nix has another value than those before and after it.
    fn excepts(&self, version: &[u32]) -> bool {
        self.source()
            .lines()
            .filter_map(|line| line.strip_prefix("# except "))
            .any(|except| version.starts_with(&version_numbers(except)))
    }

    /// The settings that the case changes.
    fn settings(&self) -> Vec<(String, String)> {
        let source = self.source();
        let lines = source.lines().filter_map(|line| line.strip_prefix("# set "));
        lines
            .map(|line| {
                let (name, value) = line.trim().split_once(' ').unwrap();
                (name.to_owned(), value.to_owned())
            })
            .collect()
    }

    /// The same for a program of Nix.
    fn options(&self) -> Vec<String> {
        let settings = self.settings().into_iter();
        settings.flat_map(|(name, value)| ["--option".to_owned(), name, value]).collect()
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

/// Evaluates; also returns what was said meanwhile.
fn ours(case: &Case, output: Output) -> (Result<String, String>, String) {
    let mut question = Question::new(Source::File(case.path.clone()), output);
    let mut settings = Settings::default();
    for (name, value) in case.settings() {
        settings.set(&name, &value).unwrap();
    }
    question.settings = settings;
    let (tell, told) = mpsc::channel();
    let answer = embedded::evaluate(question, move |message| tell.send(message).unwrap());
    let said: String = told.try_iter().map(|message| format!("{message}\n")).collect();
    let answer = match answer {
        Ok(value) => Ok(portable(&String::from_utf8_lossy(&value)) + "\n"),
        Err(error) => Err(portable(&error.to_string())),
    };
    (answer, portable(&said))
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
            (Ok(value), said) => {
                check(&case, "exp", &value, &mut problems);
                if !said.is_empty() || case.expected("err.exp").is_file() {
                    check(&case, "err.exp", &said, &mut problems);
                }
            }
            (Err(error), _) => problems.push(format!("{}: {error}", case.name)),
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

fn expect_errors(group: &str, output: Output) {
    let mut problems = Vec::new();
    for case in cases(group) {
        match ours(&case, output) {
            (Ok(value), _) => problems.push(format!("{}: evaluates to {value}", case.name)),
            (Err(error), said) => check(&case, "err.exp", &(said + &error), &mut problems),
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
fn nix(arguments: &[impl AsRef<std::ffi::OsStr>], files: &[&Path]) -> std::process::Output {
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
        // What newer versions of Nix keep behind a switch; older ones do not know it and say so.
        .env("NIX_CONFIG", "extra-experimental-features = fetch-tree flakes")
        .output()
        .unwrap()
}

pub(crate) fn nix_version() -> Vec<u32> {
    let output = nix(&["--version"], &[]);
    version_numbers(String::from_utf8(output.stdout).unwrap().split_whitespace().last().unwrap())
}

#[test]
fn the_real_nix_has_the_same_values() {
    let version = nix_version();
    let (known, later): (Vec<Case>, Vec<Case>) = cases("eval-okay")
        .into_iter()
        .filter(|case| !case.excepts(&version))
        .partition(|case| case.since().is_none_or(|since| since <= version));
    let (known, set): (Vec<Case>, Vec<Case>) =
        known.into_iter().partition(|case| case.settings().is_empty());
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
    let alone = |case: &Case| {
        let output = nix(&[case.options(), words(["--eval", "--strict"])].concat(), &[&case.path]);
        let value = portable(&String::from_utf8_lossy(&output.stdout));
        let same = value == fs::read_to_string(case.expected("exp")).unwrap();
        (output.status.success() && same, value)
    };
    for case in set {
        if let (false, value) = alone(&case) {
            problems.push(format!("{}: Nix  {value}", case.name));
        }
    }
    // A mark that is not needed hides differences.
    for case in later {
        // A setting that an older Nix does not know may change nothing but what is said.
        if case.settings().is_empty() && alone(&case).0 {
            problems.push(format!("{}: this Nix knows it, so `# since` is wrong", case.name));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_real_nix_fails_where_we_do() {
    let version = nix_version();
    for (group, mode) in
        [("eval-fail", ["--eval", "--strict"]), ("parse-fail", ["--parse", "--strict"])]
    {
        for case in cases(group) {
            let output = nix(&[case.options(), words(mode)].concat(), &[&case.path]);
            let known = case.since().is_none_or(|since| since <= version);
            assert_eq!(output.status.success(), !known, "{}", case.name);
        }
    }
}

#[test]
fn warnings_without_end_are_counted() {
    let text = format!("[ {}]", "a:b ".repeat(1234)).into_bytes();
    let source = Source::Text { text, directory: directory() };
    let mut question = Question::new(source, Output::Lazy);
    question.settings.set("lint-url-literals", "warn").unwrap();
    let (tell, told) = mpsc::channel();
    embedded::evaluate(question, move |message| tell.send(message).unwrap()).unwrap();
    let said: Vec<String> = told.try_iter().map(|message| message.to_string()).collect();
    assert_eq!(said.len(), 1001);
    assert!(said[999].starts_with("warning: `a:b` is a URL"), "{}", said[999]);
    assert_eq!(said[1000], "warning: and 234 more warnings of the same text");
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}
