//! The fourth stage: building, and the post-build action of each success. Audits are in `auditing.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use levain_actions::git::CommitId;
use levain_evaluator::JobName;
use levain_evaluator::key::KeyDocument;
use levain_store::{BuildOptions, BuildSettings, Connection, DerivationPath};

use super::reporting::{displayed, failed_evaluation, left_out};
use super::resolving::Targets;
use super::retry::{is_needed_by, may_be_the_caches};
use super::surveying::{Survey, stage_of};
use super::{Run, RunError};
use crate::aggregate::{self, Constituents};
use crate::build::{Building, Ending, Traces, Wanted, unix_now};
use crate::candidates::is_dropped;
use crate::choose::{Reason, Refusal};
use crate::connections::{Connections, LazyConnection};
use crate::declaration::Mode;
use crate::dropped;
use crate::event::{Tell, What};
use crate::exposure::exposed_in;
use crate::kept::KeptOutputs;
use crate::plan::{self, Finding, PlannedJob, Target};
use crate::pointers::Entries;
use crate::post_build::{PostBuild, Succeeded};
use crate::report::{Counters, JobReport, JobStatus};
use crate::shadowing::WrittenShadow;
use crate::success::{RecordedCache, Success};

/// How Nix is to build.
pub(super) struct How {
    /// Options, with the values of nix.conf where the user said nothing.
    pub(super) options: BuildOptions,
    /// The settings of nix.conf, if they could be read.
    pub(super) settings: Option<BuildSettings>,
}

/// The builds of a run's jobs: what they are made with, and how they ended.
struct JobBuilds<'b> {
    survey: &'b Survey,
    post_build: Option<PostBuild<'b>>,
    connection: &'b mut LazyConnection,
    builder: &'b mut LazyConnection,
    how: How,
    kept: Option<KeptOutputs<'b>>,
    reports: BTreeMap<JobName, JobReport>,
}

/// A job that was built from a cache in vain.
struct InVain<'p> {
    job: &'p PlannedJob,
    /// Why nothing came of it.
    refusal: Refusal,
    /// How it failed, if it did.
    failed: Option<JobReport>,
}

impl JobBuilds<'_> {
    /// Notes how a job ended, and tells everyone.
    fn ended(&mut self, tell: Tell<'_>, report: JobReport) {
        tell.job_ended(&report);
        self.reports.insert(report.attr_path.clone(), report);
    }
}

/// How every job ended, and what the report says beside that.
pub(super) struct Endings {
    pub(super) jobs: Vec<JobReport>,
    /// The head of the shadow branch before the run.
    pub(super) before: Option<CommitId>,
    /// The shadow commit, if one was written.
    pub(super) written: Option<WrittenShadow>,
}

