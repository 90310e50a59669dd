//! `GET /assets/…`: the style sheet, the script and the icon of all pages. They are part of the program.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use crate::http::table::{Needs, Table};
use crate::pages::renderer::{ICON, SCRIPT, STYLE};

pub(super) fn routes(table: Table) -> Table {
    table
        .get("/assets/levain.css", Needs::Nothing, || file("text/css; charset=utf-8", STYLE))
        .get("/assets/levain.js", Needs::Nothing, || file("text/javascript; charset=utf-8", SCRIPT))
        .get("/assets/levain.svg", Needs::Nothing, || file("image/svg+xml", ICON))
}

/// Pages name what they load by its content, so it never changes under its address.
async fn file(kind: &'static str, content: &'static str) -> Response {
    let kept = "public, max-age=31536000, immutable";
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, kept)], content).into_response()
}
