//! Listens to the events of a run, and says what forges should know: not everything, and not all the time.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use levain_actions::forge::Masks;
use levain_actions::status::{Details, SummaryPhase, SummaryText, TextsError};
use levain_engine::event::{Event, What};
use levain_engine::report::{Counters, JobReport, JobStatus};
use levain_engine::statuses::StatusPlan;
use levain_statuses::{Wording, summary_text};

use crate::runs::Told;
use crate::statuses::Progress;
use crate::statuses::decide::MERGED;
use crate::statuses::details;
use crate::statuses::voice::Voice;
use crate::statuses::wording::{Home, Telling};

/// How many jobs that failed a summary names. It is cut to a line besides.
const NAMED: usize = 20;

/// Reports on one run.
pub(super) struct Reporter<'a> {
    voice: &'a Voice,
    wording: Wording,
    state: RefCell<Heard>,
}

/// What was heard so far.
#[derive(Default)]
struct Heard {
    /// How many jobs there are.
    jobs: usize,
    /// How those fared that ended.
    ended: BTreeMap<String, JobStatus>,
    /// The jobs that have statuses, which have to be put right.
    told: BTreeSet<String>,
    /// Whether builds are under way, and when that was told last.
    building_since: Option<Instant>,
    /// What is to be told at the end.
    last: Option<Box<Told>>,
}

/// Returns what a run's plan says about the statuses of its project.
pub(super) fn telling(plan: &StatusPlan) -> Telling {
    Telling {
        forge: plan.forge.clone(),
        texts: plan.texts.clone(),
        target_url: plan.target_url_template.clone(),
    }
}

impl<'a> Reporter<'a> {
    /// Prepares to report on a run; what `masks` hide is said nowhere.
    pub(super) fn new(
        voice: &'a Voice,
        home: &Home,
        plan: &StatusPlan,
        masks: Masks,
    ) -> Result<Self, TextsError> {
        let telling = telling(plan);
        let forge = telling.forge(home);
        let plan = StatusPlan {
            project: forge.map_or_else(|| plan.project.clone(), |forge| forge.repository),
            target_url: plan.target_url.clone().or_else(|| voice.page()),
            ..plan.clone()
        };
        let wording = Wording::new(plan, masks)?;
        voice.declare(&telling);
        // Before anything was declared nobody knew how to say so.
        voice.say(vec![Progress::Summary(SummaryPhase::Pending, SummaryText::default())]);
        let told = voice.jobs_told().into_iter().filter_map(|kept| kept.job).collect();
        let state = RefCell::new(Heard { told, ..Heard::default() });
        Ok(Self { voice, wording, state })
    }

    /// Takes note of something that happened, and says it if that is worth a request.
    pub(super) fn hear(&self, event: &Event) {
        let said = self.state.borrow_mut().hear(&self.wording, &event.what, Instant::now());
        if !said.is_empty() {
            self.voice.say(said);
        }
    }

    /// Returns what is to be told about the end of the run, if it came to one with a report.
    pub(super) fn last(self) -> Option<Box<Told>> {
        self.state.into_inner().last
    }
}

