//! Caches on their page: how big they are, who may drop them, and what is remembered of that.

use std::sync::Arc;

use levain_engine::records::{
    Jobsets, Mark, NewSuccess, OpenRecords, RecordedCache, StoredEntry, Success,
};
use levain_engine::state::{State, StateWriter};
use levain_evaluator::pointer::Tier;
use levain_evaluator::{JobName, JobsetName};
use levain_server::Database;
use levain_server::http::Sizes;
use levain_server::projects::Project;
use levain_server::records::in_database;
use levain_server::runs::state::Verdict;
use levain_store::DerivationPath;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::listening::{Forge, Listening, account, signed_in, token};
use crate::sample::{self, Filling};
use crate::support::{databases, now};

const JOB: &str = "x86_64-linux.parser";
const OTHER: &str = "x86_64-linux.crust";
const BASE: &str = "prwm9syyq3qlrywj4hir7c92gf7kbl1q-parser.drv";

/// What runs of a project remember.
struct Remembered {
    open: Arc<OpenRecords>,
    state: State,
    writer: Arc<StateWriter>,
    _directory: tempfile::TempDir,
}

impl Remembered {
    fn of(database: &Database, project: &Project) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = State::of(directory.path());
        let writer = Arc::new(state.lock().unwrap());
        let open = in_database(database.clone(), Handle::current(), project.url.clone());
        Self { open, state, writer, _directory: directory }
    }

    /// Does something with the records, on a thread that may wait.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn levain_engine::records::Records, &StateWriter) -> T + Send + 'static,
    ) -> T {
        let (open, state) = (Arc::clone(&self.open), self.state.clone());
        let writer = Arc::clone(&self.writer);
        tokio::task::spawn_blocking(move || {
            let records = open(&state, Some(&writer)).unwrap();
            work(records.as_ref(), &writer)
        })
        .await
        .unwrap()
    }

    /// Records what a branch, a pull request and a clean build made of a job, at a time.
    async fn fill(&self, time: u64) {
        self.with(move |records, writer| {
            let base: DerivationPath = BASE.parse().unwrap();
            let success = Success {
                built: format!("/nix/store/{BASE}"),
                outputs: [].into(),
                commit: "2".repeat(40).parse().unwrap(),
                time,
                tier: Tier::Branch,
                job: JOB.into(),
                cache: RecordedCache::Entry(StoredEntry::from("{ entry = { }; }\n".to_owned())),
            };
            let makers =
                [None, Some(JobsetName::branch("main")), Some(JobsetName::pull_request(7))];
            for maker in &makers {
                let new =
                    NewSuccess { base: &base, maker: maker.as_ref(), success: &success, key: None };
                records.add_success(writer, &new).unwrap();
            }
        })
        .await;
    }

    /// Returns whose successes are known, and whether something may start from that of a clean build.
    async fn left(&self) -> (Vec<String>, bool) {
        self.with(|records, _| {
            let base: DerivationPath = BASE.parse().unwrap();
            let known = records.successes(&[base.clone()].into()).unwrap().remove(&base).unwrap();
            let makers = known.incremental.keys().map(ToString::to_string).collect();
            (makers, matches!(known.clean.unwrap().cache, RecordedCache::Entry(_)))
        })
        .await
    }

    /// Returns until when the job's caches are dropped by a mark of its own.
    async fn dropped(&self) -> Vec<(Jobsets, u64)> {
        let marks = self.with(|records, _| records.marks().unwrap()).await;
        let mut dropped: Vec<_> = marks
            .into_iter()
            .filter_map(|mark| match mark {
                Mark::Until { jobset, job: Some(job), time } if job.as_str() == JOB => {
                    Some((jobset, time))
                }
                Mark::Until { .. } | Mark::Off { .. } => None,
            })
            .collect();
        dropped.sort();
        dropped
    }
}

/// A server with a public project, its people, and what its runs remember.
struct World {
    server: Listening,
    remembered: Remembered,
    reader: String,
    writer: String,
    program: String,
    _forge: Forge,
}

impl World {
    async fn new(database: &Database) -> Self {
        let forge = Forge::new(database).await;
        let project = forge.project(database, "bread", true).await;
        for (login, id, permission) in [("reader", 2, "read"), ("writer", 3, "write")] {
            forge.permit("bread", login, id, permission).await;
        }
        // One of two paths is gone.
        let sizes = Sizes::new(|paths| {
            paths.iter().enumerate().map(|(place, _)| (place == 0).then_some(48_190_000)).collect()
        });
        let server = Listening::with(database, |site| site.sizes = sizes).await;
        let mut filling = Filling::of(database, project.id);
        let jobs = vec![sample::job(JOB, "incremental"), sample::job(OTHER, "clean")];
        let report = Some(sample::report(jobs));
        filling.run("heads/main", Verdict::Succeeded, "1 incremental, 1 clean", report).await;
        let later = now().after(std::time::Duration::from_secs(600));
        let remembered = Remembered::of(database, &project);
        let reader = signed_in(database, &forge, account("reader", 2)).await;
        let writer = signed_in(database, &forge, account("writer", 3)).await;
        let program =
            token(database, "write", levain_actions::forge::Right::Write, None, later).await;
        Self { server, remembered, reader, writer, program, _forge: forge }
    }

