//! `levain serve` as an App: real Nix and git, with a forge that only the App's key and tokens open.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use wiremock::{Request, ResponseTemplate};

use crate::environment::Environment;
use crate::jobs::simple;
use crate::serve::{Server, logged, newest};
use crate::status::Forge;

/// Two jobs, one of which cannot be evaluated.
const JOBS: &str = "levainJobs = {
  good = job \"good\";
  broken = { }.flour;
};";

/// A token of 400 characters.
fn token() -> String {
    format!("ghs_12345_{}", "aB3.-".repeat(78))
}

fn answer(code: u16, body: Value) -> ResponseTemplate {
    ResponseTemplate::new(code).set_body_json(body)
}

/// Answers as the forge does to an App that is installed in `octo/bread`.
fn app(request: &Request, made: &Mutex<u64>) -> ResponseTemplate {
    let path = request.url.path().strip_prefix("/api/v3").unwrap_or_default();
    let header = request.headers["authorization"].to_str().unwrap();
    let is_own = header.split('.').count() == 3 && header.starts_with("Bearer ey");
    let is_token = header == format!("Bearer {}", token());
    match (request.method.as_str(), path) {
        ("GET", "/repos/octo/bread/installation") if is_own => answer(200, json!({ "id": 77 })),
        ("POST", "/app/installations/77/access_tokens") if is_own => {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            // By its name at first, and by its number since that is known.
            let asked = (&body["repositories"], &body["repository_ids"]);
            let [name, number] = [json!(["bread"]), json!([7])];
            assert!([(&name, &Value::Null), (&Value::Null, &number)].contains(&asked), "{body}");
            let given = json!({
                "token": token(),
                "expires_at": "2099-01-01T00:00:00Z",
                "repositories": [{ "id": 7 }],
            });
            answer(201, given)
        }
        _ if !is_token => answer(401, json!({ "message": "Bad credentials" })),
        ("GET", "/repos/octo/bread/pulls") => answer(200, json!([])),
        ("GET", "/repos/octo/bread") => {
            answer(200, json!({ "id": 7, "full_name": "octo/bread", "private": true }))
        }
        ("POST", "/repos/octo/bread/check-runs") => {
            let mut made = made.lock().unwrap();
            *made += 1;
            answer(201, json!({ "id": *made }))
        }
        ("PATCH", path) if path.starts_with("/repos/octo/bread/check-runs/") => {
            answer(200, json!({ "id": *made.lock().unwrap() }))
        }
        _ => answer(404, json!({ "message": "Not Found" })),
    }
}