impl Heard {
    fn hear(&mut self, wording: &Wording, what: &What, now: Instant) -> Vec<Progress> {
        match what {
            What::JobsFound { jobs } => {
                self.jobs = jobs.len();
                // So that it names them from now on.
                drop(wording.of(what));
                Vec::new()
            }
            What::BuildsBegin { jobs, counters } => {
                self.jobs = *jobs;
                self.building_since = Some(now);
                vec![Progress::Summary(SummaryPhase::Running, summary_text(*jobs, *counters))]
            }
            What::JobEnded { job } => {
                let mut said: Vec<Progress> = self.job(wording, what, job).into_iter().collect();
                let is_due = |since: &Instant| now.duration_since(*since) >= pause(self.jobs);
                if self.building_since.as_ref().is_some_and(is_due) {
                    self.building_since = Some(now);
                    let text = summary_text(self.jobs, self.counters());
                    said.push(Progress::Summary(SummaryPhase::Running, text));
                }
                said
            }
            What::Ended { phase, jobs, counters } => {
                let failing = self.failing();
                let text = SummaryText { failing, ..summary_text(*jobs, *counters) };
                self.last = Some(Box::new(Told { phase: *phase, text }));
                Vec::new()
            }
            What::Opened { .. }
            | What::Stage { .. }
            | What::Notice { .. }
            | What::Warning { .. }
            | What::JobWaits { .. }
            | What::BuildStarted { .. }
            | What::BuildLine { .. }
            | What::BuildWaits { .. }
            | What::BuildStopped { .. }
            | What::Failed { .. } => Vec::new(),
        }
    }

    /// Returns what is to be said of a job: of one that has a status, or failed.
    fn job(&mut self, wording: &Wording, what: &What, job: &JobReport) -> Option<Progress> {
        let name = job.attr_path.to_string();
        self.ended.insert(name.clone(), job.status);
        let is_telling = match job.status {
            JobStatus::Failed | JobStatus::Error => true,
            JobStatus::Fresh
            | JobStatus::Incremental
            | JobStatus::Clean
            | JobStatus::Cancelled
            | JobStatus::Skipped => self.told.contains(&name),
        };
        if !is_telling {
            return None;
        }
        let (status, _) = wording.of(what)?;
        let details = match serde_json::to_value(job).map(serde_json::from_value) {
            Ok(Ok(job)) => details::of_job(&job, wording.masks()),
            Ok(Err(error)) | Err(error) => {
                tracing::warn!(%error, "what failed is told in a line only");
                Details::default()
            }
        };
        // The report that is kept calls it this as well.
        let name = wording.masks().apply(&name).into_owned();
        Some(Progress::Job { job: name, status: status.with_details(details) })
    }

    /// Returns the names of the jobs that failed, as many as a line has room for.
    fn failing(&self) -> Option<String> {
        let failed = self.ended.iter().filter(|(_, status)| match status {
            JobStatus::Failed | JobStatus::Error => true,
            JobStatus::Fresh
            | JobStatus::Incremental
            | JobStatus::Clean
            | JobStatus::Cancelled
            | JobStatus::Skipped => false,
        });
        let names: Vec<&str> = failed.map(|(name, _)| name.as_str()).take(NAMED).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }

    fn counters(&self) -> Counters {
        let mut counters = Counters::default();
        for status in self.ended.values() {
            let count = match status {
                JobStatus::Fresh => &mut counters.fresh,
                JobStatus::Incremental => &mut counters.incremental,
                JobStatus::Clean => &mut counters.clean,
                JobStatus::Failed => &mut counters.failed,
                JobStatus::Error => &mut counters.errors,
                JobStatus::Cancelled => &mut counters.cancelled,
                JobStatus::Skipped => &mut counters.skipped,
            };
            *count += 1;
        }
        counters
    }
}

/// Returns how long a run of so many jobs says nothing new about itself as a whole.
fn pause(jobs: usize) -> Duration {
    // A jobset of one has nothing to count.
    if jobs < 2 { Duration::MAX } else { MERGED }
}

#[cfg(test)]
mod tests {
    use levain_actions::status::{State, Texts};
    use levain_evaluator::{JobName, JobsetName};

    use super::*;

    fn wording() -> Wording {
        masking(Masks::default())
    }

    fn masking(masks: Masks) -> Wording {
        let plan = StatusPlan {
            forge: None,
            texts: Texts::default(),
            prefix: "levain".into(),
            project: "o/bread".into(),
            jobset: JobsetName::branch("main"),
            branch: Some("main".into()),
            commit: "a".repeat(40).parse().unwrap(),
            target_url: None,
            target_url_template: None,
        };
        Wording::new(plan, masks).unwrap()
    }

