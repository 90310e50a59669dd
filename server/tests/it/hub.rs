//! A GitHub with one App: it checks every signature, token, permission and field as the real one does, and counts.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};

use data_encoding::BASE64URL_NOPAD;
use levain_actions::forge::ForgeKind;
use levain_server::Database;
use levain_server::apps::{AddedApp, App, NewApp};
use levain_server::projects::{NewProject, Project};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::support::GITHUB;

/// The forge's number for the App.
pub(crate) const APP: u64 = 12_345;
/// That of its installation.
pub(crate) const INSTALLATION: u64 = 77;
/// That of another, of somebody whom nobody here knows.
const STRANGERS: u64 = 78;
/// What deliveries are signed with.
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// What the forge knows and was asked.
#[derive(Default)]
pub(crate) struct Known {
    /// The repositories of `o` that the App is installed in, with their numbers.
    pub(crate) installed: BTreeMap<String, u64>,
    /// The tokens that are good, each with its repository and its permissions.
    pub(crate) tokens: BTreeMap<String, (String, Value)>,
    /// How many were given.
    pub(crate) given: usize,
    /// How long a token lasts from now on.
    pub(crate) lasts: u64,
    /// What people may do, by name, each with their number.
    pub(crate) people: BTreeMap<String, (u64, String)>,
    /// The check runs, by number less one.
    pub(crate) checks: Vec<Value>,
    /// Statuses that were posted: an App posts none.
    pub(crate) statuses: usize,
    /// Requests that wrote something.
    pub(crate) writes: usize,
    /// What the next writes are answered with; whether they are taken all the same.
    pub(crate) moods: Vec<(bool, ResponseTemplate)>,
    /// The repositories of a stranger who installed the App, too.
    pub(crate) strangers: Vec<String>,
    /// Those of `o` that nobody can push to.
    pub(crate) archived: BTreeSet<String>,
    /// The code of a manifest, and what it is exchanged for.
    pub(crate) manifest: Option<(String, Value)>,
    /// Every path that was asked for, with its method.
    pub(crate) asked: Vec<String>,
    /// Where its pages are.
    url: String,
    /// Words that are in no request.
    forbidden: BTreeSet<String>,
}

pub(crate) struct Hub {
    pub(crate) server: MockServer,
    pub(crate) pem: String,
    known: Arc<Mutex<Known>>,
}

