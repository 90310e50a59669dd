//! Making an App, and what its forge delivers for all its repositories at one address.

use std::sync::Arc;
use std::time::Duration;

use levain_engine::cancel::Cancel;
use levain_server::Database;
use levain_server::apps::{App, NewApp};
use levain_server::deliveries::{Delivery, DeliveryState};
use levain_server::forges::Forges;
use levain_server::logins::Logins;
use levain_server::projects::Project;
use levain_server::reconcile::Heads;
use levain_server::runs::Ended;
use levain_server::runs::state::Verdict;
use levain_server::serving::{Running, Settings};
use levain_server::workshop::{Carried, HeadsError, Listed, Order, Workshop};
use reqwest::StatusCode;
use ring::hmac;
use serde_json::{Value, json};

use crate::hub::{APP, Hub, SECRET, rsa_key};
use crate::listening::{Answer, Listening, account, operator, signed_in};
use crate::support::databases;
use crate::work::{quick, start};

/// Nothing to build: what counts is which project is looked at.
struct Empty;

impl Workshop for Empty {
    fn heads(&self, _: &Project, _: &Cancel) -> Result<Listed, HeadsError> {
        Ok(Listed { heads: Heads::new(), ..Listed::default() })
    }

    fn carry_out(&self, _: &Order, _: &Cancel) -> Carried {
        Carried::Ended(Ended::new(Verdict::Succeeded, "nothing"))
    }
}

async fn serve(database: &Database) -> Running {
    let forges = Forges { logins: Logins::new(database.clone(), None) };
    start(database, Arc::new(Empty), Settings { forges, ..quick() }).await
}

/// Delivers as the forge does.
async fn deliver(
    server: &Listening,
    hook: &str,
    (event, key): (&str, &str),
    body: &str,
    secret: &str,
) -> Answer {
    let signing = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&signing, body.as_bytes());
    let signature = format!("sha256={}", data_encoding::HEXLOWER.encode(tag.as_ref()));
    let lines = [
        ("content-type", "application/json"),
        ("x-github-event", event),
        ("x-github-delivery", key),
        ("x-hub-signature-256", signature.as_str()),
    ];
    server.ask(&reqwest::Method::POST, &format!("/hooks/{hook}"), &lines, body).await
}

fn push(repository: u64, name: &str) -> String {
    json!({
        "ref": "refs/heads/main",
        "before": "0".repeat(40),
        "after": "1".repeat(40),
        "repository": { "id": repository, "full_name": format!("o/{name}") },
        "sender": { "id": 5, "login": "ann" },
        // Whatever it says, the forge is asked.
        "installation": { "id": 666 },
    })
    .to_string()
}

