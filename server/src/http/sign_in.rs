//! `/sign-in`, `/sign-out` and `/admin`: how people say who they are.
//!
//! Whoever signs in gets a new secret in a cookie, and any older session of that browser ends: nobody can make them use
//! one that they know. Who comes back from a forge must be the browser that left, with what it was given, once.

use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::header::{RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use levain_actions::forge::Account;
use serde::{Deserialize, Serialize};

use super::App;
use super::cookies::{Cookie, Cookies};
use super::shares::Whose;
use super::table::{Needs, Refused, Table};
use super::visitor::Visitor;
use crate::clock::Timestamp;
use crate::pages::renderer::View;
use crate::people::{SignInForge, Started};
use crate::secret::{Hash, Secret};

/// The longest address that somebody is sent back to.
const LONGEST: usize = 1_000;

pub(super) fn routes(table: Table) -> Table {
    table
        .get("/sign-in", Needs::Visitor, choose)
        .get("/sign-in/{forge}", Needs::Visitor, depart)
        .get("/sign-in/callback", Needs::Visitor, arrive)
        .post("/sign-out", Needs::Visitor, sign_out)
        .get("/admin", Needs::Visitor, link)
        .post("/admin", Needs::Visitor, use_link)
}

/// Where somebody wants to go.
#[derive(Deserialize)]
struct Next {
    next: Option<String>,
}

/// Returns a path on this server; its start if that is none.
///
/// Browsers read some characters in ways of their own, so only plain ones are taken.
fn on_this_server(next: Option<&str>) -> String {
    let is_plain = |path: &&str| {
        path.len() <= LONGEST
            && path.starts_with('/')
            && !path.starts_with("//")
            && path
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"/-_.~%?=&+,:@".contains(&byte))
    };
    next.filter(is_plain).unwrap_or("/").to_owned()
}

/// What a page about signing in shows.
#[derive(Default, Serialize)]
struct SignInPage {
    text: String,
    forges: Vec<Choice>,
    token: String,
    whoever: String,
}

/// A forge to sign in by.
#[derive(Serialize)]
struct Choice {
    id: i64,
    url: String,
    next: String,
}

fn page(app: &App, status: StatusCode, title: &str, page: SignInPage) -> Result<Response, Refused> {
    let view = View {
        title: title.to_owned(),
        path: "/sign-in".to_owned(),
        json: "/.json".to_owned(),
        section: "",
        live: None,
        page,
    };
    Ok((status, Html(app.renderer.page("sign_in", &view)?)).into_response())
}

/// Tells in a sentence what is wrong.
fn told(app: &App, status: StatusCode, text: &str) -> Result<Response, Refused> {
    page(app, status, "Signing in", SignInPage { text: text.to_owned(), ..SignInPage::default() })
}

fn no_cookies(app: &App) -> Result<Response, Refused> {
    told(
        app,
        StatusCode::FORBIDDEN,
        "Nobody can sign in at an address without https. Start the server with --public-url https://…, behind a proxy that speaks TLS.",
    )
}

fn to(location: &str) -> Response {
    Redirect::to(location).into_response()
}

fn with_cookie(mut response: Response, cookie: HeaderValue) -> Response {
    response.headers_mut().append(SET_COOKIE, cookie);
    response
}

async fn choose(
    State(app): State<App>,
    visitor: Visitor,
    Query(Next { next }): Query<Next>,
) -> Result<Response, Refused> {
    if app.cookies.is_none() {
        return no_cookies(&app);
    }
    let next = on_this_server(next.as_deref());
    let forges = app.database.sign_in_forges().await?;
    let text = match forges.is_empty() {
        true => {
            "No forge is set up to sign in by. Whoever runs the server adds one with `levain sign-in add`."
        }
        false => "Sign in with an account at",
    };
    let choice = |forge: SignInForge| Choice { id: forge.id, url: forge.url, next: next.clone() };
    let whoever = match &visitor {
        Visitor::Person(person) => person.name().to_owned(),
        Visitor::Nobody | Visitor::Local | Visitor::Program(_) => String::new(),
    };
    let forges = forges.into_iter().map(choice).collect();
    let shown = SignInPage { text: text.to_owned(), forges, whoever, token: String::new() };
    page(&app, StatusCode::OK, "Sign in", shown)
}

async fn depart(
    State(app): State<App>,
    whose: Whose,
    Path(id): Path<i64>,
    Query(Next { next }): Query<Next>,
) -> Result<Response, Refused> {
    let Some(cookies) = app.cookies else { return no_cookies(&app) };
    let forges = app.database.sign_in_forges().await?;
    let forge = forges.into_iter().find(|forge| forge.id == id).ok_or(Refused::Nothing)?;
    // Only so many are on the way at a time, and who begins over and over would have others begin anew.
    if let Err(wait) = app.sign_ins.take(whose) {
        let text = "From where you are, too many began to sign in just now. Try it again later.";
        let mut response = told(&app, StatusCode::TOO_MANY_REQUESTS, text)?;
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        return Ok(response);
    }
    let departure = forge
        .sign_in(app.forges.logins.ca_file())
        .map_err(|error| error.to_string())
        .and_then(|sign_in| sign_in.depart(&app.return_to()).map_err(|error| error.to_string()));
    let departure = match departure {
        Ok(departure) => departure,
        Err(error) => return failed(&app, &forge, &error),
    };
    let browser = Secret::new()?;
    let next = on_this_server(next.as_deref());
    let started = Started { forge: forge.id, verifier: departure.verifier, next };
    let state = Hash::of(&departure.state);
    app.database.start_sign_in(state, browser.hash(), started, Timestamp::now()).await?;
    let response = to(departure.url.as_str());
    Ok(with_cookie(response, cookies.set(Cookie::Departure, &browser)))
}

