//! Looks what projects have: after deliveries, at the start, and now and then.
//!
//! Looks at one project never overlap, and those of several servers are told apart by the database: what was listed
//! before somebody else's listing was noted does not count.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use levain_actions::forge::place_of_remote;
use levain_engine::cancel::Cancel;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;

use super::Shared;
use super::commenting::{self, Asking, Commented};
use super::reading::{Reading, outcome, reading};
use super::repository::{self, Address, AddressError};
use super::standing::{Look, Standings};
use super::thread::{Broken, on_thread};
use super::{following, handing};
use crate::clock::Timestamp;
use crate::counters::Counted;
use crate::database::DatabaseError;
use crate::deliveries::{Delivery, DeliveryId, DeliveryState};
use crate::forges::ForgesError;
use crate::points::Point;
use crate::projects::{Project, ProjectId};
use crate::workshop::{HeadsError, Listed};

/// How many projects are looked at at a time.
const MOST_LOOKS: usize = 16;
/// How many of them at one host, which may never answer.
const MOST_AT_ONE_HOST: usize = 4;
/// How long a forge is asked about a comment or a button that does not answer.
const LATEST_COMMENT: Duration = Duration::from_secs(15 * 60);
/// How long it is at least from one round to the next: what arrives meanwhile is read together, so that a flood of deliveries
/// costs rounds by the time that it takes and not by its number.
const ROUND: Duration = Duration::from_millis(50);
/// How many deliveries one look takes.
const MOST_DELIVERIES: usize = 1_000;

/// Why a look came to nothing, or to branches only. The rest is as it was before.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Heads(#[from] HeadsError),
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("another server looked at the same time")]
    Overtaken,
    #[error("cannot find out what somebody may do: {0}")]
    Comment(#[from] ForgesError),
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error("the repository was renamed")]
    Renamed,
    #[error("{0}")]
    WithoutPullRequests(String),
}

impl LookError {
    fn look(&self) -> Look {
        match self {
            // It is listed where it is now, at once.
            Self::Overtaken | Self::Renamed => Look::Overtaken,
            Self::Heads(_)
            | Self::Broken(_)
            | Self::Database(_)
            | Self::Comment(_)
            | Self::WithoutPullRequests(_)
            | Self::Address(_) => Look::Failed,
        }
    }
}

/// Looks at all projects until the server ends.
pub(super) async fn look_at_all(shared: Arc<Shared>) {
    let mut ending = std::pin::pin!(shared.ending());
    let started = Instant::now();
    let mut standings = Standings::default();
    let mut looks: JoinSet<Result<Look, LookError>> = JoinSet::new();
    let (mut follows, mut follow_at) = (JoinSet::new(), started);
    let mut looked_at: HashMap<Id, (ProjectId, Option<String>, Cancel)> = HashMap::new();
    let mut ended = Vec::new();
    loop {
        let next_round = Instant::now() + ROUND;
        // All that ended since the last round.
        while let Some(one) = looks.try_join_next_with_id() {
            ended.push(one);
        }
        for one in ended.drain(..) {
            let (id, look) = match one {
                Ok((id, Ok(look))) => (id, look),
                Ok((id, Err(error))) => (id, error.look()),
                // It panicked.
                Err(error) => (error.id(), Look::Failed),
            };
            if let Some((id, ..)) = looked_at.remove(&id) {
                standings.end(id, look, &shared.settings, started.elapsed());
            }
        }
        match handing::hand_on(&shared).await {
            Ok(is_elsewhere) => follow_at = if is_elsewhere { Instant::now() } else { follow_at },
            Err(error) => {
                tracing::error!(%error, "cannot hand on what was delivered for Apps");
            }
        }
        // What was installed while nobody listened is found as well.
        while follows.try_join_next().is_some() {}
        if Instant::now() >= follow_at && follows.is_empty() {
            follow_at = Instant::now() + shared.settings.look_every;
            follows.spawn(following::follow_all(Arc::clone(&shared)));
        }
        match due(&shared, &mut standings, started.elapsed()).await {
            Ok(projects) => {
                for (project, everything) in projects {
                    if looks.len() >= MOST_LOOKS {
                        break;
                    }
                    let (id, host) = (project.id, host(&project.url));
                    let same = looked_at.values().filter(|(_, other, _)| *other == host);
                    if host.is_some() && same.count() >= MOST_AT_ONE_HOST {
                        continue;
                    }
                    let cancel = Cancel::default();
                    let look = look(Arc::clone(&shared), project, everything, cancel.clone());
                    looked_at.insert(looks.spawn(look).id(), (id, host, cancel));
                    standings.begin(id);
                }
            }
            Err(error) => tracing::error!(%error, "cannot find out which projects to look at"),
        }
        tokio::select! {
            Some(one) = looks.join_next_with_id() => ended.push(one),
            () = shared.arrived.notified() => {}
            () = tokio::time::sleep(shared.settings.glance_every) => {}
            () = &mut ending => break,
        }
        tokio::select! {
            () = tokio::time::sleep_until(next_round) => {}
            () = &mut ending => break,
        }
    }
    looked_at.into_values().for_each(|(.., cancel)| stop_soon(cancel));
    // What was listed is noted; what was not is listed by the next server.
    while looks.join_next().await.is_some() {}
}

