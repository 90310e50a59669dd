//! Whether a forge shows a status already: asked in each forge's own words.

use std::time::Duration;

use super::super::{ReadError, Remedy, StatusReader};
use super::*;

/// Where a forge lists the statuses of the commit.
fn place(kind: ForgeKind) -> String {
    match kind {
        ForgeKind::GitHub => format!("/repos/octo/sourdough/commits/{COMMIT}/statuses"),
        ForgeKind::GitLab => {
            format!("/api/v4/projects/octo%2Fsourdough/repository/commits/{COMMIT}/statuses")
        }
        ForgeKind::Gitea | ForgeKind::Forgejo => {
            format!("/api/v1/repos/octo/sourdough/commits/{COMMIT}/statuses")
        }
    }
}

/// A status as a forge lists it.
fn listed(kind: ForgeKind, id: u64, context: &str, state: &str, text: &str) -> serde_json::Value {
    let (name, word) = match kind {
        ForgeKind::GitHub => ("context", "state"),
        ForgeKind::GitLab => ("name", "status"),
        ForgeKind::Gitea | ForgeKind::Forgejo => ("context", "status"),
    };
    json!({ "id": id, name: context, word: state, "description": text, "target_url": null })
}

async fn reader(kind: ForgeKind, answers: Vec<ResponseTemplate>) -> (MockServer, StatusReader) {
    let server = forge(answers).await;
    let token = Token::from_value(SECRET).unwrap();
    let reader = StatusReader::new(&config(kind, &server.uri()), &token).unwrap();
    (server, reader)
}

fn list(list: Vec<serde_json::Value>) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(list)
}

#[tokio::test]
async fn the_newest_of_a_name_is_what_is_shown() {
    for kind in ForgeKind::ALL {
        let wanted = status("levain/app", State::Success);
        let text = wanted.description().to_owned();
        let pending = listed(kind, 1, "levain/app", "pending", "waiting");
        let success = |id| listed(kind, id, "Levain/App", "success", &text);
        let other = listed(kind, 9, "levain", "success", &text);
        for (shown, expected) in [
            (vec![other.clone(), success(2), pending.clone()], true),
            // In whichever order.
            (vec![pending.clone(), success(2)], true),
            (vec![listed(kind, 3, "levain/app", "pending", "anew"), success(2)], false),
            (vec![listed(kind, 3, "levain/app", "success", "other words"), success(2)], false),
            (vec![other.clone()], false),
            (vec![], false),
        ] {
            let (server, reader) = reader(kind, vec![list(shown)]).await;
            assert_eq!(reader.shows(&wanted).await.unwrap(), expected, "{kind}");
            for request in server.received_requests().await.unwrap() {
                assert_eq!((request.method.as_str(), request.url.path()), ("GET", &*place(kind)));
            }
        }
    }
}

#[tokio::test]
async fn links_count_and_long_lists_are_read_on() {
    for kind in ForgeKind::ALL {
        let link = "https://ci.example.org/runs/1";
        let wanted = status("levain/app", State::Failure).with_target_url(link).unwrap();
        let word = match kind {
            ForgeKind::GitLab => "failed",
            ForgeKind::GitHub | ForgeKind::Gitea | ForgeKind::Forgejo => "failure",
        };
        let mut shown = listed(kind, 1, "levain/app", word, wanted.description());
        let full: Vec<_> =
            (0..100).map(|n| listed(kind, n + 2, &format!("other {n}"), word, "")).collect();
        let answers = vec![list(full.clone()), list(vec![shown.clone()])];
        let (_server, without) = reader(kind, answers).await;
        assert!(!without.shows(&wanted).await.unwrap(), "{kind}: it has no link");
        shown["target_url"] = link.into();
        let (server, with) = reader(kind, vec![list(full), list(vec![shown])]).await;
        assert!(with.shows(&wanted).await.unwrap(), "{kind}");
        assert_eq!(server.received_requests().await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn what_is_skipped_has_another_word_where_that_is_unknown() {
    let wanted = status("levain/app", State::Skipped);
    for (word, expected) in [("skipped", true), ("canceled", true), ("failed", false)] {
        let shown = listed(ForgeKind::GitLab, 1, "levain/app", word, wanted.description());
        let (_server, reader) = reader(ForgeKind::GitLab, vec![list(vec![shown])]).await;
        assert_eq!(reader.shows(&wanted).await.unwrap(), expected, "{word}");
    }
}

#[tokio::test]
async fn whoever_does_not_say_is_asked_later_or_never() {
    let wanted = status("levain/app", State::Success);
    let moved = ResponseTemplate::new(302).insert_header("location", "http://127.0.0.1:9/");
    let limited = says(429, "slower").insert_header("retry-after", "90");
    for (answer, later) in [
        (limited, Some(Some(90))),
        (says(503, SECRET), Some(None)),
        (says(404, SECRET), None),
        (moved, None),
        (ResponseTemplate::new(200).set_body_string("<html>"), None),
    ] {
        let (_server, reader) = reader(ForgeKind::GitHub, vec![answer]).await;
        let error = reader.shows(&wanted).await.unwrap_err();
        assert!(!error.to_string().contains(SECRET), "{error}");
        let found = match error {
            ReadError::Passing { wait, .. } => Some(wait.map(|wait| wait.as_secs())),
            ReadError::Lasting { .. } => None,
        };
        assert_eq!(found, later);
    }
}

#[tokio::test]
async fn a_failure_says_what_helps_against_it() {
    let once = RetryPolicy { attempts: 1, patience: Duration::ZERO, ..RetryPolicy::default() };
    let send = async |answer: Option<ResponseTemplate>| {
        let refusing = Refusing::new();
        let server = forge(answer.clone().into_iter().collect()).await;
        let url = if answer.is_some() { server.uri() } else { refusing.url() };
        let token = Token::from_value(SECRET).unwrap();
        let clock = Arc::new(TestClock::default());
        let config = config(ForgeKind::GitHub, &url);
        let client = StatusClient::with_clock(&config, token, once.clone(), clock).unwrap();
        client.send(&status("levain", State::Success)).await.unwrap_err().remedy()
    };
    let later = |wait: Option<u64>, may_have_arrived| Remedy::Later {
        wait: wait.map(Duration::from_secs),
        may_have_arrived,
    };
    let waiting = |code: u16| says(code, "").insert_header("retry-after", "70");
    for (answer, expected) in [
        (None, later(None, false)),
        (Some(says(500, "")), later(None, true)),
        (Some(waiting(503)), later(Some(70), true)),
        (Some(waiting(429)), later(Some(70), false)),
        (Some(says(401, "")), Remedy::None),
        (Some(says(404, "")), Remedy::None),
        (Some(says(422, "")), Remedy::None),
        (Some(says(301, "")), Remedy::None),
    ] {
        assert_eq!(send(answer.clone()).await, expected, "{answer:?}");
    }
}
