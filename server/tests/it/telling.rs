//! A server that tells a forge over HTTP: what it posts, what it does about answers, and what is left when it dies.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use levain_actions::forge::ForgeKind;
use levain_actions::forge::webhook::Sender;
use levain_engine::cancel::Cancel;
use levain_server::Database;
use levain_server::approve::Trust;
use levain_server::logins::Logins;
use levain_server::projects::{NewProject, Project, ProjectId};
use levain_server::reconcile::{Head, Heads};
use levain_server::runs::Ended;
use levain_server::runs::state::Verdict;
use levain_server::serving::Running;
use levain_server::statuses::messenger::{Attempt, ForgeMessenger, Message, Messenger};
use levain_server::statuses::{KeptStatus, Sending};
use levain_server::workshop::{Carried, HeadsError, Listed, Order, Workshop};
use serde_json::{Value, json};
use tokio::sync::Notify;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::support::{databases, now};
use crate::work::{quick, start};

const SECRET: &str = "s3cr3t-t0ken";
const COMMIT: &str = "0000000000000000000000000000000000000001";

/// What a forge does with a request that posts.
#[derive(Clone)]
enum Mood {
    /// Takes it and says so.
    Takes,
    /// Takes it and answers with an error, or something that is none of its answers.
    TakesAndAnswers(ResponseTemplate),
    /// Answers without taking it.
    Answers(ResponseTemplate),
}

#[derive(Default)]
struct Shown {
    statuses: Vec<Value>,
    /// What is done with the next posts; after them all are taken.
    moods: Vec<Mood>,
    posts: usize,
    reads: usize,
}

/// A Gitea with one repository.
struct Forge {
    server: MockServer,
    shown: Arc<Mutex<Shown>>,
    token_file: PathBuf,
    _directory: tempfile::TempDir,
}

impl Forge {
    async fn new(moods: Vec<Mood>) -> Self {
        // Another test may have done so already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let shown = Arc::new(Mutex::new(Shown { moods, ..Shown::default() }));
        let server = MockServer::start().await;
        let answers = Arc::clone(&shown);
        let answer = move |request: &Request| answers.lock().unwrap().answer(request);
        Mock::given(any()).respond_with(answer).mount(&server).await;
        let directory = tempfile::tempdir().unwrap();
        let token_file = directory.path().join("token");
        std::fs::write(&token_file, SECRET).unwrap();
        Self { server, shown, token_file, _directory: directory }
    }

    async fn project(&self, database: &Database) -> ProjectId {
        self.project_named(database, "bread").await
    }

    async fn project_named(&self, database: &Database, name: &str) -> ProjectId {
        let url = format!("{}/o/r.git", self.server.uri());
        let new = NewProject {
            token_file: Some(self.token_file.clone()),
            ..NewProject::new(name, Sender::Forge(ForgeKind::Gitea), url)
        };
        database.add_project(new).await.unwrap().id
    }

    fn states(&self) -> Vec<String> {
        let shown = self.shown.lock().unwrap();
        shown.statuses.iter().map(|one| one["status"].as_str().unwrap().to_owned()).collect()
    }

    fn counts(&self) -> (usize, usize) {
        let shown = self.shown.lock().unwrap();
        (shown.posts, shown.reads)
    }
}

impl Shown {
    fn answer(&mut self, request: &Request) -> ResponseTemplate {
        let header = request.headers.get("authorization").unwrap();
        assert_eq!(header.to_str().unwrap(), format!("token {SECRET}"));
        if request.method.as_str() == "GET" {
            // Whether the repository is public, for instance: this forge does not say.
            if request.url.path() != format!("/api/v1/repos/o/r/commits/{COMMIT}/statuses") {
                return ResponseTemplate::new(404);
            }
            self.reads += 1;
            let newest_first: Vec<&Value> = self.statuses.iter().rev().collect();
            return ResponseTemplate::new(200).set_body_json(newest_first);
        }
        assert_eq!(request.method.as_str(), "POST");
        assert_eq!(request.url.path(), format!("/api/v1/repos/o/r/statuses/{COMMIT}"));
        self.posts += 1;
        let mood = if self.moods.is_empty() { Mood::Takes } else { self.moods.remove(0) };
        match mood {
            Mood::Answers(answer) => answer,
            Mood::TakesAndAnswers(answer) => {
                self.take(request);
                answer
            }
            Mood::Takes => {
                let id = self.take(request);
                ResponseTemplate::new(201).set_body_json(json!({ "id": id }))
            }
        }
    }

