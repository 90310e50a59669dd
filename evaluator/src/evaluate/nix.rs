//! The evaluator that asks the `nix` program, in pure mode.
//!
//! `jobs.nix` beside this file does the finding; here are the questions to it and the reading of its
//! answers. The arguments are printed as plain data, never spliced into the expression.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use levain_store::{
    AllowedPath, CommitView, Confinement, Deadline, EvalError, EvalFailure, EvalRequest, Exceeded,
    Exit, NarHash, NixProgram, ProcessLimits, ShowError, ShownCommit, Store, StoreConfig,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::answers::{
    AnswerText, Failed, Found, FoundText, JobText, MAX_DEPTH, MAX_PLACES, kind_error, phrase,
    unexpected, without_repetitions,
};
use super::bisect::{Answer, Questions, Start, find_all};
use super::derivations::{
    Derivations, Said, StoredDerivations, established, levain_left_out, resolve_constituents,
};
use super::fetched::Fetched;
use super::fetching::{Unfetched, fetch};
use super::interview::{faults, parted};
use super::{
    EvaluateError, EvaluatedJob, Evaluation, JobError, JobErrorKind, JobEvaluator, JobsOutput,
    Limits, LockFileState, Request, Resources, limits, message,
};
use crate::attr_path::AttrPath;
use crate::flake_ref::LockedFlakeRef;
use crate::nix_data::{Data, quote_string};
use crate::pointer::Tier;

const JOBS: &str = include_str!("jobs.nix");
const TEXT: &str = include_str!("text.nix");
const OUTPUTS: &str = include_str!("outputs.nix");
const KINDS: &str = include_str!("kinds.nix");
const TREE: &str = include_str!("tree.nix");
/// How many processes an evaluation may take that a session was of no use for.
const MAX_PROCESSES: usize = 400;
/// The exit status for a build that failed, which here was one during evaluation.
const BUILD_FAILED: Exit = Exit::Code(100);
/// Part of the identity: changed when this file reads the same answers differently.
const FORMAT: u32 = 3;

/// Who is evaluated without a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithoutSandbox {
    /// The project's own branches.
    Branches,
    /// Anybody: the operator trusts the authors.
    Anyone,
}

/// An [`JobEvaluator`] that asks the `nix` program.
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
    /// Who is evaluated where there is no sandbox.
    pub without_sandbox: WithoutSandbox,
    /// What lock files may name on this machine.
    pub allowed_paths: Vec<AllowedPath>,
    /// What any evaluation may take.
    pub ceilings: Resources,
}

impl JobEvaluator for NixEvaluator {
    fn identity(&self) -> String {
        let confined = if self.confinement == Confinement::None { "open" } else { "confined" };
        let source = NarHash::of([JOBS, TEXT, OUTPUTS, KINDS].concat().as_bytes());
        let (nix, language) = (self.nix.identity(), self.nix.language(&self.store));
        format!("nix {nix} {confined} {} {source} {FORMAT} {language}", self.store.dir)
    }

