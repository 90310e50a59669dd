//! The product's workshop: git, the forges and the engine.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use levain_actions::forge::webhook::Sender;
use levain_actions::forge::{CheckedOut, ForgeConfig, Masks, Questions, Reach};
use levain_actions::status::SummaryText;
use levain_engine::cancel::Cancel;
use levain_engine::declaration::matches;
use levain_engine::event::{Event, Stage, What};
use levain_engine::project::{
    Base, Place, Selection, Surroundings, WriteAccess, list_branches, list_tags, place_of_mirror,
    remove_mirrors,
};
use levain_engine::report::{Counters, Report};
use levain_engine::run::{self, Options, RunError};
use levain_engine::state::State;
use levain_engine::{BuildLimits, Class, Standing};
use levain_evaluator::JobsetName;
use levain_evaluator::names::Named;
use levain_statuses::Closed;
use levain_store::BuildOptions;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::pull_requests::{self, Found, admitted};
use super::reporter::{self, Reporter};
use super::{Carried, HeadsError, Listed, Order, Workshop};
use crate::database::Database;
use crate::live::Live;
use crate::logins::{GitLogin, LoginError, Logins, NotOwn};
use crate::pages::comparison::compare;
use crate::pages::kept_report::KeptReport;
use crate::projects::{Project, PullRequests};
use crate::reconcile::{Head, Heads};
use crate::records;
use crate::roles::Role;
use crate::runs::state::Verdict;
use crate::runs::{Ended, RunId, Told};
use crate::statuses::details::{self, AgainstBase};
use crate::statuses::messenger::{ForgeMessenger, Messenger};
use crate::statuses::wording::{Home, Telling};

/// How long a mirror that no project needs is kept: a project may be added anew.
const UNUSED: Duration = Duration::from_secs(24 * 3_600);
/// How many warnings of a run are kept.
const WARNINGS: usize = 50;

/// Whose code is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// That of people who may push to the project.
    Project,
    /// Anybody's.
    Anyone,
}

/// Makes what a run works with: for each run its own, so that each can be stopped alone.
pub type Equip = dyn Fn(Whose) -> Result<Surroundings, String> + Send + Sync;

/// Lists and builds with the engine.
pub struct EngineWorkshop {
    /// Makes what a run works with.
    pub equip: Box<Equip>,
    /// Whether anything is written outside.
    pub access: WriteAccess,
    /// How long builds may take.
    pub limits: BuildLimits,
    /// What projects log in with.
    pub logins: Logins,
    /// What the runs are doing, for whoever watches.
    pub live: Live,
    /// What keeps what runs remember.
    pub database: Database,
    /// What asks forges and the database.
    pub runtime: Handle,
}

impl Workshop for EngineWorkshop {
    fn heads(&self, project: &Project, cancel: &Cancel) -> Result<Listed, HeadsError> {
        let (surroundings, _login) =
            self.equipped(Whose::Project, project, Reach::Read).map_err(failed)?;
        let stop = surroundings.stop.clone();
        cancel.on_cancel(move || stop.stop());
        let listing = list_branches(&surroundings, &project.url);
        // Git does not say whether it was the token. Without it, the next look asks for another.
        let listing = listing.inspect_err(|_| self.logins.forget(project)).map_err(failed)?;
        let default_branch = listing.named().map(str::to_owned);
        let unreadable = listing.unreadable;
        let branches = listing.branches.into_iter();
        let mut heads: Heads = branches
            .map(|(name, commit)| (JobsetName::branch(&name), Head::branch(commit)))
            .collect();
        if let Some(pattern) = &project.tags {
            let tags = list_tags(&surroundings, &project.url).map_err(failed)?;
            let built = tags.into_iter().filter(|(name, _)| matches(pattern, name));
            heads
                .extend(built.map(|(name, commit)| (JobsetName::tag(&name), Head::branch(commit))));
        }
        // A forge may have no list of pull requests for a repository that nobody has pushed to yet.
        let pull_requests = match heads.is_empty() {
            true => Found::None,
            false => self.pull_requests(project, cancel)?,
        };
        let listed = admitted(heads, pull_requests, project.pull_requests, project.merge);
        let unreadable = unreadable.iter();
        let unreadable = unreadable.map(|name| format!("branch {name}, whose name is not UTF-8"));
        let left_out = unreadable.chain(listed.left_out).collect();
        Ok(Listed { default_branch, left_out, ..listed })
    }

