//! The main job: one jobset from reference to result.
//!
//! Start at [`run`], which reads as the list of steps; each step is a method
//! of [`Run`] in the order in which they are taken.

use std::path::PathBuf;
use std::time::Instant;

use levain_actions::forge::Token;
use levain_actions::status::{JobPhase, RetryPolicy, SummaryPhase};
use levain_evaluator::EvaluateError;
use levain_evaluator::pointer::Entry;
use levain_store::{BuildOptions, ConnectError, ProtocolError};
use tokio::runtime::Handle;

use crate::build::{BuildError, unix_now};
use crate::cancel::Cancel;
use crate::connections::Connections;
use crate::declaration::Mode;
use crate::jobset::Head;
use crate::plan::PlanError;
use crate::pointers::{Entries, known};
use crate::progress::{Progress, Stage};
use crate::project::{Access, Place, Project, ProjectError, Selection, Surroundings};
use crate::report::{Counters, EvaluationReport, JobReport, Report, Seconds, Undelivered};
use crate::shadowing::{Mirrored, Shadowing, ShadowingError};
use crate::statuses::{Statuses, StatusesError};

mod auditing;
mod building;
mod evaluating;
mod finishing;
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
    let Opened { project, head, statuses } = Opened::new(surroundings, options)?;
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

/// A project opened for a command, at the commit that the command is about.
struct Opened {
    project: Project,
    head: Head,
    statuses: Statuses,
}

impl Opened {
    fn new(surroundings: &Surroundings, options: &Options) -> Result<Self, RunError> {
        let declared = options.declaration.as_deref();
        let mut project = Project::open(surroundings, &options.place, declared, options.access)?;
        project.declaration.shadow.push &= options.push;
        let head = project.select(&options.selection)?;
        let token = options.token.as_ref();
        let runtime = options.runtime.clone();
        let statuses =
            Statuses::new(&project, &head, options.access, token, &options.retries, runtime)?;
        Ok(Self { project, head, statuses })
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
        let targets = self.resolve(&mut survey, mirrored.as_ref(), &entries, watch, progress)?;
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
        if matches!(self.options.place, Place::Url(_)) || !self.project.has_work_tree() {
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