/// What a forge sends somebody back with.
#[derive(Deserialize)]
struct Return {
    code: Option<String>,
    state: Option<String>,
}

async fn arrive(
    State(app): State<App>,
    headers: HeaderMap,
    Query(Return { code, state }): Query<Return>,
) -> Result<Response, Refused> {
    let Some(cookies) = app.cookies else { return no_cookies(&app) };
    let now = Timestamp::now();
    let browser = cookies.read(Cookie::Departure, &headers);
    let found = match (&state, &browser) {
        (Some(state), Some(browser)) => {
            app.database.finish_sign_in(Hash::of(state), Hash::of(browser), now).await?
        }
        (Some(_) | None, _) => None,
    };
    let response = match (found, code) {
        (Some((forge, started)), Some(code)) => {
            arrived(&app, cookies, &headers, forge, started, code).await?
        }
        // Refused at the forge.
        (Some(_), None) => told(&app, StatusCode::FORBIDDEN, "You were not signed in.")?,
        (None, _) => told(
            &app,
            StatusCode::FORBIDDEN,
            "This did not begin here, or was too long ago. Sign in once more.",
        )?,
    };
    Ok(with_cookie(response, cookies.clear(Cookie::Departure)))
}

async fn arrived(
    app: &App,
    cookies: Cookies,
    headers: &HeaderMap,
    forge: SignInForge,
    started: Started,
    code: String,
) -> Result<Response, Refused> {
    let account = account(app.clone(), forge.clone(), code, started.verifier).await;
    let account = match account {
        Ok(account) => account,
        Err(error) => return failed(app, &forge, &error),
    };
    let cookie = Secret::new()?;
    end_session(app, cookies, headers).await?;
    app.database.sign_in(&forge, account, cookie.hash(), Timestamp::now()).await?;
    let response = to(&on_this_server(Some(&started.next)));
    Ok(with_cookie(response, cookies.set(Cookie::Session, &cookie)))
}

/// Asks the forge who came back.
async fn account(
    app: App,
    forge: SignInForge,
    code: String,
    verifier: String,
) -> Result<Account, String> {
    let sign_in = forge.sign_in(app.forges.logins.ca_file()).map_err(|error| error.to_string())?;
    let secret = forge.secret().map_err(|error| error.to_string())?;
    let return_to = app.return_to();
    let arriving = sign_in.arrive(&return_to, &secret, code, verifier);
    arriving.await.map_err(|error| error.to_string())
}

/// Tells whoever signs in little, and the log all.
fn failed(app: &App, forge: &SignInForge, error: &str) -> Result<Response, Refused> {
    tracing::warn!(forge = forge.url, error, "cannot sign somebody in");
    told(app, StatusCode::BAD_GATEWAY, "The forge did not say who you are. Sign in once more.")
}

async fn end_session(app: &App, cookies: Cookies, headers: &HeaderMap) -> Result<(), Refused> {
    if let Some(older) = cookies.read(Cookie::Session, headers) {
        app.database.sign_out(Hash::of(&older)).await?;
    }
    Ok(())
}

async fn sign_out(State(app): State<App>, headers: HeaderMap) -> Result<Response, Refused> {
    let Some(cookies) = app.cookies else { return no_cookies(&app) };
    end_session(&app, cookies, &headers).await?;
    Ok(with_cookie(to("/"), cookies.clear(Cookie::Session)))
}

/// The secret of the operator's link.
#[derive(Deserialize)]
struct Link {
    token: Option<String>,
}

/// Asks whether the link is to be used. Whatever only looks at it, as programs that show previews do, uses up nothing.
async fn link(
    State(app): State<App>,
    Query(Link { token }): Query<Link>,
) -> Result<Response, Refused> {
    if app.cookies.is_none() {
        return no_cookies(&app);
    }
    let text = "Sign in as the operator of this server.".to_owned();
    let shown = SignInPage { text, token: token.unwrap_or_default(), ..SignInPage::default() };
    page(&app, StatusCode::OK, "Operator", shown)
}

async fn use_link(
    State(app): State<App>,
    headers: HeaderMap,
    Form(Link { token }): Form<Link>,
) -> Result<Response, Refused> {
    let Some(cookies) = app.cookies else { return no_cookies(&app) };
    let cookie = Secret::new()?;
    let link = Hash::of(token.unwrap_or_default().trim());
    if !app.database.use_operator_link(link, cookie.hash(), Timestamp::now()).await? {
        return told(
            &app,
            StatusCode::FORBIDDEN,
            "This link was used, or is not the newest. The server prints another when it starts.",
        );
    }
    end_session(&app, cookies, &headers).await?;
    Ok(with_cookie(to("/"), cookies.set(Cookie::Session, &cookie)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_sent_back_to_this_server_only() {
        for good in ["/", "/projects/bread", "/runs/7?format=a&b=c", "/projects/a%20b"] {
            assert_eq!(on_this_server(Some(good)), good);
        }
        for bad in [
            "",
            "projects",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/\t/evil.example",
            "/\n/evil.example",
            " /",
            "/\u{2f}\u{ff0f}evil.example",
            "/a#b",
            "/a b",
            "/a\"><script>",
        ] {
            let place = on_this_server(Some(bad));
            assert_eq!(place, "/", "{bad:?}");
        }
        assert_eq!(on_this_server(None), "/");
        assert_eq!(on_this_server(Some(&format!("/{}", "a".repeat(LONGEST)))), "/");
    }
}
