//! Audits: of what a run has just built, by policy, and of what is recorded, by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use levain_evaluator::JobName;
use levain_store::compare::Difference;
use levain_store::{DerivationPath, StorePath};
use serde::Serialize;

use super::{Hearers, Opened, Options, Run, RunError, WhyError};
use crate::audit::{
    Compared, DifferingFile, Verdict, compare_with_clean, foreign_places, judge, unstable_places,
};
use crate::build::{Building, Ending, Wanted};
use crate::caches::{self, CachesError};
use crate::cancel::Cancel;
use crate::choose::Reason;
use crate::connections::Connections;
use crate::event::{Event, Stage, Tell};
use crate::owed::{self, Candidate, Decision};
use crate::plan::{self, PlannedJob};
use crate::project::Surroundings;
use crate::records::{Jobsets, Mark};
use crate::report::{JobReport, JobStatus, Lie};
use crate::shadowing::Shadowing;
use crate::success::Success;

use super::surveying::Survey;

/// What was found out about one job.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Audited {
    /// The job.
    pub attr_path: JobName,
    /// The verdict.
    pub verdict: Verdict,
    /// What differs.
    pub files: Vec<DifferingFile>,
    /// Why there is no better verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Audited {
    fn new(attr_path: &JobName, verdict: Verdict) -> Self {
        Self { attr_path: attr_path.clone(), verdict, files: Vec::new(), error: None }
    }

    /// Returns the verdict in words, with the first files that show a lie.
    fn describe(&self) -> String {
        let mut text = format!("audit: {}", self.verdict.describe());
        for file in self.files.iter().filter(|file| !file.also_in_clean).take(5) {
            text.push_str(&format!("; `{}` of `{}`: {}", file.path, file.output, file.difference));
        }
        text
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
    job: Option<&JobName>,
    cancel: &Cancel,
    tell: &dyn Fn(Event),
) -> Result<Vec<Audited>, AuditJobsError> {
    let Opened { mut project, head, statuses: _ } = Opened::new(surroundings, options)?;
    project.require_declaration(Some(head.built)).map_err(RunError::from)?;
    let hearers = Hearers { tell: Tell::new(tell), is_over: &|_| false };
    let shadowing = Shadowing::new(&project, &head).map_err(RunError::from)?;
    let mut run = Run::new(surroundings, options, cancel, hearers, &project, &head, &shadowing);
    let stop = surroundings.stop.clone();
    cancel.on_cancel(move || stop.stop());
    run.tell.stage(Stage::EvaluateBase);
    let (base, mode) = run.evaluate_base(&mut || {})?;
    run.mode = mode;
    let mut connections = Connections::new(&surroundings.store);
    let mut survey = run.plan(base, &mut connections.watch)?;
    if let Some(job) = job {
        survey.find(job)?;
        survey.jobs.retain(|known| known.attr_path == *job);
    }
    let mut audited = Vec::new();
    let mut due = Vec::new();
    let mut recorded = run.recorded_incremental(&survey.jobs)?;
    for known in &survey.jobs {
        match recorded.remove(&known.base.derivation) {
            Some(success) => due.push((known, success)),
            None if job.is_some() => {
                audited.push(Audited::new(&known.attr_path, Verdict::NotIncremental));
            }
            None => {}
        }
    }
    let logs = run.logs(!due.is_empty())?;
    audited.extend(run.audit_jobs(&due, logs.path(), &mut connections)?);
    for lie in audited.iter().filter(|audited| audited.verdict.is_lie()) {
        run.switch_off(lie)?;
    }
    Ok(audited)
}

/// How builds ended, by derivation.
type Endings = BTreeMap<DerivationPath, Ending>;

/// A job, the success that is audited, and where it differs from a clean build.
type Differing<'a> = (&'a PlannedJob, &'a Success, Vec<(String, Difference)>);

/// Builds what is wanted and adds how it ended to `endings`.
fn build_all(
    building: &Building<'_>,
    wanted: &Wanted,
    connections: &mut Connections,
    tell: Tell<'_>,
    endings: &mut Endings,
) -> Result<(), RunError> {
    let watch = connections.watch.get()?;
    building.build(
        wanted,
        &mut connections.builder,
        watch,
        tell,
        &mut |_, derivation, ending, _| {
            endings.insert(derivation.clone(), ending);
        },
    )?;
    Ok(())
}