#[test]
fn an_app_reports_an_evaluation_error_at_its_line() {
    let environment = Environment::new().with("no_proxy", "*");
    let made = Arc::new(Mutex::new(0));
    let forge = Forge::with(move |request| app(request, &made));
    let work = environment.repository("project");
    work.write("flake.nix", &simple(JOBS));
    work.commit("first");
    let line = simple(JOBS).lines().position(|line| line.contains("{ }.flour")).unwrap() + 1;
    let origin = environment.path("origin.git").display().to_string();
    work.git(&["init", "--quiet", "--bare", &origin]);
    work.git(&["remote", "add", "origin", &origin]);
    let home = environment.path("home");
    let url = format!("{}/octo/bread.git", forge.url());
    let settings = fs::read_to_string(home.join(".gitconfig")).unwrap();
    let settings = format!("{settings}[url \"{origin}\"]\ninsteadOf = {url}\n");
    fs::write(home.join(".gitconfig"), settings).unwrap();
    let pem = environment.run("openssl", &home, &["genrsa", "-traditional", "2048"]).ok().stdout;
    fs::write(home.join("app.pem"), &pem).unwrap();
    fs::set_permissions(home.join("app.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    let add = |file: &str| {
        let forge = forge.url();
        let args =
            ["app", "add", "levain-ci", "--number", "12345", "--key-file", file, "--url", &forge];
        environment.levain(&home, &args)
    };
    // What is no key is refused, and not shown.
    fs::write(home.join("none.pem"), "s3cr3t-t0ken").unwrap();
    fs::write(home.join("long.pem"), "x".repeat(100_000)).unwrap();
    for (file, why) in [
        ("missing.pem", "cannot read the App's key"),
        (".", "no file, or too long"),
        ("long.pem", "no file, or too long"),
        ("none.pem", "there is no private key in it"),
    ] {
        let ran = add(file).code(1).says(why);
        assert!(!ran.stderr.contains("s3cr3t"), "{}", ran.stderr);
    }
    let added = add("app.pem").ok().stdout;
    let told = |name: &str| added.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let secret = told("secret: ").to_owned();
    let hook = told("address: ").rsplit_once("/hooks/").unwrap().1.to_owned();
    // The server has the key now; the file may go.
    fs::remove_file(home.join("app.pem")).unwrap();
    let server = Server::start(&environment);
    environment
        .levain(
            &home,
            &["project", "add", "x", "https://git.example.org/o/x", "--app", "levain-ci"],
        )
        .code(1)
        .says("where the App `levain-ci` is");
    environment
        .levain(&home, &["project", "add", "bread", &url, "--app", "none"])
        .code(1)
        .says("there is no App `none`");
    environment.levain(&home, &["project", "add", "bread", &url, "--app", "levain-ci"]).ok();
    work.git(&["push", "--quiet", "origin", "main"]);
    let commit = work.git(&["rev-parse", "HEAD"]);
    let body = json!({
        "ref": "refs/heads/main", "after": commit,
        "repository": { "id": 7, "full_name": "octo/bread" },
        "installation": { "id": 666 },
    });
    let body = body.to_string();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let tag = data_encoding::HEXLOWER.encode(ring::hmac::sign(&key, body.as_bytes()).as_ref());
    let request = format!(
        "url = \"{}/hooks/{hook}\"\nnoproxy = \"*\"\nsilent\noutput = \"/dev/null\"\n\
         write-out = \"%{{http_code}}\"\nheader = \"content-type: application/json\"\n\
         header = \"x-github-event: push\"\nheader = \"x-github-delivery: 1\"\n\
         header = \"x-hub-signature-256: sha256={tag}\"\ndata = \"{}\"\n",
        server.url,
        body.replace('"', "\\\"")
    );
    let file = environment.path("delivery");
    fs::write(&file, request).unwrap();
    let code = environment.run("curl", &home, &["--config", &file.display().to_string()]).ok();
    assert_eq!(code.stdout, "202");
    newest(&environment, &commit, "failed");
    server.end();
    let requests = forge.requests();
    assert!(requests.iter().all(|request| !request.url.path().contains("/statuses/")));
    let checks: Vec<Value> = requests
        .iter()
        .filter(|request| request.url.path().contains("/check-runs"))
        .filter(|request| request.method.as_str() != "GET")
        .map(|request| serde_json::from_slice(&request.body).unwrap())
        .collect();
    assert!(checks.len() <= 10, "{checks:#?}");
    let summary = checks.iter().rfind(|check| {
        let text = check["output"]["summary"].as_str().unwrap_or_default();
        check["conclusion"] == "failure" && text.contains("1 error, 1 clean.")
    });
    let summary = summary.unwrap_or_else(|| panic!("no summary in {checks:#?}"));
    let note = &summary["output"]["annotations"][0];
    assert!(note.is_object(), "{summary:#}");
    assert_eq!((&note["path"], &note["start_line"]), (&json!("flake.nix"), &json!(line)));
    assert!(note["message"].as_str().unwrap().contains("'flour' missing"), "{note}");
    let job = checks.iter().find(|check| check["name"] == "levain/broken");
    assert!(job.is_some(), "{checks:#?}");
    // Nothing secret is in the log, nor was it an argument or a variable of anything.
    let log = logged(&environment);
    let line = pem.lines().nth(1).unwrap();
    for secret in [secret.as_str(), line, &token()] {
        assert!(!log.contains(secret), "{log}");
    }
}
