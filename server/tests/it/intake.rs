//! What a forge is answered, over real HTTP.

use std::sync::Arc;
use std::time::Duration;

use levain_actions::forge::webhook::Sender;
use levain_server::http::{Limits, Site};
use levain_server::{Database, deliveries::DeliveryState};
use reqwest::{Method, StatusCode};
use sqlx::Row;

use crate::support::{GITHUB, databases, project};

/// A server on a port of its own.
struct Listening {
    base: String,
    client: reqwest::Client,
}

impl Listening {
    async fn new(database: &Database) -> Self {
        Self::within(database, Limits::default()).await
    }

    async fn within(database: &Database, limits: Limits) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let site = Site { limits, ..Site::new(database.clone()) };
        tokio::spawn(levain_server::http::serve(listener, site, Arc::default()));
        // Another test may have done so already.
        drop(rustls::crypto::ring::default_provider().install_default());
        Self { base, client: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    async fn send(
        &self,
        method: Method,
        hook: &str,
        lines: &[(&str, &str)],
        body: &[u8],
    ) -> StatusCode {
        let mut request = self.client.request(method, format!("{}/hooks/{hook}", self.base));
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(body.to_vec()).send().await.unwrap().status()
    }
}

fn signed(secret: &str, body: &[u8]) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let tag = ring::hmac::sign(&key, body);
    format!("sha256={}", data_encoding::HEXLOWER.encode(tag.as_ref()))
}

#[tokio::test]
async fn what_is_signed_is_kept_before_it_is_acknowledged() {
    for test in databases().await {
        let database = test.open().await;
        let added = project(&database, "a", GITHUB).await;
        let server = Listening::new(&database).await;
        let hook = added.hook.as_str();
        // Not JSON: nothing is read before the answer.
        let body = b"{\"ref\": ";
        let signature = signed(&added.secret, body);
        let lines = [
            ("content-type", "application/json; charset=utf-8"),
            ("x-github-event", "push"),
            ("x-github-delivery", "guid-1"),
            ("x-hub-signature-256", signature.as_str()),
        ];
        assert_eq!(server.send(Method::POST, hook, &lines, body).await, StatusCode::ACCEPTED);
        assert_eq!(server.send(Method::POST, hook, &lines, body).await, StatusCode::OK);
        let other = signed(&added.secret, b"other");
        let mut conflicting = lines;
        conflicting[3].1 = &other;
        assert_eq!(server.send(Method::POST, hook, &conflicting, b"other").await, StatusCode::OK);
        let kept = test.open().await.waiting_deliveries(10).await.unwrap();
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].body, body);
        assert_eq!((kept[0].key.as_str(), kept[0].event.as_deref()), ("guid-1", Some("push")));
        assert_eq!(
            (kept[0].state, kept[0].repeats, kept[0].conflicts),
            (DeliveryState::Waiting, 1, 1)
        );
    }
}

