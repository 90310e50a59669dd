//! The evaluator that asks the `nix` program, in pure mode.
//!
//! `jobs.nix` beside this file does the finding; here are the questions to it and the reading of its
//! answers. The arguments are printed as plain data, never spliced into the expression.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use levain_store::{
    Confinement, EvalError, EvalFailure, EvalRequest, Exit, NarHash, NixProgram, StoreConfig,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::bisect::{Answer, Questions, find_all};
use super::{
    EvaluateError, EvaluatedJob, Evaluation, Evaluator, JobDerivation, JobError, JobErrorKind,
    JobsOutput, Limits, LockFileState, Request, message,
};
use crate::attr_path::AttrPath;
use crate::flake_ref::LockedFlakeRef;
use crate::nix_data::Data;

const JOBS: &str = include_str!("jobs.nix");
const TREE: &str = include_str!("tree.nix");
/// How deep attribute sets may nest.
const MAX_DEPTH: u64 = 16;
/// The exit status for a build that failed, which here was one during evaluation.
const BUILD_FAILED: Exit = Exit::Code(100);
/// Part of the identity: changed when this file reads the same answers differently.
const FORMAT: u32 = 1;

/// An [`Evaluator`] that asks the `nix` program.
#[derive(Debug, Clone)]
pub struct NixEvaluator {
    /// The program.
    pub nix: NixProgram,
    /// The store in which derivations are written.
    pub store: StoreConfig,
    /// Where Nix caches what it fetches.
    pub cache_dir: PathBuf,
    /// How evaluations are kept from the rest of this machine.
    pub confinement: Confinement,
}

impl Evaluator for NixEvaluator {
    fn identity(&self) -> String {
        let confined = if self.confinement == Confinement::None { "open" } else { "confined" };
        let source = NarHash::of(JOBS.as_bytes());
        format!("nix {} {confined} {} {source} {FORMAT}", self.nix.identity(), self.store.dir)
    }

    fn evaluate(&self, request: &Request) -> Result<Evaluation, EvaluateError> {
        let asking = Asking {
            evaluator: self,
            flake: &request.flake,
            system: &request.system,
            limits: &request.limits,
            head: OnceLock::new(),
        };
        let paths = match &request.only {
            None => vec![AttrPath::root()],
            Some(paths) => outermost(paths),
        };
        let found = if paths.is_empty() { Vec::new() } else { find_all(&asking, paths)? };
        let head = asking.head()?;
        let mut jobs: Vec<EvaluatedJob> =
            found.into_iter().map(|found| asking.job(found, &head.source)).collect();
        jobs.sort_by(|a, b| a.attr_path.cmp(&b.attr_path));
        if jobs.is_empty() && head.output == JobsOutput::ChecksAndPackages {
            let system = AttrPath::root().child(&request.system);
            let mut tried = vec!["levainJobs".to_owned(), "hydraJobs".to_owned()];
            tried.extend(["checks", "packages"].map(|output| format!("{output}.{system}")));
            return Err(EvaluateError::NoJobs { tried });
        }
        let flake = LockedFlakeRef { nar_hash: Some(head.nar_hash), ..request.flake.clone() };
        let (source, output) = (head.source.clone(), head.output);
        Ok(Evaluation { flake, store_dir: self.store.dir.clone(), source, output, jobs })
    }

    fn declaration(
        &self,
        flake: &LockedFlakeRef,
        limits: &Limits,
    ) -> Result<Option<serde_json::Value>, EvaluateError> {
        let head = OnceLock::new();
        let asking = Asking { evaluator: self, flake, system: "", limits, head };
        match asking.question("declaration", None)? {
            Ok(AnswerText::Declaration { present, value }) => Ok(present.then_some(value)),
            Ok(other) => Err(unexpected(&other)),
            Err(failure) => Err(asking.hopeless(failure)),
        }
    }
}

/// The questions about one flake.
struct Asking<'a> {
    evaluator: &'a NixEvaluator,
    flake: &'a LockedFlakeRef,
    system: &'a str,
    limits: &'a Limits,
    /// What every answer says; kept from the first one.
    head: OnceLock<Head>,
}

#[derive(Debug, Clone)]
struct Head {
    source: String,
    nar_hash: NarHash,
    output: JobsOutput,
}

