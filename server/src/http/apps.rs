//! `/apps`: what this server is at forges by itself, and how it becomes that.
//!
//! The operator posts a manifest to the forge from a page of this server and comes back with a code, which is exchanged
//! for the App's number, key and secret. They go to the database and to no page. Whoever comes back must be the operator
//! who left, with what they were given, once.

use axum::Form;
use axum::extract::{Query, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use levain_actions::forge::{self, ForgeKind, Manifest};
use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::App;
use super::pages::policy;
use super::table::{Needs, Refused, Table};
use super::visitor::Visitor;
use crate::apps::NewApp;
use crate::apps::departures::Departed;
use crate::clock::Timestamp;
use crate::pages::moment::Moment;
use crate::pages::renderer::View;
use crate::people::Person;
use crate::projects::random;
use crate::secret::{Hash, Secret};

/// The longest name that forges take.
const LONGEST_NAME: usize = 34;
/// How many deliveries of an App are listed that were about no project.
const LISTED: u32 = 20;

pub(super) fn routes(table: Table) -> Table {
    table
        .get("/apps", Needs::Operator, list)
        .post("/apps/new", Needs::Operator, depart)
        .get("/apps/callback", Needs::Operator, arrive)
        .post("/apps/follow", Needs::Operator, follow)
}

/// What the page shows.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct AppsPage {
    text: String,
    apps: Vec<AppRow>,
    forges: Vec<ForgeRow>,
    departure: Option<Departure>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AppRow {
    name: String,
    url: String,
    number: u64,
    projects: u64,
    follows: bool,
    /// Where it is installed, if that is known.
    install: Option<String>,
    others: Vec<OtherRow>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OtherRow {
    when: Moment,
    event: String,
    state: String,
    outcome: String,
}

/// A kind of forge at which there are Apps.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ForgeRow {
    kind: &'static str,
    url: String,
}

/// The form that leads to the forge.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Departure {
    action: String,
    manifest: String,
    host: String,
    /// Where the forge is to deliver, if that is likely not to be reached.
    unreached: Option<String>,
}

fn page(app: &App, status: StatusCode, shown: AppsPage) -> Result<Response, Refused> {
    let view = View {
        title: "Apps".to_owned(),
        path: "/apps".to_owned(),
        json: "/.json".to_owned(),
        section: "",
        live: None,
        page: shown,
    };
    Ok((status, Html(app.renderer.page("apps", &view)?)).into_response())
}

/// Tells in a sentence what is wrong.
fn told(app: &App, status: StatusCode, text: &str) -> Result<Response, Refused> {
    page(app, status, AppsPage { text: text.to_owned(), ..AppsPage::default() })
}

/// Returns the operator who asks: nobody else is let here.
fn operator(visitor: Visitor) -> Result<Person, Refused> {
    match visitor {
        Visitor::Person(person) if person.is_operator() => Ok(person),
        Visitor::Person(_) | Visitor::Program(_) => Err(Refused::Forbidden),
        Visitor::Nobody | Visitor::Local => Err(Refused::Anonymous),
    }
}

async fn list(State(app): State<App>) -> Result<Response, Refused> {
    let now = Timestamp::now();
    let mut rows = Vec::new();
    for known in app.database.apps().await? {
        let others = app.database.other_deliveries(known.id, LISTED).await?;
        let other = |other: crate::apps::deliveries::OtherDelivery| OtherRow {
            when: Moment::new(other.received_at, now),
            event: other.event.unwrap_or_default(),
            state: other.state,
            outcome: other.outcome.unwrap_or_default(),
        };
        rows.push(AppRow {
            install: known
                .page
                .filter(|page| is_web(page))
                .map(|page| format!("{page}/installations/new")),
            name: known.name,
            url: known.url,
            number: known.number,
            projects: known.projects,
            follows: known.follows,
            others: others.into_iter().map(other).collect(),
        });
    }
    let kinds = ForgeKind::ALL.into_iter().filter(|kind| kind.has_apps());
    let forges = kinds.map(|kind| ForgeRow { kind: kind.name(), url: kind.public_url() }).collect();
    page(&app, StatusCode::OK, AppsPage { apps: rows, forges, ..AppsPage::default() })
}

