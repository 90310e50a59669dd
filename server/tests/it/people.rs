//! Who somebody is: signing in by a forge and by the operator's link, tokens, and what people try to get around them.

use std::time::Duration;

use levain_actions::forge::{Account, Right};
use levain_server::Database;
use levain_server::approve::Trust;
use levain_server::people::{SESSION, Started, WAIT};
use levain_server::reconcile::{Head, Heads};
use levain_server::secret::{Hash, Secret};
use reqwest::StatusCode;
use sqlx::{Executor, Row};

use crate::listening::{Answer, Forge, Listening, account, operator, signed_in, token};
use crate::support::{databases, note, now};

/// Sends a browser to the forge; returns what it is to bring back, and the cookie that it keeps.
async fn depart(server: &Listening, query: &str, lines: &[(&str, &str)]) -> (String, String) {
    let away = server.get(&format!("/sign-in/1{query}"), lines).await;
    assert_eq!(away.status, StatusCode::SEE_OTHER, "{away:?}");
    let location = reqwest::Url::parse(away.header("location").unwrap()).unwrap();
    let state = location.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let cookie = away.cookie("levain-departure").unwrap();
    (state, format!("levain-departure={cookie}"))
}

async fn arrive(server: &Listening, code: &str, state: &str, cookies: &str) -> Answer {
    let path = format!("/sign-in/callback?code={code}&state={state}");
    server.get(&path, &[("cookie", cookies)]).await
}

async fn whoever(server: &Listening, cookie: &str) -> String {
    server
        .get("/api/v1/visitor", &[("cookie", cookie), ("x-forwarded-for", "192.0.2.1")])
        .await
        .body
}

const NOBODY: &str = r#"{"kind":"nobody","name":null}"#;

