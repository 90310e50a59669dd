//! What an App shows on commits, and what people ask for there: check runs, their buttons, and one kill at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use levain_actions::forge::Masks;
use levain_actions::status::{Details, Note};
use levain_engine::cancel::Cancel;
use levain_server::Database;
use levain_server::approve::Trust;
use levain_server::deliveries::{Delivery, DeliveryState, Kept, NewDelivery};
use levain_server::forges::Forges;
use levain_server::logins::Logins;
use levain_server::projects::{NewProject, Project};
use levain_server::reconcile::{Head, Heads};
use levain_server::runs::Ended;
use levain_server::runs::state::{RunState, Verdict};
use levain_server::serving::{Running, Settings};
use levain_server::statuses::KeptStatus;
use levain_server::statuses::Sending;
use levain_server::statuses::messenger::{Attempt, ForgeMessenger, Message, Messenger};
use levain_server::workshop::{Carried, HeadsError, Listed, Order, Workshop};
use serde_json::{Value, json};
use tokio::sync::Notify;
use wiremock::ResponseTemplate;

use crate::hub::Hub;
use crate::support::{databases, now};
use crate::work::{quick, start, until_some};

const COMMIT: &str = "0000000000000000000000000000000000000001";
const FORK: &str = "0000000000000000000000000000000000000002";
/// The number of who wrote the pull request.
const AUTHOR: u64 = 9;

/// A branch, and a pull request of a fork if there is one.
struct Bench {
    messenger: Option<Arc<dyn Messenger>>,
    forks: bool,
    ended: Mutex<Ended>,
}

impl Bench {
    fn new(messenger: Arc<dyn Messenger>) -> Self {
        let ended = Mutex::new(Ended::new(Verdict::Succeeded, "1 clean"));
        Self { messenger: Some(messenger), forks: false, ended }
    }
}

impl Workshop for Bench {
    fn heads(&self, _: &Project, _: &Cancel) -> Result<Listed, HeadsError> {
        let head = Head::new(COMMIT.parse().unwrap(), Trust::Branch);
        let mut heads = Heads::from([("heads/main".parse().unwrap(), head)]);
        if self.forks {
            let commit = FORK.parse().unwrap();
            let head = Head { author: Some(AUTHOR), ..Head::new(commit, Trust::Fork) };
            heads.insert("pull/7".parse().unwrap(), head);
        }
        Ok(Listed { heads, ..Listed::default() })
    }

    fn carry_out(&self, _: &Order, _: &Cancel) -> Carried {
        Carried::Ended(self.ended.lock().unwrap().clone())
    }

    fn messenger(&self) -> Option<Arc<dyn Messenger>> {
        self.messenger.clone()
    }
}

fn real(database: &Database) -> Arc<dyn Messenger> {
    Arc::new(ForgeMessenger::new(Logins::new(database.clone(), None)))
}

async fn serve(database: &Database, bench: Bench) -> Running {
    let forges = Forges { logins: Logins::new(database.clone(), None) };
    start(database, Arc::new(bench), Settings { forges, ..quick() }).await
}

/// Waits until so many runs of a jobset are over and told.
async fn told(database: &Database, project: &Project, jobset: &str, runs: usize) -> KeptStatus {
    until_some("it is told", async || {
        let found = database.runs(project.id, 100).await.unwrap();
        let found: Vec<_> = found.into_iter().filter(|run| run.jobset.as_str() == jobset).collect();
        if found.len() != runs || !found[0].state.is_end() {
            return None;
        }
        let kept = database.statuses_of_run(found[0].id).await.unwrap();
        kept.into_iter().find(|kept| kept.sending == Sending::Shown && kept.state.is_final())
    })
    .await
}

fn words(check: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&check["status"]), text(&check["conclusion"]))
}

fn completed(conclusion: &str) -> (String, String) {
    ("completed".to_owned(), conclusion.to_owned())
}

