//! What becomes of a commit's statuses when anything happens to one of the runs that are told there.
//!
//! Who has the word is decided anew each time. If it is whoever has news, the news is told; if it is another, and what is told
//! is not what that one says, it says again where it stands, though nothing happened to it. Everything is done in the
//! transaction of what happened, and while nobody else writes what is told at the commit. Start at [`settle`].

use std::collections::{BTreeMap, BTreeSet};

use levain_actions::forge::Masks;
use levain_actions::git::CommitId;
use levain_actions::status::{State, Status, folded};
use levain_evaluator::JobsetName;
use sqlx::{AnyConnection, Row};

use super::decide::Budget;
use super::precedence::{At, Word, state, word_at};
use super::retold::{JobWord, Kept, job_text, kept, phase_of_job};
use super::{Message, Outbox, Said, Speaker, TRIES, Way, details, speaker, tell, try_to_tell};
use crate::clock::Timestamp;
use crate::database::DatabaseError;
use crate::projects::ProjectId;
use crate::roles::Role;
use crate::runs::RunId;
use crate::runs::state::RunState;

/// Tells news of a run as a whole if it has the word at its commit; else has whatever has it say where it stands, if that is
/// not told.
pub(super) async fn settle(
    connection: &mut AnyConnection,
    speaker: &Speaker,
    said: Said,
    budget: Budget,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let is_final = said.phase.state().is_final();
    let news = Some(News { speaker, said });
    let place = settled(connection, speaker.project, speaker.commit, news, budget, now).await?;
    // What a run says of its jobs while it goes on comes one by one.
    if is_final { place.settle_jobs(connection, now).await } else { Ok(()) }
}

/// Has whatever has the word at a commit now say where it stands, if that is not told: something has come or left.
///
/// In the transaction in which that happens. If nothing is left at the commit, what was told stays.
pub(crate) async fn hand_over(
    connection: &mut AnyConnection,
    outbox: Outbox,
    project: ProjectId,
    commit: CommitId,
) -> Result<(), DatabaseError> {
    if outbox == Outbox::Closed {
        return Ok(());
    }
    let now = Timestamp::now();
    let place = settled(connection, project, commit, None, Budget::DEFAULT, now).await?;
    place.settle_jobs(connection, now).await
}

/// Tells how jobs of a run ended that goes on, as far as nothing else at its commit says otherwise.
pub(super) async fn tell_jobs(
    connection: &mut AnyConnection,
    speaker: &Speaker,
    jobs: Vec<(String, Status)>,
    budget: Budget,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    if jobs.is_empty() {
        return Ok(());
    }
    let place = Place::locked(connection, speaker.project, speaker.commit).await?;
    let mut reports = Reports::default();
    let gone = place.gone();
    for (job, status) in jobs {
        if !place.admits(connection, &mut reports, speaker, &job, &status).await? {
            continue;
        }
        let message = Message {
            speaker,
            job: Some(&job),
            status: &status,
            way: place.way(&gone),
            is_outranked: !place.word.counts && place.is_outranked(speaker),
            budget,
            now,
        };
        tell(connection, &message).await?;
    }
    Ok(())
}

/// News of a run as a whole.
#[derive(Clone)]
struct News<'a> {
    speaker: &'a Speaker,
    said: Said,
}

/// Settles the summary at a commit; returns what it is about.
async fn settled(
    connection: &mut AnyConnection,
    project: ProjectId,
    commit: CommitId,
    news: Option<News<'_>>,
    budget: Budget,
    now: Timestamp,
) -> Result<Place, DatabaseError> {
    for _ in 0..TRIES {
        let place = Place::locked(connection, project, commit).await?;
        if place.settle(connection, news.clone(), budget, now).await? {
            return Ok(place);
        }
        // Another server was the first to tell anything at the commit: what it knows may decide otherwise.
    }
    Err(DatabaseError::Commit { message: "others write the same status all the time".to_owned() })
}

/// A status, as far as it decides who speaks.
struct Shown {
    job: Option<String>,
    context: String,
    slot: String,
    run: RunId,
    state: State,
    /// Whether what it tells is about a merge that nobody asks for any more.
    is_gone: bool,
}

/// A commit: what is told there, and who has the word.
struct Place {
    shown: Vec<Shown>,
    word: Word,
}

