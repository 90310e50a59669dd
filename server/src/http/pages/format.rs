//! A page as HTML, or its model as JSON: which of them an address asks for.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{Html, IntoResponse, Response};
use levain_store::visible_json;
use serde::Serialize;

use crate::http::App;
use crate::http::table::{OfProject, Refused, TWIN};
use crate::pages::links;
use crate::pages::renderer::{Renderer, View};

/// How a page is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Html,
    Json,
}

/// Reads the last part of an address: what it names, in the order in which to look for it.
///
/// A name may itself end like a twin's; then its page goes before the twin of another.
pub(super) fn asked(last: &str) -> impl Iterator<Item = (Format, &str)> {
    let twin = last.strip_suffix(TWIN).map(|name| (Format::Json, name));
    std::iter::once((Format::Html, last)).chain(twin)
}

impl FromRequestParts<App> for Format {
    type Rejection = std::convert::Infallible;

    /// Reads the format off an address whose last part is a project or a run.
    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Self::Rejection> {
        // A project may be called as another's twin is.
        let is_named = parts
            .extensions
            .get::<OfProject>()
            .is_some_and(|OfProject(project)| parts.uri.path() == links::project(&project.name));
        let is_twin = parts.uri.path().ends_with(TWIN) && !is_named;
        Ok(if is_twin { Self::Json } else { Self::Html })
    }
}

/// Answers with a page.
///
/// A page may have thousands of rows.
pub(super) async fn answer<M: Serialize + Send + 'static>(
    app: &App,
    format: Format,
    template: &'static str,
    view: View<M>,
) -> Result<Response, Refused> {
    let renderer = Arc::clone(&app.renderer);
    app.aside(move || made(&renderer, format, template, &view)).await?
}

fn made<M: Serialize>(
    renderer: &Renderer,
    format: Format,
    template: &'static str,
    view: &View<M>,
) -> Result<Response, Refused> {
    match format {
        Format::Html => Ok(Html(renderer.page(template, view)?).into_response()),
        Format::Json => {
            let text = serde_json::to_string(&view.page).unwrap_or_else(|error| {
                tracing::error!(%error, "a model is no JSON");
                "null".to_owned()
            });
            let text = visible_json(&text).into_owned();
            Ok(([(CONTENT_TYPE, "application/json")], text).into_response())
        }
    }
}

/// Returns the address of a page's twin.
pub(super) fn twin(path: &str) -> String {
    format!("{path}{TWIN}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_goes_before_a_twin() {
        let all = |text| asked(text).collect::<Vec<_>>();
        assert_eq!(all("a"), [(Format::Html, "a")]);
        assert_eq!(all("a.json"), [(Format::Html, "a.json"), (Format::Json, "a")]);
    }
}
