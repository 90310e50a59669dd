//! Audits: of what a run has just built, by policy, and of what is recorded, by hand.

use std::collections::BTreeMap;
use std::path::Path;

use levain_store::compare::Difference;
use levain_store::{DerivationPath, StorePath};
use serde::Serialize;

use super::{Opened, Options, Run, RunError, WhyError};
use crate::audit::{Compared, DifferingFile, Verdict, compare_with_clean, judge, unstable_places};
use crate::build::{Building, Ending, Wanted};
use crate::caches::{self, CachesError};
use crate::cancel::Cancel;
use crate::choose::Reason;
use crate::connections::Connections;
use crate::dropped;
use crate::plan::{self, Surveyed, success_name};
use crate::progress::{Progress, Stage};
use crate::project::Surroundings;
use crate::report::{JobReport, JobStatus, Undelivered};
use crate::shadowing::Shadowing;
use crate::state::Kind;
use crate::success::{Success, Successes};

use super::planning::Survey;

/// What was found out about one job.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Audited {
    /// The job.
    pub attr_path: String,
    /// The verdict.
    pub verdict: Verdict,
    /// What differs.
    pub files: Vec<DifferingFile>,
    /// Why there is no better verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Audited {
    fn new(attr_path: &str, verdict: Verdict) -> Self {
        Self { attr_path: attr_path.to_owned(), verdict, files: Vec::new(), error: None }
    }
}

