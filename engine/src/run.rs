//! The main job: one jobset from reference to result.
//!
//! Start at [`open`]. `Run::carry_out` reads as the list of stages. Each is in a file of its own and makes of the one
//! before it what the next one needs: `Survey`, `Choices`, `Targets`, `Endings`, [`Report`].

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use levain_actions::status::SummaryPhase;
use levain_evaluator::{EvaluateError, JobName};
use levain_store::scratch::Scratch;
use levain_store::{BuildOptions, ConnectError, ProtocolError};

use crate::build::{BuildError, BuildLimits, Limits, Standing, unix_now};
use crate::cancel::Cancel;
use crate::connections::Connections;
use crate::declaration::Mode;
use crate::event::{Event, Stage, Tell, What};
use crate::jobset::Head;
use crate::local_paths::without_paths;
use crate::plan::PlanError;
use crate::project::{
    Asking, Opening, Place, Project, ProjectError, Selection, Surroundings, WriteAccess,
};
use crate::records::RecordsError;
use crate::report::{EvaluationReport, JobReport, Lie, Report, Seconds, Undelivered};
use crate::shadowing::{Shadowing, ShadowingError};
use crate::statuses::{StatusPlan, StatusesError};

/// How the system says that a disk is full.
const NO_ROOM: [&str; 2] = ["No space left on device", "Disk quota exceeded"];

mod auditing;
mod building;
mod choosing;
mod evaluating;
mod finishing;
mod reporting;
mod resolving;
mod retry;
mod surveying;
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
    pub access: WriteAccess,
    /// Whether the shadow branch may be pushed.
    pub push: bool,
    /// Whether fresh jobs are built as well.
    pub rebuild: bool,
    /// Whether the outputs of all jobs must be in the store at the end.
    pub outputs: bool,
    /// Options for Nix.
    pub build: BuildOptions,
    /// How long a build may take, as the operator allows.
    pub limits: BuildLimits,
    /// How the run stands among others that build at the same time.
    pub standing: Standing,
    /// Whether somebody tells the forge how the run fares, if the declaration names one.
    pub tells_forge: bool,
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
    /// What is remembered cannot be reached, or not be kept.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// A directory for logs.
    #[error("cannot make a directory for logs: {0}")]
    Logs(#[source] std::io::Error),
    /// It was stopped before the builds began.
    #[error("stopped")]
    Cancelled,
}

/// Opens the project and finds the commit: what there is to know before a run begins.
///
/// Fetches if the place is elsewhere, which `tell` hears of. Whoever tells a forge makes ready between
/// this and [`OpenRun::carry_out`].
pub fn open<'a>(
    surroundings: &'a Surroundings,
    options: &'a Options,
    cancel: &Cancel,
    tell: &dyn Fn(Event),
) -> Result<OpenRun<'a>, RunError> {
    let started = Instant::now();
    let stop = surroundings.stop.clone();
    cancel.on_cancel(move || stop.stop());
    if let Place::Url(_) = options.place {
        Tell::new(tell).stage(Stage::Fetch);
    }
    let opened = Opened::new(surroundings, options).map_err(|error| stopped(error, cancel))?;
    Ok(OpenRun { surroundings, options, opened, started })
}

/// A run that can begin. Until it ends, it holds the repository's lock if it may write.
pub struct OpenRun<'a> {
    surroundings: &'a Surroundings,
    options: &'a Options,
    opened: Opened,
    started: Instant,
}

impl OpenRun<'_> {
    /// Returns what there is to know for telling a forge how the run fares.
    pub fn status_plan(&self) -> &StatusPlan {
        &self.opened.statuses
    }

    /// Returns the directory where may be remembered what a forge was told.
    pub fn status_memory(&self) -> PathBuf {
        self.opened.project.state.statuses()
    }

    /// Evaluates, builds and acts; reports how each job ended, and gives up the lock.
    ///
    /// `tell` hears what happens, and `is_over` says whether a pull request is closed or merged, as
    /// far as that can be found out; in doubt it is not.
    pub fn carry_out(
        self,
        cancel: &Cancel,
        tell: &dyn Fn(Event),
        is_over: &dyn Fn(u64) -> bool,
    ) -> Result<Report, RunError> {
        let Self { surroundings, options, opened, started } = self;
        let Opened { mut project, head, statuses } = opened;
        let hearers = Hearers { tell: Tell::new(tell), is_over };
        // A run of the same jobset ends first: what it leaves is what this one begins with.
        let writer = project.writer.as_ref();
        if writer.is_some_and(|writer| !writer.lent().take_jobset(&head.jobset.name(), cancel)) {
            return Err(RunError::Cancelled);
        }
        hearers.tell.what(What::Opened { statuses: Box::new(statuses) });
        let result = if let Err(error) = project.require_declaration(Some(head.built)) {
            Err(error.into())
        } else {
            Shadowing::new(&project, &head).map_err(RunError::from).and_then(|shadowing| {
                Run::new(surroundings, options, cancel, hearers, &project, &head, &shadowing)
                    .carry_out()
            })
        };
        match result {
            Ok(mut report) => {
                report.seconds.total = started.elapsed().as_secs_f64();
                Ok(report)
            }
            Err(error) => {
                let error = stopped(error, cancel);
                // The author must not wait for a status that never comes.
                let text = error.brief().lines().next().unwrap_or_default().to_owned();
                hearers.tell.what(What::Failed { phase: error.phase(), error: text });
                Err(error)
            }
        }
    }
}

