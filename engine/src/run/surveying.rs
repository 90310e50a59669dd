//! The first stage: which jobs there are, and which of them are fresh.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use levain_evaluator::JobName;
use levain_evaluator::evaluate::{JobDerivation, JobError};
use levain_evaluator::pointer::Entry;
use levain_store::{Connection, DerivationPath};

use super::{Run, RunError, now};
use crate::choose::{Choice, Reason, Refusal};
use crate::connections::{Connections, LazyConnection};
use crate::evaluations::{self, Evaluated};
use crate::event::{Stage, What};
use crate::plan::{self, Finding, PlanError, PlannedJob, Planner};
use crate::pointers::{Entries, pointer_for};
use crate::success::{Success, Successes};

/// How often a jobset is evaluated again whose derivations are gone.
const EVALUATIONS: u32 = 3;

/// What the base evaluation says, and what is known about its jobs.
pub(super) struct Survey {
    pub(super) evaluated: Evaluated,
    pub(super) jobs: Vec<PlannedJob>,
    pub(super) errors: Vec<(JobName, JobError)>,
    /// Jobs of systems that the declaration does not name.
    pub(super) left_out: Vec<(JobName, JobDerivation)>,
}

impl Survey {
    pub(super) fn is_all_fresh(&self) -> bool {
        self.jobs.iter().all(|job| match job.finding {
            Finding::Fresh(_) | Finding::Built => true,
            Finding::Stale { .. } => false,
        })
    }

    /// Returns the pointer file for the shadow evaluation. If there is nothing
    /// to build, there is nothing to choose either: entries stay as they are.
    ///
    /// Entries of jobs that are gone go in either case, unless `is_newer` says
    /// that they were made from a later commit, about whose jobs this one says
    /// nothing.
    pub(super) fn pointer(&self, own: &Entries, is_newer: &dyn Fn(&Entry) -> bool) -> Entries {
        let errors = self.errors.iter().map(|(path, _)| path);
        let left_out = self.left_out.iter().map(|(path, _)| path);
        let unevaluated: Vec<&JobName> = errors.chain(left_out).collect();
        let kept = own
            .iter()
            .filter(|(job, entry)| {
                plan::is_known(job, &self.jobs, &unevaluated) || entry.as_ref().is_ok_and(is_newer)
            })
            .map(|(job, entry)| (job.clone(), entry.clone()))
            .collect();
        if self.is_all_fresh() {
            return kept;
        }
        let jobs = self.jobs.iter().map(|job| (&job.attr_path, job.starts_from()));
        pointer_for(&kept, jobs)
    }

    /// Returns whether a job is an aggregate.
    pub(super) fn is_aggregate(&self, attr_path: &JobName) -> bool {
        self.jobs.iter().any(|job| job.attr_path == *attr_path && job.is_aggregate())
    }

    pub(super) fn stale(&self) -> impl Iterator<Item = &PlannedJob> {
        self.jobs.iter().filter(|job| matches!(job.finding, Finding::Stale { .. }))
    }
}

