//! Deliveries of every forge: signatures, keys, and where they say to look.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::*;

const GITHUB: Sender = Sender::Forge(ForgeKind::GitHub);
const GITLAB: Sender = Sender::Forge(ForgeKind::GitLab);
const GITEA: Sender = Sender::Forge(ForgeKind::Gitea);
const SECRET: &str = "It's_a_Secret_to_Everybody";
const SHA: &str = "d6fde92930d4715a2b49857d24b940956b26d2d3";

fn secret(text: &str) -> WebhookSecret {
    WebhookSecret::new(text).unwrap()
}

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    lines
        .iter()
        .map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        })
        .collect()
}

fn event(kind: ForgeKind, event: &str, body: &Value) -> Result<WebhookDelivery, String> {
    let headers = headers(&[(kind.record().webhooks.event, event)]);
    read(Sender::Forge(kind), &headers, body.to_string().as_bytes())
        .map_err(|error| error.to_string())
}

fn hint_of(kind: ForgeKind, name: &str, body: &Value) -> Result<Hint, String> {
    event(kind, name, body).map(|delivery| delivery.hint)
}

fn to_ref(name: &str) -> Hint {
    Hint::Ref { reference: name.to_owned() }
}

fn nothing(action: &str) -> Hint {
    Hint::Nothing { why: Ignored::Action(action.to_owned()) }
}

fn hmac(secret: &str, body: &[u8]) -> Vec<u8> {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    ring::hmac::sign(&key, body).as_ref().to_vec()
}

#[test]
fn a_known_signature_is_accepted() {
    // The example in GitHub's documentation.
    let secret = secret("It's a Secret to Everybody".replace(' ', "_").as_str());
    let hex = data_encoding::HEXLOWER.encode(&hmac(SECRET, b"Hello, World!"));
    let headers = headers(&[("x-hub-signature-256", &format!("sha256={hex}"))]);
    assert_eq!(verify(GITHUB, &headers, b"Hello, World!", &[secret]), Ok(()));
}

#[test]
fn signatures_are_of_one_secret_and_one_body() {
    use SignatureError::{Malformed, Missing, NoSecret, Wrong};
    let other = "another-secret-of-32-characters-x";
    let hex = |secret: &str| data_encoding::HEXLOWER.encode(&hmac(secret, b"body"));
    let forges = [
        (ForgeKind::GitHub, "x-hub-signature-256", "sha256="),
        (ForgeKind::Gitea, "x-gitea-signature", ""),
        (ForgeKind::Forgejo, "x-gitea-signature", ""),
    ];
    for (kind, name, prefix) in forges {
        let good = format!("{prefix}{}", hex(SECRET));
        let check = |value: &str, body: &[u8], secrets: &[WebhookSecret]| {
            verify(Sender::Forge(kind), &headers(&[(name, value)]), body, secrets)
        };
        let secrets = [secret(SECRET)];
        assert_eq!(check(&good, b"body", &secrets), Ok(()));
        assert_eq!(check(&good.to_uppercase().replace("SHA", "sha"), b"body", &secrets), Ok(()));
        // While one secret is exchanged for another, both count, in any order.
        assert_eq!(check(&good, b"body", &[secret(other), secret(SECRET)]), Ok(()));
        assert_eq!(check(&good, b"body", &[secret(SECRET), secret(other)]), Ok(()));
        assert_eq!(check(&good, b"body2", &secrets), Err(Wrong));
        assert_eq!(check(&good, b"body", &[secret(other)]), Err(Wrong));
        assert_eq!(check(&good, b"body", &[]), Err(NoSecret));
        assert_eq!(check(&good[..good.len() - 2], b"body", &secrets), Err(Wrong));
        assert_eq!(check(prefix, b"body", &secrets), Err(Missing));
        assert_eq!(check("", b"body", &secrets), Err(Missing));
        assert_eq!(check(&format!("{prefix}zz"), b"body", &secrets), Err(Malformed));
        assert_eq!(verify(Sender::Forge(kind), &HeaderMap::new(), b"body", &secrets), Err(Missing));
        let mut twice = headers(&[(name, &good)]);
        twice.append(name, HeaderValue::from_static("x"));
        assert_eq!(verify(Sender::Forge(kind), &twice, b"body", &secrets), Err(Malformed));
    }
    // GitHub's old signature, and Gitea's imitation of GitHub, prove nothing.
    let sha1 = headers(&[("x-hub-signature", "sha1=00")]);
    assert_eq!(verify(GITHUB, &sha1, b"body", &[secret(SECRET)]), Err(Missing));
    let imitation = headers(&[("x-hub-signature-256", &format!("sha256={}", hex(SECRET)))]);
    assert_eq!(verify(GITEA, &imitation, b"body", &[secret(SECRET)]), Err(Missing));
}

