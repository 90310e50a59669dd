//! The steps of a run between evaluation and building: what is fresh, and which
//! caches are chosen. What is built then is in `resolving.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use levain_actions::git::{CommitId, SourceIndex};
use levain_evaluator::JobName;
use levain_evaluator::evaluate::{JobDerivation, JobError};
use levain_evaluator::key::KeyDocument;
use levain_evaluator::pointer::Entry;
use levain_store::{Connection, DerivationPath, StorePath};

use super::{Run, RunError, now};
use crate::candidates::KnownEntries;
use crate::choose::{Choice, Reason, Refusal};
use crate::connections::LazyConnection;
use crate::declaration::Mode;
use crate::dropped;
use crate::evaluations::{self, Evaluated};
use crate::event::Stage;
use crate::jobset::Shadowed;
use crate::plan::{self, Finding, PlanError, PlannedJob, Planner, Sources};
use crate::pointers::{Entries, FoundBranch, pointer_for};
use crate::project::{Place, ProjectError};
use crate::report::{Undelivered, UndeliveredKind};
use crate::success::{Success, Successes};

/// How often a jobset is evaluated again whose derivations are gone.
const EVALUATIONS: u32 = 3;

/// What the base evaluation says, and what is known about its jobs.
pub(super) struct PlannedJobs {
    pub(super) evaluated: Evaluated,
    pub(super) jobs: Vec<PlannedJob>,
    pub(super) errors: Vec<(JobName, JobError)>,
    /// Jobs of systems that the declaration does not name.
    pub(super) left_out: Vec<(JobName, JobDerivation)>,
}

