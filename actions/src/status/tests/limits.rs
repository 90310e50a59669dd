//! Whoever asks or tells a forge something hears what it says of its limits.

use super::*;
use crate::forge::{Limits, Questions};
use crate::pull_requests::PullRequestReader;

#[tokio::test]
async fn each_answer_is_heard_whoever_asked_and_whatever_it_was() {
    for code in [200, 404, 429] {
        let limits = Limits::default();
        let answer = says(code, "no")
            .insert_header("x-ratelimit-limit", "60")
            .insert_header("x-ratelimit-remaining", "7");
        let server = forge(vec![answer]).await;
        let heard = |whose: &str| limits.of(whose).and_then(|limit| limit.remaining);
        let config = |whose: &str| ForgeConfig {
            limits: Some(limits.listener(whose.to_owned())),
            ..config(ForgeKind::Gitea, &server.uri())
        };
        let token = Token::from_value(SECRET).unwrap();
        assert_eq!(heard("client"), None);
        let status = status("levain", State::Success);
        // What came of it makes no difference here.
        drop(client_of(&config("client")).0.send(&status).await);
        drop(StatusReader::new(&config("reader"), &token).unwrap().shows(&status).await);
        drop(PullRequestReader::new(&config("pulls"), &token).unwrap().open().await);
        drop(Questions::new(&config("questions"), token).unwrap().repository().await);
        for whose in ["client", "reader", "pulls", "questions"] {
            assert_eq!(heard(whose), Some(7), "{whose} {code}");
            let is_blocked = limits.of(whose).unwrap().blocked_until.is_some();
            assert_eq!(is_blocked, code == 429, "{whose}");
        }
    }
}
