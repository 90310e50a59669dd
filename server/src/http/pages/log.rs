//! `GET /runs/ID/jobs/JOB/log`: a log, a window of lines at a time.
//!
//! Files are read on threads that may wait, a few at a time. Which file it is says the run's report, and nothing that a
//! request has.

use std::io::Read;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER};
use axum::response::{Html, IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::format::{Format, answer};
use super::jobs::JobRow;
use super::rows::RunRow;
use super::run::details;
use crate::clock::Timestamp;
use crate::http::App;
use crate::http::shares::Whose;
use crate::http::table::{Needs, OfRun, Refused, Table};
use crate::pages::kept_report::Job;
use crate::pages::links;
use crate::pages::log_file::{
    Direction, Index, Line, LogFile, Phase, Wanted, open_regular, rest_of,
};
use crate::pages::renderer::{View, log_lines};
use crate::projects::Project;
use crate::rights::Right;
use crate::runs::Run;

/// How many lines a page has, and how many bytes of them at most.
const LINES: u64 = 250;
const BYTES: usize = 20 << 10;
/// How many lines are asked for by the page's script at a time, and how many bytes of them at most.
pub(super) const MORE_LINES: u64 = 1_000;
pub(super) const MORE_BYTES: usize = 128 << 10;
/// How many lines are shown before the one that is asked for.
const BEFORE: u64 = 12;
/// How much of a raw log is read at a time, and how many such parts wait to be sent.
const PART: usize = 64 << 10;
const PARTS: usize = 4;
/// The longest text that is looked for.
const LONGEST_QUERY: usize = 200;

pub(super) fn routes(table: Table) -> Table {
    let needs = Needs::Run(Right::Read);
    table
        .get("/runs/{run}/jobs/{job}/log", needs, page)
        .get("/runs/{run}/jobs/{job}/log.json", needs, page)
        .get("/runs/{run}/jobs/{job}/log.txt", needs, raw)
        .get("/runs/{run}/jobs/{job}/log/lines", needs, lines)
        .get("/runs/{run}/jobs/{job}/log/find", needs, search)
}

/// A log that there is.
pub(super) struct Log {
    pub(super) run: Run,
    pub(super) project: Project,
    pub(super) job: Job,
    pub(super) path: PathBuf,
}

impl Log {
    /// Finds the log of a job of a run.
    pub(super) async fn find(
        app: &App,
        OfRun(run, project): OfRun,
        job: &str,
    ) -> Result<Self, Refused> {
        let (report, _) = details(app, run.id, &project).await?;
        let report = report.ok_or(Refused::Nothing)?;
        let job = report.job(job).ok_or(Refused::Nothing)?.clone();
        let path = job.log.as_deref().and_then(place).ok_or(Refused::Nothing)?;
        Ok(Self { run, project, job, path })
    }

    /// Reads in it with its index, on a thread that may wait.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        app: &App,
        reading: impl FnOnce(&LogFile, &Index) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, Refused> {
        let (indexes, path) = (app.logs.clone(), self.path.clone());
        let secrets = app.forges.logins.secrets(&app.database, &self.project).await?;
        let turn = Arc::clone(&app.reading).acquire_owned().await;
        let read = tokio::task::spawn_blocking(move || {
            let (file, index) = indexes.open(&path, secrets)?;
            let read = reading(&file, &index);
            drop(turn);
            read
        });
        match read.await {
            Ok(read) => Ok(read?),
            Err(error) => Err(Refused::File(std::io::Error::other(error))),
        }
    }
}

/// Returns the file that a report names, if it is where the engine keeps logs.
fn place(text: &str) -> Option<PathBuf> {
    let path = FilePath::new(text);
    let is_log = path.is_absolute()
        && path.extension().is_some_and(|extension| extension == "log")
        && path.components().any(|part| part.as_os_str() == "logs")
        && path.components().all(|part| part.as_os_str() != "..");
    is_log.then(|| path.to_owned())
}

#[derive(Debug, Default, Deserialize)]
struct Asked {
    /// The line that is to be seen.
    line: Option<u64>,
    /// Whether the end is to be seen.
    end: Option<String>,
    /// What is looked for, from that line on.
    q: Option<String>,
    /// Whether an error is looked for in place of a text.
    error: Option<String>,
}

impl Asked {
    fn wanted(&self) -> Option<Wanted> {
        if self.error.is_some() {
            return Some(Wanted::Error);
        }
        let text = self.q.as_deref().unwrap_or_default().trim();
        let is_usable = !text.is_empty() && text.len() <= LONGEST_QUERY;
        is_usable.then(|| Wanted::text(text))
    }
}

#[derive(Serialize)]
struct ShownLine {
    number: u64,
    text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogPage {
    run: RunRow,
    job: JobRow,
    path: String,
    raw_href: String,
    /// How many lines there are.
    total: u64,
    bytes: u64,
    phases: Vec<Phase>,
    query: String,
    /// The line that was found or asked for.
    hit: Option<u64>,
    /// Whether something was looked for in vain.
    missed: bool,
    earlier: Option<String>,
    later: Option<String>,
    next_error: String,
    /// Where lines are told as they are written, while the run is under way.
    follow: Option<String>,
    lines: Vec<ShownLine>,
}

/// A window of a log, and what was to be seen in it.
struct Window {
    lines: Vec<Line>,
    total: u64,
    bytes: u64,
    phases: Vec<Phase>,
    hit: Option<u64>,
    missed: bool,
}

fn window(file: &LogFile, index: &Index, asked: &Asked) -> std::io::Result<Window> {
    let total = index.lines();
    let from = asked.line.unwrap_or(1);
    let (mut hit, mut missed) = (asked.line, false);
    if let Some(wanted) = asked.wanted() {
        hit = index.find(file, from, Direction::Forward, &wanted)?;
        missed = hit.is_none();
    }
    let lines = match (asked.end.is_some(), hit) {
        (true, None) => index.window_before(file, total, LINES, BYTES)?,
        (_, Some(hit)) => index.window(file, hit.saturating_sub(BEFORE), LINES, BYTES)?,
        (false, None) => index.window(file, from, LINES, BYTES)?,
    };
    Ok(Window { lines, total, bytes: index.bytes(), phases: index.phases(file), hit, missed })
}

async fn page(
    State(app): State<App>,
    of_run: OfRun,
    Path((_, job)): Path<(String, String)>,
    format: Format,
    Query(asked): Query<Asked>,
) -> Result<Response, Refused> {
    let log = Log::find(&app, of_run, &job).await?;
    let id = log.run.id.number();
    let query = asked.q.clone().unwrap_or_default();
    let window = log.read(&app, move |file, index| window(file, index, &asked)).await?;
    let path = links::log(id, &log.job.attr_path);
    let first = window.lines.first().map_or(1, |line| line.number);
    let last = window.lines.last().map_or(0, |line| line.number);
    let from = window.hit.map_or(first, |hit| hit.saturating_add(1));
    let shown = |line: Line| ShownLine { number: line.number, text: line.text };
    let view = View {
        title: format!("Log of {} · {id} · {}", log.job.attr_path, log.project.name),
        json: format!("{path}.json"),
        section: "projects",
        live: None,
        page: LogPage {
            run: RunRow::new(&log.project.name, &log.run, Timestamp::now()),
            job: JobRow::new(id, &log.job),
            raw_href: format!("{path}.txt"),
            total: window.total,
            bytes: window.bytes,
            phases: window.phases,
            query,
            hit: window.hit,
            missed: window.missed,
            earlier: (first > 1)
                .then(|| format!("{path}?line={}", first.saturating_sub(LINES).max(1))),
            later: (last < window.total).then(|| format!("{path}?line={}", last + 1)),
            follow: (!log.run.state.is_end()).then(|| format!("{path}/events")),
            next_error: format!("{path}?error&line={from}"),
            lines: window.lines.into_iter().map(shown).collect(),
            path: path.clone(),
        },
        path,
    };
    answer(&app, format, "log", view).await
}

#[derive(Debug, Deserialize)]
struct AskedLines {
    /// The first line that is wanted, or else the last.
    first: Option<u64>,
    last: Option<u64>,
}

/// Answers with lines alone, for the script of the page.
async fn lines(
    State(app): State<App>,
    of_run: OfRun,
    Path((_, job)): Path<(String, String)>,
    Query(asked): Query<AskedLines>,
) -> Result<Response, Refused> {
    let log = Log::find(&app, of_run, &job).await?;
    let read = move |file: &LogFile, index: &Index| match (asked.first, asked.last) {
        (None, Some(last)) => index.window_before(file, last, MORE_LINES, MORE_BYTES),
        (first, _) => index.window(file, first.unwrap_or(1), MORE_LINES, MORE_BYTES),
    };
    let lines = log.read(&app, read).await?;
    Ok(Html(log_lines(lines.iter().map(|line| (line.number, line.text.as_str())), None))
        .into_response())
}

#[derive(Debug, Deserialize)]
struct AskedSearch {
    q: Option<String>,
    error: Option<String>,
    from: Option<u64>,
    back: Option<String>,
}

/// Answers with the number of the next line that is looked for, or `null`.
async fn search(
    State(app): State<App>,
    of_run: OfRun,
    Path((_, job)): Path<(String, String)>,
    Query(asked): Query<AskedSearch>,
) -> Result<Response, Refused> {
    let log = Log::find(&app, of_run, &job).await?;
    let AskedSearch { q, error, from, back } = asked;
    let direction = if back.is_some() { Direction::Back } else { Direction::Forward };
    let wanted = Asked { q, error, ..Asked::default() }.wanted();
    let found = match wanted {
        None => None,
        Some(wanted) => {
            log.read(&app, move |file, index| {
                index.find(file, from.unwrap_or(1), direction, &wanted)
            })
            .await?
        }
    };
    Ok(axum::Json(serde_json::json!({ "line": found })).into_response())
}

#[derive(Debug, Deserialize)]
struct AskedRest {
    /// How many bytes of it whoever asks has.
    after: Option<u64>,
}

/// Answers with the file as it is, part by part.
async fn raw(
    State(app): State<App>,
    of_run: OfRun,
    whose: Whose,
    Path((_, job)): Path<(String, String)>,
    Query(asked): Query<AskedRest>,
) -> Result<Response, Refused> {
    let log = Log::find(&app, of_run, &job).await?;
    let Some(turn) = app.downloads.take(whose) else {
        let retry = [(RETRY_AFTER, "5")];
        return Ok((StatusCode::SERVICE_UNAVAILABLE, retry).into_response());
    };
    let secrets = app.forges.logins.secrets(&app.database, &log.project).await?;
    let opened = tokio::task::spawn_blocking(move || {
        rest_of(open_regular(&log.path)?, asked.after.unwrap_or(0), secrets)
    });
    let mut file = opened.await.map_err(|error| Refused::File(std::io::Error::other(error)))??;
    let (parts, receiver) = mpsc::channel::<std::io::Result<Bytes>>(PARTS);
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        loop {
            let mut part = vec![0; PART];
            let read = file.read(&mut part).map(|length| {
                part.truncate(length);
                Bytes::from(part)
            });
            let is_end = !read.as_ref().is_ok_and(|part| !part.is_empty());
            let is_empty = read.as_ref().is_ok_and(|part| part.is_empty());
            // Whoever asked may be gone.
            if is_empty || parts.blocking_send(read).is_err() || is_end {
                break;
            }
        }
    });
    let headers =
        [(CONTENT_TYPE, "text/plain; charset=utf-8"), (CONTENT_SECURITY_POLICY, "sandbox")];
    Ok((headers, Body::from_stream(ReceiverStream::new(receiver))).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_logs_are_shown() {
        assert!(place("/var/mirrors/a.git/levain/logs/x.drv.log").is_some());
        for text in [
            "/etc/passwd",
            "levain/logs/x.log",
            "/var/levain/logs/../../x.log",
            "/var/levain/logs/x.txt",
            "/var/log/x.log",
            "",
        ] {
            assert!(place(text).is_none(), "{text}");
        }
    }
}
