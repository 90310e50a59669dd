//! Audits: of what a run has just built, by policy, and of what is recorded, by hand.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::{Opened, Options, Run, RunError, WhyError};
use crate::audit::{DifferingFile, Verdict, compare_with_clean};
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
            None if job.is_some() => audited.push(Audited {
                attr_path: surveyed.attr_path.clone(),
                verdict: Verdict::NotIncremental,
                files: Vec::new(),
                error: None,
            }),
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
        let mut endings: BTreeMap<_, Ending> = BTreeMap::new();
        let watch = connections.watch.get()?;
        building.build(
            &wanted,
            &mut connections.builder,
            watch,
            progress,
            &mut |_, _, derivation, ending, _| {
                endings.insert(derivation.clone(), ending);
            },
        )?;
        let mut audited = Vec::new();
        for (job, success) in due {
            let output = plan::cache_output(&job.base, &self.project.declaration.incremental);
            let (verdict, files, error) = match endings.get(&job.base.derivation) {
                Some(Ending::Success) => {
                    match compare_with_clean(
                        store,
                        connections.watch.get()?,
                        success,
                        &job.base,
                        output,
                    ) {
                        Ok((verdict, files)) => (verdict, files, None),
                        Err(error) => (Verdict::Unfinished, Vec::new(), Some(error.to_string())),
                    }
                }
                Some(Ending::Failure { message, .. }) => {
                    (Verdict::CleanFails, Vec::new(), Some(message.clone()))
                }
                Some(Ending::Broken { message }) => {
                    (Verdict::Unfinished, Vec::new(), Some(message.clone()))
                }
                Some(Ending::Cancelled) | None => {
                    (Verdict::Unfinished, Vec::new(), Some("stopped".into()))
                }
            };
            audited.push(Audited { attr_path: job.attr_path.clone(), verdict, files, error });
        }
        Ok(audited)
    }

    /// Drops the caches of a job that an audit found out, and keeps it from using any.
    fn switch_off(&self, lie: &Audited) -> Result<(), CachesError> {
        let Some(writer) = &self.project.writer else { return Ok(()) };
        dropped::switch_off(writer, &lie.attr_path, &self.head.commit.to_string())?;
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