    fn take(&mut self, request: &Request) -> usize {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let id = self.statuses.len() + 1;
        self.statuses.push(json!({
            "id": id,
            "context": body["context"],
            "status": body["state"],
            "description": body["description"],
            "target_url": body["target_url"],
        }));
        id
    }
}

/// One branch, whose runs succeed.
struct Bench {
    messenger: Option<Arc<dyn Messenger>>,
}

impl Workshop for Bench {
    fn heads(&self, _: &Project, _: &Cancel) -> Result<Listed, HeadsError> {
        let head = Head::new(COMMIT.parse().unwrap(), Trust::Branch);
        let heads = Heads::from([("heads/main".parse().unwrap(), head)]);
        Ok(Listed { heads, ..Listed::default() })
    }

    fn carry_out(&self, _: &Order, _: &Cancel) -> Carried {
        Carried::Ended(Ended::new(Verdict::Succeeded, "1 clean"))
    }

    fn messenger(&self) -> Option<Arc<dyn Messenger>> {
        self.messenger.clone()
    }
}

/// A messenger that is killed on its way.
struct Killed {
    messenger: ForgeMessenger,
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

async fn serve(database: &Database, messenger: Option<Arc<dyn Messenger>>) -> Running {
    start(database, Arc::new(Bench { messenger }), quick()).await
}

fn real() -> Option<Arc<dyn Messenger>> {
    Some(Arc::new(ForgeMessenger::new(Logins::default())))
}

/// Returns the status of the only run as soon as it is so.
async fn status(
    database: &Database,
    project: ProjectId,
    what: &str,
    is_so: impl Fn(&KeptStatus) -> bool,
) -> KeptStatus {
    for _ in 0..6_000 {
        let runs = database.runs(project, 10).await.unwrap();
        if let Some(run) = runs.first() {
            let kept = database.statuses_of_run(run.id).await.unwrap();
            if run.state.is_end()
                && let Some(kept) = kept.into_iter().find(&is_so)
            {
                return kept;
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 60 s: {what}: {:?}", database.statuses_not_shown(project, 9).await.unwrap());
}

fn is_shown(kept: &KeptStatus) -> bool {
    kept.sending == Sending::Shown
}

/// Nothing that was posted says the same as something before it.
fn nothing_twice(forge: &Forge) {
    let shown = forge.shown.lock().unwrap();
    let mut seen = BTreeSet::new();
    for one in &shown.statuses {
        let mut words = one.clone();
        words.as_object_mut().unwrap().remove("id");
        assert!(seen.insert(words.to_string()), "twice: {words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_told_to_its_forge() {
    for test in databases().await {
        let database = test.open().await;
        database.note_pages_url(Some("https://ci.example.org".into())).await.unwrap();
        let forge = Forge::new(Vec::new()).await;
        let id = forge.project(&database).await;
        let running = serve(&database, real()).await;
        status(&database, id, "it is told", is_shown).await;
        running.stop().await;
        assert_eq!(forge.states().last().unwrap(), "success");
        assert!(forge.states().len() <= 3, "{:?}", forge.states());
        let run = database.runs(id, 1).await.unwrap().remove(0);
        let page = format!("https://ci.example.org/runs/{}", run.id.number());
        assert!(forge.shown.lock().unwrap().statuses.iter().all(|one| one["target_url"] == page));
        nothing_twice(&forge);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_while_it_sends_loses_nothing_and_sends_nothing_twice() {
    for test in databases().await {
        for when in [When::BeforeSending, When::AfterSending] {
            let database = test.open().await;
            let forge = Forge::new(Vec::new()).await;
            let id = forge.project_named(&database, &format!("{when:?}")).await;
            let reached = Arc::new(Notify::new());
            let messenger = ForgeMessenger::new(Logins::default());
            let killed = Killed { messenger, when, reached: Arc::clone(&reached) };
            let running = serve(&database, Some(Arc::new(killed))).await;
            reached.notified().await;
            drop(running);
            let before = forge.counts();
            let running = serve(&database, real()).await;
            status(&database, id, "it is told", is_shown).await;
            running.stop().await;
            assert_eq!(forge.states().last().unwrap(), "success", "{when:?}");
            let after = forge.counts();
            assert!(after.1 > before.1, "the forge is asked first: {when:?} {after:?}");
            nothing_twice(&forge);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_after_it_was_taken_is_no_reason_to_send_it_twice() {
    for test in databases().await {
        let database = test.open().await;
        let trouble = || ResponseTemplate::new(502).set_body_string("bad gateway");
        let moods = vec![
            Mood::TakesAndAnswers(trouble()),
            Mood::Answers(trouble()),
            Mood::TakesAndAnswers(trouble()),
        ];
        let forge = Forge::new(moods).await;
        let id = forge.project(&database).await;
        let running = serve(&database, real()).await;
        status(&database, id, "it is told", is_shown).await;
        running.stop().await;
        assert_eq!(forge.states().last().unwrap(), "success");
        nothing_twice(&forge);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forge_that_asks_for_patience_gets_it() {
    for test in databases().await {
        let database = test.open().await;
        let limited = ResponseTemplate::new(429).insert_header("retry-after", "3600");
        let forge = Forge::new(vec![Mood::Answers(limited)]).await;
        let id = forge.project(&database).await;
        let running = serve(&database, real()).await;
        let limited = |kept: &KeptStatus| kept.sending == Sending::Due;
        status(&database, id, "it waits", |kept| limited(kept) && kept.failures <= 1).await;
        let other = forge.project_named(&database, "other").await;
        running.stop().await;
        assert_eq!(forge.counts().0, 1, "one request, and none for others with the same token");
        let next = database.next_status_at().await.unwrap().unwrap();
        assert!(next > now().after(Duration::from_secs(3500)), "{next:?}");
        // Nor does the next server ask.
        let running = serve(&database, real()).await;
        status(&database, other, "the other waits, too", limited).await;
        running.stop().await;
        assert_eq!(forge.counts().0, 1);
    }
}

/// Gitea's words.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_could_not_tell_is_told_with_the_next_one() {
    for test in databases().await {
        let database = test.open().await;
        let revoked = json!({ "message": format!("invalid username, password or token {SECRET}") });
        let revoked = ResponseTemplate::new(401).set_body_json(revoked);
        let forge = Forge::new(vec![Mood::Answers(revoked); 2]).await;
        let id = forge.project(&database).await;
        let running = serve(&database, real()).await;
        let is_refused = |kept: &KeptStatus| kept.last_error.is_some();
        let kept = status(&database, id, "it is refused", is_refused).await;
        assert_eq!(kept.sending, Sending::Due);
        let why = kept.last_error.unwrap();
        assert!(why.contains("refused the token with 401") && !why.contains(SECRET), "{why}");
        status(&database, id, "it is told", is_shown).await;
        running.stop().await;
        assert_eq!(forge.states().last().unwrap(), "success");
        nothing_twice(&forge);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_succeed_is_kept_with_the_reason() {
    let elsewhere = MockServer::start().await;
    let location = format!("{}/api/v1/repos/o/r/statuses/{COMMIT}", elsewhere.uri());
    let says = |code: u16| {
        ResponseTemplate::new(code).set_body_json(json!({ "message": format!("no {SECRET}") }))
    };
    for (answer, expected) in [
        (says(404), "does not find `o/r`"),
        (says(422), "rejected the status with 422"),
        (ResponseTemplate::new(307).insert_header("location", location.as_str()), "points to"),
        (ResponseTemplate::new(200).set_body_string("<html>sign in</html>"), "not like a forge"),
    ] {
        for test in databases().await {
            let database = test.open().await;
            // Each of the run's statuses gets that answer.
            let forge = Forge::new(vec![Mood::Answers(answer.clone()); 9]).await;
            let id = forge.project(&database).await;
            let running = serve(&database, real()).await;
            let is_refused = |kept: &KeptStatus| kept.sending == Sending::Refused;
            let kept = status(&database, id, expected, is_refused).await;
            running.stop().await;
            let why = kept.last_error.unwrap();
            assert!(why.contains(expected) && !why.contains(SECRET), "{why}");
            let notices = database.run_details(kept.run).await.unwrap().unwrap().notices;
            let said = format!("the forge does not take the status `levain`: {why}");
            assert_eq!(notices, [said]);
            assert!(forge.counts().0 <= 3, "{:?}", forge.counts());
            assert_eq!(database.next_status_at().await.unwrap(), None, "it is not tried again");
            assert_eq!(database.statuses_not_shown(id, 9).await.unwrap().len(), 1);
        }
    }
    assert_eq!(elsewhere.received_requests().await.unwrap().len(), 0, "a token stays where it is");
}
