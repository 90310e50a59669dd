//! The pure evaluator alone: a locked jobset and a cache pointer to jobs.
//!
//! The pointer reaches the flake as the file in its tree, so a commit that
//! carries exactly that file is evaluated as it is, and any other in a shadow
//! commit that is made aside. Neither writes to the repository.

use levain_actions::git::{CommitId, CommitIdError, GitError, PlainFile};
use levain_actions::shadow::{MOST_POINTER, ShadowCommit, ShadowFiles};
use levain_evaluator::evaluate::{Evaluation, Limits, Request};
use levain_evaluator::pointer::{Pointer, PointerError, Tier};
use levain_evaluator::{EvaluateError, FlakeUrl, JobName, LockedFlakeRef};
use serde_json::{Value, json};

use crate::digest::sha256_hex;
use crate::inputs;
use crate::project::{Project, ProjectError, Surroundings, open_location};
use crate::shadowing::{ShadowingError, aside};
use crate::state::State;

/// What to evaluate.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// The locked jobset.
    pub jobset: FlakeUrl,
    /// The content of the pointer file; `null` if absent.
    pub pointer: Option<Vec<u8>>,
    /// Names of the two files.
    pub files: ShadowFiles,
    /// What the evaluation may do.
    pub limits: Limits,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// The repository.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// The commit.
    #[error(transparent)]
    Commit(#[from] CommitIdError),
    /// Git.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The pointer file.
    #[error("cache pointer rejected: {0}")]
    Pointer(#[from] PointerError),
    /// The pointer file has an entry that cannot be used.
    #[error("cache pointer rejected: entry `{job}`: {message}")]
    Entry {
        /// The job.
        job: JobName,
        /// What is wrong.
        message: String,
    },
    /// The shadow commit.
    #[error(transparent)]
    Shadow(#[from] ShadowingError),
    /// The evaluation.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
}

/// Evaluates, and returns the result as JSON: the two inputs and the jobs.
///
/// Nothing in it depends on where the repository lies.
pub fn eval(surroundings: &Surroundings, inputs: &Inputs) -> Result<Value, EvalError> {
    let store_dir = surroundings.store.dir();
    let pointer = inputs.pointer.as_deref().unwrap_or(b"null\n");
    if let Pointer::Entries(entries) = Pointer::parse(store_dir, pointer)? {
        for (job, entry) in entries {
            entry.map_err(|error| EvalError::Entry { job, message: error.to_string() })?;
        }
    }
    let (repository, reference) = open_location(surroundings, &inputs.jobset)?;
    let commit: CommitId = inputs.jobset.revision.parse()?;
    // Whoever names a jobset on the command line has looked at it.
    let locked = inputs::Inputs::of(&repository, commit, Tier::DefaultBranch, None)?;
    let links = State::of(repository.git_dir()).links();
    let limits = locked.within(Limits { links, ..inputs.limits.clone() });
    let present = repository.plain_file(commit, inputs.files.pointer(), MOST_POINTER)?;
    let as_it_is = match &present {
        PlainFile::Content(text) => text == pointer,
        PlainFile::Nothing => inputs.pointer.is_none(),
        PlainFile::TooLarge | PlainFile::Other { .. } => false,
    };
    let mut flake = Project::flake(&repository, &reference, commit);
    flake.nar_hash = inputs.jobset.nar_hash;
    let mut _overlay = None;
    if !as_it_is {
        // The hash is that of the tree without the pointer: check it on the side.
        let locked = flake.clone();
        if locked.nar_hash.is_some() {
            evaluate(surroundings, &limits, locked, Some(Vec::new()))?;
        }
        let shadow = ShadowCommit {
            previous: None,
            original: commit,
            built: commit,
            pointer,
            message: "levain: evaluation with a given pointer\n",
        };
        let reference = "refs/levain-eval/shadow";
        let (made, id) = aside(&repository, &shadow, &inputs.files, reference)?;
        flake = Project::flake(&made.repository, reference, id);
        _overlay = Some(made);
    }
    let evaluation = evaluate(surroundings, &limits, flake, None)?;
    let mut result = serde_json::to_value(&evaluation).unwrap_or_else(|_| json!({}));
    if let Value::Object(result) = &mut result {
        result.insert(
            "inputs".into(),
            json!({
                "revision": inputs.jobset.revision,
                "pointer": sha256_hex(pointer),
            }),
        );
    }
    Ok(result)
}

fn evaluate(
    surroundings: &Surroundings,
    limits: &Limits,
    flake: LockedFlakeRef,
    only: Option<Vec<levain_evaluator::AttrPath>>,
) -> Result<Evaluation, EvaluateError> {
    surroundings.evaluator.evaluate(&Request {
        flake,
        system: surroundings.system.clone(),
        only,
        outputs: None,
        limits: limits.clone(),
    })
}
