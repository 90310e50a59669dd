//! The status action against a fake forge that speaks the real formats.
//!
//! No test waits: [`TestClock`] notes what it is asked to sleep and jumps there.

mod limits;
mod outbox;
mod reader;
mod requests;
mod retries;
mod secrecy;
pub(crate) mod tls;

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::json;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::*;
use crate::forge::{ForgeConfig, ForgeKind, Token};

/// The author's commit.
const COMMIT: &str = "6dcb09b5b57875f334f61aebed695e2e4193db5e";

/// A token that is easy to find where it must not be.
const SECRET: &str = "ghs_S3cretS3cretS3cret";

/// When every test starts: 2027-01-15 08:00:00 UTC.
const START: u64 = 1_800_000_000;

#[derive(Debug, Default)]
struct TestClock {
    slept: Mutex<Vec<Duration>>,
}

impl TestClock {
    /// Returns the waits that were asked for, in milliseconds.
    fn slept(&self) -> Vec<u128> {
        self.slept.lock().unwrap().iter().map(Duration::as_millis).collect()
    }
}

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        let slept: Duration = self.slept.lock().unwrap().iter().sum();
        SystemTime::UNIX_EPOCH + Duration::from_secs(START) + slept
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.slept.lock().unwrap().push(duration);
        Box::pin(tokio::task::yield_now())
    }
}

fn config(kind: ForgeKind, url: &str) -> ForgeConfig {
    ForgeConfig {
        kind,
        api_url: Some(url.to_owned()),
        repository: "octo/sourdough".to_owned(),
        context_prefix: "levain".to_owned(),
        ca_file: None,
        limits: None,
    }
}

fn client(kind: ForgeKind, url: &str) -> (StatusClient, Arc<TestClock>) {
    client_of(&config(kind, url))
}

fn client_of(config: &ForgeConfig) -> (StatusClient, Arc<TestClock>) {
    let clock = Arc::new(TestClock::default());
    let token = Token::from_value(SECRET).unwrap();
    let shared = Arc::clone(&clock) as Arc<dyn Clock>;
    let client = StatusClient::with_clock(config, token, RetryPolicy::default(), shared).unwrap();
    (client, clock)
}

fn status(context: &str, state: State) -> Status {
    Status::new(COMMIT, context, state, "built in 3.2 s").unwrap()
}

/// A forge that gives these answers, one after the other, and the last for ever.
async fn forge(answers: Vec<ResponseTemplate>) -> MockServer {
    let server = MockServer::start().await;
    let answers = Mutex::new(std::collections::VecDeque::from(answers));
    let answer = move |_: &Request| {
        let mut answers = answers.lock().unwrap();
        if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }
            .unwrap_or_else(created)
    };
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

fn created() -> ResponseTemplate {
    ResponseTemplate::new(201).set_body_json(json!({ "id": 42, "state": "success" }))
}

fn says(code: u16, message: &str) -> ResponseTemplate {
    ResponseTemplate::new(code).set_body_json(json!({ "message": message }))
}

/// An address that refuses connections for as long as this lives: the near end of a connection
/// is taken, but nobody listens there. A port that was merely free could become another test's.
struct Refusing {
    connection: std::net::TcpStream,
    _listener: std::net::TcpListener,
}

impl Refusing {
    fn new() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let connection = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Self { connection, _listener: listener }
    }

    fn url(&self) -> String {
        format!("http://{}", self.connection.local_addr().unwrap())
    }
}

async fn requests(server: &MockServer) -> Vec<Request> {
    server.received_requests().await.unwrap()
}

#[test]
fn a_text_is_cut_by_characters() {
    assert_eq!(shorten("abc", 3), "abc");
    assert_eq!(shorten("abcd", 3), "ab…");
    assert_eq!(shorten("äöüß", 4), "äöüß");
    assert_eq!(shorten("äöüßx", 4), "äöü…");
    assert_eq!(shorten("🥖🥖🥖", 2), "🥖…");
    assert_eq!(shorten("ab cd", 4), "ab…", "no blank before the dots");
    assert_eq!(shorten("a\n\tb\u{0}c  d\r\n", 20), "a b\\u{0}c d");
    assert_eq!((shorten("ab", 1).as_str(), shorten("ab", 0).as_str()), ("…", ""));
}

#[test]
fn a_status_keeps_the_limits_of_all_forges() {
    for letter in ["x", "é", "🥖"] {
        let text = letter.repeat(300);
        let status = Status::new(COMMIT, &text, State::Success, &text).unwrap();
        assert_eq!(status.description().chars().count(), 140);
        assert!(status.description().ends_with(&format!("{letter}…")));
        assert_eq!(status.context().chars().count(), 100);
    }
    let text = "é".repeat(140);
    let status = Status::new(COMMIT, &text[..200], State::Success, &text).unwrap();
    assert_eq!((status.description(), status.context()), (text.as_str(), &text[..200]));
}

#[test]
fn long_names_that_differ_at_their_end_stay_different() {
    let name = |end: &str| format!("levain/x86_64-linux.{}.{end}", "deep.".repeat(30));
    let [a, b, again] = ["a", "b", "a"].map(|end| {
        let status = Status::new(COMMIT, &name(end), State::Success, "").unwrap();
        status.context().to_owned()
    });
    assert_ne!(a, b);
    assert_eq!(a, again);
    // Branch protection names it: this text may never change.
    expect_test::expect!["levain/x86_64-linux.deep.deep.deep.deep.deep.deep.deep.deep.deep.deep.deep.deep.deep.deep.d…0949013a"].assert_eq(&a);
}

#[test]
fn what_is_no_status_is_refused() {
    let commit = |text: &str| Status::new(text, "levain", State::Success, "").map(|_| ());
    assert!(commit(&"a".repeat(64)).is_ok());
    for text in ["", "6dcb09b", "HEAD", &"g".repeat(40), &"a".repeat(41)] {
        assert_eq!(commit(text), Err(InvalidStatus::Commit { found: text.to_owned() }));
    }
    let upper = Status::new(&COMMIT.to_uppercase(), "levain", State::Success, "").unwrap();
    assert_eq!(upper.commit(), COMMIT);
    let empty = Status::new(COMMIT, " \n", State::Success, "");
    assert_eq!(empty, Err(InvalidStatus::EmptyContext));
    for url in ["ci.example.org/1", "javascript:alert(1)", "https://u:p@ci.example.org"] {
        let error = status("levain", State::Success).with_target_url(url).unwrap_err();
        assert_eq!(error, InvalidStatus::TargetUrl { found: url.to_owned() });
    }
}
