//! Carries out runs, as many at a time as there are workers, and tells how they ended.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use levain_engine::cancel::Cancel;
use levain_evaluator::JobsetName;
use tokio::runtime::Handle;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;

use super::Shared;
use super::holding::{Holding, RETRY, Renewal, Told, told};
use super::looking::stop_soon;
use super::thread::{Broken, on_thread, yield_to_others};
use crate::clock::Timestamp;
use crate::counters::Counted;
use crate::database::DatabaseError;
use crate::points::Point;
use crate::projects::ProjectId;
use crate::runs::state::{RunState, Verdict};
use crate::runs::{Ended, Run, RunId};
use crate::statuses::voice::Voice;
use crate::workshop::{Carried, Order};

/// How often it is tried to tell the database something that it refuses.
const TELLING: u32 = 5;

/// Carries out runs until the server ends.
pub(super) async fn carry_out_all(shared: Arc<Shared>) {
    let mut ending = std::pin::pin!(shared.ending());
    let mut runs = JoinSet::new();
    let mut held: HashMap<Id, (RunId, ProjectId, JobsetName)> = HashMap::new();
    loop {
        while runs.len() < shared.settings.workers && !shared.is_ending() {
            // A run that is not wanted any more may still be about to end.
            let busy = held.values().map(|(_, project, jobset)| (*project, jobset.clone()));
            let busy: Vec<_> = busy.collect();
            let (owner, asked) = (shared.owner.clone(), Instant::now());
            match shared.database.claim_run(owner, Timestamp::now(), &busy).await {
                Ok(Some(run)) => {
                    shared.database.points().pass(Point::RunClaimed);
                    let place = (run.id, run.project, run.jobset.clone());
                    held.insert(runs.spawn(carry_out(Arc::clone(&shared), run, asked)).id(), place);
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(%error, "cannot take a run");
                    break;
                }
            }
        }
        tokio::select! {
            Some(ended) = runs.join_next_with_id() => {
                let id = match ended {
                    Ok((id, ())) => id,
                    Err(error) => {
                        tracing::error!(%error, "a run was let go");
                        error.id()
                    }
                };
                held.remove(&id);
            }
            () = shared.queued.notified() => {}
            () = tokio::time::sleep(shared.settings.glance_every) => {}
            () = &mut ending => break,
        }
    }
    let ending = async {
        while let Some(ended) = runs.join_next_with_id().await {
            held.remove(&ended.map_or_else(|error| error.id(), |(id, ())| id));
        }
    };
    if tokio::time::timeout(shared.settings.patience, ending).await.is_err() {
        // They end with the process, and must not be waited for by the next one.
        for (id, ..) in held.into_values() {
            give_back(&shared, id).await;
        }
    }
}

/// A run that is carried out.
struct Held {
    shared: Arc<Shared>,
    run: Run,
    cancel: Cancel,
    /// When the time of `holding` began.
    started: Instant,
    holding: Holding,
}

async fn carry_out(shared: Arc<Shared>, run: Run, claimed: Instant) {
    let mut changed = shared.changed.subscribe();
    let mut ending = std::pin::pin!(shared.ending());
    let project = match shared.database.project(run.project).await {
        Ok(Some(project)) => project,
        Ok(None) => return,
        Err(error) => {
            tracing::error!(%error, "cannot read the project of a run");
            return give_back(&shared, run.id).await;
        }
    };
    let number = run.id.number();
    tracing::info!(run = number, project = project.name, jobset = %run.jobset, "begun");
    let cancel = Cancel::default();
    let workshop = Arc::clone(&shared.workshop);
    let (database, owner) = (shared.database.clone(), shared.owner.clone());
    let voice = Voice::new(database, owner, &run, Handle::current());
    let order = Order { project, run: run.clone(), voice };
    let thread = on_thread(format!("run {number}"), {
        let cancel = cancel.clone();
        move || {
            yield_to_others();
            workshop.carry_out(&order, &cancel)
        }
    });
    let mut thread = std::pin::pin!(thread);
    shared.database.points().pass(Point::RunBegun);
    shared.database.counters().count(Counted::RunBegun);
    let holding = Holding::new(Duration::ZERO);
    let mut held = Held { shared, run, cancel, started: claimed, holding };
    let mut is_stopping = false;
    let mut renew_at = Instant::now() + held.holding.pause();
    let result = loop {
        let glance_at = Instant::now() + held.shared.settings.glance_every;
        let is_due = tokio::select! {
            result = &mut thread => break result,
            () = tokio::time::sleep_until(renew_at), if held.holding.is_wanted() => true,
            Ok(()) = changed.changed(), if held.holding.is_wanted() => true,
            // Another process may have stopped it.
            () = tokio::time::sleep_until(glance_at), if held.holding.is_wanted() => {
                !held.is_running().await
            }
            () = &mut ending, if !is_stopping => {
                is_stopping = true;
                stop_soon(held.cancel.clone());
                false
            }
        };
        if is_due {
            held.renew().await;
            renew_at = Instant::now() + held.holding.pause();
        }
    };
    held.end(result, is_stopping).await;
}