impl Run<'_> {
    pub(super) fn planner(&self) -> Planner<'_> {
        Planner {
            records: self.project.records.as_ref(),
            jobset: &self.head.jobset,
            incremental: &self.project.declaration.incremental,
            mode: self.mode,
            ignore_successes: self.options.rebuild,
            now: now(),
        }
    }

    /// Evaluates the original commit, and tells fresh jobs from those that have to be built.
    pub(super) fn survey(&mut self, connections: &mut Connections) -> Result<Survey, RunError> {
        let (base, mode) = self.evaluate_base(&mut || connections.warm())?;
        self.mode = mode;
        let survey = self.plan(base, &mut connections.watch)?;
        let jobs = survey.jobs.iter().map(|job| &job.attr_path);
        let broken = survey.errors.iter().map(|(attr_path, _)| attr_path);
        let jobs = jobs.chain(broken).cloned().collect();
        self.tell.what(What::JobsFound { jobs });
        Ok(survey)
    }

    /// Tells fresh jobs from those that have to be built.
    pub(super) fn plan(
        &mut self,
        base: Evaluated,
        connection: &mut LazyConnection,
    ) -> Result<Survey, RunError> {
        let started = Instant::now();
        let mut survey = self.plan_once(base, connection)?;
        // A remembered evaluation may have outlived its derivations, and garbage may be collected
        // as soon as an evaluation has ended.
        for _ in 0..EVALUATIONS {
            if !self.has_lost_derivations(&survey, connection)? {
                break;
            }
            let request = self.request(survey.evaluated.remembered.evaluation.flake.clone());
            let evaluation = self.surroundings.evaluator.evaluate(&request)?;
            let again = Evaluated {
                id: survey.evaluated.id,
                remembered: evaluations::Remembered { evaluation, keys: BTreeMap::new() },
                memoized: false,
            };
            survey = self.plan_once(again, connection)?;
        }
        self.seconds.plan += started.elapsed().as_secs_f64();
        Ok(survey)
    }

    fn plan_once(
        &self,
        evaluated: Evaluated,
        connection: &mut LazyConnection,
    ) -> Result<Survey, PlanError> {
        let planner = self.planner();
        let known = self.successes(evaluated.bases())?;
        let mut jobs = Vec::new();
        let mut errors = Vec::new();
        let mut left_out = Vec::new();
        let systems = &self.project.declaration.systems;
        for job in &evaluated.remembered.evaluation.jobs {
            let attr_path = JobName::from(&job.attr_path);
            match &job.outcome {
                Err(error) => errors.push((attr_path, error.clone())),
                Ok(base) if !systems.is_empty() && !systems.contains(&base.system) => {
                    left_out.push((attr_path, base.clone()));
                }
                Ok(base) => {
                    let finding = planner.fresh(base, &known, &mut |path| {
                        Ok::<_, PlanError>(connection.get()?.is_valid(path)?)
                    })?;
                    let finding = match finding {
                        Some(Finding::Fresh(success))
                            if self.options.outputs
                                && !self.has_outputs(&success, connection)? =>
                        {
                            None
                        }
                        other => other,
                    };
                    let finding = finding.unwrap_or_else(|| Finding::Stale {
                        key: None,
                        choice: Choice::none(Refusal::new(Reason::FirstBuild, "")),
                    });
                    jobs.push(PlannedJob { attr_path, base: base.clone(), finding });
                }
            }
        }
        Ok(Survey { evaluated, jobs, errors, left_out })
    }

    /// Returns what is known of base derivations.
    pub(super) fn successes<'b>(
        &self,
        bases: impl Iterator<Item = &'b JobDerivation>,
    ) -> Result<BTreeMap<DerivationPath, Successes>, PlanError> {
        let bases: BTreeSet<DerivationPath> = bases.map(|base| base.derivation.clone()).collect();
        Ok(self.project.records.successes(&bases)?)
    }

    /// Returns whether the outputs of a success are in the store.
    fn has_outputs(
        &self,
        success: &Success,
        connection: &mut LazyConnection,
    ) -> Result<bool, PlanError> {
        let connection = connection.get()?;
        for path in success.outputs.values() {
            // What is no path of this store was built for another one.
            let Ok(path) = self.surroundings.store.dir().parse(path) else { return Ok(false) };
            if !connection.is_valid(&path)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Keeps the derivations to build until the connection ends, and says whether any is gone.
    fn has_lost_derivations(
        &self,
        survey: &Survey,
        connection: &mut LazyConnection,
    ) -> Result<bool, PlanError> {
        for job in survey.stale() {
            if !hold(connection.get()?, &job.base.derivation)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Keeps a derivation from garbage collection until the connection ends; says whether it is there.
pub(super) fn hold(
    connection: &mut Connection,
    derivation: &DerivationPath,
) -> Result<bool, PlanError> {
    // First the root, then the question: so the answer stays true.
    connection.add_temp_root(derivation.as_store_path())?;
    Ok(connection.is_valid(derivation.as_store_path())?)
}

/// Tells how many jobs there are of each sort.
pub(super) fn stage_of(survey: &Survey) -> Stage {
    let jobs = survey.stale().count();
    Stage::Build { jobs, fresh: survey.jobs.len() - jobs }
}
