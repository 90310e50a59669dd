//! The second stage: which caches the stale jobs may start from.

use std::collections::BTreeMap;
use std::time::Instant;

use levain_actions::git::{CommitId, SourceIndex};
use levain_evaluator::JobName;
use levain_evaluator::key::KeyDocument;
use levain_evaluator::pointer::Entry;
use levain_store::StorePath;

use super::surveying::Survey;
use super::{Run, RunError};
use crate::candidates::KnownEntries;
use crate::choose::{Choice, Reason, Refusal};
use crate::connections::LazyConnection;
use crate::declaration::Mode;
use crate::dropped;
use crate::evaluations::{self, Evaluated};
use crate::jobset::Shadowed;
use crate::plan::{self, Finding, PlanError, Sources};
use crate::pointers::{Entries, FoundBranch};
use crate::project::{Place, ProjectError};
use crate::report::{Undelivered, UndeliveredKind};

/// The jobs with the cache of each, as far as that was chosen.
pub(super) struct Choices {
    pub(super) survey: Survey,
    pub(super) before: ShadowBefore,
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
    /// Computes the keys of jobs with a cache output, and chooses the caches of stale ones.
    pub(super) fn choose(
        &mut self,
        mut survey: Survey,
        connection: &mut LazyConnection,
    ) -> Result<Choices, RunError> {
        let started = Instant::now();
        let fetching = self.seconds.git;
        if !survey.is_all_fresh() && self.mode != Mode::Off {
            self.fetch_shadows();
        }
        let before = self.shadow_before()?;
        self.compute_keys(&mut survey, &before)?;
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
            let marks = self.project.records.marks().map_err(PlanError::from)?;
            let mut known = KnownEntries::new(
                &self.project.repository,
                &self.project.layout,
                &self.head.jobset,
                self.head.built,
                own,
                &others,
                &marks,
            );
            let planner = self.planner();
            let off = dropped::switched_off(&marks, &self.head.jobset.name());
            for job in &mut survey.jobs {
                let attr_path = &job.attr_path;
                if let Finding::Stale { key, choice } = &mut job.finding {
                    *key = survey.evaluated.remembered.keys.get(attr_path).cloned();
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
        Ok(Choices { survey, before })
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
    fn compute_keys(&mut self, survey: &mut Survey, before: &ShadowBefore) -> Result<(), RunError> {
        let incremental = &self.project.declaration.incremental;
        let store = &self.surroundings.store;
        let Evaluated { remembered, .. } = &mut survey.evaluated;
        let mut computed: Vec<(JobName, KeyDocument)> = Vec::new();
        let mut index: Option<SourceIndex<'_>> = None;
        let mut known: BTreeMap<StorePath, bool> = BTreeMap::new();
        for job in &survey.jobs {
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
        let is_news = !survey.evaluated.memoized || !computed.is_empty();
        survey.evaluated.remembered.keys.extend(computed);
        if is_news {
            let project = self.project;
            evaluations::remember(
                project.records.as_ref(),
                project.writer.as_ref(),
                &survey.evaluated,
            );
        }
        Ok(())
    }
}