/// Waits until nothing waits any more.
async fn settled(database: &Database, project: &Project) -> Vec<Delivery> {
    for _ in 0..6_000 {
        let waits = database.next_app_delivery().await.unwrap().is_some();
        let found = database.last_deliveries(Some(project.id), 100).await.unwrap();
        if !waits && found.iter().all(|one| one.state != DeliveryState::Waiting) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not settled within 60 s");
}

/// Why the deliveries for an App that were about no project were so, the oldest first.
async fn others(database: &Database, app: &App) -> Vec<(String, String)> {
    let others = database.other_deliveries(app.id, 100).await.unwrap();
    let told = others.into_iter().rev().map(|one| (one.state, one.outcome.unwrap_or_default()));
    told.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_goes_to_the_project_of_its_repository_and_of_the_app_that_signed() {
    for test in databases().await {
        let database = test.open().await;
        let hub = Hub::new().await;
        hub.known().installed.insert("s".to_owned(), 8);
        let (added, app) = hub.add_app(&database).await;
        let r = hub.project(&database, &app, "r").await;
        let s = hub.project(&database, &app, "s").await;
        let logins = Logins::new(database.clone(), None);
        for project in [&r, &s] {
            logins.token(project, levain_actions::forge::Reach::Read).await.unwrap().unwrap();
        }
        // Another App, whose secret somebody else knows.
        let other = NewApp {
            hook: None,
            name: "other".to_owned(),
            kind: app.kind,
            url: hub.server.uri(),
            page: None,
            number: 2,
            private_key: rsa_key(),
            webhook_secret: Some("fedcba9876543210fedcba9876543210".to_owned()),
        };
        let other = database.add_app(other).await.unwrap();
        let server = Listening::new(&database).await;
        let hook = added.hook.as_str();
        let right = push(1_296_269, "r");
        for (to, secret, expected) in [
            (hook, SECRET, 202),
            (hook, "fedcba9876543210fedcba9876543210", 401),
            (hook, "", 401),
            (other.hook.as_str(), SECRET, 401),
            ("0123", SECRET, 401),
        ] {
            let answer = deliver(&server, to, ("push", "k1"), &right, secret).await;
            assert_eq!(answer.status.as_u16(), expected, "{to} {secret}: {}", answer.body);
        }
        let status = async |key, body: &str| {
            deliver(&server, hook, ("push", key), body, SECRET).await.status.as_u16()
        };
        // Again, and something else under the same key: the first counts.
        assert_eq!(status("k1", &right).await, 200);
        assert_eq!(status("k1", &push(8, "s")).await, 200);
        // What nobody reads before it is kept.
        assert_eq!(status("k2", "no JSON").await, 202);
        // Called like a project's, but it is another repository.
        assert_eq!(status("k3", &push(999, "r")).await, 202);
        let evil = "fedcba9876543210fedcba9876543210";
        let answer = deliver(&server, &other.hook, ("push", "k4"), &right, evil).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        let zen = json!({ "zen": "Keep it logically awesome.", "hook_id": 1 }).to_string();
        let answer = deliver(&server, hook, ("ping", "k5"), &zen, SECRET).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        // All of it is kept, and nothing was read.
        assert!(database.last_deliveries(None, 100).await.unwrap().is_empty());
        let running = serve(&database).await;
        let of_r = settled(&database, &r).await;
        assert_eq!(of_r.len(), 1);
        assert_eq!((of_r[0].key.as_str(), of_r[0].state), ("k1", DeliveryState::Acted));
        let kept = database.delivery(of_r[0].id).await.unwrap().unwrap();
        assert_eq!(kept.body, right.as_bytes());
        assert!(settled(&database, &s).await.is_empty());
        // It comes once more, long after.
        assert_eq!(status("k1", &right).await, 200);
        settled(&database, &r).await;
        running.stop().await;
        let told = others(&database, &app).await;
        assert_eq!(told[0].0, "failed");
        assert_eq!(told[1], ("ignored".into(), "`o/r` (999) is no project of this App".into()));
        assert_eq!(told[2], ("ignored".into(), "a ping: deliveries arrive".into()));
        let other = database.app_named("other").await.unwrap().unwrap();
        let told = others(&database, &other).await;
        let expected = "`o/r` (1296269) is no project of this App".to_owned();
        assert_eq!(told, [("ignored".to_owned(), expected)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_before_a_kill_is_handed_on_by_the_next_server_once() {
    for test in databases().await {
        let database = test.open().await;
        let hub = Hub::new().await;
        let (added, app) = hub.add_app(&database).await;
        let r = hub.project(&database, &app, "r").await;
        let logins = Logins::new(database.clone(), None);
        logins.token(&r, levain_actions::forge::Reach::Read).await.unwrap().unwrap();
        let server = Listening::new(&database).await;
        for number in 0..50 {
            let key = format!("k{number}");
            let body = push(1_296_269, "r");
            let answer = deliver(&server, &added.hook, ("push", &key), &body, SECRET).await;
            assert_eq!(answer.status, StatusCode::ACCEPTED);
        }
        // Two servers on one database read the same.
        let (one, other) = tokio::join!(serve(&database), serve(&database));
        let found = settled(&database, &r).await;
        one.stop().await;
        other.stop().await;
        let mut keys: Vec<String> = found.into_iter().map(|one| one.key).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 50);
    }
}

/// Returns what stands between two texts.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before} in {text}"));
    rest.split_once(after).unwrap().0
}

fn unescaped(text: &str) -> String {
    text.replace("&quot;", "\"").replace("&#x27;", "'").replace("&#x3D;", "=").replace("&amp;", "&")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_makes_an_app_with_two_clicks_and_nobody_sees_its_secrets() {
    for test in databases().await {
        let database = test.open().await;
        let hub = Hub::new().await;
        let server = Listening::new(&database).await;
        let cookie = operator(&database).await;
        let lines = [("cookie", cookie.as_str())];
        let start = server.get("/apps", &lines).await;
        assert!(start.body.contains(r#"action="/apps/new""#), "{}", start.body);
        let url: String = form_urlencoded(&hub.server.uri());
        let asked = format!("forge=github&url={url}&organization=acme");
        let left = async || {
            let page = server.post("/apps/new", &lines, &asked).await;
            assert_eq!(page.status, StatusCode::OK, "{}", page.body);
            assert_eq!(page.header("referrer-policy"), Some("strict-origin"));
            let policy = page.header("content-security-policy").unwrap().to_owned();
            assert!(
                policy.contains(&format!("form-action 'self' {};", hub.server.uri())),
                "{policy}"
            );
            let action = unescaped(between(&page.body, "action=\"http", "\""));
            let manifest = unescaped(between(&page.body, "name=\"manifest\" value=\"", "\""));
            let manifest: Value = serde_json::from_str(&manifest).unwrap();
            let (place, state) = action.split_once("?state=").unwrap();
            assert!(place.ends_with("/organizations/acme/settings/apps/new"), "{place}");
            (manifest, state.to_owned())
        };
        let (manifest, state) = left().await;
        let address = manifest["hook_attributes"]["url"].as_str().unwrap().to_owned();
        let hook = address.strip_prefix(&format!("{}/hooks/", server.base)).unwrap();
        assert_eq!(manifest["redirect_url"], format!("{}/apps/callback", server.base));
        let line = hub.pem.lines().nth(1).unwrap().to_owned();
        let made = json!({
            "id": APP, "slug": "levain-ci", "name": "levain ci", "client_id": "Iv1.1",
            "html_url": "https://github.com/apps/levain-ci", "client_secret": "cs",
            "pem": hub.pem, "webhook_secret": SECRET,
        });
        hub.known().manifest = Some(("c0de".to_owned(), made));
        let back = async |state: &str, lines: &[(&str, &str)]| {
            server.get(&format!("/apps/callback?code=c0de&state={state}"), lines).await
        };
        // Not with what was not given, not by somebody else, not without a word on who it is.
        assert_eq!(back("0123", &lines).await.status, StatusCode::FORBIDDEN);
        assert_eq!(back("", &lines).await.status, StatusCode::FORBIDDEN);
        let forge = crate::listening::Forge::new(&database).await;
        let ann = signed_in(&database, &forge, account("ann", 5)).await;
        assert_eq!(back(&state, &[("cookie", &ann)]).await.status, StatusCode::FORBIDDEN);
        let away = ("x-forwarded-for", "192.0.2.1");
        assert_eq!(back(&state, &[away]).await.status, StatusCode::UNAUTHORIZED);
        assert!(hub.known().asked.is_empty(), "the code is exchanged for nobody else");
        let there = back(&state, &lines).await;
        assert_eq!(there.status, StatusCode::SEE_OTHER, "{}", there.body);
        assert_eq!(there.header("location"), Some("/apps"));
        // Once.
        assert_eq!(back(&state, &lines).await.status, StatusCode::FORBIDDEN);
        let page = server.get("/apps", &lines).await;
        assert!(page.body.contains("https://github.com/apps/levain-ci/installations/new"));
        for secret in [SECRET, line.as_str(), hook, "c0de"] {
            assert!(!page.body.contains(secret) && !there.body.contains(secret), "{secret}");
        }
        // What it was told is what it delivers to, at once and without a restart.
        let body = push(1, "x");
        let answer = deliver(&server, hook, ("push", "k"), &body, SECRET).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        // The forge does not know the code, or answers something else.
        let (_, state) = left().await;
        let answer = back(&state, &lines).await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
        assert!(!answer.body.contains("c0de"), "{}", answer.body);
        let (_, state) = left().await;
        hub.known().manifest = Some((
            "c0de".into(),
            json!({ "id": 9, "slug": "x", "html_url": "javascript:alert(1)",
                "pem": "s3cr3t", "webhook_secret": "s3cr3t" }),
        ));
        let answer = back(&state, &lines).await;
        assert_eq!(answer.status, StatusCode::CONFLICT);
        assert!(!answer.body.contains("s3cr3t"), "{}", answer.body);
    }
}

fn form_urlencoded(text: &str) -> String {
    text.replace(':', "%3A").replace('/', "%2F")
}

/// Waits until there are so many projects; returns their names.
async fn named(database: &Database, count: usize) -> Vec<String> {
    for _ in 0..6_000 {
        let projects = database.projects().await.unwrap();
        if projects.len() == count && projects.iter().all(|one| one.looked_at.is_some()) {
            return projects.into_iter().map(|project| project.name).collect();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not {count} within 60 s: {:?}", database.projects().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn repositories_become_projects_where_the_operator_wants_that_and_the_owner_installed_it() {
    for test in databases().await {
        let database = test.open().await;
        let hub = Hub::new().await;
        let (added, app) = hub.add_app(&database).await;
        let r = hub.project(&database, &app, "r").await;
        for number in 0..25 {
            hub.known().installed.insert(format!("many-{number:02}"), 100 + number);
        }
        hub.known().installed.insert("old".to_owned(), 900);
        hub.known().archived.insert("old".to_owned());
        hub.known().strangers = vec!["miner".to_owned()];
        let server = Listening::new(&database).await;
        let body = json!({ "action": "created", "installation": { "id": 666 } }).to_string();
        let tell =
            async |key| deliver(&server, &added.hook, ("installation", key), &body, SECRET).await;
        // Not unless somebody wants it.
        let running = serve(&database).await;
        assert_eq!(tell("k1").await.status, StatusCode::ACCEPTED);
        settled(&database, &r).await;
        running.stop().await;
        assert_eq!(database.projects().await.unwrap().len(), 1);
        assert_eq!(others(&database, &app).await[0].0, "ignored");
        let cookie = operator(&database).await;
        let lines = [("cookie", cookie.as_str())];
        let answer = server.post("/apps/follow", &lines, "name=levain-ci&follows=true").await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
        // What is there already is not added twice, under whichever name; nor what is archived, nor a stranger's.
        let running = serve(&database).await;
        let names = named(&database, 26).await;
        assert!(names.contains(&"r".to_owned()) && names.contains(&"o-many-24".to_owned()));
        assert!(!names.iter().any(|name| name.contains("old") || name.contains("miner")));
        hub.known().installed.insert("later".to_owned(), 901);
        assert_eq!(tell("k2").await.status, StatusCode::ACCEPTED);
        let names = named(&database, 27).await;
        assert!(names.contains(&"o-later".to_owned()), "{names:?}");
        running.stop().await;
        let told = others(&database, &app).await;
        assert_eq!(told[1].0, "acted");
        let answer = server.post("/apps/follow", &lines, "name=none&follows=true").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
    }
}
