//! Apps against a forge that checks every request: the key's signature, the repository and the permissions.

use std::process::{Command, Stdio};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::json;
use wiremock::matchers::{body_json, header_regex, method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::*;
use crate::forge::Limits;

const APP: u64 = 12_345;
const PLACE: &str = "/api/v3/repos/o/r/installation";
const TOKENS: &str = "/api/v3/app/installations/77/access_tokens";

/// Has `openssl` make a key.
#[expect(clippy::disallowed_methods, reason = "the program that everybody makes keys with")]
fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn rsa() -> String {
    openssl(&["genrsa", "-traditional", "2048"])
}

fn key() -> AppKey {
    AppKey::from_pem(APP, &rsa()).unwrap()
}

fn now() -> SystemTime {
    humantime::parse_rfc3339("2026-05-01T12:00:00Z").unwrap()
}

fn login(server: &MockServer) -> AppLogin {
    let config = ForgeConfig::from_remote(ForgeKind::GitHub, &format!("{}/o/r", server.uri()));
    AppLogin::new(&config.unwrap()).unwrap()
}

async fn answer(server: &MockServer, at: (&str, &str), code: u16, body: Value) {
    let answer = ResponseTemplate::new(code).set_body_json(body);
    Mock::given(method(at.0)).and(path(at.1)).respond_with(answer).mount(server).await;
}

fn given(token: &str) -> Value {
    json!({
        "token": token,
        "expires_at": "2026-05-01T13:00:00Z",
        "permissions": { "metadata": "read" },
        "repository_selection": "selected",
        "repositories": [{ "id": 1296269, "full_name": "o/r" }],
    })
}

#[test]
fn a_key_in_either_form_signs_what_its_public_half_confirms() {
    let pkcs1 = rsa();
    assert!(pkcs1.starts_with("-----BEGIN RSA PRIVATE KEY-----"), "{pkcs1}");
    let pkcs8 = openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    for pem in [pkcs1.clone(), pkcs8, format!("\n{}\n", pkcs1.replace('\n', "\r\n"))] {
        let key = AppKey::from_pem(APP, &pem).unwrap();
        let token = key.sign(now()).unwrap();
        let pieces: Vec<&str> = token.expose().split('.').collect();
        let [header, claims, signature] = pieces.as_slice() else { panic!("{pieces:?}") };
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.pair.public());
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
        public.verify(format!("{header}.{claims}").as_bytes(), &signature).unwrap();
        let read = |piece: &str| -> Value {
            serde_json::from_slice(&BASE64URL_NOPAD.decode(piece.as_bytes()).unwrap()).unwrap()
        };
        assert_eq!(read(header), json!({ "alg": "RS256", "typ": "JWT" }));
        let at = now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(read(claims), json!({ "iss": APP, "iat": at - 60, "exp": at + 540 }));
    }
}

#[test]
fn what_is_no_key_is_refused_and_not_shown() {
    let small = openssl(&["genrsa", "-traditional", "1024"]);
    let curve = openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout"]);
    let curve8 = openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let cut = rsa().lines().take(5).collect::<Vec<_>>().join("\n");
    let damaged = rsa().replace('A', "B");
    let body = |pem: &str| pem.lines().nth(1).unwrap_or("nothing").to_owned();
    for (pem, expected) in [
        (String::new(), "no private key"),
        ("s3cr3t-t0ken".to_owned(), "no private key"),
        ("-----BEGIN RSA PRIVATE KEY-----\n-----END RSA PRIVATE KEY-----\n".to_owned(), "damaged"),
        (cut, "no private key"),
        (small, "fewer than 2048 bits"),
        (curve, "not an RSA key"),
        (curve8, "of another kind"),
        (damaged, ""),
    ] {
        let error = AppKey::from_pem(APP, &pem).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(expected), "{expected}: {shown}");
        assert!(shown.contains("hint: "), "{shown}");
        assert!(!shown.contains(&body(&pem)) && !shown.contains("s3cr3t"), "{shown}");
    }
    let key = key();
    assert_eq!(format!("{key:?}"), "AppKey(12345)");
}

