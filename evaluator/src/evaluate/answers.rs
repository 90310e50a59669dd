//! What `jobs.nix` answers, and what it means for a job.
//!
//! Only reads: the questions are in `nix.rs`.

use std::collections::BTreeSet;

use levain_store::{EvalFailure, NarHash};
use serde::Deserialize;

use super::{EvaluateError, JobError, JobErrorKind, JobsOutput};
use crate::attr_path::AttrPath;

/// How deep attribute sets may nest.
pub(super) const MAX_DEPTH: u64 = 16;
/// How many attributes are looked at.
pub(super) const MAX_PLACES: u64 = 100_000;

/// An answer of `jobs.nix`.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum AnswerText {
    NarHashMismatch {
        found: NarHash,
    },
    NotAnAttributeSet {
        output: String,
        found: String,
    },
    Declaration {
        present: bool,
        value: serde_json::Value,
    },
    Answer {
        output: JobsOutput,
        nar_hash: NarHash,
        source: String,
        found: Option<Vec<FoundText>>,
        description: Option<DescriptionText>,
    },
}

/// What stands at an attribute path.
#[derive(Debug, Deserialize)]
pub(super) struct FoundText {
    pub(super) path: Vec<String>,
    pub(super) kind: String,
    pub(super) job: Option<JobText>,
}

/// What an attribute is, without a look inside.
#[derive(Debug, Deserialize)]
pub(super) struct DescriptionText {
    pub(super) kind: String,
    #[serde(default)]
    pub(super) children: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JobText {
    pub(super) drv_path: String,
    pub(super) levain: String,
    pub(super) description: Option<String>,
    pub(super) constituents: Vec<String>,
}

/// Something that was found, or Nix's error.
#[derive(Debug)]
pub(super) enum Found {
    Text(FoundText),
    Failed(Failed),
    /// Of a job that is found all the same, `levain` fails.
    Doubtful(Failed),
}

/// Nix's error about an attribute.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) path: AttrPath,
    pub(super) failure: EvalFailure,
    /// Whether `tryEval` caught it: then it was `throw` or `assert`, and nothing of this machine.
    pub(super) caught: bool,
}

/// Leaves one of several errors that say the same: of attributes that are too deep, the first below
/// each attribute of the root; and none for a path below a set that repeats itself.
pub(super) fn without_repetitions(mut found: Vec<Found>) -> Vec<Found> {
    let path = |found: &Found| match found {
        Found::Text(text) => AttrPath::new(text.path.clone()),
        Found::Failed(failed) | Found::Doubtful(failed) => failed.path.clone(),
    };
    let is = |found: &Found, kind: &str| matches!(found, Found::Text(text) if text.kind == kind);
    let repeated: Vec<AttrPath> =
        found.iter().filter(|found| is(found, "repeated")).map(path).collect();
    found.sort_by_key(path);
    let mut deep = BTreeSet::new();
    let mut left: Vec<Found> = Vec::with_capacity(found.len());
    for one in found {
        let at = path(&one);
        let below = |set: &AttrPath| set.is_prefix_of(&at) && *set != at;
        if matches!(one, Found::Failed(_)) && repeated.iter().any(below) {
            continue;
        }
        if is(&one, "tooDeep") && !deep.insert(at.names().first().cloned()) {
            continue;
        }
        let is_doubtful = |found: &Found| matches!(found, Found::Doubtful(_));
        let before = left.iter_mut().rev().take_while(|other| path(other) == at);
        let before = before.filter(|other| !is_doubtful(other)).last();
        match before.filter(|_| !is_doubtful(&one)) {
            Some(before) => join(before, one),
            None => left.push(one),
        }
    }
    left
}

/// Keeps one of two that were found at one path: an error rather than a job, and an error rather than
/// one of two jobs.
fn join(first: &mut Found, second: Found) {
    match (&mut *first, second) {
        (Found::Text(a), Found::Text(b)) => match (&a.job, &b.job) {
            (Some(job), Some(other)) if job.drv_path != other.drv_path => {
                (a.kind, a.job) = ("sameName".to_owned(), None);
            }
            (Some(_), None) => *a = b,
            (Some(_), Some(_)) | (None, _) => {}
        },
        (Found::Text(text), second) if text.job.is_some() => *first = second,
        (_, _) => {}
    }
}

/// Returns the error of an attribute that is no job.
pub(super) fn kind_error(path: &AttrPath, kind: &str) -> JobError {
    let (kind, message) = match kind {
        "missing" => (
            JobErrorKind::Missing,
            format!("there is no job `{path}`\nhint: `levain eval` lists all jobs"),
        ),
        "tooDeep" => (
            JobErrorKind::TooDeep,
            format!(
                "attribute sets nest deeper than {MAX_DEPTH}\nhint: set `recurseForDerivations = false` where there are no more jobs"
            ),
        ),
        "sameName" => (
            JobErrorKind::SameName,
            "several attributes have this name: bytes that are no UTF-8 are shown as `\u{fffd}`\nhint: rename all but one".to_owned(),
        ),
        "repeated" => (
            JobErrorKind::Repeated,
            "the attribute set has the jobs of a set around it: it stands in itself\nhint: set `recurseForDerivations = false` in it, or leave it out".to_owned(),
        ),
        "tooMany" => (
            JobErrorKind::TooMany,
            format!(
                "more than {MAX_PLACES} attributes\nhint: set `recurseForDerivations = false` where there are no more jobs"
            ),
        ),
        "set" => (
            JobErrorKind::NotADerivation { found: phrase("set") },
            "expected a derivation, found an attribute set\nhint: set `recurseForDerivations` in it: `true` if there are jobs inside, `false` if not".to_owned(),
        ),
        other => {
            let found = phrase(other);
            let message = format!(
                "expected a derivation, found {found}\nhint: jobs are derivations, in attribute sets of any depth; remove what is neither, or set `recurseForDerivations = true` in the set around it"
            );
            (JobErrorKind::NotADerivation { found }, message)
        }
    };
    JobError { kind, message }
}

