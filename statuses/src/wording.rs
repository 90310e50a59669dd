//! The statuses that a run's events call for, in the words of the declaration.
//!
//! A pure function of the events: nothing is sent from here. Templates and limits are in
//! `levain_actions`. Start at [`Wording::of`].

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use levain_actions::forge::Masks;
use levain_actions::status::{
    JobPhase, JobText, Status, StatusTexts, SummaryPhase, SummaryText, TextsError, Weight,
    distinct, seconds,
};
use levain_engine::event::What;
use levain_engine::local_paths::without_paths;
use levain_engine::report::{Counters, JobReport, JobStatus};
use levain_engine::statuses::StatusPlan;
use levain_evaluator::JobName;

/// Words the statuses of one run.
#[derive(Debug)]
pub struct Wording {
    plan: StatusPlan,
    texts: StatusTexts,
    /// The names of the jobs' statuses, once the jobs are known.
    names: OnceLock<BTreeMap<String, String>>,
}

impl Wording {
    /// Prepares the words about a run; what `masks` hide is shown in none of them.
    pub fn new(plan: StatusPlan, masks: Masks) -> Result<Self, TextsError> {
        let texts = plan.texts.compile()?.masked(masks);
        Ok(Self { plan, texts, names: OnceLock::new() })
    }

    /// Returns what keeps secrets out of the words.
    pub fn masks(&self) -> &Masks {
        self.texts.masks()
    }

    /// Returns the status that something that happened calls for, if it calls for one.
    pub fn of(&self, what: &What) -> Option<(Status, Weight)> {
        match what {
            What::Opened { .. } => {
                self.summary(SummaryPhase::Pending, 0, Counters::default(), None)
            }
            What::JobsFound { jobs } => {
                self.name_jobs(jobs);
                None
            }
            What::JobWaits { job } => self.job(job, JobPhase::Pending),
            What::BuildsBegin { jobs, counters } => {
                self.summary(SummaryPhase::Running, *jobs, *counters, None)
            }
            What::JobEnded { job } => self.job(job, phase_of(job.status)),
            What::Ended { phase, jobs, counters } => self.summary(*phase, *jobs, *counters, None),
            What::Failed { phase, error } => {
                self.summary(*phase, 0, Counters::default(), Some(error))
            }
            What::Stage { .. }
            | What::Notice { .. }
            | What::Warning { .. }
            | What::BuildStarted { .. }
            | What::BuildLine { .. }
            | What::BuildWaits { .. }
            | What::BuildStopped { .. } => None,
        }
    }

    fn summary(
        &self,
        phase: SummaryPhase,
        jobs: usize,
        counters: Counters,
        error: Option<&str>,
    ) -> Option<(Status, Weight)> {
        let Counters { incremental, clean, .. } = counters;
        let SummaryText { prefix, project, jobset, commit, .. } = self.summary_words();
        let counted = summary_text(jobs, counters);
        let error = error.map(str::to_owned);
        let text = SummaryText { prefix, project, jobset, commit, error, ..counted };
        let weight = match phase {
            SummaryPhase::Unapproved | SummaryPhase::Queued | SummaryPhase::Pending => {
                Weight::Routine
            }
            SummaryPhase::Success if incremental + clean == 0 => Weight::Routine,
            SummaryPhase::Success
            | SummaryPhase::Running
            | SummaryPhase::Skipped
            | SummaryPhase::Failure
            | SummaryPhase::Error
            | SummaryPhase::Cancelled => Weight::Work,
        };
        match self.texts.summary(phase, &text) {
            Ok(status) => Some((self.placed(status), weight)),
            Err(error) => {
                tracing::warn!(%error, "cannot word the summary");
                None
            }
        }
    }

    /// Settles how the jobs' statuses are called, so that no two are taken for the same.
    fn name_jobs(&self, jobs: &[JobName]) {
        let wanted = jobs.iter().filter_map(|job| {
            let text = JobText { job: job.to_string(), ..self.job_words() };
            Some((job.to_string(), self.texts.context(&text).ok()?))
        });
        let summary = self.texts.summary_context(&self.summary_words()).unwrap_or_default();
        let names = distinct(&wanted.collect(), &summary);
        if self.names.set(names).is_err() {
            tracing::debug!("the jobs have names already");
        }
    }

    /// Returns what all texts of the summary have in common.
    fn summary_words(&self) -> SummaryText {
        SummaryText {
            prefix: self.plan.prefix.clone(),
            project: self.plan.project.clone(),
            jobset: self.plan.jobset.to_string(),
            commit: self.plan.commit.to_string(),
            ..SummaryText::default()
        }
    }

    /// Returns what all jobs' texts have in common.
    fn job_words(&self) -> JobText {
        JobText {
            prefix: self.plan.prefix.clone(),
            project: self.plan.project.clone(),
            jobset: self.plan.jobset.to_string(),
            commit: self.plan.commit.to_string(),
            ..JobText::default()
        }
    }

    fn job(&self, job: &JobReport, phase: JobPhase) -> Option<(Status, Weight)> {
        let status = match self.texts.job(phase, &self.job_text(job)) {
            Ok(status) => status,
            Err(error) => {
                tracing::warn!(%error, job = job.attr_path.as_str(), "cannot word a status");
                return None;
            }
        };
        let name = self.names.get().and_then(|names| names.get(job.attr_path.as_str()));
        let status = match name {
            Some(name) => status.named(name),
            None => status,
        };
        let weight = if phase == JobPhase::Fresh { Weight::Routine } else { Weight::Work };
        Some((self.placed(status), weight))
    }

