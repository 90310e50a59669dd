//! A server on a port of its own, a forge with people, and whoever asks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use levain_actions::forge::webhook::Sender;
use levain_actions::forge::{Account, ForgeKind, Right};
use levain_server::Database;
use levain_server::clock::Timestamp;
use levain_server::http::{self, Proxies, Readers, Site};
use levain_server::people::{NewSignInForge, NewToken, SignInForge};
use levain_server::projects::{NewProject, Project, PullRequests};
use levain_server::secret::Secret;
use reqwest::{Method, StatusCode};
use serde_json::json;
use wiremock::matchers::{body_string_contains, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::now;

/// A server.
pub(crate) struct Listening {
    pub(crate) base: String,
    client: reqwest::Client,
}

/// What is answered, as far as it may tell something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Returns the value of a cookie that is set.
    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        let lines = self.headers.iter().filter(|(key, _)| key == "set-cookie");
        let mut pairs = lines.filter_map(|(_, line)| line.split(';').next()?.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

impl Listening {
    pub(crate) async fn new(database: &Database) -> Self {
        Self::behind(database, Proxies::default()).await
    }

    /// Of a server that believes some proxies.
    pub(crate) async fn behind(database: &Database, proxies: Proxies) -> Self {
        Self::with(database, |site| site.proxies = proxies).await
    }

    /// Of a server that is changed before it begins.
    pub(crate) async fn with(database: &Database, change: impl FnOnce(&mut Site)) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let mut site = site(database, &base);
        change(&mut site);
        tokio::spawn(http::serve(listener, site, Arc::default()));
        trust_nobody_else();
        let no_redirects = reqwest::redirect::Policy::none();
        let client = reqwest::Client::builder().no_proxy().redirect(no_redirects).build().unwrap();
        Self { base, client }
    }

    pub(crate) async fn ask(
        &self,
        method: &Method,
        path: &str,
        lines: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = self.client.request(method.clone(), format!("{}{path}", self.base));
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let response = request.body(body.to_owned()).send().await.unwrap();
        let shown =
            |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
                (name.to_string(), value.to_str().unwrap().to_owned())
            };
        let headers = response.headers().iter().map(shown).filter(|(name, _)| name != "date");
        let headers: Vec<(String, String)> = headers.collect();
        let status = response.status();
        // Events have no end.
        let has_no_end = headers.iter().any(|(_, value)| value == "text/event-stream");
        let body = if has_no_end { String::new() } else { response.text().await.unwrap() };
        Answer { status, headers, body }
    }

    /// Asks for what has no end; it goes on until what is returned is dropped.
    pub(crate) async fn watch(&self, path: &str, lines: &[(&str, &str)]) -> reqwest::Response {
        let request = self.client.get(format!("{}{path}", self.base));
        let with = |request: reqwest::RequestBuilder, (name, value): &(&str, &str)| {
            request.header(*name, *value)
        };
        lines.iter().fold(request, with).send().await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str, lines: &[(&str, &str)]) -> Answer {
        self.ask(&Method::GET, path, lines, "").await
    }

    /// Posts a form of one of this server's own pages.
    pub(crate) async fn post(&self, path: &str, lines: &[(&str, &str)], body: &str) -> Answer {
        let form = ("content-type", "application/x-www-form-urlencoded");
        let lines = [&[form, ("origin", self.base.as_str())][..], lines].concat();
        self.ask(&Method::POST, path, &lines, body).await
    }
}

pub(crate) fn site(database: &Database, base: &str) -> Site {
    Site {
        readers: Readers::Local,
        public_url: base.to_owned(),
        patience: Duration::from_secs(2),
        ..Site::new(database.clone())
    }
}

