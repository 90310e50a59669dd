//! The last steps of a run: building, and the post-build action of each success.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use levain_actions::status::SummaryPhase;
use levain_evaluator::Entry;
use levain_evaluator::key::KeyDocument;
use levain_store::{BuildStatus, Connection, DerivationPath, Store, StoreDir};

use super::planning::{Survey, stage_of};
use super::{Run, RunError, tell, tell_pending};
use crate::build::{Building, Ending, Trace, Traces, Wanted};
use crate::connections::{Connections, LazyConnection};
use crate::declaration::Mode;
use crate::plan::{self, Finding, Surveyed, Target};
use crate::pointers::Entries;
use crate::post_build::{PostBuild, Succeeded};
use crate::progress::Progress;
use crate::report::{CacheReport, Counters, JobReport, JobStatus, PointerReport};
use crate::statuses::Statuses;
use crate::success::{RecordedCache, Success};

/// What the last steps share.
struct Stage<'b> {
    survey: &'b Survey,
    post_build: Option<PostBuild<'b>>,
    connection: &'b mut LazyConnection,
    builder: &'b mut LazyConnection,
    progress: &'b mut dyn Progress,
    reports: BTreeMap<String, JobReport>,
}

impl Stage<'_> {
    /// Notes how a job ended, and tells everyone.
    fn ended(&mut self, statuses: &Statuses, report: JobReport) {
        tell(statuses, self.progress, &report);
        self.reports.insert(report.attr_path.clone(), report);
    }
}