    fn evaluate(&self, request: &Request) -> Result<Evaluation, EvaluateError> {
        let asking = Asking {
            outputs: request.outputs.as_deref(),
            ..Asking::new(self, &request.flake, &request.system, &request.limits)?
        };
        let paths = match &request.only {
            None => vec![AttrPath::root()],
            Some(paths) => outermost(paths),
        };
        let work = || {
            let found = if paths.is_empty() { Vec::new() } else { asking.find(paths)? };
            let limit = asking.resources.jobs;
            if found.len() > limit {
                return Err(EvaluateError::TooManyJobs { found: found.len(), limit });
            }
            Ok((found, asking.head()?))
        };
        let store = Store::new(self.store.clone());
        let ((found, head), mut derivations) = StoredDerivations::opened_beside(store, work)?;
        let mut jobs = asking.jobs(found, &head.source, &mut derivations)?;
        // Garbage may be collected as soon as an evaluation has ended.
        let lost = |job: &EvaluatedJob| {
            job.outcome.as_ref().is_err_and(|error| error.kind == JobErrorKind::NoSuchDerivation)
        };
        let again: Vec<AttrPath> =
            jobs.iter().filter(|job| lost(job)).map(|job| job.attr_path.clone()).collect();
        if !again.is_empty() {
            jobs.retain(|job| !lost(job));
            let found = asking.find(again)?;
            jobs.extend(asking.jobs(found, &head.source, &mut derivations)?);
        }
        let mut jobs: Vec<EvaluatedJob> = jobs.into_iter().map(limits::bounded).collect();
        jobs.sort_by(|a, b| a.attr_path.cmp(&b.attr_path));
        let complete = request.only.is_none();
        resolve_constituents(&self.store.dir, &mut jobs, complete, &mut derivations)?;
        if jobs.is_empty() && head.output == JobsOutput::ChecksAndPackages {
            let system = AttrPath::root().child(&request.system);
            let mut tried = vec!["levainJobs".to_owned(), "hydraJobs".to_owned()];
            tried.extend(["checks", "packages"].map(|output| format!("{output}.{system}")));
            return Err(EvaluateError::NoJobs { tried });
        }
        if jobs.is_empty()
            && let Some(outputs) = &request.outputs
        {
            return Err(EvaluateError::NoJobs { tried: outputs.clone() });
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
        let asking = Asking::new(self, flake, "", limits)?;
        match asking.question(&json!({ "kind": "declaration" })) {
            Ok(Ok(AnswerText::Declaration { present, value })) => Ok(present.then_some(value)),
            Ok(Ok(other)) => Err(unexpected(&other)),
            Ok(Err(failure)) => Err(asking.hopeless(failure)),
            // What Nix can print and a reader of JSON refuses is the flake's doing.
            Err(EvaluateError::Unreadable { what }) if what.contains("recursion limit") => {
                let message = "the flake output `levainProject` is nested too deeply\nhint: docs/declaration.md lists every key";
                Err(EvaluateError::FlakeFailed {
                    flake: Box::new(flake.clone()),
                    message: message.to_owned(),
                })
            }
            Err(error) => Err(error),
        }
    }
}

/// The questions about one flake.
pub(super) struct Asking<'a> {
    pub(super) evaluator: &'a NixEvaluator,
    flake: &'a LockedFlakeRef,
    system: &'a str,
    limits: &'a Limits,
    /// The outputs that are looked at, if they are named.
    outputs: Option<&'a [String]>,
    resources: Resources,
    /// When all questions have to be answered.
    deadline: Deadline,
    /// What a confined evaluation sees of the flake's repository.
    shown: Option<Arc<CommitView>>,
    /// Where what it fetches is noted.
    fetched: Fetched,
    /// Inputs that could not be fetched before.
    unfetched: Vec<Unfetched<'a>>,
    /// What every answer says; kept from the first one.
    head: OnceLock<Head>,
    /// How many processes were started.
    asked: AtomicUsize,
}

#[derive(Debug, Clone)]
struct Head {
    source: String,
    nar_hash: NarHash,
    output: JobsOutput,
}

/// The answer of `tree.nix`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TreeText {
    source: String,
    has_flake: bool,
    flakes_below: Vec<String>,
    has_lock: bool,
}

impl<'a> Asking<'a> {
    /// Fetches what may be fetched before anything is asked.
    fn new(
        evaluator: &'a NixEvaluator,
        flake: &'a LockedFlakeRef,
        system: &'a str,
        limits: &'a Limits,
    ) -> Result<Self, EvaluateError> {
        let is_strangers = limits.tier > Tier::Branch;
        if is_strangers
            && evaluator.confinement == Confinement::None
            && evaluator.without_sandbox == WithoutSandbox::Branches
        {
            return Err(EvaluateError::NoSandbox);
        }
        let resources = evaluator.ceilings.lowered(limits.wishes);
        let shown = show(evaluator, flake, limits, resources)?.map(Arc::new);
        let fetched = Fetched::of(&evaluator.cache_dir, limits)?;
        let unfetched = fetch(evaluator, &limits.inputs, resources, &fetched.with_credentials())?;
        Ok(Self {
            evaluator,
            flake,
            system,
            limits,
            outputs: None,
            resources,
            deadline: Deadline::after(resources.time),
            shown,
            fetched,
            unfetched,
            head: OnceLock::new(),
            asked: AtomicUsize::new(0),
        })
    }
}