/// An answer of `jobs.nix`.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum AnswerText {
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
struct FoundText {
    path: Vec<String>,
    kind: String,
    job: Option<JobText>,
}

#[derive(Debug, Deserialize)]
struct DescriptionText {
    #[serde(default)]
    children: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JobText {
    name: String,
    system: String,
    drv_path: String,
    outputs: BTreeMap<String, String>,
    levain: String,
    description: Option<String>,
}

/// The answer of `tree.nix`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TreeText {
    source: String,
    has_flake: bool,
    has_lock: bool,
}

/// Something that was found, or Nix's error.
enum Found {
    Text(FoundText),
    Failed(AttrPath, EvalFailure),
}

impl Asking<'_> {
    /// Returns what every answer says about the flake; asks for it if nothing was asked so far.
    fn head(&self) -> Result<&Head, EvaluateError> {
        if self.head.get().is_none()
            && let Err(failure) = self.walk(&[])?
        {
            return Err(self.hopeless(failure));
        }
        self.head.get().ok_or_else(|| EvaluateError::Unreadable { what: "it is empty".to_owned() })
    }

    /// Asks `jobs.nix` a question of this kind, about these paths.
    fn question(&self, kind: &str, about: Option<(&str, Data)>) -> Answer<AnswerText, Self> {
        let mut query = vec![("kind", Data::from(kind))];
        query.extend(about);
        let narrowed = self.flake.nar_hash.map(|hash| Data::from(hash.to_string()));
        let arguments = Data::set([
            ("url", Data::from(self.flake.to_nix_url())),
            ("narHash", narrowed.unwrap_or(Data::Null)),
            ("system", Data::from(self.system)),
            ("maxDepth", Data::Integer(MAX_DEPTH)),
            ("query", Data::set(query)),
        ]);
        let answer = match self.eval(JOBS, &arguments)? {
            Ok(answer) => answer,
            Err(failure) => return Ok(Err(failure)),
        };
        match answer {
            AnswerText::NarHashMismatch { found } => Err(EvaluateError::NarHashMismatch {
                flake: Box::new(self.flake.clone()),
                expected: self.flake.nar_hash.unwrap_or(found),
                found,
            }),
            AnswerText::NotAnAttributeSet { output, found } => {
                Err(EvaluateError::OutputNotAnAttributeSet { output, found: phrase(&found) })
            }
            AnswerText::Declaration { .. } => Ok(Ok(answer)),
            AnswerText::Answer { output, nar_hash, ref source, .. } => {
                // Every answer says the same: the flake is locked.
                self.head.get_or_init(|| Head { source: source.clone(), nar_hash, output });
                Ok(Ok(answer))
            }
        }
    }

    /// Applies a Nix function to plain data.
    fn eval<T: DeserializeOwned>(&self, function: &str, arguments: &Data) -> Answer<T, Self> {
        let evaluator = self.evaluator;
        let mut visible = self.limits.readable.clone();
        visible.push(self.flake.location.clone());
        let request = EvalRequest {
            expression: format!("({function}) {}", arguments.print()),
            store: evaluator.store.clone(),
            read_only: false,
            allow_import_from_derivation: self.limits.allow_import_from_derivation,
            max_call_depth: None,
            visible,
            confinement: evaluator.confinement.clone(),
            cache_dir: evaluator.cache_dir.clone(),
        };
        match evaluator.nix.eval(&request) {
            // Strings in Nix are bytes. Whatever is wrong in one name must not hide all others.
            Ok(json) => match serde_json::from_str(&String::from_utf8_lossy(&json)) {
                Ok(answer) => Ok(Ok(answer)),
                Err(error) => Err(EvaluateError::Unreadable { what: error.to_string() }),
            },
            Err(EvalError::Failed(failure)) => Ok(Err(failure)),
            Err(other) => Err(EvaluateError::NixProgram(Box::new(other))),
        }
    }

    /// Looks at the tree of a flake that cannot be evaluated.
    fn tree(&self) -> Option<TreeText> {
        let mut repository = LockedFlakeRef { shallow: false, ..self.flake.clone() }.to_nix_url();
        repository.truncate(repository.find('?').unwrap_or(repository.len()));
        let arguments = Data::set([
            ("url", Data::from(repository.trim_start_matches("git+"))),
            ("ref", Data::from(self.flake.reference.as_str())),
            ("rev", Data::from(self.flake.revision.as_str())),
            ("shallow", Data::Bool(self.flake.shallow)),
        ]);
        self.eval(TREE, &arguments).ok()?.ok()
    }

    /// Returns what was found in the words of the evaluation.
    fn job(&self, found: Found, source: &str) -> EvaluatedJob {
        match found {
            Found::Failed(attr_path, failure) => {
                EvaluatedJob { attr_path, outcome: Err(self.job_error(&failure, source)) }
            }
            Found::Text(FoundText { path, kind, job }) => {
                let attr_path = AttrPath::new(path);
                let outcome = match job {
                    Some(job) => self.derivation(job),
                    None => Err(kind_error(&attr_path, &kind)),
                };
                EvaluatedJob { attr_path, outcome }
            }
        }
    }

    fn derivation(&self, job: JobText) -> Result<JobDerivation, JobError> {
        let dir = &self.evaluator.store.dir;
        let unknown = |path: &str| JobError {
            kind: JobErrorKind::UnknownOutputs,
            message: format!(
                "expected a store path, found `{path}`\nhint: content-addressed derivations (`__contentAddressed`) cannot be jobs"
            ),
        };
        let mut outputs = BTreeMap::new();
        for (name, path) in job.outputs {
            let Ok(parsed) = dir.parse(&path) else { return Err(unknown(&path)) };
            outputs.insert(name, parsed);
        }
        let Ok(derivation) = dir.parse_derivation(&job.drv_path) else {
            return Err(unknown(&job.drv_path));
        };
        let levain = serde_json::from_str(&job.levain).map_err(|error| JobError {
            kind: JobErrorKind::Options,
            message: format!(
                "attribute `levain` of the derivation: {error}\nhint: it is an attribute set with `key`, `ignoreEnv` and `maskInputs`, each optional"
            ),
        })?;
        let JobText { name, system, description, .. } = job;
        Ok(JobDerivation { name, system, derivation, outputs, levain, description })
    }

    fn job_error(&self, failure: &EvalFailure, source: &str) -> JobError {
        let kind = match failure.exit {
            BUILD_FAILED => JobErrorKind::ImportFromDerivation,
            Exit::Code(_) | Exit::Signal(_) if self.refused_to_build(failure) => {
                JobErrorKind::ImportFromDerivation
            }
            Exit::Code(_) | Exit::Signal(_) => JobErrorKind::Evaluation,
        };
        JobError { kind, message: self.message(failure, Some(source)) }
    }

    /// Returns whether something needs to be built during evaluation, which is not allowed.
    fn refused_to_build(&self, failure: &EvalFailure) -> bool {
        !self.limits.allow_import_from_derivation
            && message::is_about_import_from_derivation(&failure.message)
    }

    /// Returns the message for people, with a hint where there is one.
    fn message(&self, failure: &EvalFailure, source: Option<&str>) -> String {
        let text = describe(failure, source);
        if self.refused_to_build(failure) {
            let hint = "set `evaluation.allowImportFromDerivation = true` in `levainProject`";
            return format!("{text}\nhint: {hint}");
        }
        text
    }
}

