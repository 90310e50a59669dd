//! `levain token`: by which tokens programs use the server.

use std::process::ExitCode;
use std::time::Duration;

use levain_server::Database;
use levain_server::clock::Timestamp;
use levain_server::people::NewToken;
use levain_server::rights::Right;
use levain_server::shown::ShownToken;
use levain_store::counted;
use tokio::runtime::Handle;

use crate::args::{Format, Scope, TokenArgs, TokenCommand};
use crate::exit::Failure;
use crate::server_place::with_database;
use crate::table::{age, columns};
use crate::terminal::Terminal;

/// The longest name of a token.
const LONGEST_NAME: usize = 100;

/// Runs the command.
pub(crate) fn token(
    args: &TokenArgs,
    terminal: &Terminal,
    runtime: &Handle,
) -> Result<ExitCode, Failure> {
    with_database(&args.database, runtime, async |database| {
        with(&args.command, database, terminal).await
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn with(
    command: &TokenCommand,
    database: &Database,
    terminal: &Terminal,
) -> Result<(), Failure> {
    match command {
        TokenCommand::Add { name, scope, project, days } => {
            let is_name = (1..=LONGEST_NAME).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            if !is_name {
                return Err(Failure::user(format!(
                    "`{name}` cannot be a token's name\nhint: use letters, digits, `-`, `_` and `.`, at most {LONGEST_NAME}"
                )));
            }
            let project = match project {
                Some(name) => Some(super::status::project_named(database, name).await?.id),
                None => None,
            };
            let scope = match scope {
                Scope::Read => Right::Read,
                Scope::Write => Right::Write,
                Scope::Admin => Right::Admin,
            };
            let life = Duration::from_secs(u64::from(*days) * 24 * 60 * 60);
            let expires_at = Timestamp::now().after(life);
            let new = NewToken { name: name.clone(), scope, project, expires_at };
            let secret = database.add_token(new).await.map_err(|error| Failure::error(&error))?;
            terminal.print(&format!("{}\n", secret.expose()))
        }
        TokenCommand::List { format } => {
            let tokens = database.tokens().await.map_err(|error| Failure::error(&error))?;
            let projects = database.projects().await.map_err(|error| Failure::error(&error))?;
            let name = |token: &levain_server::people::ApiToken| {
                let found = projects.iter().find(|project| Some(project.id) == token.project);
                found.map(|project| project.name.clone())
            };
            let shown: Vec<ShownToken> =
                tokens.iter().map(|token| ShownToken::new(token, name(token))).collect();
            match format {
                Format::Json => terminal.print_json(&shown),
                Format::Text => terminal.print(&listed(&shown)),
            }
        }
        TokenCommand::Remove { name } => {
            let removed = database.remove_token(name.clone()).await;
            match removed.map_err(|error| Failure::error(&error))? {
                true => Ok(()),
                false => Err(Failure::user(format!(
                    "there is no token `{name}`\nhint: `levain token list` shows those there are"
                ))),
            }
        }
    }
}

fn listed(tokens: &[ShownToken]) -> String {
    let now = Timestamp::now().millis();
    let seconds = |millis: i64| (millis / 1000).unsigned_abs();
    let rows: Vec<Vec<String>> = tokens
        .iter()
        .map(|token| {
            let project = token.project.clone().unwrap_or_else(|| "all projects".to_owned());
            let used = match token.used_at {
                Some(time) => format!("used {} ago", age(seconds(time))),
                None => "never used".to_owned(),
            };
            let left = (token.expires_at - now) / (24 * 60 * 60 * 1000);
            let ends = if token.expires_at > now {
                format!("{} left", counted(left.unsigned_abs(), "day"))
            } else {
                "ended".into()
            };
            vec![token.name.clone(), token.scope.to_owned(), project, used, ends]
        })
        .collect();
    columns(&rows)
}