#[tokio::test]
async fn whoever_is_refused_learns_nothing() {
    for test in databases().await {
        let database = test.open().await;
        let added = project(&database, "a", GITHUB).await;
        let server = Listening::new(&database).await;
        let hook = added.hook.as_str();
        let good = signed(&added.secret, b"{}");
        let wrong = signed("another secret of that length...", b"{}");
        let json = ("content-type", "application/json");
        let post = async |hook: &str, lines: &[(&str, &str)]| {
            server.send(Method::POST, hook, lines, b"{}").await
        };
        let signature = "x-hub-signature-256";
        for lines in [
            &[json][..],
            &[json, (signature, "")],
            &[json, (signature, "sha256=")],
            &[json, (signature, &wrong)],
            &[json, ("x-hub-signature", "sha1=00")],
            // Not told either: that the kind of content is wrong.
            &[("content-type", "text/plain"), (signature, &wrong)],
        ] {
            assert_eq!(post(hook, lines).await, StatusCode::UNAUTHORIZED, "{lines:?}");
            assert_eq!(post("0123", lines).await, StatusCode::UNAUTHORIZED, "{lines:?}");
        }
        assert_eq!(post("0123", &[json, (signature, &good)]).await, StatusCode::UNAUTHORIZED);
        let form = [("content-type", "application/x-www-form-urlencoded"), (signature, &good)];
        assert_eq!(post(hook, &form).await, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert_eq!(post(hook, &[(signature, &good)]).await, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let status = server.send(method, hook, &[json, (signature, &good)], b"{}").await;
            assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
        }
        assert_eq!(database.waiting_deliveries(10).await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_body_may_have_25_mib_and_no_more() {
    let test = databases().await.remove(0);
    let database = test.open().await;
    let added = project(&database, "a", GITHUB).await;
    let server = Listening::new(&database).await;
    let status = async |bytes: usize| {
        let body = vec![b' '; bytes];
        let signature = signed(&added.secret, &body);
        let lines = [("content-type", "application/json"), ("x-hub-signature-256", &signature)];
        server.send(Method::POST, added.hook.as_str(), &lines, &body).await
    };
    assert_eq!(status(25 << 20).await, StatusCode::ACCEPTED);
    assert_eq!(status((25 << 20) + (64 << 10) + 1).await, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_hook_of_a_plain_repository_sends_any_text() {
    for test in databases().await {
        let database = test.open().await;
        let added = project(&database, "a", Sender::Git).await;
        let server = Listening::new(&database).await;
        let lines = [("x-levain-token", added.secret.as_str()), ("x-levain-delivery", "1")];
        let post = async |lines: &[(&str, &str)]| {
            server.send(Method::POST, added.hook.as_str(), lines, b"0 1 refs/heads/main").await
        };
        assert_eq!(post(&lines).await, StatusCode::ACCEPTED);
        assert_eq!(post(&[("x-levain-token", "wrong")]).await, StatusCode::UNAUTHORIZED);
        assert_eq!(database.waiting_deliveries(10).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn what_cannot_be_kept_is_not_acknowledged() {
    for test in databases().await {
        let database = test.open().await;
        let added = project(&database, "a", GITHUB).await;
        let server = Listening::new(&database).await;
        let mut connection = test.connect().await;
        let signature = signed(&added.secret, b"{}");
        let lines =
            [("content-type", "application/json"), ("x-hub-signature-256", signature.as_str())];
        for table in ["delivery_bodies", "deliveries", "webhook_secrets"] {
            let drop = sqlx::AssertSqlSafe(format!("DROP TABLE {table}"));
            sqlx::query(drop).execute(&mut connection).await.unwrap();
            let status = server.send(Method::POST, added.hook.as_str(), &lines, b"{}").await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "without {table}");
            if table == "delivery_bodies" {
                let row = sqlx::query("SELECT COUNT(*) FROM deliveries");
                let row = row.fetch_one(&mut connection).await.unwrap();
                assert_eq!(row.get::<i64, _>(0), 0, "nothing is kept by halves");
            }
        }
    }
}

/// Whoever says nothing loses its place, and whoever says something too slowly is told.
#[tokio::test]
async fn those_who_take_their_time_keep_nobody_waiting() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let test = &databases().await[0];
    let database = test.open().await;
    let added = project(&database, "a", GITHUB).await;
    let limits =
        Limits { connections: 8, header: Duration::from_secs(1), body: Duration::from_secs(1) };
    let server = Listening::within(&database, limits).await;
    let address = server.base.strip_prefix("http://").unwrap().to_owned();
    let mut slow = Vec::new();
    for said in
        ["".to_owned(), "POST /hooks/x HTTP/1.1\r\nhos".to_owned()].into_iter().cycle().take(8)
    {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    // There is no place left until those are ended.
    let lines = [("content-type", "application/json"), ("x-github-event", "push")];
    let sent = server.send(Method::POST, added.hook.as_str(), &lines, b"{}");
    assert_eq!(sent.await, StatusCode::UNAUTHORIZED);
    for mut stream in slow {
        let mut answer = Vec::new();
        // It is closed, with or without a word.
        drop(stream.read_to_end(&mut answer).await);
        assert!(!answer.starts_with(b"HTTP/1.1 2"));
    }
    let hook = format!("/hooks/{}", added.hook.as_str());
    for path in [hook.as_str(), "/hooks/nobody", "/admin"] {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        // The origin is the server's own, as any program can say.
        let said = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\norigin: http://127.0.0.1:8740\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: 10\r\n\r\n{{"
        );
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 408");
    }
}
