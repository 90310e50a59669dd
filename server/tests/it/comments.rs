//! Comments at the forge that approve a commit: read again there, with what their author may do.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use levain_engine::cancel::Cancel;
use levain_server::Database;
use levain_server::approve::Trust;
use levain_server::deliveries::{Delivery, DeliveryState};
use levain_server::projects::{NewProject, Project, ProjectId, PullRequests};
use levain_server::reconcile::{Head, Heads};
use levain_server::runs::Ended;
use levain_server::runs::state::{RunState, Verdict};
use levain_server::serving::Running;
use levain_server::workshop::{Carried, HeadsError, Listed, Order, Workshop};
use serde_json::json;
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::{GITHUB, databases};
use crate::work::{self, quick, settled, start};

/// A forge's head of pull request 7, which is a fork's.
struct Bench(Mutex<u64>);

impl Workshop for Bench {
    fn heads(&self, _: &Project, _: &Cancel) -> Result<Listed, HeadsError> {
        let commit = format!("{:040x}", *self.0.lock().unwrap()).parse().unwrap();
        let heads = Heads::from([("pull/7".parse().unwrap(), Head::new(commit, Trust::Fork))]);
        Ok(Listed { heads, ..Listed::default() })
    }

    fn carry_out(&self, _: &Order, _: &Cancel) -> Carried {
        Carried::Ended(Ended::new(Verdict::Succeeded, "1 clean"))
    }
}

/// A forge with people, and comments that they wrote.
struct Forge {
    server: MockServer,
    token_file: PathBuf,
    _directory: tempfile::TempDir,
}

impl Forge {
    async fn new() -> Self {
        // Another test may have done so already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let directory = tempfile::tempdir().unwrap();
        let token_file = directory.path().join("token");
        std::fs::write(&token_file, "s3cr3t-t0ken").unwrap();
        Self { server: MockServer::start().await, token_file, _directory: directory }
    }

    async fn answer(&self, at: &str, answer: ResponseTemplate) {
        Mock::given(method("GET"))
            .and(path(format!("/api/v3/repos/o/r{at}")))
            .and(header("authorization", "Bearer s3cr3t-t0ken"))
            .respond_with(answer)
            .mount(&self.server)
            .await;
    }

    async fn person(&self, login: &str, id: u64, permission: &str) {
        let body = json!({ "permission": permission, "user": { "login": login, "id": id } });
        let answer = ResponseTemplate::new(200).set_body_json(body);
        self.answer(&format!("/collaborators/{login}/permission"), answer).await;
    }

    async fn comment(&self, number: u64, login: &str, id: u64, text: &str) {
        let body = json!({
            "id": number,
            "body": text,
            "user": { "login": login, "id": id },
            "issue_url": "https://api.example.org/repos/o/r/issues/7",
        });
        let answer = ResponseTemplate::new(200).set_body_json(body);
        self.answer(&format!("/issues/comments/{number}"), answer).await;
    }

    async fn project(&self, database: &Database) -> ProjectId {
        let new = NewProject::new("a", GITHUB, format!("{}/o/r", self.server.uri()));
        let pull_requests = PullRequests::Approved;
        let token_file = Some(self.token_file.clone());
        database.add_project(NewProject { pull_requests, token_file, ..new }).await.unwrap().id
    }
}

/// Delivers that there is a comment, as the route does.
async fn deliver(database: &Database, project: ProjectId, comment: u64, pull: u64) -> Delivery {
    deliver_as(database, project, comment, pull, &format!("{comment}-{pull}")).await
}

/// Delivers so under a key, which no forge signs.
async fn deliver_as(
    database: &Database,
    project: ProjectId,
    comment: u64,
    pull: u64,
    key: &str,
) -> Delivery {
    let body = json!({
        "action": "created",
        // What is said here is not believed.
        "comment": { "id": comment, "body": "/levain approve 0000000000000000000000000000000000000001" },
        "issue": { "number": pull, "pull_request": {} },
        "repository": { "id": 1, "full_name": "o/r" },
        "sender": { "id": 1 },
    });
    let id = work::deliver(database, project, key, "issue_comment", body.to_string()).await;
    settled(database, id).await
}

async fn serve(database: &Database, bench: &Arc<Bench>) -> Running {
    start(database, Arc::clone(bench) as _, quick()).await
}