#[tokio::test]
async fn somebody_signs_in_by_a_forge_and_out_again() {
    for test in databases().await {
        let database = test.open().await;
        let forge = Forge::new(&database).await;
        forge.person("ann", "ann", 5).await;
        let server = Listening::new(&database).await;
        let choice = server.get("/sign-in?next=/runs/7", &[]).await;
        assert!(choice.body.contains(&forge.server.uri()), "{}", choice.body);
        assert!(
            choice.body.contains("/sign-in/1?next&#x3D;")
                || choice.body.contains("/sign-in/1?next=")
        );
        let (state, browser) = depart(&server, "?next=/runs/7", &[]).await;
        let back = arrive(&server, "ann", &state, &browser).await;
        assert_eq!(
            (back.status, back.header("location")),
            (StatusCode::SEE_OTHER, Some("/runs/7"))
        );
        assert_eq!(back.cookie("levain-departure"), Some(""), "it is of no more use");
        let cookie = format!("levain={}", back.cookie("levain").unwrap());
        assert_eq!(whoever(&server, &cookie).await, r#"{"kind":"person","name":"ann"}"#);
        // The database alone signs nobody in.
        let mut connection = test.connect().await;
        let kept = connection.fetch_one("SELECT cookie FROM sessions").await.unwrap();
        assert!(!cookie.contains(&kept.get::<String, _>(0)));
        let out = server.post("/sign-out", &[("cookie", &cookie)], "").await;
        assert_eq!((out.status, out.cookie("levain")), (StatusCode::SEE_OTHER, Some("")));
        assert_eq!(whoever(&server, &cookie).await, NOBODY);
    }
}

#[tokio::test]
async fn who_comes_back_is_who_left_and_comes_back_once() {
    for test in databases().await {
        let database = test.open().await;
        let forge = Forge::new(&database).await;
        forge.person("ann", "ann", 5).await;
        let server = Listening::new(&database).await;
        let refused = |answer: &Answer| {
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{answer:?}");
            assert_eq!(answer.cookie("levain"), None, "{answer:?}");
        };
        // Somebody else's browser, as when a victim follows an attacker's link; then it is used.
        let (state, browser) = depart(&server, "", &[]).await;
        let (_, other) = depart(&server, "", &[]).await;
        refused(&arrive(&server, "ann", &state, &other).await);
        refused(&arrive(&server, "ann", &state, &browser).await);
        let (state, browser) = depart(&server, "", &[]).await;
        refused(&server.get(&format!("/sign-in/callback?code=ann&state={state}"), &[]).await);
        refused(&arrive(&server, "ann", "", &browser).await);
        // Once, and the state counts no more.
        let (state, browser) = depart(&server, "", &[]).await;
        assert_eq!(arrive(&server, "ann", &state, &browser).await.status, StatusCode::SEE_OTHER);
        refused(&arrive(&server, "ann", &state, &browser).await);
        // A code of which the forge knows nothing, and none at all.
        let (state, browser) = depart(&server, "", &[]).await;
        let unknown = arrive(&server, "eve", &state, &browser).await;
        assert_eq!((unknown.status, unknown.cookie("levain")), (StatusCode::BAD_GATEWAY, None));
        assert!(!unknown.body.contains("eve") && !unknown.body.contains("s3cr3t"));
        let (state, browser) = depart(&server, "", &[]).await;
        let path = format!("/sign-in/callback?error=access_denied&state={state}");
        refused(&server.get(&path, &[("cookie", &browser)]).await);
    }
}

#[tokio::test]
async fn who_takes_too_long_begins_anew() {
    for test in databases().await {
        let database = test.open().await;
        let forge = Forge::new(&database).await;
        let known = forge.known(&database).await;
        let (state, browser) = (Hash::of("state"), Hash::of("browser"));
        let started =
            || Started { forge: known.id, verifier: "v".to_owned(), next: "/".to_owned() };
        let begun = now();
        database.start_sign_in(state.clone(), browser.clone(), started(), begun).await.unwrap();
        let late = database.finish_sign_in(state.clone(), browser.clone(), begun.after(WAIT));
        assert!(late.await.unwrap().is_none());
        database.start_sign_in(state.clone(), browser.clone(), started(), begun).await.unwrap();
        let found = database.finish_sign_in(state, browser, begun).await.unwrap().unwrap();
        assert_eq!((found.0, found.1.verifier.as_str()), (known, "v"));
    }
}

#[tokio::test]
async fn nobody_is_made_to_use_a_session_that_others_know() {
    for test in databases().await {
        let database = test.open().await;
        let forge = Forge::new(&database).await;
        forge.person("ann", "ann", 5).await;
        let server = Listening::new(&database).await;
        // What an attacker has the browser send: something made up, and their own session.
        let made_up = format!("levain={}", "a".repeat(64));
        let eves = signed_in(&database, &forge, account("eve", 6)).await;
        for planted in [made_up, eves] {
            let (state, browser) = depart(&server, "", &[("cookie", &planted)]).await;
            let back = arrive(&server, "ann", &state, &format!("{browser}; {planted}")).await;
            let own = format!("levain={}", back.cookie("levain").unwrap());
            assert_ne!(own, planted);
            assert_eq!(whoever(&server, &planted).await, NOBODY);
            assert_eq!(whoever(&server, &own).await, r#"{"kind":"person","name":"ann"}"#);
            // Two of one name are none.
            assert_eq!(whoever(&server, &format!("{own}; {planted}")).await, NOBODY);
        }
    }
}

#[tokio::test]
async fn nobody_is_sent_elsewhere_after_signing_in() {
    let test = databases().await.remove(0);
    let database = test.open().await;
    let forge = Forge::new(&database).await;
    forge.person("ann", "ann", 5).await;
    let server = Listening::new(&database).await;
    for next in [
        "//evil.example",
        "https://evil.example/",
        "/\\evil.example",
        "%2F%2Fevil.example",
        "/%09/evil.example",
        "javascript:alert(1)",
        "/a%0d%0aset-cookie:levain=1",
    ] {
        let (state, browser) = depart(&server, &format!("?next={next}"), &[]).await;
        let back = arrive(&server, "ann", &state, &browser).await;
        assert_eq!(back.header("location"), Some("/"), "{next}");
    }
}

#[tokio::test]
async fn people_are_their_numbers_whatever_they_are_called() {
    for test in databases().await {
        let database = test.open().await;
        let forge = Forge::new(&database).await;
        let project = forge.project(&database, "bread", false).await;
        let server = Listening::new(&database).await;
        let sees = async |who: Account| {
            let cookie = signed_in(&database, &forge, who).await;
            let lines = [("cookie", cookie.as_str()), ("x-forwarded-for", "192.0.2.1")];
            server.get("/api/v1/projects/bread/runs", &lines).await.status == StatusCode::OK
        };
        forge.permit("bread", "ann", 5, "read").await;
        assert!(sees(account("ann", 5)).await);
        // Somebody else who is called nearly the same, or the same after a while.
        for who in [account("Ann", 6), account("ann ", 7), account("аnn", 8), account("ann", 9)] {
            assert!(!sees(who.clone()).await, "{who:?}");
        }
        // Renamed, and signed in again: the same person.
        forge.permit("bread", "anna", 5, "read").await;
        assert!(sees(account("anna", 5)).await);
        let mut connection = test.connect().await;
        let text = "SELECT login FROM people WHERE account = 5";
        let rows = connection.fetch_all(text).await.unwrap();
        let logins: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(logins, ["anna"]);
        // A name that leads elsewhere on the forge asks about nobody.
        for login in ["../../../user", "..", "a/b", "?x=1", "#"] {
            assert!(!sees(account(login, 10)).await, "{login}");
        }
        // A forge that is not the project's gives no right to it.
        let other = Forge::new(&database).await;
        other.permit("bread", "ann", 5, "admin").await;
        let cookie = signed_in(&database, &other, account("ann", 5)).await;
        let lines = [("cookie", cookie.as_str()), ("x-forwarded-for", "192.0.2.1")];
        let answer = server.get("/api/v1/projects/bread/runs", &lines).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(project.name, "bread");
    }
}

#[tokio::test]
async fn what_a_forge_does_not_say_is_no_right() {
    let test = databases().await.remove(0);
    let database = test.open().await;
    let forge = Forge::new(&database).await;
    forge.project(&database, "bread", false).await;
    let server = Listening::new(&database).await;
    for (login, id, answer) in [
        ("refused", 1, wiremock::ResponseTemplate::new(403)),
        ("broken", 2, wiremock::ResponseTemplate::new(500)),
        ("odd", 3, wiremock::ResponseTemplate::new(200).set_body_string("admin")),
        (
            "moved",
            4,
            wiremock::ResponseTemplate::new(302).insert_header("location", "https://evil.example/"),
        ),
        ("slow", 5, wiremock::ResponseTemplate::new(200).set_delay(Duration::from_secs(60))),
    ] {
        let place = format!("/api/v1/repos/o/bread/collaborators/{login}/permission");
        wiremock::Mock::given(wiremock::matchers::path(place))
            .respond_with(answer)
            .mount(&forge.server)
            .await;
        let cookie = signed_in(&database, &forge, account(login, id)).await;
        let answer = server.get("/api/v1/projects/bread/runs", &[("cookie", &cookie)]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{login}");
    }
}

#[tokio::test]
async fn who_wrote_a_pull_request_may_stop_it_and_run_it_again() {
    for test in databases().await {
        let database = test.open().await;
        let forge = Forge::new(&database).await;
        let server = Listening::new(&database).await;
        let mut runs = Vec::new();
        for (name, is_public) in [("public", true), ("private", false)] {
            let project = forge.project(&database, name, is_public).await;
            let commit = format!("{:040x}", 1).parse().unwrap();
            let head = Head { author: Some(5), ..Head::new(commit, Trust::Fork) };
            let heads = Heads::from([("pull/7".parse().unwrap(), head)]);
            runs.push(note(&database, project.id, heads).await.queued[0].number());
        }
        let ann = signed_in(&database, &forge, account("ann", 5)).await;
        let eve = signed_in(&database, &forge, account("eve", 6)).await;
        let post = async |cookie: &str, run: i64, what: &str| {
            let path = format!("/api/v1/runs/{run}/{what}");
            server.post(&path, &[("cookie", cookie)], "").await
        };
        assert_eq!(post(&eve, runs[0], "cancel").await.status, StatusCode::FORBIDDEN);
        let cancelled = post(&ann, runs[0], "cancel").await;
        assert_eq!(cancelled.status, StatusCode::OK, "{cancelled:?}");
        assert_eq!(post(&ann, runs[0], "cancel").await.status, StatusCode::CONFLICT);
        // Running it again approves nothing.
        let again = post(&ann, runs[0], "again").await;
        assert!(again.body.contains(r#""state":"unapproved""#), "{again:?}");
        // Nor may they approve it.
        let path = "/api/v1/projects/public/pulls/7/approve";
        let approve = server.post(path, &[("cookie", &ann)], "").await;
        assert_eq!(approve.status, StatusCode::FORBIDDEN);
        // What they may not see they may not stop, even if they wrote it once.
        assert_eq!(post(&ann, runs[1], "cancel").await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn an_approval_over_the_interface_is_the_one_of_the_command_line() {
    for test in databases().await {
        let database = test.open().await;
        let forge = Forge::new(&database).await;
        let server = Listening::new(&database).await;
        let project = forge.project(&database, "bread", false).await;
        let head = Head::new(format!("{:040x}", 1).parse().unwrap(), Trust::Fork);
        note(&database, project.id, Heads::from([("pull/7".parse().unwrap(), head.clone())])).await;
        let later = now().after(Duration::from_secs(600));
        let bearer = token(&database, "t", Right::Write, Some(&project), later).await;
        let approve = async |commit: &str| {
            let lines = [("authorization", bearer.as_str()), ("content-type", "application/json")];
            let body = format!(r#"{{"commit":"{commit}"}}"#);
            let path = "/api/v1/projects/bread/pulls/7/approve";
            server.ask(&reqwest::Method::POST, path, &lines, &body).await
        };
        let moved = approve(&format!("{:040x}", 2)).await;
        assert_eq!(moved.status, StatusCode::CONFLICT);
        assert!(moved.body.contains("the head of pull request 7 is 0000"), "{}", moved.body);
        assert_eq!(approve("0000000").await.status, StatusCode::UNPROCESSABLE_ENTITY);
        let approved = approve(&head.commit.to_string()).await;
        assert!(approved.body.starts_with(r#"{"expiresAt":"#), "{}", approved.body);
        let kept = database.approvals(project.id, 7).await.unwrap();
        assert_eq!((kept.len(), kept[0].approver.name.as_str()), (1, "token t"));
        let cookie = operator(&database).await;
        let path = "/projects/bread/pull/7/approve";
        let form = format!("commit={}", head.commit);
        let page = server.get("/projects/bread/pull/7", &[("cookie", &cookie)]).await;
        let shown = format!(
            r#"action="{path}"><input type="hidden" name="commit" value="{}">"#,
            head.commit
        );
        assert!(!page.body.contains(&shown), "it is approved already");
        note(&database, project.id, Heads::new()).await;
        note(&database, project.id, Heads::from([("pull/7".parse().unwrap(), head)])).await;
        let page = server.get("/projects/bread/pull/7", &[("cookie", &cookie)]).await;
        assert!(page.body.contains(&shown), "{}", page.body);
        let local = server.get("/projects/bread/pull/7", &[]).await;
        assert!(!local.body.contains(&shown), "whoever may not approve is not offered to");
        let posted = server.post(path, &[("cookie", &cookie)], &form).await;
        assert_eq!(posted.header("location"), Some("/projects/bread/pull/7"), "{posted:?}");
        assert_eq!(database.approvals(project.id, 7).await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn the_operators_link_counts_once_and_is_used_by_a_click_only() {
    for test in databases().await {
        let database = test.open().await;
        let server = Listening::new(&database).await;
        let link = Secret::new().unwrap();
        assert!(database.note_operator_link(link.hash(), now()).await.unwrap());
        let form = format!("token={}", link.expose());
        let page = format!("/admin?token={}", link.expose());
        // Programs that show previews, and pages of others, use nothing up.
        for _ in 0..3 {
            let shown = server.get(&page, &[]).await;
            // Not to others, and with its origin to this server.
            assert_eq!(shown.header("referrer-policy"), Some("same-origin"));
            assert!(shown.body.contains(r#"<form method="post" action="/admin">"#));
        }
        let kind = ("content-type", "application/x-www-form-urlencoded");
        let lines = [("origin", "https://evil.example"), kind];
        let foreign = server.ask(&reqwest::Method::POST, "/admin", &lines, &form).await;
        assert_eq!(foreign.status, StatusCode::FORBIDDEN);
        assert_eq!(server.post("/admin", &[], "token=0").await.status, StatusCode::FORBIDDEN);
        assert_eq!(server.post("/admin", &[], "").await.status, StatusCode::FORBIDDEN);
        // A click does, once.
        let used = server.post("/admin", &[], &form).await;
        assert_eq!((used.status, used.header("location")), (StatusCode::SEE_OTHER, Some("/")));
        let cookie = format!("levain={}", used.cookie("levain").unwrap());
        assert_eq!(whoever(&server, &cookie).await, r#"{"kind":"operator","name":null}"#);
        let again = server.post("/admin", &[], &form).await;
        assert_eq!((again.status, again.cookie("levain")), (StatusCode::FORBIDDEN, None));
        // No further one while the operator is signed in; else the newest only, for a day.
        let (second, third) = (Secret::new().unwrap(), Secret::new().unwrap());
        assert!(!database.note_operator_link(second.hash(), now()).await.unwrap());
        // But where they ask for it, as with a lost cookie; and the cookie need not count any longer.
        let lost = Secret::new().unwrap();
        database.replace_operator_link(lost.hash(), now()).await.unwrap();
        assert_eq!(database.end_operator_sessions().await.unwrap(), 1);
        assert_ne!(whoever(&server, &cookie).await, r#"{"kind":"operator","name":null}"#);
        let used = server.post("/admin", &[], &format!("token={}", lost.expose())).await;
        let fresh = format!("levain={}", used.cookie("levain").unwrap());
        assert_eq!(whoever(&server, &fresh).await, r#"{"kind":"operator","name":null}"#);
        let after = now().after(SESSION);
        assert!(database.note_operator_link(second.hash(), after).await.unwrap());
        assert!(database.note_operator_link(third.hash(), after).await.unwrap());
        let cookie = || Secret::new().unwrap().hash();
        let use_link = async |link: &Secret, at| {
            database.use_operator_link(link.hash(), cookie(), at).await.unwrap()
        };
        assert!(!use_link(&second, after).await);
        assert!(!use_link(&third, after.after(Duration::from_secs(24 * 60 * 60))).await);
        assert!(use_link(&third, after).await);
        // What is in the page is text, whatever the address says.
        let odd = server.get("/admin?token=%22%3E%3Cscript%3E", &[]).await;
        assert!(!odd.body.contains("<script>"), "{}", odd.body);
    }
}

#[tokio::test]
async fn tokens_count_in_one_header_for_a_while_and_for_their_project() {
    for test in databases().await {
        let database = test.open().await;
        let forge = Forge::new(&database).await;
        let server = Listening::new(&database).await;
        let bread = forge.project(&database, "bread", false).await;
        forge.project(&database, "cake", false).await;
        let later = now().after(Duration::from_secs(600));
        let bearer = token(&database, "t", Right::Read, Some(&bread), later).await;
        let secret = bearer.strip_prefix("Bearer ").unwrap();
        let status = async |path: &str, lines: &[(&str, &str)]| {
            let lines = [lines, &[("x-forwarded-for", "192.0.2.1")]].concat();
            server.get(path, &lines).await.status.as_u16()
        };
        let runs = "/api/v1/projects/bread/runs";
        assert_eq!(status(runs, &[("authorization", &bearer)]).await, 200);
        assert_eq!(status("/api/v1/projects/cake/runs", &[("authorization", &bearer)]).await, 404);
        // Nowhere else, where it would be logged or sent on.
        assert_eq!(status(&format!("{runs}?token={secret}"), &[]).await, 404);
        assert_eq!(status(&format!("{runs}?access_token={secret}"), &[]).await, 404);
        assert_eq!(status(runs, &[("cookie", &format!("levain={secret}"))]).await, 404);
        let basic = format!("Basic {secret}");
        for wrong in [basic.as_str(), "Bearer", "Bearer ", secret, "Bearer 0", ""] {
            assert_eq!(status(runs, &[("authorization", wrong)]).await, 401, "{wrong}");
        }
        // One that does not count is not made up for by who else asks.
        let cookie = operator(&database).await;
        let both = [("authorization", "Bearer 0"), ("cookie", cookie.as_str())];
        assert_eq!(status(runs, &both).await, 401);
        let used = database.tokens().await.unwrap();
        assert!(used[0].used_at.is_some());
        let ended = token(&database, "ended", Right::Admin, None, now()).await;
        assert_eq!(status(runs, &[("authorization", &ended)]).await, 401);
        assert!(database.remove_token("t".to_owned()).await.unwrap());
        assert!(!database.remove_token("t".to_owned()).await.unwrap());
        assert_eq!(status(runs, &[("authorization", &bearer)]).await, 401);
        let mut connection = test.connect().await;
        let kept = connection.fetch_all("SELECT secret FROM api_tokens").await.unwrap();
        assert!(kept.iter().all(|row| row.get::<String, _>(0) != secret), "only hashes are kept");
    }
}

#[tokio::test]
async fn sessions_end() {
    for test in databases().await {
        let database = test.open().await;
        let forge = Forge::new(&database).await;
        let known = forge.known(&database).await;
        let cookie = Secret::new().unwrap();
        let begun = now();
        database.sign_in(&known, account("ann", 5), cookie.hash(), begun).await.unwrap();
        let who =
            async |database: &Database, at| database.signed_in(cookie.hash(), at).await.unwrap();
        assert_eq!(who(&database, begun).await.unwrap().name(), "ann");
        assert_eq!(who(&database, begun.after(SESSION)).await, None);
        assert_eq!(database.forget_ended(begun).await.unwrap(), 0);
        assert_eq!(database.forget_ended(begun.after(SESSION)).await.unwrap(), 1);
        assert_eq!(who(&database, begun).await, None);
        // Whoever came by a forge that is not trusted any more is out.
        database.sign_in(&known, account("ann", 5), cookie.hash(), begun).await.unwrap();
        assert!(database.remove_sign_in_forge(known.url).await.unwrap());
        assert_eq!(who(&database, begun).await, None);
    }
}