impl Place {
    /// Reads what there is, and keeps others from telling anything there until the transaction ends.
    ///
    /// Else two runs that end at the same moment, on two servers, would each take the other to be under way, and leave the
    /// commit waiting.
    async fn locked(
        connection: &mut AnyConnection,
        project: ProjectId,
        commit: CommitId,
    ) -> Result<Self, DatabaseError> {
        sqlx::query(
            "UPDATE statuses SET sequence = sequence
             WHERE project = $1 AND commit_id = $2 AND job IS NULL",
        )
        .bind(project.0)
        .bind(commit.to_string())
        .execute(&mut *connection)
        .await?;
        let shown = shown(connection, project, commit).await?;
        let word = word_at(connection, project, commit).await?;
        Ok(Self { shown, word })
    }

    /// Returns whether something else has the word.
    fn is_outranked(&self, speaker: &Speaker) -> bool {
        self.word.run != Some(speaker.source.run) && !self.word.heard.is_empty()
    }

    /// Returns the runs that told something that is of no use any more.
    fn gone(&self) -> BTreeSet<RunId> {
        self.shown.iter().filter(|shown| shown.is_gone).map(|shown| shown.run).collect()
    }

    /// Returns whose word gives way to whoever has it now.
    fn way<'a>(&self, gone: &'a BTreeSet<RunId>) -> Way<'a> {
        if self.word.counts { Way::All } else { Way::These(gone) }
    }

    /// Settles the summary; returns whether that is done: not if another server told something meanwhile.
    async fn settle(
        &self,
        connection: &mut AnyConnection,
        news: Option<News<'_>>,
        budget: Budget,
        now: Timestamp,
    ) -> Result<bool, DatabaseError> {
        let speaks = |news: &News<'_>| self.word.run == Some(news.speaker.source.run);
        let is_heard = news.as_ref().is_some_and(speaks);
        // Where nothing counts, a run ends what it said before.
        if let Some(News { speaker, said }) = news.filter(|_| is_heard || !self.word.counts)
            && !self.tell_summary(connection, speaker, said, budget, now).await?
        {
            return Ok(false);
        }
        let Some(run) = self.word.run.filter(|_| !is_heard) else { return Ok(true) };
        if self.is_told(run) {
            return Ok(true);
        }
        let Some(speaker) = speaker(connection, run).await? else { return Ok(true) };
        let Some(said) = kept(connection, run).await?.said() else { return Ok(true) };
        self.tell_summary(connection, &speaker, said, budget, now).await
    }

    /// Returns whether what the run says that has the word is told, or need not be.
    fn is_told(&self, run: RunId) -> bool {
        let mut summaries = self.shown.iter().filter(|shown| shown.job.is_none());
        if !self.word.counts {
            // What a branch or a tag told is about the commit alone, and stays true.
            return !summaries.any(|shown| shown.is_gone);
        }
        let newest = self.word.heard.first().and_then(|head| head.newest);
        let is_over = newest.is_some_and(|(_, state)| state.is_end());
        summaries.any(|shown| shown.run == run && shown.state.is_final() == is_over)
    }

    /// Tells what a run says of itself as a whole; returns whether that is done.
    async fn tell_summary(
        &self,
        connection: &mut AnyConnection,
        speaker: &Speaker,
        Said { phase, text, details }: Said,
        budget: Budget,
        now: Timestamp,
    ) -> Result<bool, DatabaseError> {
        let status = match speaker.telling.summary(&speaker.home, &speaker.subject(), phase, &text)
        {
            Ok(status) => status.with_details(details),
            Err(error) => {
                tracing::warn!(run = speaker.source.run.number(), %error, "cannot word a status");
                return Ok(true);
            }
        };
        let gone = self.gone();
        let (way, is_outranked) = (self.way(&gone), self.is_outranked(speaker));
        let message =
            Message { speaker, job: None, status: &status, way, is_outranked, budget, now };
        if !try_to_tell(connection, &message).await? {
            return Ok(false);
        }
        for name in self.other_names(speaker, &status) {
            let status = status.clone().named(name);
            tell(connection, &Message { status: &status, ..message }).await?;
        }
        Ok(true)
    }

    /// Returns the names that the declaration had for the summary before, as far as something has to be told under them:
    /// what waits must not wait for ever, and nothing is good that is not.
    fn other_names(&self, speaker: &Speaker, status: &Status) -> Vec<&str> {
        let (run, slot, counts) = (speaker.source.run, folded(status.context()), self.word.counts);
        let calls_for_it = |shown: &&Shown| match shown.state {
            State::Pending | State::Running => {
                (counts || shown.run == run) && status.state().is_final()
            }
            State::Success => counts && shown.run != run && status.state() != State::Success,
            State::Failure | State::Error | State::Cancelled | State::Skipped => false,
        };
        let others = self.shown.iter().filter(|shown| shown.job.is_none() && shown.slot != slot);
        others.filter(calls_for_it).map(|shown| shown.context.as_str()).collect()
    }

    /// Returns whether what a run that goes on says of a job may be told.
    ///
    /// Where several count, the worst is told: a job is called good only if no other's newest run says otherwise, and none is
    /// under way that may. The last one to end calls it good then.
    async fn admits(
        &self,
        connection: &mut AnyConnection,
        reports: &mut Reports,
        speaker: &Speaker,
        job: &str,
        status: &Status,
    ) -> Result<bool, DatabaseError> {
        if !self.word.counts {
            return Ok(true);
        }
        let of_run = |run: RunId| self.word.heard.iter().find(|head| head.run() == Some(run));
        let Some(own) = of_run(speaker.source.run) else { return Ok(false) };
        let known = self.shown.iter().find(|shown| shown.job.as_deref() == Some(job));
        if is_bad(status.state()) {
            let stronger = known.filter(|known| is_bad(known.state));
            let stronger = stronger.and_then(|known| of_run(known.run));
            return Ok(stronger.is_none_or(|other| other.rank <= own.rank));
        }
        if known.is_none() {
            return Ok(true);
        }
        for other in self.word.heard.iter().filter(|head| *head != own) {
            match reports.says_of(connection, other, job).await? {
                JobWord::Bad | JobWord::Open => return Ok(false),
                JobWord::None | JobWord::Well | JobWord::Unbuilt => {}
            }
        }
        Ok(true)
    }

    /// Has the statuses of jobs that there are tell the worst of what counts, as far as that is known by reports.
    async fn settle_jobs(
        &self,
        connection: &mut AnyConnection,
        now: Timestamp,
    ) -> Result<(), DatabaseError> {
        let mut reports = Reports::default();
        for shown in &self.shown {
            let Some(job) = &shown.job else { continue };
            if !self.word.counts && !shown.is_gone {
                continue;
            }
            let Some((head, word)) = self.who_says(connection, &mut reports, job).await? else {
                continue;
            };
            let is_current = self.word.heard.iter().any(|head| head.run() == Some(shown.run));
            if is_current && word.is_as(shown.state) {
                continue;
            }
            if let Some(run) = head.run() {
                self.retell_job(connection, &mut reports, run, shown, now).await?;
            }
        }
        Ok(())
    }

    /// Returns whose word counts about a job, and how it is; nothing while nobody knows.
    async fn who_says(
        &self,
        connection: &mut AnyConnection,
        reports: &mut Reports,
        job: &str,
    ) -> Result<Option<(&At, JobWord)>, DatabaseError> {
        let heard: &[At] = match self.word.counts {
            true => &self.word.heard,
            false => self.word.heard.get(..1).unwrap_or_default(),
        };
        let mut worst: Option<(&At, JobWord)> = None;
        for head in heard {
            let word = reports.says_of(connection, head, job).await?;
            let key = |(head, word): (&At, JobWord)| (word, head.rank, head.run());
            if worst.is_none_or(|worst| key(worst) < key((head, word))) {
                worst = Some((head, word));
            }
        }
        Ok(worst.filter(|(_, word)| match word {
            JobWord::None | JobWord::Open => false,
            JobWord::Well | JobWord::Unbuilt | JobWord::Bad => true,
        }))
    }

    /// Tells again what a run that is over says of a job.
    async fn retell_job(
        &self,
        connection: &mut AnyConnection,
        reports: &mut Reports,
        run: RunId,
        shown: &Shown,
        now: Timestamp,
    ) -> Result<(), DatabaseError> {
        let Some(speaker) = speaker(connection, run).await? else { return Ok(()) };
        let kept = reports.of(connection, run).await?;
        let Some(job) = shown.job.as_ref().and_then(|name| kept.job(name)) else { return Ok(()) };
        let Some(phase) = phase_of_job(job.status) else { return Ok(()) };
        let told = speaker.telling.job(&speaker.home, &speaker.subject(), phase, &job_text(job));
        // What is kept of a run went through its masks.
        let details = details::of_job(job, &Masks::default());
        let status = match told {
            Ok(status) => status.named(&shown.context).with_details(details),
            Err(error) => {
                tracing::warn!(run = run.number(), %error, "cannot word a status");
                return Ok(());
            }
        };
        let gone = self.gone();
        let message = Message {
            speaker: &speaker,
            job: shown.job.as_deref(),
            status: &status,
            way: self.way(&gone),
            is_outranked: false,
            budget: Budget::DEFAULT,
            now,
        };
        tell(connection, &message).await
    }
}

