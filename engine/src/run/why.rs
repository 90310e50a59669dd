//! Why a job would be built, and with which cache or why with none.
//!
//! Takes the same steps as a run up to the choice, and writes nothing.

use levain_evaluator::key::{self, KeyChange};
use levain_evaluator::{JobName, JobsetName};
use serde::Serialize;

use super::choosing::Choices;
use super::surveying::Survey;
use super::{Hearers, Opened, Options, Run, RunError};
use crate::cancel::Cancel;
use crate::choose::{Origin, Refusal};
use crate::connections::LazyConnection;
use crate::event::{Event, Tell};
use crate::plan::{Finding, PlannedJob};
use crate::pointers::ShadowName;
use crate::project::Surroundings;
use crate::report::CacheReport;
use crate::shadowing::Shadowing;

/// The answer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    /// The job.
    pub attr_path: JobName,
    /// The jobset.
    pub jobset: JobsetName,
    /// The original commit.
    pub original_commit: String,
    /// Its base derivation.
    pub base_drv_path: String,
    /// The commit that it is unchanged since, if there is nothing to build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unchanged_since: Option<String>,
    /// Whether it would be built.
    pub would_build: bool,
    /// The key of its cache, if it has a cache output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The cache that it would start from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheReport>,
    /// Why it would start from none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    /// The entries that were looked at and refused.
    pub considered: Vec<Considered>,
    /// What differs from the key of the own entry.
    pub key_changes: Vec<Changed>,
}

/// An entry that was looked at.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Considered {
    /// Where it was found.
    pub origin: Origin,
    /// The shadow branch on which it stands; empty for an own entry that cannot be read.
    #[serde(rename = "jobset")]
    pub shadow: ShadowName,
    /// Why it is not used.
    pub refusal: Refusal,
}

/// A part of the key that differs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Changed {
    /// Its name, as in `env CFLAGS`.
    pub component: String,
    /// Its value when the entry was recorded.
    pub before: Option<String>,
    /// Its value now.
    pub after: Option<String>,
}

impl From<KeyChange> for Changed {
    fn from(change: KeyChange) -> Self {
        Self { component: change.component, before: change.before, after: change.after }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum WhyError {
    /// A step failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The job itself cannot be evaluated.
    #[error("job `{job}` cannot be evaluated: {message}")]
    Broken {
        /// The job.
        job: JobName,
        /// Nix's message.
        message: String,
    },
    /// There is no such job.
    #[error("the jobset has no job `{job}`\nhint: {}", hint(known))]
    Unknown {
        /// What was asked for.
        job: JobName,
        /// The jobs there are, most similar first.
        known: Vec<JobName>,
    },
}

fn hint(known: &[JobName]) -> String {
    if known.is_empty() {
        return "it has no jobs at all; see `levainJobs` in its flake".into();
    }
    let shown: Vec<String> = known.iter().take(5).map(|job| format!("`{job}`")).collect();
    format!("did you mean {}?", shown.join(", "))
}

/// Says why `job` would be built.
pub fn why(
    surroundings: &Surroundings,
    options: &Options,
    job: &JobName,
    tell: &dyn Fn(Event),
) -> Result<Why, WhyError> {
    let Opened { mut project, head, statuses: _ } = Opened::new(surroundings, options)?;
    project.require_declaration(Some(head.built)).map_err(RunError::from)?;
    let shadowing = Shadowing::new(&project, &head).map_err(RunError::from)?;
    let cancel = Cancel::default();
    let hearers = Hearers { tell: Tell::new(tell), is_over: &|_| false };
    let run = Run::new(surroundings, options, &cancel, hearers, &project, &head, &shadowing);
    run.why(job)
}

impl Survey {
    /// Returns the job of that name, or an error that says what there is instead.
    pub(super) fn find(&self, job: &JobName) -> Result<&PlannedJob, WhyError> {
        if let Some((_, error)) = self.errors.iter().find(|(path, _)| path == job) {
            let message = error.message.clone();
            return Err(WhyError::Broken { job: job.clone(), message });
        }
        self.jobs.iter().find(|known| known.attr_path == *job).ok_or_else(|| {
            let mut known: Vec<JobName> =
                self.jobs.iter().map(|known| known.attr_path.clone()).collect();
            known.sort_by_key(|known| strsim::levenshtein(known.as_str(), job.as_str()));
            WhyError::Unknown { job: job.clone(), known }
        })
    }
}

impl Run<'_> {
    fn why(mut self, job: &JobName) -> Result<Why, WhyError> {
        let (base, mode) = self.evaluate_base(&mut || {})?;
        self.mode = mode;
        let mut connection = LazyConnection::new(&self.surroundings.store);
        let mut survey = self.plan(base, &mut connection)?;
        survey.find(job)?;
        survey.jobs.retain(|known| known.attr_path == *job);
        let Choices { survey, before } = self.choose(survey, &mut connection)?;
        let own_key = before
            .entries
            .as_ref()
            .and_then(|entries| entries.get(job)?.as_ref().ok())
            .map(|entry| entry.key.clone());
        let found = survey.find(job)?;
        let dir = self.surroundings.store.dir();
        let mut why = Why {
            attr_path: job.clone(),
            jobset: self.head.jobset.name(),
            original_commit: self.head.commit.to_string(),
            base_drv_path: dir.display(found.base.derivation.as_store_path()),
            unchanged_since: None,
            would_build: false,
            key: None,
            cache: None,
            refusal: None,
            considered: Vec::new(),
            key_changes: Vec::new(),
        };
        match &found.finding {
            Finding::Fresh(success) => why.unchanged_since = Some(success.commit.to_string()),
            Finding::Built => {}
            Finding::Stale { key, choice } => {
                why.would_build = true;
                why.key = key.as_ref().map(|key| key.key().to_string());
                why.refusal = choice.refusal().cloned();
                why.considered = choice
                    .refused
                    .iter()
                    .map(|(origin, shadow, refusal)| Considered {
                        origin: *origin,
                        shadow: shadow.clone().unwrap_or_default(),
                        refusal: refusal.clone(),
                    })
                    .collect();
                if let Ok((origin, candidate)) = &choice.outcome {
                    why.cache = Some(CacheReport::new(dir, *origin, candidate));
                }
                if let (Some(key), Some(own)) = (key, own_key) {
                    let asked = [own.clone()].into();
                    let recorded = self.project.records.keys(&asked).map_err(RunError::from)?;
                    why.key_changes = recorded
                        .get(&own)
                        .map(|recorded| key::difference(recorded, key))
                        .unwrap_or_default()
                        .into_iter()
                        .map(Changed::from)
                        .collect();
                }
            }
        }
        Ok(why)
    }
}
