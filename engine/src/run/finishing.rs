//! The end of a run: roots released, the shadow branch pushed, everything told and reported.

use std::time::Instant;

use levain_actions::git::CommitId;
use levain_actions::status::SummaryPhase;

use super::{Run, RunError};
use crate::candidates::named_paths;
use crate::declaration::Mode;
use crate::report::{Counters, JobReport, JobStatus, Report, ShadowReport, Undelivered};
use crate::roots;
use crate::shadowing::Mirrored;

/// How many evaluations and logs are kept.
const KEEP: usize = 2_000;

/// A job without a derivation could not be evaluated: that is for the author to mend.
fn is_authors_error(job: &JobReport) -> bool {
    job.status == JobStatus::Error && job.base_drv_path.is_none()
}

impl Run<'_> {
    /// Lets go of every cache that no pointer names any more.
    pub(super) fn release_roots(&mut self) {
        let (Some(writer), false) = (&self.project.writer, self.mode == Mode::Off) else { return };
        let layout = &self.project.layout;
        let released = layout
            .read_all(&self.project.repository, &layout.prefix)
            .map_err(|error| error.to_string())
            .and_then(|recorded| {
                // A broken pointer file names nothing, and must not cost anyone their cache.
                if recorded.iter().any(|recorded| recorded.entries.is_err()) {
                    return Ok(());
                }
                let named = named_paths(&recorded, &layout.store_dir);
                roots::sync(writer, &named).map_err(|error| error.to_string())
            });
        if let Err(error) = released {
            self.notices.push(format!("cannot release caches: {error}"));
        }
    }

    pub(super) fn push(&mut self) -> bool {
        let (Some(writer), false) = (&self.project.writer, self.mode == Mode::Off) else {
            return false;
        };
        let started = Instant::now();
        let result = self.shadowing.push(writer.run_lock());
        self.seconds.git += started.elapsed().as_secs_f64();
        match result {
            Ok(pushed) => pushed,
            Err(error) => {
                self.undelivered.push(Undelivered {
                    kind: "push",
                    subject: self.shadowing.reference.clone(),
                    error: error.to_string(),
                });
                false
            }
        }
    }

    pub(super) fn report(
        &mut self,
        jobs: Vec<JobReport>,
        before: Option<String>,
        mirrored: Option<&Mirrored>,
        pushed: bool,
    ) -> Report {
        if self.project.writer.is_none() {
            self.tell_what_is_withheld(&jobs);
        }
        let repository = &self.project.repository;
        let head: Option<CommitId> =
            repository.reference(&self.shadowing.reference).unwrap_or_default();
        let shadow = (self.mode != Mode::Off).then(|| ShadowReport {
            reference: self.shadowing.reference.clone(),
            before,
            evaluated: mirrored.map(|mirrored| mirrored.id.to_string()),
            after: head.map(|commit| commit.to_string()),
            pushed,
        });
        Report {
            version: 1,
            repository: self.project.label.clone(),
            jobset: self.head.jobset.name(),
            original_commit: self.head.commit.to_string(),
            read_only: self.project.writer.is_none(),
            mode: self.mode.to_string(),
            shadow,
            evaluations: std::mem::take(&mut self.evaluations),
            counters: Counters::of(&jobs),
            jobs,
            undelivered: std::mem::take(&mut self.undelivered),
            withheld: std::mem::take(&mut self.withheld),
            notices: std::mem::take(&mut self.notices),
            seconds: self.seconds,
        }
    }

    /// Says what a run with the right to write would have written besides the shadow commit.
    fn tell_what_is_withheld(&mut self, jobs: &[JobReport]) {
        for job in jobs {
            let built = matches!(job.status, JobStatus::Clean | JobStatus::Incremental);
            if self.mode != Mode::Off && built && job.key.is_some() {
                self.withheld.push(format!("the cache of `{}` and its pointer", job.attr_path));
            }
        }
        if !self.withheld.is_empty()
            && let Some(remote) = self.shadowing.exchanged()
        {
            let reference = &self.shadowing.reference;
            self.withheld.push(format!("a push of `{reference}` to `{}`", remote.name));
        }
        if let Some(forge) = &self.project.declaration.forge {
            let commit = self.head.commit.short();
            let count = jobs.len();
            let kind = forge.kind;
            self.withheld
                .push(format!("statuses of {count} jobs and a summary on {commit}, to {kind}"));
        }
    }

    /// Sends the summary and waits for everything that is to be delivered.
    pub(super) fn finish(&mut self, mut report: Report) -> Result<Report, RunError> {
        let started = Instant::now();
        let counters = report.counters;
        let phase = if counters.cancelled > 0 {
            SummaryPhase::Cancelled
        } else if counters.failed > 0 || report.jobs.iter().any(is_authors_error) {
            SummaryPhase::Failure
        } else if counters.errors > 0 {
            SummaryPhase::Error
        } else {
            SummaryPhase::Success
        };
        self.statuses.summary(phase, report.jobs.len(), counters, None);
        report.undelivered.extend(self.options.runtime.block_on(self.statuses.flush()));
        report.seconds.statuses = started.elapsed().as_secs_f64();
        if let Some(writer) = &self.project.writer {
            writer.tidy(KEEP);
        }
        Ok(report)
    }
}
