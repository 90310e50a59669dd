//! `levain watch`: waits until a run ends.

use std::process::ExitCode;
use std::time::Duration;

use levain_server::Database;
use levain_server::runs::Run;
use levain_server::runs::state::RunState;
use tokio::runtime::Handle;

use super::chosen::Choice;
use crate::args::{Global, Watch};
use crate::exit::{self, Failure};
use crate::server_place::ServerPlace;
use crate::terminal::Terminal;

/// How often the database is asked: it tells nobody of changes.
pub(super) const GLANCE: Duration = Duration::from_millis(250);

/// Runs the command.
pub(crate) fn watch(
    global: &Global,
    args: &Watch,
    terminal: &Terminal,
    runtime: &Handle,
) -> Result<ExitCode, Failure> {
    let place = ServerPlace::find(&args.choice.database)?;
    let code = runtime.block_on(async {
        let database = place.open().await?;
        let choice = Choice::of(&args.choice, &global.directory, &database).await?;
        let watching = until_it_ends(&choice, &database, terminal);
        let result = match args.timeout {
            None => watching.await,
            Some(seconds) => {
                let limit = Duration::from_secs(seconds);
                tokio::time::timeout(limit, watching).await.unwrap_or_else(|_elapsed| {
                    terminal.note(&format!("error: it has not ended after {seconds} s"));
                    Ok(exit::TOO_LATE)
                })
            }
        };
        database.close().await;
        result
    })?;
    Ok(ExitCode::from(code))
}

/// Says what becomes of the run, and returns the exit code.
async fn until_it_ends(
    choice: &Choice,
    database: &Database,
    terminal: &Terminal,
) -> Result<u8, Failure> {
    let mut said = None;
    loop {
        let run = choice.run(database).await?;
        let seen = run.as_ref().map(|run| (run.id, run.state));
        if said != Some(seen) {
            said = Some(seen);
            terminal.print(&described(choice, run.as_ref()))?;
        }
        if let Some(code) = run.and_then(|run| code(run.state)) {
            return Ok(code);
        }
        tokio::time::sleep(GLANCE).await;
    }
}

fn described(choice: &Choice, run: Option<&Run>) -> String {
    match (run, choice) {
        (Some(run), _) => {
            let (number, jobset, state) = (run.id.number(), &run.jobset, run.state.name());
            let summary = run.summary.as_deref().filter(|_| run.state.is_end());
            let summary = summary.map(|text| format!(": {text}")).unwrap_or_default();
            format!("run {number} of {jobset} is {state}{summary}\n")
        }
        (None, Choice::Commit(project, commit)) => {
            format!("`{}` has no run of {commit} yet\n", project.name)
        }
        (None, Choice::Run(id)) => format!("there is no run {}\n", id.number()),
    }
}

/// Returns what the command ends with once nothing more happens by itself.
fn code(state: RunState) -> Option<u8> {
    match state {
        RunState::Queued | RunState::Running => None,
        RunState::Unapproved => Some(exit::UNAPPROVED),
        RunState::Succeeded => Some(exit::SUCCESS),
        RunState::Failed
        | RunState::Errored
        | RunState::Conflict
        | RunState::Cancelled
        | RunState::Superseded => Some(exit::FAILURE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_goes_on_by_itself_is_waited_for() {
        for state in RunState::ALL {
            assert_eq!(code(state).is_some(), state.is_end() || state == RunState::Unapproved);
            assert_eq!(code(state) == Some(exit::SUCCESS), state == RunState::Succeeded);
        }
    }
}
