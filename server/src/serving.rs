//! What the server does by itself: looks at projects, carries out runs, cleans up.
//!
//! Each is a loop of its own. All that they know is in the database, so that a server that was killed goes on where it
//! was. Start at [`Running::start`].

mod commenting;
mod following;
mod handing;
pub mod holding;
mod looking;
mod reading;
mod repository;
mod scheduling;
pub mod standing;
mod telling;
pub mod thread;
mod tidying;
mod working;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::counters::Counted;
use crate::database::{Database, DatabaseError};
use crate::deliveries::KEPT;
use crate::forges::Forges;
use crate::points::Point;
use crate::runs::putting_off::WAITS;
use crate::runs::{LEASE, Owner};
use crate::workshop::Workshop;
use holding::Answering;

/// How a server works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many runs are carried out at a time.
    pub workers: usize,
    /// How often every project is looked at, delivered or not.
    pub look_every: Duration,
    /// How often the database is asked for what other processes put there.
    pub glance_every: Duration,
    /// How long it is waited until it is looked again what nothing needs any more.
    pub tidy_every: Duration,
    /// How long a project is left alone that could not be looked at; doubled after each further failure.
    pub first_wait: Duration,
    /// The longest wait that the doubling leads to.
    pub longest_wait: Duration,
    /// How long runs may take to stop when the server ends.
    pub patience: Duration,
    /// How long a run waits before each further try that something away kept from being carried out.
    pub put_off: &'static [Duration],
    /// What asks forges about people.
    pub forges: Forges,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            workers: 2,
            look_every: Duration::from_secs(300),
            glance_every: Duration::from_secs(2),
            first_wait: Duration::from_secs(5),
            tidy_every: Duration::from_secs(3_600),
            longest_wait: Duration::from_secs(300),
            patience: Duration::from_secs(8),
            put_off: &WAITS,
            forges: Forges::default(),
        }
    }
}

/// Whether other servers work on the same database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// None: whatever is being carried out is lost when a server starts.
    Alone,
    /// Perhaps.
    Others,
}

/// What is told when somebody changed what is to be done, so that it need not be found out.
#[derive(Clone, Debug)]
pub struct Acted {
    /// A run was queued, or may be claimed now.
    pub queued: Arc<Notify>,
    /// A run that is carried out may not be wanted any more.
    pub changed: watch::Sender<()>,
}

impl Default for Acted {
    /// Returns one to which nobody listens.
    fn default() -> Self {
        Self { queued: Arc::default(), changed: watch::Sender::new(()) }
    }
}

/// What the loops share.
struct Shared {
    database: Database,
    workshop: Arc<dyn Workshop>,
    settings: Settings,
    owner: Owner,
    /// Something was delivered.
    arrived: Arc<Notify>,
    /// A run was queued, or may be claimed now.
    queued: Arc<Notify>,
    /// A run that is carried out may not be wanted any more.
    changed: watch::Sender<()>,
    /// Whether the server ends.
    stop: watch::Sender<bool>,
}

impl Shared {
    /// Returns whether the server ends.
    fn is_ending(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits until the server ends.
    fn ending(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stop = self.stop.subscribe();
        async move {
            // If nobody is there to say so, it has ended.
            drop(stop.wait_for(|stop| *stop).await);
        }
    }
}

/// A server at work. If it is dropped, it stops as if it were killed.
pub struct Running {
    shared: Arc<Shared>,
    loops: JoinSet<()>,
}

impl Running {
    /// Starts to work on what is in a database.
    pub async fn start(
        database: Database,
        workshop: Arc<dyn Workshop>,
        owner: Owner,
        company: Company,
        settings: Settings,
    ) -> Result<Self, DatabaseError> {
        let points = database.points().clone();
        points.pass(Point::ServingBegins);
        if company == Company::Alone {
            let lost = database.take_lost_runs(Timestamp::from_millis(i64::MAX)).await?;
            if !lost.is_empty() {
                tracing::info!(runs = lost.len(), "runs of a server that was killed wait again");
            }
            database.take_lost_statuses(Timestamp::from_millis(i64::MAX)).await?;
        }
        points.pass(Point::LostRunsTaken);
        let shared = Arc::new(Shared {
            database,
            workshop,
            settings,
            owner,
            arrived: Arc::new(Notify::new()),
            queued: Arc::new(Notify::new()),
            changed: watch::Sender::new(()),
            stop: watch::Sender::new(false),
        });
        let mut loops = JoinSet::new();
        // Dropped when all runs have ended: then nothing more is to be told.
        let (working, worked) = oneshot::channel::<()>();
        if let Some(messenger) = shared.workshop.messenger() {
            let worked = async move { drop(worked.await) };
            loops.spawn(telling::tell_all(Arc::clone(&shared), messenger, worked));
        }
        loops.spawn(looking::look_at_all(Arc::clone(&shared)));
        let carrying_out = working::carry_out_all(Arc::clone(&shared));
        loops.spawn(async move {
            carrying_out.await;
            drop(working);
        });
        loops.spawn(scheduling::schedule_all(Arc::clone(&shared)));
        loops.spawn(tidying::tidy_all(Arc::clone(&shared)));
        loops.spawn(take_lost_runs(Arc::clone(&shared)));
        loops.spawn(clean_up(Arc::clone(&shared)));
        points.pass(Point::ServingBegun);
        Ok(Self { shared, loops })
    }

