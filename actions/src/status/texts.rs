//! The words of the statuses: handlebars templates, each with a default.
//!
//! A declaration's [`Texts`] are compiled once into [`StatusTexts`]; a variable that does not
//! exist is found then, not when the first build happens to fail.

use std::collections::BTreeMap;
use std::time::Duration;

use levain_store::counted;
use serde::{Deserialize, Serialize};

use super::{InvalidStatus, State, Status};
use crate::forge::Masks;
use crate::template::{TemplateError, Templates};

/// The texts that a declaration changes; what is absent keeps its default.
///
/// `context` and the texts named after a state of a job are given a [`JobText`], those that start
/// with `summary` a [`SummaryText`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Texts {
    /// The name of a job's status. It must differ from job to job.
    pub context: Option<String>,
    /// A job that waits.
    pub pending: Option<String>,
    /// A job that is being built.
    pub running: Option<String>,
    /// A job with nothing to build.
    pub success_fresh: Option<String>,
    /// A job that was built with a cache.
    pub success_incremental: Option<String>,
    /// A job that was built without a cache.
    pub success_clean: Option<String>,
    /// A job whose build failed.
    pub failure: Option<String>,
    /// A job that could not be built, for a reason that is not the author's.
    pub error: Option<String>,
    /// A job that was stopped.
    pub cancelled: Option<String>,
    /// A job that was not built, since no machine can build it.
    pub skipped: Option<String>,
    /// The name of the summary's status.
    pub summary_context: Option<String>,
    /// The jobset waits until somebody approves its commit. Only a server says so.
    pub summary_unapproved: Option<String>,
    /// The jobset waits for its turn. Only a server says so.
    pub summary_queued: Option<String>,
    /// The jobset is being evaluated.
    pub summary_pending: Option<String>,
    /// Its jobs are being built.
    pub summary_running: Option<String>,
    /// All jobs succeeded, save those that were skipped.
    pub summary_success: Option<String>,
    /// There are no jobs, or all were skipped.
    pub summary_skipped: Option<String>,
    /// Some job failed.
    pub summary_failure: Option<String>,
    /// levain failed.
    pub summary_error: Option<String>,
    /// The jobset was stopped.
    pub summary_cancelled: Option<String>,
}

/// The variables of a job's texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JobText {
    /// What levain's statuses start with.
    pub prefix: String,
    /// The project's name.
    pub project: String,
    /// The jobset's name: a branch or a pull request.
    pub jobset: String,
    /// The job's attribute path, joined with dots.
    pub job: String,
    /// The original commit.
    pub commit: String,
    /// The store path that the build starts from, if any.
    pub cache: Option<String>,
    /// The commit whose build made that path.
    pub cache_commit: Option<String>,
    /// For a fresh job, the commit that it was built for.
    pub since: Option<String>,
    /// How long the build took; see [`seconds`].
    pub seconds: Option<String>,
    /// Why this cache was chosen, or why none; of a skipped job, why it was skipped.
    pub reason: Option<String>,
    /// What went wrong.
    pub error: Option<String>,
}

/// The variables of a summary's texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SummaryText {
    /// What levain's statuses start with.
    pub prefix: String,
    /// The project's name.
    pub project: String,
    /// The jobset's name: a branch or a pull request.
    pub jobset: String,
    /// The original commit.
    pub commit: String,
    /// How many jobs the jobset has, those that cannot be evaluated included.
    pub jobs: usize,
    /// The same in words, as in `1 job`; filled in when it is worded.
    pub counted_jobs: String,
    /// How many of them are done.
    pub done: usize,
    /// How many had nothing to build.
    pub fresh: usize,
    /// How many were built with a cache.
    pub incremental: usize,
    /// How many were built without a cache.
    pub clean: usize,
    /// How many failed to build.
    pub failed: usize,
    /// How many could not be evaluated or not be built for a reason that is not the author's.
    pub errors: usize,
    /// How many were not built, since no machine can build them.
    pub skipped: usize,
    /// The names of jobs that failed or are in error, where they are known.
    pub failing: Option<String>,
    /// How long it all took; see [`seconds`].
    pub seconds: Option<String>,
    /// What went wrong with the jobset as a whole.
    pub error: Option<String>,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobPhase {
    /// It waits.
    Pending,
    /// It is being built.
    Running,
    /// There was nothing to build.
    Fresh,
    /// It was built with a cache.
    Incremental,
    /// It was built without a cache.
    Clean,
    /// Its build failed.
    Failure,
    /// It could not be built, for a reason that is not the author's.
    Error,
    /// It was stopped.
    Cancelled,
    /// It was not built, since no machine can build it.
    Skipped,
}

