//! `levain run`: evaluate, build and act.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use levain_actions::forge::Token;
use levain_actions::status::RetryPolicy;
use levain_engine::cancel::Cancel;
use levain_engine::event::Event;
use levain_engine::project::{Place, WriteAccess};
use levain_engine::report::{JobReport, JobStatus, Report};
use levain_engine::run::{self, Options, RunError};
use levain_engine::{BuildLimits, Standing};
use levain_statuses::{Poster, PosterError, Sending};
use levain_store::{BuildOptions, visible_line, visible_name};
use tokio::runtime::Handle;

use crate::args::{Format, Global, Run};
use crate::exit::{self, Failure};
use crate::place;
use crate::progress::{Shown, describe};
use crate::setup;
use crate::table::columns;
use crate::terminal::Terminal;

/// Runs the command.
pub(crate) fn run(
    global: &Global,
    args: &Run,
    token: Option<Token>,
    terminal: &Terminal,
    runtime: &Handle,
) -> Result<ExitCode, Failure> {
    let selection = setup::selection(&args.select);
    let (place, selection) = match &args.url {
        Some(text) => place::of(text, selection)?,
        None => (Place::Directory(global.directory.clone()), selection),
    };
    let surroundings = setup::surroundings(global, setup::trust(&selection), runtime)?;
    let status_limit = Duration::from_secs(args.status_timeout);
    let options = Options {
        place,
        selection,
        declaration: place::of_declaration(args.select.declaration.as_deref())?,
        access: args.writing.access(),
        push: !args.no_push,
        rebuild: args.rebuild,
        outputs: args.outputs,
        build: BuildOptions {
            keep_going: !args.no_keep_going,
            max_jobs: args.max_jobs,
            cores: args.cores,
            timeout_seconds: args.timeout,
            ..BuildOptions::default()
        },
        limits: BuildLimits::default(),
        standing: Standing::default(),
        tells_forge: token.is_some(),
    };
    let cancel = Cancel::default();
    setup::stop_on_signals(runtime, &cancel);
    // Only what may write gets what it would write with.
    let sending = token.filter(|_| options.access == WriteAccess::Write).map(|token| Sending {
        token,
        retries: RetryPolicy { patience: status_limit, ..RetryPolicy::default() },
        ca_file: args.forge_ca_file.clone(),
    });
    let shown = Shown::new(terminal);
    let run = run::open(&surroundings, &options, &cancel, &|event| shown.hear(&event));
    let result = run.map_err(Trouble::Run).and_then(|run| {
        let memory = run.status_memory();
        let poster = Poster::new(run.status_plan(), sending.as_ref(), &memory, runtime)?;
        let tell = |event: Event| {
            poster.hear(&event);
            shown.hear(&event);
        };
        let result = run.carry_out(&cancel, &tell, &|number| poster.is_over(number));
        // The lock is given up by now: others need not wait with us for the forge.
        let started = Instant::now();
        let undelivered = poster.finish(status_limit, &cancel);
        match result {
            Ok(mut report) => {
                report.add_statuses(undelivered, started.elapsed().as_secs_f64());
                Ok(report)
            }
            Err(error) => {
                for undelivered in undelivered {
                    shown.warning(&format!("{}: {}", undelivered.subject, undelivered.error));
                }
                Err(Trouble::Run(error))
            }
        }
    });
    drop(shown);
    // With the report everything is done: nothing that was there for the builds is left.
    drop(surroundings);
    let report = match result {
        Ok(report) => report,
        Err(Trouble::Run(RunError::Cancelled)) => return Ok(ExitCode::from(exit::INTERRUPTED)),
        Err(Trouble::Run(error)) => return Err(Failure::error(&error)),
        Err(Trouble::Poster(error)) => return Err(Failure::error(&error)),
    };
    match args.format {
        Format::Json => terminal.print_json(&report)?,
        Format::Text => terminal.print(&text(&report))?,
    }
    Ok(ExitCode::from(code(&report, &cancel)))
}

/// Why there is no report.
enum Trouble {
    Run(RunError),
    Poster(PosterError),
}

impl From<PosterError> for Trouble {
    fn from(error: PosterError) -> Self {
        Self::Poster(error)
    }
}

fn code(report: &Report, cancel: &Cancel) -> u8 {
    if cancel.is_cancelled() {
        exit::INTERRUPTED
    } else if !report.is_success() {
        exit::FAILURE
    } else if !report.lies.is_empty() {
        exit::LIED
    } else if !report.undelivered.is_empty() {
        exit::UNDELIVERED
    } else {
        exit::SUCCESS
    }
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    let jobs = || report.jobs.iter().map(|reported| &reported.job);
    for job in jobs() {
        text.push_str(&trouble(job));
        for set in &job.cache_sets {
            text.push_str(&format!(
                "{}: {}\n",
                visible_name(job.attr_path.as_str()),
                visible_line(set)
            ));
        }
    }
    let rows: Vec<Vec<String>> = jobs()
        .map(|job| vec![visible_name(job.attr_path.as_str()).into_owned(), describe(job)])
        .collect();
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
    for (count, name) in
        [(c.errors, "in error"), (c.cancelled, "cancelled"), (c.skipped, "skipped")]
    {
        if count > 0 {
            text.push_str(&format!(", {count} {name}"));
        }
    }
    text.push_str(&format!("; {:.2} s\n", report.seconds.total));
    if c.is_vacuous() {
        text.push_str(match report.jobs.as_slice() {
            [] => "nothing was built: the jobset has no jobs, which is no success\n",
            _ => "nothing was built: all jobs were skipped, which is no success\n",
        });
    }
    if let Some(shadow) = &report.shadow {
        let after = shadow.after.as_deref().unwrap_or("none");
        text.push_str(&format!("shadow branch: {} {after}\n", shadow.reference));
    }
    for withheld in &report.withheld {
        text.push_str(&format!("read-only, not written: {withheld}\n"));
    }
    for lie in &report.lies {
        text.push_str(&format!("{}: {}\n", visible_name(lie.job.as_str()), lie.detail));
        text.push_str(&match &lie.not_dropped {
            None => format!(
                "hint: it builds clean until `levain cache allow {}`; its result above is that of a clean build\n",
                lie.job
            ),
            Some(error) => format!("that cache could not be dropped: {error}\n"),
        });
    }
    for undelivered in &report.undelivered {
        text.push_str(&format!(
            "not delivered: {} `{}`: {}\n",
            undelivered.kind,
            visible_line(&undelivered.subject),
            undelivered.error
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
    let mut text = format!(
        "--- {}: {}\n{}\n",
        visible_name(job.attr_path.as_str()),
        job.status.name(),
        error.trim_end()
    );
    // The first one is named by the error.
    for other in job.failed_dependencies.iter().skip(1) {
        text.push_str(&format!("dependency `{}` failed: {}\n", other.name, other.error));
        if let Some(log) = &other.log {
            text.push_str(&format!("  log: {log}\n"));
        }
    }
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
