//! The third stage: what each stale job builds, its shadow derivation or its base derivation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use levain_actions::git::PlainFile;
use levain_actions::shadow::MOST_POINTER;
use levain_evaluator::JobName;
use levain_evaluator::likeness::{self, Comparison};
use levain_evaluator::pointer::Entry;
use levain_store::{DerivationPath, StorePath};

use super::choosing::{Choices, ShadowBefore};
use super::surveying::{Survey, hold};
use super::{Run, RunError};
use crate::choose::{Candidate, Choice, Origin, Reason, Refusal};
use crate::connections::LazyConnection;
use crate::declaration::Mode;
use crate::plan::{self, Finding, PlanError, Target};
use crate::pointers::{Entries, PointerMoveError, known, print};
use crate::shadow_contents::ShadowContents;
use crate::shadowing::{ShadowingError, WrittenShadow};

/// The jobs, and what each stale one builds.
pub(super) struct Targets {
    pub(super) survey: Survey,
    /// The shadow branch before the run.
    pub(super) before: ShadowBefore,
    /// The shadow commit, if one was written.
    pub(super) written: Option<WrittenShadow>,
    /// What the pointer file says there.
    pub(super) entries: Entries,
    /// What is built.
    pub(super) of_jobs: BTreeMap<JobName, Target>,
}

