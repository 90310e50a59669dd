//! Evaluations, remembered.
//!
//! An evaluation is a pure function of a locked jobset and a cache pointer, both
//! of which are in the commit. So its result is kept under everything it
//! depends on, and asking again costs one file read instead of a process.

use levain_evaluator::evaluate::{Evaluation, JobDerivation, JobError, JobEvaluator, Request};
use levain_evaluator::key::KeyDocument;
use levain_evaluator::pointer::Tier;
use levain_evaluator::{EvaluateError, JobName, LockedFlakeRef};
use serde::{Deserialize, Serialize};

use crate::digest::sha256_hex;
use crate::records::{Records, RecordsError};
use crate::state::StateWriter;

/// The version of what is remembered; another one is evaluated anew.
///
/// What is remembered of a derivation was read in its file. It stays true without the file, since
/// the path is a hash of the content.
const FORMAT: u32 = 4;

/// An evaluation and what was found out about its derivations.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Remembered {
    /// The evaluation.
    pub evaluation: Evaluation,
    /// Keys of jobs, as far as they were computed.
    #[serde(default)]
    pub keys: std::collections::BTreeMap<JobName, KeyDocument>,
}

/// A result and whether it had to be computed.
pub(crate) struct Evaluated {
    /// The name under which it is remembered.
    pub id: String,
    /// The result.
    pub remembered: Remembered,
    /// Whether it was found rather than computed.
    pub memoized: bool,
}

impl Evaluated {
    /// Returns the base derivations of all jobs that have one.
    pub(crate) fn bases(&self) -> impl Iterator<Item = &JobDerivation> {
        self.remembered.evaluation.jobs.iter().filter_map(|job| job.outcome.as_ref().ok())
    }
}

/// Returns the name under which the evaluation of `request` is remembered.
///
/// The location of the repository is not part of it; the commit identifies the tree.
pub(crate) fn id(evaluator: &dyn JobEvaluator, store_dir: &str, request: &Request) -> String {
    let mut text = format!("levain evaluation {FORMAT}\n");
    for part in [
        evaluator.identity().as_str(),
        store_dir,
        &request.flake.revision,
        if request.flake.shallow { "shallow" } else { "" },
        &request.system,
        if request.limits.allow_import_from_derivation { "import-from-derivation" } else { "" },
        // What was found out while somebody's code was at work says nothing about the project's own.
        if request.limits.tier <= Tier::Branch { "branch" } else { "" },
    ] {
        text.push_str(&format!("{}:{part}\n", part.len()));
    }
    for output in request.outputs.iter().flatten() {
        text.push_str(&format!("output {output}\n"));
    }
    for path in request.only.iter().flatten() {
        text.push_str(&format!("only {path}\n"));
    }
    sha256_hex(text.as_bytes())
}

/// There is no evaluation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EvaluatedError {
    /// It failed.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// What is remembered cannot be reached.
    #[error(transparent)]
    Records(#[from] RecordsError),
}

/// Evaluates `request`, or finds out that this was done before. Calls `on_work`
/// before it evaluates.
pub(crate) fn evaluate(
    evaluator: &dyn JobEvaluator,
    store_dir: &str,
    request: &Request,
    records: &dyn Records,
    on_work: &mut dyn FnMut(),
) -> Result<Evaluated, EvaluatedError> {
    let id = id(evaluator, store_dir, request);
    if let Some(mut remembered) = records.evaluation(&id)? {
        remembered.evaluation.flake = LockedFlakeRef {
            nar_hash: remembered.evaluation.flake.nar_hash,
            ..request.flake.clone()
        };
        return Ok(Evaluated { id, remembered, memoized: true });
    }
    on_work();
    let evaluation = evaluator.evaluate(request)?;
    let remembered = Remembered { evaluation, keys: std::collections::BTreeMap::new() };
    Ok(Evaluated { id, remembered, memoized: false })
}

/// Returns whether a result is the flake's alone: another evaluation would give it again.
fn is_lasting(evaluation: &Evaluation) -> bool {
    evaluation.jobs.iter().all(|job| job.outcome.as_ref().err().is_none_or(JobError::is_lasting))
}

/// Remembers a result. A failure costs time later, nothing else.
pub(crate) fn remember(records: &dyn Records, writer: Option<&StateWriter>, evaluated: &Evaluated) {
    let Some(writer) = writer.filter(|_| is_lasting(&evaluated.remembered.evaluation)) else {
        return;
    };
    if let Err(error) = records.remember_evaluation(writer, &evaluated.id, &evaluated.remembered) {
        tracing::warn!(%error, "cannot remember an evaluation");
    }
}

#[cfg(test)]
mod tests;
