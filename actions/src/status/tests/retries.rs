//! What is tried again, after which wait, and what is not.

use std::io::{Read, Write};

use super::*;

/// Sends one status to a forge with these answers.
async fn send(
    kind: ForgeKind,
    answers: Vec<ResponseTemplate>,
) -> (Result<Delivered, DeliveryError>, Vec<u128>, usize) {
    let server = forge(answers).await;
    let (client, clock) = client(kind, &server.uri());
    let result = client.send(&status("levain", State::Success)).await;
    (result, clock.slept(), requests(&server).await.len())
}

#[tokio::test]
async fn trouble_of_the_forge_is_waited_out() {
    let answers = vec![says(500, "oops"), ResponseTemplate::new(502), created()];
    let (result, slept, requests) = send(ForgeKind::GitHub, answers).await;
    assert_eq!(result.unwrap(), Delivered::Created { id: Some(42) });
    assert_eq!((slept, requests), (vec![1000, 2000], 3));
}

#[tokio::test]
async fn it_gives_up_in_the_end_and_says_why() {
    let (result, slept, requests) = send(ForgeKind::Gitea, vec![says(503, "upgrading")]).await;
    let error = result.unwrap_err().to_string();
    assert_eq!(
        error,
        "gave up after 5 attempts: the forge has trouble and answered 503: upgrading"
    );
    assert_eq!((slept, requests), (vec![1000, 2000, 4000, 8000], 5));
}

#[tokio::test]
async fn retry_after_is_obeyed() {
    for code in [429, 403, 503] {
        let busy = says(code, "slow down").insert_header("retry-after", "7");
        let (result, slept, _) = send(ForgeKind::GitHub, vec![busy, created()]).await;
        result.unwrap();
        assert_eq!(slept, [7000], "{code}");
    }
    let date = ("retry-after", "Fri, 15 Jan 2027 08:00:09 GMT");
    let busy = says(429, "slow down").insert_header(date.0, date.1);
    let (result, slept, _) = send(ForgeKind::GitLab, vec![busy, created()]).await;
    result.unwrap();
    assert_eq!(slept, [9000]);
}

#[tokio::test]
async fn a_limit_that_is_used_up_is_waited_for() {
    let reset = (START + 33).to_string();
    let busy = says(403, "API rate limit exceeded")
        .insert_header("x-ratelimit-remaining", "0")
        .insert_header("x-ratelimit-reset", reset.as_str());
    let (result, slept, _) = send(ForgeKind::GitHub, vec![busy, created()]).await;
    result.unwrap();
    assert_eq!(slept, [33_000]);
}

#[tokio::test]
async fn a_limit_without_a_time_costs_minutes() {
    let busy = says(403, "You have exceeded a secondary rate limit")
        .insert_header("x-ratelimit-remaining", "4000")
        .insert_header("x-ratelimit-reset", "9999999999");
    let answers = vec![busy.clone(), busy, created()];
    let (result, slept, _) = send(ForgeKind::GitHub, answers).await;
    result.unwrap();
    assert_eq!(slept, [60_000, 120_000]);
}

#[tokio::test]
async fn nobody_waits_for_an_hour_and_nobody_comes_back_early() {
    let busy = says(429, "slow down").insert_header("retry-after", "3600");
    let server = forge(vec![busy, created()]).await;
    let (client, clock) = client(ForgeKind::GitHub, &server.uri());
    for attempts in [1, 0] {
        let error = client.send(&status("levain", State::Success)).await.unwrap_err();
        let DeliveryError::GivingUp { attempts: made, last } = error else { panic!("{error}") };
        assert_eq!(made, attempts);
        let DeliveryError::RateLimited { wait, message } = *last else { panic!("{last}") };
        assert_eq!(wait.as_secs(), 3600);
        assert_eq!(message == "slow down", attempts == 1, "{message}");
    }
    assert_eq!(clock.slept(), Vec::<u128>::new());
    assert_eq!(requests(&server).await.len(), 1);
}

#[tokio::test]
async fn a_refused_token_is_said_at_once() {
    for (kind, rights) in [
        (ForgeKind::GitHub, "`repo:status`"),
        (ForgeKind::GitLab, "scope `api`"),
        (ForgeKind::Forgejo, "`write:repository`"),
    ] {
        for code in [401, 403] {
            // The remaining count comes with every answer, and is no reason to try again.
            let refusal = says(code, "Bad credentials")
                .insert_header("x-ratelimit-remaining", "59")
                .insert_header("x-ratelimit-reset", "9999999999");
            let (result, slept, requests) = send(kind, vec![refusal]).await;
            let error = result.unwrap_err();
            assert!(matches!(error, DeliveryError::Refused { status, .. } if status == code));
            let text = error.to_string();
            assert!(text.contains("`octo/sourdough`: Bad credentials\nhint: "), "{text}");
            assert!(text.contains(rights), "{text}");
            assert_eq!((slept.len(), requests), (0, 1));
        }
    }
}