    /// Returns what is to be notified when something was delivered.
    pub fn arrived(&self) -> Arc<Notify> {
        Arc::clone(&self.shared.arrived)
    }

    /// Returns what is to be told when somebody changed what is to be done.
    pub fn acted(&self) -> Acted {
        Acted { queued: Arc::clone(&self.shared.queued), changed: self.shared.changed.clone() }
    }

    /// Begins nothing new, stops what is carried out and leaves it to the next server; ends within
    /// [`Settings::patience`] and a little more.
    pub async fn stop(self) {
        let Self { shared, mut loops } = self;
        shared.stop.send_replace(true);
        shared.database.points().pass(Point::EndAsked);
        let ending = async { while loops.join_next().await.is_some() {} };
        let limit = shared.settings.patience + Duration::from_secs(2);
        if tokio::time::timeout(limit, ending).await.is_err() {
            tracing::warn!("not everything ended in time");
        }
    }
}

/// Takes runs from servers that are not heard of any more, though the database would have answered them. By itself, because
/// it judges by how often the database answers: what takes long must not keep it from asking.
async fn take_lost_runs(shared: Arc<Shared>) {
    let mut ending = std::pin::pin!(shared.ending());
    let (mut answering, started) = (Answering::default(), Instant::now());
    loop {
        take_lost_runs_once(&shared, &mut answering, started).await;
        tokio::select! {
            () = tokio::time::sleep(Answering::PAUSE) => {}
            () = &mut ending => return,
        }
    }
}

async fn take_lost_runs_once(shared: &Shared, answering: &mut Answering, started: Instant) {
    let (now, asked_at) = (Timestamp::now(), started.elapsed());
    let lost = match answering.tells(asked_at) {
        true => shared.database.take_lost_runs(now).await,
        false => shared.database.try_write().await.map(|()| Vec::new()),
    };
    answering.note(lost.is_ok(), asked_at);
    match lost {
        Ok(lost) if lost.is_empty() => {}
        Ok(lost) => {
            tracing::warn!(runs = lost.len(), "runs of a server that is gone wait again");
            let count = lost.len().try_into().unwrap_or(u64::MAX);
            shared.database.counters().add(Counted::RunTakenOver, count);
            shared.queued.notify_one();
        }
        Err(error) => tracing::error!(%error, "cannot look for runs that were lost"),
    }
}

/// Has runs wait whose approval ended, takes statuses from servers that are not heard of any more, and forgets what is old.
async fn clean_up(shared: Arc<Shared>) {
    let mut ending = std::pin::pin!(shared.ending());
    loop {
        let now = Timestamp::now();
        if let Err(error) = shared.database.forget_ended(now).await {
            tracing::error!(%error, "cannot forget sessions that ended");
        }
        match shared.database.review_approvals(now).await {
            Ok(0) => {}
            Ok(_) => shared.queued.notify_one(),
            Err(error) => tracing::error!(%error, "cannot look for approvals that ended"),
        }
        if let Err(error) = shared.database.take_lost_statuses(now).await {
            tracing::error!(%error, "cannot look for statuses that were lost");
        }
        if let Err(error) = shared.database.forget_deliveries(now.before(KEPT)).await {
            tracing::error!(%error, "cannot forget old deliveries");
        }
        if let Err(error) = shared.database.forget_app_deliveries(now.before(KEPT)).await {
            tracing::error!(%error, "cannot forget old deliveries for Apps");
        }
        shared.database.points().pass(Point::CleanedUp);
        tokio::select! {
            () = tokio::time::sleep(LEASE / 2) => {}
            () = &mut ending => return,
        }
    }
}
