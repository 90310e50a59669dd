//! `levain approve`: lets a commit of a fork's pull request be built.

use std::process::ExitCode;

use levain_server::Database;
use levain_server::approvals::NewApproval;
use levain_server::approve::{Approver, Way};
use levain_server::clock::Timestamp;
use tokio::runtime::Handle;

use crate::args::Approve;
use crate::exit::Failure;
use crate::server_place::with_database;
use crate::terminal::Terminal;

/// Runs the command.
pub(crate) fn approve(
    args: &Approve,
    terminal: &Terminal,
    runtime: &Handle,
) -> Result<ExitCode, Failure> {
    with_database(&args.database, runtime, async |database| {
        approved(args, database, terminal).await
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn approved(args: &Approve, database: &Database, terminal: &Terminal) -> Result<(), Failure> {
    let project = super::status::project_named(database, &args.project).await?;
    let new = NewApproval {
        project: project.id,
        pull_request: args.pull_request,
        commit: args.commit,
        approver: Approver { way: Way::Command, name: user() },
        now: Timestamp::now(),
    };
    let approved = database.approve(new).await.map_err(|error| Failure::error(&error))?;
    let approved = approved.map_err(|error| Failure::error(&error))?;
    let runs: Vec<String> =
        approved.runs.iter().map(|run| format!("run {} is queued\n", run.number())).collect();
    terminal.print(&format!(
        "approved {} of pull request {}\n{}",
        args.commit,
        args.pull_request,
        runs.concat()
    ))
}

/// Returns the number of the user who runs this: nobody can set it as they like.
fn user() -> String {
    format!("user {}", rustix::process::getuid().as_raw())
}
