//! Exactly what each forge is sent.

use serde_json::Value;

use super::*;

/// Sends a status with everything in it and returns what arrived.
async fn sent(config: impl Fn(&str) -> ForgeConfig, state: State) -> Request {
    let server = forge(vec![created()]).await;
    let (client, _) = client_of(&config(&server.uri()));
    let status = status("levain/x86_64-linux.server", state)
        .with_git_ref("refs/heads/feature/rye")
        .with_target_url("https://ci.example.org/r/7")
        .unwrap();
    assert_eq!(client.send(&status).await.unwrap(), Delivered::Created { id: Some(42) });
    let mut requests = requests(&server).await;
    assert_eq!(requests.len(), 1);
    requests.remove(0)
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers.get(name).map(|value| value.to_str().unwrap())
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

#[tokio::test]
async fn github() {
    let request = sent(|url| config(ForgeKind::GitHub, url), State::Success).await;
    assert_eq!(request.method.as_str(), "POST");
    assert_eq!(request.url.path(), format!("/repos/octo/sourdough/statuses/{COMMIT}"));
    assert_eq!(header(&request, "authorization"), Some(format!("Bearer {SECRET}").as_str()));
    assert_eq!(header(&request, "accept"), Some("application/vnd.github+json"));
    assert_eq!(header(&request, "x-github-api-version"), Some("2022-11-28"));
    assert_eq!(header(&request, "content-type"), Some("application/json"));
    assert!(header(&request, "user-agent").is_some_and(|name| name.starts_with("levain/")));
    assert_eq!(
        body(&request),
        json!({
            "state": "success",
            "context": "levain/x86_64-linux.server",
            "description": "built in 3.2 s",
            "target_url": "https://ci.example.org/r/7",
        })
    );
}

#[tokio::test]
async fn gitlab() {
    let project = |repository: &'static str| {
        move |url: &str| ForgeConfig {
            repository: repository.to_owned(),
            ..config(ForgeKind::GitLab, url)
        }
    };
    let request = sent(project("octo/bread/sourdough"), State::Running).await;
    assert_eq!(request.method.as_str(), "POST");
    assert_eq!(
        request.url.path(),
        format!("/api/v4/projects/octo%2Fbread%2Fsourdough/statuses/{COMMIT}")
    );
    assert_eq!(header(&request, "private-token"), Some(SECRET));
    assert_eq!(header(&request, "authorization"), None);
    assert_eq!(header(&request, "content-type"), Some("application/json"));
    assert_eq!(
        body(&request),
        json!({
            "state": "running",
            "name": "levain/x86_64-linux.server",
            "ref": "feature/rye",
            "description": "built in 3.2 s",
            "target_url": "https://ci.example.org/r/7",
        })
    );
    let request = sent(project("31415"), State::Running).await;
    assert_eq!(request.url.path(), format!("/api/v4/projects/31415/statuses/{COMMIT}"));
}

#[tokio::test]
async fn gitea_and_forgejo() {
    for kind in [ForgeKind::Gitea, ForgeKind::Forgejo] {
        let request = sent(|url| config(kind, url), State::Failure).await;
        assert_eq!(request.method.as_str(), "POST");
        assert_eq!(request.url.path(), format!("/api/v1/repos/octo/sourdough/statuses/{COMMIT}"));
        assert_eq!(header(&request, "authorization"), Some(format!("token {SECRET}").as_str()));
        assert_eq!(header(&request, "content-type"), Some("application/json"));
        assert_eq!(
            body(&request),
            json!({
                "state": "failure",
                "context": "levain/x86_64-linux.server",
                "description": "built in 3.2 s",
                "target_url": "https://ci.example.org/r/7",
            })
        );
    }
}

#[tokio::test]
async fn every_state_has_a_word_on_every_forge() {
    const STATES: [State; 7] = [
        State::Pending,
        State::Running,
        State::Success,
        State::Failure,
        State::Error,
        State::Cancelled,
        State::Skipped,
    ];
    let mut table = String::new();
    for kind in [ForgeKind::GitHub, ForgeKind::GitLab, ForgeKind::Gitea] {
        let mut words = Vec::new();
        for state in STATES {
            let request = sent(|url| config(kind, url), state).await;
            words.push(body(&request)["state"].as_str().unwrap().to_owned());
        }
        table += &format!("{kind}: {}\n", words.join(" "));
    }
    expect_test::expect![[r#"
        github: pending pending success failure error error pending
        gitlab: pending running success failed failed canceled skipped
        gitea: pending pending success failure error error pending
    "#]]
    .assert_eq(&table);
}

#[tokio::test]
async fn a_gitlab_that_takes_no_skipped_is_told_that_it_is_cancelled() {
    let unknown = says(400, "state does not have a valid value");
    let running = says(400, "Cannot transition status via :skip from :running (Reason(s): …)");
    let skipped = says(400, "Cannot transition status via :skip from :skipped (Reason(s): …)");
    for (answers, expected) in [
        (vec![unknown.clone(), created()], &["skipped", "canceled"][..]),
        (vec![running, created()], &["skipped", "canceled"]),
        (vec![skipped], &["skipped"]),
    ] {
        let server = forge(answers).await;
        let (client, _) = client(ForgeKind::GitLab, &server.uri());
        client.send(&status("levain", State::Skipped)).await.unwrap();
        let requests = requests(&server).await;
        let states: Vec<_> =
            requests.iter().map(|request| body(request)["state"].clone()).collect();
        assert_eq!(states, expected);
    }

    // No other state has another word.
    let server = forge(vec![unknown]).await;
    let (client, _) = super::client(ForgeKind::GitLab, &server.uri());
    let error = client.send(&status("levain", State::Failure)).await.unwrap_err();
    assert!(matches!(error, DeliveryError::Rejected { status: 400, .. }), "{error}");
}

#[tokio::test]
async fn what_is_absent_is_not_sent() {
    for kind in ForgeKind::ALL {
        let server = forge(vec![created()]).await;
        let (client, _) = client(kind, &server.uri());
        client.send(&status("levain", State::Pending)).await.unwrap();
        let body = body(&requests(&server).await[0]);
        assert_eq!(body.get("target_url").or(body.get("ref")), None, "{kind}: {body}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = forge(vec![created()]).await;
    let moved = ResponseTemplate::new(307).insert_header("location", elsewhere.uri());
    let server = forge(vec![moved]).await;
    let (client, _) = client(ForgeKind::GitLab, &server.uri());
    let error = client.send(&status("levain", State::Success)).await.unwrap_err();
    assert!(matches!(&error, DeliveryError::Moved { status: 307, .. }), "{error}");
    assert!(error.to_string().contains(&elsewhere.uri()), "{error}");
    assert!(requests(&elsewhere).await.is_empty());
}