/// Whatever a step makes of being stopped, for the caller the run was stopped.
fn stopped(error: RunError, cancel: &Cancel) -> RunError {
    if cancel.is_cancelled() { RunError::Cancelled } else { error }
}

/// Whom a run talks to.
#[derive(Clone, Copy)]
struct Hearers<'a> {
    /// Hears what happens.
    tell: Tell<'a>,
    /// Knows whether a pull request is over.
    is_over: &'a dyn Fn(u64) -> bool,
}

impl RunError {
    /// Returns whether the author has something to mend.
    pub fn is_the_authors(&self) -> bool {
        match self {
            // An author must not be blamed for the machine's Nix.
            Self::Evaluate(EvaluateError::Limit(_) | EvaluateError::TooManyJobs { .. }) => true,
            Self::Evaluate(error) => error.is_the_flakes(),
            Self::Project(error) => error.is_the_declarations() || error.is_conflict(),
            Self::Statuses(_)
            | Self::Shadow(_)
            | Self::Plan(_)
            | Self::Build(_)
            | Self::Connect(_)
            | Self::Store(_)
            | Self::Records(_)
            | Self::Logs(_)
            | Self::Cancelled => false,
        }
    }

    /// Returns whether it makes sense to try once more later: something is away that a run cannot do without.
    pub fn may_pass(&self) -> bool {
        // Whoever met it, git, Nix or levain, says it in the system's words.
        let text = self.to_string();
        if NO_ROOM.iter().any(|sign| text.contains(sign)) {
            return true;
        }
        match self {
            Self::Project(error) => error.may_pass(),
            Self::Evaluate(error) => error.may_pass(),
            Self::Shadow(ShadowingError::Remote(error)) => error.may_pass(),
            Self::Plan(PlanError::Records(error)) | Self::Records(error) => error.may_pass(),
            Self::Plan(PlanError::Connect(error))
            | Self::Build(BuildError::Connect(error))
            | Self::Connect(error) => error.may_pass(),
            Self::Plan(PlanError::Store(error))
            | Self::Build(BuildError::Protocol(error))
            | Self::Store(error) => error.may_pass(),
            Self::Shadow(_)
            | Self::Plan(PlanError::Derivation(_) | PlanError::Git(_))
            | Self::Statuses(_)
            | Self::Logs(_)
            | Self::Cancelled => false,
        }
    }

    /// Returns whether a pull request could not be merged with its base.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Project(error) if error.is_conflict())
    }

    /// Returns how the jobset fares as a whole.
    fn phase(&self) -> SummaryPhase {
        if matches!(self, Self::Cancelled) {
            SummaryPhase::Cancelled
        } else if self.is_the_authors() {
            SummaryPhase::Failure
        } else {
            SummaryPhase::Error
        }
    }

    /// Returns what went wrong for readers who have little room and know nothing of this machine.
    pub fn brief(&self) -> String {
        // Forges truncate descriptions, and local paths must not leak. Those that the author wrote are
        // part of the answer.
        match self.is_the_authors() {
            true => self.summed_up(),
            false => without_paths(&self.summed_up()),
        }
    }

    fn summed_up(&self) -> String {
        match self {
            Self::Evaluate(error) => error.brief(),
            Self::Project(ProjectError::DeclarationFlake(error)) => {
                format!("cannot read the declaration of the project: {}", error.brief())
            }
            Self::Project(_)
            | Self::Statuses(_)
            | Self::Shadow(_)
            | Self::Plan(_)
            | Self::Build(_)
            | Self::Connect(_)
            | Self::Store(_)
            | Self::Records(_)
            | Self::Logs(_)
            | Self::Cancelled => self.to_string(),
        }
    }
}

/// A project opened for a command, at the commit that the command is about.
struct Opened {
    project: Project,
    head: Head,
    statuses: StatusPlan,
}

impl Opened {
    fn new(surroundings: &Surroundings, options: &Options) -> Result<Self, RunError> {
        let opening = Opening {
            place: &options.place,
            declaration: options.declaration.as_deref(),
            access: options.access,
            push: options.push,
            asking: Asking::Remote,
        };
        let project = Project::open(surroundings, &opening)?;
        let (project, head) = project.select(&options.selection)?;
        let statuses = StatusPlan::new(&project, &head)?;
        Ok(Self { project, head, statuses })
    }
}