/// Makes the commit visible where everything else is hidden.
fn show(
    evaluator: &NixEvaluator,
    flake: &LockedFlakeRef,
    limits: &Limits,
    resources: Resources,
) -> Result<Option<CommitView>, EvaluateError> {
    if evaluator.confinement == Confinement::None {
        return Ok(None);
    }
    let LockedFlakeRef { location, reference, revision, shallow, .. } = flake;
    let links = &limits.links;
    let commit = ShownCommit { location, reference, revision, shallow: *shallow, links };
    match evaluator.nix.show_commit(&commit, &evaluator.store, resources.time) {
        Ok(view) => Ok(Some(view)),
        Err(ShowError::TooLong) => Err(Exceeded::Time(resources.time).into()),
        Err(ShowError::Git { message }) => {
            let message = message.lines().next().unwrap_or("git says nothing");
            let message = format!("cannot fetch it from the repository: {message}");
            Err(EvaluateError::FlakeFailed { flake: Box::new(flake.clone()), message })
        }
        Err(error @ ShowError::Io(_)) => Err(EvaluateError::NixProgram(Box::new(error))),
    }
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

    /// Returns everything that is found at and below these paths.
    ///
    /// One evaluation finds all jobs if nothing fails. If something does, a session tells what, and one
    /// more evaluation finds all others. Only if the two disagree, attributes are asked for one by one.
    fn find(&self, paths: Vec<AttrPath>) -> Result<Vec<Found>, EvaluateError> {
        let first = self.walked(&paths, &json!({}))?;
        let caught = match &first {
            Ok((_, caught)) if caught.is_empty() => None,
            Ok((_, caught)) => Some(caught.clone()),
            Err(_) => None,
        };
        let found = match (first, caught) {
            (Ok((found, _)), None) => found,
            (first, caught) => match self.find_others(&paths, first.ok(), caught) {
                Some(found) => found,
                None => find_all(self, Start::Walk(paths))?,
            },
        };
        Ok(without_repetitions(found))
    }

    /// Finds what fails in a session, and everything else in an evaluation without it. Returns nothing
    /// if the two disagree.
    fn find_others(
        &self,
        paths: &[AttrPath],
        first: Option<(Vec<Found>, Vec<AttrPath>)>,
        caught: Option<Vec<AttrPath>>,
    ) -> Option<Vec<Found>> {
        let faults = match faults(self, paths.to_vec(), caught) {
            Ok(faults) => faults,
            Err(error) => {
                tracing::debug!(%error, "no session tells what fails");
                return None;
            }
        };
        let listed = |failed: &[Failed]| failed.iter().map(|one| names(&one.path)).collect();
        let failed: Vec<serde_json::Value> = listed(&faults.failed);
        let found = match first {
            Some((found, caught)) if caught.len() == failed.len() => found,
            _ => {
                let without = json!({
                    "jobs": failed,
                    "description": faults.description.iter().map(names).collect::<Vec<_>>(),
                    "levain": listed(&faults.levain) as Vec<serde_json::Value>,
                });
                match self.walked(paths, &without) {
                    Ok(Ok((found, caught))) if caught.is_empty() => found,
                    Ok(_) | Err(_) => {
                        tracing::debug!("a session and an evaluation disagree about what fails");
                        return None;
                    }
                }
            }
        };
        let doubts = faults.levain.into_iter().map(Found::Doubtful);
        Some(
            found
                .into_iter()
                .chain(faults.failed.into_iter().map(Found::Failed))
                .chain(doubts)
                .collect(),
        )
    }

    fn walked(
        &self,
        paths: &[AttrPath],
        without: &serde_json::Value,
    ) -> Answer<(Vec<Found>, Vec<AttrPath>), Self> {
        let paths: Vec<_> = paths.iter().map(names).collect();
        Ok(self.found(&json!({ "kind": "walk", "paths": paths, "without": without }))?.map(parted))
    }

    fn found(&self, query: &serde_json::Value) -> Answer<Vec<FoundText>, Self> {
        match self.question(query)? {
            Ok(AnswerText::Answer { found: Some(found), .. }) => Ok(Ok(found)),
            Ok(other) => Err(unexpected(&other)),
            Err(failure) => Ok(Err(failure)),
        }
    }

    /// Asks `jobs.nix`.
    fn question(&self, query: &serde_json::Value) -> Answer<AnswerText, Self> {
        let expression = format!("{} {}", self.subject(), from_json(query));
        match self.eval(expression)? {
            Ok(json) => self.read(&json).map(Ok),
            Err(failure) => Ok(Err(failure)),
        }
    }

    /// Returns the expression of the function that answers queries.
    pub(super) fn subject(&self) -> String {
        let arguments = from_json(&json!({
            "url": self.flake.to_nix_url(),
            "narHash": self.flake.nar_hash.map(|hash| hash.to_string()),
            "system": self.system,
            "maxDepth": MAX_DEPTH,
            "maxPlaces": MAX_PLACES,
            "outputs": self.outputs,
        }));
        // Each on lines of its own, so that its comments are.
        format!("(\n{JOBS}) (\n{TEXT}) (\n{OUTPUTS}) (\n{KINDS}) {arguments}")
    }

    /// Reads an answer of `jobs.nix`.
    pub(super) fn read(&self, json: &[u8]) -> Result<AnswerText, EvaluateError> {
        let answer = parsed(json)?;
        match answer {
            AnswerText::NarHashMismatch { found } => Err(EvaluateError::NarHashMismatch {
                flake: Box::new(self.flake.clone()),
                expected: self.flake.nar_hash.unwrap_or(found),
                found,
            }),
            AnswerText::NotAnAttributeSet { output, found } => {
                Err(EvaluateError::OutputNotAnAttributeSet { output, found: phrase(&found) })
            }
            AnswerText::Declaration { .. } => Ok(answer),
            AnswerText::Answer { output, nar_hash, ref source, .. } => {
                // Every answer says the same: the flake is locked.
                self.head.get_or_init(|| Head { source: source.clone(), nar_hash, output });
                Ok(answer)
            }
        }
    }

    pub(super) fn request(&self, expression: String) -> Result<EvalRequest, EvaluateError> {
        let evaluator = self.evaluator;
        let time = self.deadline.left()?;
        Ok(EvalRequest {
            expression,
            store: evaluator.store.clone(),
            read_only: false,
            allow_import_from_derivation: self.limits.allow_import_from_derivation,
            max_call_depth: None,
            repository: self.shown.clone(),
            confinement: evaluator.confinement.clone(),
            cache_dir: self.fetched.by_evaluations(),
            settings_dir: evaluator.cache_dir.join("settings"),
            limits: ProcessLimits { memory: Some(self.resources.memory), time: Some(time) },
        })
    }

    pub(super) fn too_late(&self) -> EvaluateError {
        self.deadline.exceeded().into()
    }

    /// Evaluates an expression; returns its value as JSON.
    fn eval(&self, expression: String) -> Answer<Vec<u8>, Self> {
        if self.asked.fetch_add(1, Ordering::Relaxed) == MAX_PROCESSES {
            let what = format!("more than {MAX_PROCESSES} evaluations do not tell what fails");
            return Err(EvaluateError::Unreadable { what });
        }
        match self.evaluator.nix.eval(&self.request(expression)?) {
            Ok(json) => Ok(Ok(json)),
            Err(EvalError::Failed(failure)) => match failure.exceeded {
                Some(Exceeded::Time(_)) => Err(self.too_late()),
                Some(exceeded @ Exceeded::Output(_)) => Err(exceeded.into()),
                Some(Exceeded::Memory(_)) | None => Ok(Err(failure)),
            },
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
        parsed(&self.eval(format!("({TREE}) {}", arguments.print())).ok()?.ok()?).ok()
    }

    /// Returns what was found in the words of the evaluation.
    fn jobs(
        &self,
        found: Vec<Found>,
        source: &str,
        derivations: &mut dyn Derivations,
    ) -> Result<Vec<EvaluatedJob>, EvaluateError> {
        let dir = &self.evaluator.store.dir;
        let mut jobs = Vec::with_capacity(found.len());
        let mut doubts = BTreeMap::new();
        for found in found {
            let (attr_path, outcome) = match found {
                Found::Failed(failed) => {
                    let error = self.job_error(&failed, source);
                    (failed.path, Err(error))
                }
                Found::Doubtful(failed) => {
                    doubts.insert(failed.path, self.message(&failed.failure, Some(source)));
                    continue;
                }
                Found::Text(FoundText { path, kind, job }) => {
                    let attr_path = AttrPath::new(path);
                    let outcome = match job {
                        Some(JobText { drv_path, levain, description, constituents }) => {
                            let said = Said { drv_path, levain, description, constituents };
                            established(dir, said, derivations)?
                        }
                        None => Err(kind_error(&attr_path, &kind)),
                    };
                    (attr_path, outcome)
                }
            };
            jobs.push(EvaluatedJob { attr_path, outcome });
        }
        for job in &mut jobs {
            if let Ok(derivation) = &mut job.outcome
                && let Some(message) = doubts.remove(&job.attr_path)
            {
                derivation.doubts.push(levain_left_out(&message));
            }
        }
        Ok(jobs)
    }

    fn job_error(&self, failed: &Failed, source: &str) -> JobError {
        let failure = &failed.failure;
        let is_certain = || {
            matches!(failure.exit, Exit::Code(_))
                && message::is_about_the_flake(&failure.message, source)
        };
        let kind = if failure.exceeded.is_some() {
            JobErrorKind::Limit
        } else if failed.caught {
            JobErrorKind::Evaluation
        } else if self.refused_to_build(failure) {
            JobErrorKind::ImportFromDerivation
        } else if failure.exit == BUILD_FAILED || message::is_about_failed_build(&failure.message) {
            JobErrorKind::FailedImport
        } else if is_about_fetching(failure) {
            JobErrorKind::Fetch
        } else if is_certain() {
            JobErrorKind::Evaluation
        } else {
            JobErrorKind::Machine
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
        let mut text = limits::shortened(&describe(failure, source));
        let mut add = |more: &str| {
            // Nix shows what the proxy answers, but not what it answers to a request for a tunnel.
            if !text.contains(more.lines().next().unwrap_or_default()) {
                text = format!("{text}\n{more}").trim_start().to_owned();
            }
        };
        let named = |unfetched: &&Unfetched<'_>| unfetched.input.is_named_in(&failure.message);
        let explained = self.unfetched.iter().any(|unfetched| named(&unfetched));
        for Unfetched { message, .. } in self.unfetched.iter().filter(named) {
            add(&format!("fetching it before the evaluation: {message}"));
        }
        failure.refusals.iter().for_each(|refusal| add(&refusal.to_string()));
        failure.exceeded.iter().for_each(|exceeded| add(&exceeded.to_string()));
        let withheld = &self.limits.withheld;
        if let Some(input) = withheld.iter().find(|input| input.is_named_in(&failure.message)) {
            add(&format!(
                "`{0}` is an input that the default branch does not have\nhint: a pull request gets such inputs without credentials, and none from this machine; add `{0}` to the default branch first",
                input.place()
            ));
        } else if !explained && self.is_hidden(&failure.message) {
            add(
                "hint: an evaluation sees no files but those of its commit and of the store; `--unconfined` shows it everything",
            );
        }
        if self.refused_to_build(failure) {
            let hint = "set `evaluation.allowImportFromDerivation = true` in `levainProject`";
            return format!("{text}\nhint: {hint}");
        }
        text
    }
}

impl Asking<'_> {
    /// Returns whether a file may be missing only because the evaluation is confined.
    fn is_hidden(&self, message: &str) -> bool {
        let dir = self.evaluator.store.dir.as_str();
        self.evaluator.confinement != Confinement::None
            && message::is_about_missing_files(message, dir)
    }
}

/// Returns whether another time or place may give another answer.
fn is_about_fetching(failure: &EvalFailure) -> bool {
    !failure.refusals.is_empty() || message::is_about_fetching(&failure.message)
}

impl Questions for Asking<'_> {
    type Found = Found;
    type Failure = EvalFailure;
    type Fatal = EvaluateError;

    fn walk(&self, paths: &[AttrPath]) -> Answer<(Vec<Found>, Vec<AttrPath>), Self> {
        self.walked(paths, &json!({}))
    }

    fn ask(&self, path: &AttrPath) -> Answer<Vec<Found>, Self> {
        let found = self.found(&json!({ "kind": "ask", "paths": [names(path)] }))?;
        Ok(found.map(|found| found.into_iter().map(Found::Text).collect()))
    }

    fn children(&self, path: &AttrPath) -> Answer<Vec<String>, Self> {
        match self.question(&json!({ "kind": "describe", "path": names(path) }))? {
            Ok(AnswerText::Answer { description: Some(description), .. }) => {
                Ok(Ok(description.children))
            }
            Ok(other) => Err(unexpected(&other)),
            Err(failure) => Ok(Err(failure)),
        }
    }

    fn failed(&self, path: AttrPath, failure: EvalFailure, caught: bool) -> Found {
        Found::Failed(Failed { path, failure, caught })
    }

    fn hopeless(&self, failure: EvalFailure) -> EvaluateError {
        // Asked only now: a Nix that is too old fails somehow, and one that is not need not be asked.
        if let Err(error) = self.evaluator.nix.version() {
            return EvaluateError::NixProgram(Box::new(error));
        }
        if let Some(exceeded) = failure.exceeded {
            return exceeded.into();
        }
        let flake = Box::new(self.flake.clone());
        let tree = self.tree();
        let message = self.message(&failure, tree.as_ref().map(|tree| tree.source.as_str()));
        match tree {
            Some(TreeText { has_flake: false, flakes_below: below, .. }) => {
                EvaluateError::NotAFlake { flake, below }
            }
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

pub(super) fn names(path: &AttrPath) -> serde_json::Value {
    json!(path.names())
}

/// Returns an expression for plain data: one line of ASCII, whatever is in it.
pub(super) fn from_json(value: &serde_json::Value) -> String {
    let mut ascii = String::new();
    for character in value.to_string().chars() {
        if character.is_ascii() && !character.is_ascii_control() {
            ascii.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    format!("(builtins.fromJSON {})", quote_string(&ascii))
}

fn parsed<T: DeserializeOwned>(json: &[u8]) -> Result<T, EvaluateError> {
    // Strings in Nix are bytes. Whatever is wrong in one name must not hide all others.
    serde_json::from_str(&String::from_utf8_lossy(json))
        .map_err(|error| EvaluateError::Unreadable { what: error.to_string() })
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
    let text = message::without_local_hashes(&message::clean(&failure.message, source));
    match failure.exit {
        Exit::Signal(signal) => {
            let cause = "the evaluation ran out of stack or memory (infinite recursion?)";
            format!("{text}\n{cause}: signal {signal}").trim_start().to_owned()
        }
        Exit::Code(code) if text.is_empty() => format!("nix ended with exit status {code}"),
        Exit::Code(_) => text,
    }
}