    fn carry_out(&self, order: &Order, cancel: &Cancel) -> Carried {
        let masks = match self.runtime.block_on(self.logins.masks(&order.project)) {
            Ok(masks) => masks,
            Err(error) => return not_begun(error.may_pass(), error.to_string()),
        };
        let warnings = Warnings::default();
        let carried = self.carry_out_unmasked(order, cancel, &masks, &warnings);
        // An App may have been given other tokens meanwhile.
        let newest = self.runtime.block_on(self.logins.masks(&order.project));
        let newest = newest.unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot find out which secrets are new");
            Masks::default()
        });
        match masked(carried, warnings.0.into_inner(), [&newest, &masks]) {
            Carried::Ended(ended) => Carried::Ended(with_details(ended, order, &masks)),
            carried @ (Carried::Stopped | Carried::Hindered { .. }) => carried,
        }
    }

    fn tidy(&self, projects: &[Project]) {
        // In read-only mode nothing is removed either.
        if self.access == WriteAccess::ReadOnly {
            return;
        }
        let surroundings = match (self.equip)(Whose::Project) {
            Ok(surroundings) => surroundings,
            Err(error) => return tracing::warn!(error, "cannot look for mirrors"),
        };
        let Some(since) = SystemTime::now().checked_sub(UNUSED) else { return };
        let mirrors = &surroundings.mirrors;
        let needed: BTreeSet<PathBuf> =
            projects.iter().map(|project| place_of_mirror(mirrors, &project.url)).collect();
        // One whose records are elsewhere is somebody else's: of the command line, or of another server.
        let is_needed = |place: &Path, state: &State| {
            needed.contains(place)
                || !records::Home::of(state).is_some_and(|home| home.is_in(&self.database))
        };
        for mirror in remove_mirrors(mirrors, &surroundings.holds, since, is_needed) {
            let mirror = mirror.display();
            tracing::info!(%mirror, "removed a mirror that no project needs any more");
        }
    }

    fn messenger(&self) -> Option<Arc<dyn Messenger>> {
        match self.access {
            WriteAccess::Write => Some(Arc::new(ForgeMessenger::new(self.logins.clone()))),
            WriteAccess::ReadOnly => None,
        }
    }
}

