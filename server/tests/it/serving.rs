//! The server at work, with a stand-in for the engine: what is looked at, carried out, stopped and gone on with.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use levain_actions::forge::webhook::Sender;
use levain_engine::cancel::Cancel;
use levain_server::Database;
use levain_server::approve::Trust;
use levain_server::counters::Counted;
use levain_server::deliveries::{Delivery, DeliveryState};
use levain_server::projects::{NewProject, Project, ProjectId};
use levain_server::reconcile::{Head, Heads, Unknown};
use levain_server::runs::state::{RunState, Verdict};
use levain_server::runs::{Ended, Owner};
use levain_server::serving::{Company, Running, Settings};
use levain_server::workshop::{Carried, HeadsError, Listed, Order, Workshop};

use crate::support::{GITHUB, databases, project};
use crate::work::{deliver, quick, settled, start, until};

/// What a run does when it is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    Succeeds,
    Panics,
    /// It ends only when it is stopped.
    Waits,
    /// Something is away, for so many more times.
    Hindered(u32),
}

#[derive(Default)]
struct State {
    /// By the project's name; nothing if listing fails.
    heads: BTreeMap<String, Option<Heads>>,
    course: BTreeMap<String, Course>,
    looks: usize,
    looking: BTreeMap<String, usize>,
    running: BTreeMap<(String, String), usize>,
    /// Jobset and commit of all that was begun, and of all that was stopped.
    begun: Vec<(String, String)>,
    stopped: Vec<(String, String)>,
}

/// A stand-in for forge, git and the engine.
#[derive(Default)]
struct Bench {
    state: Mutex<State>,
}

impl Bench {
    fn set(&self, project: &str, heads: Option<&[(&str, u64)]>) {
        let heads = heads.map(|list| {
            let head = |number: &u64| Head::branch(format!("{number:040x}").parse().unwrap());
            list.iter().map(|(name, number)| (name.parse().unwrap(), head(number))).collect()
        });
        self.state.lock().unwrap().heads.insert(project.to_owned(), heads);
    }

    fn course(&self, jobset: &str, course: Course) {
        self.state.lock().unwrap().course.insert(jobset.to_owned(), course);
    }

    fn looks(&self) -> usize {
        self.state.lock().unwrap().looks
    }

    fn begun(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let shown = |(jobset, commit): &(String, String)| {
            format!("{jobset} {}", commit.trim_start_matches('0'))
        };
        state.begun.iter().map(shown).collect()
    }
}

impl Workshop for Bench {
    fn heads(&self, project: &Project, cancel: &Cancel) -> Result<Listed, HeadsError> {
        while project.name.starts_with("silent") && !cancel.is_cancelled() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut state = self.state.lock().unwrap();
        state.looks += 1;
        let looking = state.looking.entry(project.name.clone()).or_default();
        *looking += 1;
        assert_eq!(*looking, 1, "looks at one project overlap");
        drop(state);
        std::thread::sleep(Duration::from_millis(5));
        let mut state = self.state.lock().unwrap();
        *state.looking.get_mut(&project.name).unwrap() -= 1;
        match state.heads.get(&project.name) {
            Some(Some(heads)) if project.name.starts_with("half") => Ok(Listed {
                heads: heads.clone(),
                unknown: Unknown { some_pull_request: true, ..Unknown::default() },
                without_pull_requests: Some("Gitea answered 500".to_owned()),
                ..Listed::default()
            }),
            Some(Some(heads)) => {
                let left_out = vec!["pull request 9, of a fork".to_owned()];
                Ok(Listed {
                    heads: heads.clone(),
                    left_out,
                    default_branch: Some("main".to_owned()),
                    ..Listed::default()
                })
            }
            Some(None) | None => Err(HeadsError { message: "nobody answers".into() }),
        }
    }