/// Why there is no audit.
#[derive(Debug, thiserror::Error)]
pub enum AuditJobsError {
    /// A step failed.
    #[error(transparent)]
    Why(#[from] WhyError),
    /// A lie was found, but its cache could not be dropped.
    #[error(transparent)]
    Drop(#[from] CachesError),
}

impl From<RunError> for AuditJobsError {
    fn from(error: RunError) -> Self {
        Self::Why(error.into())
    }
}

/// Audits `job`, or every job of the jobset that was built from a cache.
///
/// On a lie its caches are dropped, and the job builds clean until someone
/// allows caches for it again.
pub fn audit(
    surroundings: &Surroundings,
    options: &Options,
    job: Option<&str>,
    cancel: &Cancel,
    progress: &mut dyn Progress,
) -> Result<Vec<Audited>, AuditJobsError> {
    let Opened { project, head, statuses } = Opened::new(surroundings, options)?;
    let shadowing = Shadowing::new(&project, &head).map_err(RunError::from)?;
    let mut run = Run::new(surroundings, options, cancel, &project, &head, &statuses, &shadowing);
    let stop = surroundings.stop.clone();
    cancel.on_cancel(move || stop.stop());
    progress.stage(Stage::EvaluateBase);
    let base = run.evaluate_base(&mut || {}, progress)?;
    let mut connections = Connections::new(&surroundings.store);
    let mut survey = run.survey(base, &mut connections.watch)?;
    if let Some(job) = job {
        survey.find(job)?;
        survey.jobs.retain(|known| known.attr_path == job);
    }
    let mut audited = Vec::new();
    let mut due = Vec::new();
    for surveyed in &survey.jobs {
        match run.recorded_incremental(surveyed) {
            Some(success) => due.push((surveyed, success)),
            None if job.is_some() => {
                audited.push(Audited::new(&surveyed.attr_path, Verdict::NotIncremental));
            }
            None => {}
        }
    }
    let logs = run.logs(!due.is_empty())?;
    audited.extend(run.audit_jobs(&due, &logs, &mut connections, progress)?);
    for lie in audited.iter().filter(|audited| audited.verdict.is_lie()) {
        run.switch_off(lie)?;
    }
    Ok(audited)
}

/// How builds ended, by derivation.
type Endings = BTreeMap<DerivationPath, Ending>;

/// Builds what is wanted and adds how it ended to `endings`.
fn build_all(
    building: &Building<'_>,
    wanted: &Wanted,
    connections: &mut Connections,
    progress: &mut dyn Progress,
    endings: &mut Endings,
) -> Result<(), RunError> {
    let watch = connections.watch.get()?;
    building.build(
        wanted,
        &mut connections.builder,
        watch,
        progress,
        &mut |_, _, derivation, ending, _| {
            endings.insert(derivation.clone(), ending);
        },
    )?;
    Ok(())
}

impl Run<'_> {
    /// Returns the success of this jobset that a cache was part of.
    fn recorded_incremental(&self, job: &Surveyed) -> Option<Success> {
        let name = success_name(&job.base.derivation);
        let successes: Successes = self.project.state.load(Kind::Successes, &name)?;
        successes.incremental.get(&self.head.jobset.name()).cloned()
    }

    /// Builds the base derivations and compares.
    fn audit_jobs(
        &self,
        due: &[(&Surveyed, Success)],
        logs: &Path,
        connections: &mut Connections,
        progress: &mut dyn Progress,
    ) -> Result<Vec<Audited>, RunError> {
        if due.is_empty() {
            return Ok(Vec::new());
        }
        progress.stage(Stage::Audit { jobs: due.len() });
        let store = &self.surroundings.store;
        let wanted: Wanted = due
            .iter()
            .map(|(job, _)| (job.base.derivation.clone(), job.base.outputs.clone()))
            .collect();
        let building = Building { options: &self.options.build, logs, cancel: self.cancel };
        let mut endings = Endings::new();
        build_all(&building, &wanted, connections, progress, &mut endings)?;
        // By chance, or always? A clean build that failed gets a second try.
        let failed: Wanted = wanted
            .into_iter()
            .filter(|(derivation, _)| {
                endings.get(derivation).is_some_and(|ending| ending.is_the_jobs_fault())
            })
            .collect();
        if !failed.is_empty() && !self.cancel.is_cancelled() {
            build_all(&building, &failed, connections, progress, &mut endings)?;
        }
        let mut audited = Vec::new();
        let mut differing = Vec::new();
        for (job, success) in due {
            let output = plan::cache_output(&job.base, &self.project.declaration.incremental);
            let mut found = Audited::new(&job.attr_path, Verdict::Unfinished);
            match endings.get(&job.base.derivation) {
                Some(Ending::Success) => {
                    let connection = connections.watch.get()?;
                    match compare_with_clean(store, connection, success, &job.base, output) {
                        Ok(Compared::Gone) => found.verdict = Verdict::Gone,
                        Ok(Compared::Differences(differences)) if differences.is_empty() => {
                            found.verdict = Verdict::Same;
                        }
                        Ok(Compared::Differences(differences)) => {
                            differing.push((*job, differences));
                            continue;
                        }
                        Err(error) => found.error = Some(error.to_string()),
                    }
                }
                Some(ending @ Ending::Failure { message, .. }) => {
                    if ending.is_the_jobs_fault() {
                        found.verdict = Verdict::CleanFails;
                    }
                    found.error = Some(message.clone());
                }
                Some(Ending::Broken { message }) => found.error = Some(message.clone()),
                Some(Ending::Cancelled) | None => found.error = Some("stopped".into()),
            }
            audited.push(found);
        }
        audited.extend(self.judge(differing, &building, connections, progress)?);
        Ok(audited)
    }

    /// Builds clean once more what differs, and judges by where two clean builds differ.
    fn judge(
        &self,
        differing: Vec<(&Surveyed, Vec<(String, Difference)>)>,
        building: &Building<'_>,
        connections: &mut Connections,
        progress: &mut dyn Progress,
    ) -> Result<Vec<Audited>, RunError> {
        let store = &self.surroundings.store;
        let mut wanted = Wanted::new();
        let mut twins = BTreeMap::new();
        for (job, _) in &differing {
            let watch = connections.watch.get()?;
            match store.twin(watch, &job.base.derivation) {
                Ok((path, twin)) => {
                    let outputs: BTreeMap<String, StorePath> = twin
                        .outputs
                        .into_iter()
                        .filter_map(|(name, output)| Some((name, output.path?)))
                        .collect();
                    wanted.insert(path.clone(), outputs.clone());
                    twins.insert(job.attr_path.clone(), Ok((path, outputs)));
                }
                Err(error) => {
                    twins.insert(job.attr_path.clone(), Err(error.to_string()));
                }
            }
        }
        let mut endings = Endings::new();
        if !wanted.is_empty() {
            build_all(building, &wanted, connections, progress, &mut endings)?;
        }
        let mut audited = Vec::new();
        for (job, differences) in differing {
            let mut found = Audited::new(&job.attr_path, Verdict::Unfinished);
            let unstable = match twins.remove(&job.attr_path) {
                Some(Ok((path, outputs))) => match endings.get(&path) {
                    Some(Ending::Success) => unstable_places(store, &job.base, &outputs)
                        .map_err(|error| error.to_string()),
                    Some(Ending::Failure { message, .. } | Ending::Broken { message }) => {
                        Err(message.clone())
                    }
                    Some(Ending::Cancelled) | None => Err("stopped".into()),
                },
                Some(Err(error)) => Err(error),
                None => Err("stopped".into()),
            };
            match unstable {
                Ok(unstable) => (found.verdict, found.files) = judge(differences, &unstable),
                Err(error) => found.error = Some(error),
            }
            audited.push(found);
        }
        Ok(audited)
    }

    /// Drops the caches of a job that an audit found out, and keeps it from using any.
    fn switch_off(&self, lie: &Audited) -> Result<(), CachesError> {
        let Some(writer) = &self.project.writer else { return Ok(()) };
        dropped::switch_off(writer, &lie.attr_path, &self.head.commit.to_string())?;
        caches::distrust(self.project, &lie.attr_path)?;
        match caches::drop(self.project, self.head, Some(&lie.attr_path)) {
            Ok(_) | Err(CachesError::NoSuchJob { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Audits, by the declaration's policy, what this run has just built incrementally.
    ///
    /// A lie is replaced by the clean build's truth, and reported.
    pub(super) fn audit_by_policy(
        &mut self,
        survey: &Survey,
        reports: &mut [JobReport],
        logs: &Path,
        connections: &mut Connections,
        progress: &mut dyn Progress,
    ) -> Result<(), RunError> {
        let every = self.project.declaration.incremental.audit.every;
        if every == 0 || self.project.writer.is_none() {
            return Ok(());
        }
        let is_due = |report: &JobReport| {
            let depth = report.caches.iter().map(|cache| cache.depth + 1).max().unwrap_or(0);
            report.status == JobStatus::Incremental && depth % every == 0
        };
        let due: Vec<(&Surveyed, Success)> = reports
            .iter()
            .filter(|report| is_due(report))
            .filter_map(|report| {
                let job = survey.jobs.iter().find(|job| job.attr_path == report.attr_path)?;
                Some((job, self.recorded_incremental(job)?))
            })
            .collect();
        for audited in self.audit_jobs(&due, logs, connections, progress)? {
            let Some(report) =
                reports.iter_mut().find(|report| report.attr_path == audited.attr_path)
            else {
                continue;
            };
            report.audit = Some(audited.verdict);
            if !audited.verdict.is_lie() {
                continue;
            }
            let mut text = format!("audit: {}", audited.verdict.describe());
            for file in audited.files.iter().filter(|file| !file.also_in_clean).take(5) {
                text.push_str(&format!(
                    "; `{}` of `{}`: {}",
                    file.path, file.output, file.difference
                ));
            }
            progress.warning(&format!("{}: {text}", report.attr_path));
            if let Err(error) = self.switch_off(&audited) {
                text.push_str(&format!("; its cache could not be dropped: {error}"));
            }
            self.undelivered.push(Undelivered {
                kind: "audit",
                subject: report.attr_path.clone(),
                error: text.clone(),
            });
            // The clean build is the truth now, whichever way it went.
            report.caches.clear();
            report.reason = Some(Reason::Rejected);
            report.reason_detail = Some(text.clone());
            report.pointer = None;
            if audited.verdict == Verdict::CleanFails {
                report.status = JobStatus::Failed;
                report.error = audited.error.or(Some(text));
                report.outputs.clear();
            } else {
                report.status = JobStatus::Clean;
                report.built_drv_path.clone_from(&report.base_drv_path);
                let job = survey.jobs.iter().find(|job| job.attr_path == report.attr_path);
                let dir = self.surroundings.store.dir();
                report.outputs = job
                    .iter()
                    .flat_map(|job| &job.base.outputs)
                    .map(|(name, path)| (name.clone(), dir.display(path)))
                    .collect();
            }
            self.statuses.job_ended(report);
        }
        Ok(())
    }
}
