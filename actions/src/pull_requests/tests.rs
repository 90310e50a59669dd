//! What the forges are asked, what they answer, and what becomes of answers that are none.

use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::*;

const SECRET: &str = "ghs_S3cretS3cretS3cret";

fn sha(number: u64) -> String {
    format!("{number:040x}")
}

fn reader(kind: ForgeKind, url: &str) -> PullRequestReader {
    let config = ForgeConfig {
        kind,
        api_url: Some(url.to_owned()),
        repository: "octo/bread".to_owned(),
        context_prefix: "levain".to_owned(),
        ca_file: None,
        limits: None,
    };
    PullRequestReader::new(&config, &Token::from_value(SECRET).unwrap()).unwrap()
}

async fn forge_with(
    answer: impl Fn(&Request) -> ResponseTemplate + Send + Sync + 'static,
) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

/// A pull request as a forge lists it; `head` is the repository of its commits, if there is one.
fn listed(kind: ForgeKind, number: u64, head: Option<u64>) -> Value {
    let base = 7;
    match kind {
        ForgeKind::GitHub => json!({
            "number": number, "title": "a loaf",
            "head": { "sha": sha(number), "ref": "topic", "repo": head.map(|id| json!({ "id": id })) },
            "base": { "sha": sha(0), "ref": "main", "repo": { "id": base } },
        }),
        ForgeKind::Gitea | ForgeKind::Forgejo => json!({
            "number": number, "title": "a loaf",
            "head": { "sha": sha(number), "label": "topic", "ref": "topic", "repo_id": head.map_or(-1, |id| id as i64) },
            "base": { "sha": sha(0), "ref": "main", "repo_id": base },
        }),
        ForgeKind::GitLab => json!({
            "id": 9000 + number, "iid": number, "sha": sha(number),
            "source_project_id": head, "target_project_id": base, "target_branch": "main",
        }),
    }
}

#[tokio::test]
async fn heads_numbers_and_whose_they_are_on_every_forge() {
    for (kind, path, query, header, value) in [
        (
            ForgeKind::GitHub,
            "/repos/octo/bread/pulls",
            "state=open&per_page=100&page=1",
            "authorization",
            format!("Bearer {SECRET}"),
        ),
        (
            ForgeKind::Gitea,
            "/api/v1/repos/octo/bread/pulls",
            "state=open&limit=50&page=1",
            "authorization",
            format!("token {SECRET}"),
        ),
        (
            ForgeKind::Forgejo,
            "/api/v1/repos/octo/bread/pulls",
            "state=open&limit=50&page=1",
            "authorization",
            format!("token {SECRET}"),
        ),
        (
            ForgeKind::GitLab,
            "/api/v4/projects/octo%2Fbread/merge_requests",
            "state=opened&per_page=100&page=1",
            "private-token",
            SECRET.to_owned(),
        ),
    ] {
        let list = [listed(kind, 3, None), listed(kind, 1, Some(7)), listed(kind, 2, Some(8))];
        let server =
            forge_with(move |_| ResponseTemplate::new(200).set_body_json(json!(list))).await;
        let found = reader(kind, &server.uri()).open().await.unwrap().described;
        let shown: Vec<_> =
            found.iter().map(|pull| (pull.number, pull.head.to_string(), pull.origin)).collect();
        let fork = Origin::Fork;
        assert_eq!(
            shown,
            [(1, sha(1), Origin::Own), (2, sha(2), fork), (3, sha(3), fork)],
            "{kind}"
        );
        let bases: Vec<_> = found.iter().map(|pull| pull.base.as_deref()).collect();
        assert_eq!(bases, [Some("main"); 3], "{kind}");
        let requests = server.received_requests().await.unwrap();
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].method.as_str(), "GET");
        assert_eq!((requests[0].url.path(), requests[0].url.query()), (path, Some(query)));
        assert_eq!(requests[0].headers[header], value);
    }
}

#[tokio::test]
async fn what_gitea_says_comes_from_the_repository_does_only_if_it_has_a_branch() {
    // Whoever may read can push to `refs/for/main`; the first is what Gitea answers of that.
    let heads = [
        json!({ "sha": sha(1), "label": "", "ref": "refs/pull/1/head", "repo_id": 7 }),
        json!({ "sha": sha(2), "label": "gone", "ref": "refs/pull/2/head", "repo_id": 7 }),
        json!({ "sha": sha(3), "label": "", "ref": "", "repo_id": 7 }),
        json!({ "sha": sha(4), "repo_id": 7 }),
        json!({ "sha": sha(5), "label": "topic", "ref": "topic", "repo_id": 7 }),
    ];
    let list: Vec<Value> = (1..)
        .zip(heads)
        .map(|(number, head)| {
            json!({ "number": number, "head": head,
                    "base": { "sha": sha(0), "ref": "main", "repo_id": 7 } })
        })
        .collect();
    for kind in [ForgeKind::Gitea, ForgeKind::Forgejo] {
        let list = list.clone();
        let server =
            forge_with(move |_| ResponseTemplate::new(200).set_body_json(json!(list))).await;
        let found = reader(kind, &server.uri()).open().await.unwrap().described;
        let own: Vec<u64> = found
            .iter()
            .filter(|pull| pull.origin == Origin::Own)
            .map(|pull| pull.number)
            .collect();
        assert_eq!((found.len(), own), (5, vec![5]), "{kind}");
    }
}

