//! Repositories that are deleted and renamed, and others that take over their names.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use levain_actions::forge::webhook::Sender;
use levain_actions::forge::{Reach, Right};
use levain_actions::status::{State, Status};
use levain_engine::BuildLimits;
use levain_engine::cancel::Cancel;
use levain_engine::project::WriteAccess;
use levain_server::Database;
use levain_server::deliveries::{Delivery, DeliveryState};
use levain_server::forges::Forges;
use levain_server::identity::Found;
use levain_server::live::Live;
use levain_server::logins::Logins;
use levain_server::projects::{NewProject, Project, ProjectId};
use levain_server::reconcile::{Head, Heads};
use levain_server::runs::state::{RunState, Verdict};
use levain_server::runs::{Ended, Owner, RunId};
use levain_server::serving::{Running, Settings};
use levain_server::statuses::decide::Sent;
use levain_server::statuses::messenger::{ForgeMessenger, Message, Messenger};
use levain_server::statuses::voice::Voice;
use levain_server::statuses::wording::Telling;
use levain_server::workshop::engine::EngineWorkshop;
use levain_server::workshop::{Carried, HeadsError, Listed, Order, Workshop};
use reqwest::StatusCode;
use serde_json::json;
use tokio::runtime::Handle;
use wiremock::matchers::any;
use wiremock::{Mock, Request, ResponseTemplate};

use crate::hub::Hub;
use crate::listening::{self, FORGE, Listening, account, operator, signed_in};
use crate::support::{databases, note, now};
use crate::work::{deliver, quick, settled, start, until};

/// What a forge has: the path and the number of each repository. Everybody may administer all of them.
type Has = Arc<Mutex<Vec<(String, u64)>>>;

fn answer(has: &Has, request: &Request) -> ResponseTemplate {
    let has = has.lock().unwrap();
    let path = request.url.path().strip_prefix("/api/v1/").unwrap_or_default();
    let segments: Vec<&str> = path.split('/').collect();
    let found = |is_it: &dyn Fn(&(String, u64)) -> bool| has.iter().find(|one| is_it(one)).cloned();
    let described = |found: Option<(String, u64)>| match found {
        Some((path, id)) => ResponseTemplate::new(200)
            .set_body_json(json!({ "id": id, "full_name": path, "private": false })),
        None => ResponseTemplate::new(404),
    };
    match segments.as_slice() {
        ["repos", owner, name] => {
            let path = format!("{owner}/{name}");
            described(found(&|one| one.0 == path))
        }
        ["repositories", number] => described(found(&|one| one.1.to_string() == *number)),
        ["repos", _, _, "collaborators", login, "permission"] => ResponseTemplate::new(200)
            .set_body_json(json!({ "permission": "admin", "user": { "id": 5, "login": login } })),
        _ => ResponseTemplate::new(404),
    }
}

/// What is listed, and whether runs end.
#[derive(Default)]
struct Bench {
    head: Mutex<u64>,
    waits: Mutex<bool>,
    /// The addresses that were listed.
    listed: Mutex<Vec<String>>,
    begun: Mutex<usize>,
}

impl Workshop for Bench {
    fn heads(&self, project: &Project, _: &Cancel) -> Result<Listed, HeadsError> {
        self.listed.lock().unwrap().push(project.url.clone());
        let commit = format!("{:040x}", *self.head.lock().unwrap()).parse().unwrap();
        let heads = Heads::from([("heads/main".parse().unwrap(), Head::branch(commit))]);
        Ok(Listed { heads, ..Listed::default() })
    }

    fn carry_out(&self, _: &Order, cancel: &Cancel) -> Carried {
        *self.begun.lock().unwrap() += 1;
        while *self.waits.lock().unwrap() && !cancel.is_cancelled() {
            std::thread::sleep(Duration::from_millis(5));
        }
        match cancel.is_cancelled() {
            true => Carried::Stopped,
            false => Carried::Ended(Ended::new(Verdict::Succeeded, "1 clean")),
        }
    }
}

