//! Signing in with an account at a forge: OAuth's authorization code with PKCE.
//!
//! What comes of it is the account and nothing else. The forge's token is used once, to ask whose it is, and then
//! forgotten.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

use oauth2::basic::{BasicClient, BasicErrorResponse};
use oauth2::{
    AsyncHttpClient, AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken,
    EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, PkceCodeChallenge, PkceCodeVerifier,
    RedirectUrl, Scope, TokenResponse, TokenUrl,
};
use reqwest::{StatusCode, Url};

use super::people::Account;
use super::{Endpoint, ForgeError, ForgeKind, Token, http, remote};

/// How a forge is asked who somebody is.
pub(super) struct SigningIn {
    /// Where people agree, below the address of its web pages.
    pub(super) authorize: &'static [&'static str],
    /// Where a code is exchanged for a token, there too.
    pub(super) token: &'static [&'static str],
    /// The least that a token must be allowed to do to tell whose it is.
    pub(super) scopes: &'static [&'static str],
    /// What stands before such a token in the header `authorization`.
    pub(super) prefix: &'static str,
    /// Reads whose a token is.
    pub(super) read: fn(&[u8]) -> Option<Account>,
}

/// A forge by whose accounts people sign in.
#[derive(Clone, Debug)]
pub struct SignIn {
    kind: ForgeKind,
    web: Url,
    endpoint: Endpoint,
    client_id: String,
}

/// Where to send somebody who wants to sign in, and what has to be known when they come back.
#[derive(Clone)]
pub struct Departure {
    /// The forge's page.
    pub url: Url,
    /// What they bring back, nobody else can know and is used once.
    pub state: String,
    /// What proves to the forge that it is us who come back.
    pub verifier: String,
}

/// Somebody could not be signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The address to come back to is no URL.
    #[error("`{url}` is no address to come back to")]
    Return {
        /// The address.
        url: String,
    },
    /// The forge took no code for a token.
    #[error("{url} exchanged no token for the code: {message}")]
    Exchange {
        /// The forge.
        url: String,
        /// What it said, without anything secret.
        message: String,
    },
    /// The forge did not say whose the token is.
    #[error("{url} did not say who signed in: {message}")]
    Account {
        /// The forge.
        url: String,
        /// What it said instead.
        message: String,
    },
    /// It cannot be asked at all.
    #[error(transparent)]
    Forge(#[from] ForgeError),
}

type Client = BasicClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

impl SignIn {
    /// Describes a forge by its kind and the address of its web pages.
    pub fn new(
        kind: ForgeKind,
        web: &str,
        client_id: &str,
        ca_file: Option<PathBuf>,
    ) -> Result<Self, ForgeError> {
        let remote = || ForgeError::Remote { kind, url: web.to_owned() };
        let found = remote::repository_from_remote(kind, &below(web)).ok_or_else(remote)?;
        let base = Url::parse(&found.api_url).ok().ok_or_else(remote)?;
        let web = Url::parse(web).ok().ok_or_else(remote)?;
        let endpoint =
            Endpoint { kind, base, repository: "owner/name".to_owned(), ca_file, limits: None };
        Ok(Self { kind, web, endpoint, client_id: client_id.to_owned() })
    }

    /// Prepares to send somebody to the forge, who is to come back to `return_to`.
    pub fn depart(&self, return_to: &str) -> Result<Departure, SignInError> {
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let scopes = self.kind.record().signing_in.scopes.iter();
        let client = self.client(return_to)?;
        let request = client.authorize_url(CsrfToken::new_random).set_pkce_challenge(challenge);
        let request = request.add_scopes(scopes.map(|scope| Scope::new((*scope).to_owned())));
        let (url, state) = request.url();
        let (state, verifier) = (state.into_secret(), verifier.into_secret());
        Ok(Departure { url, state, verifier })
    }