/// Has `openssl` make a key.
#[expect(clippy::disallowed_methods, reason = "the program that everybody makes keys with")]
pub(crate) fn rsa_key() -> String {
    let mut openssl = Command::new("openssl");
    openssl.args(["genrsa", "-traditional", "2048"]).stdin(Stdio::null());
    let output = openssl.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

impl Hub {
    pub(crate) async fn new() -> Self {
        // Another test may have done so already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let pem = rsa_key();
        let PrivateKeyDer::Pkcs1(der) = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap()
        else {
            panic!("not the form in which the forge gives keys")
        };
        let pair = ring::rsa::KeyPair::from_der(der.secret_pkcs1_der()).unwrap();
        let public = pair.public().as_ref().to_vec();
        let known = Known {
            installed: BTreeMap::from([("r".to_owned(), 1_296_269)]),
            lasts: 3600,
            ..Known::default()
        };
        let known = Arc::new(Mutex::new(known));
        let server = MockServer::start().await;
        known.lock().unwrap().url = server.uri();
        let answers = Arc::clone(&known);
        let answer = move |request: &Request| {
            let answer = answers.lock().unwrap().answer(request, public.as_slice());
            match request.method.as_str() {
                "GET" => answer.insert_header("x-ratelimit-remaining", "4999"),
                _ => answer,
            }
        };
        Mock::given(any()).respond_with(answer).mount(&server).await;
        Self { server, pem, known }
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap()
    }

    /// Tells the server about the App.
    pub(crate) async fn add_app(&self, database: &Database) -> (AddedApp, App) {
        let new = NewApp {
            hook: None,
            name: "levain-ci".to_owned(),
            kind: ForgeKind::GitHub,
            url: self.server.uri(),
            page: None,
            number: APP,
            private_key: self.pem.clone(),
            webhook_secret: Some(SECRET.to_owned()),
        };
        let added = database.add_app(new).await.unwrap();
        let app = database.app_named("levain-ci").await.unwrap().unwrap();
        (added, app)
    }

    /// Adds a repository as a project that the App looks after.
    pub(crate) async fn project(&self, database: &Database, app: &App, name: &str) -> Project {
        let url = format!("{}/o/{name}", self.server.uri());
        let new = NewProject { app: Some(app.id), ..NewProject::new(name, GITHUB, url) };
        let id = database.add_project(new).await.unwrap().id;
        database.project(id).await.unwrap().unwrap()
    }

    /// Has every token that was given end at once.
    pub(crate) fn revoke(&self) {
        self.known().tokens.clear();
    }
}

fn described(name: &str, number: u64) -> Value {
    let full_name = format!("o/{name}");
    json!({ "id": number, "full_name": full_name, "private": true, "visibility": "private" })
}

fn message(code: u16, text: &str) -> ResponseTemplate {
    let body = json!({ "message": text, "documentation_url": "https://docs.example.org" });
    ResponseTemplate::new(code).set_body_json(body)
}

fn answered(code: u16, body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(code).set_body_json(body)
}

impl Known {
    fn answer(&mut self, request: &Request, public: &[u8]) -> ResponseTemplate {
        let path = request.url.path().to_owned();
        let method = request.method.as_str().to_owned();
        self.asked.push(format!("{method} {path}"));
        for word in &self.forbidden {
            assert!(!request.url.as_str().contains(word), "a secret in an address");
        }
        let Some(rest) = path.strip_prefix("/api/v3/") else { return message(404, "Not Found") };
        let segments: Vec<&str> = rest.split('/').collect();
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        // Codes are exchanged without signing in.
        if let (["app-manifests", code, "conversions"], "POST") =
            (segments.as_slice(), method.as_str())
        {
            assert!(request.headers.get("authorization").is_none(), "there is no token yet");
            return match self.manifest.take() {
                Some((known, answer)) if known == *code => answered(201, &answer),
                _ => message(404, "Not Found"),
            };
        }
        let header = request.headers.get("authorization").map(|value| value.to_str().unwrap());
        let Some(token) = header.and_then(|header| header.strip_prefix("Bearer ")) else {
            return message(401, "Requires authentication");
        };
        assert_eq!(request.headers.get("accept").unwrap(), "application/vnd.github+json");
        assert_eq!(request.headers.get("x-github-api-version").unwrap(), "2022-11-28");
        assert!(request.headers.contains_key("user-agent"));
        match (method.as_str(), segments.as_slice()) {
            ("GET", ["repos", "o", name, "installation"]) => {
                if !is_signed(token, public) {
                    return message(401, "A JSON web token could not be decoded");
                }
                match self.installed.contains_key(*name) {
                    true => answered(200, &json!({ "id": INSTALLATION, "app_id": APP })),
                    false => message(404, "Not Found"),
                }
            }
            ("POST", ["app", "installations", number, "access_tokens"]) => {
                if !is_signed(token, public) {
                    return message(401, "A JSON web token could not be decoded");
                }
                self.give(number, &body)
            }
            ("GET", ["app"]) if !is_signed(token, public) => {
                message(401, "A JSON web token could not be decoded")
            }
            ("GET", ["app"]) => {
                answered(200, &json!({ "id": APP, "slug": "levain-ci", "owner": { "id": 500 } }))
            }
            ("GET", ["app", "installations"]) if is_signed(token, public) => {
                let one = |id: u64, account: u64| {
                    json!({ "id": id, "app_id": APP, "account": { "id": account },
                        "suspended_at": null })
                };
                answered(200, &json!([one(STRANGERS, 501), one(INSTALLATION, 500)]))
            }
            ("GET", ["installation", "repositories"]) => match self.tokens.get(token) {
                Some((whose, permissions)) => {
                    assert_eq!(*permissions, json!({ "metadata": "read" }));
                    let is_strangers = *whose == format!("all of {STRANGERS}");
                    let page = request.url.query_pairs().find(|(name, _)| name == "page");
                    self.seen(is_strangers, page.unwrap().1.parse().unwrap())
                }
                None => message(401, "Bad credentials"),
            },
            ("GET", ["repositories", number]) => {
                let found = self.installed.iter().find(|(_, known)| known.to_string() == *number);
                match (found, self.tokens.get(token)) {
                    (_, None) => message(401, "Bad credentials"),
                    (Some((name, number)), Some((of, _))) if of == name => {
                        answered(200, &described(name, *number))
                    }
                    _ => message(404, "Not Found"),
                }
            }
            (method, ["repos", "o", name, rest @ ..]) => {
                let Some((repository, permissions)) = self.tokens.get(token).cloned() else {
                    return message(401, "Bad credentials");
                };
                if repository != *name {
                    return message(404, "Not Found");
                }
                self.repository(method, name, rest, &permissions, request, &body)
            }
            _ => message(404, "Not Found"),
        }
    }

    /// Gives a token of 400 characters for the one repository that is asked for.
    fn give(&mut self, installation: &str, body: &Value) -> ResponseTemplate {
        let permissions = body["permissions"].clone();
        assert!(permissions.is_object(), "tokens are for some permissions");
        let by_number = body["repository_ids"].as_array().map(|numbers| {
            let [number] = numbers.as_slice() else { panic!("tokens are for one repository") };
            number.as_u64().unwrap()
        });
        let (name, number) = match body["repositories"].as_array() {
            None if by_number.is_some() => {
                let found = self.installed.iter().find(|(_, number)| Some(**number) == by_number);
                let Some((name, number)) = found else {
                    return message(422, "There is at least one repository that does not exist");
                };
                (name.clone(), *number)
            }
            Some(names) => {
                assert_eq!(installation, INSTALLATION.to_string());
                let [name] = names.as_slice() else { panic!("tokens are for one repository") };
                let name = name.as_str().unwrap().to_owned();
                let Some(number) = self.installed.get(&name) else {
                    return message(422, "There is at least one repository that does not exist");
                };
                (name, *number)
            }
            None => {
                assert_eq!(permissions, json!({ "metadata": "read" }), "or to list them");
                (format!("all of {installation}"), 0)
            }
        };
        self.given += 1;
        let start = format!("ghs_{}_", self.given);
        let token = format!("{start}{}", "x.Y-".repeat(100)).chars().take(400).collect::<String>();
        self.forbidden.insert(token.clone());
        self.tokens.insert(token.clone(), (name.clone(), permissions.clone()));
        let ends = std::time::SystemTime::now() + std::time::Duration::from_secs(self.lasts);
        let ends = humantime::format_rfc3339_seconds(ends).to_string();
        answered(
            201,
            &json!({
                "token": token,
                "expires_at": ends,
                "permissions": permissions,
                "repository_selection": "selected",
                "repositories": [{ "id": number, "name": name, "full_name": format!("o/{name}") }],
            }),
        )
    }

    /// Lists the repositories of an installation, twenty on a page.
    fn seen(&self, is_strangers: bool, page: usize) -> ResponseTemplate {
        let of = |full_name: String, id: u64, archived: bool| {
            let url = format!("{}/{full_name}", self.url);
            json!({ "id": id, "full_name": full_name, "html_url": url, "archived": archived })
        };
        let all: Vec<Value> = match is_strangers {
            true => {
                let names = self.strangers.iter().zip(9_000..);
                names.map(|(name, id)| of(format!("evil/{name}"), id, false)).collect()
            }
            false => {
                let names = self.installed.iter();
                let archived = |name: &String| self.archived.contains(name);
                names.map(|(name, id)| of(format!("o/{name}"), *id, archived(name))).collect()
            }
        };
        let shown: Vec<&Value> = all.iter().skip((page - 1) * 20).take(20).collect();
        answered(200, &json!({ "total_count": all.len(), "repositories": shown }))
    }

    fn repository(
        &mut self,
        method: &str,
        name: &str,
        rest: &[&str],
        permissions: &Value,
        request: &Request,
        body: &Value,
    ) -> ResponseTemplate {
        let may = |what: &str| permissions[what] == "write";
        match (method, rest) {
            ("GET", []) => {
                let number = self.installed[name];
                answered(200, &described(name, number))
            }
            ("GET", ["pulls"]) => answered(200, &json!([])),
            ("GET", ["collaborators", login, "permission"]) => match self.people.get(*login) {
                Some((id, permission)) => {
                    let user = json!({ "login": login, "id": id });
                    answered(200, &json!({ "permission": permission, "user": user }))
                }
                None => message(404, "Not Found"),
            },
            ("GET", ["commits", sha, "check-runs"]) => {
                let asked: BTreeMap<String, String> =
                    request.url.query_pairs().into_owned().collect();
                assert_eq!(asked["app_id"], APP.to_string());
                assert_eq!(asked["filter"], "all");
                let found: Vec<&Value> = self
                    .checks
                    .iter()
                    .rev()
                    .filter(|check| check["head_sha"] == *sha)
                    .filter(|check| check["name"] == asked["check_name"].as_str())
                    .collect();
                answered(200, &json!({ "total_count": found.len(), "check_runs": found }))
            }
            ("POST", ["check-runs"]) if may("checks") => self.write(body, None),
            ("PATCH", ["check-runs", number]) if may("checks") => {
                let number: usize = number.parse().unwrap();
                self.write(body, Some(number))
            }
            ("POST", ["check-runs"]) | ("PATCH", ["check-runs", _]) => {
                message(403, "Resource not accessible by integration")
            }
            ("POST", ["statuses", _]) => {
                self.statuses += 1;
                message(403, "Resource not accessible by integration")
            }
            _ => message(404, "Not Found"),
        }
    }

    fn write(&mut self, body: &Value, number: Option<usize>) -> ResponseTemplate {
        self.writes += 1;
        let mood = (!self.moods.is_empty()).then(|| self.moods.remove(0));
        if let Some((false, answer)) = mood {
            return answer;
        }
        if let Err(why) = well_formed(body, number.is_none()) {
            return message(422, &why);
        }
        let index = match number {
            Some(number) => number - 1,
            None => {
                self.checks.push(json!({ "id": self.checks.len() + 1, "app": { "id": APP } }));
                self.checks.len() - 1
            }
        };
        let check = self.checks.get_mut(index).expect("a check run that there is");
        let kept = check.as_object_mut().unwrap();
        for (key, value) in body.as_object().unwrap() {
            match (key.as_str(), kept.get("output").cloned()) {
                // Annotations are added to those that are there.
                ("output", Some(before)) => {
                    let mut output = value.clone();
                    let list = |output: &Value| {
                        output["annotations"].as_array().cloned().unwrap_or_default()
                    };
                    output["annotations"] = [list(&before), list(value)].concat().into();
                    kept.insert(key.clone(), output);
                }
                _ => drop(kept.insert(key.clone(), value.clone())),
            }
        }
        let answer = check.clone();
        match mood {
            Some((_, answer)) => answer,
            None => answered(if number.is_none() { 201 } else { 200 }, &answer),
        }
    }
}

/// Checks a check run as the forge does.
fn well_formed(body: &Value, is_new: bool) -> Result<(), String> {
    let text = |value: &Value, name: &str, limit: usize| match value[name].as_str() {
        Some(text) if (1..=limit).contains(&text.len()) => Ok(text.to_owned()),
        _ => Err(format!("Invalid request. `{name}`: {}", value[name])),
    };
    if is_new {
        text(body, "name", 100)?;
        text(body, "head_sha", 40)?;
        text(body, "external_id", 100)?;
    }
    let status = text(body, "status", 20)?;
    if !["queued", "in_progress", "completed"].contains(&status.as_str()) {
        return Err(format!("Invalid request. `status`: {status}"));
    }
    match (status.as_str(), body["conclusion"].as_str()) {
        (
            "completed",
            Some(
                "success" | "failure" | "neutral" | "cancelled" | "skipped" | "timed_out"
                | "action_required",
            ),
        ) => {}
        ("queued" | "in_progress", None) => {}
        (_, other) => return Err(format!("Invalid request. `conclusion`: {other:?}")),
    }
    let output = &body["output"];
    text(output, "title", 255)?;
    text(output, "summary", 65_535)?;
    let annotations = output["annotations"].as_array().cloned().unwrap_or_default();
    if annotations.len() > 50 {
        return Err("Invalid request. No more than 50 items are allowed".to_owned());
    }
    for annotation in &annotations {
        text(annotation, "path", 1_000)?;
        text(annotation, "message", 65_536)?;
        let line = |name: &str| annotation[name].as_u64().filter(|line| *line > 0);
        let lines = (line("start_line"), line("end_line"));
        if lines.0.is_none() || lines.0 > lines.1 {
            return Err("Invalid request. lines".to_owned());
        }
        if !["notice", "warning", "failure"]
            .contains(&annotation["annotation_level"].as_str().unwrap_or_default())
        {
            return Err("Invalid request. annotation_level".to_owned());
        }
    }
    let actions = body["actions"].as_array().cloned().unwrap_or_default();
    if actions.len() > 3 {
        return Err("Invalid request. No more than 3 items are allowed".to_owned());
    }
    for action in &actions {
        text(action, "label", 20)?;
        text(action, "description", 40)?;
        text(action, "identifier", 20)?;
    }
    Ok(())
}

/// Returns whether the App's key signed this, for about now.
fn is_signed(token: &str, public: &[u8]) -> bool {
    let pieces: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = pieces.as_slice() else { return false };
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public);
    let Ok(signature) = BASE64URL_NOPAD.decode(signature.as_bytes()) else { return false };
    if key.verify(format!("{header}.{claims}").as_bytes(), &signature).is_err() {
        return false;
    }
    let claims: Value =
        serde_json::from_slice(&BASE64URL_NOPAD.decode(claims.as_bytes()).unwrap()).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let (from, until) = (claims["iat"].as_u64().unwrap(), claims["exp"].as_u64().unwrap());
    claims["iss"] == APP && from < now && now < until && until - from <= 600
}