impl Run<'_> {
    /// Returns the successes of this jobset that caches were part of, by base derivation.
    fn recorded_incremental(
        &self,
        jobs: &[PlannedJob],
    ) -> Result<BTreeMap<DerivationPath, Success>, RunError> {
        let known = self.successes(jobs.iter().map(|job| &job.base))?.into_iter();
        let jobset = self.head.jobset.name();
        let own =
            known.filter_map(|(base, mut known)| Some((base, known.incremental.remove(&jobset)?)));
        Ok(own.collect())
    }

    /// Builds the base derivations and compares.
    fn audit_jobs(
        &mut self,
        due: &[(&PlannedJob, Success)],
        logs: &Path,
        connections: &mut Connections,
    ) -> Result<Vec<Audited>, RunError> {
        if due.is_empty() {
            return Ok(Vec::new());
        }
        self.tell.stage(Stage::Audit { jobs: due.len() });
        let store = &self.surroundings.store;
        let wanted: Wanted = due
            .iter()
            .map(|(job, _)| (job.base.derivation.clone(), job.base.outputs.clone()))
            .collect();
        let how = self.how_to_build(connections);
        let none = BTreeSet::new();
        let building = Building {
            store,
            excused: &none,
            options: &how.options,
            settings: how.settings.as_ref(),
            logs,
            log_limits: self.project.declaration.logs,
            limits: self.limits(),
            again: false,
            scheduler: &self.surroundings.scheduler,
            standing: &self.options.standing,
            cancel: self.cancel,
        };
        let mut endings = Endings::new();
        build_all(&building, &wanted, connections, self.tell, &mut endings)?;
        // By chance, or always? A clean build that failed gets a second try.
        let failed: Wanted = wanted
            .into_iter()
            .filter(|(derivation, _)| {
                endings.get(derivation).is_some_and(|ending| ending.is_the_jobs_fault())
            })
            .collect();
        if !failed.is_empty() && !self.cancel.is_cancelled() {
            build_all(&building, &failed, connections, self.tell, &mut endings)?;
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
                            differing.push((*job, success, differences));
                            continue;
                        }
                        Err(error) => found.error = Some(error.to_string()),
                    }
                }
                Some(ending) => {
                    if ending.is_the_jobs_fault() {
                        found.verdict = Verdict::CleanFails;
                    }
                    found.error = ending.reason();
                }
                None => found.error = Some("stopped".into()),
            }
            audited.push(found);
        }
        audited.extend(self.judge(differing, &building, connections)?);
        Ok(audited)
    }

    /// Builds clean once more what differs, and judges by where two clean builds differ.
    fn judge(
        &self,
        differing: Vec<Differing<'_>>,
        building: &Building<'_>,
        connections: &mut Connections,
    ) -> Result<Vec<Audited>, RunError> {
        let store = &self.surroundings.store;
        let mut wanted = Wanted::new();
        let mut twins = BTreeMap::new();
        for (job, _, _) in &differing {
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
            build_all(building, &wanted, connections, self.tell, &mut endings)?;
        }
        let mut audited = Vec::new();
        for (job, success, differences) in differing {
            let mut found = Audited::new(&job.attr_path, Verdict::Unfinished);
            let unstable = match twins.remove(&job.attr_path) {
                Some(Ok((path, outputs))) => match endings.get(&path) {
                    Some(Ending::Success) => unstable_places(store, &job.base, &outputs)
                        .and_then(|unstable| {
                            let base = &job.base;
                            foreign_places(store, success, base, &outputs, &differences)
                                .map(|foreign| (unstable, foreign))
                        })
                        .map_err(|error| error.to_string()),
                    Some(ending) => Err(ending.reason().unwrap_or_default()),
                    None => Err("stopped".into()),
                },
                Some(Err(error)) => Err(error),
                None => Err("stopped".into()),
            };
            match unstable {
                Ok((unstable, foreign)) => {
                    (found.verdict, found.files) = judge(differences, &unstable, &foreign);
                }
                Err(error) => found.error = Some(error),
            }
            audited.push(found);
        }
        Ok(audited)
    }

    /// Drops the caches of a job that an audit found out, and keeps it from using any.
    fn switch_off(&self, lie: &Audited) -> Result<(), CachesError> {
        let Some(writer) = &self.project.writer else { return Ok(()) };
        let jobsets = Jobsets::misled_with(&self.head.jobset);
        let job = lie.attr_path.clone();
        let mark = Mark::Off { jobset: jobsets.clone(), job, commit: self.head.commit };
        self.project.records.mark(writer, &mark)?;
        if jobsets == Jobsets::All {
            caches::distrust(self.project, &lie.attr_path)?;
        }
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
    ) -> Result<(), RunError> {
        if !self.audits() {
            return Ok(());
        }
        let is_told_later = |report: &JobReport| {
            self.awaits_audit(report) && !survey.is_aggregate(&report.attr_path)
        };
        let waiting: BTreeSet<JobName> = reports
            .iter()
            .filter(|report| is_told_later(report))
            .map(|report| report.attr_path.clone())
            .collect();
        let owed = self.owed.clone();
        let mut still_owed = BTreeSet::new();
        let mut due: Vec<(&PlannedJob, Success)> = Vec::new();
        let recorded_before = self.recorded_incremental(&survey.jobs)?;
        for report in &*reports {
            let job = survey.jobs.iter().find(|job| job.attr_path == report.attr_path);
            let recorded =
                job.and_then(|job| Some((job, recorded_before.get(&job.base.derivation)?.clone())));
            let candidate = Candidate {
                is_success: report.status.is_success() && report.status != JobStatus::Skipped,
                is_due: self.is_due(report),
                is_incremental: recorded.is_some(),
            };
            match owed::decide(candidate, owed.contains(&report.attr_path)) {
                Decision::Now => due.extend(recorded),
                Decision::Later => {
                    still_owed.insert(report.attr_path.clone());
                }
                Decision::Never => {}
            }
        }
        // A run that is killed now has audited nothing.
        let of_these = due.iter().map(|(job, _)| job.attr_path.clone());
        self.owe(still_owed.iter().cloned().chain(of_these).collect());
        for audited in self.audit_jobs(&due, logs, connections)? {
            let Some(report) =
                reports.iter_mut().find(|report| report.attr_path == audited.attr_path)
            else {
                continue;
            };
            report.audit = Some(audited.verdict);
            if owed::is_owed_after(audited.verdict) {
                still_owed.insert(audited.attr_path.clone());
                let why = audited.error.as_deref().and_then(|error| error.lines().next());
                let why = why.map(|why| format!(": {why}")).unwrap_or_default();
                let text = format!(
                    "{}: {}{why}; the next run audits it",
                    report.attr_path,
                    audited.describe()
                );
                self.notice(text);
            }
            if !audited.verdict.is_lie() {
                continue;
            }
            let text = audited.describe();
            self.tell.warning(&format!("{}: {text}", report.attr_path));
            self.lies.push(Lie {
                job: report.attr_path.clone(),
                verdict: audited.verdict,
                detail: text.clone(),
                not_dropped: self.switch_off(&audited).err().map(|error| error.to_string()),
            });
            // The clean build is the truth now, whichever way it went.
            report.caches.clear();
            report.reason = Some(Reason::Rejected);
            report.reason_detail = Some(text.clone());
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
        }
        self.owe(still_owed);
        for report in reports.iter().filter(|report| waiting.contains(&report.attr_path)) {
            self.tell.job_ended(report);
        }
        Ok(())
    }

    /// Returns whether the declaration's policy asks for audits in this run.
    fn audits(&self) -> bool {
        self.project.declaration.incremental.audit.every != 0 && self.project.writer.is_some()
    }

    /// Notes whose audits earlier runs owe.
    pub(super) fn note_owed(&mut self) {
        if self.audits() {
            self.owed = owed::read(&self.project.state, &self.head.jobset.name());
        }
    }

    /// Returns whether the policy asks for an audit of what a job has just built.
    fn is_due(&self, report: &JobReport) -> bool {
        let every = self.project.declaration.incremental.audit.every;
        let depth = report.caches.iter().map(|cache| cache.depth + 1).max().unwrap_or(0);
        // Not the status: what the job's log says of itself must not spare it an audit.
        let built = matches!(report.status, JobStatus::Incremental | JobStatus::Clean);
        built && !report.caches.is_empty() && every != 0 && depth % every == 0
    }

    /// Returns whether an audit may change how a job ended: nobody is told before.
    pub(super) fn awaits_audit(&self, report: &JobReport) -> bool {
        let is_fine = report.status.is_success() && report.status != JobStatus::Skipped;
        let is_audited = self.is_due(report) || self.owed.contains(&report.attr_path);
        self.audits() && is_fine && is_audited
    }

    /// Remembers whose audits the next run has to do.
    fn owe(&self, jobs: BTreeSet<JobName>) {
        let Some(writer) = &self.project.writer else { return };
        let _turn = writer.lent().records();
        if let Err(error) = owed::write(writer, &self.head.jobset.name(), jobs) {
            tracing::warn!(%error, "cannot remember which audits are owed");
        }
    }
}