fn page_of(request: &Request) -> u64 {
    let mut pairs = request.url.query_pairs();
    pairs.find(|(name, _)| name == "page").unwrap().1.parse().unwrap()
}

#[tokio::test]
async fn all_pages_are_read_and_a_link_to_elsewhere_is_not_followed() {
    // Shorter pages than were asked for: links, or a total, say that there are more.
    for says in ["link", "x-total-count"] {
        let server = forge_with(move |request| {
            let page = page_of(request);
            let kind = ForgeKind::Gitea;
            let list = [listed(kind, page * 2, Some(7)), listed(kind, page * 2 + 1, Some(7))];
            let answer = ResponseTemplate::new(200).set_body_json(json!(list));
            match (says, page) {
                ("link", 3) => answer.insert_header("link", "<http://192.0.2.1/>; rel=\"first\""),
                ("link", _) => answer.insert_header("link", "<http://192.0.2.1/>; rel=\"next\""),
                _ => answer.insert_header(says, "6"),
            }
        })
        .await;
        let found = reader(ForgeKind::Gitea, &server.uri()).open().await.unwrap().described;
        let numbers: Vec<u64> = found.iter().map(|pull| pull.number).collect();
        assert_eq!(numbers, [2, 3, 4, 5, 6, 7], "{says}");
        assert_eq!(server.received_requests().await.unwrap().len(), 3);
    }
}

#[tokio::test]
async fn a_list_without_an_end_is_an_error() {
    let server = forge_with(|request| {
        let list = [listed(ForgeKind::GitHub, page_of(request), Some(7))];
        ResponseTemplate::new(200)
            .set_body_json(json!(list))
            .insert_header("link", "<x>; rel=\"next\"")
    })
    .await;
    let error = reader(ForgeKind::GitHub, &server.uri()).open().await.unwrap_err();
    assert!(matches!(error, ListError::TooMany { .. }), "{error}");
}

#[tokio::test]
async fn one_that_is_not_described_does_not_hide_the_others() {
    // What Gitea answers where a fork's repository cannot be opened, and what it never answers.
    for kind in [ForgeKind::GitHub, ForgeKind::GitLab, ForgeKind::Gitea, ForgeKind::Forgejo] {
        let good = listed(kind, 3, Some(7));
        let mut without_head = listed(kind, 4, Some(7));
        let mut no_commit = listed(kind, 5, Some(7));
        match kind {
            ForgeKind::GitLab => {
                without_head["sha"] = Value::Null;
                no_commit["sha"] = json!("");
            }
            ForgeKind::GitHub | ForgeKind::Gitea | ForgeKind::Forgejo => {
                without_head["head"] = Value::Null;
                no_commit["head"]["sha"] = json!("");
            }
        }
        let mut minus = listed(kind, 6, Some(7));
        minus["number"] = json!(-6);
        minus["iid"] = json!(-6);
        let list = [Value::Null, without_head, good, no_commit, minus];
        let server =
            forge_with(move |_| ResponseTemplate::new(200).set_body_json(json!(list))).await;
        let open = reader(kind, &server.uri()).open().await.unwrap();
        let described: Vec<u64> = open.described.iter().map(|pull| pull.number).collect();
        let unreadable: Vec<_> = open.unreadable.iter().map(|pull| pull.number).collect();
        assert_eq!(described, [3], "{kind}");
        assert_eq!(unreadable, [None, Some(4), Some(5), None], "{kind}");
    }
}

#[tokio::test]
async fn what_is_no_list_is_an_error_and_never_an_empty_list() {
    for (code, text) in [
        (200, "<html>".to_owned()),
        (200, "{}".to_owned()),
        (200, String::new()),
        (204, String::new()),
        (301, "[]".to_owned()),
        (401, format!("bad credentials: {SECRET}")),
        (403, "[]".to_owned()),
        (404, "[]".to_owned()),
        (500, "[]".to_owned()),
    ] {
        let body = text.clone();
        let server = forge_with(move |_| {
            ResponseTemplate::new(code)
                .set_body_string(body.clone())
                .insert_header("location", "http://192.0.2.1/")
        })
        .await;
        let error = reader(ForgeKind::GitHub, &server.uri()).open().await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(SECRET), "{shown}");
        // Gitea answers so for a renamed repository, and for a revoked token.
        let hint = match code {
            301 => "may have another name by now",
            401 => "write a new one to its file",
            403 | 404 => "must be allowed to read pull requests",
            _ => {
                assert!(!shown.contains("hint"), "{shown}");
                ""
            }
        };
        assert!(shown.contains(hint), "{shown}");
        assert_eq!(server.received_requests().await.unwrap().len(), 1, "{code} {text}");
    }
}