/// A run under way.
struct Run<'a> {
    surroundings: &'a Surroundings,
    options: &'a Options,
    cancel: &'a Cancel,
    tell: Tell<'a>,
    is_over: &'a dyn Fn(u64) -> bool,
    project: &'a Project,
    head: &'a Head,
    shadowing: &'a Shadowing<'a>,
    mode: Mode,
    notices: Vec<String>,
    withheld: Vec<String>,
    undelivered: Vec<Undelivered>,
    lies: Vec<Lie>,
    /// The jobs whose pointers moved.
    moved: BTreeSet<JobName>,
    /// The jobs whose audits earlier runs owe.
    owed: BTreeSet<JobName>,
    evaluations: Vec<EvaluationReport>,
    seconds: Seconds,
}

impl<'a> Run<'a> {
    fn new(
        surroundings: &'a Surroundings,
        options: &'a Options,
        cancel: &'a Cancel,
        hearers: Hearers<'a>,
        project: &'a Project,
        head: &'a Head,
        shadowing: &'a Shadowing<'a>,
    ) -> Self {
        Self {
            surroundings,
            options,
            cancel,
            tell: hearers.tell,
            is_over: hearers.is_over,
            project,
            head,
            shadowing,
            mode: project.declaration.incremental.mode(&head.jobset),
            notices: Vec::new(),
            withheld: Vec::new(),
            undelivered: Vec::new(),
            lies: Vec::new(),
            moved: BTreeSet::new(),
            owed: BTreeSet::new(),
            evaluations: Vec::new(),
            seconds: Seconds {
                git: project.git_seconds,
                evaluate_base: project.declaration_seconds,
                ..Seconds::default()
            },
        }
    }

    fn carry_out(&mut self) -> Result<Report, RunError> {
        for text in &self.project.notices {
            self.notice(text.clone());
        }
        self.tell_what_is_left_out();
        self.tell_if_nobody_is_told();
        self.tell.stage(Stage::EvaluateBase);
        let mut connections = Connections::new(&self.surroundings.store);
        let survey = self.survey(&mut connections)?;
        let choices = self.choose(survey, &mut connections.watch)?;
        let targets = self.target(choices, &mut connections.watch)?;
        self.stop_if_cancelled()?;
        let endings = self.end_all(targets, &mut connections)?;
        self.tell.stage(Stage::Deliver);
        Ok(self.deliver(endings))
    }

    /// Returns how long a build may take.
    fn limits(&self) -> Limits {
        Limits::new(self.options.limits, self.project.declaration.build.limits())
    }

    fn stop_if_cancelled(&self) -> Result<(), RunError> {
        if self.cancel.is_cancelled() { Err(RunError::Cancelled) } else { Ok(()) }
    }

    fn notice(&mut self, text: String) {
        self.tell.notice(&text);
        self.notices.push(text);
    }

    /// Commits are built, never work trees; whoever has changes should know.
    fn tell_what_is_left_out(&mut self) {
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
                self.notice(format!(
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
    fn tell_if_nobody_is_told(&mut self) {
        let (Some(forge), Some(_)) = (&self.project.declaration.forge, &self.project.writer) else {
            return;
        };
        if !self.options.tells_forge {
            let text = format!(
                "no statuses are sent to {}, for want of a token; see `--token-file`",
                forge.kind
            );
            self.notice(text);
        }
    }

    /// Returns where logs are kept: read-only, in a directory that is made for them.
    fn logs(&self, builds: bool) -> Result<Logs, RunError> {
        match &self.project.writer {
            None if builds => Scratch::new("logs").map(Logs::Scratch).map_err(RunError::Logs),
            Some(_) | None => Ok(Logs::Kept(self.project.state.logs())),
        }
    }
}

/// Where the logs of a run's builds are.
enum Logs {
    /// Where levain keeps them.
    Kept(PathBuf),
    /// In a temporary directory.
    Scratch(Scratch),
}

impl Logs {
    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Scratch(scratch) => scratch.path(),
        }
    }

    /// Leaves temporary logs to be read until the next levain starts, if one of them explains a
    /// failure; or else removes them.
    fn settle(self, jobs: &[JobReport]) {
        let Self::Scratch(scratch) = self else { return };
        if jobs.iter().any(|job| job.error.is_some() && job.log.is_some()) {
            scratch.leave();
        }
    }
}

/// The present, once per run.
fn now() -> u64 {
    unix_now()
}

#[cfg(test)]
mod tests {
    use levain_actions::git::RemoteError;

    use super::*;

    #[test]
    fn what_a_forge_has_not_moved_yet_and_a_full_disk_may_pass() {
        let not_yet = ProjectError::NotInJobset { commit: "a".into(), of: "pull request 9".into() };
        let missing = ProjectError::NoPullRequest { number: 9, tried: Vec::new() };
        let failed = |message: &str| {
            let (url, message) = ("https://x".into(), message.to_owned());
            ProjectError::Remote(RemoteError::Failed { url, message })
        };
        let full = failed("fatal: unable to write loose object file: No space left on device");
        for (error, may_pass) in
            [(not_yet, true), (missing, true), (full, true), (failed("fatal: bad object"), false)]
        {
            assert_eq!(RunError::from(error).may_pass(), may_pass);
        }
    }
}
