//! The last stage: roots released, the shadow branch pushed, everything told and reported.

use std::time::Instant;

use levain_actions::git::{CommitId, GitError};
use levain_evaluator::JobsetName;
use levain_store::counted;

use super::Run;
use super::building::Endings;
use crate::build::unix_now;
use crate::candidates::named_paths;
use crate::declaration::Mode;
use crate::event::What;
use crate::pointers::Entries;
use crate::report::{
    Counters, JobReport, JobStatus, MakerReport, MergeReport, PointerReport, Report, ReportedJob,
    ShadowReport, Undelivered, UndeliveredKind,
};
use crate::roots::RootError;
use crate::state::Kind;

/// Name under which the jobset is remembered that was last looked at for being gone.
const RELEASED: &str = "released";

/// How many evaluations and logs are kept.
const KEEP: usize = 2_000;

/// Why caches are not released.
#[derive(Debug, thiserror::Error)]
enum ReleaseError {
    #[error(transparent)]
    Git(GitError),
    #[error(transparent)]
    Root(#[from] RootError),
}

/// A job without a derivation could not be evaluated: that is for the author to mend.
fn is_authors_error(job: &JobReport) -> bool {
    job.status == JobStatus::Error && job.base_drv_path.is_none()
}

impl Run<'_> {
    /// Releases what deleted branches and pull requests left. What cannot be released now, or is not
    /// looked at yet, waits for the next run.
    fn release_gone(&mut self) {
        let (Some(writer), false) = (&self.project.writer, self.mode == Mode::Off) else { return };
        let started = Instant::now();
        let _turn = writer.lent().remote();
        let last: Option<JobsetName> = writer.state().load(Kind::Project, RELEASED);
        let released = self.shadowing.release_gone(
            writer.run_lock(),
            last.as_ref(),
            &writer.lent().at_work(),
            self.is_over,
            unix_now(),
        );
        match released {
            Ok(Some(next)) if Some(&next) != last.as_ref() => {
                if let Err(error) = writer.store(Kind::Project, RELEASED, &next) {
                    tracing::warn!(%error, "cannot note which branches were looked at");
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "cannot release what deleted branches left"),
        }
        self.seconds.git += started.elapsed().as_secs_f64();
    }

    /// Lets go of every cache that no pointer names any more.
    fn release_roots(&mut self) {
        let (Some(writer), false) = (&self.project.writer, self.mode == Mode::Off) else { return };
        let layout = &self.project.layout;
        let named = || {
            let recorded = layout.read_all(&self.project.repository, &layout.prefix);
            let recorded = recorded.map_err(ReleaseError::Git)?;
            // A broken pointer file names nothing, and must not cost anyone their cache.
            let is_whole = recorded.iter().all(|recorded| recorded.entries.is_ok());
            Ok(is_whole.then(|| named_paths(&recorded, &layout.store_dir)))
        };
        let released: Result<(), ReleaseError> =
            writer.lent().unlink(&writer.state().roots(), named);
        if let Err(error) = released {
            self.notices.push(format!("cannot release caches: {error}"));
        }
    }

    fn push(&mut self) -> bool {
        let (Some(writer), false) = (&self.project.writer, self.mode == Mode::Off) else {
            return false;
        };
        let started = Instant::now();
        let turn = writer.lent().remote();
        let result = self.shadowing.push(writer.run_lock());
        drop(turn);
        self.seconds.git += started.elapsed().as_secs_f64();
        self.notices.extend(self.shadowing.why_not_pushed());
        match result {
            Ok(pushed) => pushed,
            Err(error) => {
                self.undelivered.push(Undelivered {
                    kind: UndeliveredKind::Push,
                    subject: self.shadowing.reference.clone(),
                    error: error.to_string(),
                });
                false
            }
        }
    }

    /// Lets go of what nobody names, pushes, reports and tidies up.
    pub(super) fn deliver(&mut self, endings: Endings) -> Report {
        self.release_gone();
        self.release_roots();
        let pushed = self.push();
        let report = self.report(endings, pushed);
        self.finish(report)
    }

    fn report(&mut self, endings: Endings, pushed: bool) -> Report {
        let Endings { jobs, before, written } = endings;
        if self.project.writer.is_none() {
            self.tell_what_is_withheld(&jobs);
        }
        let counters = Counters::of(&jobs);
        let jobs = self.with_pointers(jobs);
        let repository = &self.project.repository;
        let head: Option<CommitId> =
            repository.reference(&self.shadowing.reference).unwrap_or_default();
        let shadow = (self.mode != Mode::Off).then(|| ShadowReport {
            reference: self.shadowing.reference.clone(),
            before: before.map(|commit| commit.to_string()),
            evaluated: written.as_ref().map(|written| written.id.to_string()),
            after: head.map(|commit| commit.to_string()),
            pushed,
        });
        Report {
            version: 1,
            repository: self.project.label.clone(),
            jobset: self.head.jobset.name(),
            original_commit: self.head.commit.to_string(),
            merge: self.head.base.as_ref().map(|base| MergeReport {
                base: base.branch.clone(),
                base_commit: base.commit.to_string(),
                commit: self.head.built.to_string(),
            }),
            read_only: self.project.writer.is_none(),
            mode: self.mode.to_string(),
            shadow,
            evaluations: std::mem::take(&mut self.evaluations),
            counters,
            jobs,
            lies: std::mem::take(&mut self.lies),
            undelivered: std::mem::take(&mut self.undelivered),
            withheld: std::mem::take(&mut self.withheld),
            notices: std::mem::take(&mut self.notices),
            seconds: self.seconds,
        }
    }

    /// Adds to each job the entry that its pointer has now.
    fn with_pointers(&mut self, jobs: Vec<JobReport>) -> Vec<ReportedJob> {
        let entries = match self.mode {
            Mode::Off => Ok(Entries::new()),
            Mode::Record | Mode::Incremental => {
                self.shadowing.own().map(|(_, entries)| entries.unwrap_or_default())
            }
        };
        let entries = entries.unwrap_or_else(|error| {
            self.notices.push(format!("cannot read where the pointers point now: {error}"));
            Entries::new()
        });
        let dir = self.surroundings.store.dir();
        let with_pointer = |job: JobReport| {
            let entry = entries.get(&job.attr_path).and_then(|entry| entry.as_ref().ok());
            let pointer = entry.map(|entry| PointerReport {
                path: dir.display(&entry.path),
                moved: self.moved.contains(&job.attr_path),
                time: entry.time,
                maker: entry.maker.as_ref().map(|maker| MakerReport {
                    jobset: maker.jobset.clone(),
                    job: maker.job.clone(),
                }),
            });
            ReportedJob { job, pointer }
        };
        jobs.into_iter().map(with_pointer).collect()
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
            let count = counted(jobs.len(), "job");
            let kind = forge.kind;
            self.withheld.push(format!("statuses of {count} and a summary on {commit}, to {kind}"));
        }
    }

    /// Tells how the run ended, and tidies up.
    fn finish(&mut self, report: Report) -> Report {
        let counters = report.counters;
        let is_authors = report.jobs.iter().any(|job| is_authors_error(&job.job));
        let phase = counters.phase(is_authors);
        self.tell.what(What::Ended { phase, jobs: report.jobs.len(), counters });
        if let Some(writer) = &self.project.writer {
            writer.tidy(KEEP, self.project.declaration.logs.total_bytes);
        }
        report
    }
}
