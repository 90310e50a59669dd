//! Nobody takes what there is for all: places to watch from, and departures to sign in.

use levain_server::http::Proxies;
use reqwest::{Response, StatusCode};

use crate::listening::{Forge, Listening, account, signed_in};
use crate::support::databases;

/// How many pages one visitor may watch, and how often they may leave to sign in.
const WATCHED: usize = 64;
const DEPARTURES: usize = 100;

/// Watches until that is refused; returns what is watched.
async fn watch_all(server: &Listening, lines: impl Fn(usize) -> (String, String)) -> Vec<Response> {
    let mut watched = Vec::new();
    for number in 0..=2 * WATCHED {
        let (name, value) = lines(number);
        let lines = [(name.as_str(), value.as_str())];
        let response = server.watch("/projects/r/events", &lines).await;
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            break;
        }
        assert_eq!(response.status(), StatusCode::OK, "{number}");
        watched.push(response);
    }
    watched
}

fn forwarded(number: usize) -> (String, String) {
    ("x-forwarded-for".to_owned(), format!("192.0.2.{}", number % 250))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_visitor_watches_so_many_pages_and_others_still_can() {
    for test in databases().await {
        let database = test.open().await;
        let forge = Forge::new(&database).await;
        forge.project(&database, "r", true).await;
        let server = Listening::new(&database).await;
        let ann = signed_in(&database, &forge, account("ann", 5)).await;
        let bob = signed_in(&database, &forge, account("bob", 6)).await;
        let cookie = |of: &str| ("cookie".to_owned(), of.to_owned());
        let anns = watch_all(&server, |_| cookie(&ann)).await;
        assert_eq!(anns.len(), WATCHED);
        let status =
            async |of: &str| server.watch("/projects/r/events", &[("cookie", of)]).await.status();
        assert_eq!(status(&ann).await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status(&bob).await, StatusCode::OK);
        // Whoever is not signed in is an address, whatever they say that they pass on.
        let nobodys = watch_all(&server, forwarded).await;
        assert_eq!(nobodys.len(), WATCHED);
        drop(anns);
        for round in 0.. {
            if status(&ann).await == StatusCode::OK {
                break;
            }
            assert!(round < 1_000, "places come back");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        // Behind a proxy that is believed, they are who it says.
        let proxies = Proxies::new(["127.0.0.0/8".parse().unwrap()]);
        let server = Listening::behind(&database, proxies).await;
        let all = watch_all(&server, forwarded).await;
        assert_eq!(all.len(), 2 * WATCHED + 1);
        let same = watch_all(&server, |_| forwarded(251)).await;
        assert!(same.len() < WATCHED, "{}", same.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_visitor_leaves_to_sign_in_so_often() {
    for test in databases().await {
        let database = test.open().await;
        let forge = Forge::new(&database).await;
        let place = format!("/sign-in/{}", forge.known(&database).await.id);
        let server = Listening::new(&database).await;
        for number in 0..DEPARTURES {
            let (name, value) = forwarded(number);
            let answer = server.get(&place, &[(&name, &value)]).await;
            assert_eq!(answer.status, StatusCode::SEE_OTHER, "{number}: {}", answer.body);
        }
        let answer = server.get(&place, &[("x-forwarded-for", "192.0.2.1")]).await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=600).contains(&wait), "{wait}");
        // Somebody who is signed in already has turns of their own.
        let ann = signed_in(&database, &forge, account("ann", 5)).await;
        let answer = server.get(&place, &[("cookie", &ann)]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
    }
}
