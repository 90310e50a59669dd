//! `levain run`: evaluate, build and act.

use std::process::ExitCode;

use levain_actions::forge::Token;
use levain_actions::status::RetryPolicy;
use levain_engine::cancel::Cancel;
use levain_engine::project::Place;
use levain_engine::report::{JobReport, JobStatus, Report};
use levain_engine::run::{self, Options, RunError};
use levain_store::BuildOptions;
use tokio::runtime::Handle;

use super::{print, print_json};
use crate::args::{Format, Global, Run};
use crate::exit::{self, Failure};
use crate::progress::{Shown, describe};
use crate::setup;
use crate::table::columns;

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Run, runtime: &Handle) -> Result<ExitCode, Failure> {
    let (selection, trust) = setup::selection(&args.select);
    let surroundings = setup::surroundings(global, trust)?;
    let options = Options {
        place: match &args.url {
            Some(url) => Place::Url(absolute(url)),
            None => Place::Directory(global.directory.clone()),
        },
        selection,
        declaration: args.select.declaration.clone(),
        access: args.writing.access(),
        push: !args.no_push,
        build: BuildOptions {
            keep_going: !args.no_keep_going,
            max_jobs: args.max_jobs,
            cores: args.cores,
            timeout_seconds: args.timeout,
            ..BuildOptions::default()
        },
        token: token(args)?,
        retries: RetryPolicy::default(),
        runtime: runtime.clone(),
    };
    let cancel = Cancel::default();
    setup::stop_on_signals(runtime, &cancel);
    let mut progress = Shown::new();
    let result = run::run(&surroundings, &options, &cancel, &mut progress);
    drop(progress);
    let report = match result {
        Ok(report) => report,
        Err(RunError::Cancelled) => return Ok(ExitCode::from(exit::INTERRUPTED)),
        Err(error) => return Err(Failure::error(&error)),
    };
    match args.format {
        Format::Json => print_json(&report)?,
        Format::Text => print(&text(&report))?,
    }
    Ok(ExitCode::from(code(&report, &cancel)))
}

fn code(report: &Report, cancel: &Cancel) -> u8 {
    if cancel.is_cancelled() {
        exit::INTERRUPTED
    } else if !report.is_success() {
        exit::FAILURE
    } else if !report.undelivered.is_empty() {
        exit::UNDELIVERED
    } else {
        exit::SUCCESS
    }
}

/// A local path is a fine URL for git, but only while one stands in the right directory.
fn absolute(url: &str) -> String {
    match std::fs::canonicalize(url) {
        Ok(path) => path.display().to_string(),
        // Not a path: git will tell whether it is anything else.
        Err(_) => url.to_owned(),
    }
}

fn token(args: &Run) -> Result<Option<Token>, Failure> {
    if args.writing.read_only {
        return Ok(None);
    }
    if let Some(file) = &args.token_file {
        return Token::from_file(file).map(Some).map_err(|error| Failure::error(&error));
    }
    match std::env::var("LEVAIN_TOKEN") {
        Ok(value) => Token::from_value(&value).map(Some).map_err(|error| Failure::error(&error)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(error) => Err(Failure::user(format!("`LEVAIN_TOKEN` cannot be read: {error}"))),
    }
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for job in &report.jobs {
        text.push_str(&trouble(job));
        for set in &job.cache_sets {
            text.push_str(&format!("{}: {set}\n", job.attr_path));
        }
    }
    let rows: Vec<Vec<String>> =
        report.jobs.iter().map(|job| vec![job.attr_path.clone(), describe(job)]).collect();
    text.push_str(&columns(&rows));
    let c = report.counters;
    text.push_str(&format!(
        "{} at {}: {} fresh, {} incremental, {} clean, {} failed",
        report.jobset,
        &report.original_commit[..12],
        c.fresh,
        c.incremental,
        c.clean,
        c.failed
    ));
    for (count, name) in [(c.errors, "in error"), (c.cancelled, "cancelled")] {
        if count > 0 {
            text.push_str(&format!(", {count} {name}"));
        }
    }
    text.push_str(&format!("; {:.2} s\n", report.seconds.total));
    if let Some(shadow) = &report.shadow {
        let after = shadow.after.as_deref().unwrap_or("none");
        text.push_str(&format!("shadow branch: {} {after}\n", shadow.reference));
    }
    for withheld in &report.withheld {
        text.push_str(&format!("read-only, not written: {withheld}\n"));
    }
    for undelivered in &report.undelivered {
        text.push_str(&format!(
            "not delivered: {} `{}`: {}\n",
            undelivered.kind, undelivered.subject, undelivered.error
        ));
    }
    text
}

/// Shows why a job is not fine.
fn trouble(job: &JobReport) -> String {
    let Some(error) = &job.error else { return String::new() };
    if job.status == JobStatus::Cancelled {
        return String::new();
    }
    let mut text = format!("--- {}: {}\n{}\n", job.attr_path, job.status.name(), error.trim_end());
    if !job.last_lines.is_empty() {
        text.push_str(&format!("last {} log lines:\n", job.last_lines.len()));
        for line in &job.last_lines {
            text.push_str(&format!("  {line}\n"));
        }
    }
    if let Some(log) = &job.log {
        text.push_str(&format!("whole log: {log}\n"));
    }
    text
}