impl Held {
    /// Returns whether the database has it that the run is carried out, as far as it answers.
    async fn is_running(&self) -> bool {
        match self.shared.database.run(self.run.id).await {
            Ok(run) => run.is_some_and(|run| run.state == RunState::Running),
            Err(error) => {
                tracing::debug!(run = self.run.id.number(), %error, "cannot look at a run");
                true
            }
        }
    }

    /// Tells that the run is carried out, and stops it if it is not to be.
    async fn renew(&mut self) {
        let (id, owner) = (self.run.id, self.shared.owner.clone());
        let asked_at = self.started.elapsed();
        let renewal = match self.shared.database.renew_run(id, owner, Timestamp::now()).await {
            Ok(true) => Renewal::Renewed,
            Ok(false) => Renewal::Refused,
            Err(error) => {
                tracing::error!(run = id.number(), %error, "cannot tell that a run is carried out");
                Renewal::Unanswered
            }
        };
        self.holding.renew(renewal, asked_at, self.started.elapsed());
        if !self.holding.is_wanted() {
            tracing::info!(run = id.number(), "not wanted any more");
            stop_soon(self.cancel.clone());
        }
    }

    async fn end(self, result: Result<Carried, Broken>, is_stopping: bool) {
        let points = self.shared.database.points();
        points.pass(Point::RunCarriedOut);
        let carried = result.map_err(|broken| broken.to_string());
        match told(carried, self.holding.is_wanted(), is_stopping) {
            Told::End(ended) => self.tell(ended).await,
            Told::GiveBack => give_back(&self.shared, self.run.id).await,
            Told::PutOff(why) => self.put_off(why).await,
        }
    }

    /// Tells how the run ended.
    async fn tell(&self, ended: Ended) {
        let id = self.run.id;
        tracing::info!(run = id.number(), verdict = ?ended.verdict, "{}", ended.summary);
        let told = insist("end a run", id, || {
            self.shared.database.end_run(id, self.shared.owner.clone(), ended.clone())
        });
        // If it cannot be told, it is carried out once more when its lease has run out.
        let Some(counts) = told.await else { return };
        self.shared.database.points().pass(Point::RunEnded);
        if counts {
            self.shared.database.counters().count(match ended.verdict {
                Verdict::Succeeded => Counted::RunSucceeded,
                Verdict::Failed => Counted::RunFailed,
                Verdict::Errored => Counted::RunErrored,
                Verdict::Conflict => Counted::RunConflict,
            });
        }
    }

    /// Has the run be tried again later.
    async fn put_off(&self, why: String) {
        let (id, shared) = (self.run.id, &self.shared);
        tracing::warn!(run = id.number(), why, "put off");
        let told = insist("put a run off", id, || {
            let (owner, waits) = (shared.owner.clone(), shared.settings.put_off);
            shared.database.put_off_run(id, owner, why.clone(), waits, Timestamp::now())
        });
        match told.await.flatten() {
            Some(RunState::Errored) => shared.database.counters().count(Counted::RunErrored),
            Some(_) => shared.database.counters().count(Counted::RunPutOff),
            None => {}
        }
    }
}

/// Leaves a run to others; nothing if it is not to be carried out any more.
async fn give_back(shared: &Shared, id: RunId) {
    let points = shared.database.points();
    points.pass(Point::GivingBack);
    let told =
        insist("give a run back", id, || shared.database.give_back_run(id, shared.owner.clone()));
    if told.await == Some(true) {
        shared.database.counters().count(Counted::RunGivenBack);
    }
    points.pass(Point::GaveBack);
}

/// Tells the database something about a run until it answers, however long it is away: nobody else knows. Nothing if it
/// refuses.
async fn insist<T, F: Future<Output = Result<T, DatabaseError>>>(
    what: &'static str,
    run: RunId,
    tell: impl Fn() -> F,
) -> Option<T> {
    let mut refusals = 0_u32;
    while refusals < TELLING {
        match tell().await {
            Ok(told) => return Some(told),
            Err(error) => {
                tracing::error!(run = run.number(), %error, "cannot {what}");
                refusals += u32::from(!error.may_pass());
            }
        }
        tokio::time::sleep(RETRY).await;
    }
    None
}