impl JobPhase {
    const ALL: [Self; 9] = [
        Self::Pending,
        Self::Running,
        Self::Fresh,
        Self::Incremental,
        Self::Clean,
        Self::Failure,
        Self::Error,
        Self::Cancelled,
        Self::Skipped,
    ];

    /// Returns what a forge is told.
    pub fn state(self) -> State {
        match self {
            Self::Pending => State::Pending,
            Self::Running => State::Running,
            Self::Fresh | Self::Incremental | Self::Clean => State::Success,
            Self::Failure => State::Failure,
            Self::Error => State::Error,
            Self::Cancelled => State::Cancelled,
            Self::Skipped => State::Skipped,
        }
    }

    fn template(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Fresh => "successFresh",
            Self::Incremental => "successIncremental",
            Self::Clean => "successClean",
            Self::Failure => "failure",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }
}

/// Where a jobset stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SummaryPhase {
    /// It waits until somebody approves its commit.
    Unapproved,
    /// It waits for its turn.
    Queued,
    /// It is being evaluated.
    Pending,
    /// Its jobs are being built.
    Running,
    /// All jobs succeeded, save those that were skipped.
    Success,
    /// There are no jobs, or all were skipped: nobody built anything.
    Skipped,
    /// Some job failed.
    Failure,
    /// levain failed.
    Error,
    /// It was stopped.
    Cancelled,
}

impl SummaryPhase {
    const ALL: [Self; 9] = [
        Self::Unapproved,
        Self::Queued,
        Self::Pending,
        Self::Running,
        Self::Success,
        Self::Skipped,
        Self::Failure,
        Self::Error,
        Self::Cancelled,
    ];

    /// Returns what a forge is told.
    pub fn state(self) -> State {
        match self {
            Self::Unapproved | Self::Queued | Self::Pending => State::Pending,
            Self::Running => State::Running,
            Self::Success => State::Success,
            Self::Skipped => State::Skipped,
            Self::Failure => State::Failure,
            Self::Error => State::Error,
            Self::Cancelled => State::Cancelled,
        }
    }

    fn template(self) -> &'static str {
        match self {
            Self::Unapproved => "summaryUnapproved",
            Self::Queued => "summaryQueued",
            Self::Pending => "summaryPending",
            Self::Running => "summaryRunning",
            Self::Success => "summarySuccess",
            Self::Skipped => "summarySkipped",
            Self::Failure => "summaryFailure",
            Self::Error => "summaryError",
            Self::Cancelled => "summaryCancelled",
        }
    }
}

/// Why texts cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextsError {
    /// A template is wrong.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Two jobs would overwrite each other's status.
    #[error("template `context` gives every job the same status\nhint: use `{{{{job}}}}` in it")]
    SameContext,
    /// A job would overwrite the summary.
    #[error(
        "templates `context` and `summaryContext` give the same name\nhint: use `{{{{job}}}}` in `context` only"
    )]
    SummaryContext,
    /// What the texts give is not a status.
    #[error(transparent)]
    Status(#[from] InvalidStatus),
}

/// Compiled texts.
#[derive(Debug)]
pub struct StatusTexts {
    templates: Templates,
    masks: Masks,
}