/// No check run says the same as another, for the same run.
fn nothing_twice(hub: &Hub) {
    let known = hub.known();
    let mut seen = std::collections::BTreeSet::new();
    for check in &known.checks {
        let words = (
            check["head_sha"].to_string(),
            check["name"].to_string(),
            check["external_id"].to_string(),
            words(check),
        );
        assert!(seen.insert(words), "twice: {check}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_reports_by_check_runs_with_a_text_and_notes_at_lines() {
    for test in databases().await {
        let database = test.open().await;
        database.note_pages_url(Some("https://ci.example.org".into())).await.unwrap();
        let hub = Hub::new().await;
        let (_, app) = hub.add_app(&database).await;
        let project = hub.project(&database, &app, "r").await;
        let bench = Bench::new(real(&database));
        let note = |line| Note { path: "flake.nix".into(), line, message: "no flour".into() };
        let text = format!("# Result\n{}", "ü".repeat(40_000));
        let details = Details::masked(&text, (1..=60).map(note).collect(), &Masks::default());
        let ended = Ended::new(Verdict::Failed, "1 failed");
        *bench.ended.lock().unwrap() = Ended { details: Box::new(details), ..ended };
        let running = serve(&database, bench).await;
        told(&database, &project, "heads/main", 1).await;
        running.stop().await;
        let run = database.runs(project.id, 1).await.unwrap().remove(0);
        let known = hub.known();
        assert_eq!(known.statuses, 0);
        assert!(known.writes <= 4, "{}", known.writes);
        assert_eq!(known.checks.len(), 1, "one check run, updated: {:?}", known.checks);
        let check = &known.checks[0];
        assert_eq!(words(check), completed("failure"));
        assert_eq!(check["head_sha"], COMMIT);
        assert_eq!(check["name"], "levain");
        assert_eq!(check["external_id"], run.id.number().to_string());
        let page = format!("https://ci.example.org/runs/{}", run.id.number());
        assert_eq!(check["details_url"], page);
        let output = &check["output"];
        assert!(output["summary"].as_str().unwrap().starts_with("# Result"));
        let notes = output["annotations"].as_array().unwrap();
        assert_eq!(notes.len(), 50);
        assert_eq!((&notes[0]["path"], &notes[0]["start_line"]), (&json!("flake.nix"), &json!(1)));
    }
}

/// A messenger that is killed on its way.
struct Killed {
    messenger: Arc<dyn Messenger>,
    when: When,
    reached: Arc<Notify>,
}

#[derive(Clone, Copy, Debug)]
enum When {
    BeforeSending,
    AfterSending,
}

impl Messenger for Killed {
    fn send<'a>(&'a self, message: Message<'a>) -> Attempt<'a> {
        Box::pin(async move {
            match self.when {
                When::BeforeSending => {}
                When::AfterSending => drop(self.messenger.send(message).await),
            }
            self.reached.notify_one();
            std::future::pending().await
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_a_check_is_made_makes_none_twice() {
    for when in [When::BeforeSending, When::AfterSending] {
        for test in databases().await {
            let database = test.open().await;
            let hub = Hub::new().await;
            let (_, app) = hub.add_app(&database).await;
            let project = hub.project(&database, &app, "r").await;
            let reached = Arc::new(Notify::new());
            let messenger = real(&database);
            let killed = Killed { messenger, when, reached: Arc::clone(&reached) };
            let running = serve(&database, Bench::new(Arc::new(killed))).await;
            reached.notified().await;
            drop(running);
            let before = hub.known().asked.len();
            let running = serve(&database, Bench::new(real(&database))).await;
            told(&database, &project, "heads/main", 1).await;
            running.stop().await;
            let known = hub.known();
            let list = format!("GET /api/v3/repos/o/r/commits/{COMMIT}/check-runs");
            assert!(known.asked[before..].contains(&list), "the forge is asked first: {when:?}");
            assert_eq!(known.checks.len(), 1, "{when:?}: {:?}", known.checks);
            assert_eq!(words(&known.checks[0]), completed("success"), "{when:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_after_a_check_was_taken_and_tokens_that_end_lose_and_double_nothing() {
    for test in databases().await {
        let database = test.open().await;
        let hub = Hub::new().await;
        let (_, app) = hub.add_app(&database).await;
        let project = hub.project(&database, &app, "r").await;
        let trouble = || ResponseTemplate::new(502).set_body_string("bad gateway");
        hub.known().moods = vec![(true, trouble()), (false, trouble()), (true, trouble())];
        let running = serve(&database, Bench::new(real(&database))).await;
        told(&database, &project, "heads/main", 1).await;
        assert_eq!(words(hub.known().checks.last().unwrap()), completed("success"));
        nothing_twice(&hub);
        // From now on no token is good that was given before.
        hub.revoke();
        let jobset = "heads/main".parse().unwrap();
        database.run_again(project.id, jobset).await.unwrap().unwrap();
        let given = hub.known().given;
        told(&database, &project, "heads/main", 2).await;
        running.stop().await;
        assert!(hub.known().given > given);
        assert_eq!(words(hub.known().checks.last().unwrap()), completed("success"));
        nothing_twice(&hub);
    }
}

/// Delivers that somebody asks for something at a check, as the route and the handing on do.
async fn deliver(database: &Database, project: &Project, key: &str, body: Value) -> Delivery {
    let mut body = body;
    body["repository"] = json!({ "id": 1_296_269, "full_name": "o/r" });
    let event = match body.get("check_suite") {
        Some(_) => "check_suite",
        None => "check_run",
    };
    let new = NewDelivery {
        project: project.id,
        key: key.to_owned(),
        received_at: now(),
        event: Some(event.to_owned()),
        body: body.to_string().into_bytes(),
    };
    let Kept::New(id) = database.keep_delivery(new).await.unwrap() else { panic!("known") };
    until_some("it is settled", async || {
        let delivery = database.delivery(id).await.unwrap().unwrap();
        (delivery.state != DeliveryState::Waiting).then_some(delivery)
    })
    .await
}

fn press(commit: &str, by: (&str, u64)) -> Value {
    json!({
        "action": "requested_action",
        "check_run": { "id": 1, "head_sha": commit },
        "requested_action": { "identifier": "approve" },
        "sender": { "id": by.1, "login": by.0 },
    })
}

fn rerun(commit: &str, by: (&str, u64)) -> Value {
    json!({
        "action": "rerequested",
        "check_run": { "id": 1, "head_sha": commit },
        "sender": { "id": by.1, "login": by.0 },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_a_fork_is_approved_by_a_button_and_only_by_who_may() {
    for test in databases().await {
        let database = test.open().await;
        let hub = Hub::new().await;
        hub.known().people = BTreeMap::from([
            ("writer".to_owned(), (3, "write".to_owned())),
            ("reader".to_owned(), (2, "read".to_owned())),
            // The name was taken by somebody with more rights.
            ("renamed".to_owned(), (4, "admin".to_owned())),
            ("author".to_owned(), (AUTHOR, "read".to_owned())),
        ]);
        let (_, app) = hub.add_app(&database).await;
        let project = hub.project(&database, &app, "r").await;
        let bench = Bench { forks: true, ..Bench::new(real(&database)) };
        let running = serve(&database, bench).await;
        told(&database, &project, "heads/main", 1).await;
        let asked = until_some("approval is asked for", async || {
            let known = hub.known();
            known.checks.iter().find(|check| check["head_sha"] == FORK).cloned()
        })
        .await;
        assert_eq!(words(&asked), completed("action_required"));
        assert_eq!(asked["actions"][0]["identifier"], "approve");
        assert!(asked["output"]["summary"].as_str().unwrap().contains("a fork’s"));
        let state = async || {
            let runs = database.runs(project.id, 100).await.unwrap();
            runs.into_iter().find(|run| run.commit.to_string() == FORK).unwrap().state
        };
        for (key, body, why) in [
            ("k1", press(FORK, ("reader", 2)), "`reader` may not push to the repository"),
            ("k2", press(FORK, ("stranger", 8)), "`stranger` may not push to the repository"),
            ("k3", press(FORK, ("renamed", 5)), "`renamed` may not push to the repository"),
            ("k4", press(FORK, ("author", AUTHOR)), "`author` may not push to the repository"),
            ("k5", press(&"3".repeat(40), ("writer", 3)), "333333333333 is no head any more"),
            ("k6", press(FORK, ("../writer", 3)), "`../writer` may not push to the repository"),
        ] {
            let delivery = deliver(&database, &project, key, body).await;
            assert_eq!(delivery.outcome.as_deref(), Some(why), "{key}");
            assert_eq!(delivery.state, DeliveryState::Ignored, "{key}");
            assert_eq!(state().await, RunState::Unapproved, "{key}");
        }
        // Asking for it once more approves nothing.
        let again = deliver(&database, &project, "k7", rerun(FORK, ("writer", 3))).await;
        assert!(again.outcome.unwrap().contains("asked for run"), "the one that waits");
        assert_eq!(state().await, RunState::Unapproved);
        let approved = deliver(&database, &project, "k8", press(FORK, ("writer", 3))).await;
        assert_eq!(approved.state, DeliveryState::Acted);
        assert!(approved.outcome.unwrap().starts_with("writer (3) approved 000000000000"));
        told(&database, &project, "pull/7", 1).await;
        {
            let known = hub.known();
            let of_fork: Vec<&Value> =
                known.checks.iter().filter(|check| check["head_sha"] == FORK).collect();
            assert_eq!(words(of_fork[0]), completed("action_required"), "ended ones stay");
            assert_eq!(words(of_fork.last().unwrap()), completed("success"));
            assert!(of_fork.len() <= 3, "{of_fork:?}");
        }
        // What somebody pressed once counts once, whatever keys it is delivered under.
        let runs = database.runs(project.id, 100).await.unwrap().len();
        for (key, body) in
            [("k20", press(FORK, ("writer", 3))), ("k21", rerun(FORK, ("writer", 3)))]
        {
            let replayed = deliver(&database, &project, key, body).await;
            assert_eq!(replayed.state, DeliveryState::Ignored, "{key}");
            assert!(replayed.outcome.unwrap().contains("said so before"), "{key}");
        }
        assert_eq!(database.runs(project.id, 100).await.unwrap().len(), runs);
        // A project's own secret is known to people, who could name anybody.
        let own = NewProject::new(
            "own",
            levain_actions::forge::webhook::Sender::DEFAULT,
            "https://git.example.org/o/own",
        );
        let own = database.add_project(own).await.unwrap().id;
        let own = database.project(own).await.unwrap().unwrap();
        for body in [press(FORK, ("writer", 3)), rerun(FORK, ("writer", 3))] {
            let delivery = deliver(&database, &own, &body["action"].to_string(), body).await;
            assert_eq!(delivery.state, DeliveryState::Ignored);
            assert!(delivery.outcome.unwrap().contains("of an App's deliveries only"));
        }
        let nul = deliver(&database, &project, "k0", rerun(FORK, ("x\0y", 3))).await;
        assert!(nul.outcome.unwrap().contains("NUL"));
        // Its author may have it run once more, a stranger may not.
        let stranger = deliver(&database, &project, "k9", rerun(FORK, ("stranger", 8))).await;
        assert_eq!(stranger.outcome.as_deref(), Some("`stranger` may not see the repository"));
        let reader = deliver(&database, &project, "k10", rerun(FORK, ("reader", 2))).await;
        assert_eq!(reader.outcome.as_deref(), Some("`reader` may not run pull/7 again"));
        let author = deliver(&database, &project, "k11", rerun(FORK, ("author", AUTHOR))).await;
        assert_eq!(author.state, DeliveryState::Acted, "{:?}", author.outcome);
        told(&database, &project, "pull/7", 2).await;
        let main = deliver(&database, &project, "k12", rerun(COMMIT, ("author", AUTHOR))).await;
        assert_eq!(main.outcome.as_deref(), Some("`author` may not run heads/main again"));
        let suite = json!({
            "action": "rerequested",
            "check_suite": { "id": 1, "head_sha": COMMIT },
            "sender": { "id": 3, "login": "writer" },
        });
        let suite = deliver(&database, &project, "k13", suite).await;
        assert_eq!(suite.state, DeliveryState::Acted, "{:?}", suite.outcome);
        told(&database, &project, "heads/main", 2).await;
        running.stop().await;
        nothing_twice(&hub);
    }
}
