//! `GET …/events`: tells pages when what they show has changed, by server-sent events.
//!
//! An event says that, not what: the page is asked for once more, so that there is one way to make it. Whatever many
//! watch is looked for once, and only while somebody watches. A page names the state that it shows, so that nothing is
//! missed between its making and its watching.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

use crate::database::{Database, DatabaseError};
use crate::http::App;
use crate::http::shares::Whose;
use crate::http::table::{Needs, OfProject, OfRun, Refused, Table};
use crate::http::visitor::Visitor;
use crate::live::Live;
use crate::projects::{Project, ProjectId};
use crate::rights::Right;
use crate::runs::{Run, RunId};

/// How often what is watched is looked for.
const EVERY: Duration = Duration::from_secs(1);
/// How many runs tell whether something changed.
const RUNS: u32 = 40;
/// How many events wait for a slow watcher.
const WAITING: usize = 4;

pub(super) fn routes(table: Table) -> Table {
    table
        .get("/events", Needs::Visitor, of_all)
        .get("/projects/{project}/events", Needs::Project(Right::Read), of_project)
        .get("/runs/{run}/events", Needs::Run(Right::Read), of_run)
}

/// Something that pages show.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Topic {
    /// The last runs of projects.
    Projects(Vec<ProjectId>),
    /// The last runs of one.
    Project(ProjectId),
    /// A run.
    Run(RunId),
}

impl Topic {
    /// Returns the topic of projects.
    pub(super) fn of(projects: &[Project]) -> Self {
        let mut ids: Vec<ProjectId> = projects.iter().map(|project| project.id).collect();
        ids.sort();
        Self::Projects(ids)
    }

    /// Returns a text that changes when the topic does.
    async fn state(&self, database: &Database, runs: &Live) -> Result<String, DatabaseError> {
        let mut text = String::new();
        let mut add = |run: &Run| {
            let (id, state, put_off) = (run.id.number(), run.state.name(), run.put_off_until);
            text.push_str(&format!("{id} {state} {} {put_off:?}\n", run.attempts));
        };
        match self {
            Self::Run(id) => {
                database.run(*id).await?.iter().for_each(&mut add);
                if let Some(run) = runs.run(*id) {
                    let builds: Vec<String> = run.builds.keys().map(ToString::to_string).collect();
                    text.push_str(&format!("{:?} {:?} {builds:?}", run.stage, run.counters));
                }
            }
            Self::Project(id) => database.runs(*id, RUNS).await?.iter().for_each(&mut add),
            Self::Projects(ids) => {
                let mut runs = database.running().await?;
                runs.extend(database.last_runs(RUNS).await?);
                runs.extend(database.queued(RUNS).await?);
                runs.iter()
                    .filter(|run| ids.binary_search(&run.project).is_ok())
                    .for_each(&mut add);
            }
        }
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        Ok(data_encoding::HEXLOWER.encode(&digest.as_ref()[..8]))
    }
}

/// Returns where a page watches a topic, given what is before `/events`.
pub(super) async fn live(app: &App, topic: Topic, path: &str) -> Result<String, DatabaseError> {
    let state = topic.state(&app.database, &app.live).await?;
    Ok(format!("{path}/events?seen={state}"))
}

/// What is watched at present. Clones share it.
#[derive(Clone, Default)]
pub(in crate::http) struct Watched(Arc<Mutex<HashMap<Topic, watch::Sender<String>>>>);

impl Watched {
    /// Watches a topic.
    fn watch(&self, database: &Database, runs: &Live, topic: &Topic) -> watch::Receiver<String> {
        let mut all = self.lock();
        if let Some(sender) = all.get(topic) {
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(String::new());
        all.insert(topic.clone(), sender);
        drop(all);
        tokio::spawn(look(self.clone(), database.clone(), runs.clone(), topic.clone()));
        receiver
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Topic, watch::Sender<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells a state to those who watch; returns whether anybody does.
    fn tell(&self, topic: &Topic, state: String) -> bool {
        let mut all = self.lock();
        let Some(sender) = all.get(topic) else { return false };
        let is_watched = sender.receiver_count() > 0;
        if is_watched {
            sender.send_if_modified(|known| {
                let is_new = *known != state;
                *known = state;
                is_new
            });
        } else {
            all.remove(topic);
        }
        is_watched
    }
}

/// Looks for a topic's state as long as somebody watches.
async fn look(watched: Watched, database: Database, runs: Live, topic: Topic) {
    loop {
        match topic.state(&database, &runs).await {
            Ok(state) => {
                if !watched.tell(&topic, state) {
                    return;
                }
            }
            Err(DatabaseError::Closed) => return,
            Err(error) => tracing::warn!(%error, "cannot look for what is watched"),
        }
        tokio::time::sleep(EVERY).await;
    }
}

#[derive(Debug, Deserialize)]
struct Asked {
    /// The state that the page shows.
    seen: Option<String>,
}

async fn of_all(
    State(app): State<App>,
    visitor: Visitor,
    whose: Whose,
    Query(asked): Query<Asked>,
) -> Result<Response, Refused> {
    let projects = app.readable(&visitor).await?;
    Ok(events(&app, whose, Topic::of(&projects), asked))
}

async fn of_project(
    State(app): State<App>,
    OfProject(project): OfProject,
    whose: Whose,
    Query(asked): Query<Asked>,
) -> Response {
    events(&app, whose, Topic::Project(project.id), asked)
}

async fn of_run(
    State(app): State<App>,
    OfRun(run, _): OfRun,
    whose: Whose,
    Query(asked): Query<Asked>,
) -> Response {
    events(&app, whose, Topic::Run(run.id), asked)
}

fn events(app: &App, whose: Whose, topic: Topic, asked: Asked) -> Response {
    let Some(place) = app.watchers.take(whose) else { return full() };
    let mut changes = app.watched.watch(&app.database, &app.live, &topic);
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let mut seen = asked.seen.unwrap_or_default();
        loop {
            let now = changes.borrow_and_update().clone();
            if !now.is_empty() && now != seen {
                seen = now;
                let event = Event::default().event("changed").data(seen.as_str());
                if sender.send(event).await.is_err() {
                    break;
                }
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { break },
                () = sender.closed() => break,
            }
        }
        drop(place);
    });
    stream(receiver)
}

/// Answers that too many watch, or whoever asks too much.
pub(super) fn full() -> Response {
    axum::http::StatusCode::SERVICE_UNAVAILABLE.into_response()
}

/// Answers with events, and with a sign of life now and then.
pub(super) fn stream(events: mpsc::Receiver<Event>) -> Response {
    use tokio_stream::StreamExt;
    let events = ReceiverStream::new(events).map(Ok::<_, Infallible>);
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response()
}