async fn serve(database: &Database, bench: &Arc<Bench>) -> Running {
    let settings = Settings {
        look_every: Duration::from_millis(50),
        longest_wait: Duration::from_millis(50),
        forges: Forges { logins: Logins::new(database.clone(), None) },
        ..quick()
    };
    start(database, Arc::clone(bench) as _, settings).await
}

async fn known(database: &Database, id: ProjectId) -> Project {
    database.project(id).await.unwrap().unwrap()
}

async fn states(database: &Database, id: ProjectId) -> Vec<RunState> {
    database.runs(id, 100).await.unwrap().into_iter().map(|run| run.state).collect()
}

/// Delivers a push to the default branch, as the route does.
async fn push(database: &Database, project: ProjectId, key: &str, of: (&str, u64)) -> Delivery {
    let body = json!({
        "ref": "refs/heads/main", "repository": { "id": of.1, "full_name": of.0 },
    });
    let id = deliver(database, project, key, "push", body.to_string()).await;
    settled(database, id).await
}

/// A forge with one repository, and a project that is it.
struct World {
    database: Database,
    has: Has,
    forge: listening::Forge,
    bench: Arc<Bench>,
    id: ProjectId,
}

impl World {
    async fn new(database: Database) -> Self {
        let forge = listening::Forge::new(&database).await;
        let has: Has = Arc::new(Mutex::new(vec![("o/r".to_owned(), 7)]));
        let answers = Arc::clone(&has);
        Mock::given(any())
            .respond_with(move |request: &Request| answer(&answers, request))
            .mount(&forge.server)
            .await;
        let id = forge.project(&database, "r", true).await.id;
        let bench = Arc::new(Bench::default());
        Self { database, has, forge, bench, id }
    }

    fn has(&self, repositories: &[(&str, u64)]) {
        let repositories = repositories.iter().map(|(path, id)| ((*path).to_owned(), *id));
        *self.has.lock().unwrap() = repositories.collect();
    }