impl EngineWorkshop {
    /// Carries out a run. Only [`Workshop::carry_out`] may pass on what it returns: that may name secrets.
    fn carry_out_unmasked(
        &self,
        order: &Order,
        cancel: &Cancel,
        masks: &Masks,
        warnings: &Warnings,
    ) -> Carried {
        let reach = match self.access {
            WriteAccess::Write => Reach::Write,
            WriteAccess::ReadOnly => Reach::Read,
        };
        if let Err(error) = self.runtime.block_on(self.logins.require_own(&order.project)) {
            return not_begun(error.may_pass(), error.to_string());
        }
        let token = match self.runtime.block_on(self.logins.token(&order.project, reach)) {
            Ok(token) => token,
            Err(error) => return not_begun(error.may_pass(), error.to_string()),
        };
        let (whose, selection) = match selected(order) {
            Ok(selected) => selected,
            Err(why) => return not_begun(true, why),
        };
        let (surroundings, _login) = match self.equipped(whose, &order.project, reach) {
            Ok(equipped) => equipped,
            Err(error) => return not_begun(error.may_pass(), error.to_string()),
        };
        let options = Options {
            place: Place::Url(order.project.url.clone()),
            selection,
            declaration: None,
            access: self.access,
            push: true,
            rebuild: false,
            outputs: false,
            build: BuildOptions { keep_going: true, ..BuildOptions::default() },
            limits: self.limits,
            standing: standing(order),
            tells_forge: token.is_some(),
        };
        let number = order.run.id;
        let _watched = Watched { live: &self.live, run: number };
        let watch = |event: Event| {
            self.live.hear(number, &event);
            warnings.hear(event);
        };
        let run = match run::open(&surroundings, &options, cancel, &watch) {
            Ok(run) => run,
            Err(RunError::Cancelled) => return Carried::Stopped,
            Err(error) => return of_error(&error, masks),
        };
        let home = Home::of(&order.project);
        let plan = run.status_plan();
        let reporter = match Reporter::new(&order.voice, &home, plan, masks.clone()) {
            Ok(reporter) => reporter,
            Err(error) => return errored(error.to_string()),
        };
        let telling = reporter::telling(plan);
        // Asked for when it is needed: a run may take longer than an App's token lasts.
        let closed = OnceCell::new();
        let is_over = |number| {
            let closed: &Closed =
                closed.get_or_init(|| self.closed(&telling, &home, &order.project));
            closed.is_over(number)
        };
        let not_own = RefCell::new(None);
        let tell = |event: Event| {
            // Whoever took the name over meanwhile gets nothing: git is stopped before it pushes.
            if let What::Stage { stage: Stage::Deliver } = &event.what
                && let Err(error) = self.runtime.block_on(self.logins.require_own(&order.project))
            {
                surroundings.stop.stop();
                tracing::warn!(run = number.number(), %error, "nothing is pushed");
                not_own.replace(Some(error));
            }
            reporter.hear(&event);
            watch(event);
        };
        let result = run.carry_out(cancel, &tell, &is_over);
        if let (Some(NotOwn::Other(error)), false) = (&*not_own.borrow(), cancel.is_cancelled()) {
            return errored(error.to_string());
        }
        match result {
            // Whatever was done before it was stopped says nothing about the commit.
            Ok(report) if cancel.is_cancelled() && !report.is_success() => Carried::Stopped,
            Err(RunError::Cancelled) => Carried::Stopped,
            Ok(report) => Carried::Ended(Ended { told: reporter.last(), ..of_report(&report) }),
            Err(error) => of_error(&error, masks),
        }
    }
}

impl EngineWorkshop {
    /// Returns what asks a project's forge which pull requests are over.
    fn closed(&self, telling: &Telling, home: &Home, project: &Project) -> Closed {
        let token = self.runtime.block_on(self.logins.token(project, Reach::Read));
        let token = token.unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot ask a forge");
            None
        });
        let questions = telling.forge(home).zip(token).and_then(|(forge, token)| {
            let config = self.logins.forge(project, forge);
            let questions = Questions::new(&config, token);
            questions.inspect_err(|error| tracing::warn!(%error, "cannot ask a forge")).ok()
        });
        Closed::new(questions, self.runtime.clone())
    }

    /// Asks the forge for the open pull requests, if the project has them built and can log in.
    fn pull_requests(&self, project: &Project, cancel: &Cancel) -> Result<Found, HeadsError> {
        let Sender::Forge(kind) = project.sender else { return Ok(Found::None) };
        if project.pull_requests == PullRequests::None || !project.has_login() {
            return Ok(Found::None);
        }
        let config = ForgeConfig::from_remote(kind, &project.url).map_err(failed)?;
        let config = self.logins.forge(project, config);
        let stopped = Arc::new(Notify::new());
        let stop = Arc::clone(&stopped);
        cancel.on_cancel(move || stop.notify_one());
        self.runtime.block_on(async {
            let known = self.database.heads(project.id).await.map_err(failed)?;
            tokio::select! {
                found = pull_requests::find(&self.logins, project, &config, &known) => found,
                () = stopped.notified() => Err(failed("stopped")),
            }
        })
    }

    /// Makes what to work on a project with. Git may log in where the repository is on its forge, until the login goes.
    fn equipped(
        &self,
        whose: Whose,
        project: &Project,
        reach: Reach,
    ) -> Result<(Surroundings, GitLogin), Unequipped> {
        let login = self.logins.git(project, reach, &self.runtime)?;
        let database = self.database.clone();
        let records = records::in_database(database, self.runtime.clone(), project.url.clone());
        let own = (self.equip)(whose).map_err(Unequipped::Own)?;
        Ok((Surroundings { git_login: login.login(), records, ..own }, login))
    }
}

