//! The steps of a run between evaluation and building: what is fresh, which
//! caches are chosen, what is built.

use std::collections::BTreeMap;
use std::time::Instant;

use levain_actions::git::{CommitId, SourceIndex};
use levain_evaluator::evaluate::JobError;
use levain_evaluator::key::KeyDocument;
use levain_evaluator::pointer::Entry;
use levain_store::{Connection, DerivationPath, StorePath};

use super::{Run, RunError, now};
use crate::candidates::Records;
use crate::choose::{Candidate, Choice, Origin, Reason, Refusal};
use crate::connections::LazyConnection;
use crate::declaration::Mode;
use crate::dropped;
use crate::evaluations::{self, Evaluated};
use crate::plan::{self, Finding, PlanError, Sources, Surveyed, Target};
use crate::pointers::{Entries, Recorded};
use crate::progress::{Progress, Stage};
use crate::project::{Place, ProjectError};
use crate::report::Undelivered;
use crate::shadowing::Mirrored;

/// How often a jobset is evaluated again whose derivations are gone.
const EVALUATIONS: u32 = 3;

/// What the base evaluation says, and what is known about its jobs.
pub(super) struct Survey {
    pub(super) evaluated: Evaluated,
    pub(super) jobs: Vec<Surveyed>,
    pub(super) errors: Vec<(String, JobError)>,
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
        let unevaluated: Vec<String> = self.errors.iter().map(|(path, _)| path.clone()).collect();
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
        plan::pointer_for(&kept, &self.jobs)
    }

    fn stale(&self) -> impl Iterator<Item = &Surveyed> {
        self.jobs.iter().filter(|job| matches!(job.finding, Finding::Stale { .. }))
    }
}

/// The shadow branch as the run found it.
#[derive(Default)]
pub(super) struct ShadowBefore {
    pub(super) recorded: Option<Recorded>,
    pub(super) head: Option<CommitId>,
    pub(super) original: Option<CommitId>,
    pub(super) entries: Option<Entries>,
}