impl Run<'_> {
    /// Builds and audits; after that it is settled how every job ended.
    pub(super) fn end_all(
        &mut self,
        targets: Targets,
        connections: &mut Connections,
    ) -> Result<Endings, RunError> {
        self.note_owed();
        let logs = self.logs(!targets.of_jobs.is_empty())?;
        let mut jobs = self.build(&targets, logs.path(), connections)?;
        let Targets { survey, before, written, .. } = targets;
        self.audit_by_policy(&survey, &mut jobs, logs.path(), connections)?;
        self.settle_aggregates(&survey, &mut jobs);
        logs.settle(&jobs);
        Ok(Endings { jobs, before: before.head, written })
    }

    /// Builds what is stale; returns how every job ended.
    fn build(
        &mut self,
        targets: &Targets,
        logs: &Path,
        connections: &mut Connections,
    ) -> Result<Vec<JobReport>, RunError> {
        let Targets { survey, entries, of_jobs: targets, .. } = targets;
        self.tell.stage(stage_of(survey));
        let shadowing = (self.mode != Mode::Off).then_some(self.shadowing);
        let store = &self.surroundings.store;
        let post_build = self.project.writer.as_ref();
        let keys = &*self.project.layout.keys;
        let records = self.project.records.as_ref();
        let post_build = post_build
            .map(|writer| PostBuild::new(store, records, writer, keys, self.head, shadowing));
        let how = if targets.is_empty() {
            How { options: self.options.build.clone(), settings: None }
        } else {
            self.how_to_build(connections)
        };
        let Connections { watch: connection, builder, .. } = connections;
        let settings = self.project.declaration.outputs;
        let kept = self.project.writer.as_ref();
        let kept = kept.map(|writer| KeptOutputs::new(writer, store, settings));
        let reports = BTreeMap::new();
        let mut builds = JobBuilds { survey, post_build, connection, builder, how, kept, reports };
        for (attr_path, error) in &survey.errors {
            builds.ended(self.tell, failed_evaluation(attr_path, &error.message));
        }
        for (attr_path, base) in &survey.left_out {
            // Nobody is told of each: there may be as many as there are others.
            let report = left_out(attr_path, base, self.surroundings.store.dir());
            builds.reports.insert(attr_path.clone(), report);
        }
        self.settle_fresh(&mut builds, entries)?;
        self.build_stale(&mut builds, targets, logs)?;
        let JobBuilds { post_build, kept, reports, .. } = builds;
        if let Some(kept) = kept {
            let head = &self.head;
            let troubles = kept.finish(&head.jobset.name(), head.commit, unix_now());
            self.undelivered.extend(troubles);
        }
        if let Some(mut post_build) = post_build {
            post_build.flush();
            self.seconds.post_build += post_build.seconds;
            self.moved.extend(post_build.moved);
            self.undelivered.extend(post_build.troubles);
        }
        Ok(reports.into_values().collect())
    }

    /// Gives aggregates the status that their constituents leave them, and tells how they ended.
    fn settle_aggregates(&self, survey: &Survey, reports: &mut [JobReport]) {
        let aggregates = survey.jobs.iter().filter(|job| job.is_aggregate());
        let aggregates: Constituents =
            aggregates.map(|job| (job.attr_path.clone(), job.base.constituents.clone())).collect();
        aggregate::settle(reports, &aggregates);
        for report in reports.iter().filter(|report| aggregates.contains_key(&report.attr_path)) {
            self.tell.job_ended(report);
        }
    }

    /// Finds out how Nix is configured to build.
    pub(super) fn how_to_build(&mut self, connections: &mut Connections) -> How {
        let given = &self.options.build;
        match connections.settings.get() {
            Ok(settings) => How { options: given.or(settings), settings: Some(settings.clone()) },
            Err(error) => {
                let how = How { options: given.clone(), settings: None };
                let text = format!("{error}").replace('\n', "; ");
                self.notice(format!("{text}; building with Nix's defaults"));
                how
            }
        }
    }

    /// Reports fresh jobs, and completes what a killed run left undone for them.
    fn settle_fresh(&self, builds: &mut JobBuilds<'_>, entries: &Entries) -> Result<(), RunError> {
        let survey = builds.survey;
        for job in &survey.jobs {
            let report = match &job.finding {
                Finding::Stale { .. } => continue,
                Finding::Fresh(success) => {
                    if self.mode != Mode::Off
                        && let Some(post_build) = &mut builds.post_build
                    {
                        self.complete(
                            job,
                            success,
                            survey,
                            entries,
                            post_build,
                            builds.connection,
                        )?;
                    }
                    self.fresh_report(job, success)
                }
                Finding::Built => {
                    let target = Target::base(&job.base, None);
                    if let Some(post_build) = &mut builds.post_build {
                        let connection = builds.connection.get()?;
                        post_build.succeeded(connection, &self.succeeded(job, &target, survey));
                    }
                    JobReport {
                        status: JobStatus::Fresh,
                        outputs: displayed(&target, self.surroundings.store.dir()),
                        ..self.outline(job, Some(&target))
                    }
                }
            };
            if let Some(kept) = &mut builds.kept {
                kept.keep(&report, self.cache_output(job), builds.connection);
            }
            if job.is_aggregate() || self.awaits_audit(&report) {
                // How it ended is known only when its constituents have, or an audit.
                builds.reports.insert(report.attr_path.clone(), report);
            } else {
                builds.ended(self.tell, report);
            }
        }
        Ok(())
    }

    fn complete(
        &self,
        job: &PlannedJob,
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
                let Some(recorded) = stored.entry(dir) else { return Ok(()) };
                let is_clean = success.is_clean(dir, &job.base.derivation);
                let own_key = key_of(survey, job).map(KeyDocument::key);
                let Some(entry) = success.entry_for(self.head, is_clean, recorded, own_key) else {
                    return Ok(());
                };
                let maker = match (is_clean, &entry.maker) {
                    (true, _) => self.head.jobset.name(),
                    (false, Some(maker)) => maker.jobset.clone(),
                    // Recorded before entries said who made them.
                    (false, None) => return Ok(()),
                };
                let is_there = match entries.get(&job.attr_path) {
                    Some(Ok(own)) => own.path == entry.path,
                    Some(Err(_)) | None => false,
                };
                if !is_there {
                    post_build.fresh(connection.get()?, &job.attr_path, entry, maker);
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

    fn cache_output<'b>(&'b self, job: &'b PlannedJob) -> Option<&'b str> {
        plan::cache_output(&job.base, &self.project.declaration.incremental)
    }

    fn succeeded<'b>(
        &'b self,
        job: &'b PlannedJob,
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
        builds: &mut JobBuilds<'_>,
        targets: &BTreeMap<JobName, Target>,
        logs: &Path,
    ) -> Result<(), RunError> {
        let in_vain = self.build_targets(builds, targets, logs)?;
        let has_failed =
            |report: &JobReport| !report.status.is_success() && report.skipped.is_none();
        let is_over = !builds.how.options.keep_going && builds.reports.values().any(has_failed);
        let mut again = BTreeMap::new();
        for InVain { job, refusal, failed } in in_vain {
            let target = Target::base(&job.base, Some(refusal));
            // Built clean for another job of this run, it has failed already: once is enough.
            let derivation =
                self.surroundings.store.dir().display(job.base.derivation.as_store_path());
            let is_same = |report: &&JobReport| {
                report.built_drv_path.as_ref() == Some(&derivation) && has_failed(report)
            };
            let known = builds.reports.values().find(is_same).map(|known| JobReport {
                status: known.status,
                error: known.error.clone(),
                failed_dependencies: known.failed_dependencies.clone(),
                last_lines: known.last_lines.clone(),
                log: known.log.clone(),
                started_at: known.started_at,
                seconds: known.seconds,
                ..self.outline(job, Some(&target))
            });
            match known.or(failed.filter(|_| is_over)) {
                Some(report) if job.is_aggregate() => {
                    builds.reports.insert(report.attr_path.clone(), report);
                }
                Some(report) => builds.ended(self.tell, report),
                None => {
                    again.insert(job.attr_path.clone(), target);
                }
            }
        }
        if !again.is_empty() {
            self.build_targets(builds, &again, logs)?;
        }
        Ok(())
    }

    /// Builds these targets. Returns the jobs that were built from a cache in vain: those have not ended.
    fn build_targets<'p>(
        &mut self,
        builds: &mut JobBuilds<'p>,
        targets: &BTreeMap<JobName, Target>,
        logs: &Path,
    ) -> Result<Vec<InVain<'p>>, RunError> {
        let survey = builds.survey;
        let mut again = Vec::new();
        let mut wanted = Wanted::new();
        let mut jobs_of: BTreeMap<&DerivationPath, Vec<&'p PlannedJob>> = BTreeMap::new();
        for job in &survey.jobs {
            let Some(target) = targets.get(&job.attr_path) else { continue };
            wanted.insert(target.derivation.clone(), target.outputs.clone());
            jobs_of.entry(&target.derivation).or_default().push(job);
            let job = Box::new(self.outline(job, Some(target)));
            self.tell.what(What::JobWaits { job });
        }
        if wanted.is_empty() {
            return Ok(again);
        }
        let total = survey.jobs.len() + survey.errors.len();
        let counters = Counters::of(builds.reports.values());
        self.tell.what(What::BuildsBegin { jobs: total, counters });
        let started = Instant::now();
        let store = &self.surroundings.store;
        let excused: BTreeSet<DerivationPath> = match self.retries_clean() {
            true => {
                let with_cache = targets.values().filter(|target| !target.caches.is_empty());
                with_cache.map(|target| target.derivation.clone()).collect()
            }
            false => BTreeSet::new(),
        };
        let building = Building {
            store,
            excused: &excused,
            options: &builds.how.options,
            settings: builds.how.settings.as_ref(),
            logs,
            log_limits: self.project.declaration.logs,
            limits: self.limits(),
            again: self.options.rebuild,
            scheduler: &self.surroundings.scheduler,
            standing: &self.options.standing,
            cancel: self.cancel,
        };
        let watch = builds.connection.get()?;
        let (post_build, reports) = (&mut builds.post_build, &mut builds.reports);
        let kept = &mut builds.kept;
        let before = post_build.as_ref().map_or(0.0, |post_build| post_build.seconds);
        let mut traces = building.build(
            &wanted,
            builds.builder,
            watch,
            self.tell,
            &mut |watch, derivation, ending, traces| {
                for job in jobs_of.get(derivation).into_iter().flatten() {
                    let target = &targets[&job.attr_path];
                    let exposed = matches!(ending, Ending::Success)
                        .then(|| self.exposed(job, target, watch))
                        .flatten();
                    let in_vain = match &exposed {
                        Some(detail) => Some((Reason::CacheInOutput, detail.clone())),
                        None => self
                            .dropped_meanwhile(job, target, &ending)
                            .or_else(|| self.failed_with_cache(job, target, &ending, traces)),
                    };
                    if let (Some((reason, detail)), false) = (in_vain, target.caches.is_empty()) {
                        let text = format!("{detail}; it is built clean");
                        self.tell.warning(&format!("{}: {text}", job.attr_path));
                        let failed = !matches!(ending, Ending::Success);
                        let failed =
                            failed.then(|| self.ended(job, target, &ending, traces, store, watch));
                        again.push(InVain { job, refusal: Refusal::new(reason, text), failed });
                        continue;
                    }
                    if let (Ending::Success, Some(post_build)) = (&ending, &mut *post_build) {
                        post_build.succeeded(watch, &self.succeeded(job, target, survey));
                    }
                    let report = self.ended(job, target, &ending, traces, store, watch);
                    let report = match exposed.filter(|_| self.mode != Mode::Off) {
                        Some(detail) => JobReport {
                            reason: Some(Reason::CacheInOutput),
                            reason_detail: Some(format!("{detail}; no cache is kept")),
                            ..report
                        },
                        None => report,
                    };
                    if let Some(kept) = &mut *kept {
                        kept.keep(&report, self.cache_output(job), watch);
                    }
                    if !job.is_aggregate() && !self.awaits_audit(&report) {
                        self.tell.job_ended(&report);
                    }
                    reports.insert(job.attr_path.clone(), report);
                }
            },
        )?;
        for notice in traces.take_notices() {
            self.notice(notice);
        }
        let after = builds.post_build.as_ref().map_or(0.0, |post_build| post_build.seconds);
        self.seconds.build += (started.elapsed().as_secs_f64() - (after - before)).max(0.0);
        Ok(again)
    }

    /// Returns whether a build from a cache that fails is done clean before that counts. Whoever asks for
    /// builds to be repeated wants to know how they go.
    fn retries_clean(&self) -> bool {
        self.project.declaration.incremental.retry_clean && !self.options.rebuild
    }

    /// Says how a build from a cache failed, if it is to be done clean before that counts.
    fn failed_with_cache(
        &self,
        job: &PlannedJob,
        target: &Target,
        ending: &Ending,
        traces: &Traces,
    ) -> Option<(Reason, String)> {
        if !self.retries_clean() || target.caches.is_empty() || self.cancel.is_cancelled() {
            return None;
        }
        let trace = traces.get(&target.derivation);
        let is_started = trace.is_some_and(|trace| trace.started_at.is_some());
        let (store, base) = (&self.surroundings.store, &job.base.derivation);
        let mut has_cache = |path: &DerivationPath| !is_needed_by(store, base, path);
        if !may_be_the_caches(ending, is_started, &mut has_cache) {
            return None;
        }
        let why = ending.reason()?;
        let why = why.lines().next().unwrap_or_default();
        Some((Reason::FailedWithCache, format!("built from a cache, it failed: {why}")))
    }

    /// Says that a cache which a build started from was dropped before it ended: another run on this repository, or
    /// another server, found out that it lies.
    fn dropped_meanwhile(
        &self,
        job: &PlannedJob,
        target: &Target,
        ending: &Ending,
    ) -> Option<(Reason, String)> {
        if target.caches.is_empty() || !matches!(ending, Ending::Success) {
            return None;
        }
        let jobset = self.head.jobset.name();
        let why = match self.project.records.marks() {
            Ok(marks) => {
                let is_off = dropped::switched_off(&marks, &jobset).contains_key(&job.attr_path);
                let given = &mut target.caches.iter();
                let is_dropped = given
                    .any(|(_, cache)| is_dropped(&cache.entry, &jobset, &job.attr_path, &marks));
                (is_off || is_dropped).then(|| "was dropped while it was used".to_owned())
            }
            // In doubt it counts as dropped.
            Err(error) => Some(format!("may have been dropped while it was used ({error})")),
        };
        why.map(|why| (Reason::Rejected, format!("the cache that it was built from {why}")))
    }

    /// Says how a cache is part of what users get of a build, if it is.
    fn exposed(&self, job: &PlannedJob, target: &Target, watch: &mut Connection) -> Option<String> {
        let output = self.cache_output(job);
        if output.is_none() && target.caches.is_empty() {
            return None;
        }
        let given = target.caches.iter().map(|(_, cache)| cache.entry.path.clone()).collect();
        // In doubt it counts as one.
        let (store, derivation) = (&self.surroundings.store, &target.derivation);
        exposed_in(store, watch, derivation, &target.outputs, output, &given).unwrap_or_else(
            |error| Some(format!("it is unknown what its outputs refer to ({error})")),
        )
    }
}

fn key_of<'a>(survey: &'a Survey, job: &PlannedJob) -> Option<&'a KeyDocument> {
    survey.evaluated.remembered.keys.get(&job.attr_path)
}
