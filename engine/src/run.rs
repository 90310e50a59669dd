//! The main job: one jobset from reference to result.
//!
//! Start at [`run`], which reads as the list of steps; each step is a method
//! of [`Run`] in the order in which they are taken.

use std::path::PathBuf;
use std::time::Instant;

use levain_actions::forge::Token;
use levain_actions::git::{CommitId, Overlay};
use levain_actions::shadow::ShadowCommit;
use levain_actions::status::{JobPhase, RetryPolicy, SummaryPhase};
use levain_evaluator::EvaluateError;
use levain_evaluator::evaluate::{Evaluation, Request};
use levain_evaluator::pointer::{Entry, Pointer};
use levain_store::{BuildOptions, ConnectError, ProtocolError};
use tokio::runtime::Handle;

use crate::build::{BuildError, unix_now};
use crate::cancel::Cancel;
use crate::candidates::named_paths;
use crate::connections::Connections;
use crate::declaration::Mode;
use crate::digest::sha256_hex;
use crate::evaluations::{self, Evaluated};
use crate::jobset::Head;
use crate::plan::PlanError;
use crate::pointers::{Entries, known, print};
use crate::progress::{Progress, Stage};
use crate::project::{Access, Place, Project, ProjectError, Selection, Surroundings};
use crate::report::{
    Counters, EvaluationReport, JobReport, JobStatus, Report, Seconds, ShadowReport, Undelivered,
};
use crate::roots;
use crate::shadowing::{Mirrored, Shadowing, ShadowingError, aside};
use crate::statuses::{Statuses, StatusesError};

mod auditing;
mod building;
mod planning;
mod why;

pub use auditing::{AuditJobsError, Audited, audit};
pub use why::{Changed, Considered, Why, WhyError, why};

/// What a run is asked to do.
pub struct Options {
    /// The repository.
    pub place: Place,
    /// The jobset and commit.
    pub selection: Selection,
    /// Another repository to read the declaration from.
    pub declaration: Option<String>,
    /// Whether anything may be written.
    pub access: Access,
    /// Whether the shadow branch may be pushed.
    pub push: bool,
    /// Options for Nix.
    pub build: BuildOptions,
    /// Secret for the forge.
    pub token: Option<Token>,
    /// How patiently statuses are sent.
    pub retries: RetryPolicy,
    /// What sends statuses.
    pub runtime: Handle,
}