/// Why there is nothing to work on a project with.
#[derive(Debug, thiserror::Error)]
enum Unequipped {
    /// It cannot log in.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// This machine lacks something.
    #[error("{0}")]
    Own(String),
}

impl Unequipped {
    /// Returns whether it makes sense to try once more later.
    fn may_pass(&self) -> bool {
        match self {
            Self::Login(error) => error.may_pass(),
            Self::Own(_) => false,
        }
    }
}

pub(super) fn failed(error: impl ToString) -> HeadsError {
    HeadsError { message: error.to_string() }
}

/// Returns what a run's jobset is to its project.
fn role(order: &Order) -> Role {
    Role::of(&order.run.jobset, order.project.default_branch.as_deref())
}

/// Returns what exactly is to be built, and whose it is.
fn selected(order: &Order) -> Result<(Whose, Selection), String> {
    let whose = match role(order) {
        Role::DefaultBranch | Role::Branch | Role::Tag => Whose::Project,
        // What a queue tries to merge is somebody's pull request.
        Role::MergeQueue | Role::PullRequest(_) => Whose::Anyone,
    };
    let (branch, pull_request, tag) = match order.run.jobset.named() {
        Named::Branch(name) => (Some(name.to_owned()), None, None),
        Named::PullRequest(number) => (None, Some(number), None),
        Named::Tag(name) => (None, None, Some(name.to_owned())),
    };
    let base = match (&order.run.base, order.run.base_commit) {
        (Some(branch), Some(commit)) => Some(Base { branch: branch.clone(), commit }),
        (Some(branch), None) => {
            return Err(format!("there is no branch `{branch}` to merge it with"));
        }
        (None, _) => None,
    };
    let revision = Some(order.run.commit.to_string());
    // Nothing is checked out here, whatever the server's environment says.
    let checked_out = CheckedOut::default();
    Ok((whose, Selection { branch, pull_request, tag, revision, base, checked_out }))
}

/// Returns how a run stands among others that build at the same time.
fn standing(order: &Order) -> Standing {
    let class = match (role(order), order.run.is_scheduled) {
        (Role::DefaultBranch | Role::Branch | Role::Tag, true) => Class::Schedule,
        (Role::DefaultBranch | Role::Branch | Role::Tag, false) => Class::Branch,
        // Somebody waits for it to be merged.
        (Role::MergeQueue | Role::PullRequest(_), _) => Class::PullRequest,
    };
    let since = u64::try_from(order.run.created_at.millis()).unwrap_or_default();
    let project = order.project.name.clone();
    Standing { project, is_asked_for: false, class, since }
}

fn of_report(report: &Report) -> Ended {
    let verdict = if report.is_success() { Verdict::Succeeded } else { Verdict::Failed };
    let mut notices = report.notices.clone();
    notices.extend(report.lies.iter().map(|lie| format!("{}: {}", lie.job, lie.detail)));
    notices.extend(report.undelivered.iter().map(|undelivered| {
        let (kind, subject) = (undelivered.kind, &undelivered.subject);
        format!("not delivered: {kind} `{subject}`: {}", undelivered.error)
    }));
    let mut ended = Ended { notices, ..Ended::new(verdict, summary(report.counters)) };
    match serde_json::to_string(report) {
        Ok(text) => ended.report = Some(text),
        Err(error) => ended.notices.push(format!("the report is not kept: {error}")),
    }
    ended
}

/// Describes a run that has no result but this.
fn errored(why: String) -> Carried {
    Carried::Ended(Ended::new(Verdict::Errored, why))
}

/// Describes a run that was not begun. What is away may come back.
fn not_begun(may_pass: bool, why: String) -> Carried {
    match may_pass {
        true => Carried::Hindered { why },
        false => errored(why),
    }
}

