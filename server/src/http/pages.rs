//! The pages: what people look at in a browser, and the same as JSON.
//!
//! Each page is a file below with its routes, its model and what fills it. A page's twin is at the same address with
//! `.json` behind it. Adding a page is adding a file, a template and a line in [`routes`]. Who may see pages is decided
//! where these routes are merged, not here.

mod assets;
mod cache;
mod deliveries;
mod feed;
mod follow;
mod format;
mod health;
mod job;
mod jobs;
mod jobset;
mod live;
mod log;
mod overview;
mod project;
mod pull_request;
mod queue;
mod rows;
mod run;
mod settings;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};

use super::App;
use super::table::Table;
use crate::pages::renderer::View;

pub(super) use live::Watched;

/// What a page may load and do: nothing but its own style and script.
///
/// Forms go to `forms` alone.
pub(super) fn policy(forms: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action {forms}; base-uri 'none'; frame-ancestors 'none'"
    )
}

/// Adds the routes of all pages.
pub(super) fn routes(table: Table) -> Table {
    [
        assets::routes,
        overview::routes,
        project::routes,
        jobset::routes,
        run::routes,
        job::routes,
        log::routes,
        follow::routes,
        pull_request::routes,
        settings::routes,
        queue::routes,
        deliveries::routes,
        health::routes,
        cache::routes,
        feed::routes,
        live::routes,
    ]
    .into_iter()
    .fold(table, |table, routes| routes(table))
}

/// Tells browsers to do nothing with an answer but show it, and puts a page where a person finds nothing.
pub(super) async fn dress(State(app): State<App>, request: Request, next: Next) -> Response {
    let accepts = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
    let is_person = accepts.is_some_and(|kinds| kinds.contains("text/html"));
    let mut response = next.run(request).await;
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let is_empty = !response.headers().contains_key(CONTENT_TYPE);
    if is_person && is_error && is_empty {
        let kept = response.headers().clone();
        response = missing(&app, status);
        for (name, value) in &kept {
            response.headers_mut().entry(name).or_insert(value.clone());
        }
    }
    safe(response)
}

fn safe(mut response: Response) -> Response {
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(&policy("'self'")) {
        headers.entry(CONTENT_SECURITY_POLICY).or_insert(policy);
    }
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("x-frame-options"), "DENY"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    // A form has to say which page it is on: without a referrer, browsers do not even tell the origin.
    let is_page =
        headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    // One that leads elsewhere says so itself.
    let is_said = headers.get(REFERRER_POLICY).is_some_and(|policy| policy != "no-referrer");
    if is_page && !is_said {
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    }
    response
}

/// Returns a page in place of nothing.
fn missing(app: &App, status: StatusCode) -> Response {
    let (title, hint) = match status {
        StatusCode::NOT_FOUND => ("Nothing is here", "It may be gone, or never have been."),
        StatusCode::SERVICE_UNAVAILABLE => ("The database does not answer", "Try again soon."),
        _ => ("This did not work", "The server's log says why."),
    };
    let view = View {
        title: title.to_owned(),
        path: "/".to_owned(),
        json: "/.json".to_owned(),
        section: "",
        live: None,
        page: serde_json::json!({ "hint": hint }),
    };
    match app.renderer.page("missing", &view) {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot show a page");
            status.into_response()
        }
    }
}
