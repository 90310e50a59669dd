//! Evaluations as JSON, complete in themselves: whole store paths, and the directory to read them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use levain_store::{NarHash, StoreDir, StorePathError};
use serde::{Deserialize, Serialize};

use super::{EvaluatedJob, Evaluation, JobDerivation, JobError, JobsOutput};
use crate::attr_path::AttrPath;
use crate::flake_ref::LockedFlakeRef;
use crate::key::KeyOptions;
use crate::names::JobName;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct EvaluationText {
    flake: FlakeText,
    store_dir: String,
    source: String,
    output: JobsOutput,
    jobs: Vec<EvaluatedJobText>,
}

/// A locked flake reference without its location.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FlakeText {
    #[serde(rename = "ref")]
    reference: String,
    #[serde(rename = "rev")]
    revision: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    nar_hash: Option<NarHash>,
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    shallow: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EvaluatedJobText {
    attr_path: AttrPath,
    #[serde(flatten)]
    outcome: OutcomeText,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum OutcomeText {
    Error { error: JobError },
    Job(JobText),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JobText {
    name: String,
    system: String,
    drv_path: String,
    outputs: BTreeMap<String, String>,
    #[serde(default)]
    levain: KeyOptions,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    description: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    constituents: Vec<JobName>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    doubts: Vec<String>,
}

/// Why a JSON document is no evaluation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// A path is not one of the store that the document names.
    #[error(transparent)]
    Path(#[from] StorePathError),
}

impl From<Evaluation> for EvaluationText {
    fn from(evaluation: Evaluation) -> Self {
        let Evaluation { flake, store_dir, source, output, jobs } = evaluation;
        let LockedFlakeRef { location: _, reference, revision, nar_hash, shallow } = flake;
        let job_text = |job: JobDerivation| JobText {
            name: job.name,
            system: job.system,
            drv_path: store_dir.display(job.derivation.as_store_path()),
            outputs: job.outputs.into_iter().map(|(n, p)| (n, store_dir.display(&p))).collect(),
            levain: job.levain,
            description: job.description,
            constituents: job.constituents,
            doubts: job.doubts,
        };
        let jobs = jobs
            .into_iter()
            .map(|EvaluatedJob { attr_path, outcome }| EvaluatedJobText {
                attr_path,
                outcome: match outcome {
                    Ok(job) => OutcomeText::Job(job_text(job)),
                    Err(error) => OutcomeText::Error { error },
                },
            })
            .collect();
        Self {
            flake: FlakeText { reference, revision, nar_hash, shallow },
            store_dir: store_dir.as_str().to_owned(),
            source,
            output,
            jobs,
        }
    }
}

impl TryFrom<EvaluationText> for Evaluation {
    type Error = DocumentError;

    fn try_from(text: EvaluationText) -> Result<Self, DocumentError> {
        let EvaluationText { flake, store_dir, source, output, jobs } = text;
        let store_dir = StoreDir::new(store_dir)?;
        let _valid = store_dir.parse(&source)?;
        let jobs = jobs
            .into_iter()
            .map(|EvaluatedJobText { attr_path, outcome }| {
                let outcome = match outcome {
                    OutcomeText::Error { error } => Err(error),
                    OutcomeText::Job(job) => Ok(read_job(&store_dir, job)?),
                };
                Ok(EvaluatedJob { attr_path, outcome })
            })
            .collect::<Result<_, DocumentError>>()?;
        let FlakeText { reference, revision, nar_hash, shallow } = flake;
        let location = PathBuf::new();
        let flake = LockedFlakeRef { location, reference, revision, nar_hash, shallow };
        Ok(Self { flake, store_dir, source, output, jobs })
    }
}

fn read_job(dir: &StoreDir, job: JobText) -> Result<JobDerivation, StorePathError> {
    let outputs = job.outputs.into_iter().map(|(name, path)| Ok((name, dir.parse(&path)?)));
    Ok(JobDerivation {
        name: job.name,
        system: job.system,
        derivation: dir.parse_derivation(&job.drv_path)?,
        outputs: outputs.collect::<Result<_, StorePathError>>()?,
        levain: job.levain,
        description: job.description,
        constituents: job.constituents,
        doubts: job.doubts,
    })
}