#[test]
fn gitlab_sends_the_secret_or_signs_with_it() {
    use SignatureError::{Malformed, Missing, Wrong};
    let check = |lines: &[(&str, &str)], text: &str| {
        verify(GITLAB, &headers(lines), b"body", &[secret(text)])
    };
    assert_eq!(check(&[("x-gitlab-token", SECRET)], SECRET), Ok(()));
    assert_eq!(check(&[("x-gitlab-token", "It's_a_Secret_to_Everybodz")], SECRET), Err(Wrong));
    assert_eq!(check(&[("x-gitlab-token", "")], SECRET), Err(Missing));
    assert_eq!(check(&[], SECRET), Err(Missing));

    let key = "twelve-bytes-and-twelve-more";
    let whole = format!("whsec_{}", data_encoding::BASE64.encode(key.as_bytes()));
    let tag = data_encoding::BASE64.encode(&hmac(key, b"id-1.1790000000.body"));
    let signed = |id: &str, signature: &str, token: &str| {
        let lines = [
            ("webhook-id", id),
            ("webhook-timestamp", "1790000000"),
            ("webhook-signature", signature),
            ("x-gitlab-token", token),
        ];
        check(&lines, &whole)
    };
    assert_eq!(signed("id-1", &format!("v1,{tag}"), ""), Ok(()));
    assert_eq!(signed("id-1", &format!("v1a,zz v1,AAAA v1,{tag}"), ""), Ok(()));
    assert_eq!(signed("id-2", &format!("v1,{tag}"), ""), Err(Wrong));
    assert_eq!(signed("id-1", "v2,AAAA", ""), Err(Malformed));
    // Where there is a signature, it alone counts.
    assert_eq!(signed("id-1", "v1,AAAA", &whole), Err(Wrong));
    // Versions from 19.0 on number and date what they do not sign.
    let unsigned = [("webhook-id", "1"), ("webhook-timestamp", "1"), ("x-gitlab-token", SECRET)];
    assert_eq!(check(&unsigned, SECRET), Ok(()));
}

#[test]
fn secrets_are_long_and_plain_and_never_shown() {
    assert_eq!(WebhookSecret::new("fifteen-letters").unwrap_err(), WebhookSecretError::Short);
    assert_eq!(WebhookSecret::new("sixteen letters ").unwrap_err(), WebhookSecretError::Characters);
    assert!(!format!("{:?}", secret(SECRET)).contains("Secret_to"));
}

#[test]
fn what_is_sent_again_has_the_same_key() {
    for (kind, name) in [
        (ForgeKind::GitHub, "x-github-delivery"),
        (ForgeKind::GitLab, "idempotency-key"),
        (ForgeKind::Gitea, "x-gitea-delivery"),
        (ForgeKind::Forgejo, "x-gitea-delivery"),
    ] {
        assert_eq!(
            delivery_key(Sender::Forge(kind), &headers(&[(name, "0a-1b")]), b"body"),
            "0a-1b"
        );
        let hashed = delivery_key(Sender::Forge(kind), &HeaderMap::new(), b"body");
        assert!(hashed.starts_with("sha256:230d8358"), "{hashed}");
        for unusable in ["", "a b", &"x".repeat(LONGEST_KEY + 1)] {
            assert_eq!(
                delivery_key(Sender::Forge(kind), &headers(&[(name, unusable)]), b"body"),
                hashed
            );
        }
    }
}

#[test]
fn who_and_where_is_read_from_github() {
    let body = json!({
        "ref": "refs/heads/main", "before": SHA, "after": SHA, "forced": true,
        // A number here, a text in other events.
        "repository": { "id": 7, "full_name": "o/r", "created_at": 1_557_933_565 },
        "sender": { "id": 8, "login": "x" }, "installation": { "id": 9 },
    });
    let delivery = event(ForgeKind::GitHub, "push", &body).unwrap();
    assert_eq!(
        delivery,
        WebhookDelivery {
            repository: Some(RepositoryId { id: 7, full_name: "o/r".into() }),
            sender: Some(8),
            installation: Some(9),
            hint: to_ref("refs/heads/main"),
        }
    );
}