#[tokio::test]
async fn other_refusals_are_not_repeated() {
    let (result, _, requests) = send(ForgeKind::GitHub, vec![says(404, "Not Found")]).await;
    let error = result.unwrap_err();
    assert!(matches!(error, DeliveryError::NotFound { .. }), "{error}");
    assert!(error.to_string().contains("`octo/sourdough`"), "{error}");
    assert_eq!(requests, 1);

    let invalid = ResponseTemplate::new(422).set_body_json(json!({
        "message": "Validation Failed",
        "errors": [{ "message": "too many statuses", "code": "custom" }, "and more"],
    }));
    let (result, _, requests) = send(ForgeKind::GitHub, vec![invalid]).await;
    assert_eq!(
        result.unwrap_err().to_string(),
        "the forge rejected the status with 422: Validation Failed: too many statuses, and more"
    );
    assert_eq!(requests, 1);

    let structured =
        ResponseTemplate::new(400).set_body_json(json!({ "message": { "name": ["is too long"] } }));
    let (result, _, _) = send(ForgeKind::GitLab, vec![structured]).await;
    assert_eq!(
        result.unwrap_err().to_string(),
        r#"the forge rejected the status with 400: {"name":["is too long"]}"#
    );
}

#[tokio::test]
async fn entering_a_state_twice_is_a_delivery() {
    let says = |text: &str| vec![says(400, text)];
    let same = "Cannot transition status via :success from :success (Reason(s): …)";
    let (result, _, requests) = send(ForgeKind::GitLab, says(same)).await;
    assert_eq!((result.unwrap(), requests), (Delivered::ShownAlready, 1));

    let plain = "Cannot transition status via :enqueue";
    let (result, _, _) = send(ForgeKind::GitLab, says(plain)).await;
    assert_eq!(result.unwrap(), Delivered::ShownAlready);

    let other = "Cannot transition status via :success from :failed (Reason(s): …)";
    let (result, _, _) = send(ForgeKind::GitLab, says(other)).await;
    let error = result.unwrap_err();
    assert!(matches!(error, DeliveryError::Rejected { status: 400, .. }), "{error}");

    let (result, _, _) = send(ForgeKind::Gitea, says(same)).await;
    let error = result.unwrap_err();
    assert!(matches!(error, DeliveryError::Rejected { status: 400, .. }), "{error}");
}

#[tokio::test]
async fn an_answer_that_is_no_forges_is_garbage() {
    let page = format!("<html>\n<title>Log in</title>{}", "x".repeat(1000));
    for body in [page.as_str(), "", "[1]", "\"ok\"", "{\"id\":"] {
        let answer = ResponseTemplate::new(200).set_body_string(body);
        let (result, _, requests) = send(ForgeKind::GitHub, vec![answer]).await;
        let error = result.unwrap_err();
        let DeliveryError::Garbage { status: 200, excerpt, .. } = &error else { panic!("{error}") };
        assert!(excerpt.chars().count() <= 200, "{excerpt}");
        assert_eq!(requests, 1);
    }
    let answer = ResponseTemplate::new(200).set_body_string(page);
    let error = send(ForgeKind::GitHub, vec![answer]).await.0.unwrap_err().to_string();
    assert!(error.contains("<html> <title>Log in</title>x"), "{error}");
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // Talks until it is hung up on.
    let talker = tokio::task::spawn_blocking(move || -> std::io::Result<()> {
        let (mut connection, _) = listener.accept()?;
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            let mut part = [0; 1024];
            let length = connection.read(&mut part)?;
            assert_ne!(length, 0, "the request ends in a brace");
            request.extend_from_slice(&part[..length]);
        }
        connection.write_all(b"HTTP/1.1 422 No\r\ntransfer-encoding: chunked\r\n\r\n")?;
        let blah = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
        loop {
            connection.write_all(blah.as_bytes())?;
        }
    });
    let (client, _) = client(ForgeKind::GitHub, &url);
    let error = client.send(&status("levain", State::Success)).await.unwrap_err();
    assert!(matches!(&error, DeliveryError::Rejected { status: 422, .. }), "{error}");
    assert!(talker.await.unwrap().is_err());
}

#[tokio::test]
async fn a_forge_that_is_down_costs_its_patience_once() {
    let refusing = Refusing::new();
    let (client, clock) = client(ForgeKind::GitHub, &refusing.url());
    let error = client.send(&status("levain", State::Success)).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("gave up after 5 attempts: cannot reach `http://127.0.0.1:"),
        "{text}"
    );
    assert!(text.to_lowercase().contains("connection refused"), "{text}");
    assert_eq!(clock.slept(), [1000, 2000, 4000, 8000]);

    let error = client.send(&status("levain", State::Success)).await.unwrap_err();
    assert!(matches!(error, DeliveryError::GivingUp { attempts: 1, .. }), "{error}");
    assert_eq!(clock.slept().len(), 4);
}

#[tokio::test]
async fn a_forge_that_came_back_gets_the_full_patience_again() {
    let mut answers = vec![says(500, "oops"); 5];
    answers.extend([created(), says(500, "oops"), created()]);
    let server = forge(answers).await;
    let (client, _) = client(ForgeKind::GitHub, &server.uri());
    let status = status("levain", State::Success);
    assert!(client.send(&status).await.is_err());
    assert!(client.send(&status).await.is_ok());
    assert!(client.send(&status).await.is_ok());
    assert_eq!(requests(&server).await.len(), 8);
}
