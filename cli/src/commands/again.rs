//! `levain cancel` and `levain rerun`: stop a run, and run its branch or pull request once more.

use std::process::ExitCode;

use levain_server::Database;
use levain_server::runs::state::RunState;
use levain_server::runs::{Run, RunId};
use tokio::runtime::Handle;

use crate::args::{Cancel, Rerun};
use crate::exit::{self, Failure};
use crate::server_place::ServerPlace;
use crate::terminal::Terminal;

/// Stops a run.
pub(crate) fn cancel(
    args: &Cancel,
    terminal: &Terminal,
    runtime: &Handle,
) -> Result<ExitCode, Failure> {
    let place = ServerPlace::find(&args.database)?;
    runtime.block_on(async {
        let database = place.open().await?;
        let result = cancelled(args.run, &database).await;
        database.close().await;
        result
    })?;
    terminal.print(&format!("run {} is cancelled\n", args.run))?;
    Ok(ExitCode::SUCCESS)
}

async fn cancelled(number: i64, database: &Database) -> Result<(), Failure> {
    let run = run(number, database).await?;
    match database.cancel_run(run.id).await.map_err(|error| Failure::error(&error))? {
        true => Ok(()),
        false => Err(Failure::user(format!("run {number} is over: {}", run.state.name()))),
    }
}

/// Runs a branch or pull request once more.
pub(crate) fn rerun(
    args: &Rerun,
    terminal: &Terminal,
    runtime: &Handle,
) -> Result<ExitCode, Failure> {
    let place = ServerPlace::find(&args.database)?;
    let next = runtime.block_on(async {
        let database = place.open().await?;
        let result = once_more(args.run, &database).await;
        database.close().await;
        result
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
        | RunState::Cancelled
        | RunState::Superseded => ExitCode::SUCCESS,
    })
}

async fn once_more(number: i64, database: &Database) -> Result<Run, Failure> {
    let run = run(number, database).await?;
    let again = database.run_again(run.project, run.jobset.clone()).await;
    match again.map_err(|error| Failure::error(&error))? {
        Some(id) => self::run(id.number(), database).await,
        None => Err(Failure::user(format!("`{}` is gone: there is nothing to run", run.jobset))),
    }
}

async fn run(number: i64, database: &Database) -> Result<Run, Failure> {
    let found = database.run(RunId::from_number(number)).await;
    found.map_err(|error| Failure::error(&error))?.ok_or_else(|| {
        Failure::user(format!(
            "there is no run {number}\nhint: `levain status` shows those there are"
        ))
    })
}