#[test]
fn github_says_where_to_look() {
    let at = |name: &str, body: Value| hint_of(ForgeKind::GitHub, name, &body).unwrap();
    let check = json!({ "id": 4, "head_sha": SHA });
    let commit: CommitId = SHA.parse().unwrap();
    assert_eq!(at("ping", json!({ "zen": "x" })), Hint::Ping);
    assert_eq!(
        at("create", json!({ "ref": "a/b", "ref_type": "branch" })),
        to_ref("refs/heads/a/b")
    );
    assert_eq!(at("delete", json!({ "ref": "v1", "ref_type": "tag" })), to_ref("refs/tags/v1"));
    let queue = "refs/heads/gh-readonly-queue/main/pr-1-x";
    let group = json!({ "action": "checks_requested", "merge_group": { "head_ref": queue } });
    assert_eq!(at("merge_group", group), to_ref(queue));
    for action in ["opened", "synchronize", "reopened", "closed", "edited", "ready_for_review"] {
        let body = json!({ "action": action, "number": 7, "pull_request": { "number": 7 } });
        assert_eq!(at("pull_request", body), Hint::PullRequest { number: 7 }, "{action}");
    }
    for action in ["labeled", "assigned", "locked"] {
        let body = json!({ "action": action, "number": 7 });
        assert_eq!(at("pull_request", body), nothing(action));
    }
    let comment = |pull: Value| json!({ "action": "created", "comment": { "id": 5 }, "issue": { "number": 7, "pull_request": pull } });
    let said = Hint::Comment { pull_request: 7, comment: 5 };
    assert_eq!(at("issue_comment", comment(json!({ "url": "x" }))), said);
    let elsewhere = Hint::Nothing { why: Ignored::NoPullRequest };
    assert_eq!(at("issue_comment", comment(Value::Null)), elsewhere);
    let by = Some(Account { id: 5, login: "ann".into() });
    let sender = json!({ "id": 5, "login": "ann" });
    let body = json!({ "action": "rerequested", "check_run": check, "check_suite": check,
        "sender": sender });
    assert_eq!(at("check_run", body.clone()), Hint::Rerun { commit, by: by.clone() });
    assert_eq!(at("check_suite", body), Hint::Rerun { commit, by: by.clone() });
    let nobody = json!({ "action": "rerequested", "check_run": check, "sender": { "id": 5 } });
    assert_eq!(at("check_run", nobody), Hint::Rerun { commit, by: None });
    for (name, button) in [("approve", Button::Approve), ("other", Button::Unknown("other".into()))]
    {
        let body = json!({ "action": "requested_action", "check_run": check, "sender": sender,
            "requested_action": { "identifier": name } });
        assert_eq!(at("check_run", body), Hint::Button { commit, button, by: by.clone() });
    }
    assert_eq!(at("installation_repositories", json!({ "action": "added" })), Hint::Installation);
    assert_eq!(at("repository", json!({ "action": "renamed" })), Hint::Repository);
    // Own statuses come back, and more.
    for name in ["status", "watch", "deployment"] {
        let why = Ignored::Event(name.to_owned());
        assert_eq!(at(name, json!({ "ref": 7, "number": "x" })), Hint::Nothing { why });
    }
}

#[test]
fn gitlab_says_where_to_look() {
    let at = |name: &str, body: Value| hint_of(ForgeKind::GitLab, name, &body).unwrap();
    assert_eq!(at("Push Hook", json!({ "ref": "refs/heads/main" })), to_ref("refs/heads/main"));
    assert_eq!(at("Tag Push Hook", json!({ "ref": "refs/tags/v1" })), to_ref("refs/tags/v1"));
    for action in ["open", "update", "reopen", "close", "merge"] {
        let body = json!({ "object_attributes": { "id": 99, "iid": 7, "action": action } });
        assert_eq!(at("Merge Request Hook", body), Hint::PullRequest { number: 7 });
    }
    let body = json!({ "object_attributes": { "iid": 7, "action": "approved" } });
    assert_eq!(at("Merge Request Hook", body), nothing("approved"));
    let note = |of: &str, request: Value| json!({ "object_attributes": { "id": 5, "noteable_type": of }, "merge_request": request });
    let said = Hint::Comment { pull_request: 7, comment: 5 };
    assert_eq!(at("Note Hook", note("MergeRequest", json!({ "iid": 7 }))), said);
    let elsewhere = Hint::Nothing { why: Ignored::NoPullRequest };
    assert_eq!(at("Note Hook", note("Issue", Value::Null)), elsewhere);
    let body = json!({
        "ref": "refs/heads/main", "user_id": 8,
        "project": { "id": 7, "path_with_namespace": "g/s/r" },
    });
    let delivery = event(ForgeKind::GitLab, "Push Hook", &body).unwrap();
    let repository = RepositoryId { id: 7, full_name: "g/s/r".into() };
    assert_eq!((delivery.repository, delivery.sender), (Some(repository), Some(8)));
    let why = Ignored::Event("Pipeline Hook".into());
    assert_eq!(at("Pipeline Hook", json!({})), Hint::Nothing { why });
}