impl Questions for Asking<'_> {
    type Found = Found;
    type Failure = EvalFailure;
    type Fatal = EvaluateError;

    fn walk(&self, paths: &[AttrPath]) -> Answer<(Vec<Found>, Vec<AttrPath>), Self> {
        let about = ("paths", Data::List(paths.iter().map(names).collect()));
        let answer = match self.question("walk", Some(about))? {
            Ok(answer) => answer,
            Err(failure) => return Ok(Err(failure)),
        };
        let AnswerText::Answer { found: Some(all), .. } = answer else {
            return Err(unexpected(&answer));
        };
        let (caught, found): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|found| found.kind == "thrown");
        let caught = caught.into_iter().map(|found| AttrPath::new(found.path)).collect();
        Ok(Ok((found.into_iter().map(Found::Text).collect(), caught)))
    }

    fn ask(&self, path: &AttrPath) -> Answer<Vec<Found>, Self> {
        let about = ("paths", Data::List(vec![names(path)]));
        match self.question("ask", Some(about))? {
            Ok(AnswerText::Answer { found: Some(found), .. }) => {
                Ok(Ok(found.into_iter().map(Found::Text).collect()))
            }
            Ok(other) => Err(unexpected(&other)),
            Err(failure) => Ok(Err(failure)),
        }
    }

    fn children(&self, path: &AttrPath) -> Answer<Vec<String>, Self> {
        match self.question("describe", Some(("path", names(path))))? {
            Ok(AnswerText::Answer { description: Some(description), .. }) => {
                Ok(Ok(description.children))
            }
            Ok(other) => Err(unexpected(&other)),
            Err(failure) => Ok(Err(failure)),
        }
    }

    fn failed(&self, path: AttrPath, failure: EvalFailure) -> Found {
        Found::Failed(path, failure)
    }

    fn hopeless(&self, failure: EvalFailure) -> EvaluateError {
        // Asked only now: a Nix that is too old fails somehow, and one that is not need not be asked.
        if let Err(error) = self.evaluator.nix.version() {
            return EvaluateError::NixProgram(Box::new(error));
        }
        let flake = Box::new(self.flake.clone());
        let tree = self.tree();
        let message = self.message(&failure, tree.as_ref().map(|tree| tree.source.as_str()));
        match tree {
            Some(TreeText { has_flake: false, .. }) => EvaluateError::NotAFlake { flake },
            tree if message::is_about_lock_file(&failure.message) => {
                let state = match tree {
                    Some(TreeText { has_lock: false, .. }) => LockFileState::Missing,
                    Some(TreeText { has_lock: true, .. }) | None => LockFileState::Stale,
                };
                EvaluateError::LockFile { flake, state, message }
            }
            Some(_) | None => EvaluateError::FlakeFailed { flake, message },
        }
    }
}