#[tokio::test]
async fn a_token_is_for_one_repository_and_what_it_is_needed_for_however_long_it_is() {
    for (reach, permissions) in [
        (Reach::Read, json!({ "contents": "read", "metadata": "read", "pull_requests": "read" })),
        (
            Reach::Write,
            json!({
                "checks": "write", "contents": "write", "metadata": "read",
                "pull_requests": "read",
            }),
        ),
    ] {
        let server = MockServer::start().await;
        answer(&server, ("GET", PLACE), 200, json!({ "id": 77, "app_id": APP })).await;
        let long = format!("ghs_{}", "a.B-".repeat(100));
        Mock::given(method("POST"))
            .and(path(TOKENS))
            .and(header_regex("authorization", r"^Bearer [\w-]+\.[\w-]+\.[\w-]+$"))
            .and(body_json(json!({ "repositories": ["r"], "permissions": permissions })))
            .respond_with(ResponseTemplate::new(201).set_body_json(given(&long)))
            .expect(1)
            .mount(&server)
            .await;
        let granted = login(&server).token(&key(), reach, now(), None).await.unwrap();
        assert_eq!(granted.token.expose(), long);
        assert_eq!((granted.repository, granted.installation), (Some(1_296_269), 77));
        assert_eq!(granted.expires_at, now() + Duration::from_secs(3600));
        assert!(!format!("{granted:?}").contains("ghs_"));
    }
}

#[tokio::test]
async fn refusals_say_what_to_do_and_never_the_token() {
    let installed = || json!({ "id": 77 });
    let echo = |request: &Request| {
        let said = request.headers.get("authorization").unwrap().to_str().unwrap().to_owned();
        ResponseTemplate::new(401).set_body_json(json!({ "message": said }))
    };
    for (place, tokens, expected) in [
        ((404, json!({ "message": "Not Found" })), (201, given("t")), "the App may not see `o/r`"),
        ((200, json!({})), (201, given("t")), "does not hold the installation"),
        ((200, json!({ "id": "77" })), (201, given("t")), "does not hold the installation"),
        ((200, installed()), (404, json!({})), "the App may not see `o/r`"),
        (
            (200, installed()),
            (422, json!({ "message": "The permissions requested are not granted" })),
            "answered 422 when asked for a token: The permissions requested",
        ),
        ((200, installed()), (201, json!({ "token": "t" })), "does not hold a token"),
        ((200, installed()), (201, given("")), "does not hold a token"),
        ((200, installed()), (201, given("a b")), "does not hold a token"),
        (
            (200, installed()),
            (201, json!({ "token": "t", "expires_at": "soon" })),
            "does not hold a token",
        ),
    ] {
        let server = MockServer::start().await;
        answer(&server, ("GET", PLACE), place.0, place.1).await;
        answer(&server, ("POST", TOKENS), tokens.0, tokens.1).await;
        let error = login(&server).token(&key(), Reach::Read, now(), None).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        assert!(!error.may_pass(), "{error}");
    }
    let server = MockServer::start().await;
    Mock::given(method("GET")).and(path(PLACE)).respond_with(echo).mount(&server).await;
    let error =
        login(&server).token(&key(), Reach::Read, now(), None).await.unwrap_err().to_string();
    assert!(error.contains("does not take the App's key: Bearer [token]"), "{error}");
}

#[tokio::test]
async fn what_a_forge_says_of_its_limits_is_heard() {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(404).insert_header("x-ratelimit-remaining", "7");
    Mock::given(wiremock::matchers::any()).respond_with(answer).mount(&server).await;
    let limits = Limits::default();
    let config = ForgeConfig::from_remote(ForgeKind::GitHub, &format!("{}/o/r", server.uri()));
    let config = ForgeConfig { limits: Some(limits.listener("app".into())), ..config.unwrap() };
    let given = AppLogin::new(&config).unwrap().token(&key(), Reach::Read, now(), None).await;
    assert!(given.is_err());
    assert_eq!(limits.of("app").unwrap().remaining, Some(7));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = MockServer::start().await;
    let server = MockServer::start().await;
    let moved = ResponseTemplate::new(307).insert_header("location", elsewhere.uri().as_str());
    Mock::given(method("GET")).and(path(PLACE)).respond_with(moved).mount(&server).await;
    let error =
        login(&server).token(&key(), Reach::Write, now(), None).await.unwrap_err().to_string();
    assert!(error.contains("answered 307"), "{error}");
    assert_eq!(elsewhere.received_requests().await.unwrap().len(), 0);
}