    async fn page(&self, cookie: &str) -> String {
        let page = self.server.get("/projects/bread/cache", &[("cookie", cookie)]).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.body);
        page.body
    }

    async fn twin(&self) -> Value {
        let page = self.server.get("/projects/bread/cache.json", &[]).await;
        serde_json::from_str(&page.body).unwrap()
    }

    /// Sends JSON as a program does.
    async fn send(&self, path: &str, body: &Value) -> (StatusCode, String) {
        let lines =
            [("authorization", self.program.as_str()), ("content-type", "application/json")];
        let answer = self.server.ask(&reqwest::Method::POST, path, &lines, &body.to_string()).await;
        (answer.status, answer.body)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_write_drops_caches_and_nobody_else() {
    for test in databases().await {
        let database = test.open().await;
        let world = World::new(&database).await;
        let far = u64::try_from(now().millis() / 1_000).unwrap() + 9_000;
        world.remembered.fill(far).await;
        let all = || vec!["heads/main".to_owned(), "pull/7".to_owned()];
        let form = format!("job={JOB}&jobset=heads%2Fmain&from=jobset");
        let path = "/projects/bread/cache/drop";
        let refused = world.server.post(path, &[("cookie", &world.reader)], &form).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
        assert_eq!(world.remembered.left().await, (all(), true));
        assert!(!world.page(&world.reader).await.contains("<button"), "offered to a reader");
        let offered = world.page(&world.writer).await;
        assert!(offered.contains("action=\"/projects/bread/cache/drop\""), "{offered}");

        let done = world.server.post(path, &[("cookie", &world.writer)], &form).await;
        assert_eq!(done.status, StatusCode::SEE_OTHER, "{done:?}");
        assert_eq!(done.header("location"), Some("/projects/bread/cache?jobset=heads%2Fmain"));
        // Here, and what anybody may start from; not what the pull request made.
        assert_eq!(world.remembered.left().await, (vec!["pull/7".to_owned()], false));
        // Also what was made by a clock that is ahead.
        let here = Jobsets::One(JobsetName::branch("main"));
        assert_eq!(world.remembered.dropped().await, [(here.clone(), far)]);
        let twin = world.twin().await;
        assert_eq!(twin["pointers"][0]["job"]["name"]["text"], JOB);
        assert!(twin["pointers"][0]["dropped"]["iso"].is_string(), "{twin:#}");

        world.remembered.fill(far + 1).await;
        let everywhere = form.replace("from=jobset", "from=all");
        let done = world.server.post(path, &[("cookie", &world.writer)], &everywhere).await;
        assert_eq!(done.status, StatusCode::SEE_OTHER, "{done:?}");
        assert_eq!(world.remembered.left().await, (Vec::new(), false));
        assert_eq!(world.remembered.dropped().await, [(Jobsets::All, far + 1), (here, far)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dropped_where_it_was_made_shows_where_it_is_shared() {
    for test in databases().await {
        let database = test.open().await;
        let world = World::new(&database).await;
        let project = database.project_named("bread").await.unwrap().unwrap();
        let mut filling = Filling::of(&database, project.id);
        // A topic whose pointers name what main made.
        let shared = |name: &str| {
            let mut job = sample::job(name, "fresh");
            let maker = json!({ "jobset": "heads/main", "job": name });
            job["pointer"] =
                json!({ "path": "/nix/store/x-cache", "moved": false, "time": 5, "maker": maker });
            job
        };
        let report = Some(sample::report(vec![shared(JOB), shared(OTHER)]));
        filling.run("heads/topic", Verdict::Succeeded, "2 unchanged", report).await;
        let dropped = async || {
            let page = world.server.get("/projects/bread/cache.json?jobset=heads/topic", &[]).await;
            let page: Value = serde_json::from_str(&page.body).unwrap();
            let rows = page["pointers"].as_array().unwrap().iter();
            let dropped = rows.filter(|row| row["dropped"].is_object());
            dropped
                .map(|row| row["job"]["name"]["text"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(dropped().await, [""; 0]);
        let path = "/api/v1/projects/bread/cache/drop";
        let done = world.send(path, &json!({ "job": JOB, "jobset": "heads/main" })).await;
        assert_eq!(done.0, StatusCode::OK);
        assert_eq!(dropped().await, [JOB]);
        let done = world.send(path, &json!({ "job": OTHER, "jobset": "pull/7" })).await;
        assert_eq!(done.0, StatusCode::OK);
        assert_eq!(dropped().await, [JOB], "nobody here uses what that made");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_drop_and_allow_caches() {
    for test in databases().await {
        let database = test.open().await;
        let world = World::new(&database).await;
        world.remembered.fill(5).await;
        let (path, other) = ("/api/v1/projects/bread/cache/drop", json!("pull/7"));
        let done = world.send(path, &json!({ "job": JOB, "jobset": other })).await;
        assert_eq!(done, (StatusCode::OK, "{\"forgotten\":1}".to_owned()));
        assert_eq!(world.remembered.left().await, (vec!["heads/main".to_owned()], false));
        let done = world.send(path, &json!({ "job": JOB })).await;
        assert_eq!(done, (StatusCode::OK, "{\"forgotten\":1}".to_owned()));
        for job in ["", "a\0b", &"a".repeat(2_000)] {
            let (status, _) = world.send(path, &json!({ "job": job })).await;
            assert_eq!(status, StatusCode::NOT_FOUND);
        }
        let (status, _) = world.send(path, &json!({ "job": JOB, "jobset": "x" })).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);

        let path = "/api/v1/projects/bread/cache/allow";
        let none = world.send(path, &json!({ "job": JOB })).await;
        assert_eq!(none, (StatusCode::OK, "{\"wasOff\":false}".to_owned()));
        let off = async || {
            let off = Mark::Off {
                jobset: Jobsets::All,
                job: JobName::from(JOB),
                commit: "7".repeat(40).parse().unwrap(),
            };
            world.remembered.with(move |records, writer| records.mark(writer, &off).unwrap()).await;
        };
        off().await;
        let page = world.page(&world.reader).await;
        assert!(page.contains("Kept from caches") && !page.contains("cache/allow"), "{page}");
        let done = world.send(path, &json!({ "job": JOB })).await;
        assert_eq!(done, (StatusCode::OK, "{\"wasOff\":true}".to_owned()));
        off().await;
        assert_eq!(world.twin().await["keptOff"][0]["commit"], "777777777777");
        let page = world.page(&world.writer).await;
        assert!(page.contains("action=\"/projects/bread/cache/allow\""), "{page}");
        let form = format!("job={JOB}&jobset=heads%2Fmain");
        let path = "/projects/bread/cache/allow";
        let refused = world.server.post(path, &[("cookie", &world.reader)], &form).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
        assert_eq!(world.twin().await["keptOff"].as_array().unwrap().len(), 1);
        let done = world.server.post(path, &[("cookie", &world.writer)], &form).await;
        assert_eq!(done.status, StatusCode::SEE_OTHER, "{done:?}");
        assert_eq!(world.twin().await["keptOff"], json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_in_read_only_mode_changes_nothing_that_others_start_from() {
    for test in databases().await {
        let database = test.open().await;
        let world = World::new(&database.clone().without_statuses()).await;
        world.remembered.fill(5).await;
        let off = Mark::Off {
            jobset: Jobsets::All,
            job: JobName::from(OTHER),
            commit: "7".repeat(40).parse().unwrap(),
        };
        world.remembered.with(move |records, writer| records.mark(writer, &off).unwrap()).await;
        let before = world.remembered.left().await;
        let page = world.page(&world.writer).await;
        assert!(page.contains("This server is read-only") && !page.contains("<button"), "{page}");
        for what in ["drop", "allow"] {
            let path = format!("/projects/bread/cache/{what}");
            let form = format!("job={OTHER}&jobset=heads%2Fmain");
            let form = world.server.post(&path, &[("cookie", &world.writer)], &form).await;
            let asked = json!({ "job": if what == "drop" { JOB } else { OTHER } });
            let (status, body) = world.send(&format!("/api/v1{path}"), &asked).await;
            for (status, body) in [(form.status, form.body), (status, body)] {
                assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
                assert!(body.contains("this server is read-only"), "{body}");
            }
        }
        assert_eq!(world.remembered.left().await, before);
        assert_eq!(world.remembered.dropped().await, []);
        assert_eq!(world.twin().await["keptOff"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn caches_have_a_size_as_long_as_they_are_there() {
    let test = &databases().await[0];
    let database = test.open().await;
    let world = World::new(&database).await;
    let twin = world.twin().await;
    let sizes = [0, 1].map(|place| {
        let row = &twin["pointers"][place];
        (row["narSize"].clone(), row["size"].clone())
    });
    assert_eq!(sizes[0], (json!(48_190_000), json!("48.1 MB")));
    assert_eq!(sizes[1], (Value::Null, json!("unknown")));
    assert!(world.page(&world.reader).await.contains("size 48.1 MB"));
}