    /// Finds out who came back with a code.
    pub async fn arrive(
        &self,
        return_to: &str,
        secret: &Token,
        code: String,
        verifier: String,
    ) -> Result<Account, SignInError> {
        let http = Sender(http::client(&self.endpoint)?);
        let client = self.client(return_to)?;
        let client = client.set_client_secret(ClientSecret::new(secret.expose().to_owned()));
        let exchange = client
            .exchange_code(AuthorizationCode::new(code))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier))
            .request_async(&http);
        let answer = exchange.await.map_err(|error| SignInError::Exchange {
            url: self.web.to_string(),
            message: told(&error),
        })?;
        self.account(&http.0, answer.access_token().secret()).await
    }

    async fn account(&self, http: &reqwest::Client, token: &str) -> Result<Account, SignInError> {
        let failed = |message: String| SignInError::Account { url: self.web.to_string(), message };
        let record = self.kind.record();
        let secret = format!("{}{token}", record.signing_in.prefix);
        let mut secret = reqwest::header::HeaderValue::from_str(&secret)
            .map_err(|_secret| failed("its token cannot be sent".to_owned()))?;
        secret.set_sensitive(true);
        let mut request = http.get(self.endpoint.url(&["user"]));
        for (name, value) in record.headers {
            request = request.header(*name, *value);
        }
        let response = request.header(reqwest::header::AUTHORIZATION, secret).send().await;
        let response = response.map_err(|error| failed(error.without_url().to_string()))?;
        let status = response.status();
        let body = http::read(response).await;
        let body = body.map_err(|error| failed(error.without_url().to_string()))?;
        if status != StatusCode::OK {
            return Err(failed(format!("it answered {status}")));
        }
        let account = (record.signing_in.read)(&body).filter(|account| account.id > 0);
        account.ok_or_else(|| failed("its answer names nobody".to_owned()))
    }

    fn client(&self, return_to: &str) -> Result<Client, SignInError> {
        let record = &self.kind.record().signing_in;
        let return_to = RedirectUrl::new(return_to.to_owned());
        let return_to =
            return_to.map_err(|error| SignInError::Return { url: error.to_string() })?;
        Ok(BasicClient::new(ClientId::new(self.client_id.clone()))
            .set_auth_type(AuthType::RequestBody)
            .set_auth_uri(AuthUrl::from_url(self.page(record.authorize)))
            .set_token_uri(TokenUrl::from_url(self.page(record.token)))
            .set_redirect_uri(return_to))
    }

    fn page(&self, path: &[&str]) -> Url {
        let mut url = self.web.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }
}

/// Returns whether a repository, by the URL of its git remote, is at the forge with these web pages.
pub fn is_at(kind: ForgeKind, web: &str, remote_url: &str) -> bool {
    let forge = remote::repository_from_remote(kind, &below(web)).map(|found| found.api_url);
    let remote = remote::repository_from_remote(kind, remote_url).map(|found| found.api_url);
    forge.is_some() && forge == remote
}

/// Returns where some repository would be: a forge's interface is told by that.
fn below(web: &str) -> String {
    format!("{}/owner/name", web.trim_end_matches('/'))
}

/// Sends what the OAuth library wants sent.
struct Sender(reqwest::Client);

impl<'c> AsyncHttpClient<'c> for Sender {
    type Error = SendError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, SendError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let request = reqwest::Request::try_from(request)?;
            let response = self.0.execute(request).await.map_err(reqwest::Error::without_url)?;
            let (status, headers) = (response.status(), response.headers().clone());
            let mut answer = HttpResponse::new(http::read(response).await?);
            *answer.status_mut() = status;
            *answer.headers_mut() = headers;
            Ok(answer)
        })
    }
}

/// The exchange was not answered.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct SendError(#[from] reqwest::Error);