fn is_bad(state: State) -> bool {
    match state {
        State::Failure | State::Error => true,
        State::Pending | State::Running | State::Success | State::Cancelled | State::Skipped => {
            false
        }
    }
}

impl JobWord {
    /// Returns whether a status says the same.
    fn is_as(self, state: State) -> bool {
        match self {
            Self::Bad => is_bad(state),
            Self::Well => state == State::Success,
            Self::Unbuilt => matches!(state, State::Cancelled | State::Skipped),
            Self::Open | Self::None => false,
        }
    }
}

/// What is kept of runs, read once: reports are long.
#[derive(Default)]
struct Reports {
    read: BTreeMap<RunId, Kept>,
}

impl Reports {
    async fn of(
        &mut self,
        connection: &mut AnyConnection,
        run: RunId,
    ) -> Result<&Kept, DatabaseError> {
        match self.read.entry(run) {
            std::collections::btree_map::Entry::Occupied(known) => Ok(known.into_mut()),
            std::collections::btree_map::Entry::Vacant(new) => {
                Ok(new.insert(kept(connection, run).await?))
            }
        }
    }

    /// Returns what the newest run of a head says of a job.
    async fn says_of(
        &mut self,
        connection: &mut AnyConnection,
        head: &At,
        job: &str,
    ) -> Result<JobWord, DatabaseError> {
        match head.newest {
            Some((run, state)) if state.is_end() => {
                Ok(self.of(connection, run).await?.says_of(job))
            }
            Some(_) | None => Ok(JobWord::Open),
        }
    }
}