fn of_error(error: &RunError, masks: &Masks) -> Carried {
    let brief = error.brief();
    if error.may_pass() {
        return Carried::Hindered { why: brief };
    }
    let (verdict, text) = match (error.is_conflict(), error.is_the_authors()) {
        (true, _) => (Verdict::Conflict, error.to_string()),
        (false, true) => (Verdict::Failed, error.to_string()),
        // Local paths must not leak.
        (false, false) => (Verdict::Errored, brief.clone()),
    };
    let details = Box::new(details::of_error(&text, masks));
    Carried::Ended(Ended { details, ..Ended::new(verdict, brief) })
}

/// Adds what is told where there is room for the whole report: what failed, and what of that is the pull request's.
fn with_details(ended: Ended, order: &Order, masks: &Masks) -> Ended {
    let report = ended.report.as_deref().and_then(KeptReport::read);
    let (Some(report), true) = (report, order.project.app.is_some()) else { return ended };
    let base = match order.run.jobset.named() {
        Named::PullRequest(_) => order.voice.base_report(&order.run, &order.project),
        Named::Branch(_) | Named::Tag(_) => None,
    };
    let found = base.as_ref().map(|(_, base)| compare(base, &report));
    let against = base.as_ref().zip(found.as_ref());
    let against = against.map(|((base, _), found)| AgainstBase { base, found });
    Ended { details: Box::new(details::of_run(&report, against, masks)), ..ended }
}

/// Returns the counts that are not zero, in a line.
fn summary(counters: Counters) -> String {
    let Counters { fresh, incremental, clean, failed, errors, cancelled, skipped } = counters;
    let counts = [
        (fresh, "fresh"),
        (incremental, "incremental"),
        (clean, "clean"),
        (failed, "failed"),
        (errors, "in error"),
        (cancelled, "cancelled"),
        (skipped, "skipped"),
    ];
    let shown: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{count} {name}"))
        .collect();
    if shown.is_empty() { "no jobs".to_owned() } else { shown.join(", ") }
}

pub(super) fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// Takes secrets out of all that is kept and told of a run: a build may have printed them.
fn masked<'a>(
    carried: Carried,
    warnings: Vec<String>,
    masks: impl IntoIterator<Item = &'a Masks>,
) -> Carried {
    let carried = match carried {
        Carried::Ended(mut ended) => {
            ended.notices.extend(warnings);
            Carried::Ended(ended)
        }
        carried @ (Carried::Stopped | Carried::Hindered { .. }) => carried,
    };
    let masked = masks.into_iter().fold(carried, masked_by);
    // Half a secret is not recognised any more, so what is one line is cut afterwards.
    match masked {
        Carried::Ended(ended) => {
            Carried::Ended(Ended { summary: one_line(&ended.summary), ..ended })
        }
        Carried::Hindered { why } => Carried::Hindered { why: one_line(&why) },
        Carried::Stopped => Carried::Stopped,
    }
}

fn masked_by(carried: Carried, masks: &Masks) -> Carried {
    let mask = |text: String| masks.apply(&text).into_owned();
    let Ended { verdict, summary, report, notices, told, details } = match carried {
        Carried::Ended(ended) => ended,
        Carried::Hindered { why } => return Carried::Hindered { why: mask(why) },
        Carried::Stopped => return Carried::Stopped,
    };
    let told = told.map(|told| {
        let Told { phase, text } = *told;
        let (error, failing) = (text.error.map(mask), text.failing.map(mask));
        Box::new(Told { phase, text: SummaryText { error, failing, ..text } })
    });
    Carried::Ended(Ended {
        verdict,
        summary: mask(summary),
        report: report.map(|report| masked_report(&report, masks)),
        notices: notices.into_iter().map(mask).collect(),
        told,
        details: Box::new(details.without(masks)),
    })
}

