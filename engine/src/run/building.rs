//! The last steps of a run: building, and the post-build action of each success.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use levain_evaluator::key::KeyDocument;
use levain_store::{BuildStatus, Connection, DerivationPath, Store};

use super::planning::{Survey, stage_of};
use super::{Run, RunError, tell, tell_pending};
use crate::build::{Building, Ending, Trace, Traces, Wanted};
use crate::declaration::Mode;
use crate::plan::{self, Finding, LazyConnection, PlanError, Surveyed, Target};
use crate::pointers::Entries;
use crate::post_build::{PostBuild, PostBuildError, Succeeded};
use crate::progress::Progress;
use crate::report::{CacheReport, Counters, JobReport, JobStatus, PointerReport};
use crate::success::{RecordedCache, Success};
use levain_actions::status::SummaryPhase;

impl Run<'_> {
    /// Builds what is stale; returns how every job ended.
    pub(super) fn build(
        &mut self,
        survey: &Survey,
        targets: &BTreeMap<String, Target>,
        entries: &Entries,
        logs: &Path,
        connection: &mut LazyConnection<'_>,
        progress: &mut dyn Progress,
    ) -> Result<Vec<JobReport>, RunError> {
        progress.stage(stage_of(survey));
        let mut reports: BTreeMap<String, JobReport> = BTreeMap::new();
        for (attr_path, error) in &survey.errors {
            let report = failed_evaluation(attr_path, &error.message);
            tell(self.statuses, progress, &report);
            reports.insert(attr_path.clone(), report);
        }
        let shadowing = (self.mode != Mode::Off).then_some(self.shadowing);
        let mut post_build =
            self.project.writer.as_ref().map(|writer| {
                PostBuild::new(&self.surroundings.store, writer, self.head, shadowing)
            });
        self.settle_fresh(
            survey,
            entries,
            post_build.as_mut(),
            connection,
            progress,
            &mut reports,
        )?;
        let built = self.build_stale(
            survey,
            targets,
            logs,
            post_build.as_mut(),
            connection,
            progress,
            &mut reports,
        );
        if let Some(post_build) = &mut post_build {
            post_build.flush()?;
            self.seconds.post_build += post_build.seconds;
        }
        built?;
        let moved: BTreeSet<String> =
            post_build.map(|post_build| post_build.moved.into_iter().collect()).unwrap_or_default();
        self.add_pointers(&mut reports, &moved)?;
        Ok(reports.into_values().collect())
    }

    /// Reports fresh jobs, and completes what a killed run left undone for them.
    fn settle_fresh(
        &mut self,
        survey: &Survey,
        entries: &Entries,
        mut post_build: Option<&mut PostBuild<'_>>,
        connection: &mut LazyConnection<'_>,
        progress: &mut dyn Progress,
        reports: &mut BTreeMap<String, JobReport>,
    ) -> Result<(), RunError> {
        for job in &survey.jobs {
            let report = match &job.finding {
                Finding::Stale { .. } => continue,
                Finding::Fresh(success) => {
                    if let Some(post_build) = &mut post_build {
                        self.complete(job, success, survey, entries, post_build, connection)?;
                    }
                    self.fresh_report(job, success)
                }
                Finding::Built => {
                    let target = Target::base(&job.base, None);
                    if let Some(post_build) = &mut post_build {
                        let success = self.succeeded(job, &target, survey);
                        post_build
                            .succeeded(connection.get().map_err(PlanError::from)?, &success)?;
                    }
                    JobReport { status: JobStatus::Fresh, ..self.outline(job, Some(&target)) }
                }
            };
            tell(self.statuses, progress, &report);
            reports.insert(job.attr_path.clone(), report);
        }
        Ok(())
    }

    fn complete(
        &self,
        job: &Surveyed,
        success: &Success,
        survey: &Survey,
        entries: &Entries,
        post_build: &mut PostBuild<'_>,
        connection: &mut LazyConnection<'_>,
    ) -> Result<(), RunError> {
        if self.mode == Mode::Off {
            return Ok(());
        }
        match &success.cache {
            RecordedCache::Dropped => {}
            RecordedCache::Entry(stored) => {
                let dir = self.surroundings.store.dir();
                let Some(entry) = stored.entry(dir) else { return Ok(()) };
                let is_there = match entries.get(&job.attr_path) {
                    Some(Ok(own)) => own.path == entry.path || own.commit == entry.commit,
                    Some(Err(_)) | None => false,
                };
                if !is_there {
                    let connection = connection.get().map_err(PlanError::from)?;
                    post_build.fresh(connection, &job.attr_path, entry)?;
                }
            }
            // Recorded before incremental mode was switched on: its cache may still be there.
            RecordedCache::None => {
                let incremental = &self.project.declaration.incremental;
                let Some(output) = plan::cache_output(&job.base, incremental) else {
                    return Ok(());
                };
                let target = Target::base(&job.base, None);
                let connection = connection.get().map_err(PlanError::from)?;
                let there = match target.outputs.get(output) {
                    Some(path) => connection.is_valid(path).map_err(PlanError::from)?,
                    None => false,
                };
                if there && survey.evaluated.remembered.keys.contains_key(&job.attr_path) {
                    post_build.succeeded(connection, &self.succeeded(job, &target, survey))?;
                }
            }
        }
        Ok(())
    }

    fn succeeded<'b>(
        &'b self,
        job: &'b Surveyed,
        target: &'b Target,
        survey: &'b Survey,
    ) -> Succeeded<'b> {
        Succeeded {
            job,
            target,
            cache_output: plan::cache_output(&job.base, &self.project.declaration.incremental),
            key: key_of(survey, job),
        }
    }

    fn build_stale(
        &mut self,
        survey: &Survey,
        targets: &BTreeMap<String, Target>,
        logs: &Path,
        mut post_build: Option<&mut PostBuild<'_>>,
        connection: &mut LazyConnection<'_>,
        progress: &mut dyn Progress,
        reports: &mut BTreeMap<String, JobReport>,
    ) -> Result<(), RunError> {
        let mut wanted = Wanted::new();
        let mut jobs_of: BTreeMap<&DerivationPath, Vec<&Surveyed>> = BTreeMap::new();
        for job in &survey.jobs {
            let Some(target) = targets.get(&job.attr_path) else { continue };
            wanted.insert(target.derivation.clone(), target.outputs.clone());
            jobs_of.entry(&target.derivation).or_default().push(job);
            tell_pending(self.statuses, &self.outline(job, Some(target)));
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let total = survey.jobs.len() + survey.errors.len();
        self.statuses.summary(SummaryPhase::Running, total, counted(reports), None);
        let started = Instant::now();
        let store = &self.surroundings.store;
        let building = Building { store, options: &self.options.build, logs, cancel: self.cancel };
        let watch = connection.get().map_err(PlanError::from)?;
        let mut failure: Option<PostBuildError> = None;
        let this = &*self;
        building.build(
            &wanted,
            watch,
            progress,
            &mut |watch, progress, derivation, ending, traces| {
                for job in jobs_of.get(derivation).into_iter().flatten() {
                    let target = &targets[&job.attr_path];
                    if let (Ending::Success, Some(post_build)) = (&ending, &mut post_build) {
                        let success = this.succeeded(job, target, survey);
                        if let Err(error) = post_build.succeeded(watch, &success) {
                            progress.warning(&format!("{}: {error}", job.attr_path));
                            failure.get_or_insert(error);
                        }
                    }
                    let report = this.ended(job, target, &ending, traces, store, watch);
                    tell(this.statuses, progress, &report);
                    reports.insert(job.attr_path.clone(), report);
                }
            },
        )?;
        let post = post_build.map_or(0.0, |post_build| post_build.seconds);
        self.seconds.build += (started.elapsed().as_secs_f64() - post).max(0.0);
        match failure {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    /// Returns what is known of a job before it ends.
    fn outline(&self, job: &Surveyed, target: Option<&Target>) -> JobReport {
        let dir = self.surroundings.store.dir();
        let (reason, key, refused) = match &job.finding {
            Finding::Stale { key, choice } => {
                let refusal =
                    target.and_then(|target| target.refusal.as_ref()).or_else(|| choice.refusal());
                let key = key.as_ref().map(|key| key.key().to_string());
                (refusal.map(|r| r.reason), key, refusal.map(|r| r.detail.clone()))
            }
            Finding::Fresh(_) | Finding::Built => (None, None, None),
        };
        let caches = target.map(|target| target.caches.as_slice()).unwrap_or_default();
        // A job may take another's cache although none was chosen for itself.
        let used_none = caches.is_empty();
        JobReport {
            attr_path: job.attr_path.clone(),
            name: Some(job.base.name.clone()),
            system: Some(job.base.system.clone()),
            status: JobStatus::Clean,
            base_drv_path: Some(dir.display(job.base.derivation.as_store_path())),
            built_drv_path: target.map(|target| dir.display(target.derivation.as_store_path())),
            outputs: BTreeMap::new(),
            caches: caches
                .iter()
                .map(|(origin, candidate)| CacheReport::new(dir, *origin, candidate))
                .collect(),
            reason: reason.filter(|_| used_none),
            reason_detail: refused.filter(|detail| used_none && !detail.is_empty()),
            key,
            unchanged_since: None,
            started_at: None,
            seconds: 0.0,
            log: None,
            error: None,
            last_lines: Vec::new(),
            pointer: None,
        }
    }

    fn fresh_report(&self, job: &Surveyed, success: &Success) -> JobReport {
        JobReport {
            status: JobStatus::Fresh,
            built_drv_path: Some(success.built.clone()),
            outputs: success.outputs.clone(),
            unchanged_since: Some(success.commit.clone()),
            ..self.outline(job, None)
        }
    }

    fn ended(
        &self,
        job: &Surveyed,
        target: &Target,
        ending: &Ending,
        traces: &Traces,
        store: &Store,
        watch: &mut Connection,
    ) -> JobReport {
        let outline = self.outline(job, Some(target));
        let own = traces.get(&target.derivation).cloned().unwrap_or_default();
        let timed = JobReport {
            started_at: own.started_at,
            seconds: own.seconds,
            log: shown_log(&own),
            ..outline
        };
        let with_error = |status, error: String, trace: &Trace| JobReport {
            status,
            error: Some(error),
            last_lines: trace.last_lines.iter().cloned().collect(),
            log: shown_log(trace),
            ..timed.clone()
        };
        match ending {
            Ending::Success => JobReport {
                status: match target.caches.is_empty() {
                    true => JobStatus::Clean,
                    false => JobStatus::Incremental,
                },
                outputs: target
                    .outputs
                    .iter()
                    .map(|(name, path)| (name.clone(), store.dir().display(path)))
                    .collect(),
                ..timed
            },
            Ending::Failure { status, message } => {
                let culprit = match status {
                    BuildStatus::DependencyFailed => {
                        failed_dependency(store, &target.derivation, traces, watch)
                    }
                    _ => None,
                };
                let trace = culprit.as_ref().and_then(|path| traces.get(path)).unwrap_or(&own);
                with_error(blame(*status), message.clone(), trace)
            }
            Ending::Cancelled => with_error(JobStatus::Cancelled, "stopped".into(), &own),
            Ending::Broken { message } => with_error(JobStatus::Error, message.clone(), &own),
        }
    }

    /// Adds to each job the entry that its pointer has now.
    fn add_pointers(
        &self,
        reports: &mut BTreeMap<String, JobReport>,
        moved: &BTreeSet<String>,
    ) -> Result<(), RunError> {
        if self.mode == Mode::Off {
            return Ok(());
        }
        let (_, entries) = self.shadowing.own()?;
        for (job, entry) in entries.unwrap_or_default() {
            if let (Some(report), Ok(entry)) = (reports.get_mut(&job), entry) {
                report.pointer = Some(PointerReport {
                    path: self.surroundings.store.dir().display(&entry.path),
                    moved: moved.contains(&job),
                });
            }
        }
        Ok(())
    }
}

fn counted(reports: &BTreeMap<String, JobReport>) -> Counters {
    let reports: Vec<JobReport> = reports.values().cloned().collect();
    Counters::of(&reports)
}

fn key_of<'a>(survey: &'a Survey, job: &Surveyed) -> Option<&'a KeyDocument> {
    survey.evaluated.remembered.keys.get(&job.attr_path)
}

