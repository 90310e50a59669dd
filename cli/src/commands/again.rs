//! `levain cancel` and `levain rerun`: stop a run, and run its branch or pull request once more.

use std::process::ExitCode;

use levain_server::Database;
use levain_server::runs::Run;
use levain_server::runs::state::RunState;
use tokio::runtime::Handle;

use super::chosen::Choice;
use crate::args::{Cancel, Global, Rerun, RunChoice};
use crate::exit::{self, Failure};
use crate::server_place::with_database;
use crate::terminal::Terminal;

/// Stops a run.
pub(crate) fn cancel(
    global: &Global,
    args: &Cancel,
    terminal: &Terminal,
    runtime: &Handle,
) -> Result<ExitCode, Failure> {
    let run = with_database(&args.choice.database, runtime, async |database| {
        cancelled(&args.choice, global, database).await
    })?;
    terminal.print(&format!("run {} is cancelled\n", run.id.number()))?;
    Ok(ExitCode::SUCCESS)
}

async fn cancelled(
    choice: &RunChoice,
    global: &Global,
    database: &Database,
) -> Result<Run, Failure> {
    let run = chosen(choice, global, database).await?;
    let number = run.id.number();
    match database.cancel_run(run.id).await.map_err(|error| Failure::error(&error))? {
        true => Ok(run),
        false => Err(Failure::user(format!("run {number} is over: {}", run.state.name()))),
    }
}

/// Runs a branch or pull request once more.
pub(crate) fn rerun(
    global: &Global,
    args: &Rerun,
    terminal: &Terminal,
    runtime: &Handle,
) -> Result<ExitCode, Failure> {
    let next = with_database(&args.choice.database, runtime, async |database| {
        once_more(&args.choice, global, database).await
    })?;
    let (number, state) = (next.id.number(), next.state);
    terminal.print(&format!("run {number} of {} is {}\n", next.jobset, state.name()))?;
    Ok(match state {
        RunState::Unapproved => ExitCode::from(exit::UNAPPROVED),
        RunState::Queued
        | RunState::Running
        | RunState::Succeeded
        | RunState::Failed
        | RunState::Errored
        | RunState::Conflict
        | RunState::Cancelled
        | RunState::Superseded => ExitCode::SUCCESS,
    })
}

async fn once_more(
    choice: &RunChoice,
    global: &Global,
    database: &Database,
) -> Result<Run, Failure> {
    let run = chosen(choice, global, database).await?;
    let again = database.run_again(run.project, run.jobset.clone()).await;
    match again.map_err(|error| Failure::error(&error))? {
        Some(id) => Choice::Run(id).existing(database).await,
        None => Err(Failure::user(format!("`{}` is gone: there is nothing to run", run.jobset))),
    }
}

async fn chosen(choice: &RunChoice, global: &Global, database: &Database) -> Result<Run, Failure> {
    Choice::of(choice, &global.directory, database).await?.existing(database).await
}
