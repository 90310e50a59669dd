//! How a job ended, for people and programs.

use std::collections::{BTreeMap, BTreeSet};

use levain_evaluator::JobName;
use levain_evaluator::evaluate::JobDerivation;
use levain_store::{BuildStatus, Connection, DerivationPath, Store, StoreDir};

use super::Run;
use crate::build::{Ending, Failure, Trace, Traces};
use crate::choose::Reason;
use crate::declaration::Mode;
use crate::plan::{Finding, PlannedJob, Target};
use crate::report::{CacheReport, FailedDependency, JobReport, JobStatus};
use crate::restored::{self, Use};
use crate::success::Success;

impl Run<'_> {
    /// Returns what is known of a job before it ends.
    pub(super) fn outline(&self, job: &PlannedJob, target: Option<&Target>) -> JobReport {
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
        // A plain job, or any in a plain run, has nothing to say about caches.
        let expects_cache = self.mode != Mode::Off && key.is_some();
        JobReport {
            name: Some(job.base.name.clone()),
            system: Some(job.base.system.clone()),
            base_drv_path: Some(dir.display(job.base.derivation.as_store_path())),
            built_drv_path: target.map(|target| dir.display(target.derivation.as_store_path())),
            caches: caches
                .iter()
                .map(|(origin, candidate)| CacheReport::new(dir, *origin, candidate))
                .collect(),
            reason: reason.filter(|_| used_none && expects_cache),
            reason_detail: refused
                .filter(|detail| used_none && expects_cache && !detail.is_empty()),
            key,
            ..JobReport::new(&job.attr_path, JobStatus::Clean)
        }
    }

    pub(super) fn fresh_report(&self, job: &PlannedJob, success: &Success) -> JobReport {
        let dir = self.surroundings.store.dir();
        let outputs = if success.is_clean(dir, &job.base.derivation) {
            displayed(&Target::base(&job.base, None), dir)
        } else {
            success.outputs.clone()
        };
        JobReport {
            status: JobStatus::Fresh,
            built_drv_path: Some(success.built.clone()),
            outputs,
            unchanged_since: Some(success.commit.to_string()),
            ..self.outline(job, None)
        }
    }

    pub(super) fn ended(
        &self,
        job: &PlannedJob,
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
            // Read-only, logs outlive the run only to explain a failure.
            log: self.project.writer.as_ref().and_then(|_| shown_log(&own)),
            cache_sets: own.cache_lines.clone(),
            ..outline
        };
        // Which only words the result, see there; what else follows goes by the derivation.
        let used = (!target.caches.is_empty())
            .then(|| restored::of_build(store, &target.derivation, traces));
        let timed = match &used {
            Some(Use::Nothing(detail)) => JobReport {
                reason: Some(Reason::NotRestored),
                reason_detail: Some(detail.clone()),
                ..timed
            },
            Some(Use::Restored) | None => timed,
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
                status: match used {
                    Some(Use::Restored) => JobStatus::Incremental,
                    Some(Use::Nothing(_)) | None => JobStatus::Clean,
                },
                outputs: displayed(target, store.dir()),
                ..timed
            },
            Ending::Failure(Failure { status, message }) => {
                // Nix builds dependencies by itself only where it could not be asked before.
                let culprit = (*status == BuildStatus::DependencyFailed)
                    .then(|| failed_dependency(store, &target.derivation, traces, watch))
                    .flatten();
                let trace = culprit.as_ref().and_then(|path| traces.get(path)).unwrap_or(&own);
                with_error(blame(*status), message.clone(), trace)
            }
            Ending::DependenciesFailed(failed) => {
                let dependencies = failed.iter().map(|(path, failure)| {
                    let trace = traces.get(path);
                    FailedDependency {
                        drv_path: store.dir().display(path.as_store_path()),
                        name: path.name().to_owned(),
                        error: failure.message.clone(),
                        log: trace.and_then(shown_log),
                    }
                });
                let dependencies = dependencies.collect();
                let is_failure =
                    |(_, failure): &(_, Failure)| blame(failure.status) == JobStatus::Failed;
                let status = match failed.iter().any(is_failure) {
                    true => JobStatus::Failed,
                    false => JobStatus::Error,
                };
                let trace = failed.first().and_then(|(path, _)| traces.get(path)).unwrap_or(&own);
                let report = with_error(status, reason(ending), trace);
                JobReport { failed_dependencies: dependencies, ..report }
            }
            Ending::NoBuilder { .. } => {
                JobReport { skipped: Some(reason(ending)), status: JobStatus::Skipped, ..timed }
            }
            Ending::Cancelled => with_error(JobStatus::Cancelled, reason(ending), &own),
            Ending::Broken { .. } | Ending::Abandoned => {
                with_error(JobStatus::Error, reason(ending), &own)
            }
        }
    }
}

pub(super) fn displayed(target: &Target, dir: &StoreDir) -> BTreeMap<String, String> {
    target.outputs.iter().map(|(name, path)| (name.clone(), dir.display(path))).collect()
}

fn reason(ending: &Ending) -> String {
    ending.reason().unwrap_or_default()
}

fn shown_log(trace: &Trace) -> Option<String> {
    trace.log.as_ref().map(|path| path.display().to_string())
}

pub(super) fn failed_evaluation(attr_path: &JobName, message: &str) -> JobReport {
    JobReport { error: Some(message.to_owned()), ..JobReport::new(attr_path, JobStatus::Error) }
}

pub(super) fn left_out(attr_path: &JobName, base: &JobDerivation, dir: &StoreDir) -> JobReport {
    JobReport {
        name: Some(base.name.clone()),
        system: Some(base.system.clone()),
        base_drv_path: Some(dir.display(base.derivation.as_store_path())),
        skipped: Some(format!("left out: `systems` does not name {}", base.system)),
        ..JobReport::new(attr_path, JobStatus::Skipped)
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
        | BuildStatus::BuilderLost
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