impl Texts {
    /// Parses all texts and checks every variable in them.
    pub fn compile(&self) -> Result<StatusTexts, TextsError> {
        let texts: BTreeMap<String, String> = self
            .with_defaults()
            .into_iter()
            .map(|(name, text, default)| {
                (name.to_owned(), text.as_deref().unwrap_or(default).to_owned())
            })
            .collect();
        let texts = StatusTexts { templates: Templates::compile(&texts)?, masks: Masks::default() };
        texts.check()?;
        Ok(texts)
    }

    /// Lists each text as a declaration calls it, with its default.
    fn with_defaults(&self) -> [(&'static str, &Option<String>, &'static str); 20] {
        [
            ("context", &self.context, "{{prefix}}/{{job}}"),
            ("pending", &self.pending, "waiting to be built"),
            (
                "running",
                &self.running,
                "building{{#if cache}} from the cache of {{cache_commit}}{{/if}}",
            ),
            ("successFresh", &self.success_fresh, "unchanged{{#if since}} since {{since}}{{/if}}"),
            (
                "successIncremental",
                &self.success_incremental,
                "built incrementally{{#if seconds}} in {{seconds}} s{{/if}}",
            ),
            ("successClean", &self.success_clean, "built{{#if seconds}} in {{seconds}} s{{/if}}"),
            (
                "failure",
                &self.failure,
                "build failed{{#if seconds}} after {{seconds}} s{{/if}}{{#if error}}: {{error}}{{/if}}",
            ),
            ("error", &self.error, "could not be built{{#if error}}: {{error}}{{/if}}"),
            ("cancelled", &self.cancelled, "cancelled{{#if error}}: {{error}}{{/if}}"),
            ("skipped", &self.skipped, "skipped{{#if reason}}: {{reason}}{{/if}}"),
            ("summaryContext", &self.summary_context, "{{prefix}}"),
            ("summaryUnapproved", &self.summary_unapproved, "waiting for approval"),
            ("summaryQueued", &self.summary_queued, "waiting{{#if error}}: {{error}}{{/if}}"),
            ("summaryPending", &self.summary_pending, "evaluating"),
            (
                "summaryRunning",
                &self.summary_running,
                "building, {{done}} of {{counted_jobs}} done",
            ),
            (
                "summarySuccess",
                &self.summary_success,
                "{{counted_jobs}}: {{fresh}} unchanged, {{incremental}} incremental, {{clean}} clean\
                 {{#if skipped}}, {{skipped}} skipped{{/if}}",
            ),
            (
                "summarySkipped",
                &self.summary_skipped,
                "nothing was built: {{#if jobs}}{{skipped}} of {{counted_jobs}} skipped\
                 {{else}}the jobset has no jobs{{/if}}",
            ),
            (
                "summaryFailure",
                &self.summary_failure,
                "{{#if error}}{{error}}{{else}}{{failed}} of {{counted_jobs}} failed\
                 {{#if errors}}, {{errors}} in error{{/if}}{{#if failing}}: {{failing}}{{/if}}{{/if}}",
            ),
            (
                "summaryError",
                &self.summary_error,
                "{{#if error}}{{error}}{{else}}{{errors}} of {{counted_jobs}} in error\
                 {{#if failing}}: {{failing}}{{/if}}{{/if}}",
            ),
            (
                "summaryCancelled",
                &self.summary_cancelled,
                "cancelled{{#if jobs}}, {{done}} of {{counted_jobs}} done\
                 {{else}}{{#if error}}: {{error}}{{/if}}{{/if}}",
            ),
        ]
    }
}

impl StatusTexts {
    /// Keeps secrets out of the texts, before they are cut: half a secret is not recognised any more.
    #[must_use]
    pub fn masked(self, masks: Masks) -> Self {
        Self { masks, ..self }
    }

    /// Returns what keeps secrets out of the texts.
    pub fn masks(&self) -> &Masks {
        &self.masks
    }

    fn status(
        &self,
        commit: &str,
        context: &str,
        state: State,
        text: &str,
    ) -> Result<Status, InvalidStatus> {
        Status::new(commit, &self.masks.apply(context), state, &self.masks.apply(text))
    }