impl Run<'_> {
    /// Builds what is stale; returns how every job ended.
    pub(super) fn build(
        &mut self,
        survey: &Survey,
        targets: &BTreeMap<String, Target>,
        entries: &Entries,
        logs: &Path,
        connections: &mut Connections,
        progress: &mut dyn Progress,
    ) -> Result<Vec<JobReport>, RunError> {
        progress.stage(stage_of(survey));
        let shadowing = (self.mode != Mode::Off).then_some(self.shadowing);
        let store = &self.surroundings.store;
        let post_build = self.project.writer.as_ref();
        let post_build =
            post_build.map(|writer| PostBuild::new(store, writer, self.head, shadowing));
        let Connections { watch: connection, builder } = connections;
        let reports = BTreeMap::new();
        let mut stage = Stage { survey, post_build, connection, builder, progress, reports };
        for (attr_path, error) in &survey.errors {
            stage.ended(self.statuses, failed_evaluation(attr_path, &error.message));
        }
        self.settle_fresh(&mut stage, entries)?;
        self.build_stale(&mut stage, targets, logs)?;
        let Stage { post_build, mut reports, .. } = stage;
        let mut moved = BTreeSet::new();
        if let Some(mut post_build) = post_build {
            post_build.flush();
            self.seconds.post_build += post_build.seconds;
            moved.extend(post_build.moved);
            self.undelivered.extend(post_build.troubles);
        }
        self.add_pointers(&mut reports, &moved)?;
        Ok(reports.into_values().collect())
    }

    /// Reports fresh jobs, and completes what a killed run left undone for them.
    fn settle_fresh(&self, stage: &mut Stage<'_>, entries: &Entries) -> Result<(), RunError> {
        let survey = stage.survey;
        for job in &survey.jobs {
            let report = match &job.finding {
                Finding::Stale { .. } => continue,
                Finding::Fresh(success) => {
                    if self.mode != Mode::Off
                        && let Some(post_build) = &mut stage.post_build
                    {
                        self.complete(job, success, survey, entries, post_build, stage.connection)?;
                    }
                    self.fresh_report(job, success)
                }
                Finding::Built => {
                    let target = Target::base(&job.base, None);
                    if let Some(post_build) = &mut stage.post_build {
                        let connection = stage.connection.get()?;
                        post_build.succeeded(connection, &self.succeeded(job, &target, survey));
                    }
                    JobReport {
                        status: JobStatus::Fresh,
                        outputs: displayed(&target, self.surroundings.store.dir()),
                        ..self.outline(job, Some(&target))
                    }
                }
            };
            stage.ended(self.statuses, report);
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
        connection: &mut LazyConnection,
    ) -> Result<(), RunError> {
        match &success.cache {
            RecordedCache::Unusable => {}
            RecordedCache::Entry(stored) => {
                let dir = self.surroundings.store.dir();
                let Some(entry) = stored.entry(dir) else { return Ok(()) };
                // The base derivation is that of this head as well. What it gave when it was built
                // itself is as good as if this jobset had built it; what a cache was part of
                // stays as trusted as its maker.
                let is_clean = success.built == dir.display(job.base.derivation.as_store_path());
                let tier = if is_clean { self.head.jobset.tier() } else { entry.tier };
                let entry = Entry { commit: self.head.commit.to_string(), tier, ..entry };
                let is_there = match entries.get(&job.attr_path) {
                    Some(Ok(own)) => own.path == entry.path,
                    Some(Err(_)) | None => false,
                };
                if !is_there {
                    post_build.fresh(connection.get()?, &job.attr_path, entry);
                }
            }
            // Recorded before incremental mode was switched on: its cache may still be there.
            RecordedCache::None => {
                let incremental = &self.project.declaration.incremental;
                let target = Target::base(&job.base, None);
                let output = plan::cache_output(&job.base, incremental);
                let Some(path) = output.and_then(|output| target.outputs.get(output)) else {
                    return Ok(());
                };
                let connection = connection.get()?;
                if key_of(survey, job).is_some() && connection.is_valid(path)? {
                    post_build.succeeded(connection, &self.succeeded(job, &target, survey));
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
        stage: &mut Stage<'_>,
        targets: &BTreeMap<String, Target>,
        logs: &Path,
    ) -> Result<(), RunError> {
        let survey = stage.survey;
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
        self.statuses.summary(
            SummaryPhase::Running,
            total,
            Counters::of(stage.reports.values()),
            None,
        );
        let started = Instant::now();
        let store = &self.surroundings.store;
        let options = &self.options.build;
        let building = Building { options, logs, cancel: self.cancel };
        let watch = stage.connection.get()?;
        let (post_build, reports) = (&mut stage.post_build, &mut stage.reports);
        let before = post_build.as_ref().map_or(0.0, |post_build| post_build.seconds);
        building.build(
            &wanted,
            stage.builder,
            watch,
            stage.progress,
            &mut |watch, progress, derivation, ending, traces| {
                for job in jobs_of.get(derivation).into_iter().flatten() {
                    let target = &targets[&job.attr_path];
                    if let (Ending::Success, Some(post_build)) = (&ending, &mut *post_build) {
                        post_build.succeeded(watch, &self.succeeded(job, target, survey));
                    }
                    let report = self.ended(job, target, &ending, traces, store, watch);
                    tell(self.statuses, progress, &report);
                    reports.insert(job.attr_path.clone(), report);
                }
            },
        )?;
        let after = stage.post_build.as_ref().map_or(0.0, |post_build| post_build.seconds);
        self.seconds.build += (started.elapsed().as_secs_f64() - (after - before)).max(0.0);
        Ok(())
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
            cache_sets: Vec::new(),
            reason: reason.filter(|_| used_none),
            reason_detail: refused.filter(|detail| used_none && !detail.is_empty()),
            key,
            unchanged_since: None,
            started_at: None,
            seconds: 0.0,
            log: None,
            error: None,
            last_lines: Vec::new(),
            audit: None,
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
            cache_sets: own.cache_lines.clone(),
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
                outputs: displayed(target, store.dir()),
                ..timed
            },
            Ending::Failure { status, message } => {
                let culprit = (*status == BuildStatus::DependencyFailed)
                    .then(|| failed_dependency(store, &target.derivation, traces, watch))
                    .flatten();
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

fn key_of<'a>(survey: &'a Survey, job: &Surveyed) -> Option<&'a KeyDocument> {
    survey.evaluated.remembered.keys.get(&job.attr_path)
}

fn displayed(target: &Target, dir: &StoreDir) -> BTreeMap<String, String> {
    target.outputs.iter().map(|(name, path)| (name.clone(), dir.display(path))).collect()
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
        cache_sets: Vec::new(),
        reason: None,
        reason_detail: None,
        key: None,
        unchanged_since: None,
        started_at: None,
        seconds: 0.0,
        log: None,
        error: Some(message.to_owned()),
        last_lines: Vec::new(),
        audit: None,
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