async fn states(database: &Database, project: ProjectId) -> BTreeMap<String, RunState> {
    let runs = database.runs(project, 100).await.unwrap();
    let shown = |commit: String| commit.trim_start_matches('0').to_owned();
    runs.into_iter().map(|run| (shown(run.commit.to_string()), run.state)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_word_of_somebody_who_may_push_counts_and_only_for_the_head() {
    for test in databases().await {
        let database = test.open().await;
        let forge = Forge::new().await;
        let id = forge.project(&database).await;
        let bench = Arc::new(Bench(Mutex::new(1)));
        let running = serve(&database, &bench).await;
        forge.person("maintainer", 1, "write").await;
        forge.person("reader", 2, "read").await;
        // Somebody was renamed, and the name was taken by somebody with more rights.
        forge.person("renamed", 4, "admin").await;
        let approve = |number: u64| format!("/levain approve {number:040x}");
        forge.comment(10, "reader", 2, &approve(1)).await;
        forge.comment(11, "stranger", 3, &approve(1)).await;
        forge.comment(12, "renamed", 5, &approve(1)).await;
        forge.comment(13, "maintainer", 1, "Nice work.").await;
        forge.comment(14, "maintainer", 1, "/levain approve 0000000").await;
        forge.comment(15, "maintainer", 1, &approve(2)).await;
        forge.comment(16, "maintainer", 1, &approve(1)).await;
        for (comment, pull, why) in [
            (10, 7, "`reader` may not push to the repository"),
            (11, 7, "`stranger` may not push to the repository"),
            (12, 7, "`renamed` may not push to the repository"),
            (13, 7, "the comment asks levain for nothing"),
            (14, 7, "a commit is approved by all 40 digits of its name"),
            (99, 7, "the comment is not there any more"),
            // Written under another pull request.
            (16, 8, "the comment is not there any more"),
        ] {
            let delivery = deliver(&database, id, comment, pull).await;
            assert_eq!(delivery.state, DeliveryState::Ignored, "{comment}");
            assert_eq!(delivery.outcome.as_deref(), Some(why), "{comment}");
        }
        let moved = deliver(&database, id, 15, 7).await.outcome.unwrap();
        assert!(moved.starts_with("not approved: the head of pull request 7 is 0000"), "{moved}");
        assert_eq!(states(&database, id).await["1"], RunState::Unapproved);
        let approved = deliver(&database, id, 16, 7).await;
        assert_eq!(approved.state, DeliveryState::Acted);
        let outcome = approved.outcome.unwrap();
        assert!(outcome.starts_with("maintainer (1) approved 000000000000"), "{outcome}");
        for _ in 0..6_000 {
            if states(&database, id).await["1"] == RunState::Succeeded {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(states(&database, id).await["1"], RunState::Succeeded);
        // Somebody pushed before the comment was read: what is approved is not the head any more.
        *bench.0.lock().unwrap() = 2;
        forge.comment(17, "maintainer", 1, &approve(1)).await;
        let late = deliver(&database, id, 17, 7).await.outcome.unwrap();
        assert!(late.starts_with("not approved: the head of pull request 7 is"), "{late}");
        assert_eq!(states(&database, id).await["2"], RunState::Unapproved);
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_that_is_delivered_again_under_another_key_approves_nothing() {
    for test in databases().await {
        let database = test.open().await;
        let forge = Forge::new().await;
        let id = forge.project(&database).await;
        let bench = Arc::new(Bench(Mutex::new(1)));
        let running = serve(&database, &bench).await;
        forge.person("maintainer", 1, "write").await;
        forge.comment(16, "maintainer", 1, &format!("/levain approve {:040x}", 1)).await;
        let approved = deliver(&database, id, 16, 7).await;
        assert_eq!(approved.state, DeliveryState::Acted);
        // Another head ends the approval, and the approved one comes back.
        for (head, comment) in [(2, 90), (1, 91)] {
            *bench.0.lock().unwrap() = head;
            // Whatever it approves, the heads are listed.
            forge.comment(comment, "maintainer", 1, &format!("/levain approve {:040x}", 9)).await;
            deliver(&database, id, comment, 7).await;
        }
        let newest = async || database.runs(id, 1).await.unwrap().remove(0).state;
        assert_eq!(newest().await, RunState::Unapproved);
        let again = deliver_as(&database, id, 16, 7, "made-up").await;
        assert_eq!(again.state, DeliveryState::Ignored, "{:?}", again.outcome);
        let why = format!("delivery {} said so before", approved.id.number());
        assert!(again.outcome.unwrap().starts_with(&why));
        assert_eq!(newest().await, RunState::Unapproved);
        // Another comment is another word. So is the operator's, who has the first read once more.
        assert!(database.replay_delivery(approved.id).await.unwrap());
        for _ in 0..6_000 {
            if newest().await == RunState::Succeeded {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(newest().await, RunState::Succeeded);
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_whose_delivery_was_lost_is_found_by_the_next_look_and_counts_once() {
    for test in databases().await {
        let database = test.open().await;
        let forge = Forge::new().await;
        let id = forge.project(&database).await;
        forge.person("maintainer", 1, "write").await;
        forge.person("reader", 2, "read").await;
        let approve = format!("/levain approve {:040x}", 1);
        forge.comment(10, "reader", 2, &approve).await;
        forge.comment(11, "maintainer", 1, &approve).await;
        let listed = json!([
            { "id": 9, "body": "Nice work." },
            { "id": 11, "body": approve },
            { "id": 10, "body": approve },
            { "id": 12, "body": format!("/levain approve {:040x}", 2) },
        ]);
        let answer = ResponseTemplate::new(200).set_body_json(listed);
        forge.answer("/issues/7/comments", answer).await;
        // Written while no server listened.
        let bench = Arc::new(Bench(Mutex::new(1)));
        let running = serve(&database, &bench).await;
        let newest = async || database.runs(id, 1).await.unwrap().first().map(|run| run.state);
        work::until("it is built", async || newest().await == Some(RunState::Succeeded)).await;
        let approvals = database.approvals(id, 7).await.unwrap();
        assert_eq!(approvals.len(), 1);
        assert_eq!(approvals[0].approver.name, "maintainer (1)");
        // Delivered after all, and when the commit comes back after another one, it is no news.
        let late = deliver(&database, id, 11, 7).await;
        assert_eq!(late.state, DeliveryState::Ignored);
        assert!(late.outcome.unwrap().starts_with("it was found at the forge before"));
        running.stop().await;
        for head in [3, 1] {
            *bench.0.lock().unwrap() = head;
            let running = serve(&database, &bench).await;
            let name = format!("{head:040x}");
            work::until("it waits", async || {
                let newest = database.runs(id, 1).await.unwrap().remove(0);
                newest.commit.to_string() == name && newest.state == RunState::Unapproved
            })
            .await;
            running.stop().await;
        }
        let running = serve(&database, &bench).await;
        forge.comment(90, "maintainer", 1, "Hello.").await;
        deliver(&database, id, 90, 7).await;
        assert_eq!(newest().await, Some(RunState::Unapproved));
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forge_that_does_not_answer_is_asked_again_and_one_that_refuses_is_not() {
    for test in databases().await {
        let database = test.open().await;
        let forge = Forge::new().await;
        let id = forge.project(&database).await;
        let bench = Arc::new(Bench(Mutex::new(1)));
        let running = serve(&database, &bench).await;
        let text = format!("/levain approve {:040x}", 1);
        forge.comment(10, "maintainer", 1, &text).await;
        Mock::given(method("GET"))
            .and(path("/api/v3/repos/o/r/collaborators/maintainer/permission"))
            .respond_with(ResponseTemplate::new(502))
            .up_to_n_times(3)
            .mount(&forge.server)
            .await;
        forge.person("maintainer", 1, "admin").await;
        assert_eq!(deliver(&database, id, 10, 7).await.state, DeliveryState::Acted);
        forge.comment(11, "hidden", 6, &text).await;
        let refused = ResponseTemplate::new(403);
        forge.answer("/collaborators/hidden/permission", refused).await;
        let failed = deliver(&database, id, 11, 7).await;
        assert_eq!(failed.state, DeliveryState::Failed);
        let why = failed.outcome.unwrap();
        let expected = "answered 403 when asked for the rights of `hidden`: no reason was given";
        assert!(why.ends_with(expected), "{why}");
        running.stop().await;
    }
}