    /// Words the status of a job.
    pub fn job(&self, phase: JobPhase, job: &JobText) -> Result<Status, TextsError> {
        let context = self.templates.render("context", job)?;
        let text = self.templates.render(phase.template(), job)?;
        Ok(self.status(&job.commit, &context, phase.state(), &text)?)
    }

    /// Returns what the texts call a job, uncut.
    pub fn context(&self, job: &JobText) -> Result<String, TextsError> {
        Ok(self.masks.apply(&self.templates.render("context", job)?).into_owned())
    }

    /// Returns what the texts call the jobset.
    pub fn summary_context(&self, summary: &SummaryText) -> Result<String, TextsError> {
        Ok(self.masks.apply(&self.templates.render("summaryContext", summary)?).into_owned())
    }

    /// Words the summary of a jobset.
    pub fn summary(
        &self,
        phase: SummaryPhase,
        summary: &SummaryText,
    ) -> Result<Status, TextsError> {
        let counted_jobs = counted(summary.jobs, "job");
        let summary = &SummaryText { counted_jobs, ..summary.clone() };
        let context = self.templates.render("summaryContext", summary)?;
        let text = self.templates.render(phase.template(), summary)?;
        Ok(self.status(&summary.commit, &context, phase.state(), &text)?)
    }

    /// Words everything once, so that what is wrong shows when the declaration is read.
    fn check(&self) -> Result<(), TextsError> {
        let job = |name: &str| JobText {
            prefix: "levain".to_owned(),
            job: name.to_owned(),
            commit: "0".repeat(40),
            ..JobText::default()
        };
        let summary = SummaryText {
            prefix: "levain".to_owned(),
            commit: "0".repeat(40),
            ..SummaryText::default()
        };
        for phase in JobPhase::ALL {
            self.job(phase, &job("a"))?;
        }
        for phase in SummaryPhase::ALL {
            self.summary(phase, &summary)?;
        }
        let [a, b] = ["a", "b"].map(|name| self.templates.render("context", &job(name)));
        let (a, b) = (a?, b?);
        if a == b {
            return Err(TextsError::SameContext);
        }
        let whole = self.templates.render("summaryContext", &summary)?;
        if whole == a || whole == b { Err(TextsError::SummaryContext) } else { Ok(()) }
    }
}