impl Run<'_> {
    fn surveyor(&self) -> plan::Survey<'_> {
        plan::Survey {
            state: &self.project.state,
            jobset: &self.head.jobset,
            incremental: &self.project.declaration.incremental,
            mode: self.mode,
            ignore_successes: false,
            now: now(),
        }
    }

    /// Tells fresh jobs from those that have to be built.
    pub(super) fn survey(
        &mut self,
        base: Evaluated,
        connection: &mut LazyConnection,
    ) -> Result<Survey, RunError> {
        let started = Instant::now();
        let mut survey = self.survey_once(base, connection)?;
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
            survey = self.survey_once(again, connection)?;
        }
        self.seconds.plan += started.elapsed().as_secs_f64();
        Ok(survey)
    }

    fn survey_once(
        &self,
        evaluated: Evaluated,
        connection: &mut LazyConnection,
    ) -> Result<Survey, PlanError> {
        let surveyor = self.surveyor();
        let mut jobs = Vec::new();
        let mut errors = Vec::new();
        for job in &evaluated.remembered.evaluation.jobs {
            let attr_path = job.attr_path.to_string();
            match &job.outcome {
                Err(error) => errors.push((attr_path, error.clone())),
                Ok(base) => {
                    let finding = surveyor.fresh(base, connection)?;
                    let finding = finding.unwrap_or_else(|| Finding::Stale {
                        key: None,
                        choice: Choice::none(Refusal::new(Reason::FirstBuild, "")),
                    });
                    jobs.push(Surveyed { attr_path, base: base.clone(), finding });
                }
            }
        }
        Ok(Survey { evaluated, jobs, errors })
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

    /// Computes the keys of jobs with a cache output, and chooses the caches of stale ones.
    pub(super) fn choose(
        &mut self,
        survey: &mut Survey,
        connection: &mut LazyConnection,
        progress: &mut dyn Progress,
    ) -> Result<ShadowBefore, RunError> {
        let started = Instant::now();
        let fetching = self.seconds.git;
        if !survey.is_all_fresh() && self.mode != Mode::Off {
            self.fetch_shadows(progress);
        }
        let before = self.shadow_before()?;
        self.compute_keys(survey)?;
        if !survey.is_all_fresh() {
            let others = match self.mode {
                Mode::Incremental => self.shadowing.known().map_err(ProjectError::from)?,
                Mode::Record | Mode::Off => Vec::new(),
            };
            let own = match (&before.recorded, &before.entries) {
                (_, Some(entries)) => Ok(entries.clone()),
                (Some(recorded), None) => recorded.entries.clone(),
                (None, None) => Ok(Entries::new()),
            };
            let mut records = Records::new(
                &self.project.repository,
                &self.project.layout,
                &self.head.jobset,
                self.head.commit,
                own,
                &others,
                dropped::read(&self.project.state, &self.head.jobset.name()),
            );
            let surveyor = self.surveyor();
            let off = dropped::switched_off(&self.project.state);
            for job in &mut survey.jobs {
                let attr_path = &job.attr_path;
                if let Finding::Stale { key, choice } = &mut job.finding {
                    *key = survey.evaluated.remembered.keys.get(attr_path).cloned();
                    if let Some(commit) = off.get(attr_path) {
                        let detail = format!(
                            "an audit of {} found that its cache lied; `levain cache allow {attr_path}` turns caches on again",
                            commit.get(..12).unwrap_or(commit)
                        );
                        *choice = Choice::none(Refusal::new(Reason::Disabled, detail));
                        continue;
                    }
                    let connection = connection.get().map_err(PlanError::from)?;
                    *choice = surveyor.choose(
                        attr_path,
                        &job.base,
                        key.as_ref(),
                        &mut records,
                        connection,
                    );
                }
            }
        }
        self.seconds.plan += started.elapsed().as_secs_f64() - (self.seconds.git - fetching);
        Ok(before)
    }

    fn fetch_shadows(&mut self, progress: &mut dyn Progress) {
        // A mirror is levain's own, but a checkout is somebody else's, with all its refs.
        if let (None, Place::Directory(_)) = (&self.project.writer, &self.options.place) {
            if self.shadowing.exchanged().is_some() {
                let text = "read-only: shadow branches are not fetched, only known ones are used";
                self.notice(progress, text.into());
            }
            return;
        }
        let started = Instant::now();
        if let Err(error) = self.shadowing.fetch() {
            let text = format!("cannot fetch the shadow branches, going on without: {error}");
            progress.warning(&text);
            self.undelivered.push(Undelivered {
                kind: "fetch",
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
            original: recorded.as_ref().and_then(|r| r.shadow.as_ref()).map(|s| s.original),
            recorded,
            entries: entries.ok(),
        })
    }

    /// Computes the keys that are not remembered, of all jobs that may need one.
    fn compute_keys(&mut self, survey: &mut Survey) -> Result<(), RunError> {
        let incremental = &self.project.declaration.incremental;
        let store = &self.surroundings.store;
        let Evaluated { remembered, .. } = &mut survey.evaluated;
        let mut computed: Vec<(String, KeyDocument)> = Vec::new();
        let mut index: Option<SourceIndex<'_>> = None;
        let mut known: BTreeMap<StorePath, bool> = BTreeMap::new();
        for job in &survey.jobs {
            let needs = match &job.finding {
                Finding::Fresh(_) => false,
                Finding::Built | Finding::Stale { .. } => self.mode != Mode::Off,
            };
            if !needs
                || remembered.keys.contains_key(&job.attr_path)
                || plan::cache_output(&job.base, incremental).is_none()
            {
                continue;
            }
            let index = match &mut index {
                Some(index) => index,
                None => {
                    let repository = &self.project.repository;
                    let new = SourceIndex::new(repository, self.head.commit);
                    index.insert(new.map_err(PlanError::from)?)
                }
            };
            let mut sources = Sources::new(index, &self.project.layout.files, &mut known);
            let document = plan::key_of(store, &job.base, &remembered.evaluation, &mut sources)?;
            computed.push((job.attr_path.clone(), document));
        }
        let is_news = !survey.evaluated.memoized || !computed.is_empty();
        survey.evaluated.remembered.keys.extend(computed);
        // Errors are not remembered: what failed for want of memory or a network may pass later.
        if is_news && survey.errors.is_empty() {
            evaluations::remember(self.project.writer.as_ref(), &survey.evaluated);
        }
        Ok(())
    }

    /// Decides what each stale job builds: its shadow derivation if a chosen
    /// cache is in that one's graph, else its base derivation.
    pub(super) fn resolve(
        &mut self,
        survey: &mut Survey,
        mirrored: Option<&Mirrored>,
        entries: &Entries,
        connection: &mut LazyConnection,
        progress: &mut dyn Progress,
    ) -> Result<BTreeMap<String, Target>, RunError> {
        let mut chosen: BTreeMap<StorePath, (Origin, Candidate)> = BTreeMap::new();
        for job in survey.stale() {
            if let Finding::Stale {
                choice: Choice { outcome: Ok((origin, candidate)), .. }, ..
            } = &job.finding
            {
                chosen.insert(candidate.entry.path.clone(), (*origin, candidate.clone()));
            }
        }
        let mut targets = BTreeMap::new();
        let mirrored = mirrored.filter(|_| !chosen.is_empty());
        let shadow = match mirrored {
            Some(mirrored) => self.evaluate_shadow(mirrored, entries, progress),
            None => {
                for job in survey.stale() {
                    targets.insert(job.attr_path.clone(), Target::base(&job.base, None));
                }
                return Ok(targets);
            }
        };
        let started = Instant::now();
        // A shadow commit that cannot be evaluated at all costs the caches, not the run.
        let shadow = match shadow {
            Ok(shadow) => shadow,
            Err(error) => {
                let text = "the shadow commit cannot be evaluated";
                progress.warning(&format!("{text}, building without caches: {error}"));
                for job in survey.stale() {
                    let refusal = Some(Refusal::new(Reason::Rejected, text));
                    targets.insert(job.attr_path.clone(), Target::base(&job.base, refusal));
                }
                return Ok(targets);
            }
        };
        let jobs: plan::ShadowJobs<'_> =
            shadow.jobs.iter().map(|job| (job.attr_path.to_string(), &job.outcome)).collect();
        for job in survey.stale() {
            let Finding::Stale { choice, .. } = &job.finding else { continue };
            if let Some(Ok(built)) = jobs.get(&job.attr_path)
                && !hold(connection.get().map_err(PlanError::from)?, &built.derivation)?
            {
                let text = "the derivation with the cache was garbage collected meanwhile";
                let refusal = Some(Refusal::new(Reason::Missing, text));
                targets.insert(job.attr_path.clone(), Target::base(&job.base, refusal));
                continue;
            }
            let target = plan::resolve(&self.surroundings.store, job, choice, &jobs, &chosen)?;
            targets.insert(job.attr_path.clone(), target);
        }
        self.seconds.plan += started.elapsed().as_secs_f64();
        Ok(targets)
    }
}

/// Keeps a derivation from garbage collection until the connection ends; says whether it is there.
fn hold(connection: &mut Connection, derivation: &DerivationPath) -> Result<bool, PlanError> {
    // First the root, then the question: so the answer stays true.
    connection.add_temp_root(derivation.as_store_path())?;
    Ok(connection.is_valid(derivation.as_store_path())?)
}

/// Tells how many jobs there are of each sort.
pub(super) fn stage_of(survey: &Survey) -> Stage {
    let jobs = survey.stale().count();
    Stage::Build { jobs, fresh: survey.jobs.len() - jobs }
}
