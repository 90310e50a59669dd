//! Which attributes fail, and how: asked of one Nix that outlives errors.
//!
//! What this finds is errors only. Older versions of Nix are not pure in a session, so the jobs are
//! found by a pure evaluation that leaves out what fails, and if that one fails nonetheless, nothing
//! of this is used. Start at [`faults`].

use std::sync::{Mutex, MutexGuard, PoisonError};

use levain_store::{EvalFailure, EvalSession, Exceeded, Exit, SessionError};
use serde_json::json;

use super::EvaluateError;
use super::answers::{AnswerText, DescriptionText, Failed, Found, FoundText, unexpected};
use super::bisect::{Answer, Questions, Start, find_all};
use super::nix::{Asking, from_json, names};
use crate::attr_path::AttrPath;

/// How often a session is begun anew that an evaluation has ended, as Nix 2.8 ends when its stack is
/// full.
const MAX_SESSIONS: u32 = 40;

/// How many errors are asked of a process each that the session does not tell.
const MAX_ASKED: usize = 16;

/// What fails in a flake.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Attributes that fail.
    pub(super) failed: Vec<Failed>,
    /// Jobs of which only the description fails.
    pub(super) description: Vec<AttrPath>,
    /// Jobs of which only `levain` fails (and perhaps the description).
    pub(super) levain: Vec<Failed>,
}

/// Returns what fails at and below these paths; `caught` are all that do if that is known.
pub(super) fn faults(
    asking: &Asking<'_>,
    paths: Vec<AttrPath>,
    caught: Option<Vec<AttrPath>>,
) -> Result<Faults, EvaluateError> {
    let interview = Interview { asking, state: Mutex::new(State { session: None, begun: 0 }) };
    let start = match caught {
        Some(caught) => Start::Ask(caught),
        None => Start::Walk(paths),
    };
    let mut faults = Faults::default();
    for found in find_all(&interview, start)? {
        if let Found::Failed(failed) = found {
            interview.sort(failed, &mut faults)?;
        }
    }
    let untold = faults.failed.iter_mut().filter(|failed| failed.failure.message.is_empty());
    for failed in untold.take(MAX_ASKED) {
        if let Err(failure) = asking.ask(&failed.path)? {
            failed.failure = failure;
        }
    }
    Ok(faults)
}

struct Interview<'a> {
    asking: &'a Asking<'a>,
    state: Mutex<State>,
}

struct State {
    session: Option<EvalSession>,
    begun: u32,
}

impl Interview<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        // What is guarded is whole at every step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn question(&self, query: &serde_json::Value) -> Answer<AnswerText, Self> {
        let mut state = self.state();
        let mut session = match state.session.take() {
            Some(session) => session,
            None if state.begun == MAX_SESSIONS => return Err(ended("Nix ended too often")),
            None => {
                state.begun += 1;
                let request = self.asking.request(self.asking.subject())?;
                EvalSession::start(&self.asking.evaluator.nix, &request)
                    .map_err(|error| ended(&error.to_string()))?
            }
        };
        match session.ask(&format!("subject {}", from_json(query))) {
            Ok(answer) => {
                state.session = Some(session);
                match answer {
                    Ok(json) => Ok(Ok(self.asking.read(&json)?)),
                    Err(failure) => Ok(Err(failure)),
                }
            }
            Err(SessionError::Ended(failure))
                if matches!(failure.exceeded, Some(Exceeded::Time(_))) =>
            {
                Err(self.asking.too_late())
            }
            Err(SessionError::Ended(failure)) => {
                // By its own doing, so that it is told from an error that did not end it.
                let exit = if failure.exit == Exit::Code(1) { Exit::Code(0) } else { failure.exit };
                Ok(Err(EvalFailure { exit, ..*failure }))
            }
            Err(SessionError::Eval(error)) => Err(EvaluateError::NixProgram(Box::new(error))),
        }
    }

    fn found(&self, query: &serde_json::Value) -> Answer<Vec<FoundText>, Self> {
        match self.question(query)? {
            Ok(AnswerText::Answer { found: Some(found), .. }) => Ok(Ok(found)),
            Ok(other) => Err(unexpected(&other)),
            Err(failure) => Ok(Err(failure)),
        }
    }

    fn describe(&self, path: &AttrPath) -> Answer<DescriptionText, Self> {
        match self.question(&json!({ "kind": "describe", "path": names(path) }))? {
            Ok(AnswerText::Answer { description: Some(description), .. }) => Ok(Ok(description)),
            Ok(other) => Err(unexpected(&other)),
            Err(failure) => Ok(Err(failure)),
        }
    }

    /// Finds out whether a job fails, or only what it says about itself.
    fn sort(&self, failed: Failed, faults: &mut Faults) -> Result<(), EvaluateError> {
        // What ends Nix ends it however it is asked for.
        let is_job = failed.failure.exit == Exit::Code(1)
            && matches!(self.describe(&failed.path)?, Ok(description) if description.kind == "derivation");
        if !is_job {
            faults.failed.push(failed);
            return Ok(());
        }
        let path = [names(&failed.path)];
        let asked = |without: serde_json::Value| {
            self.found(&json!({ "kind": "ask", "paths": &path, "without": without }))
        };
        match asked(json!({ "description": &path }))? {
            Ok(_) => faults.description.push(failed.path),
            Err(_) if asked(json!({ "levain": &path }))?.is_ok() => faults.levain.push(failed),
            // What fails without the description is not the description.
            Err(failure) if asked(json!({ "description": &path, "levain": &path }))?.is_ok() => {
                faults.description.push(failed.path.clone());
                faults.levain.push(Failed { failure, ..failed });
            }
            Err(_) => faults.failed.push(failed),
        }
        Ok(())
    }
}

fn ended(what: &str) -> EvaluateError {
    EvaluateError::Unreadable { what: what.to_owned() }
}

impl Questions for Interview<'_> {
    type Found = Found;
    type Failure = EvalFailure;
    type Fatal = EvaluateError;

    fn walk(&self, paths: &[AttrPath]) -> Answer<(Vec<Found>, Vec<AttrPath>), Self> {
        let paths: Vec<_> = paths.iter().map(names).collect();
        let found = self.found(&json!({ "kind": "walk", "paths": paths }))?;
        Ok(found.map(parted))
    }

    fn ask(&self, path: &AttrPath) -> Answer<Vec<Found>, Self> {
        let found = self.found(&json!({ "kind": "ask", "paths": [names(path)] }))?;
        Ok(found.map(|found| found.into_iter().map(Found::Text).collect()))
    }

    fn children(&self, path: &AttrPath) -> Answer<Vec<String>, Self> {
        Ok(self.describe(path)?.map(|description| description.children))
    }

    fn failed(&self, path: AttrPath, failure: EvalFailure, caught: bool) -> Found {
        Found::Failed(Failed { path, failure, caught })
    }

    fn hopeless(&self, failure: EvalFailure) -> EvaluateError {
        // Only a pure evaluation says so.
        ended(&failure.message)
    }

    fn is_cheap(&self) -> bool {
        true
    }
}

/// Returns what was found, and the paths whose error was caught.
pub(super) fn parted(all: Vec<FoundText>) -> (Vec<Found>, Vec<AttrPath>) {
    let (caught, found): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|found| found.kind == "thrown");
    let caught = caught.into_iter().map(|found| AttrPath::new(found.path)).collect();
    (found.into_iter().map(Found::Text).collect(), caught)
}