/// Reads what is told at a commit.
async fn shown(
    connection: &mut AnyConnection,
    project: ProjectId,
    commit: CommitId,
) -> Result<Vec<Shown>, DatabaseError> {
    let rows = sqlx::query(
        "SELECT statuses.job, statuses.context, statuses.slot, statuses.run, statuses.state,
             runs.jobset, runs.state, projects.default_branch,
             CASE WHEN EXISTS (
                 SELECT 1 FROM heads WHERE heads.project = runs.project
                     AND heads.jobset = runs.jobset AND heads.commit_id = runs.commit_id
             ) THEN 1 ELSE 0 END
         FROM statuses JOIN runs ON runs.id = statuses.run
             JOIN projects ON projects.id = runs.project
         WHERE statuses.project = $1 AND statuses.commit_id = $2
         ORDER BY statuses.id",
    )
    .bind(project.0)
    .bind(commit.to_string())
    .fetch_all(&mut *connection)
    .await?;
    let mut all = Vec::new();
    for row in rows {
        let jobset = jobset(row.try_get(5)?)?;
        let default: Option<String> = row.try_get(7)?;
        let role = Role::of(&jobset, default.as_deref());
        let is_there = row.try_get::<i64, _>(8)? == 1;
        all.push(Shown {
            job: row.try_get(0)?,
            context: row.try_get(1)?,
            slot: row.try_get(2)?,
            run: RunId(row.try_get(3)?),
            state: super::kept::state(row.try_get(4)?)?,
            is_gone: is_gone(role, is_there, state(row.try_get(6)?)?),
        });
    }
    Ok(all)
}

/// Returns whether what a run told is of no use any more: it was about a merge that is not asked for any more.
///
/// What a branch or a tag told was about the commit alone, and stays true.
fn is_gone(role: Role, is_there: bool, state: RunState) -> bool {
    match role {
        Role::PullRequest(_) => !is_there,
        Role::MergeQueue => !is_there || state == RunState::Cancelled,
        Role::DefaultBranch | Role::Branch | Role::Tag => false,
    }
}

fn jobset(text: String) -> Result<JobsetName, DatabaseError> {
    let content = |found| DatabaseError::Content { table: "runs", what: "jobset", found };
    text.parse().map_err(|_unnamed| content(text))
}