    fn job_text(&self, job: &JobReport) -> JobText {
        let short = |commit: &String| commit.chars().take(12).collect::<String>();
        let cache = job.caches.first();
        JobText {
            job: job.attr_path.to_string(),
            cache: cache.map(|cache| cache.path.clone()),
            cache_commit: cache.map(|cache| short(&cache.commit)),
            since: job.unchanged_since.as_ref().map(short),
            seconds: job.started_at.map(|_| seconds(Duration::from_secs_f64(job.seconds))),
            reason: job
                .skipped
                .clone()
                .or_else(|| job.reason.map(|reason| reason.name().to_owned())),
            error: job.error.as_ref().and_then(|error| error.lines().next()).map(|error| {
                // What failed once the job was evaluated, through no fault of its own, is the machine's.
                match job.status == JobStatus::Error && job.base_drv_path.is_some() {
                    true => without_paths(error),
                    false => error.to_owned(),
                }
            }),
            ..self.job_words()
        }
    }

    /// Adds branch and link.
    fn placed(&self, status: Status) -> Status {
        let status = match &self.plan.branch {
            Some(branch) => status.with_git_ref(branch),
            None => status,
        };
        let Some(url) = &self.plan.target_url else { return status };
        match status.clone().with_target_url(url) {
            Ok(status) => status,
            Err(error) => {
                tracing::warn!(%error, "`forge.targetUrl` is left out");
                status
            }
        }
    }
}

/// Returns what the texts of a summary have in numbers.
pub fn summary_text(jobs: usize, counters: Counters) -> SummaryText {
    let Counters { fresh, incremental, clean, failed, errors, cancelled: _, skipped } = counters;
    SummaryText {
        jobs,
        done: fresh + incremental + clean + failed + errors + skipped,
        skipped,
        fresh,
        incremental,
        clean,
        failed,
        errors,
        ..SummaryText::default()
    }
}

fn phase_of(status: JobStatus) -> JobPhase {
    match status {
        JobStatus::Fresh => JobPhase::Fresh,
        JobStatus::Incremental => JobPhase::Incremental,
        JobStatus::Clean => JobPhase::Clean,
        JobStatus::Failed => JobPhase::Failure,
        JobStatus::Error => JobPhase::Error,
        JobStatus::Cancelled => JobPhase::Cancelled,
        JobStatus::Skipped => JobPhase::Skipped,
    }
}

#[cfg(test)]
mod tests {
    use levain_actions::status::{State, Texts};
    use levain_evaluator::JobsetName;

    use super::*;

    fn wording(texts: Texts) -> Wording {
        let plan = StatusPlan {
            forge: None,
            texts,
            prefix: "levain".into(),
            project: "o/bread".into(),
            jobset: JobsetName::branch("main"),
            branch: Some("main".into()),
            commit: "a".repeat(40).parse().unwrap(),
            target_url: Some("https://ci.example/runs/1".into()),
            target_url_template: None,
        };
        Wording::new(plan, Masks::default()).unwrap()
    }

    fn ended(name: &str, status: JobStatus) -> What {
        What::JobEnded { job: Box::new(JobReport::new(&JobName::from(name), status)) }
    }

    #[test]
    fn each_event_says_what_the_forge_should_know() {
        let wording = wording(Texts::default());
        let jobs = vec![JobName::from("a"), JobName::from("b")];
        let counters = Counters { clean: 1, failed: 1, ..Counters::default() };
        let states = [
            (What::JobsFound { jobs }, None),
            (What::BuildsBegin { jobs: 2, counters: Counters::default() }, Some(State::Running)),
            (ended("a", JobStatus::Clean), Some(State::Success)),
            (ended("b", JobStatus::Failed), Some(State::Failure)),
            (ended("b", JobStatus::Skipped), Some(State::Skipped)),
            (What::Notice { text: "n".into() }, None),
            (What::Ended { phase: SummaryPhase::Failure, jobs: 2, counters }, Some(State::Failure)),
            (
                What::Failed { phase: SummaryPhase::Cancelled, error: "stopped".into() },
                Some(State::Cancelled),
            ),
        ];
        for (what, expected) in states {
            let status = wording.of(&what).map(|(status, _)| status);
            assert_eq!(status.as_ref().map(Status::state), expected, "{what:?}");
            let Some(status) = status else { continue };
            assert_eq!(status.target_url(), Some("https://ci.example/runs/1"));
            assert_eq!(status.commit(), "a".repeat(40));
        }
    }

    #[test]
    fn jobs_whose_names_some_forges_take_for_one_have_two_statuses() {
        let wording = wording(Texts::default());
        let names = ["bread", "BREAD"];
        wording.of(&What::JobsFound { jobs: names.map(JobName::from).to_vec() });
        let contexts = names.map(|name| {
            wording.of(&ended(name, JobStatus::Clean)).unwrap().0.context().to_lowercase()
        });
        assert_ne!(contexts[0], contexts[1]);
    }

    #[test]
    fn what_failed_through_the_machine_shows_nothing_of_it() {
        let failed = |base: Option<&str>| {
            let job = JobReport {
                error: Some("cannot open `/secret/place/file`\nmore".into()),
                base_drv_path: base.map(str::to_owned),
                ..JobReport::new(&JobName::from("a"), JobStatus::Error)
            };
            let wording = wording(Texts { error: Some("{{error}}".into()), ..Texts::default() });
            let (status, _) = wording.of(&What::JobEnded { job: Box::new(job) }).unwrap();
            status.description().to_owned()
        };
        assert!(failed(None).contains("/secret/place"), "the author wrote that path");
        let shown = failed(Some("/nix/store/x.drv"));
        assert!(!shown.contains("/secret") && !shown.contains("more"), "{shown}");
    }
}