/// Takes secrets out of every text of a report: in JSON as it is written, a colour or a quote within one is not itself.
fn masked_report(report: &str, masks: &Masks) -> String {
    fn mask(value: &mut Value, masks: &Masks) {
        match value {
            Value::String(text) => *text = masks.apply(text).into_owned(),
            // Lines that were printed are such texts, and a secret may be broken over several.
            Value::Array(items) if items.iter().all(Value::is_string) => {
                let texts: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
                let masked = masks.apply_to_lines(&texts);
                *items = masked.into_iter().map(Value::String).collect();
            }
            Value::Array(items) => items.iter_mut().for_each(|item| mask(item, masks)),
            Value::Object(fields) => {
                let masked = std::mem::take(fields).into_iter().map(|(name, mut field)| {
                    mask(&mut field, masks);
                    (masks.apply(&name).into_owned(), field)
                });
                *fields = masked.collect();
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    match serde_json::from_str(report) {
        Ok(mut value) => {
            mask(&mut value, masks);
            value.to_string()
        }
        Err(error) => {
            tracing::warn!(%error, "a report is no JSON");
            masks.apply(report).into_owned()
        }
    }
}

/// A run that is watched until this goes.
struct Watched<'a> {
    live: &'a Live,
    run: RunId,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.live.forget(self.run);
    }
}

/// Keeps what went wrong without stopping the run.
#[derive(Debug, Default)]
struct Warnings(RefCell<Vec<String>>);

impl Warnings {
    fn hear(&self, event: Event) {
        // The report has the notices.
        if let What::Warning { text } = event.what {
            let mut warnings = self.0.borrow_mut();
            if warnings.len() < WARNINGS {
                warnings.push(text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use levain_actions::forge::Token;
    use levain_actions::status::SummaryPhase;

    use super::*;

    #[test]
    fn a_summary_has_what_there_is() {
        let counters = Counters { incremental: 2, skipped: 1, ..Counters::default() };
        assert_eq!(summary(counters), "2 incremental, 1 skipped");
        assert_eq!(summary(Counters::default()), "no jobs");
    }

    #[test]
    fn the_token_is_kept_nowhere() {
        let token = Token::from_value("s3cr3t-t0ken").unwrap();
        let said = || "it said s3cr3t-t0ken".to_owned();
        let ended = Ended {
            verdict: Verdict::Failed,
            summary: said(),
            report: Some(said()),
            notices: vec![said()],
            told: Some(Box::new(Told {
                phase: SummaryPhase::Failure,
                text: SummaryText {
                    error: Some(said()),
                    failing: Some(said()),
                    ..SummaryText::default()
                },
            })),
            details: Box::new(details::of_error(
                "it said s3cr3t-t0ken\n at s3cr3t-t0ken/flake.nix:1:2:",
                &Masks::default(),
            )),
        };
        let masks = [&Masks::default(), &Masks::new([&token])];
        let kept = format!("{:?}", masked(Carried::Ended(ended), vec![said()], masks));
        assert!(!kept.contains("s3cr3t"), "{kept}");
        assert_eq!(kept.matches("it said").count(), 8);
        let hindered = Carried::Hindered { why: "s3cr3t-t0ken is away\nfor now".into() };
        let why = "[token] is away".to_owned();
        assert_eq!(masked(hindered, Vec::new(), masks), Carried::Hindered { why });
    }

    #[test]
    fn a_report_shows_no_part_of_the_token_whatever_colours_are_in_it_and_wherever_it_is_cut() {
        let token = "ghp_\"0123456789abcdefghijklmnopqrstuv";
        let masks = Masks::of_texts([token]);
        let (half, rest) = token.split_at(20);
        let lines = [
            format!("a {half}\u{1b}[0m{rest} b"),
            format!("x {}…", &token[..token.len() - 1]),
            format!("y {half}"),
            token.to_owned(),
            half[..6].to_owned(),
            format!("{}{rest}", &half[6..]),
            "end".to_owned(),
        ];
        let report = serde_json::json!({ "jobs": [{ "lastLines": lines, "seconds": 0.25 }] });
        let masked = masked_report(&report.to_string(), &masks);
        let expected = [
            "a [token]\u{1b}[0m b",
            "x [token]…",
            "y [token]",
            "[token]",
            "[token]",
            "[token]",
            "end",
        ];
        let expected = serde_json::json!({ "jobs": [{ "lastLines": expected, "seconds": 0.25 }] });
        assert_eq!(masked, expected.to_string());
    }
}