#[test]
fn where_there_are_no_apps_nobody_is_one() {
    let config = ForgeConfig::from_remote(ForgeKind::Gitea, "https://git.example.org/o/r").unwrap();
    let error = AppLogin::new(&config).unwrap_err().to_string();
    assert!(error.contains("gitea has no Apps"), "{error}");
}

fn manifest() -> Manifest<'static> {
    Manifest {
        name: "levain-ci",
        url: "https://ci.example.org",
        hook: "https://ci.example.org/hooks/h",
        return_to: "https://ci.example.org/apps/callback",
        installed: "https://ci.example.org/apps",
    }
}

#[test]
fn an_app_is_made_on_the_forges_own_page() {
    let form = |web: &str, organization| {
        manifest_form(ForgeKind::GitHub, web, organization, &manifest(), "s&t")
    };
    for (web, organization, action) in [
        ("https://github.com", None, "https://github.com/settings/apps/new?state=s%26t"),
        ("https://github.com/", Some(""), "https://github.com/settings/apps/new?state=s%26t"),
        (
            "https://git.example.org:8443",
            Some("acme-1"),
            "https://git.example.org:8443/organizations/acme-1/settings/apps/new?state=s%26t",
        ),
    ] {
        assert_eq!(form(web, organization).unwrap().action.as_str(), action);
    }
    let made: Value =
        serde_json::from_str(&form("https://github.com", None).unwrap().manifest).unwrap();
    assert_eq!(made["hook_attributes"]["url"], "https://ci.example.org/hooks/h");
    assert_eq!(
        (&made["public"], &made["default_permissions"]["checks"]),
        (&json!(false), &json!("write"))
    );
    for (web, organization) in [
        ("https://github.com", Some("../acme")),
        ("https://github.com", Some("a b")),
        ("ftp://git.example.org", None),
        ("javascript:alert(1)", None),
        ("https://ann:s3cr3t@git.example.org", None),
        ("https://git.example.org/?x=", None),
        ("", None),
    ] {
        let error = form(web, organization).unwrap_err().to_string();
        assert!(error.contains("hint: ") && !error.contains("s3cr3t"), "{web}: {error}");
    }
}

#[tokio::test]
async fn a_code_is_exchanged_for_an_app_and_shown_to_nobody() {
    let server = MockServer::start().await;
    let answer = json!({
        "id": APP, "slug": "levain-ci", "html_url": "https://github.com/apps/levain-ci",
        "name": "levain ci", "client_id": "Iv1", "client_secret": "cs", "pem": "the key",
        "webhook_secret": "the secret",
    });
    Mock::given(method("POST"))
        .and(path("/api/v3/app-manifests/c0de_/conversions"))
        .respond_with(ResponseTemplate::new(201).set_body_json(answer))
        .expect(1)
        .mount(&server)
        .await;
    let exchange = async |code| made(ForgeKind::GitHub, &server.uri(), code, None).await;
    let app = exchange("c0de_").await.unwrap();
    assert_eq!((app.number, app.name.as_str()), (APP, "levain-ci"));
    assert_eq!(app.webhook_secret.as_deref(), Some("the secret"));
    assert_eq!(format!("{app:?}"), "MadeApp(12345 levain-ci)");
    let long = "a".repeat(300);
    for code in ["", "a/b", "..", "a?b", "a b", long.as_str()] {
        assert!(matches!(exchange(code).await, Err(AppError::Code)), "{code}");
    }
    let error = exchange("0ther").await.unwrap_err().to_string();
    assert!(error.contains("answered 404") && !error.contains("0ther"), "{error}");
}