    fn ended(name: &str, status: JobStatus) -> What {
        What::JobEnded { job: Box::new(JobReport::new(&JobName::from(name), status)) }
    }

    fn shown(said: &[Progress]) -> Vec<String> {
        let show = |one: &Progress| match one {
            Progress::Summary(phase, text) => format!("{phase:?} {}/{}", text.done, text.jobs),
            Progress::Job { job, status } => format!("{job} {}", status.state().name()),
        };
        said.iter().map(show).collect()
    }

    #[test]
    fn failures_and_what_has_to_be_put_right_are_said_at_once_and_the_rest_is_counted() {
        let wording = wording();
        let mut heard = Heard { told: BTreeSet::from(["b".to_owned()]), ..Heard::default() };
        let start = Instant::now();
        let mut hear = |what: &What, seconds: u64| {
            shown(&heard.hear(&wording, what, start + Duration::from_secs(seconds)))
        };
        let jobs = ["a", "b", "c", "d"].map(JobName::from).to_vec();
        assert_eq!(hear(&What::JobsFound { jobs }, 0), [""; 0]);
        assert_eq!(hear(&ended("a", JobStatus::Fresh), 0), [""; 0], "builds did not begin");
        let counters = Counters { fresh: 1, ..Counters::default() };
        assert_eq!(hear(&What::BuildsBegin { jobs: 4, counters }, 0), ["Running 1/4"]);
        assert_eq!(hear(&ended("b", JobStatus::Clean), 1), ["b success"]);
        assert_eq!(hear(&ended("c", JobStatus::Failed), 11), ["c failure", "Running 3/4"]);
        assert_eq!(hear(&ended("d", JobStatus::Clean), 12), [""; 0]);
        let counters = Counters { fresh: 1, clean: 2, failed: 1, ..Counters::default() };
        let end = What::Ended { phase: SummaryPhase::Failure, jobs: 4, counters };
        assert_eq!(hear(&end, 13), [""; 0], "that is told with the run's end");
        let last = heard.last.unwrap();
        assert_eq!((last.phase, last.text.failed), (SummaryPhase::Failure, 1));
        assert_eq!(last.text.failing.as_deref(), Some("c"));
    }

    #[test]
    fn jobs_are_called_so_that_no_two_are_taken_for_one() {
        let wording = wording();
        let mut heard = Heard::default();
        let names = ["bread", "BREAD"];
        let jobs = names.map(JobName::from).to_vec();
        heard.hear(&wording, &What::JobsFound { jobs }, Instant::now());
        let contexts = names.map(|name| {
            let said = heard.hear(&wording, &ended(name, JobStatus::Failed), Instant::now());
            let [Progress::Job { status, .. }] = said.as_slice() else { panic!("{said:?}") };
            assert_eq!(status.state(), State::Failure);
            status.context().to_lowercase()
        });
        assert_ne!(contexts[0], contexts[1]);
    }

    #[test]
    fn secrets_that_a_job_printed_are_not_said() {
        const SECRET: &str = "s3cr3t-t0ken";
        let wording = masking(Masks::of_texts([SECRET]));
        let mut job = JobReport::new(&JobName::from(SECRET), JobStatus::Failed);
        job.error = Some(format!("no {SECRET}\n at {SECRET}/flake.nix:1:2:"));
        job.last_lines = vec![format!("{SECRET}!"), "s3cr3t-\u{1b}[0mt0ken".to_owned()];
        let what = What::JobEnded { job: Box::new(job) };
        let said = Heard::default().hear(&wording, &what, Instant::now());
        let [Progress::Job { status, .. }] = said.as_slice() else { panic!("{said:?}") };
        assert_eq!(status.details().notes().len(), 1);
        let said = format!("{said:?}");
        assert!(said.contains("[token]!") && !said.contains("s3cr3t"), "{said}");
    }
}