#[test]
fn gitea_says_where_to_look() {
    for kind in [ForgeKind::Gitea, ForgeKind::Forgejo] {
        let at = |name: &str, body: Value| hint_of(kind, name, &body).unwrap();
        assert_eq!(at("push", json!({ "ref": "refs/heads/main" })), to_ref("refs/heads/main"));
        let gone = json!({ "ref": "topic", "ref_type": "branch" });
        assert_eq!(at("delete", gone), to_ref("refs/heads/topic"));
        for action in ["opened", "synchronized", "reopened", "closed", "edited"] {
            let body = json!({ "action": action, "number": 7 });
            assert_eq!(at("pull_request", body), Hint::PullRequest { number: 7 });
        }
        let body = json!({ "action": "label_updated", "number": 7 });
        assert_eq!(at("pull_request", body), nothing("label_updated"));
        let comment = |pull: bool| json!({ "action": "created", "is_pull": pull, "issue": { "number": 7 }, "comment": { "id": 5 } });
        let said = Hint::Comment { pull_request: 7, comment: 5 };
        assert_eq!(at("issue_comment", comment(true)), said);
        let elsewhere = Hint::Nothing { why: Ignored::NoPullRequest };
        assert_eq!(at("issue_comment", comment(false)), elsewhere);
        // Some versions send these to hooks that asked for pushes only.
        let why = Ignored::Event("status".into());
        assert_eq!(at("status", json!({})), Hint::Nothing { why });
    }
}

#[test]
fn a_hook_of_a_plain_repository_sends_the_secret() {
    let check =
        |lines: &[(&str, &str)]| verify(Sender::Git, &headers(lines), b"", &[secret(SECRET)]);
    assert_eq!(check(&[("x-levain-token", SECRET)]), Ok(()));
    assert_eq!(
        check(&[("x-levain-token", "another_secret_altogether")]),
        Err(SignatureError::Wrong)
    );
    assert_eq!(check(&[]), Err(SignatureError::Missing));
    assert_eq!(read(Sender::Git, &HeaderMap::new(), b"\xff").unwrap().hint, Hint::Refs);
    for sender in [GITHUB, GITLAB, GITEA, Sender::Git] {
        assert_eq!(sender.name().parse::<Sender>().unwrap(), sender);
    }
}

#[test]
fn what_cannot_be_read_names_what_is_wrong() {
    let fails = |name: &str, body: Value| hint_of(ForgeKind::GitHub, name, &body).unwrap_err();
    for reference in [
        json!(null),
        json!("main"),
        json!("refs/heads/a..b"),
        json!("refs/heads/a\nb"),
        json!("refs/heads/-\u{1b}[31m"),
        json!(format!("refs/heads/{}", "x".repeat(2000))),
    ] {
        let error = fails("push", json!({ "ref": reference }));
        assert_eq!(error, "the body has no usable `ref`", "{reference}");
    }
    assert!(fails("push", json!({ "ref": 7 })).starts_with("the body is not what github sends"));
    assert!(fails("push", json!([])).contains("`push`"));
    let error = fails("delete", json!({ "ref": "x", "ref_type": "repository" }));
    assert_eq!(error, "the body has no usable `ref_type`");
    let error = fails("pull_request", json!({ "action": "opened", "number": 0 }));
    assert_eq!(error, "the body has no usable `number`");
    let body = json!({ "action": "rerequested", "check_suite": { "id": 1, "head_sha": "x" } });
    assert_eq!(fails("check_suite", body), "the body has no usable `head_sha`");
    let error = read(GITHUB, &HeaderMap::new(), b"{}").unwrap_err().to_string();
    assert_eq!(error, "the header `x-github-event` is missing, which names the event");
    let headers = headers(&[("x-github-event", "push")]);
    for body in [&b""[..], b"{", b"\xff", b"null", "[".repeat(100_000).as_bytes()] {
        assert!(read(GITHUB, &headers, body).is_err());
    }
}
