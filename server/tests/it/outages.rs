//! What is away for a while ends nothing for good: the database, or whatever a run cannot do without.

use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use levain_actions::status::State;
use levain_engine::state::State as Files;
use levain_evaluator::JobsetName;
use levain_server::approve::Trust;
use levain_server::projects::NewProject;
use levain_server::reconcile::{Head, Heads};
use levain_server::records::in_database;
use levain_server::runs::state::{MOST_ATTEMPTS, RunState, Verdict};
use levain_server::runs::{Ended, LEASE, Owner};
use levain_server::{Database, clock::Timestamp};
use tempfile::TempDir;
use tokio::runtime::Handle;

use crate::support::{GITHUB, TestDatabase, databases, note, now, project};

const WAITS: &[Duration] = &[Duration::from_secs(5), Duration::from_secs(25)];
const WHY: &str = "cannot reach `https://git.example.org/o/r`";

fn heads() -> Heads {
    let head = Head::new("a".repeat(40).parse().unwrap(), Trust::Own);
    [("heads/main".parse().unwrap(), head)].into()
}

fn main() -> JobsetName {
    "heads/main".parse().unwrap()
}

fn owner(name: &str) -> Owner {
    Owner::new(name)
}

fn fine() -> Ended {
    Ended::new(Verdict::Succeeded, "1 clean")
}

async fn claim(database: &Database, name: &str, at: Timestamp) -> levain_server::runs::Run {
    database.claim_run(owner(name), at, &[]).await.unwrap().unwrap()
}

#[tokio::test]
async fn what_is_away_is_waited_for_and_the_forge_is_told_why() {
    for test in databases().await {
        let database = test.open().await;
        let new = NewProject {
            token_file: Some("/run/secrets/token".into()),
            ..NewProject::new("a", GITHUB, "https://git.example.org/o/r")
        };
        let id = database.add_project(new).await.unwrap().id;
        let run = note(&database, id, heads()).await.queued[0];
        let put_off = async |at| {
            let put_off = database.put_off_run(run, owner("a"), WHY.to_owned(), WAITS, at);
            put_off.await.unwrap()
        };
        let status = async || database.statuses_of_run(run).await.unwrap().remove(0);
        let mut time = now();
        assert_eq!(put_off(time).await, None, "nobody carries it out");
        for (before, wait) in (0..).zip(WAITS) {
            let claimed = claim(&database, "a", time).await;
            assert_eq!(
                (claimed.attempts, claimed.put_off),
                (1, before),
                "it was not begun too often"
            );
            assert_eq!(put_off(time).await, Some(RunState::Queued));
            let kept = database.run(run).await.unwrap().unwrap();
            assert_eq!(
                (kept.state, kept.put_off_until),
                (RunState::Queued, Some(time.after(*wait)))
            );
            let line = kept.line().unwrap();
            assert!(line.starts_with("tried again at 20") && line.ends_with(WHY), "{line}");
            let told = status().await;
            assert_eq!(told.state, State::Pending);
            assert_eq!(told.description, format!("waiting: {line}"));
            let just_before = time.after(*wait - Duration::from_millis(1));
            assert_eq!(database.claim_run(owner("a"), just_before, &[]).await.unwrap(), None);
            time = time.after(*wait);
        }
        claim(&database, "a", time).await;
        assert_eq!(put_off(time).await, Some(RunState::Errored));
        let kept = database.run(run).await.unwrap().unwrap();
        assert_eq!((kept.state, kept.put_off_until), (RunState::Errored, None));
        let line = kept.line().unwrap();
        assert_eq!(line, format!("{WHY} (3 times: run it again when that is mended)"));
        let told = status().await;
        assert_eq!((told.state, told.description), (State::Error, line));
        assert_eq!(put_off(time).await, None, "an end is an end");
    }
}

#[tokio::test]
async fn whoever_wants_it_now_need_not_wait() {
    for test in databases().await {
        let database = test.open().await;
        let id = project(&database, "a", GITHUB).await.id;
        let run = note(&database, id, heads()).await.queued[0];
        let time = now();
        claim(&database, "a", time).await;
        database.put_off_run(run, owner("a"), WHY.to_owned(), WAITS, time).await.unwrap();
        assert_eq!(database.claim_run(owner("a"), time, &[]).await.unwrap(), None);
        assert_eq!(database.run_again(id, main()).await.unwrap(), Some(run));
        let again = claim(&database, "a", time).await;
        assert_eq!((again.id, again.put_off, again.line()), (run, 0, None));
        // One that is stopped meanwhile is not tried again.
        assert!(database.cancel_run(run).await.unwrap());
        let late = database.put_off_run(run, owner("a"), WHY.to_owned(), WAITS, time);
        assert_eq!(late.await.unwrap(), None);
        let kept = database.run(run).await.unwrap().unwrap();
        assert_eq!((kept.state, kept.line()), (RunState::Cancelled, None));
        // And its jobset is free.
        let next = database.run_again(id, main()).await.unwrap().unwrap();
        assert_eq!(claim(&database, "b", time).await.id, next);
    }
}