fn names(path: &AttrPath) -> Data {
    Data::List(path.names().iter().map(|name| Data::from(name.as_str())).collect())
}

/// Returns the paths without those that stand inside others.
fn outermost(paths: &[AttrPath]) -> Vec<AttrPath> {
    let mut sorted = paths.to_vec();
    sorted.sort();
    let mut kept: Vec<AttrPath> = Vec::new();
    for path in sorted {
        if !kept.last().is_some_and(|last| last.is_prefix_of(&path)) {
            kept.push(path);
        }
    }
    kept
}

/// Returns Nix's message, or what its end means when it could not say anything.
fn describe(failure: &EvalFailure, source: Option<&str>) -> String {
    let text = message::clean(&failure.message, source);
    match failure.exit {
        Exit::Signal(signal) => {
            let cause = "the evaluation ran out of stack or memory (infinite recursion?)";
            format!("{text}\n{cause}: signal {signal}").trim_start().to_owned()
        }
        Exit::Code(code) if text.is_empty() => format!("nix ended with exit status {code}"),
        Exit::Code(_) => text,
    }
}

fn kind_error(path: &AttrPath, kind: &str) -> JobError {
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
        "set" => (
            JobErrorKind::NotADerivation { found: phrase("set") },
            "expected a derivation, found an attribute set\nhint: set `recurseForDerivations` in it: `true` if there are jobs inside, `false` if not".to_owned(),
        ),
        other => {
            let found = phrase(other);
            let message = format!(
                "expected a derivation, found {found}\nhint: jobs are derivations, in attribute sets of any depth; remove what is neither"
            );
            (JobErrorKind::NotADerivation { found }, message)
        }
    };
    JobError { kind, message }
}

/// Returns the name of a type in a sentence.
fn phrase(type_name: &str) -> String {
    match type_name {
        "null" => "null".to_owned(),
        "int" => "an integer".to_owned(),
        "bool" => "a boolean".to_owned(),
        "set" => "an attribute set".to_owned(),
        "lambda" => "a function".to_owned(),
        other => format!("a {other}"),
    }
}

fn unexpected(answer: &AnswerText) -> EvaluateError {
    let what = match answer {
        AnswerText::NarHashMismatch { .. } | AnswerText::NotAnAttributeSet { .. } => "an error",
        AnswerText::Declaration { .. } => "a declaration",
        AnswerText::Answer { .. } => "an answer to another question",
    };
    EvaluateError::Unreadable { what: format!("found {what}") }
}