/// Writes a duration for people: a decimal place matters below ten seconds only.
pub fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 9.95 { format!("{seconds:.1}") } else { format!("{seconds:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> JobText {
        JobText {
            prefix: "levain".to_owned(),
            job: "x86_64-linux.server".to_owned(),
            commit: "0123456789012345678901234567890123456789".to_owned(),
            ..JobText::default()
        }
    }

    #[test]
    fn the_defaults_say_what_happened() {
        let texts = Texts::default().compile().unwrap();
        let done = JobText {
            cache: Some("/nix/store/x".to_owned()),
            cache_commit: Some("9c2e7c1".to_owned()),
            since: Some("1f00baa".to_owned()),
            seconds: Some(seconds(Duration::from_millis(3_214))),
            error: Some("builder failed\nwith exit code 2".to_owned()),
            ..job()
        };
        let shown: Vec<String> = JobPhase::ALL
            .into_iter()
            .flat_map(|phase| [job(), done.clone()].map(|job| texts.job(phase, &job).unwrap()))
            .map(|status| format!("{:?}: {}", status.state(), status.description()))
            .collect();
        expect_test::expect![[r#"
            Pending: waiting to be built
            Pending: waiting to be built
            Running: building
            Running: building from the cache of 9c2e7c1
            Success: unchanged
            Success: unchanged since 1f00baa
            Success: built incrementally
            Success: built incrementally in 3.2 s
            Success: built
            Success: built in 3.2 s
            Failure: build failed
            Failure: build failed after 3.2 s: builder failed with exit code 2
            Error: could not be built
            Error: could not be built: builder failed with exit code 2
            Cancelled: cancelled
            Cancelled: cancelled: builder failed with exit code 2
            Skipped: skipped
            Skipped: skipped"#]]
        .assert_eq(&shown.join("\n"));
        assert_eq!(
            texts.job(JobPhase::Clean, &job()).unwrap().context(),
            "levain/x86_64-linux.server"
        );
    }

    #[test]
    fn the_summary_counts() {
        let texts = Texts::default().compile().unwrap();
        let summary = SummaryText {
            prefix: "levain".to_owned(),
            commit: job().commit,
            jobs: 12,
            done: 11,
            fresh: 7,
            incremental: 2,
            clean: 1,
            failed: 1,
            errors: 1,
            ..SummaryText::default()
        };
        let shown = SummaryPhase::ALL.map(|phase| {
            let status = texts.summary(phase, &summary).unwrap();
            assert_eq!(status.context(), "levain");
            format!("{:?}: {}", status.state(), status.description())
        });
        expect_test::expect![[r#"
            Pending: waiting for approval
            Pending: waiting
            Pending: evaluating
            Running: building, 11 of 12 jobs done
            Success: 12 jobs: 7 unchanged, 2 incremental, 1 clean
            Skipped: nothing was built: 0 of 12 jobs skipped
            Failure: 1 of 12 jobs failed, 1 in error
            Error: 1 of 12 jobs in error
            Cancelled: cancelled, 11 of 12 jobs done"#]]
        .assert_eq(&shown.join("\n"));
        let one = SummaryText { jobs: 1, ..summary.clone() };
        let status = texts.summary(SummaryPhase::Success, &one).unwrap();
        assert_eq!(status.description(), "1 job: 7 unchanged, 2 incremental, 1 clean");
        let none = SummaryText { jobs: 0, ..summary.clone() };
        let status = texts.summary(SummaryPhase::Skipped, &none).unwrap();
        assert_eq!(status.description(), "nothing was built: the jobset has no jobs");
        let broken = SummaryText { error: Some("no lock file".to_owned()), ..summary };
        let status = texts.summary(SummaryPhase::Failure, &broken).unwrap();
        assert_eq!(status.description(), "no lock file");
    }

    #[test]
    fn a_declaration_overrides_single_texts() {
        let texts: Texts = serde_json::from_str(
            r#"{ "context": "ci: {{job}}", "successClean": "ok ({{reason}})" }"#,
        )
        .unwrap();
        let texts = texts.compile().unwrap();
        let job = JobText { reason: Some("first-build".to_owned()), ..job() };
        let status = texts.job(JobPhase::Clean, &job).unwrap();
        assert_eq!(status.context(), "ci: x86_64-linux.server");
        assert_eq!(status.description(), "ok (first-build)");
    }

    #[test]
    fn mistakes_show_when_the_declaration_is_read() {
        let error = serde_json::from_str::<Texts>(r#"{ "succes": "x" }"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `succes`"), "{error}");

        let texts = Texts { failure: Some("{{#if err}}{{/if}}".to_owned()), ..Texts::default() };
        let error = texts.compile().unwrap_err().to_string();
        assert!(
            error.starts_with("template `failure` names the unknown variable `err` in line 1\nhint: it may use `cache`, "),
            "{error}"
        );

        let texts = Texts { context: Some("ci".to_owned()), ..Texts::default() };
        assert_eq!(texts.compile().unwrap_err(), TextsError::SameContext);

        let texts = Texts { summary_context: Some(" ".to_owned()), ..Texts::default() };
        let error = texts.compile().unwrap_err();
        assert_eq!(error, TextsError::Status(InvalidStatus::EmptyContext));
    }

    #[test]
    fn durations_are_short() {
        let shown = [0, 40, 3_214, 9_949, 9_960, 73_600, 3_600_000]
            .map(|ms| seconds(Duration::from_millis(ms)));
        assert_eq!(shown, ["0.0", "0.0", "3.2", "9.9", "10", "74", "3600"]);
    }
}