impl Run<'_> {
    /// Writes the shadow commit, and decides what each stale job builds.
    pub(super) fn target(
        &mut self,
        choices: Choices,
        connection: &mut LazyConnection,
    ) -> Result<Targets, RunError> {
        let Choices { survey, before } = choices;
        let (written, entries) = self.write_shadow(&survey, &before)?;
        let of_jobs = self.resolve(&survey, written.as_ref(), &entries, connection)?;
        Ok(Targets { survey, before, written, entries, of_jobs })
    }

    /// Decides what each stale job builds: its shadow derivation if a chosen
    /// cache is in that one's graph, else its base derivation.
    fn resolve(
        &mut self,
        survey: &Survey,
        written: Option<&WrittenShadow>,
        entries: &Entries,
        connection: &mut LazyConnection,
    ) -> Result<BTreeMap<JobName, Target>, RunError> {
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
        let written = written.filter(|_| !chosen.is_empty());
        let shadow = match written {
            Some(written) => self.evaluate_shadow(written, entries),
            None => {
                let unwritten = || Refusal::new(Reason::Rejected, "there is no shadow commit");
                for job in survey.stale() {
                    let is_chosen = matches!(
                        &job.finding,
                        Finding::Stale { choice: Choice { outcome: Ok(_), .. }, .. }
                    );
                    let refusal = is_chosen.then(unwritten);
                    targets.insert(job.attr_path.clone(), Target::base(&job.base, refusal));
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
                self.tell.warning(&format!("{text}, building without caches: {error}"));
                for job in survey.stale() {
                    let refusal = Some(Refusal::new(Reason::Rejected, text));
                    targets.insert(job.attr_path.clone(), Target::base(&job.base, refusal));
                }
                return Ok(targets);
            }
        };
        let base = &survey.evaluated.remembered.evaluation;
        let caches: BTreeSet<StorePath> = chosen.keys().cloned().collect();
        let evaluations = likeness::Evaluations {
            dir: self.surroundings.store.dir(),
            trees: [&base.source, &shadow.source],
            commits: [&base.flake.revision, &shadow.flake.revision],
            caches: &caches,
        };
        let contents = self.shadow_contents(entries)?;
        let store = &self.surroundings.store;
        let mut known: BTreeMap<(StorePath, StorePath), bool> = BTreeMap::new();
        let mut same_source = |base: &StorePath, shadow: &StorePath| {
            let same = known.entry((base.clone(), shadow.clone())).or_insert_with(|| {
                let [base, shadow] = [base, shadow].map(|path| store.real_path(path));
                contents.differ_alone(&base, &shadow).unwrap_or_else(|error| {
                    tracing::warn!(%error, "cannot compare two sources, they count as different");
                    false
                })
            });
            Ok(*same)
        };
        let mut read_both = |path: &DerivationPath| store.read_derivation(path);
        let mut comparison = Comparison::new(evaluations, &mut read_both, &mut same_source);
        let mut differs =
            |base: &DerivationPath, shadow: &DerivationPath| comparison.differences(base, shadow);
        let jobs: plan::ShadowJobs<'_> =
            shadow.jobs.iter().map(|job| (JobName::from(&job.attr_path), &job.outcome)).collect();
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
            let mut read = |path: &DerivationPath| store.read_derivation(path);
            let target = plan::resolve(&mut read, &mut differs, job, choice, &jobs, &chosen);
            let target = target.map_err(PlanError::from)?;
            targets.insert(job.attr_path.clone(), target);
        }
        self.seconds.plan += started.elapsed().as_secs_f64();
        Ok(targets)
    }

    /// Writes the shadow commit of the original commit, if there is to be one.
    fn write_shadow(
        &mut self,
        survey: &Survey,
        before: &ShadowBefore,
    ) -> Result<(Option<WrittenShadow>, Entries), RunError> {
        let own = before.entries.clone().unwrap_or_default();
        if self.mode == Mode::Off {
            return Ok((None, own));
        }
        let started = Instant::now();
        let repository = &self.project.repository;
        let is_newer = |entry: &Entry| {
            known(repository, &entry.commit).is_some_and(|commit| {
                commit != self.head.commit
                    && repository.is_ancestor(self.head.commit, commit).unwrap_or(false)
            })
        };
        let entries = survey.pointer(&own, &is_newer);
        let is_current = before.shadowed == Some(self.head.shadowed());
        if survey.is_all_fresh() && is_current {
            return Ok((None, own));
        }
        let lock = self.project.writer.as_ref().map(|writer| writer.run_lock());
        if lock.is_none() {
            self.withheld.push(format!(
                "a shadow commit for {} on `{}`",
                self.head.commit.short(),
                self.shadowing.reference
            ));
            if survey.is_all_fresh() {
                return Ok((None, own));
            }
        }
        let written = self.shadowing.write(lock, before.recorded.as_ref(), &entries);
        self.seconds.git += started.elapsed().as_secs_f64();
        match written {
            Ok(written) => Ok((Some(written), entries)),
            // What somebody put in the way of the ref costs the caches, not the run.
            Err(ShadowingError::Move(
                error @ (PointerMoveError::Git(_) | PointerMoveError::LostRaces { .. }),
            )) => {
                let text = "cannot write the shadow branch, building without caches";
                self.notice(format!("{text}: {error}"));
                Ok((None, own))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Returns what the two files of the shadow commit are there and in the base evaluation.
    fn shadow_contents(&self, entries: &Entries) -> Result<ShadowContents, RunError> {
        let (repository, built) = (&self.project.repository, self.head.built);
        let files = &self.project.layout.files;
        let pointer = print(self.surroundings.store.dir(), entries).into_bytes();
        let name = format!("{}\n", self.head.commit).into_bytes();
        // Where the author has something else there, the base is evaluated with the null pointer.
        let before = |path: &str, null: &[u8]| -> Result<Vec<Vec<u8>>, RunError> {
            let own = repository.plain_file(built, path, MOST_POINTER).map_err(PlanError::from)?;
            Ok(match own {
                PlainFile::Content(own) => vec![own, null.to_vec()],
                PlainFile::Nothing | PlainFile::TooLarge | PlainFile::Other { .. } => {
                    vec![null.to_vec()]
                }
            })
        };
        Ok(ShadowContents::default()
            .with(files.pointer(), before(files.pointer(), b"null\n")?, pointer)
            .with(files.commit(), before(files.commit(), &name)?, name.clone()))
    }
}
