//! What each stale job builds: its shadow derivation, or its base derivation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use levain_actions::git::PlainFile;
use levain_actions::shadow::MOST_POINTER;
use levain_evaluator::JobName;
use levain_evaluator::likeness::{self, Comparison};
use levain_store::{DerivationPath, StorePath};

use super::planning::{PlannedJobs, hold};
use super::{Run, RunError};
use crate::choose::{Candidate, Choice, Origin, Reason, Refusal};
use crate::connections::LazyConnection;
use crate::plan::{self, Finding, PlanError, Target};
use crate::pointers::{Entries, print};
use crate::shadow_contents::ShadowContents;
use crate::shadowing::WrittenShadow;

impl Run<'_> {
    /// Decides what each stale job builds: its shadow derivation if a chosen
    /// cache is in that one's graph, else its base derivation.
    pub(super) fn resolve(
        &mut self,
        planned: &mut PlannedJobs,
        written: Option<&WrittenShadow>,
        entries: &Entries,
        connection: &mut LazyConnection,
    ) -> Result<BTreeMap<JobName, Target>, RunError> {
        let mut chosen: BTreeMap<StorePath, (Origin, Candidate)> = BTreeMap::new();
        for job in planned.stale() {
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
                for job in planned.stale() {
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
                for job in planned.stale() {
                    let refusal = Some(Refusal::new(Reason::Rejected, text));
                    targets.insert(job.attr_path.clone(), Target::base(&job.base, refusal));
                }
                return Ok(targets);
            }
        };
        let base = &planned.evaluated.remembered.evaluation;
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
        for job in planned.stale() {
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