    fn push(&self, head: u64) {
        *self.bench.head.lock().unwrap() = head;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_a_name_over_gets_nothing_until_the_operator_says_so() {
    for test in databases().await {
        let world = World::new(test.open().await).await;
        let (database, id) = (&world.database, world.id);
        let running = serve(database, &world.bench).await;
        until("the first run ends", async || states(database, id).await == [RunState::Succeeded])
            .await;
        assert_eq!(known(database, id).await.repository, Some(7));
        // A run is under way when the repository goes, and another one is made under its name.
        *world.bench.waits.lock().unwrap() = true;
        world.push(1);
        until("it is carried out", async || *world.bench.begun.lock().unwrap() == 2).await;
        world.has(&[("o/r", 9)]);
        world.push(2);
        until("that is seen", async || {
            known(database, id).await.other_repository == Some(9)
                && states(database, id).await == [RunState::Queued, RunState::Succeeded]
        })
        .await;
        let listed = world.bench.listed.lock().unwrap().len();
        let delivery = push(database, id, "k1", ("o/r", 9)).await;
        assert_eq!(delivery.state, DeliveryState::Failed);
        let why = delivery.outcome.unwrap();
        assert!(why.starts_with("another repository has the name of this project's: "), "{why}");
        // Nothing is begun, nothing new is queued, and what has the name is not even listed.
        *world.bench.waits.lock().unwrap() = false;
        let owner = Owner::new("somebody else");
        assert_eq!(database.claim_run(owner, now(), &[]).await.unwrap(), None);
        assert_eq!(world.bench.listed.lock().unwrap().len(), listed);
        assert_eq!(*world.bench.begun.lock().unwrap(), 2);
        let shown = known(database, id).await;
        assert!(!shown.is_public);
        assert!(shown.look_failed.unwrap().contains("levain project confirm r 9"));
        // Whoever administers the other repository is nobody here, and only the operator can change that.
        let server = Listening::new(database).await;
        let admin = signed_in(database, &world.forge, account("ann", 5)).await;
        let page = server.get("/projects/r", &[("cookie", &admin)]).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND);
        let confirm = async |cookie: &str, number: u64| {
            let body = format!("number={number}");
            server.post("/projects/r/confirm", &[("cookie", cookie)], &body).await.status
        };
        assert_eq!(confirm(&admin, 9).await, StatusCode::FORBIDDEN);
        let cookie = operator(database).await;
        let page = server.get("/projects/r", &[("cookie", &cookie)]).await;
        assert!(page.body.contains(r#"action="/projects/r/confirm""#), "{}", page.body);
        // What was shown is what is confirmed: yet another one is not.
        assert_eq!(confirm(&cookie, 8).await, StatusCode::CONFLICT);
        assert_eq!(known(database, id).await.other_repository, Some(9));
        assert_eq!(confirm(&cookie, 9).await, StatusCode::SEE_OTHER);
        until("it is built", async || states(database, id).await[0] == RunState::Succeeded).await;
        assert_eq!(known(database, id).await.repository, Some(9));
        assert_eq!(known(database, id).await.other_repository, None);
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_comes_back_to_its_repository_goes_on() {
    for test in databases().await {
        let world = World::new(test.open().await).await;
        let (database, id) = (&world.database, world.id);
        let running = serve(database, &world.bench).await;
        until("it is known", async || known(database, id).await.repository == Some(7)).await;
        world.has(&[("o/r", 9)]);
        until("that is seen", async || known(database, id).await.other_repository.is_some()).await;
        world.has(&[("o/r", 7)]);
        world.push(3);
        until("it goes on", async || {
            let runs = database.runs(id, 1).await.unwrap();
            let head = format!("{:040x}", 3);
            runs.first().is_some_and(|run| {
                run.commit.to_string() == head && run.state == RunState::Succeeded
            })
        })
        .await;
        assert_eq!(known(database, id).await.other_repository, None);
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_repository_goes_on_whoever_has_its_old_name() {
    for others in [&[][..], &[("o/r", 9)][..]] {
        for test in databases().await {
            let world = World::new(test.open().await).await;
            let (database, id) = (&world.database, world.id);
            let running = serve(database, &world.bench).await;
            until("it is known", async || known(database, id).await.repository == Some(7)).await;
            let renamed = [&[("p/new", 7)], others].concat();
            world.has(&renamed);
            world.push(4);
            until("it goes on", async || {
                let runs = database.runs(id, 1).await.unwrap();
                let head = format!("{:040x}", 4);
                runs.first().is_some_and(|run| {
                    run.commit.to_string() == head && run.state == RunState::Succeeded
                })
            })
            .await;
            running.stop().await;
            let shown = known(database, id).await;
            assert_eq!(shown.url, format!("{}/p/new", world.forge.server.uri()));
            assert_eq!((shown.repository, shown.other_repository), (Some(7), None));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_nobody_can_tell_is_not_built() {
    for test in databases().await {
        let world = World::new(test.open().await).await;
        let (database, id) = (&world.database, world.id);
        let running = serve(database, &world.bench).await;
        until("the first run ends", async || states(database, id).await == [RunState::Succeeded])
            .await;
        // It was deleted, and git still answers: somebody was faster than the forge's interface.
        world.has(&[]);
        world.push(5);
        until("that is said", async || {
            let why = known(database, id).await.look_failed.unwrap_or_default();
            why.contains("cannot find out whether this is still the project's repository")
        })
        .await;
        running.stop().await;
        assert_eq!(states(database, id).await, [RunState::Succeeded]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_people_of_another_repository_have_no_rights() {
    for test in databases().await {
        let world = World::new(test.open().await).await;
        let (database, id) = (&world.database, world.id);
        let forges = Forges { logins: Logins::new(database.clone(), None) };
        let project = known(database, id).await;
        let Found::Known(found) = forges.repository(&project).await.unwrap() else { panic!() };
        assert!(database.note_repository(id, found.number).await.unwrap());
        let project = known(database, id).await;
        let ann = account("ann", 5);
        assert_eq!(forges.right(&project, &ann).await.unwrap(), Right::Admin);
        // Before any look saw it.
        world.has(&[("o/r", 9)]);
        assert_eq!(forges.right(&project, &ann).await.unwrap(), Right::None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_posted_to_a_repository_that_took_a_name_over_before_any_look_saw_it() {
    for test in databases().await {
        let world = World::new(test.open().await).await;
        let (database, id) = (&world.database, world.id);
        assert!(database.note_repository(id, 7).await.unwrap());
        let project = known(database, id).await;
        let logins = || Logins::new(database.clone(), None);
        logins().require_own(&project).await.unwrap();
        world.has(&[("p/new", 7), ("o/r", 9)]);
        let renamed = logins().require_own(&project).await.unwrap_err().to_string();
        assert_eq!(renamed, "the repository was renamed to `p/new`");
        world.has(&[("o/r", 9)]);
        let telling = Telling::default();
        let commit = format!("{:040x}", 1);
        let status = Status::new(&commit, "levain", State::Success, "1 clean").unwrap();
        let message = Message {
            project: &project,
            telling: &telling,
            status: &status,
            in_doubt: false,
            run: RunId::from_number(1),
            check: None,
        };
        let sent = ForgeMessenger::new(logins()).send(message).await;
        let Sent::Later { why, .. } = sent else { panic!("{sent:?}") };
        assert!(why.contains("number 9 instead of 7"), "{why}");
        let requests = world.forge.server.received_requests().await.unwrap();
        assert!(requests.iter().all(|request| request.method == "GET"));
        assert_eq!(known(database, id).await.other_repository, Some(9));
        // From then on nobody has to be asked.
        world.has(&[("o/r", 7)]);
        assert!(logins().require_own(&project).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_tell_of_another_repository_where_the_forge_cannot_be_asked() {
    for test in databases().await {
        let database = test.open().await;
        let new = NewProject::new("r", Sender::Forge(FORGE), "https://git.example.org/o/r");
        let id = database.add_project(new).await.unwrap().id;
        let bench = Arc::new(Bench::default());
        let running = serve(&database, &bench).await;
        // Whoever copies a hook to another repository does the project no harm.
        let first = push(&database, id, "k1", ("O/R", 7)).await;
        assert_eq!(first.state, DeliveryState::Acted);
        let copied = push(&database, id, "k2", ("o/copy", 8)).await;
        assert_eq!(copied.state, DeliveryState::Ignored);
        let why = "it is about `o/copy` (8), and the project's repository is 7";
        assert_eq!(copied.outcome.as_deref(), Some(why));
        assert_eq!(known(&database, id).await.other_repository, None);
        let other = push(&database, id, "k3", ("o/r", 9)).await;
        assert_eq!(other.state, DeliveryState::Failed);
        assert_eq!(known(&database, id).await.other_repository, Some(9));
        assert!(database.confirm_repository(id, 9).await.unwrap());
        let last = push(&database, id, "k4", ("o/r", 9)).await;
        assert_eq!(last.state, DeliveryState::Acted);
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_gets_no_token_for_another_repository_and_follows_its_own() {
    for test in databases().await {
        let database = test.open().await;
        let hub = Hub::new().await;
        let (_, app) = hub.add_app(&database).await;
        let id = hub.project(&database, &app, "r").await.id;
        let logins = Logins::new(database.clone(), None);
        let forges = Forges { logins: logins.clone() };
        let project = known(&database, id).await;
        logins.token(&project, Reach::Read).await.unwrap().unwrap();
        let project = known(&database, id).await;
        assert_eq!(project.repository, Some(1_296_269));
        // Renamed, and another one is made in its place.
        let fresh = || Logins::new(database.clone(), None);
        let installed = [("new".to_owned(), 1_296_269), ("r".to_owned(), 99)];
        hub.known().installed = installed.into();
        let moved = Forges { logins: fresh() }.repository(&project).await.unwrap();
        assert!(matches!(moved, Found::Renamed(repository) if repository.path == "o/new"));
        // Deleted, and another one is made in its place.
        hub.known().installed = [("r".to_owned(), 99)].into();
        let refused = fresh().token(&project, Reach::Write).await.unwrap_err().to_string();
        assert!(refused.contains("number 99 instead of 1296269"), "{refused}");
        assert!(refused.contains("hint: if it is to be the project's"), "{refused}");
        assert_eq!(known(&database, id).await.other_repository, Some(99));
        assert!(database.confirm_repository(id, 99).await.unwrap());
        let project = known(&database, id).await;
        // The old one's token is not used for it, either.
        let token = logins.token(&project, Reach::Read).await.unwrap().unwrap();
        assert_eq!(hub.known().tokens[token.expose()].0, "r");
        let Found::Known(found) = forges.repository(&project).await.unwrap() else { panic!() };
        assert_eq!(found.number, 99);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_that_its_app_may_not_see_says_so_and_goes_on_when_it_may() {
    for test in databases().await {
        let database = test.open().await;
        let hub = Hub::new().await;
        let (_, app) = hub.add_app(&database).await;
        let id = hub.project(&database, &app, "r").await.id;
        let bench = Arc::new(Bench::default());
        let running = serve(&database, &bench).await;
        until("the first run ends", async || states(&database, id).await == [RunState::Succeeded])
            .await;
        // The App is uninstalled, or the repository is taken out of its installation.
        let installed = std::mem::take(&mut hub.known().installed);
        hub.revoke();
        *bench.head.lock().unwrap() = 2;
        until("that is said", async || {
            let why = known(&database, id).await.look_failed.unwrap_or_default();
            why.contains("the App may not see `o/r`") && why.contains("hint: install it there")
        })
        .await;
        assert_eq!(states(&database, id).await, [RunState::Succeeded], "nothing is built");
        hub.known().installed = installed;
        until("it goes on", async || {
            states(&database, id).await == [RunState::Succeeded, RunState::Succeeded]
        })
        .await;
        running.stop().await;
        assert_eq!(known(&database, id).await.look_failed, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_fetched_from_a_repository_that_took_a_name_over_before_any_look_saw_it() {
    for test in databases().await {
        let world = World::new(test.open().await).await;
        let (database, id) = (&world.database, world.id);
        assert!(database.note_repository(id, 7).await.unwrap());
        let commit = format!("{:040x}", 1).parse().unwrap();
        let heads = Heads::from([("heads/main".parse().unwrap(), Head::branch(commit))]);
        note(database, id, heads).await;
        let owner = Owner::new("o");
        let run = database.claim_run(owner.clone(), now(), &[]).await.unwrap().unwrap();
        let project = known(database, id).await;
        // Without this, nothing has anything to fetch with.
        let equipped = Arc::new(AtomicUsize::new(0));
        let carried = async || {
            let (equipped, runtime) = (Arc::clone(&equipped), Handle::current());
            let workshop = EngineWorkshop {
                equip: Box::new(move |_| {
                    equipped.fetch_add(1, Ordering::SeqCst);
                    Err("it would be fetched".to_owned())
                }),
                access: WriteAccess::Write,
                limits: BuildLimits::default(),
                logins: Logins::new(database.clone(), None),
                live: Live::default(),
                database: database.clone(),
                runtime: runtime.clone(),
            };
            let voice = Voice::new(database.clone(), owner.clone(), &run, runtime);
            let order = Order { project: project.clone(), run: run.clone(), voice };
            let carried = move || workshop.carry_out(&order, &Cancel::default());
            match tokio::task::spawn_blocking(carried).await.unwrap() {
                Carried::Ended(ended) => ended.summary,
                Carried::Hindered { why } => why,
                Carried::Stopped => panic!("nobody stops it"),
            }
        };
        assert_eq!(carried().await, "it would be fetched");
        assert_eq!(equipped.load(Ordering::SeqCst), 1);
        world.has(&[("o/r", 9)]);
        let why = carried().await;
        assert!(why.contains("number 9 instead of 7"), "{why}");
        assert_eq!(equipped.load(Ordering::SeqCst), 1, "it was fetched");
        assert_eq!(known(database, id).await.other_repository, Some(9));
        // Renamed: what is begun next is fetched at its new address, and this not at all.
        assert!(database.confirm_repository(id, 9).await.unwrap());
        world.has(&[("p/new", 9)]);
        let why = carried().await;
        assert!(why.contains("the repository was renamed to `p/new`"), "{why}");
        assert_eq!(equipped.load(Ordering::SeqCst), 1, "it was fetched");
    }
}