/// Returns the host that a project is at, if it is not this machine.
fn host(url: &str) -> Option<String> {
    let place = place_of_remote(url)?;
    place.split('/').next().map(str::to_owned)
}

/// Stops something, which may itself have to wait.
pub(super) fn stop_soon(cancel: Cancel) {
    tokio::task::spawn_blocking(move || cancel.cancel());
}

/// Returns the projects that are to be looked at now, each with whether its heads are to be listed in any case; first
/// those whose turn it is.
async fn due(
    shared: &Shared,
    standings: &mut Standings,
    now: Duration,
) -> Result<Vec<(Project, bool)>, DatabaseError> {
    let projects = shared.database.projects().await?;
    let delivered = shared.database.delivered_projects().await?.into_iter().collect();
    let ids: Vec<ProjectId> = projects.iter().map(|project| project.id).collect();
    let mut projects: HashMap<ProjectId, Project> =
        projects.into_iter().map(|project| (project.id, project)).collect();
    let due = standings.due(&ids, &delivered, now).into_iter();
    Ok(due.filter_map(|(id, everything)| Some((projects.remove(&id)?, everything))).collect())
}

async fn look(
    shared: Arc<Shared>,
    project: Project,
    everything: bool,
    cancel: Cancel,
) -> Result<Look, LookError> {
    let (id, name) = (project.id, project.name.clone());
    let result = look_at(&shared, project, everything, cancel).await;
    let failed = match &result {
        Ok(Look::Everything) => {
            shared.database.counters().count(Counted::LookDone);
            None
        }
        Ok(_) | Err(LookError::Overtaken | LookError::Renamed) => return result,
        Err(error) => {
            tracing::warn!(project = name, %error, "cannot look at a project");
            shared.database.counters().count(Counted::LookFailed);
            Some(error.to_string())
        }
    };
    shared.database.note_look(id, failed).await?;
    shared.database.points().pass(Point::LookNoted);
    result
}

async fn look_at(
    shared: &Shared,
    project: Project,
    everything: bool,
    cancel: Cancel,
) -> Result<Look, LookError> {
    let (database, points) = (&shared.database, shared.database.points());
    let name = project.name.clone();
    let Calling { looks: waiting, asking, later } = read_deliveries(shared, &project).await?;
    if waiting.is_empty() && asking.is_empty() && !everything {
        return later.map_or(Ok(Look::Deliveries), |error| Err(error.into()));
    }
    let id = project.id;
    let commented = project.clone();
    let known_default = project.default_branch.clone();
    // Before anything is listed, and before the project's settings are read: who changes them has this listed anew.
    let last = database.last_note(id).await?;
    let Some(project) = database.project(id).await? else { return Ok(Look::Deliveries) };
    points.pass(Point::ListingBegins);
    let (workshop, of) = (Arc::clone(&shared.workshop), project.clone());
    let listing = async {
        // What has the name is not fetched from while it is known to be another one.
        if project.other_repository.is_some() {
            repository::look(shared, &project).await?;
        }
        let listed = on_thread(format!("look at {name}"), move || workshop.heads(&of, &cancel));
        Ok::<_, LookError>(listed.await??)
    };
    let listed = listing.await;
    // Whatever became of the listing: what is private by now must not stay to be seen because nobody can list it.
    match repository::look(shared, &project).await {
        Ok(Address::Right) => {}
        Ok(Address::Changed) => return Err(LookError::Renamed),
        Err(error @ AddressError::Other(_)) => {
            refuse(shared, &waiting, &asking, &error).await?;
            return Err(error.into());
        }
        // What could not be listed says more.
        Err(error) => return Err(listed.err().unwrap_or(error.into())),
    }
    let Listed { mut heads, left_out, unknown, without_pull_requests, default_branch } = listed?;
    // If another server noted others since, none of this counts.
    unknown.keep(&database.heads(id).await?, &mut heads);
    points.pass(Point::ListingDone);
    let Some(noted) = database.note_heads(id, last, heads).await? else {
        return Err(LookError::Overtaken);
    };
    points.pass(Point::HeadsNoted);
    if default_branch != known_default {
        database.note_default_branch(id, default_branch).await?;
    }
    let mut queued = Vec::new();
    for id in &noted.queued {
        queued.extend(database.run(*id).await?);
    }
    let outcome = outcome(&queued, noted.gone.len(), &left_out);
    tracing::info!(project = name, "{outcome}");
    if !noted.queued.is_empty() {
        shared.queued.notify_one();
    }
    if !noted.stopped.is_empty() {
        shared.changed.send_replace(());
    }
    let settled = waiting.into_iter().map(|id| (id, DeliveryState::Acted, outcome.clone()));
    let mut settled: Vec<_> = settled.collect();
    // Now that the heads are those that the commenters could see.
    for asking in asking {
        // It may be about a head that could not be listed.
        if without_pull_requests.is_some()
            && asking.may_wait
            && database.heads_at(commented.id, asking.commit).await?.is_empty()
        {
            continue;
        }
        let delivery = asking.delivery;
        let (state, outcome) = commenting::act(shared, &commented, asking).await?;
        settled.extend(delivery.map(|id| (id, state, outcome)));
    }
    database.settle_deliveries(settled).await?;
    points.pass(Point::DeliveriesSettled);
    if everything {
        commenting::find(shared, &commented).await?;
    }
    if let Some(why) = without_pull_requests {
        return Err(LookError::WithoutPullRequests(why));
    }
    later.map_or(Ok(Look::Everything), |error| Err(error.into()))
}