    fn carry_out(&self, order: &Order, cancel: &Cancel) -> Carried {
        let (project, jobset) = (order.project.name.clone(), order.run.jobset.to_string());
        let place = (jobset.clone(), order.run.commit.to_string());
        let mut state = self.state.lock().unwrap();
        let course = state.course.get(&jobset).copied().unwrap_or(Course::Succeeds);
        state.begun.push(place.clone());
        let running = state.running.entry((project.clone(), jobset.clone())).or_default();
        *running += 1;
        assert_eq!(*running, 1, "two runs of one jobset");
        drop(state);
        let at = (project.clone(), jobset.clone());
        let leave = || *self.state.lock().unwrap().running.get_mut(&at).unwrap() -= 1;
        match course {
            Course::Succeeds => {
                leave();
                Carried::Ended(Ended::new(Verdict::Succeeded, "1 clean"))
            }
            Course::Panics => {
                leave();
                panic!("a wrong turn")
            }
            Course::Hindered(times) => {
                let next = match times {
                    1 => Course::Succeeds,
                    times => Course::Hindered(times - 1),
                };
                self.course(&jobset, next);
                leave();
                Carried::Hindered { why: "cannot reach `x`".to_owned() }
            }
            Course::Waits => {
                let told = Arc::new((Mutex::new(false), Condvar::new()));
                let teller = Arc::clone(&told);
                cancel.on_cancel(move || {
                    *teller.0.lock().unwrap() = true;
                    teller.1.notify_all();
                });
                let mut is_told = told.0.lock().unwrap();
                while !*is_told {
                    is_told = told.1.wait(is_told).unwrap();
                }
                // Ending in order takes a while.
                std::thread::sleep(Duration::from_millis(50));
                self.state.lock().unwrap().stopped.push(place);
                leave();
                Carried::Stopped
            }
        }
    }
}

/// How long runs wait that something away keeps from being carried out.
const PUT_OFF: [Duration; 3] = [Duration::from_millis(20); 3];

fn patient() -> Settings {
    Settings { patience: Duration::from_secs(20), put_off: &PUT_OFF, ..quick() }
}

async fn serve(database: &Database, bench: &Arc<Bench>, settings: Settings) -> Running {
    start(database, Arc::clone(bench) as _, settings).await
}

/// Delivers that a ref moved, as the route does.
async fn push(database: &Database, project: ProjectId, key: &str, reference: &str) -> Delivery {
    let body = format!(
        r#"{{"ref": "{reference}", "repository": {{"id": 1, "full_name": "o/r"}}, "sender": {{"id": 2}}}}"#
    );
    let id = deliver(database, project, key, "push", body).await;
    database.delivery(id).await.unwrap().unwrap()
}

async fn states(database: &Database, project: ProjectId) -> Vec<(String, RunState)> {
    let mut runs = database.runs(project, 100).await.unwrap();
    runs.reverse();
    let shown = |commit: String| commit.trim_start_matches('0').to_owned();
    runs.into_iter()
        .map(|run| (format!("{} {}", run.jobset, shown(run.commit.to_string())), run.state))
        .collect()
}

