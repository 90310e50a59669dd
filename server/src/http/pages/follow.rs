//! `GET …/log/events`: the lines of a log as they are written, by server-sent events.

use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::response::sse::Event;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::live::{full, stream};
use super::log::{Log, MORE_BYTES, MORE_LINES};
use crate::http::App;
use crate::http::shares::Whose;
use crate::http::table::{Needs, OfRun, Refused, Table};
use crate::pages::renderer::log_lines;
use crate::rights::Right;

/// How often the file is looked at.
const EVERY: Duration = Duration::from_millis(200);
/// How many events wait for a slow reader.
const WAITING: usize = 4;

pub(super) fn routes(table: Table) -> Table {
    table.get("/runs/{run}/jobs/{job}/log/events", Needs::Run(Right::Read), follow)
}

#[derive(Debug, Deserialize)]
struct Asked {
    /// The last line that the page has.
    after: Option<u64>,
}

async fn follow(
    State(app): State<App>,
    of_run: OfRun,
    whose: Whose,
    Path((_, job)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Result<Response, Refused> {
    let log = Log::find(&app, of_run, &job).await?;
    let Some(place) = app.watchers.take(whose) else { return Ok(full()) };
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        // A page that is read once more goes on where it was.
        if let Err(error) = send_lines(&app, log, asked.after.unwrap_or(0), &sender).await {
            tracing::debug!(?error, "a log is not followed any more");
        }
        drop(place);
    });
    Ok(stream(receiver))
}

async fn send_lines(
    app: &App,
    log: Log,
    mut last: u64,
    sender: &mpsc::Sender<Event>,
) -> Result<(), Refused> {
    loop {
        // Asked for before the file is read: what is written meanwhile is read the next time.
        let run = app.database.run(log.run.id).await?;
        let is_over = run.is_none_or(|run| run.state.is_end());
        let from = last.saturating_add(1);
        let lines = log
            .read(app, move |file, index| {
                // A line that has no end yet may still grow.
                let most = if is_over { index.lines() } else { index.whole_lines() };
                let count = (most + 1).saturating_sub(from).min(MORE_LINES);
                index.window(file, from, count, MORE_BYTES)
            })
            .await?;
        let is_caught_up = lines.is_empty();
        if let Some(line) = lines.last() {
            last = line.number;
            let html = log_lines(lines.iter().map(|line| (line.number, line.text.as_str())), None);
            let event = Event::default().event("lines").id(last.to_string()).data(html.trim_end());
            if sender.send(event).await.is_err() {
                return Ok(());
            }
        }
        if is_caught_up {
            if is_over {
                // Whoever asks again would be told the same.
                drop(sender.send(Event::default().event("end").data("end")).await);
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = sender.closed() => return Ok(()),
            }
        }
    }
}