/// Only servers that are never heard of again can have gone down with a run.
#[tokio::test]
async fn whoever_lost_a_run_and_is_heard_of_after_all_did_not_go_down_with_it() {
    for test in databases().await {
        let database = test.open().await;
        let id = project(&database, "a", GITHUB).await.id;
        let run = note(&database, id, heads()).await.queued[0];
        // So late that it is lost even where that ends it.
        let late = LEASE * 2 + Duration::from_secs(1);
        let mut time = now();
        let mut lose = async |name: &str| {
            let claimed = claim(&database, name, time).await;
            time = time.after(late);
            assert_eq!(database.take_lost_runs(time).await.unwrap(), [run]);
            (claimed.attempts, time)
        };
        // As a server says in each of these ways.
        for round in 0..MOST_ATTEMPTS * 2 {
            let (attempts, _) = lose("a").await;
            assert_eq!(attempts, 1, "{round}");
            match round % 4 {
                0 => assert!(!database.give_back_run(run, owner("a")).await.unwrap()),
                1 => assert!(!database.end_run(run, owner("a"), fine()).await.unwrap()),
                2 => {
                    let why = WHY.to_owned();
                    let put_off = database.put_off_run(run, owner("a"), why, WAITS, now());
                    assert_eq!(put_off.await.unwrap(), None);
                }
                // It takes it once more.
                _ => {}
            }
        }
        // Saying so twice, or without having lost it, changes nothing.
        for name in ["a", "a", "b"] {
            assert!(!database.give_back_run(run, owner(name)).await.unwrap());
        }
        let kept = database.run(run).await.unwrap().unwrap();
        assert_eq!((kept.state, kept.attempts), (RunState::Queued, 0));
        // It is the number of those that are gone that counts, whoever came back in between.
        for (name, attempts) in [("c", 1), ("a", 2), ("d", 2)] {
            assert_eq!(lose(name).await.0, attempts);
            assert!(!database.give_back_run(run, owner("a")).await.unwrap());
        }
        assert_eq!(lose("e").await.0, 3);
        let kept = database.run(run).await.unwrap().unwrap();
        assert_eq!(kept.state, RunState::Errored);
        assert!(!database.give_back_run(run, owner("e")).await.unwrap());
        let kept = database.run(run).await.unwrap().unwrap();
        assert_eq!((kept.state, kept.attempts), (RunState::Errored, 3), "an end is an end");
    }
}

/// What is between a server and PostgreSQL, and can be closed.
struct Gate {
    url: String,
    state: Arc<Mutex<Passing>>,
    _directory: TempDir,
}

#[derive(Default)]
struct Passing {
    is_closed: bool,
    streams: Vec<UnixStream>,
    refused: usize,
}

impl Gate {
    fn new(test: &TestDatabase) -> Self {
        let (host, name) = test.text.rsplit_once('/').unwrap();
        let (_, host) = host.rsplit_once('@').unwrap();
        let socket = PathBuf::from(host.replace("%2F", "/")).join(".s.PGSQL.5432");
        let directory = tempfile::tempdir_in("/tmp").unwrap();
        let listener = UnixListener::bind(directory.path().join(".s.PGSQL.5432")).unwrap();
        let state: Arc<Mutex<Passing>> = Arc::default();
        let passing = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let mut state = passing.lock().unwrap();
                if state.is_closed {
                    state.refused += 1;
                    continue;
                }
                let server = UnixStream::connect(&socket).unwrap();
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || {
                        drop(std::io::copy(&mut from, &mut to));
                        drop(to.shutdown(Shutdown::Both));
                    });
                }
                state.streams.extend([client, server]);
            }
        });
        let host = directory.path().display().to_string().replace('/', "%2F");
        Self { url: format!("postgres://levain@{host}/{name}"), state, _directory: directory }
    }

    fn close(&self) {
        let mut state = self.state.lock().unwrap();
        state.is_closed = true;
        for stream in state.streams.drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    fn open(&self) {
        self.state.lock().unwrap().is_closed = false;
    }

    /// Returns how many were turned away.
    fn refused(&self) -> usize {
        self.state.lock().unwrap().refused
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_waits_for_a_database_that_is_away_for_a_moment() {
    let test = databases().await.remove(1);
    let gate = Gate::new(&test);
    let database = Database::open(&gate.url.parse().unwrap()).await.unwrap();
    let open = in_database(database.clone(), Handle::current(), "https://example.org/o/r".into());
    let directory = tempfile::tempdir().unwrap();
    let files = Files::of(directory.path());
    let asked = tokio::task::spawn_blocking(move || {
        let writer = files.lock().unwrap();
        let records = open(&files, Some(&writer)).unwrap();
        (records, writer)
    });
    let (records, writer) = asked.await.unwrap();
    gate.close();
    let before = gate.refused();
    let asking = std::thread::spawn(move || {
        let allowed = records.allow(&writer, &"a".into());
        (allowed, records.marks())
    });
    // Somebody was turned away, and comes back.
    while gate.refused() < before + 2 && !asking.is_finished() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gate.open();
    let (allowed, marks) = tokio::task::spawn_blocking(|| asking.join().unwrap()).await.unwrap();
    assert!(!allowed.unwrap());
    assert_eq!(marks.unwrap(), []);
    // What the database refuses is not waited for.
    let mut connection = test.connect().await;
    sqlx::Executor::execute(&mut connection, "DROP TABLE dropped_caches").await.unwrap();
    let open = in_database(database, Handle::current(), "https://example.org/o/r".into());
    let directory = tempfile::tempdir().unwrap();
    let refused = tokio::task::spawn_blocking(move || {
        let files = Files::of(directory.path());
        let writer = files.lock().unwrap();
        let records = open(&files, Some(&writer)).unwrap();
        records.marks().unwrap_err().may_pass()
    });
    assert!(!refused.await.unwrap());
}
