//! `levain status`: what became of the last runs.

use std::process::ExitCode;

use levain_server::Database;
use levain_server::projects::{Project, ProjectId};
use levain_server::runs::Run;
use levain_server::shown::ShownRun;
use tokio::runtime::Handle;

use crate::args::{Format, Status};
use crate::exit::Failure;
use crate::server_place::with_database;
use crate::table::{age, columns, short};
use crate::terminal::Terminal;

/// Runs the command.
pub(crate) fn status(
    args: &Status,
    terminal: &Terminal,
    runtime: &Handle,
) -> Result<ExitCode, Failure> {
    let runs =
        with_database(&args.database, runtime, async |database| last_runs(args, database).await)?;
    match args.format {
        Format::Json => terminal.print_json(&runs)?,
        Format::Text => terminal.print(&listed(&runs))?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn last_runs(args: &Status, database: &Database) -> Result<Vec<ShownRun>, Failure> {
    let projects = database.projects().await.map_err(|error| Failure::error(&error))?;
    let runs: Vec<Run> = match &args.project {
        None => database.last_runs(args.limit).await,
        Some(name) => database.runs(project_named(database, name).await?.id, args.limit).await,
    }
    .map_err(|error| Failure::error(&error))?;
    let name_of = |id: ProjectId| {
        let found = projects.iter().find(|project| project.id == id);
        found.map_or("", |project| project.name.as_str())
    };
    Ok(runs.iter().map(|run| ShownRun::new(name_of(run.project), run)).collect())
}

/// Returns the project of a name, which must be there.
pub(crate) async fn project_named(database: &Database, name: &str) -> Result<Project, Failure> {
    let found = database.project_named(name).await.map_err(|error| Failure::error(&error))?;
    found.ok_or_else(|| {
        Failure::user(format!(
            "there is no project `{name}`\nhint: `levain project list` shows those there are"
        ))
    })
}

fn listed(runs: &[ShownRun]) -> String {
    let rows: Vec<Vec<String>> = runs
        .iter()
        .map(|run| {
            let since = run.ended_at.or(run.started_at).unwrap_or(run.created_at);
            vec![
                run.id.to_string(),
                run.project.clone(),
                run.jobset.clone(),
                short(&run.commit),
                run.state.to_owned(),
                age((since / 1000).unsigned_abs()),
                run.summary.clone().unwrap_or_default(),
            ]
        })
        .collect();
    columns(&rows)
}