/// Returns what is wrong, without the body of an answer: it may hold a token.
fn told(error: &oauth2::RequestTokenError<SendError, BasicErrorResponse>) -> String {
    match error {
        oauth2::RequestTokenError::ServerResponse(answer) => answer.error().to_string(),
        oauth2::RequestTokenError::Request(error) => error.to_string(),
        // Some refuse with the status of an answer.
        oauth2::RequestTokenError::Parse(_, body) => {
            match serde_json::from_slice::<BasicErrorResponse>(body) {
                Ok(answer) => answer.error().to_string(),
                Err(_) => "its answer is no token".to_owned(),
            }
        }
        oauth2::RequestTokenError::Other(_) => "its answer is no token".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use oauth2::{PkceCodeChallenge, PkceCodeVerifier};
    use serde_json::json;
    use wiremock::matchers::{body_string_contains, header, method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    const RETURN: &str = "https://ci.example.org/sign-in/callback";

    fn at(kind: ForgeKind, web: &str) -> SignIn {
        SignIn::new(kind, web, "client-1", None).unwrap()
    }

    #[test]
    fn people_are_sent_where_the_forge_asks_them() {
        for (kind, web, page, scope) in [
            (ForgeKind::GitHub, "https://github.com", "/login/oauth/authorize", ""),
            (ForgeKind::GitLab, "https://gitlab.com/", "/oauth/authorize", "read_user"),
            (ForgeKind::GitLab, "https://x.example/gitlab", "/gitlab/oauth/authorize", "read_user"),
            (ForgeKind::Forgejo, "https://codeberg.org", "/login/oauth/authorize", "read:user"),
        ] {
            let departure = at(kind, web).depart(RETURN).unwrap();
            assert_eq!(departure.url.path(), page);
            let asked: std::collections::BTreeMap<_, _> =
                departure.url.query_pairs().into_owned().collect();
            assert_eq!(asked["response_type"], "code");
            assert_eq!(
                (asked["client_id"].as_str(), asked["redirect_uri"].as_str()),
                ("client-1", RETURN)
            );
            assert_eq!(asked.get("scope").map_or("", String::as_str), scope, "{kind}");
            assert_eq!(asked["state"], departure.state);
            let verifier = PkceCodeVerifier::new(departure.verifier.clone());
            let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
            assert_eq!(asked["code_challenge"], challenge.as_str());
            assert_eq!(asked["code_challenge_method"], "S256");
            assert!(!departure.url.as_str().contains(&departure.verifier));
        }
    }

    #[test]
    fn a_forge_serves_its_own_repositories() {
        for (kind, web, url, expected) in [
            (ForgeKind::GitHub, "https://github.com", "https://github.com/o/r", true),
            (ForgeKind::GitHub, "https://github.com/", "git@GitHub.com:o/r.git", true),
            (ForgeKind::GitHub, "https://github.com", "https://github.example.org/o/r", false),
            (ForgeKind::GitHub, "https://github.com", "https://github.com.evil.example/o/r", false),
            (ForgeKind::GitHub, "https://github.com", "/srv/git/o/r", false),
            (ForgeKind::Gitea, "https://x.example:3000", "https://x.example:3000/o/r.git", true),
            (ForgeKind::Gitea, "https://x.example:3000", "https://x.example/o/r.git", false),
            (ForgeKind::Gitea, "https://x.example", "http://x.example/o/r.git", false),
        ] {
            assert_eq!(is_at(kind, web, url), expected, "{web} {url}");
        }
    }

    async fn arrived(
        kind: ForgeKind,
        token: ResponseTemplate,
        user: ResponseTemplate,
    ) -> Result<Account, String> {
        let server = MockServer::start().await;
        let (exchange, place) = match kind {
            ForgeKind::GitHub => ("/login/oauth/access_token", "/api/v3/user"),
            ForgeKind::GitLab => ("/oauth/token", "/api/v4/user"),
            ForgeKind::Gitea | ForgeKind::Forgejo => ("/login/oauth/access_token", "/api/v1/user"),
        };
        Mock::given(method("POST"))
            .and(path(exchange))
            .and(body_string_contains("grant_type=authorization_code"))
            .and(body_string_contains("code=c0de"))
            .and(body_string_contains("code_verifier=ver1fier"))
            .and(body_string_contains("client_secret=s3cr3t"))
            .respond_with(token)
            .mount(&server)
            .await;
        let mock = Mock::given(method("GET")).and(path(place));
        mock.and(header("authorization", "Bearer t0ken")).respond_with(user).mount(&server).await;
        let sign_in = at(kind, &server.uri());
        let secret = Token::from_value("s3cr3t").unwrap();
        let arrived = sign_in.arrive(RETURN, &secret, "c0de".into(), "ver1fier".into()).await;
        arrived.map_err(|error| error.to_string())
    }

    fn answer(body: serde_json::Value) -> ResponseTemplate {
        ResponseTemplate::new(200).set_body_json(body)
    }

    #[tokio::test]
    async fn who_comes_back_is_who_the_forge_says() {
        let token =
            || answer(json!({ "access_token": "t0ken", "token_type": "bearer", "scope": "" }));
        for kind in ForgeKind::ALL {
            let user = json!({ "id": 5, "login": "ann", "username": "ann", "email": "a@b.c" });
            let account = arrived(kind, token(), answer(user)).await.unwrap();
            assert_eq!(account, Account { id: 5, login: "ann".to_owned() }, "{kind}");
        }
        let refused = json!({ "error": "bad_verification_code", "error_description": "t0ken" });
        let error =
            arrived(ForgeKind::GitHub, answer(refused), answer(json!({}))).await.unwrap_err();
        assert!(
            error.ends_with("exchanged no token for the code: bad_verification_code"),
            "{error}"
        );
        let odd = ResponseTemplate::new(200).set_body_string("t0ken");
        let error = arrived(ForgeKind::GitLab, odd, answer(json!({}))).await.unwrap_err();
        assert!(error.ends_with("its answer is no token"), "{error}");
        for user in [json!({}), json!({ "id": 0, "login": "ghost" }), json!({ "id": "5" })] {
            let error = arrived(ForgeKind::Gitea, token(), answer(user)).await.unwrap_err();
            assert!(error.ends_with("its answer names nobody"), "{error}");
        }
        let denied = ResponseTemplate::new(401);
        let error = arrived(ForgeKind::GitHub, token(), denied).await.unwrap_err();
        assert!(error.contains("it answered 401"), "{error}");
    }
}