fn shown_log(trace: &Trace) -> Option<String> {
    trace.log.as_ref().map(|path| path.display().to_string())
}

fn failed_evaluation(attr_path: &str, message: &str) -> JobReport {
    JobReport {
        attr_path: attr_path.to_owned(),
        name: None,
        system: None,
        status: JobStatus::Error,
        base_drv_path: None,
        built_drv_path: None,
        outputs: BTreeMap::new(),
        caches: Vec::new(),
        reason: None,
        reason_detail: None,
        key: None,
        unchanged_since: None,
        started_at: None,
        seconds: 0.0,
        log: None,
        error: Some(message.to_owned()),
        last_lines: Vec::new(),
        pointer: None,
    }
}

/// Tells whether a failure is the job's, or that of levain, Nix or the machine.
fn blame(status: BuildStatus) -> JobStatus {
    match status {
        BuildStatus::PermanentFailure
        | BuildStatus::OutputRejected
        | BuildStatus::HashMismatch
        | BuildStatus::CachedFailure
        | BuildStatus::TimedOut
        | BuildStatus::DependencyFailed
        | BuildStatus::LogLimitExceeded
        | BuildStatus::NotDeterministic => JobStatus::Failed,
        BuildStatus::InputRejected
        | BuildStatus::TransientFailure
        | BuildStatus::MiscFailure
        | BuildStatus::NoSubstituters
        | BuildStatus::Unknown(_)
        // Successes do not get here.
        | BuildStatus::Built
        | BuildStatus::Substituted
        | BuildStatus::AlreadyValid
        | BuildStatus::ResolvesToAlreadyValid => JobStatus::Error,
    }
}

/// Returns a dependency that was started and has not become valid: the one
/// whose log explains the failure.
fn failed_dependency(
    store: &Store,
    derivation: &DerivationPath,
    traces: &Traces,
    watch: &mut Connection,
) -> Option<DerivationPath> {
    let mut seen = BTreeSet::new();
    let mut open = vec![derivation.clone()];
    while let Some(path) = open.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let Ok(parsed) = store.read_derivation(&path) else { continue };
        if path != *derivation && traces.get(&path).is_some() {
            let mut outputs = parsed.outputs.values().filter_map(|output| output.path.as_ref());
            if outputs.any(|output| !watch.is_valid(output).unwrap_or(true)) {
                return Some(path);
            }
        }
        open.extend(parsed.input_derivations.into_keys());
    }
    None
}
