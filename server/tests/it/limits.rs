//! The limits of forges, where people and programs see them.

use levain_actions::forge::ForgeKind;
use levain_actions::forge::webhook::Sender;
use levain_actions::status::{State, Status};
use levain_server::Database;
use levain_server::forges::Forges;
use levain_server::logins::Logins;
use levain_server::projects::{NewProject, Project};
use levain_server::runs::RunId;
use levain_server::statuses::decide::Sent;
use levain_server::statuses::messenger::{ForgeMessenger, Message, Messenger};
use levain_server::statuses::wording::Telling;
use serde_json::{Value, json};
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::hub::Hub;
use crate::listening::Listening;
use crate::support::databases;

/// A forge that answers with a count, and wants silence from whoever writes.
async fn forge() -> MockServer {
    drop(rustls::crypto::ring::default_provider().install_default());
    let server = MockServer::start().await;
    let counted = |answer: ResponseTemplate| {
        answer
            .insert_header("x-ratelimit-limit", "5000")
            .insert_header("x-ratelimit-remaining", "12")
    };
    let described = json!({ "id": 7, "full_name": "o/r", "private": false });
    let read = counted(ResponseTemplate::new(200).set_body_json(described));
    let written = counted(ResponseTemplate::new(429).insert_header("retry-after", "3600"));
    Mock::given(method("GET")).respond_with(read).mount(&server).await;
    Mock::given(method("POST")).respond_with(written).mount(&server).await;
    server
}

async fn project(database: &Database, name: &str, url: &str, token: &std::path::Path) -> Project {
    let new = NewProject {
        token_file: Some(token.to_owned()),
        ..NewProject::new(name, Sender::Forge(ForgeKind::Gitea), format!("{url}/o/{name}"))
    };
    let id = database.add_project(new).await.unwrap().id;
    database.project(id).await.unwrap().unwrap()
}

async fn health(server: &Listening, lines: &[(&str, &str)]) -> (String, Vec<Value>) {
    let page = server.get("/health", lines).await.body;
    let twin = server.get("/health.json", lines).await.body;
    let twin: Value = serde_json::from_str(&twin).unwrap();
    (page, twin["limits"].as_array().unwrap().clone())
}

#[tokio::test]
async fn a_limit_is_shown_with_the_projects_that_share_it() {
    for test in databases().await {
        let database = test.open().await;
        let forge = forge().await;
        let directory = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| directory.path().join(name));
        for file in [&one, &two] {
            std::fs::write(file, "s3cr3t-t0ken").unwrap();
        }
        let r = project(&database, "r", &forge.uri(), &one).await;
        project(&database, "shares", &forge.uri(), &one).await;
        project(&database, "has-its-own", &forge.uri(), &two).await;
        let forges = Forges { logins: Logins::new(database.clone(), None) };
        let server = Listening::with(&database, |site| site.forges = forges.clone()).await;
        let (page, limits) = health(&server, &[]).await;
        assert!(limits.is_empty() && !page.contains("Limits of forges"), "{limits:?}");
        forges.repository(&r).await.unwrap();
        let (page, limits) = health(&server, &[]).await;
        let [limit] = &*limits else { panic!("{limits:?}") };
        assert!(page.contains("12 of 5000 requests left"), "{page}");
        assert_eq!((&limit["limit"], &limit["remaining"]), (&json!(5000), &json!(12)));
        assert_eq!(limit["mark"]["class"], "good");
        let names: Vec<&str> = limit["projects"]
            .as_array()
            .unwrap()
            .iter()
            .map(|project| project["text"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["r", "shares"]);
        // Neither the token nor where it is.
        assert!(!page.contains("s3cr3t") && !page.contains(directory.path().to_str().unwrap()));
        // Whoever sees none of these projects sees no limit of theirs.
        let (page, limits) = health(&server, &[("via", "1.1 proxy")]).await;
        assert!(limits.is_empty() && !page.contains("requests left"), "{limits:?}");
        // A forge that wants silence, as a status hears it.
        let status = Status::new(&"a".repeat(40), "levain", State::Success, "green").unwrap();
        let messenger = ForgeMessenger::new(forges.logins.clone());
        let telling = Telling::default();
        let message = Message {
            project: &r,
            telling: &telling,
            status: &status,
            in_doubt: false,
            run: RunId::from_number(1),
            check: None,
        };
        assert!(matches!(messenger.send(message).await, Sent::Later { .. }));
        let (page, limits) = health(&server, &[]).await;
        assert_eq!(limits[0]["mark"]["word"], "waits");
        assert!(
            limits[0]["silentUntil"].is_string() && page.contains("asks for silence"),
            "{page}"
        );
        let numbers = server.get("/metrics", &[]).await.body;
        let of = |name: &str| {
            let series =
                format!("{name}{{forge=\"127.0.0.1\",login=\"token-{}\"}} ", r.id.number());
            let line = numbers.lines().find_map(|line| line.strip_prefix(&series));
            line.map(|value| value.parse::<u64>().unwrap())
        };
        assert_eq!(of("levain_forge_requests_limit"), Some(5_000), "{numbers}");
        assert_eq!(of("levain_forge_requests_left"), Some(12));
        assert_eq!(of("levain_forge_wait_seconds"), Some(0));
        assert!(of("levain_forge_silence_seconds").unwrap() > 3_000, "{numbers}");
    }
}

#[tokio::test]
async fn an_apps_limit_is_that_of_its_installation() {
    for test in databases().await {
        let database = test.open().await;
        let hub = Hub::new().await;
        let (_, app) = hub.add_app(&database).await;
        let r = hub.project(&database, &app, "r").await;
        let logins = Logins::new(database.clone(), None);
        let forges = Forges { logins: logins.clone() };
        let asked = async || {
            let project = database.project(r.id).await.unwrap().unwrap();
            forges.repository(&project).await.unwrap();
            let projects = database.projects().await.unwrap();
            let limits = logins.limits(&projects).into_iter();
            limits
                .map(|limit| (limit.login.label(), limit.said.and_then(|said| said.remaining)))
                .collect::<Vec<_>>()
        };
        // With the first answer it is learned where the App is installed.
        asked().await;
        let [(app, _), (installation, left)] = &*asked().await else { panic!("not two limits") };
        assert!(app.starts_with("app-"), "{app}");
        assert_eq!(*installation, format!("installation-{}", crate::hub::INSTALLATION));
        assert!(left.is_some());
    }
}