/// Settles what waits for a project with whose name there is another repository: nobody can be asked about it.
async fn refuse(
    shared: &Shared,
    waiting: &[DeliveryId],
    asking: &[Asking],
    why: &AddressError,
) -> Result<(), DatabaseError> {
    let why = why.to_string();
    let why = why.lines().next().unwrap_or_default();
    let waiting = waiting.iter().copied().chain(asking.iter().filter_map(|asking| asking.delivery));
    let settled = waiting.map(|id| (id, DeliveryState::Failed, why.to_owned())).collect();
    shared.database.settle_deliveries(settled).await?;
    Ok(())
}

/// What waits for a project and calls for something.
#[derive(Default)]
struct Calling {
    /// To look what it has.
    looks: Vec<DeliveryId>,
    /// To approve something, or to build it once more.
    asking: Vec<Asking>,
    /// To ask the forge once more, which did not answer.
    later: Option<ForgesError>,
}

impl Calling {
    /// Takes note of what somebody asks for, or settles it.
    fn take(
        &mut self,
        delivery: &Delivery,
        read: Commented,
        settled: &mut Vec<(DeliveryId, DeliveryState, String)>,
    ) {
        match read {
            Commented::Asks(mut asking) => {
                asking.may_wait = !is_old(delivery);
                self.asking.push(asking);
            }
            Commented::Settled(state, why) => settled.push((delivery.id, state, why)),
            Commented::Later(error) if is_old(delivery) => {
                settled.push((delivery.id, DeliveryState::Failed, error.to_string()));
            }
            Commented::Later(error) => self.later = Some(error),
        }
    }
}

/// Reads what waits for a project, and settles what calls for nothing; returns the others.
async fn read_deliveries(shared: &Shared, project: &Project) -> Result<Calling, DatabaseError> {
    let (mut settled, mut calling, mut count) = (Vec::new(), Calling::default(), 0);
    let mut last = None;
    // One at a time: they may be large.
    while let Some(delivery) = shared.database.next_delivery(project.id, last).await? {
        last = Some(delivery.id);
        let (reading, learned) = reading(&delivery, project);
        // Where the forge can be asked, it is.
        if let Some(number) = learned
            && !project.has_login()
        {
            shared.database.note_repository(project.id, number).await?;
        }
        match reading {
            Reading::Look => calling.looks.push(delivery.id),
            Reading::Other { number, why } => {
                // Nobody but deliveries tells about a project that cannot ask its forge.
                if !project.has_login() {
                    repository::is_other(shared, project, number).await?;
                }
                settled.push((delivery.id, DeliveryState::Failed, why));
            }
            Reading::Settled(state, why) => settled.push((delivery.id, state, why)),
            // One that does not answer is not asked for each of many.
            Reading::Comment { .. } if calling.later.is_some() => {}
            Reading::Check { .. } if calling.later.is_some() => {}
            Reading::Comment { pull_request, comment } => {
                let id = delivery.id;
                let read = commenting::read(shared, project, Some(id), pull_request, comment).await;
                calling.take(&delivery, read, &mut settled);
            }
            Reading::Check { commit, wish, by } => {
                let read =
                    commenting::pressed(shared, project, &delivery, (commit, wish), by).await;
                calling.take(&delivery, read, &mut settled);
            }
        }
        count += 1;
        if count >= MOST_DELIVERIES {
            break;
        }
    }
    shared.database.points().pass(Point::DeliveriesRead);
    if !settled.is_empty() {
        shared.database.settle_deliveries(settled).await?;
        shared.database.points().pass(Point::IgnoredSettled);
    }
    Ok(calling)
}

/// Returns whether a delivery waited so long that its forge will not answer.
fn is_old(delivery: &Delivery) -> bool {
    delivery.received_at.after(LATEST_COMMENT) < Timestamp::now()
}