/// Why a run could not be carried through. Jobs that fail are no such reason.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The project.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// The statuses.
    #[error(transparent)]
    Statuses(#[from] StatusesError),
    /// The evaluation as a whole.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// The shadow branch.
    #[error(transparent)]
    Shadow(#[from] ShadowingError),
    /// Planning.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Building.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The store.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The store's answer.
    #[error(transparent)]
    Store(#[from] ProtocolError),
    /// A directory for logs.
    #[error("cannot make a directory for logs: {0}")]
    Logs(#[source] std::io::Error),
    /// It was stopped before the builds began.
    #[error("stopped")]
    Cancelled,
}

/// Evaluates, builds and acts; reports how each job ended.
pub fn run(
    surroundings: &Surroundings,
    options: &Options,
    cancel: &Cancel,
    progress: &mut dyn Progress,
) -> Result<Report, RunError> {
    let started = Instant::now();
    let stop = surroundings.stop.clone();
    cancel.on_cancel(move || stop.stop());
    if let Place::Url(_) = options.place {
        progress.stage(Stage::Fetch);
    }
    let declared = options.declaration.as_deref();
    let mut project = Project::open(surroundings, &options.place, declared, options.access)?;
    project.declaration.shadow.push &= options.push;
    let head = project.select(&options.selection)?;
    let token = options.token.as_ref();
    let runtime = options.runtime.clone();
    let statuses =
        Statuses::new(&project, &head, options.access, token, &options.retries, runtime)?;
    let shadowing = Shadowing::new(&project, &head)?;
    let mut run = Run::new(surroundings, options, cancel, &project, &head, &statuses, &shadowing);
    let result = run.carry_out(progress);
    match result {
        Ok(mut report) => {
            report.seconds.total = started.elapsed().as_secs_f64();
            Ok(report)
        }
        Err(error) => {
            let error = if cancel.is_cancelled() { RunError::Cancelled } else { error };
            // The author must not wait for a status that never comes.
            let counters = Counters::default();
            let phase = match error {
                RunError::Cancelled => SummaryPhase::Cancelled,
                // An author must not be blamed for the machine's Nix.
                RunError::Evaluate(
                    EvaluateError::NixProgram(_) | EvaluateError::Unreadable { .. },
                ) => SummaryPhase::Error,
                RunError::Evaluate(_) => SummaryPhase::Failure,
                RunError::Project(_)
                | RunError::Statuses(_)
                | RunError::Shadow(_)
                | RunError::Plan(_)
                | RunError::Build(_)
                | RunError::Connect(_)
                | RunError::Store(_)
                | RunError::Logs(_) => SummaryPhase::Error,
            };
            // A forge has little room, and its readers need not know our directories.
            let text = if let RunError::Evaluate(error) = &error {
                error.brief()
            } else {
                error.to_string()
            };
            statuses.summary(phase, 0, counters, text.lines().next());
            for undelivered in options.runtime.block_on(statuses.flush()) {
                progress.warning(&format!("{}: {}", undelivered.subject, undelivered.error));
            }
            Err(error)
        }
    }
}

/// A run under way.
struct Run<'a> {
    surroundings: &'a Surroundings,
    options: &'a Options,
    cancel: &'a Cancel,
    project: &'a Project,
    head: &'a Head,
    statuses: &'a Statuses,
    shadowing: &'a Shadowing<'a>,
    mode: Mode,
    notices: Vec<String>,
    withheld: Vec<String>,
    undelivered: Vec<Undelivered>,
    evaluations: Vec<EvaluationReport>,
    seconds: Seconds,
}

impl<'a> Run<'a> {
    fn new(
        surroundings: &'a Surroundings,
        options: &'a Options,
        cancel: &'a Cancel,
        project: &'a Project,
        head: &'a Head,
        statuses: &'a Statuses,
        shadowing: &'a Shadowing<'a>,
    ) -> Self {
        Self {
            surroundings,
            options,
            cancel,
            project,
            head,
            statuses,
            shadowing,
            mode: project.declaration.incremental.mode(&head.jobset),
            notices: Vec::new(),
            withheld: Vec::new(),
            undelivered: Vec::new(),
            evaluations: Vec::new(),
            seconds: Seconds {
                git: project.git_seconds,
                evaluate_base: project.declaration_seconds,
                ..Seconds::default()
            },
        }
    }

    fn carry_out(&mut self, progress: &mut dyn Progress) -> Result<Report, RunError> {
        self.tell_what_is_left_out(progress);
        self.tell_if_nobody_is_told(progress);
        self.statuses.summary(SummaryPhase::Pending, 0, Counters::default(), None);
        progress.stage(Stage::EvaluateBase);
        let mut connections = Connections::new(&self.surroundings.store);
        let base = self.evaluate_base(&mut || connections.warm(), progress)?;
        let watch = &mut connections.watch;
        let mut survey = self.survey(base, watch)?;
        let shadow_before = self.choose(&mut survey, watch, progress)?;
        let (mirrored, entries) = self.mirror(&survey, &shadow_before)?;
        let targets = self.resolve(&mut survey, mirrored.as_ref(), &entries, progress)?;
        self.stop_if_cancelled()?;
        let logs = self.logs(!targets.is_empty())?;
        let mut built =
            self.build(&survey, &targets, &entries, &logs, &mut connections, progress)?;
        self.audit_by_policy(&survey, &mut built, &logs, &mut connections, progress)?;
        progress.stage(Stage::Deliver);
        self.release_roots();
        let pushed = self.push();
        let before = shadow_before.head.map(|commit| commit.to_string());
        let report = self.report(built, before, mirrored.as_ref(), pushed);
        self.finish(report)
    }

    fn stop_if_cancelled(&self) -> Result<(), RunError> {
        if self.cancel.is_cancelled() { Err(RunError::Cancelled) } else { Ok(()) }
    }

    fn notice(&mut self, progress: &mut dyn Progress, text: String) {
        progress.notice(&text);
        self.notices.push(text);
    }

    /// Commits are built, never work trees; whoever has changes should know.
    fn tell_what_is_left_out(&mut self, progress: &mut dyn Progress) {
        if let Place::Url(_) = self.options.place {
            return;
        }
        let started = Instant::now();
        match self.project.repository.changes(4) {
            Ok(changes) if changes.is_empty() => {}
            Ok(changes) => {
                let shown: Vec<String> =
                    changes.iter().take(3).map(|path| format!("`{path}`")).collect();
                let more = if changes.len() > 3 { " and more" } else { "" };
                let commit = self.head.commit.short();
                self.notice(
                    progress,
                    format!(
                        "the work tree has uncommitted changes ({}{more}); commit {commit} is built without them",
                        shown.join(", ")
                    ),
                );
            }
            Err(error) => tracing::debug!(%error, "cannot look at the work tree"),
        }
        self.seconds.git += started.elapsed().as_secs_f64();
    }

    /// A declared forge that hears nothing is a surprise that shows nowhere else.
    fn tell_if_nobody_is_told(&mut self, progress: &mut dyn Progress) {
        let (Some(forge), Some(_)) = (&self.project.declaration.forge, &self.project.writer) else {
            return;
        };
        if self.options.token.is_none() {
            let text = format!(
                "no statuses are sent to {}, for want of a token; see `--token-file`",
                forge.kind
            );
            self.notice(progress, text);
        }
    }

    fn request(&self, flake: levain_evaluator::LockedFlakeRef) -> Request {
        Request {
            flake,
            system: self.surroundings.system.clone(),
            only: None,
            limits: self.project.limits(),
        }
    }

    /// Evaluates the original commit with the null pointer.
    ///
    /// Calls `on_work` first if that takes more than a look at what is remembered.
    fn evaluate_base(
        &mut self,
        on_work: &mut dyn FnMut(),
        progress: &mut dyn Progress,
    ) -> Result<Evaluated, RunError> {
        let started = Instant::now();
        let (flake, _overlay) = self.base_flake(progress)?;
        let request = self.request(flake);
        let evaluated = self.evaluate(&request, on_work)?;
        self.seconds.evaluate_base += started.elapsed().as_secs_f64();
        self.record_evaluation(&evaluated, None, started);
        Ok(evaluated)
    }

    fn evaluate(
        &self,
        request: &Request,
        on_work: &mut dyn FnMut(),
    ) -> Result<Evaluated, EvaluateError> {
        let evaluator = self.surroundings.evaluator.as_ref();
        let dir = self.surroundings.store.dir().as_str();
        evaluations::evaluate(evaluator, dir, request, &self.project.state, on_work)
    }

    fn record_evaluation(
        &mut self,
        evaluated: &Evaluated,
        pointer: Option<String>,
        started: Instant,
    ) {
        self.evaluations.push(EvaluationReport {
            flake: evaluated.remembered.evaluation.flake.to_string(),
            pointer,
            memoized: evaluated.memoized,
            seconds: started.elapsed().as_secs_f64(),
        });
    }

    /// Returns the original commit as a flake whose cache pointer is null.
    ///
    /// That is the commit itself, unless its author committed a pointer.
    fn base_flake(
        &mut self,
        progress: &mut dyn Progress,
    ) -> Result<(levain_evaluator::LockedFlakeRef, Option<Overlay>), RunError> {
        let repository = &self.project.repository;
        let own = Project::flake(repository, &self.head.reference, self.head.commit);
        if self.mode == Mode::Off {
            return Ok((own, None));
        }
        let name = self.project.layout.files.pointer();
        let text = repository.file(self.head.commit, name).map_err(ProjectError::from)?;
        let Some(text) = text else { return Ok((own, None)) };
        match Pointer::parse(self.surroundings.store.dir(), &text) {
            Ok(Pointer::Null) => Ok((own, None)),
            Ok(Pointer::Path(_) | Pointer::Entries(_)) => {
                self.notice(
                    progress,
                    format!(
                        "cache pointer rejected: commit {} itself carries one in `{name}`, which should be `null`; it is evaluated as null",
                        self.head.commit.short()
                    ),
                );
                let commit = ShadowCommit {
                    previous: None,
                    original: self.head.commit,
                    pointer: b"null\n",
                    message: "levain: the null pointer\n",
                };
                let reference = "refs/levain-base/null";
                let (overlay, id) = aside(repository, &commit, &self.project.layout, reference)?;
                Ok((Project::flake(&overlay.repository, reference, id), Some(overlay)))
            }
            Err(error) => {
                self.mode = Mode::Off;
                self.notice(
                    progress,
                    format!(
                        "incremental mode is off for this run: `{name}` of commit {} is no cache pointer ({error}); make it `null`, or choose another name with `levainProject.files.pointer`",
                        self.head.commit.short()
                    ),
                );
                Ok((own, None))
            }
        }
    }

    /// Makes the shadow branch mirror the original commit, if there is to be one.
    fn mirror(
        &mut self,
        survey: &planning::Survey,
        before: &planning::ShadowBefore,
    ) -> Result<(Option<Mirrored>, Entries), RunError> {
        let own = before.entries.clone().unwrap_or_default();
        if self.mode == Mode::Off {
            return Ok((None, own));
        }
        let started = Instant::now();
        let repository = &self.project.repository;
        let is_newer = |entry: &Entry| {
            known(repository, &entry.commit).is_some_and(|commit| {
                commit != self.head.commit
                    && repository.is_ancestor(self.head.commit, commit).unwrap_or(false)
            })
        };
        let entries = survey.pointer(&own, &is_newer);
        let is_current = before.original == Some(self.head.commit);
        if survey.is_all_fresh() && is_current {
            return Ok((None, own));
        }
        let lock = self.project.writer.as_ref().map(|writer| writer.run_lock());
        if lock.is_none() {
            self.withheld.push(format!(
                "a shadow commit for {} on `{}`",
                self.head.commit.short(),
                self.shadowing.reference
            ));
            if survey.is_all_fresh() {
                return Ok((None, own));
            }
        }
        let mirrored = self.shadowing.mirror(lock, before.recorded.as_ref(), &entries)?;
        self.seconds.git += started.elapsed().as_secs_f64();
        Ok((Some(mirrored), entries))
    }

    /// Evaluates the shadow commit.
    fn evaluate_shadow(
        &mut self,
        mirrored: &Mirrored,
        entries: &Entries,
        progress: &mut dyn Progress,
    ) -> Result<Evaluation, RunError> {
        progress.stage(Stage::EvaluateShadow);
        let started = Instant::now();
        let request = self.request(mirrored.flake.clone());
        let evaluated = self.evaluate(&request, &mut || {})?;
        self.seconds.evaluate_shadow += started.elapsed().as_secs_f64();
        let pointer = print(self.surroundings.store.dir(), entries);
        self.record_evaluation(&evaluated, Some(sha256_hex(pointer.as_bytes())), started);
        Ok(evaluated.remembered.evaluation)
    }

    /// Returns where logs are kept: read-only, in a directory that is made for them.
    fn logs(&self, builds: bool) -> Result<PathBuf, RunError> {
        match &self.project.writer {
            Some(_) => Ok(self.project.state.logs()),
            None if !builds => Ok(self.project.state.logs()),
            None => Ok(tempfile::Builder::new()
                .prefix("levain-logs-")
                .tempdir()
                .map_err(RunError::Logs)?
                .keep()),
        }
    }

    /// Lets go of every cache that no pointer names any more.
    fn release_roots(&mut self) {
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

    fn push(&mut self) -> bool {
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

    fn report(
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
    fn finish(&mut self, mut report: Report) -> Result<Report, RunError> {
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

/// How many evaluations and logs are kept.
const KEEP: usize = 2_000;

/// A job without a derivation could not be evaluated: that is for the author to mend.
fn is_authors_error(job: &JobReport) -> bool {
    job.status == JobStatus::Error && job.base_drv_path.is_none()
}

/// Tells that a job has ended, to the forge and to whoever watches.
fn tell(statuses: &Statuses, progress: &mut dyn Progress, job: &JobReport) {
    statuses.job_ended(job);
    progress.job_done(job);
}

/// Tells the forge that a job is going to be built.
fn tell_pending(statuses: &Statuses, job: &JobReport) {
    statuses.job_phase(job, JobPhase::Pending);
}

/// The present, once per run.
fn now() -> u64 {
    unix_now()
}