/// Returns the name of a type in a sentence.
pub(super) fn phrase(type_name: &str) -> String {
    match type_name {
        "null" => "null".to_owned(),
        "int" => "an integer".to_owned(),
        "bool" => "a boolean".to_owned(),
        "set" => "an attribute set".to_owned(),
        "lambda" => "a function".to_owned(),
        other => format!("a {other}"),
    }
}

/// Returns the error for an answer to another question.
pub(super) fn unexpected(answer: &AnswerText) -> EvaluateError {
    let what = match answer {
        AnswerText::NarHashMismatch { .. } | AnswerText::NotAnAttributeSet { .. } => "an error",
        AnswerText::Declaration { .. } => "a declaration",
        AnswerText::Answer { .. } => "an answer to another question",
    };
    EvaluateError::Unreadable { what: format!("found {what}") }
}

#[cfg(test)]
mod tests {
    use levain_store::Exit;

    use super::*;

    fn text(path: &str, kind: &str) -> Found {
        let path: AttrPath = path.parse().unwrap();
        Found::Text(FoundText { path: path.names().to_vec(), kind: kind.to_owned(), job: None })
    }

    fn failed(path: &str) -> Found {
        let failure = EvalFailure {
            exit: Exit::Code(1),
            message: "no".to_owned(),
            warnings: Vec::new(),
            refusals: Vec::new(),
            exceeded: None,
        };
        Found::Failed(Failed { path: path.parse().unwrap(), failure, caught: false })
    }

    fn job(path: &str, drv_path: &str) -> Found {
        let Found::Text(text) = text(path, "job") else { unreachable!("a text") };
        let job = JobText {
            drv_path: drv_path.to_owned(),
            levain: "{}".to_owned(),
            description: None,
            constituents: Vec::new(),
        };
        Found::Text(FoundText { job: Some(job), ..text })
    }

    #[test]
    fn what_is_found_twice_at_a_path_is_an_error_unless_it_is_the_same() {
        let doubtful = |path: &str| {
            let Found::Failed(failed) = failed(path) else { unreachable!("a failure") };
            Found::Doubtful(failed)
        };
        let joined = |all: Vec<Found>| -> Vec<String> {
            let word = |found: &Found| match found {
                Found::Text(FoundText { job: Some(job), .. }) => job.drv_path.clone(),
                Found::Text(text) => text.kind.clone(),
                Found::Failed(_) => "failed".to_owned(),
                Found::Doubtful(_) => "doubtful".to_owned(),
            };
            without_repetitions(all).iter().map(word).collect()
        };
        assert_eq!(joined(vec![job("a", "x"), job("a", "x")]), ["x"]);
        assert_eq!(joined(vec![job("a", "x"), job("a", "y")]), ["sameName"]);
        assert_eq!(joined(vec![job("a", "x"), job("a", "y"), job("a", "y")]), ["sameName"]);
        assert_eq!(joined(vec![job("a", "x"), failed("a")]), ["failed"]);
        assert_eq!(joined(vec![failed("a"), job("a", "x")]), ["failed"]);
        assert_eq!(joined(vec![job("a", "x"), text("a", "string")]), ["string"]);
        assert_eq!(joined(vec![text("a", "string"), job("a", "x")]), ["string"]);
        assert_eq!(
            joined(vec![job("a", "x"), doubtful("a"), job("a", "y")]),
            ["sameName", "doubtful"]
        );
        assert_eq!(
            joined(vec![doubtful("a"), job("a", "x"), doubtful("a")]),
            ["doubtful", "x", "doubtful"]
        );
    }

    #[test]
    fn the_same_error_is_told_once() {
        let all = vec![
            text("deep.b.x", "tooDeep"),
            text("deep.a.x", "tooDeep"),
            text("other.x", "tooDeep"),
            text("s.a", "repeated"),
            failed("s.x"),
            failed("s.a.x"),
            text("j", "job"),
            text("j", "job"),
        ];
        let left: Vec<String> = without_repetitions(all)
            .iter()
            .map(|found| match found {
                Found::Text(text) => AttrPath::new(text.path.clone()).to_string(),
                Found::Failed(failed) | Found::Doubtful(failed) => failed.path.to_string(),
            })
            .collect();
        assert_eq!(left, ["deep.a.x", "j", "other.x", "s.a", "s.x"]);
    }
}