fn trust_nobody_else() {
    // Another test may have done so already.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// A forge with people.
pub(crate) struct Forge {
    pub(crate) server: MockServer,
    secret_file: PathBuf,
    _directory: tempfile::TempDir,
}

pub(crate) const FORGE: ForgeKind = ForgeKind::Gitea;

pub(crate) fn account(login: &str, id: u64) -> Account {
    Account { id, login: login.to_owned() }
}

impl Forge {
    pub(crate) async fn new(database: &Database) -> Self {
        trust_nobody_else();
        let directory = tempfile::tempdir().unwrap();
        let secret_file = directory.path().join("secret");
        std::fs::write(&secret_file, "s3cr3t-t0ken").unwrap();
        let server = MockServer::start().await;
        let forge = Self { server, secret_file, _directory: directory };
        let new = NewSignInForge {
            kind: FORGE,
            url: forge.server.uri(),
            client_id: "client-1".to_owned(),
            secret_file: forge.secret_file.clone(),
        };
        database.add_sign_in_forge(new).await.unwrap();
        forge
    }

    /// Adds a repository of this forge as a project of that name.
    pub(crate) async fn project(
        &self,
        database: &Database,
        name: &str,
        is_public: bool,
    ) -> Project {
        let new = NewProject {
            token_file: Some(self.secret_file.clone()),
            pull_requests: PullRequests::Approved,
            ..NewProject::new(name, Sender::Forge(FORGE), format!("{}/o/{name}", self.server.uri()))
        };
        let id = database.add_project(new).await.unwrap().id;
        database.note_public(id, is_public).await.unwrap();
        database.project(id).await.unwrap().unwrap()
    }

    /// Says what somebody may do with a repository.
    pub(crate) async fn permit(&self, repository: &str, login: &str, id: u64, permission: &str) {
        let body = json!({ "permission": permission, "user": { "id": id, "login": login } });
        Mock::given(method("GET"))
            .and(path(format!("/api/v1/repos/o/{repository}/collaborators/{login}/permission")))
            .and(header("authorization", "token s3cr3t-t0ken"))
            .respond_with(ResponseTemplate::new(200).set_body_json(body))
            .mount(&self.server)
            .await;
    }

    /// Has somebody be signed in there, who comes back with a code of that name.
    pub(crate) async fn person(&self, code: &str, login: &str, id: u64) {
        let token = json!({ "access_token": format!("t-{code}"), "token_type": "bearer" });
        Mock::given(method("POST"))
            .and(path("/login/oauth/access_token"))
            .and(body_string_contains(format!("code={code}&")))
            .and(body_string_contains("client_secret=s3cr3t-t0ken"))
            .respond_with(ResponseTemplate::new(200).set_body_json(token))
            .mount(&self.server)
            .await;
        let user = json!({ "id": id, "login": login, "username": login });
        Mock::given(method("GET"))
            .and(path("/api/v1/user"))
            .and(header("authorization", format!("Bearer t-{code}").as_str()))
            .respond_with(ResponseTemplate::new(200).set_body_json(user))
            .mount(&self.server)
            .await;
    }

    pub(crate) async fn known(&self, database: &Database) -> SignInForge {
        let forges = database.sign_in_forges().await.unwrap();
        forges.into_iter().find(|forge| forge.url == self.server.uri()).unwrap()
    }
}

/// Signs somebody in past the pages; returns their cookie.
pub(crate) async fn signed_in(database: &Database, forge: &Forge, who: Account) -> String {
    let cookie = Secret::new().unwrap();
    let known = forge.known(database).await;
    database.sign_in(&known, who, cookie.hash(), now()).await.unwrap();
    format!("levain={}", cookie.expose())
}

/// Signs the operator in; returns the cookie.
pub(crate) async fn operator(database: &Database) -> String {
    let (link, cookie) = (Secret::new().unwrap(), Secret::new().unwrap());
    // There is no link while the operator is signed in, and that is what this does again and again.
    let long_after = now().after(levain_server::people::SESSION * 2);
    assert!(database.note_operator_link(link.hash(), long_after).await.unwrap());
    assert!(database.use_operator_link(link.hash(), cookie.hash(), now()).await.unwrap());
    format!("levain={}", cookie.expose())
}

/// Makes a token; returns the header that sends it.
pub(crate) async fn token(
    database: &Database,
    name: &str,
    scope: Right,
    project: Option<&Project>,
    expires_at: Timestamp,
) -> String {
    let project = project.map(|project| project.id);
    let new = NewToken { name: name.to_owned(), scope, project, expires_at };
    format!("Bearer {}", database.add_token(new).await.unwrap().expose())
}
