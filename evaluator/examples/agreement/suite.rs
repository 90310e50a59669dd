//! Nix's own language suite (`tests/functional/lang` of its repository), compared case by case.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use levain_evaluator::lang::Settings;

use crate::answer::{Answer, Kind};
use crate::ours::{Ours, Request, Show};
use crate::report::Report;

/// Options of cases that say what happens here anyway, or how errors are shown.
const OTHER_FLAGS: [&str; 4] = ["--eval", "--strict", "--impure", "--no-show-trace"];

/// Compares every case of the suite.
pub(crate) fn compare(suite: &Path, report: &mut Report) -> Result<()> {
    // Nix's own test runs with this as its working directory.
    let base = suite.parent().context("the suite has no parent directory")?;
    let mut cases: Vec<String> = Vec::new();
    for entry in fs::read_dir(suite).with_context(|| format!("cannot list {}", suite.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(case) = name.strip_suffix(".nix") {
            cases.push(case.to_owned());
        }
    }
    cases.sort();
    let mut ours = Ours::new(Duration::from_secs(30));
    for case in &cases {
        let group = ["parse-okay", "parse-fail", "eval-okay", "eval-fail"]
            .into_iter()
            .find(|group| case.starts_with(group));
        let Some(group) = group else { continue };
        let files = Case { suite, base, name: case };
        let outcome = match group {
            "parse-okay" => files.parse_okay(&mut ours)?,
            "parse-fail" => files.parse_fail(&mut ours)?,
            "eval-okay" => files.eval_okay(&mut ours)?,
            _ => files.eval_fail(&mut ours)?,
        };
        match outcome {
            Outcome::Agrees => report.agrees(group),
            Outcome::OtherKind(how) => {
                report.agrees(group);
                report.note(group, case, &how);
            }
            Outcome::Says(how) => {
                report.agrees(group);
                report.note(group, case, &how);
            }
            Outcome::Differs(how) => report.differs(group, case, &how),
            Outcome::LeftOut(why) => report.left_out(group, case, &why),
        }
    }
    Ok(())
}

enum Outcome {
    Agrees,
    /// It fails, as it should, but seemingly for another reason.
    OtherKind(String),
    Differs(String),
    /// The value is the same, but what was said before is not.
    Says(String),
    LeftOut(String),
}

struct Case<'a> {
    suite: &'a Path,
    base: &'a Path,
    name: &'a str,
}