fn row(name: &str, state: RunState) -> (String, RunState) {
    (name.to_owned(), state)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_leads_to_a_run_and_duplicates_to_none() {
    for test in databases().await {
        let database = test.open().await;
        let id = project(&database, "a", GITHUB).await.id;
        let bench = Arc::new(Bench::default());
        bench.set("a", Some(&[("heads/main", 1)]));
        let running = serve(&database, &bench, patient()).await;
        until("the first look builds what is there", async || {
            states(&database, id).await == [row("heads/main 1", RunState::Succeeded)]
        })
        .await;
        bench.set("a", Some(&[("heads/main", 2)]));
        let first = push(&database, id, "k1", "refs/heads/main").await;
        running.arrived().notify_one();
        let outcome = settled(&database, first.id).await.outcome.unwrap();
        assert!(outcome.contains(" of heads/main at 000000000000"), "{outcome}");
        assert!(outcome.contains("left out: pull request 9, of a fork"), "{outcome}");
        for key in ["k1", "k2"] {
            let again = push(&database, id, key, "refs/heads/main").await;
            let settled = settled(&database, again.id).await;
            assert_eq!(settled.state, DeliveryState::Acted);
        }
        let both =
            [row("heads/main 1", RunState::Succeeded), row("heads/main 2", RunState::Succeeded)];
        until("both ended", async || states(&database, id).await == both).await;
        running.stop().await;
        let run = database.runs(id, 1).await.unwrap().remove(0);
        assert_eq!(run.summary.as_deref(), Some("1 clean"));
        assert!(run.ended_at >= run.started_at && run.started_at.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn own_pushes_and_what_is_no_branch_start_nothing() {
    for test in databases().await {
        let database = test.open().await;
        let id = project(&database, "a", GITHUB).await.id;
        let bench = Arc::new(Bench::default());
        bench.set("a", Some(&[]));
        let running = serve(&database, &bench, patient()).await;
        until("the first look", async || bench.looks() == 1).await;
        for (key, reference) in
            [("1", "refs/levain/heads/main"), ("2", "refs/tags/v1"), ("3", "refs/notes/x")]
        {
            let delivery = push(&database, id, key, reference).await;
            let delivery = settled(&database, delivery.id).await;
            assert_eq!(delivery.state, DeliveryState::Ignored);
            assert_eq!(
                delivery.outcome.unwrap(),
                match reference {
                    "refs/tags/v1" => "the tag `refs/tags/v1` is not built".to_owned(),
                    _ => format!("`{reference}` is no branch"),
                }
            );
        }
        let unreadable = push(&database, id, "4", "main").await;
        assert_eq!(settled(&database, unreadable.id).await.state, DeliveryState::Failed);
        running.stop().await;
        assert_eq!(bench.looks(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_delivered_is_found() {
    for test in databases().await {
        let database = test.open().await;
        let id = project(&database, "a", GITHUB).await.id;
        let bench = Arc::new(Bench::default());
        bench.set("a", Some(&[("heads/main", 1)]));
        let settings = Settings { look_every: Duration::from_millis(100), ..patient() };
        let running = serve(&database, &bench, settings).await;
        until("the first run", async || bench.begun() == ["heads/main 1"]).await;
        bench.set("a", Some(&[("heads/main", 1), ("heads/topic", 2)]));
        until("the second run", async || bench.begun() == ["heads/main 1", "heads/topic 2"]).await;
        // A project that is added while the server runs is found as well.
        let other = project(&database, "b", Sender::Git).await.id;
        bench.set("b", Some(&[("heads/main", 3)]));
        until("the other project", async || {
            states(&database, other).await == [row("heads/main 3", RunState::Succeeded)]
        })
        .await;
        running.stop().await;
        assert_eq!(states(&database, id).await.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_are_built_though_pull_requests_cannot_be_listed() {
    for test in databases().await {
        let database = test.open().await;
        let id = project(&database, "half", GITHUB).await.id;
        let fork = Head::new(format!("{:040x}", 7).parse().unwrap(), Trust::Fork);
        let pull = Heads::from([("pull/7".parse().unwrap(), fork)]);
        let last = database.last_note(id).await.unwrap();
        database.note_heads(id, last, pull.clone()).await.unwrap().unwrap();
        let bench = Arc::new(Bench::default());
        bench.set("half", Some(&[("heads/main", 1)]));
        let running = serve(&database, &bench, patient()).await;
        until("it runs", async || bench.begun() == ["heads/main 1"]).await;
        let delivery = push(&database, id, "1", "refs/heads/main").await;
        let delivery = settled(&database, delivery.id).await;
        assert_eq!(delivery.state, DeliveryState::Acted);
        let looks = bench.looks();
        until("it is tried again soon", async || bench.looks() > looks).await;
        let heads = database.heads(id).await.unwrap();
        assert_eq!(heads.len(), 2, "{heads:?}");
        let (name, head) = pull.first_key_value().unwrap();
        assert_eq!(heads[name].commit, head.commit);
        let shown = database.project(id).await.unwrap().unwrap();
        assert_eq!(shown.look_failed.as_deref(), Some("Gitea answered 500"));
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_fails_changes_nothing_and_is_tried_again() {
    for test in databases().await {
        let database = test.open().await;
        let id = project(&database, "a", GITHUB).await.id;
        let bench = Arc::new(Bench::default());
        bench.set("a", Some(&[("heads/main", 1)]));
        bench.course("heads/main", Course::Waits);
        let running = serve(&database, &bench, patient()).await;
        until("it runs", async || bench.begun() == ["heads/main 1"]).await;
        bench.set("a", None);
        database.note_public(id, true).await.unwrap();
        let delivery = push(&database, id, "1", "refs/heads/main").await;
        let looks = bench.looks();
        until("it is tried more than once", async || bench.looks() >= looks + 3).await;
        let waiting = database.delivery(delivery.id).await.unwrap().unwrap();
        assert_eq!(waiting.state, DeliveryState::Waiting);
        let shown = database.project(id).await.unwrap().unwrap();
        assert_eq!(shown.look_failed.as_deref(), Some("nobody answers"));
        assert!(!shown.is_public, "nobody says that it still is");
        assert_eq!(states(&database, id).await, [row("heads/main 1", RunState::Running)]);
        bench.set("a", Some(&[("heads/main", 1)]));
        let outcome = settled(&database, waiting.id).await.outcome.unwrap();
        assert!(outcome.starts_with("nothing is new"), "{outcome}");
        until("that is noted", async || {
            let shown = database.project(id).await.unwrap().unwrap();
            shown.look_failed.is_none() && shown.looked_at.is_some()
        })
        .await;
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_push_stops_the_older_run_and_waits_for_its_end() {
    for test in databases().await {
        let database = test.open().await;
        let id = project(&database, "a", GITHUB).await.id;
        let bench = Arc::new(Bench::default());
        bench.set("a", Some(&[("heads/main", 1)]));
        bench.course("heads/main", Course::Waits);
        let running = serve(&database, &bench, patient()).await;
        until("it runs", async || bench.begun() == ["heads/main 1"]).await;
        bench.course("heads/main", Course::Succeeds);
        bench.set("a", Some(&[("heads/main", 2)]));
        push(&database, id, "1", "refs/heads/main").await;
        running.arrived().notify_one();
        let ended =
            [row("heads/main 1", RunState::Superseded), row("heads/main 2", RunState::Succeeded)];
        // The stand-in fails if two of one jobset run at a time.
        until("the newer one took its place", async || states(&database, id).await == ended).await;
        assert_eq!(bench.state.lock().unwrap().stopped.len(), 1);
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_its_run_alone() {
    for test in databases().await {
        let database = test.open().await;
        let id = project(&database, "a", GITHUB).await.id;
        let bench = Arc::new(Bench::default());
        bench.set("a", Some(&[("heads/bad", 1), ("heads/good", 2)]));
        bench.course("heads/bad", Course::Panics);
        let running = serve(&database, &bench, patient()).await;
        let ended =
            [row("heads/bad 1", RunState::Errored), row("heads/good 2", RunState::Succeeded)];
        until("both ended", async || states(&database, id).await == ended).await;
        running.stop().await;
        let runs = database.runs(id, 2).await.unwrap();
        let summary = runs[1].summary.clone().unwrap();
        assert!(summary.contains("a wrong turn") && summary.contains("hint: "), "{summary}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_something_away_keeps_from_being_carried_out_is_tried_again_and_not_for_ever() {
    for test in databases().await {
        let database = test.open().await;
        let id = project(&database, "a", GITHUB).await.id;
        let bench = Arc::new(Bench::default());
        bench.set("a", Some(&[("heads/briefly", 1), ("heads/long", 2)]));
        bench.course("heads/briefly", Course::Hindered(3));
        bench.course("heads/long", Course::Hindered(9));
        let running = serve(&database, &bench, patient()).await;
        let ended =
            [row("heads/briefly 1", RunState::Succeeded), row("heads/long 2", RunState::Errored)];
        until("both ended", async || states(&database, id).await == ended).await;
        running.stop().await;
        let runs = database.runs(id, 2).await.unwrap();
        let summary = runs[0].summary.clone().unwrap();
        assert_eq!(summary, "cannot reach `x` (4 times: run it again when that is mended)");
        let counters = database.counters();
        assert_eq!(counters.get(Counted::RunPutOff), 6);
        assert_eq!(counters.get(Counted::RunErrored), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_leaves_its_runs_to_the_next() {
    for test in databases().await {
        let database = test.open().await;
        let id = project(&database, "a", GITHUB).await.id;
        let bench = Arc::new(Bench::default());
        bench.set("a", Some(&[("heads/main", 1)]));
        bench.course("heads/main", Course::Waits);
        let running = serve(&database, &bench, patient()).await;
        until("it runs", async || bench.begun().len() == 1).await;
        let started = std::time::Instant::now();
        running.stop().await;
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        assert_eq!(states(&database, id).await, [row("heads/main 1", RunState::Queued)]);
        bench.course("heads/main", Course::Succeeds);
        let running = serve(&database, &bench, patient()).await;
        let ended = [row("heads/main 1", RunState::Succeeded)];
        until("it ended", async || states(&database, id).await == ended).await;
        running.stop().await;
        assert_eq!(database.runs(id, 1).await.unwrap()[0].attempts, 1);
    }
}

/// Nothing is closed: the loops go, and what they had begun is left as it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_is_gone_on_with() {
    for test in databases().await {
        let mut projects = Vec::new();
        let bench = Arc::new(Bench::default());
        for name in ["a", "b", "c"] {
            let database = test.open().await;
            projects.push(project(&database, name, GITHUB).await.id);
            bench.set(name, Some(&[("heads/main", 1), ("pull/7", 2)]));
        }
        let database = test.open().await;
        bench.course("pull/7", Course::Waits);
        bench.course("heads/main", Course::Waits);
        let running = serve(&database, &bench, patient()).await;
        until("two run", async || bench.begun().len() == 2).await;
        drop(running);
        let delivery = push(&database, projects[0], "1", "refs/heads/main").await;
        // As the engine's own lock would: what the killed server had begun is gone.
        let bench = Arc::new(Bench::default());
        for name in ["a", "b", "c"] {
            bench.set(name, Some(&[("heads/main", 1), ("pull/7", 2)]));
        }
        let database = test.open().await;
        let running = serve(&database, &bench, patient()).await;
        assert_eq!(settled(&database, delivery.id).await.state, DeliveryState::Acted);
        let ended =
            [row("heads/main 1", RunState::Succeeded), row("pull/7 2", RunState::Succeeded)];
        for id in projects {
            until("all ended", async || states(&database, id).await == ended).await;
        }
        running.stop().await;
        assert_eq!(bench.begun().len(), 6);
    }
}

/// Each has a stand-in of its own, as processes on two machines have; both look and build at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn servers_share_the_work_of_one_database() {
    for test in databases().await {
        let database = test.open().await;
        let mut projects = Vec::new();
        for number in 0..6 {
            projects.push(project(&database, &number.to_string(), GITHUB).await.id);
        }
        let mut servers = Vec::new();
        for _ in 0..2 {
            let bench = Arc::new(Bench::default());
            for number in 0..6 {
                let heads = [("heads/main", 1), ("heads/topic", 2), ("pull/7", 3)];
                bench.set(&number.to_string(), Some(&heads));
            }
            let workshop: Arc<dyn Workshop> = Arc::clone(&bench) as Arc<dyn Workshop>;
            let owner = Owner::unique().unwrap();
            let (database, company) = (test.open().await, Company::Others);
            let settings = Settings { look_every: Duration::from_millis(50), ..patient() };
            let running = Running::start(database, workshop, owner, company, settings);
            servers.push((bench, running.await.unwrap()));
        }
        for id in projects {
            until("all ended", async || {
                let states = states(&database, id).await;
                states.len() == 3 && states.iter().all(|(_, state)| *state == RunState::Succeeded)
            })
            .await;
        }
        let mut begun = 0;
        for (bench, running) in servers {
            running.stop().await;
            begun += bench.begun().len();
        }
        assert_eq!(begun, 18, "each once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_workers_leaves_runs_to_others() {
    // Nobody shares the other kind.
    let test = databases().await.remove(1);
    let database = test.open().await;
    let id = project(&database, "a", GITHUB).await.id;
    let (front, back) = (Arc::new(Bench::default()), Arc::new(Bench::default()));
    front.set("a", Some(&[("heads/main", 1)]));
    let begin = async |bench: &Arc<Bench>, settings: Settings| {
        let workshop: Arc<dyn Workshop> = Arc::clone(bench) as Arc<dyn Workshop>;
        let (owner, company) = (Owner::unique().unwrap(), Company::Others);
        Running::start(test.open().await, workshop, owner, company, settings).await.unwrap()
    };
    let only_front = begin(&front, Settings { workers: 0, ..patient() }).await;
    until("it looks", async || {
        states(&database, id).await == [row("heads/main 1", RunState::Queued)]
    })
    .await;
    let with_workers = begin(&back, patient()).await;
    until("the other one carries it out", async || {
        states(&database, id).await == [row("heads/main 1", RunState::Succeeded)]
    })
    .await;
    assert_eq!(front.begun(), Vec::<String>::new());
    assert_eq!(back.begun(), ["heads/main 1"]);
    only_front.stop().await;
    with_workers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_never_answers_does_not_keep_the_others_from_being_looked_at() {
    for test in databases().await {
        let database = test.open().await;
        for number in 0..20 {
            let url = format!("https://silent.example.org/o/r{number}");
            let new = NewProject::new(format!("silent-{number}"), Sender::Git, url);
            database.add_project(new).await.unwrap();
        }
        let other = project(&database, "a", Sender::Git).await.id;
        let bench = Arc::new(Bench::default());
        bench.set("a", Some(&[("heads/main", 1)]));
        let running = serve(&database, &bench, patient()).await;
        until("the other host is looked at", async || {
            states(&database, other).await == [row("heads/main 1", RunState::Succeeded)]
        })
        .await;
        running.stop().await;
    }
}