/// Returns whether a page that a forge named is one that a browser may be led to.
fn is_web(page: &str) -> bool {
    Url::parse(page).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

/// Where an App is to be made.
#[derive(Deserialize)]
struct Wanted {
    forge: ForgeKind,
    url: String,
    organization: Option<String>,
}

async fn depart(
    State(app): State<App>,
    visitor: Visitor,
    Form(Wanted { forge: kind, url, organization }): Form<Wanted>,
) -> Result<Response, Refused> {
    let person = operator(visitor)?;
    let url = url.trim().trim_end_matches('/').to_owned();
    let (hook, state) = (random::<16>()?, Secret::new()?);
    let base = &app.public_url;
    let manifest = Manifest {
        name: &name(base),
        url: base,
        hook: &format!("{base}/hooks/{hook}"),
        return_to: &format!("{base}/apps/callback"),
        installed: &format!("{base}/apps"),
    };
    let organization = organization.as_deref().map(str::trim);
    let form = forge::manifest_form(kind, &url, organization, &manifest, state.expose());
    let form = match form {
        Ok(form) => form,
        Err(error) => return told(&app, StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let departed = Departed { kind, url, hook };
    app.database.depart_for_app(state.hash(), person.id, departed, Timestamp::now()).await?;
    let origin = form.action.origin().ascii_serialization();
    let departure = Departure {
        action: form.action.to_string(),
        manifest: form.manifest,
        host: form.action.host_str().unwrap_or_default().to_owned(),
        unreached: (!base.starts_with("https://")).then(|| base.to_string()),
    };
    let mut response =
        page(&app, StatusCode::OK, AppsPage { departure: Some(departure), ..AppsPage::default() })?;
    // Forges may refuse what says nothing about where it comes from.
    response.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("strict-origin"));
    // This page may post to the forge, and no other may.
    if let Ok(policy) = HeaderValue::from_str(&policy(&format!("'self' {origin}"))) {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    Ok(response)
}

/// Returns a name that nobody else is likely to have: that of this server.
fn name(public_url: &str) -> String {
    let host = Url::parse(public_url).ok().and_then(|url| url.host_str().map(str::to_owned));
    let host = host.unwrap_or_default();
    let plain: String =
        host.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name: String = format!("levain-{plain}").chars().take(LONGEST_NAME).collect();
    name.trim_end_matches('-').to_owned()
}

/// Whether an App's repositories are to become projects.
#[derive(Deserialize)]
struct Followed {
    name: String,
    follows: bool,
}

async fn follow(
    State(app): State<App>,
    Form(Followed { name, follows }): Form<Followed>,
) -> Result<Response, Refused> {
    match app.database.note_follows(&name, follows).await? {
        true => {
            tracing::info!(app = name, follows, "an App is followed, or not any more");
            Ok(Redirect::to("/apps").into_response())
        }
        false => Err(Refused::Nothing),
    }
}

/// What a forge sends somebody back with.
#[derive(Deserialize)]
struct Return {
    code: Option<String>,
    state: Option<String>,
}

async fn arrive(
    State(app): State<App>,
    visitor: Visitor,
    Query(Return { code, state }): Query<Return>,
) -> Result<Response, Refused> {
    let person = operator(visitor)?;
    let departed = match &state {
        Some(state) => {
            app.database.arrive_with_app(Hash::of(state), person.id, Timestamp::now()).await?
        }
        None => None,
    };
    let (Some(departed), Some(code)) = (departed, code) else {
        let text = "This did not begin here, or was too long ago. Begin anew.";
        return told(&app, StatusCode::FORBIDDEN, text);
    };
    let Departed { kind, url, hook } = departed;
    let made = match forge::made(kind, &url, &code, app.forges.logins.ca_file()).await {
        Ok(made) => made,
        Err(error) => {
            tracing::warn!(%error, "an App was not made");
            let text = "The forge did not say which App was made. Begin anew.";
            return told(&app, StatusCode::BAD_GATEWAY, text);
        }
    };
    let new = NewApp {
        hook: Some(hook),
        name: made.name,
        kind,
        url,
        page: Some(made.page),
        number: made.number,
        private_key: made.private_key,
        webhook_secret: made.webhook_secret,
    };
    match app.database.add_app(new).await {
        Ok(added) => {
            tracing::info!(app = added.id.number(), "an App was made");
            Ok(Redirect::to("/apps").into_response())
        }
        Err(error) => {
            tracing::warn!(%error, "an App was not kept");
            told(&app, StatusCode::CONFLICT, &error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_called_like_the_server() {
        for (url, expected) in [
            ("https://ci.example.org", "levain-ci-example-org"),
            ("https://ci.example.org:8443/levain", "levain-ci-example-org"),
            ("http://[::1]:8740", "levain----1"),
            (
                "https://a.very.long.name.of.a.server.example.org",
                "levain-a-very-long-name-of-a-serve",
            ),
            ("nothing", "levain"),
        ] {
            assert_eq!(name(url), expected);
        }
    }
}