impl Case<'_> {
    fn path(&self, extension: &str) -> PathBuf {
        self.suite.join(format!("{}.{extension}", self.name))
    }

    fn read(&self, extension: &str) -> Option<String> {
        let bytes = fs::read(self.path(extension)).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn parse_okay(&self, ours: &mut Ours) -> Result<Outcome> {
        // Nix reads these from its standard input, so relative paths start at the working directory.
        let source = fs::read(self.path("nix"))?;
        let text = String::from_utf8_lossy(&source).into_owned();
        let answer = ours.evaluate(&Request::text(text, self.base, Show::Parse))?;
        Ok(self.same(&answer, self.read("exp").unwrap_or_default().trim_end()))
    }

    fn parse_fail(&self, ours: &mut Ours) -> Result<Outcome> {
        let source = fs::read(self.path("nix"))?;
        let answer = match String::from_utf8(source) {
            Ok(text) => ours.evaluate(&Request::text(text, self.base, Show::Parse))?,
            Err(_) => ours.evaluate(&Request::file(&self.path("nix"), Show::Parse))?,
        };
        Ok(self.fails(&answer))
    }

    fn eval_okay(&self, ours: &mut Ours) -> Result<Outcome> {
        let flags = self.read("flags").unwrap_or_default();
        let (show, expected) = match (self.read("exp.xml"), self.read("exp")) {
            (Some(expected), _) => (Show::Xml, expected),
            (None, Some(expected)) => (Show::Strict, expected),
            (None, None) => match self.read("exp-disabled") {
                Some(expected) => (Show::Strict, expected),
                None => return Ok(Outcome::LeftOut("nothing is expected of it".to_owned())),
            },
        };
        let mut request = match self.request(&flags, show) {
            Ok(request) => request,
            Err(error) => return Ok(Outcome::LeftOut(format!("{}: {error}", flags.trim()))),
        };
        if !self.path("exp").exists() && self.path("exp-disabled").exists() {
            // Nix's own run leaves it out, because it needs more calls than Nix allows.
            request.settings.push(("max-call-depth".to_owned(), "1000000".to_owned()));
        }
        request.search_path.push(self.suite.join("dir3").display().to_string());
        request.search_path.push(self.suite.join("dir4").display().to_string());
        let answer = ours.evaluate(&request)?;
        let outcome = self.same(&answer, expected.trim_end());
        let (theirs, found) = (labels(&self.read("err.exp").unwrap_or_default()), ours.said());
        if matches!(outcome, Outcome::Agrees) && theirs != labels(&found.join("\n")) {
            let how = format!("says {}\n      ours {}", theirs.join(" | "), found.join(" | "));
            return Ok(Outcome::Says(how));
        }
        Ok(outcome)
    }

    fn eval_fail(&self, ours: &mut Ours) -> Result<Outcome> {
        let flags = self.read("flags").unwrap_or_default();
        match self.request(&flags, Show::Strict) {
            Ok(request) => Ok(self.fails(&ours.evaluate(&request)?)),
            Err(error) => Ok(Outcome::LeftOut(format!("{}: {error}", flags.trim()))),
        }
    }

    /// Makes the question from the options in a `.flags` file; the error says which is not known.
    fn request(&self, flags: &str, show: Show) -> Result<Request, String> {
        let mut request = Request::file(&self.path("nix"), show);
        request.environment = vec![
            ("TEST_VAR".to_owned(), "foo".to_owned()),
            ("HOME".to_owned(), "/fake-home".to_owned()),
        ];
        let mut arguments = BTreeMap::new();
        let mut attribute = None;
        let mut words = flags.split_whitespace();
        while let Some(word) = words.next() {
            let mut next = || words.next().unwrap_or_default().to_owned();
            match word {
                "-I" => {
                    let entry = next();
                    let (prefix, path) = entry.split_once('=').unwrap_or(("", &entry));
                    let path = self.base.join(path);
                    let equals = if prefix.is_empty() { "" } else { "=" };
                    request.search_path.push(format!("{prefix}{equals}{}", path.display()));
                }
                "--arg" => {
                    let name = next();
                    let value = next();
                    arguments.insert(
                        name,
                        value.replace("lang/", &format!("{}/", self.suite.display())),
                    );
                }
                "--argstr" => {
                    let name = next();
                    let value = next();
                    arguments.insert(name, format!("{value:?}"));
                }
                "-A" => attribute = Some(next()),
                _ if OTHER_FLAGS.contains(&word) => {}
                _ => {
                    let setting = word.strip_prefix("--").unwrap_or(word).to_owned();
                    let value = next();
                    let known = Settings::default().set(&setting, &value);
                    known.map_err(|error| error.to_string().replace('\n', "; "))?;
                    request.settings.push((setting, value));
                }
            }
        }
        if !arguments.is_empty() || attribute.is_some() {
            let arguments: String =
                arguments.iter().map(|(name, value)| format!("{name} = {value}; ")).collect();
            let attribute = attribute.map(|name| format!(".{name}")).unwrap_or_default();
            request.text = Some(format!(
                "let f = import {}; args = {{ {arguments} }}; in \
                 (if builtins.isFunction f then f (builtins.intersectAttrs (builtins.functionArgs f) args) else f){attribute}",
                self.path("nix").display(),
            ));
            request.path = self.base.to_owned();
        }
        Ok(request)
    }

    fn same(&self, answer: &Answer, expected: &str) -> Outcome {
        match answer {
            Answer::Value(value) => {
                let value = value.replace(&*self.base.to_string_lossy(), "/pwd");
                if value.trim_end() == expected {
                    Outcome::Agrees
                } else {
                    Outcome::Differs(format!("expected {expected}\n      found    {value}"))
                }
            }
            Answer::Failure(_) | Answer::Died(_) | Answer::Silent => {
                Outcome::Differs(format!("expected {expected}\n      found    {}", answer.line()))
            }
        }
    }

    fn fails(&self, answer: &Answer) -> Outcome {
        let expected = self.read("err.exp").unwrap_or_default();
        match answer {
            Answer::Failure(message) => {
                let (theirs, found) = (Kind::of(&expected), Kind::of(message));
                if theirs == found {
                    return Outcome::Agrees;
                }
                let theirs = Answer::Failure(expected);
                Outcome::OtherKind(format!("{}\n      ours {}", theirs.line(), answer.line()))
            }
            Answer::Value(_) | Answer::Died(_) | Answer::Silent => {
                Outcome::Differs(format!("expected an error, found {}", answer.line()))
            }
        }
    }
}

/// Returns what a program itself said, and of the evaluator's own warnings only that there are some:
/// their wording differs.
fn labels(said: &str) -> Vec<String> {
    let label = |line: &str| match line.split_once(':')? {
        ("trace" | "evaluation warning", _) => Some(line.trim_end().to_owned()),
        ("warning", _) => Some("warning".to_owned()),
        _ => None,
    };
    said.lines().filter_map(label).collect()
}