impl PlannedJobs {
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

/// The shadow branch as the run found it.
#[derive(Default)]
pub(super) struct ShadowBefore {
    pub(super) recorded: Option<FoundBranch>,
    pub(super) head: Option<CommitId>,
    pub(super) shadowed: Option<Shadowed>,
    pub(super) entries: Option<Entries>,
}

impl ShadowBefore {
    /// Returns the entry of a job, if there is a good one.
    fn entry(&self, attr_path: &JobName) -> Option<&Entry> {
        self.entries.as_ref()?.get(attr_path)?.as_ref().ok()
    }
}

impl Run<'_> {
    fn planner(&self) -> Planner<'_> {
        Planner {
            records: self.project.records.as_ref(),
            jobset: &self.head.jobset,
            incremental: &self.project.declaration.incremental,
            mode: self.mode,
            ignore_successes: self.options.rebuild,
            now: now(),
        }
    }

    /// Tells fresh jobs from those that have to be built.
    pub(super) fn plan(
        &mut self,
        base: Evaluated,
        connection: &mut LazyConnection,
    ) -> Result<PlannedJobs, RunError> {
        let started = Instant::now();
        let mut planned = self.plan_once(base, connection)?;
        // A remembered evaluation may have outlived its derivations, and garbage may be collected
        // as soon as an evaluation has ended.
        for _ in 0..EVALUATIONS {
            if !self.has_lost_derivations(&planned, connection)? {
                break;
            }
            let request = self.request(planned.evaluated.remembered.evaluation.flake.clone());
            let evaluation = self.surroundings.evaluator.evaluate(&request)?;
            let again = Evaluated {
                id: planned.evaluated.id,
                remembered: evaluations::Remembered { evaluation, keys: BTreeMap::new() },
                memoized: false,
            };
            planned = self.plan_once(again, connection)?;
        }
        self.seconds.plan += started.elapsed().as_secs_f64();
        Ok(planned)
    }

    fn plan_once(
        &self,
        evaluated: Evaluated,
        connection: &mut LazyConnection,
    ) -> Result<PlannedJobs, PlanError> {
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
        Ok(PlannedJobs { evaluated, jobs, errors, left_out })
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
        planned: &PlannedJobs,
        connection: &mut LazyConnection,
    ) -> Result<bool, PlanError> {
        for job in planned.stale() {
            if !hold(connection.get()?, &job.base.derivation)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Computes the keys of jobs with a cache output, and chooses the caches of stale ones.
    pub(super) fn choose(
        &mut self,
        planned: &mut PlannedJobs,
        connection: &mut LazyConnection,
    ) -> Result<ShadowBefore, RunError> {
        let started = Instant::now();
        let fetching = self.seconds.git;
        if !planned.is_all_fresh() && self.mode != Mode::Off {
            self.fetch_shadows();
        }
        let before = self.shadow_before()?;
        self.compute_keys(planned, &before)?;
        if !planned.is_all_fresh() {
            let others = match self.mode {
                Mode::Incremental => self.shadowing.known().map_err(ProjectError::from)?,
                Mode::Record | Mode::Off => Vec::new(),
            };
            let own = match (&before.recorded, &before.entries) {
                (_, Some(entries)) => Ok(entries.clone()),
                (Some(recorded), None) => recorded.entries.clone(),
                (None, None) => Ok(Entries::new()),
            };
            let marks = self.project.records.marks().map_err(PlanError::from)?;
            let mut known = KnownEntries::new(
                &self.project.repository,
                &self.project.layout,
                &self.head.jobset,
                self.head.built,
                own,
                &others,
                dropped::of_jobset(&marks, &self.head.jobset.name()),
            );
            let planner = self.planner();
            let off = dropped::switched_off(&marks, &self.head.jobset.name());
            for job in &mut planned.jobs {
                let attr_path = &job.attr_path;
                if let Finding::Stale { key, choice } = &mut job.finding {
                    *key = planned.evaluated.remembered.keys.get(attr_path).cloned();
                    if let Some(commit) = off.get(attr_path) {
                        let detail = format!(
                            "an audit of {} found that its cache lied; `levain cache allow {attr_path}` turns caches on again",
                            commit.short()
                        );
                        *choice = Choice::none(Refusal::new(Reason::Disabled, detail));
                        continue;
                    }
                    let connection = connection.get().map_err(PlanError::from)?;
                    *choice =
                        planner.choose(attr_path, &job.base, key.as_ref(), &mut known, connection);
                }
            }
        }
        self.seconds.plan += started.elapsed().as_secs_f64() - (self.seconds.git - fetching);
        Ok(before)
    }

    fn fetch_shadows(&mut self) {
        // A mirror is levain's own, but a checkout is somebody else's, with all its refs.
        if let (None, Place::Directory(_)) = (&self.project.writer, &self.options.place) {
            if self.shadowing.exchanged().is_some() {
                let text = "read-only: shadow branches are not fetched, only known ones are used";
                self.notice(text.into());
            }
            return;
        }
        let started = Instant::now();
        let turn = self.project.writer.as_ref().map(|writer| writer.lent().remote());
        let fetched = self.shadowing.fetch();
        drop(turn);
        if let Err(error) = fetched {
            let text = format!("cannot fetch the shadow branches, going on without: {error}");
            self.tell.warning(&text);
            self.undelivered.push(Undelivered {
                kind: UndeliveredKind::Fetch,
                subject: self.project.layout.prefix.clone(),
                error: error.to_string(),
            });
        }
        self.seconds.git += started.elapsed().as_secs_f64();
    }

    fn shadow_before(&mut self) -> Result<ShadowBefore, RunError> {
        if self.mode == Mode::Off {
            return Ok(ShadowBefore::default());
        }
        let (recorded, entries) = self.shadowing.own()?;
        if let Err(why) = &entries {
            self.notices.push(format!("cache pointer rejected: {why}"));
        }
        Ok(ShadowBefore {
            head: recorded.as_ref().map(|recorded| recorded.head),
            shadowed: recorded.as_ref().and_then(|r| r.shadow.as_ref()).map(Shadowed::from),
            recorded,
            entries: entries.ok(),
        })
    }

    /// Computes the keys that are not remembered, of all jobs that may need one.
    fn compute_keys(
        &mut self,
        planned: &mut PlannedJobs,
        before: &ShadowBefore,
    ) -> Result<(), RunError> {
        let incremental = &self.project.declaration.incremental;
        let store = &self.surroundings.store;
        let Evaluated { remembered, .. } = &mut planned.evaluated;
        let mut computed: Vec<(JobName, KeyDocument)> = Vec::new();
        let mut index: Option<SourceIndex<'_>> = None;
        let mut known: BTreeMap<StorePath, bool> = BTreeMap::new();
        for job in &planned.jobs {
            let needs = match &job.finding {
                Finding::Fresh(success) => {
                    success.lacks_pointer(store.dir(), before.entry(&job.attr_path))
                }
                Finding::Built | Finding::Stale { .. } => true,
            };
            if self.mode == Mode::Off
                || !needs
                || remembered.keys.contains_key(&job.attr_path)
                || plan::cache_output(&job.base, incremental).is_none()
            {
                continue;
            }
            let index = match &mut index {
                Some(index) => index,
                None => {
                    let repository = &self.project.repository;
                    let new = SourceIndex::new(repository, self.head.built);
                    index.insert(new.map_err(PlanError::from)?)
                }
            };
            let mut sources = Sources::new(index, &self.project.layout.files, &mut known);
            let document = plan::key_of(store, &job.base, &remembered.evaluation, &mut sources)?;
            computed.push((job.attr_path.clone(), document));
        }
        let is_news = !planned.evaluated.memoized || !computed.is_empty();
        planned.evaluated.remembered.keys.extend(computed);
        if is_news {
            let project = self.project;
            evaluations::remember(
                project.records.as_ref(),
                project.writer.as_ref(),
                &planned.evaluated,
            );
        }
        Ok(())
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
pub(super) fn stage_of(planned: &PlannedJobs) -> Stage {
    let jobs = planned.stale().count();
    Stage::Build { jobs, fresh: planned.jobs.len() - jobs }
}
